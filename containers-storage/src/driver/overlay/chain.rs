//! The chain of layers below one layer: read from `lower-layers`, or derived from `lower` and the links (format 2.3).
//!
//! Invariant: what these files say is checked before it becomes a path: an entry is a layer id or `l/<LINK>`, nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Overlay;
use crate::LayerId;
use crate::driver::Error;

/// Overlayfs takes 500 lowers; Debian 12's tools stop at 128.
pub(super) const MAX_DEPTH: usize = 500;
/// 500 entries of 65 bytes each, with room.
const MAX_CHAIN_FILE: u64 = 64 * 1024;

/// Both spellings of one chain. Of equal length.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// `l/<LINK>`, nearest first.
    pub links: Vec<String>,
    /// Layer ids, nearest first.
    pub ids: Vec<LayerId>,
}

/// The ids below `id`, nearest first. Reads `lower-layers` if it is there, as 1.63 does.
pub(super) fn ids(overlay: &Overlay, id: &LayerId) -> Result<Vec<LayerId>, Error> {
    let dir = overlay.layer_dir(id)?;
    match read_optional(&dir.join("lower-layers"))? {
        Some(text) => parse_ids(id, &text),
        None => derive(overlay, id, &parse_links(id, &read_optional(&dir.join("lower"))?.unwrap_or_default())?),
    }
}

/// What the chain files of a child of `parent` must say. A parent without `lower-layers`, or with one that does not match its
/// `lower`, gets its ids from the links: a shorter `lower-layers` would hide layers from new tools.
pub(super) fn of_child(overlay: &Overlay, parent: &LayerId) -> Result<Chain, Error> {
    let dir = overlay.layer_dir(parent)?;
    let links = parse_links(parent, &read_optional(&dir.join("lower"))?.unwrap_or_default())?;
    let ids = match read_optional(&dir.join("lower-layers"))? {
        Some(text) => parse_ids(parent, &text)?,
        None => Vec::new(),
    };
    let ids = if ids.len() == links.len() { ids } else { derive(overlay, parent, &links)? };
    let own_link = read_link_name(&dir)?.ok_or_else(|| damaged(parent, "its file `link` is missing or malformed"))?;
    let depth = ids.len() + 1;
    if depth > MAX_DEPTH {
        return Err(Error::TooDeep { layer: parent.clone(), depth, max: MAX_DEPTH });
    }
    let mut chain = Chain { links: vec![format!("l/{own_link}")], ids: vec![parent.clone()] };
    chain.links.extend(links);
    chain.ids.extend(ids);
    Ok(chain)
}

/// The directories below the layer's `diff`, nearest first: older uppers of its own (`diff1`, 9.3), then each lower's, and
/// `empty` if there is none.
pub(super) fn lower_dirs(overlay: &Overlay, id: &LayerId) -> Result<Vec<PathBuf>, Error> {
    let own = overlay.layer_dir(id)?;
    let mut dirs = Vec::new();
    push_older(&own, &mut dirs);
    let chain = ids(overlay, id)?;
    for lower in &chain {
        let dir = overlay.layer_dir(lower)?;
        if dir.join("composefs-data").exists() {
            let feature = format!("keeps layer {} as composefs data", lower.short());
            return Err(Error::Unsupported { home: overlay.config.home.clone(), feature });
        }
        dirs.push(dir.join("diff"));
        push_older(&dir, &mut dirs);
    }
    if dirs.len() > MAX_DEPTH {
        return Err(Error::TooDeep { layer: id.clone(), depth: dirs.len(), max: MAX_DEPTH });
    }
    if dirs.is_empty() {
        dirs.push(own.join("empty"));
    }
    Ok(dirs)
}

/// The link name of the layer in `dir`; `None` if the file is absent or says something else.
pub(super) fn read_link_name(dir: &Path) -> Result<Option<String>, Error> {
    Ok(read_optional(&dir.join("link"))?.filter(|name| is_link_name(name)))
}

fn push_older(layer_dir: &Path, dirs: &mut Vec<PathBuf>) {
    let older = (1..MAX_DEPTH).map(|n| layer_dir.join(format!("diff{n}"))).take_while(|dir| dir.is_dir());
    dirs.extend(older);
}

/// The ids that the links name: `l/<LINK>` is a symbolic link to `../<id>/diff`, in the home or an additional store.
fn derive(overlay: &Overlay, id: &LayerId, links: &[String]) -> Result<Vec<LayerId>, Error> {
    let target_of = |link: &String| {
        let target = overlay.homes().find_map(|home| fs::read_link(home.join(link)).ok());
        let target = target.ok_or_else(|| damaged(id, &format!("the link {link} of its chain is missing")))?;
        let named = target.to_str().and_then(|text| text.strip_prefix("../")?.strip_suffix("/diff"));
        named.and_then(|text| text.parse().ok()).ok_or_else(|| damaged(id, &format!("the link {link} names no layer")))
    };
    links.iter().map(target_of).collect()
}

fn parse_ids(layer: &LayerId, text: &str) -> Result<Vec<LayerId>, Error> {
    let parsed: Result<Vec<LayerId>, _> = entries(text).map(str::parse).collect();
    parsed.map_err(|_| damaged(layer, "its file `lower-layers` has an entry that is no layer id"))
}

fn parse_links(layer: &LayerId, text: &str) -> Result<Vec<String>, Error> {
    let checked = |entry: &str| match entry.strip_prefix("l/") {
        Some(name) if is_link_name(name) => Ok(entry.to_owned()),
        _ => Err(damaged(layer, "its file `lower` has an entry that is no link")),
    };
    entries(text).map(checked).collect()
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.trim_end_matches('\n').split(':').filter(|entry| !entry.is_empty())
}

/// Upper-case base32, as all versions write it; the length has always been 26, but is not relied on.
fn is_link_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn read_optional(path: &Path) -> Result<Option<String>, Error> {
    use std::io::Read;
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("reading", path)(error)),
    };
    let mut text = String::new();
    file.take(MAX_CHAIN_FILE).read_to_string(&mut text).map_err(Error::io("reading", path))?;
    Ok(Some(text))
}

fn damaged(layer: &LayerId, reason: &str) -> Error {
    Error::Damaged { layer: layer.clone(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_no_links_or_ids_are_refused() {
        let layer = LayerId::random();
        for bad in ["l/../x", "../etc", "l/", "l/abc", "/l/ABC", "l/ABC/..", "l/ABC:x"] {
            assert!(parse_links(&layer, bad).is_err(), "{bad}");
        }
        assert_eq!(parse_links(&layer, "l/4MTCU2N4:l/NV6F\n").unwrap(), ["l/4MTCU2N4", "l/NV6F"]);
        for bad in ["abc", "../x", &"A".repeat(64)] {
            assert!(parse_ids(&layer, bad).is_err(), "{bad}");
        }
        assert_eq!(parse_ids(&layer, "").unwrap(), []);
    }
}
