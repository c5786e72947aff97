//! One instruction as written, which becomes a typed one when its variables are known.

use super::flags::split_flags;
use super::heredoc::Heredoc;
use super::instruction::{self, Instruction, Metadata};
use super::lines::{Line, is_blank};
use super::words::{Arguments, Reading};
use super::{Keyword, Lookup, ParseError, ParseErrorKind, Span};

/// One instruction as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it begins with.
    pub keyword: Keyword,
    /// The here-documents that follow it, in the order in which they are announced.
    pub heredocs: Vec<Heredoc>,
    line: Line,
    /// Where its last line ends, here-documents included.
    end: usize,
    escape: char,
}

impl Step {
    /// A step of a line; its arguments are not looked at.
    pub(super) fn new(line: Line, escape: char) -> Result<Self, ParseError> {
        let text = line.text.trim_start();
        let word = text.split(is_blank).next().unwrap_or_default();
        match Keyword::find(word) {
            Some(keyword) => Ok(Self { keyword, heredocs: Vec::new(), end: line.span.end, line, escape }),
            None => Err(unknown(word, line.span_of(word))),
        }
    }

    /// The text: continuations joined, comments in them left out, blanks (also at its end) and everything else as written.
    /// Here-documents are not in it.
    pub fn source(&self) -> &str {
        self.line.text.trim_start()
    }

    /// What follows the keyword, flags included, as written.
    pub fn arguments(&self) -> &str {
        self.source().split_once(is_blank).map_or("", |(_, arguments)| arguments.trim())
    }

    /// Where it stands, here-documents included.
    pub fn span(&self) -> Span {
        Span { end: self.end, ..self.line.span }
    }

    /// The instruction that it is, with what variables stand for now.
    pub fn instruction(&self, lookup: Lookup<'_>) -> Result<Instruction, ParseError> {
        self.read(Reading::With(lookup))
    }

    /// The instruction that it is, if that changes the configuration and nothing else.
    pub fn metadata(&self, lookup: Lookup<'_>) -> Result<Metadata, ParseError> {
        match self.instruction(lookup)? {
            Instruction::Metadata(metadata) => Ok(metadata),
            Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::Arg(_) => {
                Err(ParseError { kind: ParseErrorKind::NotAChange(self.keyword), span: self.line.span })
            }
        }
    }

    /// Gives the arguments of an ARG to `declare`, each before the next is read: so `lookup` can know them. (Before the first FROM
    /// they are declared one after the other, as by BuildKit; inside a stage all variables of one instruction are those from before it.)
    pub fn arguments_in_turn(
        &self,
        lookup: Lookup<'_>,
        declare: &mut dyn FnMut(String, Option<String>),
    ) -> Result<(), ParseError> {
        self.with_arguments(Reading::With(lookup), |arguments| instruction::arg::each(&arguments, declare))
    }

    /// Finds what is wrong with it whatever variables stand for.
    pub(super) fn check(&self) -> Result<(), ParseError> {
        self.read(Reading::Check).map(drop)
    }

    fn read(&self, reading: Reading<'_>) -> Result<Instruction, ParseError> {
        self.with_arguments(reading, |arguments| instruction::read(&arguments))
    }

    /// Calls `read` with the arguments, once the flags are known to be the instruction's own.
    pub(super) fn with_arguments<T>(
        &self,
        reading: Reading<'_>,
        read: impl FnOnce(Arguments<'_>) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        let (flags, text) = split_flags(self.arguments());
        let arguments = Arguments {
            keyword: self.keyword,
            text,
            flags: &flags,
            heredocs: &self.heredocs,
            line: &self.line,
            escape: self.escape,
            reading,
        };
        arguments.refuse_unknown_flags()?;
        read(arguments)
    }

    /// The words that announce here-documents, each with what it announces. A trigger's are those of the instruction that it is.
    pub(super) fn announced(&self) -> Vec<(Heredoc, &str)> {
        let (mut keyword, mut arguments) = (self.keyword, self.arguments());
        if keyword == Keyword::OnBuild {
            let (word, rest) = arguments.split_once(is_blank).unwrap_or((arguments, ""));
            let Some(trigger) = Keyword::find(word) else { return Vec::new() };
            (keyword, arguments) = (trigger, rest.trim());
        }
        let may = keyword.takes_heredocs() && arguments.contains("<<");
        if !may || serde_json::from_str::<Vec<String>>(split_flags(arguments).1).is_ok() {
            return Vec::new();
        }
        Heredoc::all_announced(arguments)
    }

    /// Takes the here-documents that were announced; the last one ends at `end`.
    pub(super) fn set_heredocs(&mut self, heredocs: Vec<Heredoc>, end: usize) {
        self.heredocs = heredocs;
        self.end = end;
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }
}

fn unknown(word: &str, span: Span) -> ParseError {
    let keyword = super::error::cut(word).to_uppercase();
    let nearest = Keyword::nearest(&keyword, |_| true);
    ParseError { kind: ParseErrorKind::Unknown { keyword, nearest }, span }
}
