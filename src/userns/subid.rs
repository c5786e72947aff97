//! `/etc/subuid` and `/etc/subgid` (subuid(5)): which ids a user may hand out in a user namespace.

/// What is wrong with the subordinate ids of a user.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

impl Error {
    /// Lines that say what to do.
    pub fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}
