//! Known attacks of this field, one test for each entry that applies, named after its mechanism.

#[path = "../harness/mod.rs"]
mod harness;
mod images;
mod mounts;
mod other_users;
mod output;
mod paths;
mod probe;
mod process;
mod races;
