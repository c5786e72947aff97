//! Where a git repository is: `http(s)://`, `git://`, `ssh://` and `git@HOST:PATH`. Pure.
//!
//! Invariant (known attacks A113, A116): what is handed to git(1) as an address begins with its scheme or with `git@`, and user, host and
//! path consist of letters that are nothing special to git, ssh(1) or a shell; none of them begins with a dash.

use crate::http::Url;

/// The longest address, in bytes.
const LONGEST: usize = 4096;

/// Where a repository is.
#[derive(Debug, PartialEq, Eq)]
pub enum RepositoryAddress {
    /// `http://` or `https://`, without user and password.
    Web(Url),
    /// `git://`
    Git(String),
    /// `ssh://[USER@]HOST[:PORT]/PATH`, `git@HOST:PATH`
    Ssh(String),
}

/// Whether a word begins like an address that can only be a repository's.
pub(super) fn is_repository(word: &[u8]) -> bool {
    let is_short = word.strip_prefix(b"git@").is_some_and(|rest| rest.contains(&b':'));
    is_short || word.starts_with(b"git://") || word.starts_with(b"ssh://")
}

impl RepositoryAddress {
    /// Reads the address of a word of which `is_repository` holds, without what follows `#` or `?`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("it is too long");
        }
        if let Some(rest) = text.strip_prefix("git://") {
            check_authority(rest.split_once('/').ok_or("it names no repository")?)?;
            return Ok(Self::Git(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("ssh://") {
            let (authority, path) = rest.split_once('/').ok_or("it names no repository")?;
            let host = match authority.rsplit_once('@') {
                Some((user, _)) if user.contains(':') => return Err("a password is not handed to ssh: use a key"),
                Some((user, _)) if !is_word(user) => return Err("the user has letters that are none of a name"),
                Some((_, host)) => host,
                None => authority,
            };
            check_authority((host, path))?;
            return Ok(Self::Ssh(text.to_owned()));
        }
        let rest = text.strip_prefix("git@").ok_or("its scheme is not known")?;
        let (host, path) = rest.split_once(':').ok_or("it names no repository")?;
        match is_host(host) && is_path(path) {
            true => Ok(Self::Ssh(text.to_owned())),
            false => Err("host or path have letters that are none of an address"),
        }
    }

    /// As git takes it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Web(url) => url.to_string(),
            Self::Git(text) | Self::Ssh(text) => text.clone(),
        }
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Web(url) => url.shown(),
            Self::Git(text) | Self::Ssh(text) => text.clone(),
        }
    }

    /// What it and its submodules may be fetched by.
    pub(super) fn protocols(&self) -> &'static [&'static str] {
        match self {
            Self::Web(_) => &["http", "https"],
            Self::Git(_) => &["git", "http", "https"],
            Self::Ssh(_) => &["ssh", "http", "https"],
        }
    }
}

fn check_authority((authority, path): (&str, &str)) -> Result<(), &'static str> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("its port is no number of a port");
    }
    match is_host(host) && is_path(path) {
        true => Ok(()),
        false => Err("host or path have letters that are none of an address"),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_word(text),
    }
}

fn is_path(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./~+@%,=:".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_before_git_sees_them() {
        for word in ["git://h/a.git", "git://h:9418/a", "git://[::1]:94/a", "git://h/~u/a"] {
            assert_eq!(RepositoryAddress::parse(word), Ok(RepositoryAddress::Git(word.to_owned())));
        }
        for word in
            ["ssh://h/a", "ssh://git@h:22/a.git", "ssh://a.b@[::1]/a", "git@h:a", "git@github.com:owner/a.git", "git@h:/a"]
        {
            assert_eq!(RepositoryAddress::parse(word), Ok(RepositoryAddress::Ssh(word.to_owned())));
        }
        for word in [
            "git://h",
            "git://h/",
            "git://u@h/a",
            "git://-oProxyCommand=x/a",
            "git://h:x/a",
            "git://h:99999/a",
            "git://h/-a",
            "ssh://-oProxyCommand=touch%20pwned/a.git",
            "ssh://-u@h/a",
            "ssh://u:p@h/a",
            "ssh://h/a b",
            "ssh://h/a'b",
            "ssh://h/$(x)",
            "ssh://h/a;b",
            "ssh://h:-1/a",
            "git@-oProxyCommand=x:a.git",
            "git@h:-a",
            "git@h:",
            "git@:a",
            "git@h:a`b`",
            "git@h\n:a",
            "file:///a",
        ] {
            assert!(RepositoryAddress::parse(word).is_err(), "{word}");
        }
        let (long, is_one) = (format!("git@h:{}", "a".repeat(LONGEST)), |word: &str| is_repository(word.as_bytes()));
        assert!(RepositoryAddress::parse(&long).is_err());
        assert!(is_one("git@h:a") && is_one("git://") && is_one("ssh://x"));
        assert!(!is_one("git@h") && !is_one("me@h:a") && !is_one("./git@h:a") && !is_one("GIT://h/a"));
    }
}
