//! What the operand of `build`, or the value of a `--build-context`, says. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Error;
use crate::container::fetch::is_address;

/// Where a context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// `-`: it comes over standard input.
    Stdin,
    /// On this machine.
    Path(PathBuf),
    /// At an address of `container::fetch`.
    Remote(OsString),
}

/// What addresses elsewhere begin with that name what is here.
const LOCAL: &str = "file://";

impl Operand {
    /// What `word` says.
    ///
    /// # Errors
    /// It is an address of a kind that is not fetched.
    pub fn of(word: &OsStr) -> Result<Self, Error> {
        let bytes = word.as_bytes();
        if bytes == b"-" {
            return Ok(Self::Stdin);
        }
        if is_address(word) {
            return Ok(Self::Remote(word.to_os_string()));
        }
        if bytes.starts_with(b"github.com/") {
            return Ok(Self::Remote(github(&word.to_string_lossy()).into()));
        }
        if bytes.starts_with(LOCAL.as_bytes()) {
            return Err(Error::Scheme { scheme: LOCAL });
        }
        Ok(Self::Path(PathBuf::from(if word.is_empty() { OsStr::new(".") } else { word })))
    }

    /// Its name for people: of an address nothing that may be secret.
    pub fn shown(&self) -> String {
        match self {
            Self::Stdin => "-".to_owned(),
            Self::Path(path) => path.display().to_string(),
            Self::Remote(address) => without_secrets(&address.to_string_lossy()),
        }
    }
}

/// `github.com/OWNER/REPOSITORY[#REF[:DIR]]`: the repository itself, so that its default branch may have any name.
fn github(text: &str) -> String {
    let (repository, fragment) = match text.split_once('#') {
        Some((repository, fragment)) => (repository, format!("#{fragment}")),
        None => (text, String::new()),
    };
    let (repository, query) = match repository.split_once('?') {
        Some((repository, query)) => (repository, format!("?{query}")),
        None => (repository, String::new()),
    };
    let repository = repository.trim_end_matches('/');
    let ending = if repository.ends_with(".git") { "" } else { ".git" };
    format!("https://{repository}{ending}{query}{fragment}")
}

/// The address without user, password and query.
fn without_secrets(address: &str) -> String {
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str) -> Operand {
        Operand::of(OsStr::new(word)).unwrap()
    }

    #[test]
    fn operands_are_paths_unless_they_begin_like_an_address() {
        for word in ["dir", "./-", "-x", "/a/b", "http:/x", "githubXcom/a/b", "./github.com/a/b", "a:b"] {
            assert_eq!(of(word), Operand::Path(word.into()), "{word}");
        }
        assert_eq!((of("-"), of("")), (Operand::Stdin, Operand::Path(".".into())));
        let remote = |address: &str| Operand::Remote(address.into());
        assert_eq!(of("https://h/x.tar.gz"), remote("https://h/x.tar.gz"));
        assert_eq!(of("github.com/a/b"), remote("https://github.com/a/b.git"));
        assert_eq!(of("github.com/a/b/#v1:sub"), remote("https://github.com/a/b.git#v1:sub"));
        assert_eq!(of("github.com/a/b.git?ref=x"), remote("https://github.com/a/b.git?ref=x"));
        for address in ["git://h/a.git", "ssh://u@h:22/a#v1:sub", "git@h:a.git"] {
            assert_eq!(of(address), remote(address));
        }
        assert!(matches!(Operand::of(OsStr::new("file:///a")), Err(Error::Scheme { .. })));
    }

    /// A91.
    #[test]
    fn what_is_shown_of_an_address_is_no_secret() {
        assert_eq!(of("https://user:token@h:1/a/b.git?token=x#ref").shown(), "https://h:1/a/b.git");
        assert_eq!(of("https://user:token@h").shown(), "https://h");
    }
}
