//! The lineages of a store's images, kept for the next list: `<graph root>/coracle/lineages` (`Memo::Lineages`).
//!
//! ```text
//! coracle lineages 1\n
//! <ID of an image, 64 digits> <its Lineage>      for each image
//! <CRC-64 of all that, 8 bytes, big endian>
//! ```
//!
//! To read the configs of hundreds of images takes longer than all the rest of a list. An image's ID is the digest of its config, so what is
//! kept under an ID stays true whatever other tools do to the store.
//!
//! Invariant: only what a config with the digest said is kept. A memo that is torn or damaged, or another version's, is none.

use std::collections::HashMap;
use std::str;

use containers_storage::ImageId;
use containers_storage::store::{Memo, Store};
use crc_fast::CrcAlgorithm::Crc64Nvme;

use crate::image::Lineage;

const MAGIC: &[u8] = b"coracle lineages 1\n";
/// Digits of an ID.
const ID: usize = 64;
/// A longer memo is none: 100,000 images with ten steps have 40 MB.
const MAX_BYTES: u64 = 64 << 20;
/// Fewer configs are read as quickly as they are kept.
const MANY: usize = 16;

/// Where images come from.
#[derive(Debug)]
pub(super) struct Lineages<'a> {
    store: &'a Store,
    kept: HashMap<ImageId, Lineage>,
    /// How many were read that are not kept yet.
    new: usize,
}

impl<'a> Lineages<'a> {
    /// What is kept of them in `store`.
    pub(super) fn read(store: &'a Store) -> Self {
        let kept = store.memo(Memo::Lineages, MAX_BYTES).and_then(|bytes| parse(&bytes)).unwrap_or_default();
        Self { store, kept, new: 0 }
    }

    /// That of the image; none where its config is missing or damaged, as for a manifest list.
    pub(super) fn of(&mut self, id: &ImageId) -> Option<Lineage> {
        if let Some(lineage) = self.kept.get(id) {
            return Some(lineage.clone());
        }
        let config = self.store.image_config(id).ok()?;
        let lineage = Lineage::of(&config).ok()?;
        self.kept.insert(id.clone(), lineage.clone());
        self.new += 1;
        Some(lineage)
    }

    /// Keeps what was read for the next time, if that is much; those of images that are not `there` any more are dropped.
    pub(super) fn keep(&mut self, there: impl Fn(&ImageId) -> bool) {
        if std::mem::take(&mut self.new) < MANY {
            return;
        }
        self.kept.retain(|id, _| there(id));
        if let Err(error) = self.store.keep_memo(Memo::Lineages, &serialise(&self.kept)) {
            log::debug!("the lineages of images are not kept: {error}");
        }
    }
}

fn serialise(lineages: &HashMap<ImageId, Lineage>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (id, lineage) in lineages {
        let length = bytes.len();
        bytes.extend_from_slice(id.as_str().as_bytes());
        if !lineage.write(&mut bytes) {
            bytes.truncate(length);
        }
    }
    let checksum = crc_fast::checksum(Crc64Nvme, &bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<HashMap<ImageId, Lineage>> {
    let (content, checksum) = bytes.split_last_chunk::<8>()?;
    let mut rest = content.strip_prefix(MAGIC)?;
    if crc_fast::checksum(Crc64Nvme, content) != u64::from_be_bytes(*checksum) {
        return None;
    }
    let mut lineages = HashMap::new();
    while !rest.is_empty() {
        let (id, after) = rest.split_at_checked(ID)?;
        rest = after;
        lineages.insert(str::from_utf8(id).ok()?.parse().ok()?, Lineage::read(&mut rest)?);
    }
    Some(lineages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> HashMap<ImageId, Lineage> {
        let one = |number: usize| {
            let config = format!(r#"{{"history":[{}]}}"#, vec![r#"{"created_by":"x"}"#; number].join(","));
            (format!("{number:064x}").parse().expect("an ID"), Lineage::of(config.as_bytes()).expect("a config"))
        };
        (0..4).map(one).collect()
    }

    #[test]
    fn what_is_kept_is_what_was_read() {
        let lineages = some();
        assert_eq!(parse(&serialise(&lineages)), Some(lineages));
        assert_eq!(parse(&serialise(&HashMap::new())), Some(HashMap::new()));
    }

    #[test]
    fn a_damaged_memo_is_none() {
        let whole = serialise(&some());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(parse(&damaged), None, "a bit of byte {at}");
            assert_eq!(parse(&whole[..at]), None, "cut off after {at} bytes");
        }
        let signed = |content: &[u8]| [content, &crc_fast::checksum(Crc64Nvme, content).to_be_bytes()].concat();
        for content in ["coracle lineages 2\n".as_bytes(), b"coracle lineages 1\n../x", &[MAGIC, &[b'/'; 80]].concat()] {
            assert_eq!(parse(&signed(content)), None, "{content:?}");
        }
    }
}
