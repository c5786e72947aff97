//! Text forms of Go's standard library that the formats and outputs of the other container tools consist of.
//!
//! Their files are JSON as `encoding/json` writes it, their flags take durations as `time.ParseDuration` reads them, their
//! templates print as `fmt` does. Pure, and below everything else in this package.

pub mod duration;
pub mod json;
