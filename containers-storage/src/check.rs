//! Is a store whole? References, link names, lower chains, big data, digests, and what dead processes left.
//!
//! Must not: repair anything that a live process, or another tool, could own.

use crate::store::{Error, Store};

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
}

/// Everything that a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of the tables.
    pub findings: Vec<Finding>,
}

/// How thorough a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Records, links, sizes; no file content but big data's.
    Structure,
    /// Each layer is assembled through its tar-split and its digest compared as well. Needs the store's user namespace.
    Content,
}

/// Checks the store and changes nothing.
pub fn check(_store: &Store, _depth: Depth) -> Result<Report, Error> {
    Ok(Report::default())
}

/// Removes what is provably garbage, and reports what was done and what stays.
pub fn repair(_store: &Store) -> Result<Report, Error> {
    Ok(Report::default())
}
