//! Physical lines to logical ones: comments and blank lines out, continuations joined.

use super::{MAX_LINE, ParseError, ParseErrorKind, Span};

/// One instruction's text, with the place where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The text without continuations, comments inside them, and blanks around it.
    pub text: String,
    /// Where it stands in the whole text.
    pub span: Span,
}

/// Splits `text` into logical lines. `escape` at the end of a line (blanks after it do not count) joins it with the next;
/// comments and blank lines in between are skipped.
pub fn logical_lines(text: &str, escape: char) -> Result<Vec<Line>, ParseError> {
    let mut lines: Vec<Line> = Vec::new();
    let mut open: Option<Line> = None;
    let mut start = 0;
    for physical in text.split_inclusive('\n') {
        let end = start + physical.len();
        let span = Span { start, end: start + physical.trim_end().len() };
        start = end;
        let body = physical.trim();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let (body, continues) = match body.strip_suffix(escape) {
            Some(body) => (body, true),
            None => (body, false),
        };
        let line = open.get_or_insert_with(|| Line { text: String::new(), span });
        line.text.push_str(body);
        line.span.end = span.end;
        if line.text.len() > MAX_LINE {
            return Err(ParseError { kind: ParseErrorKind::TooLong, span: line.span });
        }
        if !continues {
            lines.extend(open.take());
        }
    }
    lines.extend(open);
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_and_skips() {
        let cases = [
            ("", &[][..]),
            ("\n# c\n \n", &[]),
            ("CMD x", &["CMD x"]),
            ("  CMD x  \r\n", &["CMD x"]),
            ("ENV A=1\nENV B=2\n", &["ENV A=1", "ENV B=2"]),
            ("ENV X=a \\\nY=b", &["ENV X=a Y=b"]),
            ("ENV X=a \\  \n# note\n\n Y=b\nCMD z", &["ENV X=a Y=b", "CMD z"]),
            ("CMD a\\", &["CMD a"]),
            ("CMD a # no comment", &["CMD a # no comment"]),
        ];
        for (text, lines) in cases {
            let found: Vec<String> = logical_lines(text, '\\').unwrap().into_iter().map(|line| line.text).collect();
            assert_eq!(found, lines, "{text:?}");
        }
        assert_eq!(logical_lines("CMD a `\n b", '`').unwrap()[0].text, "CMD a b");
    }

    #[test]
    fn a_line_knows_its_place_and_its_limit() {
        let lines = logical_lines("# c\nENV X=1 \\\n Y=2\nCMD z\n", '\\').unwrap();
        assert_eq!(lines[0].span, Span { start: 4, end: 18 });
        assert_eq!(lines[1].span, Span { start: 19, end: 24 });
        let long = format!("CMD {}", "x".repeat(MAX_LINE));
        assert_eq!(logical_lines(&long, '\\').map_err(|error| error.kind), Err(ParseErrorKind::TooLong));
    }
}
