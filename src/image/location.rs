//! `transport:rest`: where an image lies outside of the store's own names (containers-transports(5)).
//!
//! ```text
//! containers-storage:[driver@graphroot+runroot:options]name     oci:DIR[:REF|:@INDEX]        dir:DIR
//! docker-archive:FILE[:NAME|:@INDEX]                            oci-archive:FILE[:REF|:@INDEX]   tarball:FILE[:FILE…]
//! docker://NAME[:TAG|@DIGEST]
//! ```
//!
//! Pure: a path is text here, and nothing is looked up. A transport that is not supported is refused by name, with what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use super::reference::{self, Reference};

/// A place that holds or gets an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `containers-storage:`
    Storage(StorageName),
    /// `oci:`, a directory in the OCI image layout.
    OciLayout {
        /// The directory.
        dir: PathBuf,
        /// Which of its images.
        image: Selector,
    },
    /// `oci-archive:`, such a directory in a tar file.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// Which of its images.
        image: Selector,
    },
    /// `docker-archive:`, what `docker save` writes.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// Which of its images. A name is fully qualified and has a tag.
        image: Selector,
    },
    /// `dir:`, a directory with the image's documents and blobs as files.
    Dir(PathBuf),
    /// `tarball:`, tar files that become the layers of an image. Read only.
    Tarball(Vec<PathBuf>),
    /// `docker://`, an image at a registry. The name has exactly one of tag and digest.
    Registry(Reference),
}

/// Which image of a place that can hold several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selector {
    /// Nothing was said: the only one.
    #[default]
    Only,
    /// The one with this name.
    Name(String),
    /// By its place, counted from 0.
    Index(usize),
}

/// An image of a store, and perhaps of another store than the one in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageName {
    /// The text in brackets: another store.
    pub store: Option<StoreSpec>,
    /// A name or an ID, as typed; empty for a new image without a name.
    pub name: String,
}

/// `[driver@graphroot+runroot:option,option]`; each part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreSpec {
    /// The graph driver.
    pub driver: Option<String>,
    /// The graph root, an absolute path.
    pub graph_root: Option<PathBuf>,
    /// The run root, an absolute path.
    pub run_root: Option<PathBuf>,
    /// Options, each `driver.key=value`.
    pub options: Vec<String>,
}

/// Why a text names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A transport that exists, but not here.
    #[error("the transport {transport:?} is not supported: {reason}")]
    Unsupported {
        /// The name before the colon.
        transport: &'static str,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// No path where there must be one.
    #[error("{0}: the path is missing")]
    NoPath(&'static str),
    /// The part after the path is not what the transport takes.
    #[error("invalid image {text:?} in {transport}: {reason}")]
    Image {
        /// The transport.
        transport: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The part after the path is no image name.
    #[error("invalid image {text:?} in {transport}")]
    Name {
        /// The transport.
        transport: &'static str,
        /// What was given.
        text: String,
        /// Which rule it breaks.
        source: reference::Error,
    },
    /// The text in brackets cannot be understood.
    #[error("invalid store specification [{text}]: {reason}")]
    Store {
        /// The text in the brackets.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Transports that others have and we do not, with the reason.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("docker-daemon", "coracle talks to no daemon; use \"docker save -o FILE IMAGE\" and docker-archive:FILE"),
    ("sif", "coracle runs no helper programs of others; use \"singularity sif dump\" and tarball:FILE"),
    ("ostree", "it is not part of current tools either; use oci:DIRECTORY"),
    ("atomic", "it is not part of current tools either; use oci:DIRECTORY"),
    (
        "http",
        "an image at a registry is named without it, docker://HOST/NAME; --tls-verify=false allows a registry without TLS",
    ),
    ("https", "an image at a registry is named without it, docker://HOST/NAME"),
];

impl Location {
    /// Reads `text` if it names a transport; `None` if it is an ordinary image name. `docker:` counts only with the slashes, so
    /// that it can be an image with a tag.
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        let Some((name, rest)) = text.split_once(':') else { return Ok(None) };
        if let Some((transport, reason)) = UNSUPPORTED.iter().find(|(transport, _)| *transport == name) {
            // A registry may have images of these names, and what follows is a tag then.
            let meant = !["http", "https", "atomic"].contains(transport) || rest.contains('/');
            return if meant { Err(Error::Unsupported { transport, reason }) } else { Ok(None) };
        }
        Ok(Some(match name {
            "containers-storage" => Self::Storage(StorageName::parse(rest)?),
            "docker" => match rest.strip_prefix("//") {
                None => return Ok(None),
                Some(name) => {
                    let text = || name.chars().take(200).collect();
                    let parsed = Reference::normalized(name);
                    Self::Registry(parsed.map_err(|source| Error::Name { transport: "docker", text: text(), source })?)
                }
            },
            "oci" => {
                let (dir, image) = split_oci("oci", rest)?;
                Self::OciLayout { dir, image }
            }
            "oci-archive" => {
                let (file, image) = split_oci("oci-archive", rest)?;
                Self::OciArchive { file, image }
            }
            "docker-archive" => docker_archive(rest)?,
            "dir" if rest.is_empty() => return Err(Error::NoPath("dir")),
            "dir" => Self::Dir(rest.into()),
            "tarball" if rest.is_empty() || rest.split(':').any(str::is_empty) => return Err(Error::NoPath("tarball")),
            "tarball" => Self::Tarball(rest.split(':').map(PathBuf::from).collect()),
            _ => return Ok(None),
        }))
    }

    /// The image `name` of the store in use: a name, an ID, or nothing for a new image without a name.
    pub fn stored(name: &str) -> Self {
        Self::Storage(StorageName { store: None, name: name.to_owned() })
    }

    /// The name before the colon.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Storage(_) => "containers-storage",
            Self::OciLayout { .. } => "oci",
            Self::OciArchive { .. } => "oci-archive",
            Self::DockerArchive { .. } => "docker-archive",
            Self::Dir(_) => "dir",
            Self::Tarball(_) => "tarball",
            Self::Registry(_) => "docker",
        }
    }
}

impl fmt::Display for Location {
    /// The text that `parse` reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.transport())?;
        match self {
            Self::Storage(storage) => write!(f, "{storage}"),
            Self::OciLayout { dir: path, image }
            | Self::OciArchive { file: path, image }
            | Self::DockerArchive { file: path, image } => write!(f, "{}{image}", path.display()),
            Self::Dir(dir) => write!(f, "{}", dir.display()),
            Self::Tarball(files) => {
                let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                f.write_str(&files.join(":"))
            }
            Self::Registry(name) => write!(f, "//{name}"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => Ok(()),
            Self::Name(name) => write!(f, ":{name}"),
            Self::Index(index) => write!(f, ":@{index}"),
        }
    }
}

/// Path and selector at the first colon: a path with a colon cannot be named, as with the other tools.
fn split_oci(transport: &'static str, rest: &str) -> Result<(PathBuf, Selector), Error> {
    let (path, image) = rest.split_once(':').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err(Error::NoPath(transport));
    }
    let refused = |reason| Error::Image { transport, text: image.chars().take(200).collect(), reason };
    let selector = match image.strip_prefix('@') {
        _ if image.is_empty() => Selector::Only,
        Some(index) => Selector::Index(parse_index(index).ok_or_else(|| refused("after @ comes a number from 0 on"))?),
        None if is_oci_ref(image) => Selector::Name(image.to_owned()),
        None => return Err(refused("it does not follow the grammar of org.opencontainers.image.ref.name")),
    };
    Ok((path.into(), selector))
}

fn docker_archive(rest: &str) -> Result<Location, Error> {
    let (path, image) = rest.split_once(':').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err(Error::NoPath("docker-archive"));
    }
    let refused = |reason| Error::Image { transport: "docker-archive", text: image.chars().take(200).collect(), reason };
    let selector = match image.strip_prefix('@') {
        _ if image.is_empty() => Selector::Only,
        Some(index) => Selector::Index(parse_index(index).ok_or_else(|| refused("after @ comes a number from 0 on"))?),
        None => {
            let name = Reference::normalized(image);
            let text = || image.chars().take(200).collect();
            let name = name.map_err(|source| Error::Name { transport: "docker-archive", text: text(), source })?;
            if name.digest().is_some() {
                return Err(refused("an archive holds tags, no digests"));
            }
            Selector::Name(name.to_string())
        }
    };
    Ok(Location::DockerArchive { file: path.into(), image: selector })
}

fn parse_index(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The grammar of `org.opencontainers.image.ref.name` (OCI image specification, annotations).
fn is_oci_ref(text: &str) -> bool {
    let component = |text: &str| {
        let mut after_separator = true;
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            if byte.is_ascii_alphanumeric() {
                after_separator = false;
                rest = tail;
            } else if after_separator || !b"-._:@+".contains(&byte) {
                return false;
            } else {
                after_separator = true;
                rest = tail.strip_prefix(b"-").filter(|_| byte == b'-').unwrap_or(tail);
            }
        }
        !text.is_empty() && !after_separator
    };
    text.split('/').all(component)
}

impl StorageName {
    fn parse(rest: &str) -> Result<Self, Error> {
        let Some(inner) = rest.strip_prefix('[') else { return Ok(Self { store: None, name: rest.to_owned() }) };
        let refused = |text: &str, reason| Error::Store { text: text.chars().take(200).collect(), reason };
        let (spec, name) = inner.split_once(']').ok_or_else(|| refused(inner, "the closing bracket is missing"))?;
        let store = StoreSpec::parse(spec).map_err(|reason| refused(spec, reason))?;
        Ok(Self { store: Some(store), name: name.to_owned() })
    }
}

impl StoreSpec {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (driver, rest) = match text.split_once('@') {
            Some((driver, rest)) => (driver, rest),
            // Without the sign it is a path, or a driver alone.
            None if text.starts_with('/') => ("", text),
            None => (text, ""),
        };
        let (roots, options) = rest.split_once(':').unwrap_or((rest, ""));
        let (graph_root, run_root) = roots.split_once('+').unwrap_or((roots, ""));
        let path = |text: &str| match text {
            "" => Ok(None),
            text if Path::new(text).is_absolute() => Ok(Some(PathBuf::from(text))),
            _ => Err("a path in it is not absolute"),
        };
        if driver.contains(['/', ':', '+']) {
            return Err("the part before @ is no driver");
        }
        let spec = Self {
            driver: (!driver.is_empty()).then(|| driver.to_owned()),
            graph_root: path(graph_root)?,
            run_root: path(run_root)?,
            options: options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect(),
        };
        if spec == Self::default() { Err("it is empty") } else { Ok(spec) }
    }
}

impl fmt::Display for StorageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(store) = &self.store {
            let path = |path: &Option<PathBuf>| path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
            write!(f, "[{}@{}", store.driver.as_deref().unwrap_or_default(), path(&store.graph_root))?;
            if store.run_root.is_some() {
                write!(f, "+{}", path(&store.run_root))?;
            }
            if !store.options.is_empty() {
                write!(f, ":{}", store.options.join(","))?;
            }
            f.write_str("]")?;
        }
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_transport_in_its_forms() {
        let cases = [
            ("oci:/d", "/d", Selector::Only),
            ("oci:/d:", "/d", Selector::Only),
            ("oci:d:latest", "d", Selector::Name("latest".into())),
            ("oci:/d:a.b/c:1", "/d", Selector::Name("a.b/c:1".into())),
            ("oci:/d:@2", "/d", Selector::Index(2)),
        ];
        for (text, dir, image) in cases {
            assert_eq!(Location::parse(text), Ok(Some(Location::OciLayout { dir: dir.into(), image })), "{text}");
        }
        let archive = |image| Ok(Some(Location::DockerArchive { file: "a.tar".into(), image }));
        assert_eq!(Location::parse("docker-archive:a.tar"), archive(Selector::Only));
        assert_eq!(Location::parse("docker-archive:a.tar:x"), archive(Selector::Name("docker.io/library/x:latest".into())));
        assert_eq!(Location::parse("docker-archive:a.tar:q.io/x:1"), archive(Selector::Name("q.io/x:1".into())));
        assert_eq!(Location::parse("docker-archive:a.tar:@0"), archive(Selector::Index(0)));
        assert_eq!(Location::parse("dir:/a:b"), Ok(Some(Location::Dir("/a:b".into()))));
        assert_eq!(Location::parse("tarball:a:b"), Ok(Some(Location::Tarball(vec!["a".into(), "b".into()]))));
        assert_eq!(Location::parse("containers-storage:x"), Ok(Some(Location::stored("x"))));
        let shown = |text: &str| Location::parse(text).map(|location| location.map(|location| location.to_string()));
        assert_eq!(shown("docker://x"), Ok(Some("docker://docker.io/library/x:latest".to_owned())));
        assert_eq!(shown("docker://localhost:5000/a/b:1"), Ok(Some("docker://localhost:5000/a/b:1".to_owned())));
        for text in ["fedora", "docker:20", "sifx:1", "localhost:5000/x", "atomic:1", "", "directory:x"] {
            assert_eq!(Location::parse(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn another_store_in_brackets() {
        let spec = |text: &str| match Location::parse(text) {
            Ok(Some(Location::Storage(StorageName { store: Some(store), name }))) => {
                (store.driver, store.graph_root, store.run_root, store.options, name)
            }
            other => panic!("{text}: {other:?}"),
        };
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(
            spec("containers-storage:[overlay@/g+/r:overlay.a=b,c=d]x:1"),
            (Some("overlay".into()), path("/g"), path("/r"), vec!["overlay.a=b".into(), "c=d".into()], "x:1".into())
        );
        assert_eq!(spec("containers-storage:[/g]x"), (None, path("/g"), None, vec![], "x".into()));
        assert_eq!(spec("containers-storage:[vfs@/g]x"), (Some("vfs".into()), path("/g"), None, vec![], "x".into()));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let cases = [
            ("docker://X", "invalid image \"X\" in docker"),
            ("docker://", "invalid image \"\" in docker"),
            ("docker-daemon:x", "docker save"),
            ("sif:x", "singularity"),
            ("ostree:x@/repo", "not supported"),
            ("atomic:q.io/x", "not supported"),
            ("http://q.io/x", "docker://HOST/NAME; --tls-verify=false"),
            ("https://q.io/x:1", "docker://HOST/NAME"),
            ("oci:", "path is missing"),
            ("oci::x", "path is missing"),
            ("oci:/d:-x", "grammar"),
            ("oci:/d:x//y", "grammar"),
            ("oci:/d:@", "number"),
            ("oci:/d:@-1", "number"),
            ("oci:/d:@+1", "number"),
            ("dir:", "path is missing"),
            ("tarball:", "path is missing"),
            ("tarball:a::b", "path is missing"),
            ("docker-archive:", "path is missing"),
            ("docker-archive:a:@x", "number"),
            ("docker-archive:a:X", "invalid image"),
            ("containers-storage:[x", "closing bracket"),
            ("containers-storage:[]x", "empty"),
            ("containers-storage:[overlay@g]x", "not absolute"),
        ];
        for (text, words) in cases {
            let error = Location::parse(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(text in "(oci|oci-archive|docker|docker-archive|dir|tarball|containers-storage):[\\[\\]a-z@+/:,0-9=.]{0,24}") {
            if let Ok(Some(location)) = Location::parse(&text) {
                prop_assert_eq!(Location::parse(&location.to_string()), Ok(Some(location)));
            }
        }
    }
}
