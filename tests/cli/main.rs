//! The verbs through the binary, one module each: stdout, stderr and status as a user sees them.

mod debian;
#[path = "../harness/mod.rs"]
mod harness;
mod smoke;
