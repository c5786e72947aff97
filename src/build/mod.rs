//! `build`: Dockerfiles to images, by calling the verbs of `container`; never a second implementation of one.
//!
//! ```text
//! texts ──dockerfile::parse──▶ stages ──plan──▶ what the target needs, and in which order
//!                                                │
//!                            stage: one step after the other ──step/<instruction>──▶ container::{from, run, copy, config, commit}
//!                                                │
//!                            cache: has a step with the same inputs been taken already? ──▶ the image it left
//! ```
//!
//! Invariant: a stage touches files only through a working container, which exists only while the stage is built (unless a failed
//! one is to be kept); what a step leaves is visible to others only when all of it is there.
//!
//! Must not: know flags, print (`Events` is told what happens), or resolve a path of the build context but below its handle.

pub mod context;
pub mod options;

pub use self::options::Options;
