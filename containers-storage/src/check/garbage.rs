//! What killed processes left: what no record knows, and layers that the dead process alone had a use for.
//!
//! A layer's record is judged by the process that made it and is dead (`store::unclaimed`); those of other tools never.
//! A directory or file counts as garbage only under the locks of the tables that could name it: whoever makes one holds such a lock until
//! its record is written. Only names that the format gives to layers, images and containers are looked at; what else lies in the
//! store may be another component's.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::{Finding, Report, Severity, Tables};
use crate::driver::Side;
use crate::store::{self, Error, Store};
use crate::{ContainerId, ImageId, LayerId, lease, temp_dir};

/// Something that can go.
pub(super) struct Item {
    pub text: String,
    what: What,
}

enum What {
    /// All files of a layer.
    Layer(LayerId),
    /// A layer with its record.
    Recorded(LayerId),
    /// An image with its record, and what only it uses.
    Image(ImageId),
    /// A directory or file on the file system of the graph root.
    Entry(PathBuf),
    /// A file that is deleted at once.
    File(PathBuf),
    /// A directory below the run root.
    Outside(PathBuf),
    /// A temporary directory, which goes when the dead are collected.
    Temporary,
    /// A note, which goes when the locks are taken.
    Note,
}

/// Removes what is provably garbage, and reports what was removed. Files of other owners are removed only in the store's user namespace.
pub fn repair(store: &Store) -> Result<Report, Error> {
    store.make_room();
    let before = super::check(store, super::Depth::Structure)?;
    // Taking the locks recovers what notes, incomplete layers and half-done freezes tell of.
    let mut all = store.lock_all()?;
    let tables = super::load(store)?;
    let items = find(store, &tables)?;
    let mut images = Vec::new();
    for item in &items {
        match &item.what {
            What::Recorded(id) => all.layers.remove(id),
            What::Image(id) => images.push(id.clone()),
            _ => {}
        }
    }
    all.layers.prepare()?.finish()?;
    let mut trash = store.trash();
    for item in items {
        match item.what {
            What::Layer(id) | What::Recorded(id) => trash.take_layer(&id)?,
            What::Entry(path) => trash.take(&path)?,
            What::File(path) => remove_file(&path)?,
            What::Outside(path) => trash.take_outside(path),
            What::Temporary | What::Note | What::Image(_) => {}
        }
    }
    drop(all);
    for id in images {
        store.release_image(&id)?.finish()?;
    }
    trash.into_deleted(Vec::new()).finish()?;
    store.collect_dead()?;
    let after: HashSet<String> = super::check(store, super::Depth::Structure)?.findings.into_iter().map(|f| f.text).collect();
    let removed = before.findings.into_iter().filter(|finding| finding.repairable && !after.contains(&finding.text));
    Ok(Report { findings: removed.map(|finding| Finding { severity: Severity::Notice, ..finding }).collect() })
}

/// Everything that can go, as it is under the locks that the caller holds.
pub(super) fn find(store: &Store, tables: &Tables) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    find_layers(store, tables, &mut items)?;
    find_record_files(store, tables, &mut items)?;
    find_leftovers(store, &mut items)?;
    find_abandoned(store, tables, &mut items)?;
    find_ours(store, tables, &mut items)?;
    Ok(items)
}

fn find_layers(store: &Store, tables: &Tables, items: &mut Vec<Item>) -> Result<(), Error> {
    let mut unknown = HashSet::new();
    let driver = store.driver()?;
    let mut homes: Vec<PathBuf> = Side::ALL.into_iter().map(|side| driver.layer_dirs(side)).collect();
    homes.dedup();
    let tables_dirs = std::iter::once(store.layers_dir()).chain(store.layers_dir_apart());
    for dir in homes.iter().cloned().chain(tables_dirs) {
        for name in names(&dir)? {
            let id = name.strip_suffix(".tar-split.gz").unwrap_or(&name).parse::<LayerId>();
            unknown.extend(id.into_iter().filter(|id| !tables.layers.contains(id)));
        }
    }
    let mut unknown: Vec<LayerId> = unknown.into_iter().collect();
    unknown.sort();
    for home in &homes {
        find_links(home, tables, &unknown, items)?;
    }
    items
        .extend(unknown.into_iter().map(|id| Item { text: format!("files of the unknown layer {id}"), what: What::Layer(id) }));
    Ok(())
}

/// The links in a home that lead to no layer.
fn find_links(home: &Path, tables: &Tables, unknown: &[LayerId], items: &mut Vec<Item>) -> Result<(), Error> {
    for name in names(&home.join("l"))? {
        let link = home.join("l").join(&name);
        let target = std::fs::read_link(&link).ok();
        let layer = target.as_deref().and_then(layer_of_link);
        // The link of an unknown layer goes with its directory, where the directory names it.
        let with_dir = |id: &LayerId| std::fs::read_to_string(home.join(id).join("link")).is_ok_and(|text| text == name);
        let stays = |id: &LayerId| tables.layers.contains(id) || (unknown.contains(id) && with_dir(id));
        if layer.is_some_and(|id| !stays(&id)) {
            items.push(Item { text: format!("the link {link:?} leads to no layer"), what: What::File(link) });
        }
    }
    Ok(())
}

fn layer_of_link(target: &Path) -> Option<LayerId> {
    target.to_str()?.strip_prefix("../")?.strip_suffix("/diff")?.parse().ok()
}

fn find_record_files(store: &Store, tables: &Tables, items: &mut Vec<Item>) -> Result<(), Error> {
    for dir in std::iter::once(store.images_dir()).chain(store.images_dir_apart()) {
        for name in names(&dir)? {
            if let Ok(id) = name.parse::<ImageId>()
                && tables.images.find(&id)?.is_none()
            {
                items.push(Item { text: format!("data of the unknown image {id}"), what: What::Entry(dir.join(&id)) });
            }
        }
    }
    let run_dir = store.containers_run_dir();
    for (dir, is_outside) in [(store.containers_dir(), false), (run_dir, true)] {
        for name in names(&dir)? {
            if let Ok(id) = name.parse::<ContainerId>()
                && tables.containers.find(&id)?.is_none()
            {
                let path = dir.join(&id);
                let text = format!("directory {path:?} of an unknown container");
                items.push(Item { text, what: if is_outside { What::Outside(path) } else { What::Entry(path) } });
            }
        }
    }
    Ok(())
}

fn find_leftovers(store: &Store, items: &mut Vec<Item>) -> Result<(), Error> {
    let mut dirs = vec![store.layers_dir(), store.containers_dir()];
    dirs.extend(store.layers_dir_apart());
    for images_dir in std::iter::once(store.images_dir()).chain(store.images_dir_apart()) {
        let image_dirs = names(&images_dir)?.into_iter().filter(|name| name.parse::<ImageId>().is_ok());
        dirs.extend(image_dirs.map(|name| images_dir.join(name)));
        dirs.push(images_dir);
    }
    for dir in dirs {
        for name in names(&dir)?.into_iter().filter(|name| name.starts_with(".tmp-")) {
            let path = dir.join(name);
            items.push(Item { text: format!("half-written file {path:?}"), what: What::File(path) });
        }
    }
    for parent in store.all_temp_dirs() {
        for path in temp_dir::list_dead(&parent).map_err(Error::io("reading", &parent))? {
            items.push(Item { text: format!("temporary directory {path:?} of a dead process"), what: What::Temporary });
        }
    }
    Ok(())
}

/// What processes recorded that have died before it was of use.
fn find_abandoned(store: &Store, tables: &Tables, items: &mut Vec<Item>) -> Result<(), Error> {
    let abandoned = store.abandoned_layers()?;
    let unused = store::unused(&abandoned, &tables.layers, &tables.images, &tables.containers)?;
    let mut stale: Vec<&LayerId> = abandoned.iter().filter(|id| !unused.contains(id)).collect();
    stale.sort();
    for id in stale {
        let path = store.claim_file(id);
        items.push(Item { text: format!("note {path:?} of a process that has died"), what: What::File(path) });
    }
    for id in store.abandoned_images()? {
        let image = tables.images.find(&id)?;
        let is_used = image.is_none_or(|image| !image.names.is_empty()) || !tables.containers.of_image(&id).is_empty();
        items.push(if is_used {
            let path = store.passing_file(&id);
            Item { text: format!("note {path:?} of a process that has died"), what: What::File(path) }
        } else {
            let text = format!("image {id} was made by a killed process that would have copied it elsewhere");
            Item { text, what: What::Image(id) }
        });
    }
    items.extend(unused.into_iter().map(|id| Item {
        text: format!("layer {id} was made for an image that a killed process never recorded"),
        what: What::Recorded(id),
    }));
    Ok(())
}

fn find_ours(store: &Store, tables: &Tables, items: &mut Vec<Item>) -> Result<(), Error> {
    for (path, _) in store.pending_notes()? {
        items.push(Item { text: format!("note {path:?} of an operation that was killed"), what: What::Note });
    }
    for path in store.orphaned_blobs(&tables.layers)? {
        items.push(Item { text: format!("blob {path:?} of no layer"), what: What::File(path) });
    }
    let root = &store.conf().graph_root;
    let dir = store.private_dir().join("leases");
    for name in names(&dir)? {
        if let Ok(id) = name.parse::<LayerId>()
            && !tables.layers.contains(&id)
            && lease::users(root, &id).is_ok_and(|users| users.is_empty())
        {
            items.push(Item { text: format!("lease of the unknown layer {id}"), what: What::File(dir.join(&name)) });
        }
    }
    Ok(())
}

/// The names in a directory, sorted, without those that are no text; none if it does not exist.
fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let read = |entries: std::fs::ReadDir| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>();
    match std::fs::read_dir(dir).and_then(read) {
        Ok(names) => {
            let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
            names.sort();
            Ok(names)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("reading", dir)(error)),
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("deleting", path)(error)),
        _ => Ok(()),
    }
}
