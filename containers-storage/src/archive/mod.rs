//! The one tar engine: layers, `ADD`ed archives and, later, contexts and `load` are read and written here and nowhere else.
//!
//! ```text
//! unpack:  input ─► decompress ─► reader ─► directory handle      pack:  directory handle ─► header ─► sink
//!            │ blob digest           │ every byte                                              │ every byte
//!            ▼                       └─► sink: diff digest, size, tar-split                    └─► diff digest, size, tar-split
//! ```
//!
//! Invariant: one archive has one meaning. What two well-known readers would take differently is refused by name (known attacks
//! A27), and names are bytes from the header to the directory (A42).
//!
//! Must not: follow a path string of the archive on the host; start a thread before the caller has entered its namespaces
//! (`unpack` and `pack` start up to two, so call them after `userns::enter`); start a program (A35).

mod copy;
pub mod decompress;
mod directories;
pub mod entry;
pub mod error;
pub mod header;
mod inode;
mod ownership;
pub mod pack;
pub mod reader;
mod sink;
pub mod unpack;
pub mod whiteout;
mod xattrs;

pub use decompress::Compression;
pub use entry::{Entry, Kind, Time};
pub use error::{Error, Escaped, Refusal};
pub use ownership::Ownership;
pub(crate) use ownership::{OF_LAYER, OF_PROGRAM, Recorded, RecordedKind};
pub use whiteout::{Marks, OverlayXattrs, Whiteouts};
pub(crate) use xattrs::carried as is_carried;
