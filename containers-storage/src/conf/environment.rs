//! What the process was started with, as far as it decides about the store.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The home directory of the user `uid`: `variable`, the value of `HOME`, unless that is empty or not set, as for services and
/// cron(8); else what the user database says. Everything that belongs to a user is looked for below this one.
pub fn home_directory(variable: Option<&OsStr>, uid: u32) -> Option<PathBuf> {
    if let Some(home) = variable.filter(|home| !home.is_empty()) {
        return Some(PathBuf::from(home));
    }
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    user.map(|user| user.dir).filter(|home| home.is_absolute())
}

/// User, privilege and variables of a process.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Effective user ID.
    pub euid: u32,
    /// Whether the process is rootless in the sense of the format (section 10.1): no full capabilities in the initial namespace.
    pub rootless: bool,
    /// Directory under which `etc` and `usr/share` are looked for; `/` but in tests.
    pub system: PathBuf,
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// The environment of this process. For root it costs a look at `/proc/self`.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self::new(rustix::process::geteuid().as_raw(), crate::id_map::is_rootless(), variables)
    }

    /// An environment made of given variables.
    pub fn new(euid: u32, rootless: bool, variables: impl IntoIterator<Item = (String, OsString)>) -> Self {
        Self { euid, rootless, system: PathBuf::from("/"), variables: variables.into_iter().collect() }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable that is set, not empty, and text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }

    /// The user outside of a namespace that a tool of this family entered.
    pub fn outer_uid(&self) -> u32 {
        self.text("_CONTAINERS_ROOTLESS_UID").and_then(|uid| uid.parse().ok()).unwrap_or(self.euid)
    }

    /// Whether the per-user locations apply (format, section 1.1). Root in somebody else's namespace still uses the system's.
    pub fn is_per_user(&self) -> bool {
        self.rootless && self.outer_uid() != 0
    }

    /// The home directory: `$HOME`, else that of the user database.
    pub fn home(&self) -> Result<PathBuf, super::Error> {
        let uid = self.outer_uid();
        home_directory(self.get("HOME"), uid).ok_or(super::Error::NoHome { uid })
    }

    /// The variable `name` where a file names it. Without `HOME` that is the directory that is taken for the home.
    fn expanded(&self, name: &str) -> Option<String> {
        match self.text(name) {
            None if name == "HOME" => self.home().ok()?.into_os_string().into_string().ok(),
            value => value.map(str::to_owned),
        }
    }

    /// `text` with `$NAME` and `${NAME}` replaced, `$UID` by the user outside. An unset variable is replaced by nothing.
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, tail) = braced.unwrap_or_else(|| {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                after.split_at(end)
            });
            match name {
                "" => out.push('$'),
                "UID" => out.push_str(&self.outer_uid().to_string()),
                name => out.push_str(&self.expanded(name).unwrap_or_default()),
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_that_of_the_user_database_where_the_variable_says_nothing() {
        let root = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(0)).unwrap().unwrap().dir;
        let given = OsStr::new("/h");
        assert_eq!(home_directory(Some(given), 0), Some(PathBuf::from(given)));
        for nothing in [None, Some(OsStr::new(""))] {
            assert_eq!(home_directory(nothing, 0).as_ref(), Some(&root));
            assert_eq!(home_directory(nothing, 4_242_424_242), None, "nobody's");
        }
        let env = Environment::new(0, true, []);
        assert_eq!(env.expand("$HOME/x"), root.join("x").to_str().unwrap());
    }

    #[test]
    fn expands_variables() {
        let env = Environment::new(1000, true, [("HOME".to_owned(), "/h".into()), ("A_1".to_owned(), "x".into())]);
        let cases = [
            ("/a/b", "/a/b"),
            ("/run/$UID/c", "/run/1000/c"),
            ("$HOME/${A_1}y", "/h/xy"),
            ("${A_1", "${A_1"),
            ("$NONE/x$", "/x$"),
            ("é$A_1é", "éxé"),
        ];
        for (text, expanded) in cases {
            assert_eq!(env.expand(text), expanded, "{text}");
        }
    }
}
