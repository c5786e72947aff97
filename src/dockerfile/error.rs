//! What is wrong with a text, and where.

use super::{Keyword, MAX_FILE, MAX_LINE};
use crate::spelling::distance;

/// A range of bytes in a text that was parsed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Which of the texts, counted from 0.
    pub file: usize,
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

/// Why a text is no Dockerfile, or a step no instruction.
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
    /// A text above [`MAX_FILE`].
    #[error("a Dockerfile can not be longer than {MAX_FILE} bytes")]
    FileTooLong,
    /// A line above [`MAX_LINE`].
    #[error("instruction is longer than {MAX_LINE} bytes")]
    TooLong,
    /// A keyword that is none; `nearest` is for the hint.
    #[error("Unknown instruction: {keyword:?}")]
    Unknown {
        /// The keyword as written, upper case, cut to 100 characters.
        keyword: String,
        /// The known keyword that is most like it.
        nearest: Option<Keyword>,
    },
    /// An instruction that does not only change metadata.
    #[error("{0} is not allowed here: only instructions that change the configuration are")]
    NotAChange(Keyword),
    /// An instruction that stands before the first FROM.
    #[error("no stage to put {0} into: a Dockerfile begins with FROM (only ARG can stand before it)")]
    NoStage(Keyword),
    /// No FROM at all.
    #[error("no stages to build: there is no FROM")]
    NoStages,
    /// An ONBUILD trigger that is not one instruction.
    #[error("an ONBUILD trigger has to be one instruction")]
    NotOneTrigger,
    /// A directive that can't be followed.
    #[error("{0}")]
    Directive(String),
    /// A here-document without an end.
    #[error("unterminated heredoc: no line {0:?} follows")]
    Heredoc(String),
    /// A flag that the instruction does not have.
    #[error("{keyword} has an unknown flag: --{flag}")]
    Flag {
        /// The instruction.
        keyword: Keyword,
        /// The flag's name, escaped, cut to 100 characters.
        flag: String,
        /// What it does have, if anything is like it.
        nearest: Option<&'static str>,
    },
    /// Arguments missing, too many, or malformed.
    #[error("{keyword} {problem}")]
    Arguments {
        /// The instruction.
        keyword: Keyword,
        /// What is wrong with its arguments.
        problem: String,
    },
}

impl ParseError {
    /// What could help, to be shown after the error.
    pub fn hint(&self) -> Option<String> {
        match &self.kind {
            ParseErrorKind::Unknown { nearest: Some(nearest), .. } => Some(format!("did you mean {nearest}?")),
            ParseErrorKind::Flag { nearest: Some(nearest), .. } => Some(format!("did you mean --{nearest}?")),
            ParseErrorKind::Flag { keyword: keyword @ (Keyword::Cmd | Keyword::Entrypoint), .. } => {
                Some(format!("a command that begins with -- has to be written as a JSON array: {keyword} [\"--…\"]"))
            }
            ParseErrorKind::NoStages => Some("the smallest Dockerfile is `FROM scratch`".to_owned()),
            _ => None,
        }
    }
}

/// The first 100 characters, for an error.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Which of `known` was probably meant by `word`: at most a third of its letters differ.
pub(super) fn nearest<T: Copy>(word: &str, known: impl IntoIterator<Item = (T, &'static str)>) -> Option<T> {
    let candidates = known.into_iter().map(|(value, name)| (distance(name, word), name, value));
    let (distance, name, value) = candidates.min_by_key(|(distance, name, _)| (*distance, *name))?;
    (distance <= name.len().div_ceil(3)).then_some(value)
}
