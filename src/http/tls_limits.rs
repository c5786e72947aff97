//! Which of TLS may be spoken: versions, cipher suites and groups, where somebody wants less than there is.
//!
//! Invariant: limits leave something to speak, and hold for every connection of a client, verified or not, to servers and proxies. What
//! is left stays in the order of rustls, which puts the better first. Pure.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::{AlertDescription as Alert, Error, NamedGroup, PeerIncompatible, PeerMisbehaved, SupportedCipherSuite};

/// What connections may use. The default is all that there is.
#[derive(Clone, Default)]
pub struct TlsLimits(Option<Arc<Limits>>);

struct Limits {
    /// What is left.
    provider: Arc<CryptoProvider>,
    /// Somebody chose among the cipher suites.
    suites: bool,
    /// Somebody chose among the groups.
    groups: bool,
}

/// Why limits are none to connect with: of what is wanted this program has nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingLeft {
    /// No cipher suite.
    #[error("nothing is left to connect with: {}this program has {}", with_1_3(.only_1_3), .has.join(", "))]
    CipherSuites {
        /// Those of older versions than TLS 1.3 do not count.
        only_1_3: bool,
        /// What there is, by IANA's names.
        has: Vec<String>,
    },
    /// No group.
    #[error("nothing is left to connect with: this program has {}", .has.join(", "))]
    NamedGroups {
        /// What there is, by IANA's names.
        has: Vec<String>,
    },
}

fn with_1_3(only: &bool) -> &'static str {
    if *only { "with TLS 1.3 " } else { "" }
}

impl TlsLimits {
    /// Limits: nothing older than TLS 1.3, these cipher suites, these groups, by IANA's names. Names that this program does not have are
    /// passed over.
    pub fn new(only_1_3: bool, suites: Option<&[String]>, groups: Option<&[String]>) -> Result<Self, NothingLeft> {
        let mut provider = ring::default_provider();
        let wanted = |wanted: Option<&[String]>, name: &str| wanted.is_none_or(|names| names.iter().any(|one| one == name));
        provider.cipher_suites.retain(|suite| !only_1_3 || suite.tls13().is_some());
        let has: Vec<String> = provider.cipher_suites.iter().map(suite_name).collect();
        provider.cipher_suites.retain(|suite| wanted(suites, &suite_name(suite)));
        if provider.cipher_suites.is_empty() {
            return Err(NothingLeft::CipherSuites { only_1_3, has });
        }
        let has: Vec<String> = provider.kx_groups.iter().map(|group| group_name(*group)).collect();
        provider.kx_groups.retain(|group| wanted(groups, &group_name(*group)));
        if provider.kx_groups.is_empty() {
            return Err(NothingLeft::NamedGroups { has });
        }
        let provider = Arc::new(provider);
        let limits = Self(Some(Arc::new(Limits { provider, suites: suites.is_some(), groups: groups.is_some() })));
        log::debug!("TLS is limited to {limits:?}");
        Ok(limits)
    }

    /// What rustls makes connections with.
    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        self.0.as_ref().map_or_else(|| Arc::new(ring::default_provider()), |limits| Arc::clone(&limits.provider))
    }

    /// What failed, in words that say what was allowed: `None` if it may be for another reason.
    pub(super) fn explain(&self, error: &Error) -> Option<String> {
        let Limits { provider, suites: chosen_suites, groups: chosen_groups } = self.0.as_deref()?;
        let of_version = matches!(
            error,
            Error::AlertReceived(Alert::ProtocolVersion)
                | Error::PeerIncompatible(
                    PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig | PeerIncompatible::ServerDoesNotSupportTls12Or13
                )
        );
        if of_version {
            return Some(format!("the server speaks no version of TLS that is allowed here: {} ({error})", versions(provider)));
        }
        let of_names = matches!(
            error,
            Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity | Alert::IllegalParameter)
                | Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon)
                | Error::PeerMisbehaved(
                    PeerMisbehaved::SelectedUnofferedCipherSuite
                        | PeerMisbehaved::SelectedUnofferedKxGroup
                        | PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedNamedGroup
                )
        );
        let chosen = [
            chosen_suites.then(|| format!("cipher suites {}", suites(provider))),
            chosen_groups.then(|| format!("groups {}", groups(provider))),
        ];
        let chosen: Vec<String> = chosen.into_iter().flatten().collect();
        let explains = of_names && !chosen.is_empty();
        explains.then(|| format!("the server may lack what is allowed here: {} ({error})", chosen.join("; ")))
    }
}

impl fmt::Debug for TlsLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("all"),
            Some(limits) => {
                let left = &limits.provider;
                write!(f, "{}: {}; {}", versions(left), suites(left), groups(left))
            }
        }
    }
}

fn versions(provider: &CryptoProvider) -> String {
    let has = |tls13: bool| provider.cipher_suites.iter().any(|suite| suite.tls13().is_some() == tls13);
    let versions = [("1.2", has(false)), ("1.3", has(true))];
    versions.iter().filter(|(_, there)| *there).map(|(version, _)| *version).collect::<Vec<_>>().join(" and ")
}

fn suites(provider: &CryptoProvider) -> String {
    provider.cipher_suites.iter().map(suite_name).collect::<Vec<_>>().join(", ")
}

fn groups(provider: &CryptoProvider) -> String {
    provider.kx_groups.iter().map(|group| group_name(*group)).collect::<Vec<_>>().join(", ")
}

/// IANA's name; those of TLS 1.3 have other ones in rustls.
fn suite_name(suite: &SupportedCipherSuite) -> String {
    suite.suite().as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1)
}

/// IANA's name, which differs from that of rustls in one case.
fn group_name(group: &dyn SupportedKxGroup) -> String {
    match group.name() {
        NamedGroup::X25519 => "x25519".to_owned(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(only_1_3: bool, suites: Option<&[&str]>, groups: Option<&[&str]>) -> Result<String, String> {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (suites, groups) = (suites.map(owned), groups.map(owned));
        let limits = TlsLimits::new(only_1_3, suites.as_deref(), groups.as_deref());
        limits.map(|limits| format!("{limits:?}")).map_err(|error| error.to_string())
    }

    #[test]
    fn names_that_are_wanted_and_there_are_left() {
        const SUITES_1_3: &str = "TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256";
        const GROUPS: &str = "x25519, secp256r1, secp384r1";
        assert_eq!(limits(true, None, None), Ok(format!("1.3: {SUITES_1_3}; {GROUPS}")));
        let all = limits(false, None, None).unwrap();
        assert!(all.starts_with(&format!("1.2 and 1.3: {SUITES_1_3}, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, ")), "{all}");
        let mixed = ["TLS_RSA_WITH_RC4_128_SHA", "TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];
        assert_eq!(limits(false, Some(&mixed), Some(&["secp521r1", "secp384r1"])), {
            Ok("1.2 and 1.3: TLS_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; secp384r1".into())
        });
        assert_eq!(limits(true, Some(&mixed), Some(&["X25519MLKEM768", "x25519"])), {
            Ok("1.3: TLS_CHACHA20_POLY1305_SHA256; x25519".into())
        });
        let none = "nothing is left to connect with:";
        let with_1_3 = format!("{none} with TLS 1.3 this program has {SUITES_1_3}");
        assert_eq!(limits(true, Some(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]), None), Err(with_1_3));
        let error = limits(false, Some(&[]), None).unwrap_err();
        assert!(error.starts_with(&format!("{none} this program has {SUITES_1_3}, TLS_ECDHE_")), "{error}");
        let error = limits(false, None, Some(&["X25519MLKEM768"]));
        assert_eq!(error, Err(format!("{none} this program has {GROUPS}")));
    }

    #[test]
    fn rustls_takes_every_limit() {
        for suite in &ring::default_provider().cipher_suites {
            let limits = TlsLimits::new(false, Some(&[suite_name(suite)]), None).unwrap();
            let builder = rustls::ClientConfig::builder_with_provider(limits.provider()).with_safe_default_protocol_versions();
            assert!(builder.is_ok(), "{suite:?}");
        }
    }

    #[test]
    fn only_what_limits_can_cause_is_explained() {
        let group = ["secp384r1".to_owned()];
        let (by_version, by_group) = (TlsLimits::new(true, None, None), TlsLimits::new(false, None, Some(&group)));
        let (by_version, by_group) = (by_version.unwrap(), by_group.unwrap());
        let version = Error::AlertReceived(Alert::ProtocolVersion);
        assert_eq!(by_version.explain(&version).unwrap(), {
            format!("the server speaks no version of TLS that is allowed here: 1.3 ({version})")
        });
        let failure = Error::AlertReceived(Alert::HandshakeFailure);
        assert_eq!(by_group.explain(&failure).unwrap(), {
            format!("the server may lack what is allowed here: groups secp384r1 ({failure})")
        });
        assert_eq!(by_version.explain(&failure), None);
        assert_eq!(by_group.explain(&Error::AlertReceived(Alert::BadCertificate)), None);
        assert_eq!(TlsLimits::default().explain(&version), None);
    }
}
