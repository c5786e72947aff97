//! Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, as Go's programs read them.

use std::fmt;
use std::net::IpAddr;

use super::{Origin, Scheme};

/// The proxies of the environment. They may hold passwords, which are not shown.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    exceptions: Vec<Exception>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .finish_non_exhaustive()
    }
}

/// One word of NO_PROXY.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    /// A network: address and length of the prefix.
    Network(IpAddr, u8),
    /// A domain, lower case, and a port if one was given.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// Reads the variables; those in capitals win over the small ones.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let read = |name: &str| {
            let given = |name: &str| variable(name).filter(|value| !value.is_empty());
            given(name).or_else(|| given(&name.to_ascii_lowercase()))
        };
        let exceptions = read("NO_PROXY").unwrap_or_default();
        Self {
            http: read("HTTP_PROXY"),
            https: read("HTTPS_PROXY"),
            exceptions: exceptions.split(',').filter_map(|word| Exception::parse(word.trim())).collect(),
        }
    }

    /// The address of the proxy for a server. This machine itself is never asked through one.
    pub fn of(&self, origin: &Origin) -> Option<&str> {
        let proxy = match origin.scheme {
            Scheme::Http => self.http.as_deref()?,
            Scheme::Https => self.https.as_deref()?,
        };
        let address: Option<IpAddr> = origin.host.trim_matches(['[', ']']).parse().ok();
        if origin.host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        let excepted = self.exceptions.iter().any(|exception| exception.holds(&origin.host, address, origin.port));
        (!excepted).then_some(proxy)
    }
}

impl Exception {
    fn parse(word: &str) -> Option<Self> {
        if word.is_empty() {
            return None;
        }
        if word == "*" {
            return Some(Self::Everything);
        }
        let network = match word.split_once('/') {
            Some((address, length)) => address.parse().ok().zip(length.parse().ok()),
            None => word.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|address| (address, width(&address))),
        };
        if let Some((address, length)) = network {
            return (length <= width(&address)).then_some(Self::Network(address, length));
        }
        let (name, port) = match word.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (word, None),
        };
        let name = name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase();
        let itself = !name.starts_with('.');
        Some(Self::Domain { name: name.trim_start_matches('.').to_owned(), itself, port })
    }

    fn holds(&self, host: &str, address: Option<IpAddr>, at: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network, length) => address.is_some_and(|address| in_network(address, *network, *length)),
            Self::Domain { name, itself, port } => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                port.is_none_or(|port| port == at) && (below || (*itself && host == name))
            }
        }
    }
}

fn width(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn in_network(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let (address, network, width): (u128, u128, u32) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (address.to_bits().into(), network.to_bits().into(), 32),
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let shift = width.saturating_sub(length.into());
    address.checked_shr(shift).unwrap_or(0) == network.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Url;

    fn proxy(exceptions: &str, url: &str) -> Option<String> {
        let variable = |name: &str| match name {
            "http_proxy" => Some("http://p:1".to_owned()),
            "HTTPS_PROXY" => Some("http://s:2".to_owned()),
            "NO_PROXY" => Some(exceptions.to_owned()),
            _ => None,
        };
        Proxies::from_variables(&variable).of(Url::parse(url).unwrap().origin()).map(str::to_owned)
    }

    /// As Go's httpproxy: the capitals win, an empty variable is none, and ALL_PROXY is not read.
    #[test]
    fn variables_are_those_that_go_reads() {
        let of = |variables: &[(&str, &str)], url: &str| {
            let variable =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Proxies::from_variables(&variable).of(Url::parse(url).unwrap().origin()).map(str::to_owned)
        };
        let (http, https) = ("http://r.io", "https://r.io");
        assert_eq!(of(&[("HTTP_PROXY", "A:1"), ("http_proxy", "b:1")], http).as_deref(), Some("A:1"));
        assert_eq!(of(&[("HTTP_PROXY", ""), ("http_proxy", "b:1")], http).as_deref(), Some("b:1"));
        assert_eq!(of(&[("http_proxy", "b:1")], https), None);
        assert_eq!(of(&[("ALL_PROXY", "b:1"), ("all_proxy", "b:1")], http), None);
        assert_eq!(of(&[("https_proxy", "b:1"), ("no_proxy", "r.io")], https), None);
    }

    #[test]
    fn the_scheme_chooses_and_exceptions_hold() {
        assert_eq!(proxy("", "http://r.io").as_deref(), Some("http://p:1"));
        assert_eq!(proxy("", "https://r.io").as_deref(), Some("http://s:2"));
        let excepted = [
            ("*", "https://r.io"),
            ("r.io", "https://r.io"),
            ("r.io", "https://a.r.io"),
            (".r.io", "https://a.r.io"),
            ("*.r.io", "https://a.r.io"),
            ("x, r.io:5000", "https://r.io:5000"),
            ("10.0.0.0/8", "https://10.1.2.3"),
            ("10.1.2.3", "https://10.1.2.3"),
            ("::/0", "https://[fe80::1]"),
            ("", "http://localhost:5000"),
            ("", "http://127.0.0.9"),
            ("", "http://[::1]"),
        ];
        for (exceptions, url) in excepted {
            assert_eq!(proxy(exceptions, url), None, "{exceptions} {url}");
        }
        for (exceptions, url) in [
            (".r.io", "https://r.io"),
            ("r.io", "https://evilr.io"),
            ("r.io:5000", "https://r.io"),
            ("10.0.0.0/8", "https://11.0.0.1"),
            ("10.0.0.0/99", "https://10.0.0.1"),
            (",", "https://r.io"),
        ] {
            assert!(proxy(exceptions, url).is_some(), "{exceptions} {url}");
        }
        for (exceptions, url, direct) in [
            (" R.IO ", "https://r.io", true),
            ("r.io:443", "https://r.io", true),
            ("r.io:80", "http://r.io", true),
            ("r.io:80", "https://r.io", false),
            ("*.r.io", "https://r.io", false),
            ("1.2.3.4:80", "http://1.2.3.4", true),
            ("1.2.3.4:81", "http://1.2.3.4", false),
            ("[2001:db8::1]:443", "https://[2001:db8::1]", true),
            ("2001:db8::/32", "https://[2001:db8::1]", true),
            ("0.0.0.0/0", "https://[2001:db8::1]", false),
            ("1.2.3.0/24", "http://1.2.3.4.example", false),
            ("io", "https://r.io", true),
            ("", "https://localhost.example", false),
        ] {
            assert_eq!(proxy(exceptions, url).is_none(), direct, "{exceptions} {url}");
        }
        assert_eq!(format!("{:?}", Proxies::from_variables(&|_| Some("http://u:secret@p".into()))).find("secret"), None);
    }
}
