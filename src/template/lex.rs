//! Template text to tokens. Blanks inside an action are tokens, since `.A .B` and `.A.B` differ.

use super::node::Offset;

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) at: Offset,
    pub(super) kind: Kind,
}

/// Kinds of tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Text outside of actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// Blanks.
    Space,
    /// A keyword or the name of a function.
    Name(String),
    /// `.Name`, without the dot.
    Field(String),
    /// `.`
    Dot,
    /// `$` or `$name`, with the dollar.
    Variable(String),
    /// A string literal: its value and its text.
    Str(String, String),
    /// A character literal: its value and its text.
    Char(i64, String),
    /// A number as written.
    Number(String),
    /// One of `( ) | , = :=`.
    Sign(&'static str),
    /// The end.
    End,
}

/// Why text is no sequence of tokens, with the place.
pub(super) type LexError = (Offset, String);

/// Splits a whole template.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, LexError> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: Offset,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, length: usize, kind: Kind) {
        self.tokens.push(Token { at: self.at, kind });
        self.at += length;
    }

    fn run(&mut self) -> Result<(), LexError> {
        let mut trim_left = false;
        while let Some(start) = self.rest().find("{{") {
            let action = self.rest().get(start + 2..).unwrap_or_default();
            let trims = action.starts_with('-') && action[1..].starts_with(is_blank);
            self.plain(start, trim_left, trims);
            trim_left = match action
                .get(if trims { 2 } else { 0 }..)
                .filter(|inner| inner.trim_start_matches(is_blank).starts_with("/*"))
            {
                Some(_) => self.comment()?,
                None => {
                    self.push(2, Kind::Open);
                    self.at += usize::from(trims);
                    self.action()?
                }
            };
        }
        let rest = self.rest();
        self.plain(rest.len(), trim_left, false);
        self.push(0, Kind::End);
        Ok(())
    }

    /// Text of `length` bytes, trimmed where the neighbours ask for it.
    fn plain(&mut self, length: usize, trim_left: bool, trim_right: bool) {
        let mut text = self.rest().get(..length).unwrap_or_default();
        if trim_left {
            text = text.trim_start_matches(is_blank);
        }
        if trim_right {
            text = text.trim_end_matches(is_blank);
        }
        if text.is_empty() {
            self.at += length;
        } else {
            self.push(length, Kind::Text(text.to_owned()));
        }
    }

    /// A whole `{{/* … */}}`; returns whether it trims the text after it.
    fn comment(&mut self) -> Result<bool, LexError> {
        let rest = self.rest();
        let end = rest.find("*/").ok_or((self.at, "unclosed comment".to_owned()))? + 2;
        let after = rest.get(end..).unwrap_or_default();
        let (length, trims) = if after.starts_with("}}") {
            (2, false)
        } else if after.starts_with(is_blank) && after.trim_start_matches(is_blank).starts_with("-}}") {
            (after.len() - after.trim_start_matches(is_blank).len() + 3, true)
        } else {
            return Err((self.at, "comment ends before closing delimiter".to_owned()));
        };
        self.at += end + length;
        Ok(trims)
    }

    /// What is between `{{` and `}}`; returns whether it trims the text after it.
    fn action(&mut self) -> Result<bool, LexError> {
        let start = self.at;
        loop {
            let rest = self.rest();
            if rest.starts_with("}}") {
                self.push(2, Kind::Close);
                return Ok(false);
            }
            let Some(first) = rest.chars().next() else { return Err((start, "unclosed action".to_owned())) };
            if is_blank(first) {
                let length = rest.len() - rest.trim_start_matches(is_blank).len();
                if rest.get(length..).is_some_and(|after| after.starts_with("-}}")) {
                    self.at += length + 1;
                    self.push(2, Kind::Close);
                    return Ok(true);
                }
                self.push(length, Kind::Space);
            } else {
                self.token(first, rest)?;
            }
        }
    }

    fn token(&mut self, first: char, rest: &str) -> Result<(), LexError> {
        match first {
            '(' => self.push(1, Kind::Sign("(")),
            ')' => self.push(1, Kind::Sign(")")),
            '|' => self.push(1, Kind::Sign("|")),
            ',' => self.push(1, Kind::Sign(",")),
            '=' => self.push(1, Kind::Sign("=")),
            ':' if rest.starts_with(":=") => self.push(2, Kind::Sign(":=")),
            ':' => return Err((self.at, "expected :=".to_owned())),
            '"' => self.quoted()?,
            '`' => {
                let end = rest
                    .get(1..)
                    .and_then(|body| body.find('`'))
                    .ok_or((self.at, "unterminated raw quoted string".to_owned()))?;
                let (text, body) = (&rest[..end + 2], &rest[1..end + 1]);
                self.push(end + 2, Kind::Str(body.to_owned(), text.to_owned()));
            }
            '\'' => self.character()?,
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let length = word_length(&rest[1..]);
                let name = rest[1..=length].to_owned();
                self.push(1 + length, if name.is_empty() { Kind::Dot } else { Kind::Field(name) });
                self.expect_end_of_word()?;
            }
            '$' => {
                let length = 1 + word_length(&rest[1..]);
                self.push(length, Kind::Variable(rest[..length].to_owned()));
                self.expect_end_of_word()?;
            }
            '+' | '-' | '.' | '0'..='9' => {
                let more = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
                let length = 1 + rest[1..].find(|c| !more(c)).unwrap_or(rest.len() - 1);
                self.push(length, Kind::Number(rest[..length].to_owned()));
            }
            c if c.is_alphabetic() || c == '_' => {
                let length = word_length(rest);
                self.push(length, Kind::Name(rest[..length].to_owned()));
                self.expect_end_of_word()?;
            }
            c => return Err((self.at, format!("unexpected bad character U+{:04X} {c:?} in command", u32::from(c)))),
        }
        Ok(())
    }

    /// After a name only a blank or a sign may follow.
    fn expect_end_of_word(&self) -> Result<(), LexError> {
        match self.rest().chars().next() {
            Some(c) if !is_blank(c) && !matches!(c, '.' | ',' | '|' | ':' | ')' | '(') && !self.rest().starts_with("}}") => {
                Err((self.at, format!("bad character U+{:04X} {c:?}", u32::from(c))))
            }
            _ => Ok(()),
        }
    }

    fn quoted(&mut self) -> Result<(), LexError> {
        let refuse = (self.at, "unterminated quoted string".to_owned());
        let rest = self.rest();
        let mut value = String::new();
        let mut body = rest.get(1..).unwrap_or_default();
        loop {
            match body.chars().next() {
                None | Some('\n') => return Err(refuse),
                Some('"') => break,
                _ => {
                    let (c, after) = unescape(body).ok_or((self.at, "invalid syntax".to_owned()))?;
                    value.push(c);
                    body = after;
                }
            }
        }
        let length = rest.len() - body.len() + 1;
        self.push(length, Kind::Str(value, rest[..length].to_owned()));
        Ok(())
    }

    fn character(&mut self) -> Result<(), LexError> {
        let rest = self.rest();
        let value = rest.get(1..).and_then(unescape).filter(|(_, after)| after.starts_with('\''));
        let (c, after) = value.ok_or((self.at, "malformed character constant".to_owned()))?;
        let length = rest.len() - after.len() + 1;
        self.push(length, Kind::Char(i64::from(u32::from(c)), rest[..length].to_owned()));
        Ok(())
    }
}

/// The character at the front of a Go literal, and what follows it.
fn unescape(text: &str) -> Option<(char, &str)> {
    let mut characters = text.chars();
    let c = characters.next()?;
    if c != '\\' {
        return Some((c, characters.as_str()));
    }
    let kind = characters.next()?;
    let simple = match kind {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '\'' | '"' => kind,
        _ => {
            let (digits, radix, skip) = match kind {
                'x' => (2, 16, 0),
                'u' => (4, 16, 0),
                'U' => (8, 16, 0),
                '0'..='7' => (3, 8, 1),
                _ => return None,
            };
            let body = &text[2 - skip..];
            let number = body.get(..digits)?;
            let c = char::from_u32(u32::from_str_radix(number, radix).ok()?)?;
            return Some((c, body.get(digits..)?));
        }
    };
    Some((simple, characters.as_str()))
}

/// Bytes of letters, digits and underscores at the front.
fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}
