//! The verbs through the binary, one module each: stdout, stderr and status as a user sees them.

mod bad_input;
mod containers;
mod debian;
#[path = "../harness/mod.rs"]
mod harness;
mod images;
mod smoke;
mod usage;
mod version;
