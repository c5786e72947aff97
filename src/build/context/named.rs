//! `--build-context NAME=VALUE`.
//!
//! ```text
//! docker-image://REF  container-image://REF  docker://REF      an image, as `from` takes it
//! oci-layout://DIR[:TAG|@DIGEST]                               an image of a directory in the OCI layout
//! http(s)://…  github.com/…  git://…  ssh://…  git@HOST:…      a repository or an archive
//! anything else                                                a directory, or an archive, of this machine
//! ```

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;

use containers_storage::Root;

use super::{Error, LONGEST_TEXT, Operand, Request, Scratch, ignore};
use crate::build::options::{Context, NamedContext};

/// The words that name an image of a registry or of the store.
const IMAGES: [&str; 2] = ["docker-image://", "container-image://"];
/// What BuildKit takes beside these, and we do not.
const UNKNOWN: [&str; 2] = ["target:", "input:"];

/// What a value stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Image(String),
    Layout { dir: String, image: Image },
    Files(Operand),
}

/// Which image of a layout.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Image {
    Only,
    Tag(String),
    Digest(String),
}

/// The names and values, in the order in which names first came; the last value of a name holds. Pure.
pub(super) fn parse(given: &[(String, String)]) -> Result<Vec<(String, Value)>, Error> {
    let mut values: Vec<(String, Value)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (name, text) in given {
        if name.is_empty() || text.is_empty() {
            return Err(Error::NamedForm(format!("{name}={text}")));
        }
        let value = value(name, text)?;
        match places.get(name.as_str()) {
            Some(&at) => values[at].1 = value,
            None => {
                places.insert(name, values.len());
                values.push((name.clone(), value));
            }
        }
    }
    Ok(values)
}

fn value(name: &str, text: &str) -> Result<Value, Error> {
    let wrong = |problem: &str| Error::NamedValue { name: name.to_owned(), problem: problem.to_owned() };
    if let Some(image) = IMAGES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        return if image.is_empty() {
            Err(wrong("the name of the image is missing"))
        } else {
            Ok(Value::Image(image.to_owned()))
        };
    }
    if text.starts_with("docker://") {
        return Ok(Value::Image(text.to_owned()));
    }
    if let Some(rest) = text.strip_prefix("oci-layout://") {
        let (dir, image) = layout(rest);
        return if dir.is_empty() {
            Err(wrong("the directory of the layout is missing"))
        } else {
            Ok(Value::Layout { dir, image })
        };
    }
    if let Some(prefix) = UNKNOWN.iter().find(|prefix| text.starts_with(**prefix)) {
        return Err(wrong(&format!("{prefix} is of bake files, which are not read here")));
    }
    let named = |source| Error::Named { name: name.to_owned(), source: Box::new(source) };
    match Operand::of(OsStr::new(text)).map_err(named)? {
        Operand::Stdin => Err(wrong("only the context itself can come over standard input")),
        operand => Ok(Value::Files(operand)),
    }
}

fn layout(rest: &str) -> (String, Image) {
    if let Some((dir, digest)) = rest.rsplit_once('@') {
        return (dir.to_owned(), Image::Digest(digest.to_owned()));
    }
    match rest.rsplit_once(':') {
        Some((dir, tag)) if !tag.contains('/') => (dir.to_owned(), Image::Tag(tag.to_owned())),
        _ => (rest.to_owned(), Image::Only),
    }
}

/// Opens what a value stands for.
pub(super) fn open(name: &str, value: Value, request: &Request<'_>) -> Result<(NamedContext, Option<Scratch>), Error> {
    let named = |source| Error::Named { name: name.to_owned(), source: Box::new(source) };
    let wrong = |problem: String| Error::NamedValue { name: name.to_owned(), problem };
    let operand = match value {
        Value::Image(image) => return Ok((NamedContext::Image(image), None)),
        Value::Layout { dir, image } => return Ok((NamedContext::Image(image_of(&dir, &image).map_err(wrong)?), None)),
        Value::Files(operand) => operand,
    };
    let opened = super::open(&operand, request).map_err(named)?;
    if opened.file.is_some() {
        return Err(wrong(format!("{:?} is neither a directory nor an archive", operand.shown())));
    }
    let ignore = ignore::of_context(&opened.root).map_err(named)?;
    let context = Context { root: opened.root, path: opened.shown, ignore };
    Ok((NamedContext::Files(context), opened.scratch))
}

/// An image of a layout, as `from` takes it.
fn image_of(dir: &str, image: &Image) -> Result<String, String> {
    let digest = match image {
        Image::Only => return Ok(format!("oci:{dir}")),
        Image::Tag(tag) => return Ok(format!("oci:{dir}:{tag}")),
        Image::Digest(digest) => digest,
    };
    let real = std::fs::canonicalize(dir).map_err(|error| format!("{dir:?}: {error}"))?;
    let index = Root::open(&real).and_then(|root| root.read_file(Path::new("index.json"), LONGEST_TEXT));
    let index = index.map_err(|error| format!("reading index.json of {dir:?}: {error}"))?;
    let index: serde_json::Value = serde_json::from_slice(&index).map_err(|error| format!("index.json of {dir:?}: {error}"))?;
    let mut manifests = index.get("manifests").and_then(serde_json::Value::as_array).into_iter().flatten();
    let place = manifests.position(|manifest| manifest.get("digest").and_then(serde_json::Value::as_str) == Some(digest));
    place.map(|place| format!("oci:{dir}:@{place}")).ok_or_else(|| format!("the layout {dir:?} has no image {digest:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str, text: &str) -> Result<Value, String> {
        let values = parse(&[(name.to_owned(), text.to_owned())]).map_err(|error| error.to_string())?;
        Ok(values.into_iter().next().map(|(_, value)| value).unwrap())
    }

    #[test]
    fn values_are_images_layouts_or_files() {
        let image = |name: &str| Ok(Value::Image(name.to_owned()));
        assert_eq!(parsed("a", "docker-image://alpine:3"), image("alpine:3"));
        assert_eq!(parsed("a", "container-image://h/a@sha256:00"), image("h/a@sha256:00"));
        assert_eq!(parsed("a", "docker://h/a"), image("docker://h/a"));
        let layout = |dir: &str, image| Ok(Value::Layout { dir: dir.to_owned(), image });
        assert_eq!(parsed("a", "oci-layout://x/y"), layout("x/y", Image::Only));
        assert_eq!(parsed("a", "oci-layout:///x:1.0"), layout("/x", Image::Tag("1.0".into())));
        assert_eq!(parsed("a", "oci-layout://x@sha256:00"), layout("x", Image::Digest("sha256:00".into())));
        assert_eq!(parsed("a", "../x"), Ok(Value::Files(Operand::Path("../x".into()))));
        for (name, text) in [("a", ""), ("", "x"), ("a", "-"), ("a", "docker-image://"), ("a", "target:x"), ("a", "file:///x")]
        {
            assert!(parsed(name, text).is_err(), "{name}={text}");
        }
    }

    #[test]
    fn the_last_value_of_a_name_holds() {
        let given = [("a", "x"), ("b", "y"), ("a", "z")].map(|(name, text)| (name.to_owned(), text.to_owned()));
        let values = parse(&given).unwrap();
        let path = |path: &str| Value::Files(Operand::Path(path.into()));
        assert_eq!(values, [("a".to_owned(), path("z")), ("b".to_owned(), path("y"))]);
    }
}
