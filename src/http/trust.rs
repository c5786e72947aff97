//! Whom a connection trusts: the system's roots, and what a directory of certificates adds for one registry (containers-certs.d(5)).
//!
//! Invariant: a `Trust` is used for the origin that it was made for and no other: whoever follows a redirect or asks a token server
//! elsewhere takes [`Trust::system`] (known attacks A98). The system's roots are read once, at the first https request.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::unversioned::transport::Connector;

use super::{TlsLimits, tls};

/// Whether certificates are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// They must be those of the server, by a root that is trusted.
    Required,
    /// Any will do (`--tls-verify=false`).
    Off,
}

/// What a connection is made with.
#[derive(Debug)]
pub struct Trust {
    verification: Verification,
    roots: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

/// Why a directory of certificates cannot be used. The words are the other tools'.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("reading {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has no certificate or key in it.
    #[error("{path:?} holds no {what} in PEM form")]
    NoPem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A client certificate without its key.
    #[error("missing key {key} for client certificate {certificate}. Note that CA certificates should use the extension .crt")]
    NoKey {
        /// The missing file.
        key: String,
        /// The file that needs it.
        certificate: String,
    },
    /// A key without its certificate.
    #[error("missing client certificate {certificate} for key {key}")]
    NoCertificate {
        /// The missing file.
        certificate: String,
        /// The file that needs it.
        key: String,
    },
    /// Key and certificate do not belong together, or are of a kind that is not supported.
    #[error("client certificate {path:?}: {problem}")]
    Pair {
        /// The certificate.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// The largest file of certificates that is read: 4 MiB.
const MAX_BYTES: u64 = 4 << 20;

impl Trust {
    /// The system's roots and nothing else.
    pub fn system() -> Arc<Self> {
        static SYSTEM: OnceLock<Arc<Trust>> = OnceLock::new();
        let system = || Arc::new(Self { verification: Verification::Required, roots: Vec::new(), client: None });
        Arc::clone(SYSTEM.get_or_init(system))
    }

    /// The system's roots, and of the files of `directory` each `*.crt` as one more and `*.cert` with its `*.key` for the client. A
    /// directory that does not exist adds nothing.
    pub fn with_directory(verification: Verification, directory: Option<&Path>) -> Result<Self, CertificateError> {
        let mut trust = Self { verification, roots: Vec::new(), client: None };
        let Some(directory) = directory else { return Ok(trust) };
        let mut paths: Vec<PathBuf> = match std::fs::read_dir(directory) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(CertificateError::Read { path: directory.to_owned(), source }),
        };
        paths.sort();
        for path in &paths {
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => trust.roots.extend(certificates(path)?),
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !paths.contains(&key) {
                        return Err(CertificateError::NoKey { key: name(&key), certificate: name(path) });
                    }
                    trust.client = Some(client_certificate(path, &key)?);
                }
                Some("key") if !paths.contains(&path.with_extension("cert")) => {
                    let certificate = name(&path.with_extension("cert"));
                    return Err(CertificateError::NoCertificate { certificate, key: name(path) });
                }
                _ => {}
            }
        }
        Ok(trust)
    }

    /// Whether certificates are looked at.
    pub fn verification(&self) -> Verification {
        self.verification
    }

    /// The settings of connections whose certificates nobody looks at.
    pub(super) fn unverified(&self, limits: &TlsLimits) -> TlsConfig {
        // ureq offers every version that the provider has a cipher suite of.
        let builder =
            TlsConfig::builder().unversioned_rustls_crypto_provider(limits.provider()).client_cert(self.client.clone());
        builder.disable_verification(true).root_certs(none()).build()
    }

    /// What makes connections whose certificates are verified.
    pub(super) fn verified(&self, limits: &TlsLimits) -> Result<impl Connector, rustls::Error> {
        let roots = system_roots().iter().chain(&self.roots).map(der).collect();
        let identity = self.client.as_ref().map(|client| {
            let key = PrivateKeyDer::try_from(client.private_key().der())
                .map_err(|problem| rustls::Error::General(problem.to_owned()));
            Ok::<_, rustls::Error>((client.certs().iter().map(der).collect(), key?.clone_key()))
        });
        tls::connector(roots, identity.transpose()?, limits)
    }
}

fn der(certificate: &Certificate<'_>) -> CertificateDer<'static> {
    CertificateDer::from(certificate.der().to_vec())
}

/// No root at all, for connections in the clear.
pub(super) fn none() -> RootCerts {
    RootCerts::Specific(Arc::default())
}

/// The roots of the system (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else the usual places). What cannot be read there is left out: a server
/// that needs it is then not trusted.
fn system_roots() -> &'static [Certificate<'static>] {
    static ROOTS: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            log::debug!("root certificates: {error}");
        }
        loaded.certs.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect()
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    read.map_err(|source| CertificateError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, CertificateError> {
    let bytes = read(path)?;
    let found: Vec<_> = chain(&bytes).iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    if found.is_empty() { Err(CertificateError::NoPem { path: path.to_owned(), what: "certificate" }) } else { Ok(found) }
}

fn chain(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

/// Certificate and key, tried here: the client takes them for granted.
fn client_certificate(path: &Path, key: &Path) -> Result<ClientCert, CertificateError> {
    let (bytes, key_bytes) = (read(path)?, read(key)?);
    let certificates = chain(&bytes);
    if certificates.is_empty() {
        return Err(CertificateError::NoPem { path: path.to_owned(), what: "certificate" });
    }
    let no_key = || CertificateError::NoPem { path: key.to_owned(), what: "private key" };
    let parsed = PrivateKeyDer::from_pem_slice(&key_bytes).map_err(|_| no_key())?;
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(certificates.clone(), parsed, &provider)
        .map_err(|error| CertificateError::Pair { path: path.to_owned(), problem: error.to_string() })?;
    let chain: Vec<_> = certificates.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    Ok(ClientCert::new_with_certs(&chain, PrivateKey::from_pem(&key_bytes).map_err(|_| no_key())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> Result<Trust, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let shown = |error: CertificateError| error.to_string().replace(&*dir.path().to_string_lossy(), "");
        Trust::with_directory(Verification::Required, Some(dir.path())).map_err(shown)
    }

    #[test]
    fn files_go_by_their_endings() {
        assert!(directory(&[]).is_ok());
        assert!(directory(&[("notes.txt", "x")]).is_ok());
        assert_eq!(directory(&[("ca.crt", "x")]).unwrap_err(), "\"/ca.crt\" holds no certificate in PEM form");
        let missing =
            "missing key c.key for client certificate c.cert. Note that CA certificates should use the extension .crt";
        assert_eq!(directory(&[("c.cert", "x")]).unwrap_err(), missing);
        assert_eq!(directory(&[("c.key", "x")]).unwrap_err(), "missing client certificate c.cert for key c.key");
        assert!(Trust::with_directory(Verification::Required, Some(Path::new("/nonexistent/certs"))).is_ok());
    }
}
