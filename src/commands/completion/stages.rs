//! Names of stages, for `build --target`: those of the Dockerfile that the words before it name.
//!
//! Invariant: only regular files of bounded length are read, and nothing is fetched; a name that a shell would expand is not offered
//! (known attacks A143).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use containers_storage::Root;

use crate::build::context::LONGEST_TEXT;
use crate::dockerfile;

/// At the top of a context, the one that counts first.
const NAMES: [&str; 2] = ["Containerfile", "Dockerfile"];

/// The stages that have names, each with its FROM. `words` follow the verb, whose parser `parser` is.
pub(super) fn stages(parser: &clap::Command, words: &[String]) -> Vec<(String, String)> {
    // The flag whose value is asked for has none yet.
    let parser = parser.clone().no_binary_name(true).ignore_errors(true);
    let Ok(matches) = parser.try_get_matches_from(words) else { return Vec::new() };
    let files: Vec<&PathBuf> = matches.try_get_many("file").ok().flatten().into_iter().flatten().collect();
    let operand = matches.try_get_many::<OsString>("operands").ok().flatten().and_then(|mut words| words.next());
    let context = operand.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let texts: Vec<String> = match files.as_slice() {
        [] if context.is_file() => read(&context).into_iter().collect(),
        [] => NAMES.iter().find_map(|name| read(&context.join(name))).into_iter().collect(),
        files => files.iter().filter_map(|file| read(file).or_else(|| read(&context.join(file)))).collect(),
    };
    let Ok(file) = dockerfile::parse_all(texts.iter().map(String::as_str)) else { return Vec::new() };
    let named = |stage: &dockerfile::Stage| Some((stage.from.name.clone()?, stage.from.step.source().to_owned()));
    file.stages.iter().filter_map(named).filter(|(name, _)| is_plain(name)).collect()
}

fn read(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let bytes = Root::open(Path::new("/")).ok()?.read_file(&path, LONGEST_TEXT).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_plain(name: &str) -> bool {
    !name.starts_with('-') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
