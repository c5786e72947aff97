//! Is a store whole? References, link names, lower chains, big data, digests, and what dead processes left.
//!
//! ```text
//! records   what the tables say, against each other and against the directories
//! content   each layer's tar, made again through its tar-split
//! garbage   what no record knows; the only thing that `repair` touches
//! ```
//!
//! Invariant: a check changes nothing. It holds the shared locks of all tables, so that nothing it sees is half done by a live
//! process; content is read without locks, since complete layers never change.
//!
//! Must not: repair anything that a live process, or another tool, could own.

mod content;
mod garbage;
mod records;

use std::fmt::Display;

use crate::LayerId;
use crate::containers::Containers;
use crate::images::Images;
use crate::layers::Layers;
use crate::store::{Error, Store};

pub use self::garbage::repair;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Garbage or an oddity; nothing is lost.
    Notice,
    /// Something a record names is missing or wrong.
    Damage,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, naming the object.
    pub text: String,
    /// Whether `repair` removes it.
    pub repairable: bool,
    /// The layer that is damaged.
    pub layer: Option<LayerId>,
}

/// Everything that a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of the tables.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing that a record names is missing or wrong. Garbage does not count.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Notice)
    }

    fn damage(&mut self, text: String) {
        self.findings.push(Finding { severity: Severity::Damage, text, repairable: false, layer: None });
    }

    fn layer_damage(&mut self, layer: &LayerId, problem: impl Display) {
        let text = format!("layer {layer}{problem}");
        self.findings.push(Finding { severity: Severity::Damage, text, repairable: false, layer: Some(layer.clone()) });
    }

    fn notice(&mut self, text: String) {
        self.findings.push(Finding { severity: Severity::Notice, text, repairable: false, layer: None });
    }

    fn garbage(&mut self, text: String) {
        self.findings.push(Finding { severity: Severity::Notice, text, repairable: true, layer: None });
    }
}

/// How thorough a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Records, links, sizes; no file content but big data's.
    Structure,
    /// Each layer is assembled through its tar-split and its digest compared as well. Needs the store's user namespace.
    Content,
}

/// The tables at one moment.
struct Tables {
    layers: Layers,
    images: Images,
    containers: Containers,
}

/// Checks the store and changes nothing.
pub fn check(store: &Store, depth: Depth) -> Result<Report, Error> {
    let mut report = Report::default();
    let locked = store.read_all()?;
    let tables = match load(store) {
        Ok(tables) => tables,
        // Against a table that cannot be read, everything else would be an orphan.
        Err(error @ Error::Corrupt { .. }) => {
            report.damage(error.to_string());
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    records::check(store, &tables, &mut report)?;
    for item in garbage::find(store, &tables)? {
        report.garbage(item.text);
    }
    drop(locked);
    if depth == Depth::Content {
        content::check(store, &tables.layers, &mut report)?;
    }
    Ok(report)
}

/// Reads every record, so that a damaged one is found here and not later.
fn load(store: &Store) -> Result<Tables, Error> {
    let (layers, images, containers) = store.load_all()?;
    layers.all()?;
    images.all()?;
    containers.all()?;
    Ok(Tables { layers, images, containers })
}
