//! Files into and out of a root file system, confined below directory handles.
//!
//! ```text
//!  glob ─ which names below a root match            ignore ─ which of them are left out
//!  tree ─ one source to one place: walk, create, owner, mode, times, extended attributes
//!    └─ content ─ the bytes: read once, hashed and written; holes stay holes
//!  fingerprint ─ what a source is, without copying it
//!  digest, header ─ the digest that scripts compare  names ─ passwd and group of a root
//! ```
//!
//! Invariant: both sides are `Root` handles or descriptors below them; no name from inside is ever resolved in the host's view
//! (known attacks A01, A03), and no new file is made through a link.
//!
//! Must not: know containers, images or flags; print.

pub mod content;
pub mod digest;
pub mod fingerprint;
pub mod glob;
pub mod header;
pub mod ignore;
pub mod make;
pub mod mode;
pub mod names;
pub mod pattern;
pub mod tree;
pub mod xattr;
