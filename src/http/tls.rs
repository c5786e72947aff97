//! TLS connections whose certificates are verified, for [`super::Client`].
//!
//! Invariant: a server is trusted if a chain leads from its certificate to a root, or if its certificate itself is one of the roots, byte
//! for byte; it must be valid now, for the name that was asked for, and for servers. The latter is Go's rule (crypto/x509, `Verify`), and
//! what plain `openssl req -x509` makes needs it: a certificate for a server that is an authority as well, which RFC 5280 (section
//! 4.2.1.9) leaves open and webpki refuses (`CaUsedAsEndEntity`).
//!
//! Must not: know where roots come from, or forgive anything else that webpki says.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, RustlsConnector,
    TcpConnector, Transport, TransportAdapter,
};

use super::TlsLimits;
use super::socks::Socks;

/// A client's certificates, its own first, and their key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What makes connections, through the proxy of the client's settings if there is one.
pub(super) fn connector(
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
    limits: &TlsLimits,
) -> Result<impl Connector, rustls::Error> {
    let tls = TlsConnector { config: Arc::new(config(roots, identity, limits)?) };
    Ok(connected().chain(tls))
}

/// The same without TLS, or with one that verifies nothing, as the client's settings say.
pub(super) fn unverified() -> impl Connector {
    connected().chain(RustlsConnector::default())
}

/// Connections without TLS.
fn connected() -> impl Connector {
    ().chain(Socks::default()).chain(ConnectProxyConnector::default()).chain(TcpConnector::default())
}

fn config(
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
    limits: &TlsLimits,
) -> Result<ClientConfig, rustls::Error> {
    let provider = limits.provider();
    let verifier = Verifier::new(roots, &provider);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    // Every verifier but rustls' own is "dangerous".
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Says whether a server's certificate is one to trust.
struct Verifier {
    anchors: RootCertStore,
    roots: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(roots: Vec<CertificateDer<'static>>, provider: &CryptoProvider) -> Self {
        let mut anchors = RootCertStore::empty();
        let (_, ignored) = anchors.add_parsable_certificates(roots.iter().cloned());
        if ignored > 0 {
            log::debug!("root certificates: {ignored} are not understood");
        }
        Self { anchors, roots, algorithms: provider.signature_verification_algorithms }
    }

    /// Whether all that webpki has against this certificate is that it is an authority's, and it is a root. webpki looks at the validity
    /// first and at the extended key usage afterwards, so that only the usage is still to be asked for.
    fn is_root_itself(&self, error: &rustls::Error, certificate: &CertificateDer<'_>) -> bool {
        let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
        matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
            && self.roots.iter().any(|root| root.as_ref() == certificate.as_ref())
            && may_serve(certificate)
    }
}

/// Whether a certificate has no extended key usage, or one with servers in it. These are object identifiers in DER (RFC 5280, section
/// 4.2.1.12), and it is a root whose bytes are looked through: what else could look like them was put there by whom we trust.
fn may_serve(certificate: &[u8]) -> bool {
    const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
    const SERVER_AUTH: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    let has = |identifier: &[u8]| certificate.windows(identifier.len()).any(|window| window == identifier);
    !has(EXTENDED_KEY_USAGE) || has(SERVER_AUTH)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.anchors, intermediates, now, self.algorithms.all)
            .or_else(|error| if self.is_root_itself(&error, end_entity) { Ok(()) } else { Err(error) })?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

/// The last link of the chain: TLS over what the others connected. ureq's own takes no verifier but its own.
#[derive(Debug)]
struct TlsConnector {
    config: Arc<ClientConfig>,
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare)
            .map_err(|_| ureq::Error::Tls("the server's name is none that a certificate can have"))?;
        let mut conn = ClientConnection::new(Arc::clone(&self.config), name.to_owned()).map_err(ureq::Error::Rustls)?;
        let mut sock = TransportAdapter::new(Box::new(transport) as Box<dyn Transport>, Arc::clone(&details.current_time));
        sock.set_timeout(details.timeout);
        conn.complete_io(&mut sock)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream: StreamOwned { conn, sock } })))
    }
}

/// A connection after its handshake.
struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter<Box<dyn Transport>>>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    // Of `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost -addext
    // subjectAltName=DNS:localhost,IP:127.0.0.1`, which makes authorities; the last with `-addext extendedKeyUsage=clientAuth`.
    const OWN: &str = "-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUNPFo/HnozFuKaT09UVRXgtdi/I4wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjA5MDkyNVoYDzIxMjYxMDI5
MDkwOTI1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT4q/kb8bZAFg9T3mD9q4VSJR5bgejNMBTQr8ZHfN5cOnkWiMaJYFrE
JTNjVSpVI5/8hdPDvBD3mY1OWJ5YpzgAo28wbTAdBgNVHQ4EFgQU2wfkmaKSgZA4
aAIesio13C1s6vIwHwYDVR0jBBgwFoAU2wfkmaKSgZA4aAIesio13C1s6vIwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhANZy0W/1p7zGCUT09/D0PDV/ZL1GtnmAoyBLuZbKaNRyAiEA
xQTIkCbUvOmOP+W7fvJ15hgngO20tWfLXc3lNT6GACA=
-----END CERTIFICATE-----";
    const OTHER: &str = "-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUQsNJaCe6FFNM4QV+1/zcK8Cq3VcwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjA5MDkyNVoYDzIxMjYxMDI5
MDkwOTI1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASb7e4nfnY/j2pFWnpLZbWDOQcnfSd2+yIQtMlRHZhISZU3Zqc6pQGf
LxH6GL55srv/v+r7dXvpJq+LwNDS/eW5o28wbTAdBgNVHQ4EFgQU2yY+HdMO7V/O
c0RPTD22qPlHnYMwHwYDVR0jBBgwFoAU2yY+HdMO7V/Oc0RPTD22qPlHnYMwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgSmRLcy5G5e06k5gIMd+GQDP3UqSyJiplCyaKFhLmf74CIG6v
3Mm5Lp+WBgRhHPBMpANGpQb/M0+Hf2JZOScA0SqX
-----END CERTIFICATE-----";
    const CLIENT: &str = "-----BEGIN CERTIFICATE-----
MIIBsjCCAVigAwIBAgIUJLL2vEgz2pi68MKF/KmgXSd7imUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjA5MDkyNVoYDzIxMjYxMDI5
MDkwOTI1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARhSI1mMcbmSM7cEKFFCVQm8hkyujlpRtf99EWY5a1XcC8Y+TMo2S6G
1iScBSTBoegAOUhgkkUb5qHFkPEdGdp0o4GFMIGCMB0GA1UdDgQWBBRY4oJHQhNL
6orvX8OjvyGlrT23YTAfBgNVHSMEGDAWgBRY4oJHQhNL6orvX8OjvyGlrT23YTAP
BgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATATBgNV
HSUEDDAKBggrBgEFBQcDAjAKBggqhkjOPQQDAgNIADBFAiEA/Q7OYCA2xhRvIY+f
JSzazv31YPiX6lSe84+//idxADcCIH4HAZNeIpCFWrM4yC7cR9mIx6oduk2sD1f4
mDrsKuN4
-----END CERTIFICATE-----";

    /// What is said of a server with the certificate `pem` so many years after 2026 began.
    fn verified(roots: &[&str], pem: &str, name: &'static str, years: i64) -> Result<(), String> {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let roots = roots.iter().map(|pem| certificate(pem)).collect();
        let verifier = Verifier::new(roots, &rustls::crypto::ring::default_provider());
        let seconds = 1_798_761_600 + years * 31_557_600;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.try_into().unwrap()));
        let name = ServerName::try_from(name).unwrap();
        let said = verifier.verify_server_cert(&certificate(pem), &[], &name, &[], now);
        said.map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn an_authority_that_is_a_root_itself_may_be_a_server() {
        for name in ["localhost", "127.0.0.1"] {
            assert_eq!(verified(&[OTHER, OWN], OWN, name, 1), Ok(()), "{name}");
        }
        for (roots, pem, name, years, why) in [
            (&[OWN][..], OWN, "registry.invalid", 1, "NotValidForName"),
            (&[OWN], OWN, "127.0.0.2", 1, "NotValidForName"),
            (&[OWN], OWN, "localhost", 101, "Expired"),
            (&[OWN], OWN, "localhost", -2, "NotValidYet"),
            (&[OTHER], OWN, "localhost", 1, "CaUsedAsEndEntity"),
            (&[], OWN, "localhost", 1, "CaUsedAsEndEntity"),
            (&[CLIENT], CLIENT, "localhost", 1, "CaUsedAsEndEntity"),
        ] {
            let error = verified(roots, pem, name, years).unwrap_err();
            assert!(error.contains(why), "{name} after {years} years: {error}");
        }
    }
}
