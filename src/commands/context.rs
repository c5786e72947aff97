//! `Context`: what a verb works with. Captures the environment once; opens the store when first asked, and never for a verb
//! that does without.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::args::GlobalArgs;

/// The variables of the environment, as they were at the start.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: HashMap<OsString, OsString>,
}

impl Environment {
    /// The environment of this process.
    pub fn capture() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// The value of `name`. A variable that is set to nothing counts as set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The value of `name` in text; `None` if it is unset or empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str).filter(|value| !value.is_empty())
    }

    /// The value of `CORACLE_<name>`, else of `BUILDAH_<name>`; `None` if both are unset or empty.
    pub fn engine(&self, name: &str) -> Option<&str> {
        self.text(&format!("CORACLE_{name}")).or_else(|| self.text(&format!("BUILDAH_{name}")))
    }

    /// Whether `CORACLE_<name>` or `BUILDAH_<name>` is `true` or `1` in any case.
    pub fn engine_switch(&self, name: &str) -> bool {
        self.engine(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

/// What a verb works with.
#[derive(Debug)]
pub struct Context {
    global: GlobalArgs,
    environment: OnceCell<Environment>,
}

impl Context {
    /// The context of one call. No I/O.
    pub fn new(global: GlobalArgs) -> Self {
        Self { global, environment: OnceCell::new() }
    }

    /// Flags that every verb takes.
    pub fn global(&self) -> &GlobalArgs {
        &self.global
    }

    /// The environment.
    pub fn environment(&self) -> &Environment {
        self.environment.get_or_init(Environment::capture)
    }

    /// The directory for temporary files: `$TMPDIR` made absolute, else `/var/tmp`.
    pub fn temp_dir(&self) -> PathBuf {
        match self.environment().text("TMPDIR") {
            Some(dir) => std::path::absolute(dir).unwrap_or_else(|_| PathBuf::from(dir)),
            None => PathBuf::from("/var/tmp"),
        }
    }
}
