//! SOCKS proxies (RFC 1928, with the user and password of RFC 1929): ureq speaks to them, the words are ours.
//!
//! Invariant: the proxy looks names up, as with Go's programs (`net/http`, `Transport.Proxy`), which make no difference between `socks5`
//! and `socks5h`: a name that only the proxy knows is found, and this network's servers do not learn which names are asked for.

use std::borrow::Cow;
use std::io;

use ureq::unversioned::transport::{ConnectionDetails, Connector, SocksConnector, Transport};
use ureq::{Proxy, ProxyProtocol};

use super::error;

/// The proxy at an address of the environment, as ureq has it; what is wrong with it, if it is none for us.
pub(super) fn proxy(address: &str) -> Result<Proxy, String> {
    const LOCAL: &str = "socks5://";
    let by_name = match address.get(..LOCAL.len()) {
        Some(scheme) if scheme.eq_ignore_ascii_case(LOCAL) => Cow::from(format!("socks5h://{}", &address[LOCAL.len()..])),
        _ => Cow::from(address),
    };
    // `socks` alone is a word of ureq's, and its lookup is here.
    match Proxy::new(&by_name) {
        Ok(proxy) if matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https | ProxyProtocol::Socks5h) => {
            Ok(proxy)
        }
        Ok(_) => Err("only those of http, https and socks5 are supported".to_owned()),
        Err(_) => Err("it is no address".to_owned()),
    }
}

/// The first link of the chain of connectors: through a SOCKS proxy, if the client has one.
#[derive(Debug, Default)]
pub(super) struct Socks(SocksConnector);

impl<In: Transport> Connector<In> for Socks {
    type Out = <SocksConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let through = details.config.proxy().is_some_and(|proxy| proxy.protocol() == ProxyProtocol::Socks5h);
        self.0.connect(details, chained).map_err(|error| if through { of_proxy(error) } else { error })
    }
}

/// What went wrong on the way to the proxy or at it, which is nothing that the server said.
fn of_proxy(error: ureq::Error) -> ureq::Error {
    let problem = match error {
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "it broke off".to_owned(),
        // Whoever knows that there is a proxy has words for these.
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused || error::is_of_lookup(&error) => {
            return ureq::Error::Io(error);
        }
        ureq::Error::Io(error) => error.to_string(),
        other => return other,
    };
    ureq::Error::ConnectProxyFailed(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_those_that_go_knows() {
        for (address, want) in [
            ("p:1", Some(ProxyProtocol::Http)),
            ("http://p", Some(ProxyProtocol::Http)),
            ("https://u:p@p:1", Some(ProxyProtocol::Https)),
            ("socks5://p", Some(ProxyProtocol::Socks5h)),
            ("SOCKS5://u:p@[::1]:1", Some(ProxyProtocol::Socks5h)),
            ("socks5h://p:1", Some(ProxyProtocol::Socks5h)),
            ("socks://p", None),
            ("socks4://p", None),
            ("ftp://p", None),
            ("socks5://", None),
            ("", None),
            ("sock\u{e9}s5://p", None),
        ] {
            let found = proxy(address);
            assert_eq!(found.as_ref().ok().map(Proxy::protocol), want, "{address}: {found:?}");
            assert!(found.is_err() || !found.is_ok_and(|proxy| proxy.resolve_target()), "{address}");
        }
        assert_eq!(proxy("socks5://u:p%40@h").unwrap().password(), Some("p@"));
    }
}
