//! Physical lines to logical ones: comments and blank lines out, continuations joined; and the here-documents that follow a line.

use super::heredoc::Heredoc;
use super::{MAX_LINE, ParseError, ParseErrorKind, Span};

/// One instruction's text, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The text without continuations, comments inside them, and blanks around it.
    pub(super) text: String,
    /// Where it stands in the whole text, here-documents not included.
    pub(super) span: Span,
    /// Where parts of the text come from: an offset in it and one in the whole text; each part goes up to the next one.
    parts: Vec<(usize, usize)>,
}

impl Line {
    /// Where a part of this line's text stands in the whole text. What is no part of it stands where the line stands.
    pub(super) fn span_of(&self, part: &str) -> Span {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        if part.is_empty() || offset >= self.text.len() || part.len() > self.text.len() - offset {
            return self.span;
        }
        let (start, last) = (self.origin(offset), self.origin(offset + part.len() - 1));
        Span { file: self.span.file, start, end: last + 1 }
    }

    /// The place in the whole text of a byte of this one.
    fn origin(&self, offset: usize) -> usize {
        let after = self.parts.partition_point(|(joined, _)| *joined <= offset);
        match after.checked_sub(1).and_then(|index| self.parts.get(index)) {
            Some((joined, original)) => original + (offset - joined),
            None => self.span.start,
        }
    }
}

/// Reads a text line by line.
pub(super) struct Lines<'a> {
    text: &'a str,
    at: usize,
    file: usize,
    escape: char,
}

impl<'a> Lines<'a> {
    /// Begins at the start of `text`, the number of which is `file`.
    pub(super) fn new(text: &'a str, file: usize, escape: char) -> Self {
        let at = text.len() - text.trim_start_matches('\u{feff}').len();
        Self { text, at, file, escape }
    }

    /// The next physical line with its end, and where it starts.
    fn physical(&mut self) -> Option<(&'a str, usize)> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let start = self.at;
        self.at += length;
        Some((rest.get(..length)?, start))
    }

    /// The next logical line. The escape character at the end of a line (blanks after it do not count) joins it with the next, unless
    /// it is escaped itself; comments and blank lines in between are skipped.
    pub(super) fn next_line(&mut self) -> Result<Option<Line>, ParseError> {
        let mut open: Option<Line> = None;
        while let Some((physical, start)) = self.physical() {
            let body = physical.trim_end_matches(['\r', '\n']);
            let trimmed = body.trim_start_matches(is_blank);
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            // Blanks at the start of an instruction mean nothing; those of a continuation belong to it.
            let body = if open.is_none() { trimmed } else { body };
            let (body, continues) = self.without_continuation(body);
            let offset = start + (physical.len() - physical.trim_start_matches(is_blank).len());
            let offset = if open.is_none() { offset } else { start };
            let span = Span { file: self.file, start: offset, end: offset };
            let line = open.get_or_insert_with(|| Line { text: String::new(), span, parts: Vec::new() });
            line.parts.push((line.text.len(), offset));
            line.text.push_str(body);
            line.span.end = start + physical.trim_end().len();
            if line.text.len() > MAX_LINE {
                return Err(ParseError { kind: ParseErrorKind::TooLong, span: line.span });
            }
            if !continues {
                break;
            }
        }
        Ok(open.map(|mut line| {
            line.text.truncate(line.text.trim_end().len());
            line
        }))
    }

    fn without_continuation<'l>(&self, body: &'l str) -> (&'l str, bool) {
        match body.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(before) if !before.ends_with(self.escape) => (before, true),
            _ => (body, false),
        }
    }

    /// Reads the text of `heredoc`, announced by `word` of `line`.
    pub(super) fn read_heredoc(&mut self, heredoc: &mut Heredoc, line: &Line, word: &str) -> Result<(), ParseError> {
        let from = self.at;
        while let Some((physical, start)) = self.physical() {
            if heredoc.is_ended_by(physical) {
                heredoc.text = self.text.get(from..start).unwrap_or_default().to_owned();
                return Ok(());
            }
        }
        let name = super::error::cut(&heredoc.name);
        Err(ParseError { kind: ParseErrorKind::Heredoc(name), span: line.span_of(word) })
    }

    /// Where the reader is.
    pub(super) fn position(&self) -> usize {
        self.at
    }
}

/// What separates words.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{b}' | '\u{c}' | '\r')
}
