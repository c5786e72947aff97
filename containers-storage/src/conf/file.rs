//! storage.conf and its drop-ins: which files, in which order, and what they say (format, sections 1.2 and 1.3).
//!
//! A later file wins, key by key. A key that no tool knows is logged, as with the other tools: files are written for several versions.
//! What an error says of a value begins with the file and the line.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

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
    /// `driver_priority`: the drivers of a store that has none yet, the best first; those of other tools are left out.
    pub driver_priority: Vec<DriverKind>,
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
/// Keys of `[storage.options]` that concern what this program does not do; they are no error. The `remap` ones are of older tools,
/// and Buildah's containers never followed them: those are asked for with `--userns-uid-map`.
const OTHER_KEYS: [&str; 11] = [
    "pull_options",
    "overlay",
    "vfs",
    "btrfs",
    "zfs",
    "thinpool",
    "aufs",
    "remap-uids",
    "remap-gids",
    "remap-user",
    "remap-group",
];

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
        let table = DeTable::parse(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            Error::Parse { path: path.to_owned(), problem: format!("line {line}: {}", error.message()) }
        })?;
        let of_system = locations::is_system_file(environment, path);
        if let Some(storage) = table.get_ref().get("storage").and_then(|storage| storage.get_ref().as_table()) {
            self.apply(&File { path, text: &text, of_system }, storage)?;
        }
        log::debug!("read {}", path.display());
        self.files.push(path.to_owned());
        Ok(true)
    }

    fn apply(&mut self, file: &File<'_>, storage: &DeTable<'_>) -> Result<(), Error> {
        for entry in file.entries(storage) {
            match entry.key {
                "driver" => self.driver = Some(entry.set(&entry.text()?)),
                "graphroot" => self.graph_root = entry.directory()?,
                "runroot" => self.run_root = entry.directory()?,
                "rootless_storage_path" => self.rootless_path = Some(entry.text()?).filter(|path| !path.is_empty()),
                "imagestore" => self.image_store = entry.directory()?,
                "transient_store" => self.transient = entry.truth()?,
                "driver_priority" => {
                    let mut names = Vec::new();
                    entry.merge_into(&mut names)?;
                    self.driver_priority = names.iter().filter_map(|name| DriverKind::named(name)).collect();
                }
                "options" => match entry.value.as_table() {
                    Some(options) => self.apply_options(file, options)?,
                    None => return Err(entry.expected("a table")),
                },
                unknown => log::debug!("{}: unknown key storage.{unknown}", entry.origin()),
            }
        }
        Ok(())
    }

    fn apply_options(&mut self, file: &File<'_>, options: &DeTable<'_>) -> Result<(), Error> {
        for entry in file.entries(options) {
            match entry.key {
                "additionalimagestores" => entry.merge_into(&mut self.additional_image_stores)?,
                "additionallayerstores" => {
                    let mut stores = Vec::new();
                    entry.merge_into(&mut stores)?;
                    self.refuse(&entry, "an additional layer store (additionallayerstores)", stores.is_empty());
                }
                "root-auto-userns-user" => self.auto_userns.root_user = entry.text()?,
                "auto-userns-min-size" => self.auto_userns.min_size = entry.number()?,
                "auto-userns-max-size" => self.auto_userns.max_size = entry.number()?,
                "disable-volatile" => self.disable_volatile = entry.truth()?,
                key if DRIVER_KEYS.contains(&key) => self.driver_option(&entry, Table::Any)?,
                key if OTHER_KEYS.contains(&key) => {}
                unknown => log::debug!("{}: unknown key storage.options.{unknown}", entry.origin()),
            }
        }
        for driver in [DriverKind::Overlay, DriverKind::Vfs] {
            let Some(own) = options.get(driver.name()).and_then(|own| own.get_ref().as_table()) else { continue };
            for entry in file.entries(own) {
                match entry.key {
                    key if DRIVER_KEYS.contains(&key) => self.driver_option(&entry, Table::Of(driver))?,
                    unknown => log::debug!("{}: unknown key storage.options.{}.{unknown}", entry.origin(), driver.name()),
                }
            }
        }
        Ok(())
    }

    fn driver_option(&mut self, entry: &Entry<'_>, table: Table) -> Result<(), Error> {
        let text = match entry.value {
            DeValue::Boolean(truth) => truth.to_string(),
            DeValue::Integer(_) if entry.key == "force_mask" => format!("{:o}", entry.number()?),
            DeValue::Integer(_) => entry.number()?.to_string(),
            _ => entry.text()?,
        };
        let prefix = format!("{}=", entry.key);
        self.driver_options.retain(|(from, set)| *from != table || !set.value.starts_with(&prefix));
        if !text.is_empty() {
            self.driver_options.push((table, entry.set(&format!("{prefix}{text}"))));
        }
        Ok(())
    }

    fn refuse(&mut self, entry: &Entry<'_>, what: &str, is_unset: bool) {
        // A later file may take back what an earlier one asked for.
        self.unsupported.retain(|set| set.value != what);
        if !is_unset {
            self.unsupported.push(entry.set(what));
        }
    }
}

impl Directory {
    fn applies_to(&self, environment: &Environment) -> bool {
        !(self.of_system && environment.is_per_user()) || self.path.contains('$')
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

/// The file that is being read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    of_system: bool,
}

impl<'a> File<'a> {
    fn entries(&'a self, table: &'a DeTable<'a>) -> impl Iterator<Item = Entry<'a>> {
        let entry = |(key, value): (&'a toml::Spanned<toml::de::DeString<'a>>, &'a toml::Spanned<DeValue<'a>>)| Entry {
            file: self,
            offset: key.span().start,
            key: key.get_ref().as_ref(),
            value: value.get_ref(),
        };
        table.iter().map(entry)
    }
}

/// A key of the file, and what it is set to.
struct Entry<'a> {
    file: &'a File<'a>,
    /// Of the key, in bytes from the beginning of the file.
    offset: usize,
    key: &'a str,
    value: &'a DeValue<'a>,
}

impl Entry<'_> {
    fn origin(&self) -> String {
        format!("{:?}: line {}", self.file.path, line_of(self.file.text, self.offset))
    }

    fn set(&self, value: &str) -> Set {
        Set { origin: self.origin(), value: value.to_owned() }
    }

    fn expected(&self, expected: &'static str) -> Error {
        Error::Value { origin: self.origin(), key: self.key.to_owned(), expected }
    }

    fn text(&self) -> Result<String, Error> {
        self.value.as_str().map(str::to_owned).ok_or_else(|| self.expected("a string"))
    }

    fn number(&self) -> Result<u32, Error> {
        let number = self.value.as_integer().and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        number.ok_or_else(|| self.expected("a number"))
    }

    fn truth(&self) -> Result<bool, Error> {
        match self.value {
            DeValue::Boolean(truth) => Ok(*truth),
            DeValue::String(text) if text == "true" => Ok(true),
            DeValue::String(text) if text == "false" || text.is_empty() => Ok(false),
            _ => Err(self.expected("true or false")),
        }
    }

    fn directory(&self) -> Result<Option<Directory>, Error> {
        let path = self.text()?;
        Ok((!path.is_empty()).then_some(Directory { path, of_system: self.file.of_system }))
    }

    /// Replaces `list` by the array, or appends to it where the array holds `{append=true}`.
    fn merge_into(&self, list: &mut Vec<String>) -> Result<(), Error> {
        let wrong = || self.expected("an array of strings");
        let items = || self.value.as_array().map(|array| array.iter().map(|item| item.get_ref())).ok_or_else(wrong);
        let append = |item: &DeValue<'_>| item.get("append").is_some_and(|flag| flag.get_ref().as_bool() == Some(true));
        if !items()?.any(append) {
            list.clear();
        }
        for item in items()?.filter(|item| !item.is_table()) {
            list.push(item.as_str().ok_or_else(wrong)?.to_owned());
        }
        Ok(())
    }
}
