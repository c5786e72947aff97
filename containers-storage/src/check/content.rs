//! Each layer's tar, made again through its tar-split and compared with the digest and size in its record.

use std::fs::File;

use super::Report;
use crate::layers::{Layer, Layers};
use crate::rooted::Root;
use crate::store::{Error, Store};
use crate::tar_split;

pub(super) fn check(store: &Store, layers: &Layers, report: &mut Report) -> Result<(), Error> {
    for layer in layers.all()? {
        let split = store.tar_split(&layer.id);
        // Without a tar-split or a directory, the structural check has said so already.
        let Ok(split) = File::open(split) else { continue };
        let Some(problem) = wrong_content(store, &layer, split) else { continue };
        // Read without a lock: the layer may have been deleted meanwhile.
        if store.layers()?.contains(&layer.id) {
            report.layer_damage(&layer.id, format_args!(": {problem}"));
        }
    }
    Ok(())
}

fn wrong_content(store: &Store, layer: &Layer, mut split: File) -> Option<String> {
    let recorded = layer.diff_digest.as_ref()?;
    let driver = match store.driver() {
        Ok(driver) => driver,
        Err(error) => return Some(error.to_string()),
    };
    let mut dirs = Vec::new();
    let own = driver.diff_dir(&layer.id).into_iter();
    for dir in own.chain(driver.lower_dirs(&layer.id).into_iter().flatten()) {
        match Root::open(&dir) {
            Ok(root) => dirs.push(root),
            Err(error) => return Some(format!("{dir:?}: {error}")),
        }
    }
    let mut open = |name: &[u8]| tar_split::open_in(&dirs, name);
    match tar_split::assemble(&mut split, &mut open, &mut std::io::sink()) {
        Err(error) => Some(error.to_string()),
        Ok(made) if made.digest != *recorded => Some(format!("its content has the digest {}, not {recorded}", made.digest)),
        Ok(made) if u64::try_from(layer.diff_size) != Ok(made.size) => {
            Some(format!("its content has {} bytes, not {}", made.size, layer.diff_size))
        }
        Ok(_) => None,
    }
}
