//! Addresses of the web: `http` and `https` only, and the origin that credentials belong to.
//!
//! Invariant: a `Url` has a scheme, a host and a port that were parsed, none of them by halves: no user information, no blank, no
//! control character, no backslash, no non-ASCII letter. Two of them have one [`Origin`] only if all three are equal (known attacks
//! A97, A101, A103: hosts are never compared by their endings). Pure.

use std::fmt;

/// Encrypted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// The word before `://`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Whom a request speaks to: what credentials are for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// A host name in lower case, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.host)?;
        if self.port == self.scheme.port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Origin {
    /// Whether the host is an address and not a name.
    pub fn is_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<std::net::Ipv4Addr>().is_ok()
    }
}

/// A whole address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    origin: Origin,
    /// Path and query; begins with a slash.
    target: String,
}

/// Why a text is no address for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address that can be asked: {reason}")]
pub struct InvalidUrl {
    /// The text, shortened.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The longest address that is taken, in bytes; those of signed downloads have some 2,000.
const MAX_BYTES: usize = 16 << 10;

impl Url {
    /// Reads an absolute address. A fragment is dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let refuse = |reason| InvalidUrl { text: text.chars().take(200).collect(), reason };
        check_letters(text).map_err(refuse)?;
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("it has no scheme"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(refuse("only http and https are asked")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let origin = parse_authority(scheme, &rest[..end]).map_err(refuse)?;
        Ok(Self { origin, target: normalized(rest.get(end..).unwrap_or_default()) })
    }

    /// The address of `target` (path and query) at `host`, which is a name or address with an optional port.
    pub fn at(scheme: Scheme, host: &str, target: &str) -> Result<Self, InvalidUrl> {
        Self::parse(&format!("{}://{host}{target}", scheme.name()))
    }

    /// What `reference` means in an answer from here (RFC 3986, section 5): absolute, or relative in any form.
    pub fn join(&self, reference: &str) -> Result<Self, InvalidUrl> {
        let refuse = |reason| InvalidUrl { text: reference.chars().take(200).collect(), reason };
        check_letters(reference).map_err(refuse)?;
        let scheme_end = reference.find(':').unwrap_or(usize::MAX);
        if scheme_end < reference.find(['/', '?', '#']).unwrap_or(reference.len()) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", self.origin.scheme.name()));
        }
        let path = self.path();
        let target = match reference.as_bytes().first() {
            None => self.target.clone(),
            Some(b'/') => normalized(reference),
            Some(b'?') => normalized(&format!("{path}{reference}")),
            Some(b'#') => self.target.clone(),
            Some(_) => {
                let directory = path.rfind('/').map_or("/", |at| &path[..=at]);
                normalized(&format!("{directory}{reference}"))
            }
        };
        Ok(Self { origin: self.origin.clone(), target })
    }

    /// The same address with these parameters added to its query, percent-encoded.
    #[must_use]
    pub fn with_query(&self, parameters: &[(&str, &str)]) -> Self {
        let mut target = self.target.clone();
        for (name, value) in parameters {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&encoded(name));
            target.push('=');
            target.push_str(&encoded(value));
        }
        Self { origin: self.origin.clone(), target }
    }

    /// Whom it speaks to.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Path and query, as they are sent.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

impl Url {
    /// The address without its query, which may hold a signature that works as a password: for messages.
    pub fn shown(&self) -> String {
        format!("{}{}", self.origin, self.path())
    }
}

fn check_letters(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_BYTES {
        return Err("it is too long");
    }
    let fine =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}');
    if text.bytes().all(fine) { Ok(()) } else { Err("it has a letter that must be encoded") }
}

fn parse_authority(scheme: Scheme, text: &str) -> Result<Origin, &'static str> {
    if text.contains('@') {
        return Err("it has a user name, which belongs to no address");
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None => scheme.port(),
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0).ok_or("its port is none")?
        }
        Some(_) => return Err("its port is none"),
    };
    let host = host.to_ascii_lowercase();
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let valid = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let label =
                |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            // One dot at the end is a name by itself, and another one than without.
            !host.is_empty() && host.strip_suffix('.').unwrap_or(&host).split('.').all(label)
        }
    };
    if valid { Ok(Origin { scheme, host, port }) } else { Err("its host is none") }
}

/// A path and query without fragment and without `.` and `..` (RFC 3986, section 5.2.4).
fn normalized(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let mut parts: Vec<&str> = Vec::new();
    let mut directory = false;
    for part in path.split('/').skip(usize::from(path.starts_with('/'))) {
        directory = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut target = format!("/{}", parts.join("/"));
    if directory && !target.ends_with('/') {
        target.push('/');
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// `text` with everything but unreserved letters percent-encoded (RFC 3986, section 2.3).
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_whole_or_not_at_all() {
        let cases = [
            ("https://r.io", "https://r.io/"),
            ("HTTPS://R.IO:443/A?b#c", "https://r.io/A?b"),
            ("http://r.io:5000/v2/", "http://r.io:5000/v2/"),
            ("https://[::1]:5/x", "https://[::1]:5/x"),
            ("http://r.io?x=/../y", "http://r.io/?x=/../y"),
            ("http://r.io/a/../../b/./c/..", "http://r.io/b/"),
            ("http://r.io./", "http://r.io./"),
        ];
        for (text, want) in cases {
            assert_eq!(Url::parse(text).map(|url| url.to_string()), Ok(want.to_owned()), "{text}");
        }
        for text in [
            "r.io",
            "ftp://r.io",
            "file:///etc/passwd",
            "unix:///run/x",
            "https://",
            "https:///x",
            "https://u@r.io/",
            "https://r.io@evil/",
            "https://r.io:/",
            "https://r.io:0/",
            "https://r.io:99999/",
            "https://r.io:5 /",
            "https://r.io\\evil/",
            "https://ö.io/",
            "https://r.io/a b",
            "https://r.io/\n",
            "https://[::1/",
            "https://..",
            "https://r.io:-1/",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn references_are_joined_as_the_standard_says() {
        let base = Url::parse("https://r.io:1/v2/a/b?x=1").unwrap();
        let cases = [
            ("/u", "https://r.io:1/u"),
            ("u?y", "https://r.io:1/v2/a/u?y"),
            ("../u", "https://r.io:1/v2/u"),
            ("/../x", "https://r.io:1/x"),
            ("?y=2", "https://r.io:1/v2/a/b?y=2"),
            ("", "https://r.io:1/v2/a/b?x=1"),
            ("//evil/u", "https://evil/u"),
            ("http://evil/u", "http://evil/u"),
            ("u?at=1:2", "https://r.io:1/v2/a/u?at=1:2"),
        ];
        for (reference, want) in cases {
            assert_eq!(base.join(reference).map(|url| url.to_string()), Ok(want.to_owned()), "{reference:?}");
        }
        for reference in ["file:///canary", "ftp://x/", "https://u:p@r.io:1/", "unix:/x", "javascript:x"] {
            assert!(base.join(reference).is_err(), "{reference:?}");
        }
    }

    /// A103.
    #[test]
    fn origins_are_equal_only_when_everything_is() {
        let origin = |text: &str| Url::parse(text).unwrap().origin().clone();
        assert_eq!(origin("https://r.io/a"), origin("https://R.io:443/b"));
        for other in
            ["http://r.io", "https://r.io:5000", "https://evilr.io", "https://r.io.evil", "https://r.io.", "https://sub.r.io"]
        {
            assert_ne!(origin("https://r.io"), origin(other), "{other}");
        }
    }

    #[test]
    fn parameters_are_encoded() {
        let url = Url::parse("https://r.io/token").unwrap().with_query(&[("scope", "repository:a/b:pull,push"), ("x", "ü&")]);
        assert_eq!(url.to_string(), "https://r.io/token?scope=repository%3Aa%2Fb%3Apull%2Cpush&x=%C3%BC%26");
        assert_eq!(url.shown(), "https://r.io/token");
    }
}
