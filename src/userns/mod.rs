//! Subordinate ids, and entering a user namespace with them.
//!
//! Owns: what the process is (`current`), the way into a namespace of its own (`enter`) or into the one of another process
//! (`join`), and the reasons why that is not possible on a machine.
//!
//! ```text
//!  outside, uid 1001 ──enter──▶ inside: uid 0 = 1001, 1… = /etc/subuid; all capabilities there; private mount namespace
//!  inside somebody's  ─enter──▶ the same user namespace; a mount namespace of its own where asked
//!  real root          ─enter──▶ no user namespace; a mount namespace of its own where asked
//! ```
//!
//! Invariant: the map is `0 <uid> 1` and then the ranges of `/etc/subuid` from container id 1 on, as the other tools that share
//! the store make it, so that owners on disk agree; ranges that are not the caller's are never used; without ranges
//! `setgroups` is denied before the group map is written (user_namespaces(7), CVE-2014-8989).
//!
//! Must not: print, or start a thread (`unshare(CLONE_NEWUSER)` refuses a process with threads).

mod current;
mod enter;
mod error;
mod join;
mod maps;
mod shifter;
pub mod subid;

pub use current::{Ids, State, child_environment, current, has_single_id, is_rootless, outer_ids};
pub use enter::{Entered, How, MountNamespace, Notice, enter, is_refused, unshare_mounts};
pub use error::Error;
pub use join::{ProcessId, join};
pub use shifter::{Shifter, maps_of};
