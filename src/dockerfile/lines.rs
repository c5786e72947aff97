//! Physical lines to logical ones: comments and blank lines out, continuations joined; and the here-documents that follow a line.

use super::heredoc::Heredoc;
use super::{MAX_LINE, ParseError, ParseErrorKind, Span};

/// One instruction's text, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The text without continuations, comments inside them, and blanks before it.
    pub(super) text: String,
    /// Where it stands in the whole text, here-documents not included.
    pub(super) span: Span,
    /// Where the parts of the text that follow the first one come from: an offset in it and one in the whole text; each part goes up
    /// to the next one. The first comes from the start of the span.
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
            None => self.span.start + offset,
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
            let line = match &mut open {
                None => {
                    let span = Span {
                        file: self.file,
                        start: start + (physical.len() - physical.trim_start_matches(is_blank).len()),
                        end: 0,
                    };
                    open.insert(Line { text: body.to_owned(), span, parts: Vec::new() })
                }
                Some(line) => {
                    line.parts.push((line.text.len(), start));
                    line.text.push_str(body);
                    line
                }
            };
            line.span.end = start + physical.trim_end().len();
            if line.text.len() > MAX_LINE {
                return Err(ParseError { kind: ParseErrorKind::TooLong, span: line.span });
            }
            if !continues {
                break;
            }
        }
        Ok(open)
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
                heredoc.start = from;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(text: &str, escape: char) -> Vec<Line> {
        let mut lines = Lines::new(text, 0, escape);
        std::iter::from_fn(|| lines.next_line().expect("short lines")).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        lines(text, '\\').into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn joins_and_skips() {
        let cases = [
            ("", &[][..]),
            ("\n# c\n \n", &[]),
            ("\u{feff}CMD x", &["CMD x"]),
            ("CMD x", &["CMD x"]),
            ("  CMD x  \r\n", &["CMD x  "]),
            ("ENV A=1\nENV B=2\n", &["ENV A=1", "ENV B=2"]),
            ("ENV A=1\r\nENV B=2\r\n", &["ENV A=1", "ENV B=2"]),
            ("ENV X=a \\\nY=b", &["ENV X=a Y=b"]),
            ("ENV X=a\\\r\n  Y=b", &["ENV X=a  Y=b"]),
            ("ENV X=a \\  \n# note\n  # note \\\n\n Y=b\nCMD z", &["ENV X=a  Y=b", "CMD z"]),
            ("CMD a\\", &["CMD a"]),
            ("CMD a\\\\\nCMD b", &["CMD a\\\\", "CMD b"]),
            ("CMD a \\ \\\nb", &["CMD a \\ b"]),
            ("CMD a # no comment", &["CMD a # no comment"]),
            ("CMD a \\\n  b  \\\n  c", &["CMD a   b    c"]),
            ("\tCMD\ta\t", &["CMD\ta\t"]),
            ("CMD a \\\n\n\n", &["CMD a "]),
        ];
        for (text, lines) in cases {
            assert_eq!(texts(text), lines, "{text:?}");
        }
        let backtick = lines("CMD a `\n b \\\nCMD c", '`');
        assert_eq!(backtick.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["CMD a  b \\", "CMD c"]);
    }

    #[test]
    fn a_line_knows_its_place_and_its_limit() {
        let found = lines("# c\nENV X=1 \\\n Y=2\nCMD z\n", '\\');
        assert_eq!(found[0].span, Span { file: 0, start: 4, end: 18 });
        assert_eq!(found[1].span, Span { file: 0, start: 19, end: 24 });
        let long = format!("CMD {}", "x".repeat(MAX_LINE));
        assert_eq!(Lines::new(&long, 0, '\\').next_line().map_err(|error| error.kind), Err(ParseErrorKind::TooLong));
    }

    #[test]
    fn parts_of_a_line_know_where_they_were_written() {
        let text = "# c\n  ENV X=1 \\\n # note\n  Y=2 é=3\\\n  Z\n";
        let line = &lines(text, '\\')[0];
        for part in ["ENV", "X=1", "Y=2", "é=3", "Z"] {
            let start = line.text.find(part).expect("the part");
            let span = line.span_of(&line.text[start..start + part.len()]);
            assert_eq!(text.get(span.start..span.end), Some(part));
        }
        assert_eq!(line.span_of("elsewhere"), line.span);
        assert_eq!(line.span_of(""), line.span);
    }

    proptest! {
        #[test]
        fn no_character_of_a_line_comes_from_nowhere(text in "[a-c #\\\\\t\r\né]{0,60}") {
            for line in lines(&text, '\\') {
                for (at, c) in line.text.char_indices() {
                    let span = line.span_of(&line.text[at..at + c.len_utf8()]);
                    prop_assert_eq!(text.get(span.start..span.end), line.text.get(at..at + c.len_utf8()));
                }
            }
        }

        #[test]
        fn joined_lines_read_as_if_they_stood_in_one(words in proptest::collection::vec("[a-z=$\"']{1,6}", 1..8)) {
            let one = format!("ENV {}", words.join(" "));
            let several = format!("ENV {}", words.join(" \\\n# note\n\n"));
            prop_assert_eq!(texts(&one), texts(&several));
        }
    }
}
