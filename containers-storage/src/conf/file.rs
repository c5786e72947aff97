//! storage.conf and its drop-ins: which files, in which order, and what they say (format, sections 1.2 and 1.3).
//!
//! A later file wins, key by key. A key that no tool knows is logged, as with the other tools: files are written for several versions.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use toml::Value;

use super::{AutoUserNamespace, DriverKind, Environment, Error, locations};

/// A value, and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub origin: String,
    pub value: String,
}

/// What the files say together.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub driver: Option<Set>,
    graph_root: Option<Directory>,
    run_root: Option<Directory>,
    image_store: Option<Directory>,
    rootless_path: Option<String>,
    driver_options: Vec<(Table, Set)>,
    pub additional_image_stores: Vec<String>,
    pub auto_userns: AutoUserNamespace,
    /// `transient_store`
    pub transient: bool,
    pub disable_volatile: bool,
    unsupported: Vec<Set>,
    pub files: Vec<PathBuf>,
}

/// Where an option of a driver stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    /// `[storage.options]`: of whichever driver is in use, if it knows the option.
    Any,
    /// `[storage.options.<driver>]`
    Of(DriverKind),
}

#[derive(Debug)]
struct Directory {
    path: String,
    of_system: bool,
}

/// Keys of `[storage.options]` that are options of the driver, whichever table they stand in.
const DRIVER_KEYS: [&str; 10] = [
    "size",
    "inodes",
    "mount_program",
    "mountopt",
    "skip_mount_home",
    "ignore_chown_errors",
    "force_mask",
    "use_composefs",
    "sync",
    "imagestore",
];
/// Those of them that the vfs driver knows; the others are overlay's, and no error in a file.
const VFS_KEYS: [&str; 2] = ["ignore_chown_errors=", "sync="];
/// Keys of `[storage.options]` that concern what this program does not do; they are no error.
const OTHER_KEYS: [&str; 3] = ["pull_options", "overlay", "vfs"];

/// Reads every file that applies.
pub(super) fn read_all(environment: &Environment) -> Result<Settings, Error> {
    let mut settings = Settings::default();
    if let Some(only) = environment.get("CONTAINERS_STORAGE_CONF") {
        settings.read(environment, Path::new(only))?;
    } else {
        for path in locations::main_files(environment) {
            if settings.read_if_there(environment, &path)? {
                break;
            }
        }
        for path in drop_ins(environment)? {
            settings.read(environment, &path)?;
        }
    }
    if let Some(last) = environment.get("CONTAINERS_STORAGE_CONF_OVERRIDE") {
        settings.read(environment, Path::new(last))?;
    }
    Ok(settings)
}

fn drop_ins(environment: &Environment) -> Result<Vec<PathBuf>, Error> {
    let mut by_name = BTreeMap::new();
    for dir in locations::drop_in_dirs(environment) {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(source) => return Err(Error::Read { path: dir, source }),
        };
        for entry in entries {
            let entry = entry.map_err(|source| Error::Read { path: dir.clone(), source })?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "conf") && path.is_file() {
                by_name.insert(entry.file_name(), path);
            }
        }
    }
    Ok(by_name.into_values().collect())
}

impl Settings {
    /// The configured graph root. In a system file it means root's, unless it names the user by a variable (1.43 ignores it for
    /// rootless users as well); `rootless_storage_path` is the way to move theirs.
    pub(super) fn graph_root(&self, environment: &Environment) -> Option<PathBuf> {
        let own = self.graph_root.as_ref().filter(|dir| dir.applies_to(environment)).map(|dir| &dir.path);
        let rootless = self.rootless_path.as_ref().filter(|_| environment.is_per_user());
        own.or(rootless).map(|path| PathBuf::from(environment.expand(path)))
    }

    /// The configured run root, by the same rule.
    pub(super) fn run_root(&self, environment: &Environment) -> Option<PathBuf> {
        let own = self.run_root.as_ref().filter(|dir| dir.applies_to(environment));
        own.map(|dir| PathBuf::from(environment.expand(&dir.path)))
    }

    /// The configured image store, by the same rule.
    pub(super) fn image_store(&self, environment: &Environment) -> Option<PathBuf> {
        let own = self.image_store.as_ref().filter(|dir| dir.applies_to(environment));
        own.map(|dir| PathBuf::from(environment.expand(&dir.path)))
    }

    /// The options for `driver`, as `key=value`; what its own table says comes last, so that it wins.
    pub(super) fn driver_options(&self, driver: DriverKind) -> impl Iterator<Item = &Set> {
        let known = move |set: &Set| driver == DriverKind::Overlay || VFS_KEYS.iter().any(|key| set.value.starts_with(key));
        let of = move |table: Table| self.driver_options.iter().filter(move |(from, set)| *from == table && known(set));
        of(Table::Any).chain(of(Table::Of(driver))).map(|(_, set)| set)
    }

    /// Refuses what the files ask for and this program does not do.
    pub(super) fn refuse_unsupported(&self) -> Result<(), Error> {
        match self.unsupported.first() {
            None => Ok(()),
            Some(set) => Err(Error::Unsupported { origin: set.origin.clone(), what: set.value.clone() }),
        }
    }

    fn read(&mut self, environment: &Environment, path: &Path) -> Result<(), Error> {
        match self.read_if_there(environment, path)? {
            true => Ok(()),
            false => Err(Error::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() }),
        }
    }

    fn read_if_there(&mut self, environment: &Environment, path: &Path) -> Result<bool, Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(false),
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            Error::Parse { path: path.to_owned(), problem: format!("line {line}: {}", error.message()) }
        })?;
        let of_system = locations::is_system_file(environment, path);
        if let Some(storage) = table.get("storage").and_then(Value::as_table) {
            self.apply(&File { origin: format!("{path:?}"), of_system }, storage)?;
        }
        self.files.push(path.to_owned());
        Ok(true)
    }

    fn apply(&mut self, file: &File, storage: &toml::Table) -> Result<(), Error> {
        for (key, value) in storage {
            match key.as_str() {
                "driver" => self.driver = Some(file.set(&file.text(key, value)?)),
                "graphroot" => self.graph_root = file.directory(key, value)?,
                "runroot" => self.run_root = file.directory(key, value)?,
                "rootless_storage_path" => self.rootless_path = Some(file.text(key, value)?).filter(|path| !path.is_empty()),
                "imagestore" => self.image_store = file.directory(key, value)?,
                "transient_store" => self.transient = file.truth(key, value)?,
                "driver_priority" => {}
                "options" => match value.as_table() {
                    Some(options) => self.apply_options(file, options)?,
                    None => return Err(file.expected(key, "a table")),
                },
                unknown => log::debug!("{}: unknown key storage.{unknown}", file.origin),
            }
        }
        Ok(())
    }

    fn apply_options(&mut self, file: &File, options: &toml::Table) -> Result<(), Error> {
        for (key, value) in options {
            match key.as_str() {
                "additionalimagestores" => merge_array(&mut self.additional_image_stores, file, key, value)?,
                "additionallayerstores" => {
                    let mut stores = Vec::new();
                    merge_array(&mut stores, file, key, value)?;
                    self.refuse(file, "an additional layer store (additionallayerstores)", stores.is_empty());
                }
                "root-auto-userns-user" => self.auto_userns.root_user = file.text(key, value)?,
                "auto-userns-min-size" => self.auto_userns.min_size = file.number(key, value)?,
                "auto-userns-max-size" => self.auto_userns.max_size = file.number(key, value)?,
                "disable-volatile" => self.disable_volatile = file.truth(key, value)?,
                "remap-uids" | "remap-gids" | "remap-user" | "remap-group" => {
                    self.refuse(file, &format!("a default ID map ({key})"), file.text(key, value)?.is_empty());
                }
                key if DRIVER_KEYS.contains(&key) => self.driver_option(file, Table::Any, key, value)?,
                "btrfs" | "zfs" | "thinpool" | "aufs" => {}
                key if OTHER_KEYS.contains(&key) => {}
                unknown => log::debug!("{}: unknown key storage.options.{unknown}", file.origin),
            }
        }
        for driver in [DriverKind::Overlay, DriverKind::Vfs] {
            for (key, value) in options.get(driver.name()).and_then(Value::as_table).into_iter().flatten() {
                self.driver_option(file, Table::Of(driver), key, value)?;
            }
        }
        Ok(())
    }

    fn driver_option(&mut self, file: &File, table: Table, key: &str, value: &Value) -> Result<(), Error> {
        let text = match value {
            Value::Boolean(truth) => truth.to_string(),
            Value::Integer(number) if key == "force_mask" => format!("{number:o}"),
            Value::Integer(number) => number.to_string(),
            other => file.text(key, other)?,
        };
        let prefix = format!("{key}=");
        self.driver_options.retain(|(from, set)| *from != table || !set.value.starts_with(&prefix));
        if !text.is_empty() {
            self.driver_options.push((table, file.set(&format!("{key}={text}"))));
        }
        Ok(())
    }

    fn refuse(&mut self, file: &File, what: &str, is_unset: bool) {
        // A later file may take back what an earlier one asked for.
        self.unsupported.retain(|set| set.value != what);
        if !is_unset {
            self.unsupported.push(file.set(what));
        }
    }
}

impl Directory {
    fn applies_to(&self, environment: &Environment) -> bool {
        !(self.of_system && environment.is_per_user()) || self.path.contains('$')
    }
}

/// The file that is being read.
struct File {
    origin: String,
    of_system: bool,
}

impl File {
    fn set(&self, value: &str) -> Set {
        Set { origin: self.origin.clone(), value: value.to_owned() }
    }

    fn expected(&self, key: &str, expected: &'static str) -> Error {
        Error::Value { origin: self.origin.clone(), key: key.to_owned(), expected }
    }

    fn text(&self, key: &str, value: &Value) -> Result<String, Error> {
        value.as_str().map(str::to_owned).ok_or_else(|| self.expected(key, "a string"))
    }

    fn number(&self, key: &str, value: &Value) -> Result<u32, Error> {
        let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| self.expected(key, "a number"))
    }

    fn truth(&self, key: &str, value: &Value) -> Result<bool, Error> {
        match value {
            Value::Boolean(truth) => Ok(*truth),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" || text.is_empty() => Ok(false),
            _ => Err(self.expected(key, "true or false")),
        }
    }

    fn directory(&self, key: &str, value: &Value) -> Result<Option<Directory>, Error> {
        let path = self.text(key, value)?;
        Ok((!path.is_empty()).then_some(Directory { path, of_system: self.of_system }))
    }
}

/// Replaces `list` by the array `value`, or appends to it where the array holds `{append=true}`.
fn merge_array(list: &mut Vec<String>, file: &File, key: &str, value: &Value) -> Result<(), Error> {
    let array = value.as_array().ok_or_else(|| file.expected(key, "an array of strings"))?;
    let append = array.iter().filter_map(|item| item.get("append")).any(|flag| flag.as_bool() == Some(true));
    if !append {
        list.clear();
    }
    for item in array.iter().filter(|item| !item.is_table()) {
        list.push(item.as_str().ok_or_else(|| file.expected(key, "an array of strings"))?.to_owned());
    }
    Ok(())
}
