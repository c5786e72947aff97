//! Dockerfile text to typed instructions. Pure: text in, values out, each error with the place it is about.
//!
//! ```text
//! directives   text                 → what the comments at its top say (escape, syntax, check)
//! lines        text                 → logical lines (comments out, continuations joined) and the here-documents behind them
//! file         lines                → stages of steps; whatever is wrong without knowing a variable is found here, before anything runs
//! step         a step and variables → the typed instruction, when the build has come to it
//! instruction  one file each: the grammar of an instruction's arguments
//! words, flags arguments            → words, pairs, JSON arrays, flags
//! expand       a word as written    → its value: quotes and escapes resolved, $variables replaced
//! render       an error's place     → the line shown, with a caret
//! ```
//!
//! Invariant: time and memory are linear in the text (a value's patterns: pattern times value). Must not: do I/O, know a container.

mod directives;
mod error;
pub mod expand;
mod file;
mod flags;
mod heredoc;
#[cfg(test)]
mod hostile;
pub mod instruction;
mod keyword;
mod lines;
mod pattern;
pub mod render;
mod step;
mod words;

pub use self::directives::Directives;
pub use self::error::{ParseError, ParseErrorKind, Span};
pub use self::expand::Lookup;
pub use self::file::{Dockerfile, Stage, parse, parse_all, parse_changes, parse_trigger};
pub use self::heredoc::Heredoc;
pub use self::instruction::from::From;
pub use self::instruction::{Command, Instruction, Metadata};
pub use self::keyword::Keyword;
pub use self::step::Step;

/// The most bytes of one logical line: 2 MiB, as Buildah's.
pub const MAX_LINE: usize = 2 << 20;
/// The most bytes of one Dockerfile: 16 MiB.
pub const MAX_FILE: usize = 16 << 20;
