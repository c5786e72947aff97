//! An error's place in a text, for people: the file and line, the line itself, and a caret below the place.
//!
//! ```text
//! Dockerfile:12
//!   12 | COPY --form=build /app /app
//!      |      ^^^^^^^^^^^^
//! ```
//!
//! Invariant: what is shown has no control characters and nothing that reverses the direction of writing, and no line is longer than
//! [`MAX_WIDTH`] characters and a bit. Must not: know where it is printed.

use super::Span;

/// How much of a line is shown, in characters.
pub const MAX_WIDTH: usize = 120;
/// What a tab becomes.
const TAB: &str = "    ";

/// The number of the line in which `offset` lies, counted from 1.
pub fn line_number(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// `name:line`, the line, and a caret; lines end with `\n`. `name` is what the file is called, and is escaped.
pub fn render(name: &str, text: &str, span: Span) -> String {
    let start = floor(text, span.start.min(text.len()));
    let line_start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let line_end = text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |newline| start + newline);
    let line = text.get(line_start..line_end).unwrap_or_default().trim_end();
    let number = line_number(text, start).to_string();
    let (shown, before, width) = excerpt(line, start - line_start, span.end.saturating_sub(line_start));
    let margin = " ".repeat(number.len());
    let caret = format!("{}{}", " ".repeat(before), "^".repeat(width.max(1)));
    format!("{}:{number}\n  {number} | {shown}\n  {margin} | {caret}\n", visible(name))
}

/// The part of `line` to show, how many columns of it are before the place, and how many the place has.
fn excerpt(line: &str, start: usize, end: usize) -> (String, usize, usize) {
    // Far from the start of a long line, what is just before the place is shown.
    let place = line.char_indices().take_while(|(at, _)| *at < start).count();
    let skipped = if place < MAX_WIDTH * 2 / 3 { 0 } else { place - MAX_WIDTH / 3 };
    let mut shown = if skipped > 0 { "…".to_owned() } else { String::new() };
    let mut columns = shown.chars().count();
    let (mut before, mut width) = (columns, 0);
    let mut characters = line.char_indices().skip(skipped);
    for (at, c) in characters.by_ref().take(MAX_WIDTH) {
        let start_of_this = columns;
        let part = visible_char(c);
        columns += part.chars().map(columns_of).sum::<usize>();
        shown.push_str(&part);
        if at < start {
            before = columns;
        } else if at < end {
            width += columns - start_of_this;
        }
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    (shown, before, width)
}

/// The nearest offset at or before `offset` at which a character begins.
fn floor(text: &str, offset: usize) -> usize {
    (0..=offset).rev().find(|offset| text.is_char_boundary(*offset)).unwrap_or_default()
}

/// Text of others in one line of ours.
pub(crate) fn visible(text: &str) -> String {
    text.chars().map(visible_char).collect()
}

/// A character as it can be shown: tabs as blanks, and what has no form or moves what follows it as an escape.
fn visible_char(c: char) -> String {
    match c {
        '\t' => TAB.to_owned(),
        '"' | '\'' | '\\' => c.to_string(),
        // The marks and overrides of direction and other invisible characters of the general punctuation block.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            c.escape_unicode().to_string()
        }
        // A mark on another character has a form with that.
        c if columns_of(c) == 0 => c.to_string(),
        c => c.escape_debug().to_string(),
    }
}

/// How wide a character is on a terminal: two columns for those of East Asia and pictures, and none for marks on others.
fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, end: usize) -> Span {
        Span { file: 0, start, end }
    }

    /// The span of the first `part` in `text`, rendered.
    fn shown(text: &str, part: &str) -> String {
        let start = text.find(part).expect("the part is in the text");
        render("Dockerfile", text, span(start, start + part.len()))
    }

    #[test]
    fn the_line_with_a_caret() {
        assert_eq!(shown("FROM a\nRUNN x\nRUN y\n", "RUNN"), "Dockerfile:2\n  2 | RUNN x\n    | ^^^^\n");
        assert_eq!(
            shown("FROM a\r\nCOPY --form=x\r\n", "--form=x"),
            "Dockerfile:2\n  2 | COPY --form=x\n    |      ^^^^^^^^\n"
        );
        let late = format!("{}RUN x y", "#\n".repeat(99));
        assert_eq!(shown(&late, "y"), "Dockerfile:100\n  100 | RUN x y\n      |       ^\n");
    }

    #[test]
    fn columns_are_those_of_a_terminal() {
        assert_eq!(shown("\tRUN\tx", "x"), "Dockerfile:1\n  1 |     RUN    x\n    |            ^\n");
        assert_eq!(shown("LABEL é=日本 x", "x"), "Dockerfile:1\n  1 | LABEL é=日本 x\n    |              ^\n");
        assert_eq!(shown("LABEL 日=x", "日"), "Dockerfile:1\n  1 | LABEL 日=x\n    |       ^^\n");
        assert_eq!(shown("LABEL e\u{301} x", "x"), "Dockerfile:1\n  1 | LABEL e\u{301} x\n    |         ^\n");
    }

    #[test]
    fn what_could_deceive_is_escaped() {
        let text = "RUN \u{1b}[31m \u{202e}x";
        assert_eq!(shown(text, "x"), "Dockerfile:1\n  1 | RUN \\u{1b}[31m \\u{202e}x\n    |                        ^\n");
        assert!(render("a\nb\u{7}", "x", span(0, 1)).starts_with("a\\nb\\u{7}:1\n"));
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("RUN {} here {}", "a".repeat(1000), "b".repeat(1000));
        let shown = shown(&text, "here");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].chars().count() < MAX_WIDTH + 12 && lines[1].contains(" here "), "{shown}");
        let (place, caret) = (lines[1].chars().collect::<Vec<_>>(), lines[2].find('^').expect("a caret"));
        assert_eq!(place[caret..caret + 4].iter().collect::<String>(), "here", "{shown}");
        assert!(lines[2].ends_with("^^^^"));
    }

    #[test]
    fn places_outside_are_shown_at_the_end() {
        assert_eq!(render("D", "", span(0, 0)), "D:1\n  1 | \n    | ^\n");
        assert_eq!(render("D", "a\n", span(2, 2)), "D:2\n  2 | \n    | ^\n");
        assert_eq!(render("D", "é", span(1, 99)), "D:1\n  1 | é\n    | ^\n");
        assert_eq!(render("D", "a\nb", span(0, 3)), "D:1\n  1 | a\n    | ^\n");
    }

    proptest::proptest! {
        #[test]
        fn any_place_in_any_text_can_be_shown(text in "[a\té日\u{1b}\n]{0,300}", start in 0usize..400, length in 0usize..400) {
            let shown = render("D", &text, span(start, start + length));
            proptest::prop_assert_eq!(shown.lines().count(), 3);
            proptest::prop_assert!(!shown.replace('\n', "").contains(|c: char| c.is_control()));
        }
    }
}
