//! Images outside of the store: read, written, and copied between there and the store.

pub mod compression;
