//! registries.d, containers-registries.d(5): where the signatures of images at registries are.
//!
//! ```text
//! default-docker: {lookaside, lookaside-staging, use-sigstore-attachments}      older: sigstore, sigstore-staging
//! docker: {SCOPE: {the same}}         a scope is one of policy.json(5)
//! ```
//!
//! The files of several directories count, those of the newest containers-registries.d(5): below /usr/share and below /etc for everybody,
//! for this kind of user and for this user; then the user's own. Of several files with one name the last directory's counts alone. What
//! the user's own files say of a scope counts in place of what the system's say: older tools read the user's files alone, the newest
//! take two sections of one scope for an error. `--registries-conf-dir` names the one directory that counts.
//!
//! Keys that are not known are passed over, as by the other tools; without its signatures an image that needs some is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::yaml::{self, Node};
use super::{Environment, Error, Presence, read_file};

/// Where signatures are that no file says anything of: root's, and below the home of everybody else.
const DEFAULT: &str = "/var/lib/containers/sigstore";
const DEFAULT_AT_HOME: &str = ".local/share/containers/sigstore";
/// The directory below that of settings.
const DIRECTORY: &str = "containers/registries.d";

/// Whose directory a file is in. The later one has its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    System,
    User,
}

/// Who has a section of each scope, and where; the empty scope is the default.
type Origins = BTreeMap<String, (Owner, PathBuf)>;

/// What the files of the directory say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignaturePlaces {
    default: Section,
    scopes: BTreeMap<String, Section>,
    built_in: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Section {
    read: Option<String>,
    write: Option<String>,
    attachments: Option<bool>,
}

/// Where the signatures of one image are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Address of the directory of simple signatures, `file://` or of the web.
    pub read: String,
    /// The same for new ones.
    pub write: String,
    /// Whether the registry itself has signatures, as images with names of their own.
    pub attachments: bool,
}

impl SignaturePlaces {
    /// Reads the files.
    ///
    /// # Errors
    /// The directory or a file cannot be read, a file is no YAML that means one thing, or a scope has two sections.
    pub fn load(environment: &Environment) -> Result<Self, Error> {
        Self::load_below(environment, Path::new("/"))
    }

    fn load_below(environment: &Environment, root: &Path) -> Result<Self, Error> {
        let at_home = environment.home.as_ref().filter(|_| environment.rootless).map(|home| home.join(DEFAULT_AT_HOME));
        let built_in = at_home.unwrap_or_else(|| PathBuf::from(DEFAULT));
        let mut places = Self { built_in: format!("file://{}", built_in.display()), ..Self::default() };
        let mut origins = Origins::new();
        for (owner, path) in files(environment, root)? {
            let Some(text) = read_file(&path, Presence::Required)? else { continue };
            places.merge((owner, &path), &text, &mut origins)?;
        }
        Ok(places)
    }

    /// Takes a file in.
    fn merge(&mut self, (owner, path): (Owner, &Path), text: &str, origins: &mut Origins) -> Result<(), Error> {
        let wrong = |message: String| Error::Parse { path: path.to_owned(), message };
        let document = yaml::parse(text).map_err(wrong)?;
        for (key, node) in document.members().map_err(|what| wrong(what.to_owned()))? {
            let at = |what: &str| wrong(format!("{key}: {what}"));
            let sections = match key.as_str() {
                "default-docker" => vec![(String::new(), section(node).map_err(|what| at(&what))?)],
                "docker" => {
                    let read = |(scope, node): &(String, Node)| {
                        section(node).map(|section| (scope.clone(), section)).map_err(|what| at(&format!("{scope}: {what}")))
                    };
                    node.members().map_err(&at)?.iter().map(read).collect::<Result<_, _>>()?
                }
                _ => continue,
            };
            for (scope, section) in sections {
                match origins.get(&scope) {
                    Some((known, _)) if *known > owner => continue,
                    Some((known, other)) if *known == owner => {
                        return Err(at(&format!("{scope:?} has a section in {other:?} already")));
                    }
                    _ => drop(origins.insert(scope.clone(), (owner, path.to_owned()))),
                }
                match scope.as_str() {
                    "" => self.default = section,
                    _ => drop(self.scopes.insert(scope, section)),
                }
            }
        }
        Ok(())
    }

    /// Where the signatures of an image are that is in these scopes, the narrowest first. Each key counts where it stands first.
    pub fn of(&self, scopes: &[String]) -> Places {
        let sections = || scopes.iter().filter_map(|scope| self.scopes.get(scope)).chain([&self.default]);
        let read = sections().find_map(|section| section.read.clone());
        // A section with a place to read from counts before a wider one with a place to write to.
        let write = sections().find_map(|section| section.write.clone().or_else(|| section.read.clone()));
        Places {
            read: read.unwrap_or_else(|| self.built_in.clone()),
            write: write.unwrap_or_else(|| self.built_in.clone()),
            attachments: sections().find_map(|section| section.attachments).unwrap_or(false),
        }
    }
}

fn section(node: &Node) -> Result<Section, String> {
    let mut found = BTreeMap::new();
    let mut attachments = None;
    for (key, node) in node.members()? {
        match key.as_str() {
            "lookaside" | "lookaside-staging" | "sigstore" | "sigstore-staging" => {
                let text = node.text().map_err(|what| format!("{key}: {what}"))?;
                found.extend(text.filter(|text| !text.is_empty()).map(|text| (key.as_str(), text.to_owned())));
            }
            "use-sigstore-attachments" => attachments = node.switch().map_err(|what| format!("{key}: {what}"))?,
            _ => {}
        }
    }
    let mut first = |names: [&str; 2]| names.into_iter().find_map(|name| found.remove(name));
    Ok(Section { read: first(["lookaside", "sigstore"]), write: first(["lookaside-staging", "sigstore-staging"]), attachments })
}

/// The `*.yaml` files of all directories, by their names.
fn files(environment: &Environment, root: &Path) -> Result<impl Iterator<Item = (Owner, PathBuf)> + use<>, Error> {
    let mut by_name = BTreeMap::new();
    for (owner, directory) in directories(environment, root) {
        by_name.extend(files_of(&directory)?.into_iter().map(|path| (path.file_name().map(ToOwned::to_owned), (owner, path))));
    }
    Ok(by_name.into_values())
}

/// The directories that count, the last with the most weight.
fn directories(environment: &Environment, root: &Path) -> Vec<(Owner, PathBuf)> {
    if let Some(named) = &environment.registries_d {
        return vec![(Owner::User, named.clone())];
    }
    let kind = if environment.rootless { "rootless" } else { "rootful" };
    let mut all = Vec::new();
    for base in ["usr/share", "etc"] {
        let base = root.join(base);
        let of_kind = base.join(format!("containers/registries.{kind}.d"));
        let of_user = environment.uid.filter(|_| environment.rootless).map(|uid| of_kind.join(uid.to_string()));
        let of_system = [Some(base.join(DIRECTORY)), Some(of_kind), of_user].into_iter().flatten();
        all.extend(of_system.map(|directory| (Owner::System, directory)));
    }
    all.extend(environment.config_home().map(|home| (Owner::User, home.join(DIRECTORY))));
    all
}

/// The `*.yaml` files of the directory; none if there is no directory.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: directory.to_owned(), source };
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed));
    let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<SignaturePlaces, String> {
        let root = tempfile::tempdir().unwrap();
        let environment =
            Environment { home: Some(root.path().join("home")), rootless: true, uid: Some(77), ..Environment::default() };
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let shown = |error: Error| error.to_string().replace(&*root.path().to_string_lossy(), "");
        let mut places = SignaturePlaces::load_below(&environment, root.path()).map_err(shown)?;
        places.built_in = places.built_in.replace(&*root.path().to_string_lossy(), "");
        Ok(places)
    }

    fn of(places: &SignaturePlaces, scopes: &[&str]) -> (String, String, bool) {
        let Places { read, write, attachments } = places.of(&scopes.iter().map(ToString::to_string).collect::<Vec<_>>());
        (read, write, attachments)
    }

    #[test]
    fn the_narrowest_section_with_the_key_counts() {
        let text = "default-docker:\n  lookaside-staging: file:///all\n  use-sigstore-attachments: true\ndocker:\n  r.io:\n    \
             sigstore: https://r/s\n  r.io/a:\n    lookaside: http://a/s\n    sigstore-staging: file:///a\n    \
             use-sigstore-attachments: false\n    somethingNew: 1\n  r.io/b: {sigstore: '', use-sigstore-attachments: ~}\n";
        let places = load(&[("etc/containers/registries.d/x.yaml", text), ("etc/containers/registries.d/y.yml", "[")]).unwrap();
        let default = "file:///home/.local/share/containers/sigstore";
        let want = |read: &str, write: &str, attachments| (read.to_owned(), write.to_owned(), attachments);
        assert_eq!(of(&places, &["q.io/x:1", "q.io/x", "q.io"]), want(default, "file:///all", true));
        assert_eq!(of(&places, &["r.io/x:1", "r.io/x", "r.io"]), want("https://r/s", "https://r/s", true));
        assert_eq!(of(&places, &["r.io/a:1", "r.io/a", "r.io"]), want("http://a/s", "file:///a", false));
        assert_eq!(of(&places, &["r.io/b:1", "r.io/b", "r.io"]), want("https://r/s", "https://r/s", true));
        assert_eq!(of(&load(&[]).unwrap(), &["q.io"]), want(default, default, false));
    }

    #[test]
    fn of_several_directories_the_narrower_has_its_way() {
        let read = |files: &[(&'static str, &'static str)], scope| of(&load(files).unwrap(), &[scope]).0;
        let vendor = ("usr/share/containers/registries.d/x.yaml", "docker: {r.io: {lookaside: file:///vendor}}");
        let system = ("etc/containers/registries.d/x.yaml", "docker: {r.io: {lookaside: file:///system}}");
        let rootful = ("etc/containers/registries.rootful.d/x.yaml", "docker: {r.io: {lookaside: file:///rootful}}");
        let rootless = ("etc/containers/registries.rootless.d/x.yaml", "docker: {r.io: {lookaside: file:///rootless}}");
        let of_uid = ("etc/containers/registries.rootless.d/77/x.yaml", "docker: {r.io: {lookaside: file:///77}}");
        let of_other = ("etc/containers/registries.rootless.d/78/x.yaml", "docker: {r.io: {lookaside: file:///78}}");
        let user = ("home/.config/containers/registries.d/x.yaml", "docker: {r.io: {lookaside: file:///user}}");
        assert_eq!(read(&[vendor], "r.io"), "file:///vendor");
        assert_eq!(read(&[vendor, system, rootful, of_other], "r.io"), "file:///system");
        assert_eq!(read(&[vendor, system, rootless], "r.io"), "file:///rootless");
        assert_eq!(read(&[vendor, system, rootless, of_uid], "r.io"), "file:///77");
        assert_eq!(read(&[vendor, system, rootless, of_uid, user], "r.io"), "file:///user");
        // Under another name: what the user does not speak of is as the system says.
        for name in ["home/.config/containers/registries.d/a.yaml", "home/.config/containers/registries.d/z.yaml"] {
            let both = [
                ("etc/containers/registries.d/x.yaml", "docker: {r.io: {lookaside: file:///r}, q.io: {lookaside: file:///q}}"),
                (name, user.1),
            ];
            assert_eq!(
                (read(&both, "r.io"), read(&both, "q.io")),
                ("file:///user".to_owned(), "file:///q".to_owned()),
                "{name}"
            );
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let file = |name: &'static str, text: &'static str| {
            let path: &'static str = Box::leak(format!("etc/containers/registries.d/{name}.yaml").into_boxed_str());
            (path, text)
        };
        let error = |files: &[(&str, &str)]| load(files).unwrap_err();
        let path = "/etc/containers/registries.d/";
        let twice = [file("a", "docker: {r.io: {}}"), file("b", "docker: {r.io: {}}")];
        assert_eq!(
            error(&twice),
            format!("parsing \"{path}b.yaml\": docker: \"r.io\" has a section in \"{path}a.yaml\" already")
        );
        let systems = [file("a", "docker: {r.io: {}}"), ("usr/share/containers/registries.d/b.yaml", "docker: {r.io: {}}")];
        assert!(error(&systems).contains("has a section in"));
        let defaults = [file("a", "default-docker: {}"), file("b", "default-docker: {}")];
        assert!(error(&defaults).contains("default-docker"));
        for text in [
            "docker: {r.io: {lookaside: file:///a, lookaside: file:///b}}",
            "docker: {r.io: {lookaside: [x]}}",
            "docker: {r.io: {use-sigstore-attachments: perhaps}}",
            "docker: [x]",
            "docker: &a {r.io: {}}",
            "x",
        ] {
            assert!(error(&[file("a", text)]).starts_with(&format!("parsing \"{path}a.yaml\": ")), "{text}");
        }
    }
}
