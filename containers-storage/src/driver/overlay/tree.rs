//! Creating a layer's directory and taking it away (format 2.1, 5.6, 8.1, 8.5).
//!
//! Invariant: a directory that stands under a layer's id is either whole, or the store's notes (`store::pending`) or an `incomplete`
//! record tell of it; the caller holds layers.lock for that. Whatever leaves the home leaves it by rename.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::{Overlay, chain};
use crate::archive::{OF_LAYER, OF_PROGRAM};
use crate::driver::directory::{self, Look};
use crate::driver::{Error, GraphDriver, Side};
use crate::{LayerId, Root};

/// Says whether a mount program wrote this store (format 6.4).
pub(super) const MOUNT_PROGRAM_MARKER: &str = ".has-mount-program";
/// Creates the directory of layer `id` on `parent`. With `tree`, that directory becomes the layer's `diff`.
pub(super) fn create(
    overlay: &Overlay,
    id: &LayerId,
    parent: Option<&LayerId>,
    tree: Option<&Path>,
    side: Side,
) -> Result<(), Error> {
    let chain = match parent {
        Some(parent) => chain::of_child(overlay, parent)?,
        None => chain::Chain::default(),
    };
    if side == Side::Containers && overlay.config.force_mask.is_some() && overlay.config.mount_program.is_none() {
        return Err(Error::MaskWithoutProgram);
    }
    let look = look_of(overlay, parent)?;
    let private = overlay.config.force_mask.map_or(look, |mask| look.masked(mask)).private();
    let home = overlay.home_of(side);
    let opened = prepare_home(overlay, home)?;
    let dir = home.join(id);
    if dir.symlink_metadata().is_ok() {
        remove_stale(home, &opened, id)?;
    }
    directory::make(&dir, private)?;
    let diff = dir.join("diff");
    match tree {
        Some(tree) => {
            // In this order: a directory that its owner may not write to cannot be moved to another parent (rename(2), EACCES).
            rustix::fs::renameat(CWD, tree, CWD, &diff).map_err(Error::io("moving the layer to", &diff))?;
            dress(overlay, look, &diff, side)?;
        }
        None => {
            directory::make(&diff, private)?;
            dress(overlay, look, &diff, side)?;
        }
    }
    directory::make(&dir.join("work"), private)?;
    directory::make(&dir.join("merged"), private)?;
    if parent.is_none() {
        directory::make(&dir.join("empty"), private)?;
    }
    make_link(home, id, &dir)?;
    if !chain.ids.is_empty() {
        let ids: Vec<&str> = chain.ids.iter().map(LayerId::as_str).collect();
        write_new(&dir.join("lower"), &chain.links.join(":"))?;
        write_new(&dir.join("lower-layers"), &ids.join(":"))?;
    }
    Ok(())
}

/// How the root of a layer on `parent` is to look.
fn look_of(overlay: &Overlay, parent: Option<&LayerId>) -> Result<Look, Error> {
    let below = parent_diff(overlay, parent)?;
    if overlay.config.force_mask.is_some() { Look::recorded(below.as_deref()) } else { Look::of(below.as_deref()) }
}

/// Gives the root of a layer its look.
fn dress(overlay: &Overlay, look: Look, diff: &Path, side: Side) -> Result<(), Error> {
    let Some(mask) = overlay.config.force_mask else { return look.put_on(diff) };
    // The program reads a whole layer by the attribute that its root has: its own where it writes, else that of unpacked layers.
    let names: &[&str] = if side == Side::Containers { &[OF_LAYER, OF_PROGRAM] } else { &[OF_LAYER] };
    look.put_behind(mask, diff, names)
}

/// Gives the layer's root the look that `create` gave it, and empties the work directory.
pub(super) fn settle(overlay: &Overlay, id: &LayerId, parent: Option<&LayerId>) -> Result<(), Error> {
    let dir = overlay.config.home.join(id);
    dress(overlay, look_of(overlay, parent)?, &dir.join("diff"), Side::Containers)?;
    let work = dir.join("work");
    let root = match Root::open(&work) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(Error::io("opening", &work))?,
    };
    let entries = root.read_dir(Path::new("")).map_err(Error::io("reading", &work))?;
    entries.iter().try_for_each(|entry| root.remove_all(Path::new(&entry.name)).map_err(Error::io("emptying", &work)))
}

/// Moves the layer's link and directory into `into`.
pub(super) fn detach(overlay: &Overlay, id: &LayerId, into: &Path) -> Result<(), Error> {
    let Some(side) = overlay.side_of(id) else { return Ok(()) };
    let home = overlay.home_of(side);
    let dir = home.join(id);
    let mut next = directory::first_free(into)?;
    // A directory without a readable link is still taken away; its link, if any, dangles and is found by `check`.
    if let Ok(Some(link)) = chain::read_link_name(&dir) {
        directory::move_away(&home.join("l").join(&link), into, &mut next)?;
    }
    directory::move_away(&dir, into, &mut next)
}

/// Moves the directory of layer `from` to the id `to` in the home of `side`, then its link, which points there.
pub(super) fn rename(overlay: &Overlay, from: &LayerId, to: &LayerId, side: Side) -> Result<(), Error> {
    let home = overlay.home_of(side);
    let new = home.join(to);
    if let Some(before) = overlay.side_of(from).filter(|_| from != to) {
        let old = overlay.home_of(before).join(from);
        let opened = prepare_home(overlay, home)?;
        if new.symlink_metadata().is_ok() {
            remove_stale(home, &opened, to)?;
        }
        rustix::fs::renameat(CWD, &old, CWD, &new).map_err(Error::io("renaming", &old))?;
    }
    let Some(name) = chain::read_link_name(&new)? else { return Ok(()) };
    let (link, target) = (home.join("l").join(&name), format!("../{to}/diff"));
    let other = Side::ALL.into_iter().map(|side| overlay.home_of(side)).find(|other| *other != home);
    if let Some(other) = other {
        remove_if_there(&other.join("l").join(&name))?;
    }
    if fs::read_link(&link).is_ok_and(|present| present == Path::new(&target)) {
        return Ok(());
    }
    remove_if_there(&link)?;
    rustix::fs::symlinkat(&target, CWD, &link).map_err(Error::io("creating", &link))
}

fn parent_diff(overlay: &Overlay, parent: Option<&LayerId>) -> Result<Option<PathBuf>, Error> {
    parent.map(|parent| Ok(overlay.layer_dir(parent)?.join("diff"))).transpose()
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", path)(error)),
        _ => Ok(()),
    }
}

/// The home `path` and its `l`, created if missing. A new home is marked as one that no mount program writes: without the mark, the
/// other tools search every layer for traces of one.
fn prepare_home(overlay: &Overlay, path: &Path) -> Result<Root, Error> {
    let has_program = overlay.config.mount_program.is_some();
    let links = path.join("l");
    if has_program && !fs::read(path.join(MOUNT_PROGRAM_MARKER)).is_ok_and(|text| text.starts_with(b"true")) {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("creating", path))?;
        mark_program(path, "true")?;
    }
    if !links.is_dir() {
        let fresh = !path.is_dir();
        if let Some(graph_root) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(graph_root).map_err(Error::io("creating", graph_root))?;
        }
        DirBuilder::new().recursive(true).mode(0o755).create(&links).map_err(Error::io("creating", &links))?;
        if fresh {
            mark_program(path, "false")?;
        }
    }
    Root::open(path).map_err(Error::io("opening", path))
}

/// Says in the home whether a mount program writes the store.
fn mark_program(home: &Path, text: &str) -> Result<(), Error> {
    let marker = home.join(MOUNT_PROGRAM_MARKER);
    fs::write(&marker, text).map_err(Error::io("writing", &marker))?;
    rustix::fs::chmod(&marker, Mode::from_raw_mode(0o600)).map_err(Error::io("writing", &marker))
}

/// What a killed process left under this id, with its link. The link goes first: without the directory it could not be found.
fn remove_stale(home: &Path, opened: &Root, id: &LayerId) -> Result<(), Error> {
    let dir = home.join(id);
    if let Ok(Some(link)) = chain::read_link_name(&dir) {
        remove_if_there(&home.join("l").join(link))?;
    }
    opened.remove_all(Path::new(id.as_str())).map_err(Error::io("removing the remains of", &dir))
}

/// Makes the layer's file `link`, then `l/<LINK>`: killed in between, the directory still tells of all that was made. A clash of
/// names, one in 2^130, is an error.
fn make_link(home: &Path, id: &LayerId, dir: &Path) -> Result<(), Error> {
    let name = link_name().map_err(Error::io("drawing a link name in", home))?;
    write_new(&dir.join("link"), &name)?;
    let path = home.join("l").join(&name);
    rustix::fs::symlinkat(format!("../{id}/diff"), CWD, &path).map_err(Error::io("creating", &path))
}

/// 17 random bytes in base32, cut to 26 characters (format 2.2).
fn link_name() -> io::Result<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut bytes = [0u8; 17];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    // Every character stands for five bits of their own, so 26 of the random stream's bits groups are all that is needed.
    let bit = |n: usize| (bytes[n / 8] >> (7 - n % 8)) & 1;
    let character = |n: usize| (0..5).fold(0usize, |value, k| value << 1 | usize::from(bit(n * 5 + k)));
    Ok((0..26).map(|n| char::from(ALPHABET[character(n)])).collect())
}

fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644)).map_err(Error::io("creating", path))?;
    let mut file = File::from(fd);
    file.write_all(text.as_bytes()).map_err(Error::io("writing", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_are_26_characters_of_base32_and_differ() {
        let (a, b) = (link_name().unwrap(), link_name().unwrap());
        assert_eq!(a.len(), 26);
        assert!(a.bytes().all(|c| c.is_ascii_uppercase() || (b'2'..=b'7').contains(&c)));
        assert_ne!(a, b);
    }
}
