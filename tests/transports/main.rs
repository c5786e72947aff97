//! Images between the store, directories and archives, by way of the library, with skopeo at the other end.
//!
//! Layers belong to the user who runs the tests, so that no namespace is needed; owners are the concern of `tests/cli`.

#[path = "../harness/mod.rs"]
mod harness;
mod hostile;
mod indexes;
mod round_trips;
mod world;
