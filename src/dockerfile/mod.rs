//! Dockerfile text to typed instructions. Pure: bytes in, values out, each error with the place it is about.
//!
//! ```text
//! lines        text                → logical lines (comments out, continuations joined)
//! instruction  one logical line    → keyword and arguments → a typed instruction; one file each
//! words        arguments           → words, pairs, JSON arrays, flags
//! expand       a word as written   → its value: quotes and escapes resolved, $variables replaced
//! ```
//!
//! So far the instructions that only change metadata (`commit --change`); those that do work join them here.

pub mod expand;
pub mod instruction;
pub mod lines;
mod words;

pub use instruction::{Command, Instruction, change_lines, parse_line};

/// The most bytes of one logical line: 1 MiB.
pub const MAX_LINE: usize = 1 << 20;

/// A range of bytes in the text that was parsed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

/// Why a text is not an instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where.
    pub span: Span,
}

/// Kinds of [`ParseError`]. Where the other tools have words for it, these are theirs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// A line above [`MAX_LINE`].
    #[error("instruction is longer than {MAX_LINE} bytes")]
    TooLong,
    /// A keyword that is none; `nearest` is for the hint.
    #[error("Unknown instruction: {keyword:?}")]
    Unknown {
        /// The keyword as written, upper case, cut to 100 characters.
        keyword: String,
        /// The known keyword that is most like it.
        nearest: Option<&'static str>,
    },
    /// An instruction that does not only change metadata.
    #[error("{0} is not allowed here: only instructions that change the configuration are")]
    NotAChange(&'static str),
    /// Arguments missing, too many, or malformed.
    #[error("{keyword} {problem}")]
    Arguments {
        /// The instruction.
        keyword: &'static str,
        /// What is wrong with its arguments.
        problem: String,
    },
}

impl ParseError {
    /// What could help, to be shown after the error.
    pub fn hint(&self) -> Option<String> {
        match &self.kind {
            ParseErrorKind::Unknown { nearest: Some(nearest), .. } => Some(format!("did you mean {nearest}?")),
            _ => None,
        }
    }
}
