//! What an operand of `add` is: a path, the address of a file, or a git repository. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, PathBuf};

use super::error::Error;
use super::repository::{RepositoryAddress, is_repository};
use super::{GitDirectory, Submodules};
use crate::http::{Authorization, Url, encoded};

/// A source at another machine.
#[derive(Debug, PartialEq, Eq)]
pub enum Remote {
    /// A file.
    Url {
        /// Its address, without user and password.
        url: Url,
        /// Those, if it had them.
        login: Option<Authorization>,
        /// The name that the address ends with, if that is one.
        name: Option<OsString>,
    },
    /// `https://….git[#REF[:DIR]]`, `https://….git?ref=REF&subdir=DIR`, and the same at `git://`, `ssh://` and `git@HOST:` with any path.
    Git {
        /// Where it is.
        url: RepositoryAddress,
        /// User and password, if it is at the web and its address had them.
        login: Option<Authorization>,
        /// What is wanted of it.
        wish: Wish,
    },
}

/// What the address of a repository says of what is wanted of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// The directory that is wanted, below the top.
    pub directory: PathBuf,
    /// How the commit must begin.
    pub commit: Option<String>,
    /// `keep-git-dir`
    pub git_directory: Option<GitDirectory>,
    /// `submodules`
    pub submodules: Option<Submodules>,
    /// `mtime`
    pub times: Times,
    /// `fetch-by-commit`: the server is asked for the commit and not for the reference.
    pub by_commit: bool,
}

/// When files of a repository changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Times {
    /// When they were checked out.
    #[default]
    Checkout,
    /// When the commit was made.
    Commit,
}

/// Letters of a reference to be that no shell, git or terminal takes for anything else (git-check-ref-format(1), and stricter).
const MAX_REFERENCE: usize = 255;

/// Whether `operand` is an address and no path.
pub fn is_address(operand: &OsStr) -> bool {
    let word = operand.as_bytes();
    word.starts_with(b"http://") || word.starts_with(b"https://") || is_repository(word)
}

impl Remote {
    /// What `operand` is; `None` for a path.
    pub fn of(operand: &OsStr) -> Result<Option<Self>, Error> {
        if !is_address(operand) {
            return Ok(None);
        }
        let text = operand.to_string_lossy();
        let (before, fragment) = match text.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (text.as_ref(), None),
        };
        if is_repository(operand.as_bytes()) {
            return elsewhere(before, fragment).map(Some);
        }
        let is_git = if before.ends_with(".git") { fragment != Some("") } else { text.ends_with(".git") };
        let (before, query) = match before.split_once('?') {
            Some((repository, query)) if repository.ends_with(".git") && fragment.is_none() => (repository, Some(query)),
            _ => (before, None),
        };
        let (address, login) = without_login(before);
        let url = Url::parse(&with_encoded_letters(&address))?;
        if let Some(query) = query {
            return Wish::of_query(query).and_then(Wish::checked).map_or_else(
                |reason| Err(Error::GitOperand { url: url.shown(), reason }),
                |wish| Ok(Some(Self::Git { url: RepositoryAddress::Web(url.clone()), login, wish })),
            );
        }
        if !is_git || !before.ends_with(".git") {
            let name = name_of(url.path());
            return Ok(Some(Self::Url { url, login, name }));
        }
        match Wish::of_fragment(fragment.unwrap_or_default()).checked() {
            Ok(wish) => Ok(Some(Self::Git { url: RepositoryAddress::Web(url), login, wish })),
            Err(reason) => Err(Error::GitOperand { url: url.shown(), reason }),
        }
    }
}

/// A repository that is not at the web.
fn elsewhere(before: &str, fragment: Option<&str>) -> Result<Remote, Error> {
    let (address, query) = before.split_once('?').map_or((before, None), |(address, query)| (address, Some(query)));
    let wish = match (query, fragment) {
        (Some(_), Some(_)) => Err("what is wanted of it stands after ? or after #, not after both"),
        (Some(query), None) => Wish::of_query(query),
        (None, fragment) => Ok(Wish::of_fragment(fragment.unwrap_or_default())),
    };
    let read = RepositoryAddress::parse(address).and_then(|url| Ok((url, wish?.checked()?)));
    let (url, wish) = read.map_err(|reason| Error::GitOperand { url: address.chars().take(200).collect(), reason })?;
    Ok(Remote::Git { url, login: None, wish })
}

impl Wish {
    /// `REF[:DIR]`
    fn of_fragment(fragment: &str) -> Self {
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        Self { reference: reference.to_owned(), directory: directory.into(), ..Self::default() }
    }

    /// `ref=REF&subdir=DIR&checksum=COMMIT&submodules=BOOL&keep-git-dir=BOOL&mtime=commit`, as BuildKit writes it. Anything else is refused by name.
    fn of_query(query: &str) -> Result<Self, &'static str> {
        let mut wish = Self::default();
        let mut references = 0;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = String::from_utf8(decoded(value)).map_err(|_| "its query is not text")?;
            match key {
                "ref" | "branch" | "tag" => {
                    references += 1;
                    wish.reference = match key {
                        "branch" => format!("refs/heads/{}", value.strip_prefix("refs/heads/").unwrap_or(&value)),
                        "tag" => format!("refs/tags/{}", value.strip_prefix("refs/tags/").unwrap_or(&value)),
                        _ => value,
                    };
                }
                "subdir" => wish.directory = value.into(),
                "checksum" | "commit" => wish.commit = Some(value.to_ascii_lowercase()),
                "submodules" => {
                    wish.submodules = Some(if is_true(&value)? { Submodules::Fetch } else { Submodules::Leave });
                }
                "keep-git-dir" => {
                    wish.git_directory = Some(if is_true(&value)? { GitDirectory::Keep } else { GitDirectory::Remove });
                }
                "mtime" => {
                    wish.times = match value.as_str() {
                        "checkout" => Times::Checkout,
                        "commit" => Times::Commit,
                        _ => return Err("mtime is checkout or commit"),
                    };
                }
                "fetch-by-commit" => wish.by_commit = is_true(&value)?,
                _ => {
                    return Err(
                        "its query may have ref, branch, tag, subdir, checksum, commit, submodules, keep-git-dir, mtime and \
                                fetch-by-commit only",
                    );
                }
            }
        }
        if wish.by_commit && wish.commit.is_none() {
            return Err("fetch-by-commit needs the commit, as checksum or commit");
        }
        if references > 1 {
            return Err("only one of ref, branch and tag may be given");
        }
        Ok(wish)
    }

    /// The same, once it is known to be safe.
    fn checked(self) -> Result<Self, &'static str> {
        if !is_reference(&self.reference) {
            return Err("what is asked for is no branch, tag or commit");
        }
        let directory = &self.directory;
        // Before anything is fetched (known attacks A05).
        if directory.components().any(|part| !matches!(part, Component::Normal(_))) || directory.as_os_str().len() > 4096 {
            return Err("the directory must be below the top, without . and ..");
        }
        let digits = |text: &String| (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.commit.as_ref().is_some_and(|commit| !digits(commit)) {
            return Err("the checksum must be 7 to 64 hexadecimal digits of a commit");
        }
        Ok(self)
    }
}

fn is_true(value: &str) -> Result<bool, &'static str> {
    match value {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("submodules, keep-git-dir and fetch-by-commit are true or false"),
    }
}

/// The address without `USER[:PASSWORD]@`.
fn without_login(text: &str) -> (String, Option<Authorization>) {
    let Some((scheme, rest)) = text.split_once("://") else { return (text.to_owned(), None) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some((login, host)) = rest[..end].rsplit_once('@') else { return (text.to_owned(), None) };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let plain = |text: &str| String::from_utf8_lossy(&decoded(text)).into_owned();
    (format!("{scheme}://{host}{}", &rest[end..]), Some(Authorization::basic(&plain(user), &plain(password))))
}

/// Blanks and letters of other languages encoded, as browsers do it. Control characters stay, and are refused.
fn with_encoded_letters(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_control() || (letter.is_ascii_graphic() && !r#"\"<>^`{|}"#.contains(letter)) {
            out.push(letter);
        } else {
            out.push_str(&encoded(letter.encode_utf8(&mut [0; 4])));
        }
    }
    out
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).filter(|hex| !hex.starts_with('+'));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// The last part of a path, decoded, if it can be the name of a file (known attacks A19).
fn name_of(path: &str) -> Option<OsString> {
    let decoded = decoded(path);
    let trimmed = decoded.iter().rposition(|byte| *byte != b'/').map_or(&b""[..], |end| &decoded[..=end]);
    let name = trimmed.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let is_name = !matches!(name, b"" | b"." | b"..") && name.len() <= 255 && !name.contains(&0);
    is_name.then(|| OsString::from_vec(name.to_vec()))
}

/// Whether a text can be handed to git(1) as a branch, tag or commit (known attacks A113); the empty one is the default branch.
fn is_reference(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./+@".contains(&byte);
    text.len() <= MAX_REFERENCE
        && text.bytes().all(letter)
        && !text.starts_with(['-', '/', '.', '+', '@'])
        && !text.ends_with(['/', '.'])
        && !["..", "//", "@{", "/.", ".lock"].iter().any(|wrong| text.contains(wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(operand: &str) -> Result<Option<Remote>, String> {
        Remote::of(OsStr::new(operand)).map_err(|error| error.to_string())
    }

    fn name(operand: &str) -> Option<String> {
        match of(operand) {
            Ok(Some(Remote::Url { name, .. })) => name.map(|name| name.to_string_lossy().into_owned()),
            other => panic!("{operand}: {other:?}"),
        }
    }

    #[test]
    fn paths_are_no_addresses() {
        for path in ["x", "/x", "git@h", "me@h:x.git", "HTTP://x/y", "ftp://x/y", "http:/x", "x.git", ""] {
            assert_eq!(of(path), Ok(None), "{path}");
        }
    }

    /// A19.
    #[test]
    fn names_are_one_plain_component() {
        let cases = [
            ("http://h/a/b.txt", Some("b.txt")),
            ("http://h/a/b.txt?x=/y", Some("b.txt")),
            ("http://h/a/b.txt#c", Some("b.txt")),
            ("http://h/dir/", Some("dir")),
            ("http://h/a%2f..%2f..%2fx", Some("x")),
            ("http://h/a b/ü%20.gz", Some("ü .gz")),
            ("http://h/100%", Some("100%")),
            ("http://h/", None),
            ("http://h", None),
            ("http://h/%2e%2e", None),
            ("http://h/a/%2e", None),
            ("http://h/a%00b", None),
            ("http://h/x.gitignore", Some("x.gitignore")),
        ];
        for (address, want) in cases {
            assert_eq!(name(address).as_deref(), want, "{address}");
        }
    }

    /// A91.
    #[test]
    fn a_login_is_taken_out_of_the_address() {
        let Ok(Some(Remote::Url { url, login, .. })) = of("http://us%40er:pa%3ass@h:81/x") else { panic!("an address") };
        assert_eq!((url.to_string().as_str(), login), ("http://h:81/x", Some(Authorization::basic("us@er", "pa:ss"))));
        assert!(!of("http://u:secret@h:x/").unwrap_err().contains("secret"));
    }

    /// A05, A113, A116.
    #[test]
    fn repositories_have_references_and_directories_below_the_top() {
        let git = |operand: &str| match of(operand)? {
            Some(Remote::Git { url, wish, .. }) => Ok((url.text(), wish.reference, wish.directory)),
            other => Err(format!("{other:?}")),
        };
        let is = |url: &str, reference: &str, directory: &str| Ok((url.to_owned(), reference.to_owned(), directory.into()));
        assert_eq!(git("https://h/a.git"), is("https://h/a.git", "", ""));
        assert_eq!(git("https://h/a.git#v1.0"), is("https://h/a.git", "v1.0", ""));
        assert_eq!(git("https://u:p@h/a.git#main:sub/dir"), is("https://h/a.git", "main", "sub/dir"));
        assert_eq!(git("https://h/a.git#:sub"), is("https://h/a.git", "", "sub"));
        assert_eq!(git("https://h/a.git?ref=v1&subdir=a%2Fb"), is("https://h/a.git", "v1", "a/b"));
        assert_eq!(git("https://h/a.git?branch=main"), is("https://h/a.git", "refs/heads/main", ""));
        assert_eq!(git("git@h:o/a#v1:sub"), is("git@h:o/a", "v1", "sub"));
        assert_eq!(git("ssh://u@h:22/o/a?branch=b&subdir=sub"), is("ssh://u@h:22/o/a", "refs/heads/b", "sub"));
        assert_eq!(git("git://h/a"), is("git://h/a", "", ""));
        assert_eq!(git("https://h/a.git?submodules=false&keep-git-dir=1"), is("https://h/a.git", "", ""));
        assert_eq!(git("https://h/a.git?tag=v1&checksum=0123ABCD"), is("https://h/a.git", "refs/tags/v1", ""));
        for wrong in [
            "https://h/a.git?ref=--upload-pack%3Dx",
            "https://h/a.git?ref=-x",
            "https://h/a.git?ref=a&tag=b",
            "https://h/a.git?subdir=..",
            "https://h/a.git?subdir=%2Fetc",
            "https://h/a.git?subdir=a%2f..%2f..",
            "https://h/a.git?checksum=zz",
            "https://h/a.git?submodules=perhaps",
            "git@h:a#--upload-pack=x",
            "git@h:a?ref=x#y",
            "ssh://h/a#main:../..",
            "git://-oProxyCommand=x/a",
            "https://h/a.git?token=x",
            "https://h/a.git#main:../..",
            "https://h/a.git#main:/abs",
            "https://h/a.git#main:a/../../b",
            "https://h/a.git#:..",
            "https://h/a.git#--upload-pack=x",
            "https://h/a.git#-b:--x",
            "https://h/a.git#a..b",
            "https://h/a.git#a b",
            "https://h/a.git#a\u{1b}b",
            "https://h%0ahost=github.com/a.git",
            "https://h\n/a.git",
        ] {
            assert!(of(wrong).is_err(), "{wrong:?}: {:?}", of(wrong));
        }
    }
}
