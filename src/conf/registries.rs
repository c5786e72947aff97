//! registries.conf and the aliases of short names, containers-registries.conf(5): what turns `fedora` into a whole name.
//!
//! Invariant: nothing is read before it is asked for, and then once; most verbs find their image without. What is said about speaking
//! to registries (mirrors, `insecure`, `blocked`) is in `endpoints`.

mod aliases;
mod endpoints;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use toml::{Table, Value};

pub use self::endpoints::{Blocked, Endpoint, Endpoints};
pub use self::sources::Denied;
use super::{Environment, Error, Presence, read_drop_ins, read_file, system_drop_ins};

/// Where the settings are, and what they say once somebody has asked.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    environment: Environment,
    explicit: Option<PathBuf>,
    explicit_aliases: Option<PathBuf>,
    /// Of all clones.
    loaded: Arc<OnceLock<Loaded>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Loaded {
    names: ShortNames,
    endpoints: Endpoints,
    credential_helpers: Vec<String>,
}

/// How short names are completed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShortNames {
    /// `unqualified-search-registries`, in order.
    pub search: Vec<String>,
    /// The file that says so.
    pub search_file: Option<PathBuf>,
    /// What is done where several registries are searched.
    pub mode: ShortNameMode,
    aliases: BTreeMap<String, (String, PathBuf)>,
}

/// `short-name-mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShortNameMode {
    /// Of several registries a person chooses where there is a terminal; elsewhere all are asked in turn. The default of the other
    /// tools, too.
    #[default]
    Permissive,
    /// All registries are asked in turn.
    Disabled,
    /// Of several registries a person must choose.
    Enforcing,
}

impl ShortNames {
    /// The whole name, without tag, that `repository` (a name without domain, tag and digest) stands for.
    pub fn alias(&self, repository: &str) -> Option<&str> {
        self.aliases.get(repository).map(|(target, _)| target.as_str())
    }

    /// The file that has the alias of `repository`.
    pub fn alias_file(&self, repository: &str) -> Option<&Path> {
        self.aliases.get(repository).map(|(_, file)| file.as_path())
    }
}

const FILE: &str = "containers/registries.conf";
const ALIASES_FILE: &str = "containers/short-name-aliases.conf";

impl Registries {
    /// Settings at the usual places, or those of `--registries-conf` and `--short-name-alias-conf`. No I/O.
    pub fn new(environment: Environment, explicit: Option<PathBuf>, explicit_aliases: Option<PathBuf>) -> Self {
        Self { environment, explicit, explicit_aliases, loaded: Arc::default() }
    }

    /// How short names are completed. Reads the files at the first call.
    ///
    /// # Errors
    ///
    /// A registries.conf that was named by a flag or a variable must exist; any file that exists must be TOML with the right types.
    pub fn short_names(&self) -> Result<&ShortNames, Error> {
        Ok(&self.load()?.names)
    }

    /// Where images are, and how each place is spoken to. The same files, with the same errors.
    pub fn endpoints(&self) -> Result<&Endpoints, Error> {
        Ok(&self.load()?.endpoints)
    }

    /// `credential-helpers`: who is asked for credentials, in order; empty where nothing is said. The same files, with the same errors.
    pub fn credential_helpers(&self) -> Result<&[String], Error> {
        Ok(&self.load()?.credential_helpers)
    }

    /// Whether `BUILD_REGISTRY_SOURCES` lets the registry `domain` be used; if so, whether it calls it insecure.
    pub fn allows(&self, domain: &str) -> Result<bool, Denied> {
        sources::check(self.environment.build_registry_sources.as_deref(), domain)
    }

    /// Remembers in the user's own file that the short name `repository` stands for `target`, both without tag and digest. What was
    /// read already stays as it is.
    pub fn remember_alias(&self, repository: &str, target: &str) -> Result<(), Error> {
        match self.aliases_path(Path::new("/")) {
            Some(path) => aliases::record(&path, repository, target),
            None => Ok(()),
        }
    }

    fn load(&self) -> Result<&Loaded, Error> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let loaded = self.load_below(Path::new("/"))?;
        Ok(self.loaded.get_or_init(|| loaded))
    }

    fn load_below(&self, root: &Path) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let main = self.merge_main_file(&mut loaded, root)?;
        let home = self.environment.config_home().map(|home| home.join(FILE));
        let own = home.as_deref().map(read_drop_ins).transpose()?.unwrap_or_default();
        // A person's own file stands in place of all of the system's, also of its drop-ins; one that is named in place of one file.
        let system = match main {
            MainFile::OfTheUser => Vec::new(),
            _ => system_drop_ins(&self.environment, root, "registries", &own)?,
        };
        for path in system.iter().chain(&own) {
            if let Some(text) = read_file(path, Presence::Readable)? {
                loaded.merge_drop_in(path, &text)?;
            }
        }
        // What a person chose at a prompt wins over what an administrator wrote.
        if let Some(path) = self.aliases_path(root)
            && let Some(text) = read_file(&path, Presence::Readable)?
        {
            loaded.names.merge_aliases(&path, &parse(&path, &text)?)?;
        }
        Ok(loaded)
    }

    /// The named file, else the user's, else the system's.
    fn merge_main_file(&self, loaded: &mut Loaded, root: &Path) -> Result<MainFile, Error> {
        if let Some(path) = self.explicit.as_ref().or(self.environment.registries_conf.as_ref()) {
            read_file(path, Presence::Required)?.map_or(Ok(()), |text| loaded.merge(path, &text))?;
            return Ok(MainFile::Named);
        }
        let home = self.environment.config_home().map(|home| (home.join(FILE), MainFile::OfTheUser));
        let system = ["etc", "usr/share"].map(|directory| (root.join(directory).join(FILE), MainFile::OfTheSystem));
        for (path, kind) in home.into_iter().chain(system) {
            if let Some(text) = read_file(&path, Presence::Readable)? {
                loaded.merge(&path, &text)?;
                return Ok(kind);
            }
        }
        Ok(MainFile::OfTheSystem)
    }

    fn aliases_path(&self, root: &Path) -> Option<PathBuf> {
        if self.explicit_aliases.is_some() {
            return self.explicit_aliases.clone();
        }
        if self.environment.rootless {
            return self.environment.cache_home().map(|cache| cache.join(ALIASES_FILE));
        }
        Some(root.join("var/cache").join(ALIASES_FILE))
    }
}

/// Whose main file was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MainFile {
    Named,
    OfTheUser,
    OfTheSystem,
}

impl Loaded {
    fn merge(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let table = parse(path, text)?;
        if is_version_1(&table) && is_version_2(&table) {
            return Err(Error::Parse {
                path: path.to_owned(),
                message: "mixing sysregistry v1/v2 is not supported".to_owned(),
            });
        }
        self.merge_table(path, &table)
    }

    fn merge_drop_in(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let table = parse(path, text)?;
        if is_version_1(&table) {
            let message = "a drop-in must be in the format of version 2, without [registries.search] and the like".to_owned();
            return Err(Error::Parse { path: path.to_owned(), message });
        }
        self.merge_table(path, &table)
    }

    fn merge_table(&mut self, path: &Path, table: &Table) -> Result<(), Error> {
        if let Some(value) = table.get("credential-helpers") {
            let helpers = strings(path, "credential-helpers", value)?;
            // A list of nobody is none: an earlier file's stays.
            if !helpers.is_empty() {
                self.credential_helpers = helpers;
            }
        }
        self.endpoints.merge(path, table)?;
        self.names.merge(path, table)
    }
}

/// Whether a file has the lists that there were before `[[registry]]`.
fn is_version_1(table: &Table) -> bool {
    let lists = table.get("registries").and_then(Value::as_table);
    lists.is_some_and(|lists| ["search", "insecure", "block"].iter().any(|name| lists.contains_key(*name)))
}

fn is_version_2(table: &Table) -> bool {
    ["registry", "unqualified-search-registries", "short-name-mode", "aliases", "credential-helpers"]
        .iter()
        .any(|name| table.contains_key(*name))
}

impl ShortNames {
    fn merge(&mut self, path: &Path, table: &Table) -> Result<(), Error> {
        if let Some(value) = table.get("unqualified-search-registries") {
            self.search = strings(path, "unqualified-search-registries", value)?;
            self.search_file = Some(path.to_owned());
        } else if let Some(value) = search_of_version_1(table) {
            self.search = strings(path, "registries.search.registries", value)?;
            self.search_file = Some(path.to_owned());
        }
        if let Some(value) = table.get("short-name-mode") {
            self.mode = match value.as_str() {
                Some("" | "permissive") => ShortNameMode::Permissive,
                Some("disabled") => ShortNameMode::Disabled,
                Some("enforcing") => ShortNameMode::Enforcing,
                word => {
                    let word = word.map_or_else(|| value.type_str().to_owned(), |word| format!("{word:?}"));
                    let message = format!("invalid short-name mode: {word}: want enforcing, permissive or disabled");
                    return Err(Error::Parse { path: path.to_owned(), message });
                }
            };
        }
        self.merge_aliases(path, table)
    }

    /// An alias for nothing takes away one of an earlier file.
    fn merge_aliases(&mut self, path: &Path, table: &Table) -> Result<(), Error> {
        for (name, target) in aliases::read(path, table)? {
            match target.as_str() {
                "" => drop(self.aliases.remove(&name)),
                _ => drop(self.aliases.insert(name, (target, path.to_owned()))),
            }
        }
        Ok(())
    }
}

/// `[registries.search] registries`, which old files still have.
fn search_of_version_1(table: &Table) -> Option<&Value> {
    table.get("registries")?.get("search")?.get("registries")
}

fn parse(path: &Path, text: &str) -> Result<Table, Error> {
    text.parse().map_err(|error: toml::de::Error| Error::Parse { path: path.to_owned(), message: error.message().to_owned() })
}

fn strings(path: &Path, key: &str, value: &Value) -> Result<Vec<String>, Error> {
    let wrong = || Error::Parse { path: path.to_owned(), message: format!("{key}: want a list of texts") };
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root directory with these files, and what is read below it by a user whose home is `home`.
    fn read(files: &[(&str, &str)], edit: impl FnOnce(&mut Registries, &Path)) -> Result<ShortNames, String> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let environment = Environment { home: Some(root.path().join("home")), rootless: true, ..Environment::default() };
        let mut registries = Registries::new(environment, None, None);
        edit(&mut registries, root.path());
        let shown = |error: Error| error.to_string().replace(&*root.path().to_string_lossy(), "");
        registries.load_below(root.path()).map(|loaded| loaded.names).map_err(shown)
    }

    const SYSTEM: (&str, &str) = ("etc/containers/registries.conf", "unqualified-search-registries = ['a.io', 'b.io']");
    const HOME: (&str, &str) = ("home/.config/containers/registries.conf", "unqualified-search-registries = ['h.io']");
    const DROP_IN: (&str, &str) =
        ("etc/containers/registries.conf.d/1.conf", "[aliases]\n'fedora' = 'r.f.org/fedora'\n'x' = 'q.io/x'");

    #[test]
    fn the_first_main_file_counts_and_all_drop_ins() {
        let names = read(&[], |_, _| {}).unwrap();
        assert_eq!(names, ShortNames::default());
        let names = read(&[SYSTEM, DROP_IN], |_, _| {}).unwrap();
        assert_eq!((names.search.join(" ").as_str(), names.alias("fedora")), ("a.io b.io", Some("r.f.org/fedora")));
        let names = read(&[SYSTEM, HOME, DROP_IN], |_, _| {}).unwrap();
        assert_eq!((names.search.join(" ").as_str(), names.alias("x")), ("h.io", None), "the system's drop-ins do not count");
        let explicit = ("mine.conf", "unqualified-search-registries = []");
        let names = read(&[SYSTEM, HOME, DROP_IN, explicit], |registries, root| {
            registries.explicit = Some(root.join("mine.conf"));
        });
        assert_eq!(names.as_ref().map(|names| (names.search.len(), names.alias("x"))), Ok((0, Some("q.io/x"))));
    }

    #[test]
    fn later_files_win_and_the_chosen_aliases_last() {
        let second = (
            "home/.config/containers/registries.conf.d/2.conf",
            "unqualified-search-registries = ['d.io']\n[aliases]\nx = ''\nfedora = 'h.io/f'",
        );
        let names = read(&[SYSTEM, DROP_IN, second], |_, _| {}).unwrap();
        assert_eq!(
            (names.alias("x"), names.alias("fedora"), names.search.join(" ")),
            (None, Some("h.io/f"), "d.io".to_owned())
        );
        let chosen = ("home/.cache/containers/short-name-aliases.conf", "[aliases]\nfedora = 'c.io/f'");
        let names = read(&[SYSTEM, DROP_IN, second, chosen], |_, _| {}).unwrap();
        assert_eq!(names.alias("fedora"), Some("c.io/f"));
        let named = read(&[chosen, ("names.conf", "[aliases]\nfedora = 'n.io/f'")], |registries, root| {
            registries.explicit_aliases = Some(root.join("names.conf"));
        });
        assert_eq!(named.unwrap().alias("fedora"), Some("n.io/f"));
        let cached = ("var/cache/containers/short-name-aliases.conf", "[aliases]\nfedora = 'root.io/f'");
        let of_root = read(&[chosen, cached], |registries, _| registries.environment.rootless = false);
        assert_eq!(of_root.unwrap().alias("fedora"), Some("root.io/f"));
    }

    #[test]
    fn drop_ins_of_the_distribution_are_read_unless_replaced() {
        let usr = |text| ("usr/share/containers/registries.conf.d/1.conf", text);
        let alias = "[aliases]\nx = 'usr.io/x'\ny = 'usr.io/y'";
        let names = read(&[usr(alias)], |_, _| {}).unwrap();
        assert_eq!(names.alias("y"), Some("usr.io/y"));
        let names = read(&[usr(alias), DROP_IN], |_, _| {}).unwrap();
        assert_eq!((names.alias("x"), names.alias("y")), (Some("q.io/x"), None), "the same name in /etc");
        let rootless = ("etc/containers/registries.rootless.conf.d/2.conf", "[aliases]\nx = 'mine.io/x'");
        assert_eq!(read(&[DROP_IN, rootless], |_, _| {}).unwrap().alias("x"), Some("mine.io/x"));
        let of_root = read(&[DROP_IN, rootless], |registries, _| registries.environment.rootless = false).unwrap();
        assert_eq!(of_root.alias("x"), Some("q.io/x"));
    }

    #[test]
    fn files_of_version_1_are_read() {
        let old = ("etc/containers/registries.conf", "[registries.search]\nregistries = ['old.io']");
        assert_eq!(read(&[old], |_, _| {}).unwrap().search, ["old.io"]);
    }

    #[test]
    fn wrong_files_are_named() {
        let system = |text: &'static str| read(&[("etc/containers/registries.conf", text)], |_, _| {}).unwrap_err();
        let path = "\"/etc/containers/registries.conf\"";
        assert!(system("x = ").starts_with(&format!("parsing {path}: ")));
        let list = "want a list of texts";
        assert_eq!(
            system("unqualified-search-registries = 3"),
            format!("parsing {path}: unqualified-search-registries: {list}")
        );
        let aliases = format!("parsing {path}: validating short-name aliases: x: want a text");
        assert_eq!(system("[aliases]\nx = 3"), aliases);
        assert!(system("short-name-mode = 'bogus'").contains("invalid short-name mode: \"bogus\""));
        assert!(
            system("[registries.search]\nregistries = []\n[aliases]").contains("mixing sysregistry v1/v2 is not supported")
        );
        let old = ("etc/containers/registries.conf.d/1.conf", "[registries.block]\nregistries = ['x']");
        assert!(read(&[old], |_, _| {}).unwrap_err().contains("version 2"));
        let missing = read(&[], |registries, root| registries.explicit = Some(root.join("none.conf")));
        assert_eq!(missing.unwrap_err(), "reading \"/none.conf\"");
    }
}
