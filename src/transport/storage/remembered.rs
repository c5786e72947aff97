//! What uncompressed layers were compressed into when they were pushed: `<graph root>/coracle/compressed`, so that a second push asks
//! for the blob instead of making it again.
//!
//! ```text
//! one line for each push of a layer: <diff ID> <gzip|zstd> <digest of the blob> <its length>
//! ```
//!
//! Invariant: the file is only a hint. A line that is wrong, or names a blob that a registry does not have, costs one question; losing
//! the file costs that layers are compressed anew. A line is written at once, so that two processes do not mix theirs.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use containers_storage::Digest;

use crate::image::manifest::LayerType;

/// A file that is longer begins anew.
const MAX_BYTES: u64 = 1 << 20;

/// A blob that a layer was compressed into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compressed {
    pub(super) kind: LayerType,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// The blobs that the layer with this diff ID was compressed into, the last one first.
pub(super) fn find(file: &Path, diff_id: &Digest) -> Vec<Compressed> {
    let mut text = String::new();
    // Whatever cannot be read is not known.
    let _ = std::fs::File::open(file).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    let mut found: Vec<Compressed> = Vec::new();
    for known in text.lines().rev().filter_map(|line| parse(line, diff_id)) {
        if !found.contains(&known) {
            found.push(known);
        }
    }
    found
}

fn parse(line: &str, diff_id: &Digest) -> Option<Compressed> {
    let mut words = line.strip_prefix(diff_id.as_str())?.strip_prefix(' ')?.split(' ');
    let kind = match words.next()? {
        "gzip" => LayerType::Gzip,
        "zstd" => LayerType::Zstd,
        _ => return None,
    };
    Some(Compressed { kind, digest: words.next()?.parse().ok()?, size: words.next()?.parse().ok()? })
}

/// Notes what a layer was compressed into.
pub(super) fn note(file: &Path, diff_id: &Digest, blob: &Compressed) {
    let kind = match blob.kind {
        LayerType::Gzip => "gzip",
        LayerType::Zstd => "zstd",
        LayerType::Plain => return,
    };
    if find(file, diff_id).first() == Some(blob) {
        return;
    }
    let full = std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > MAX_BYTES - 512);
    let line = format!("{diff_id} {kind} {} {}\n", blob.digest, blob.size);
    let mut options = OpenOptions::new();
    let opened = options.create(true).append(!full).write(true).truncate(full).mode(0o600).open(file);
    if let Err(error) = opened.and_then(|mut file| file.write_all(line.as_bytes())) {
        log::debug!("{}: {error}", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_found_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("compressed");
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let blob = |kind, text: &[u8]| Compressed { kind, digest: Digest::of(text), size: text.len() as u64 };
        let (first, second) = (blob(LayerType::Gzip, b"1"), blob(LayerType::Zstd, b"22"));
        assert_eq!(find(&file, &a), []);
        for known in [&first, &second, &second] {
            note(&file, &a, known);
        }
        assert_eq!((find(&file, &a), find(&file, &b)), (vec![second.clone(), first.clone()], vec![]));
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
        std::fs::write(&file, format!("{a} gzip ../x 1\n{a} gzip {b} -1\n{a} lz4 {b} 1\n{a}\n")).unwrap();
        assert_eq!(find(&file, &a), []);
        std::fs::write(&file, vec![b'x'; MAX_BYTES as usize]).unwrap();
        note(&file, &a, &first);
        assert_eq!(find(&file, &a), [first]);
    }
}
