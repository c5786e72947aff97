//! Dockerfile text to typed instructions. Pure: bytes in, values out, each error with the place it is about.
//!
//! So far the instructions that `commit --change` takes, one at a time; the lexer and the other instructions join them here.

pub mod instruction;

pub use instruction::{Command, Instruction, parse_change};

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

/// Kinds of [`ParseError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// Nothing but blanks.
    #[error("no instruction given")]
    Empty,
    /// A keyword that is none; `nearest` is for the hint.
    #[error("Unknown instruction: {keyword:?}")]
    Unknown {
        /// The keyword as written.
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
