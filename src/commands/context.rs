//! `Context`: what a verb works with. Captures the environment once; opens the store when first asked, and never for a verb
//! that does without.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use containers_storage::conf::{self, Conf, DriverKind};
use containers_storage::store::Store;

use crate::conf::{Registries, TlsDetails};
use crate::http::{NothingLeft, TlsLimits};
use crate::userns;

use super::CommandError;
use super::args::{self, GlobalArgs};

/// The variables of the environment, as they were at the start.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: HashMap<OsString, OsString>,
    /// `[engine] env` of containers.conf, once a verb has read that: for variables that are not set.
    configured: OnceCell<HashMap<OsString, OsString>>,
}

impl Environment {
    /// The environment of this process.
    pub fn capture() -> Self {
        Self { variables: std::env::vars_os().collect(), configured: OnceCell::new() }
    }

    /// The value of `name`. A variable that is set to nothing counts as set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let name = OsStr::new(name);
        let value = self.variables.get(name).or_else(|| self.configured.get()?.get(name));
        value.map(OsString::as_os_str)
    }

    /// Takes `name=value` words for variables that are not set. Only the first call counts.
    pub(super) fn configure(&self, words: &[String]) {
        self.configured.get_or_init(|| {
            words.iter().filter_map(|word| word.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
        });
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

    /// What words of `--env` stand for: `NAME=value`; `NAME`, the caller's, if there is one; `PREFIX*`, all of the caller's whose names
    /// begin so, in the order of their names.
    pub(super) fn assigned(&self, words: &[String]) -> Vec<(String, String)> {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let mut assigned = Vec::with_capacity(words.len());
        for word in words {
            if let Some((name, value)) = word.split_once('=') {
                assigned.push((name.to_owned(), value.to_owned()));
            } else if let Some(prefix) = word.strip_suffix('*') {
                let all = self.variables.iter().map(|(name, value)| (text(name), text(value)));
                let mut found: Vec<(String, String)> = all.filter(|(name, _)| name.starts_with(prefix)).collect();
                found.sort_unstable();
                assigned.append(&mut found);
            } else if let Some(value) = self.get(word) {
                assigned.push((word.clone(), text(value)));
            }
        }
        assigned
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
    caller: u32,
    environment: OnceCell<Environment>,
    store: OnceCell<Store>,
    registries: OnceCell<Registries>,
    tls: OnceCell<TlsLimits>,
}

impl Context {
    /// The context of one call, made before any namespace is entered. No I/O.
    pub fn new(global: GlobalArgs) -> Self {
        Self {
            global,
            caller: rustix::process::getuid().as_raw(),
            environment: OnceCell::new(),
            store: OnceCell::new(),
            registries: OnceCell::new(),
            tls: OnceCell::new(),
        }
    }

    /// Flags that every verb takes.
    pub fn global(&self) -> &GlobalArgs {
        &self.global
    }

    /// The user who called the program, also once that is another one in a namespace.
    pub(super) fn caller(&self) -> u32 {
        self.caller
    }

    /// The environment.
    pub fn environment(&self) -> &Environment {
        self.environment.get_or_init(Environment::capture)
    }

    /// The store that the flags, the environment and storage.conf point to. Opened at the first call; nothing is read from it.
    pub fn store(&self) -> Result<&Store, CommandError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = Store::open(self.store_conf()?)?;
        Ok(self.store.get_or_init(|| store))
    }

    /// The store, if there is one already: nothing is made, and no reason is given.
    pub(super) fn existing_store(&self) -> Option<&Store> {
        let exists = self.store.get().is_some() || self.store_conf().is_ok_and(|conf| conf.graph_root.is_dir());
        if exists { self.store().ok() } else { None }
    }

    /// Where the store is and how it is set up, without opening it.
    fn store_conf(&self) -> Result<Conf, CommandError> {
        let overrides = conf::Overrides {
            graph_root: self.global.root.clone(),
            run_root: self.global.runroot.clone(),
            driver: self.global.storage_driver.clone(),
            options: self.global.storage_opt.clone(),
            image_store: self.global.imagestore.clone(),
            transient: self.global.transient_store.then_some(true),
            for_new_store: None,
        };
        let conf = Conf::resolve(&conf::Environment::of_process(), &overrides)?;
        if conf.driver_is_free() && userns::is_refused() {
            // Overlay could never be mounted here.
            let overrides = conf::Overrides { for_new_store: Some(DriverKind::Vfs), ..overrides };
            return Ok(Conf::resolve(&conf::Environment::of_process(), &overrides)?);
        }
        Ok(conf)
    }

    /// The store, if it was opened.
    pub(super) fn opened_store(&self) -> Option<&Store> {
        self.store.get()
    }

    /// The settings about names of images. Nothing is read before a short name needs them.
    pub fn registries(&self) -> Result<&Registries, CommandError> {
        if let Some(registries) = self.registries.get() {
            return Ok(registries);
        }
        let environment = super::run_environment::conf_environment(self, crate::userns::is_rootless());
        let (file, aliases) = (self.global.registries_conf.clone(), self.global.short_name_alias_conf.clone());
        Ok(self.registries.get_or_init(|| Registries::new(environment, file, aliases)))
    }

    /// Reads the file of `--tls-details`, before anything else is done: what is wrong with it is wrong for verbs that connect to nobody,
    /// too.
    pub(super) fn limit_tls(&self) -> Result<(), CommandError> {
        let Some(path) = args::given(&self.global.tls_details) else { return Ok(()) };
        let details = TlsDetails::load(path)?;
        let (suites, groups) = (details.cipher_suites.as_deref(), details.named_groups.as_deref());
        let limits = TlsLimits::new(details.only_1_3, suites, groups).map_err(|left| {
            let member = match &left {
                NothingLeft::CipherSuites { .. } => "cipherSuites",
                NothingLeft::NamedGroups { .. } => "namedGroups",
            };
            CommandError::from(left).context(format!("{path:?}: {member}"))
        })?;
        self.tls.get_or_init(|| limits);
        Ok(())
    }

    /// Which of TLS may be spoken.
    pub(super) fn tls(&self) -> TlsLimits {
        self.tls.get().cloned().unwrap_or_default()
    }

    /// The directory for temporary files: `$TMPDIR` made absolute, else `/var/tmp`.
    pub fn temp_dir(&self) -> PathBuf {
        match self.environment().text("TMPDIR") {
            Some(dir) => std::path::absolute(dir).unwrap_or_else(|_| PathBuf::from(dir)),
            None => PathBuf::from("/var/tmp"),
        }
    }
}
