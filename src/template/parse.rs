//! Tokens to a tree. Unknown functions and variables are found here, before anything is printed, as in Go.

use super::functions::is_function;
use super::lex::{Kind, Token, tokens};
use super::node::{Branch, Command, Node, Offset, Pipeline, Word, WordKind};
use super::{Error, Value};

/// The deepest nesting of actions and parentheses.
const MAX_DEPTH: usize = 100;

/// Parses a whole template.
pub(super) fn parse(name: &str, text: &str) -> Result<Vec<Node>, Error> {
    let refuse = |(at, message): (Offset, String)| {
        let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
        Error(format!("template: {name}:{line}: {message}"))
    };
    let tokens = tokens(text).map_err(refuse)?;
    let mut parser = Parser { tokens, next: 0, variables: vec!["$".to_owned()], ranges: 0, depth: 0 };
    let (nodes, end) = parser.list().map_err(refuse)?;
    match end {
        ListEnd::Eof => Ok(nodes),
        ListEnd::Else(at) => Err(refuse((at, "unexpected {{else}}".to_owned()))),
        ListEnd::End(at) => Err(refuse((at, "unexpected {{end}}".to_owned()))),
    }
}

type Result<T, E = (Offset, String)> = std::result::Result<T, E>;

/// What a list of nodes ended with; after `{{else` the rest of that action is still to be read.
enum ListEnd {
    Eof,
    Else(Offset),
    End(Offset),
}

/// Which branching action is being read.
#[derive(Clone, Copy, PartialEq)]
enum Control {
    If,
    With,
    Range,
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    /// Variables in scope, with their `$`.
    variables: Vec<String>,
    /// Open `range` bodies.
    ranges: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens.get(self.next).map_or(&Kind::End, |token| &token.kind)
    }

    fn at(&self) -> Offset {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |token| token.at)
    }

    fn take(&mut self) -> Kind {
        let kind = self.peek().clone();
        self.next += 1;
        kind
    }

    fn skip_space(&mut self) {
        while *self.peek() == Kind::Space {
            self.next += 1;
        }
    }

    fn unexpected<T>(&self, context: &str) -> Result<T> {
        let what = match self.peek() {
            Kind::End => "EOF".to_owned(),
            Kind::Close => "\"}}\"".to_owned(),
            Kind::Name(text) | Kind::Number(text) | Kind::Variable(text) | Kind::Str(_, text) | Kind::Char(_, text) => {
                format!("{text:?}")
            }
            Kind::Field(name) => format!("<.{name}>"),
            Kind::Sign(sign) => format!("{sign:?}"),
            Kind::Dot => "<.>".to_owned(),
            Kind::Text(_) | Kind::Open | Kind::Space => "text".to_owned(),
        };
        Err((self.at(), format!("unexpected {what} in {context}")))
    }

    /// Enters a nested construct; [`Parser::leave`] ends it.
    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err((self.at(), "template is nested too deeply".to_owned())) } else { Ok(()) }
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    fn list(&mut self) -> Result<(Vec<Node>, ListEnd)> {
        let mut nodes = Vec::new();
        loop {
            let at = self.at();
            match self.take() {
                Kind::Text(text) => nodes.push(Node::Text(text)),
                Kind::End => return Ok((nodes, ListEnd::Eof)),
                _ => {
                    self.skip_space();
                    let keyword = match self.peek() {
                        Kind::Name(name) => name.clone(),
                        _ => String::new(),
                    };
                    match keyword.as_str() {
                        "end" => {
                            self.next += 1;
                            self.close("end")?;
                            return Ok((nodes, ListEnd::End(at)));
                        }
                        "else" => {
                            self.next += 1;
                            return Ok((nodes, ListEnd::Else(at)));
                        }
                        keyword => nodes.push(self.action(keyword, at)?),
                    }
                }
            }
        }
    }

    /// One action that begins with `keyword`, or with none.
    fn action(&mut self, keyword: &str, at: Offset) -> Result<Node> {
        let control = match keyword {
            "if" => Control::If,
            "with" => Control::With,
            "range" => Control::Range,
            "break" | "continue" => {
                if self.ranges == 0 {
                    return Err((at, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                }
                self.next += 1;
                self.close(keyword)?;
                return Ok(if keyword == "break" { Node::Break } else { Node::Continue });
            }
            "define" | "template" | "block" => {
                return Err((at, format!("{{{{{keyword}}}}} is not supported in a --format template")));
            }
            _ => {
                let pipeline = self.pipeline("command", 1)?;
                self.close("command")?;
                return Ok(Node::Action(pipeline));
            }
        };
        self.next += 1;
        self.control(control)
    }

    /// A branching action from after its keyword to its `{{end}}`.
    fn control(&mut self, control: Control) -> Result<Node> {
        self.enter()?;
        let scope = self.variables.len();
        let context = match control {
            Control::If => "if",
            Control::With => "with",
            Control::Range => "range",
        };
        let pipeline = self.pipeline(context, if control == Control::Range { 2 } else { 1 })?;
        self.close(context)?;
        self.ranges += usize::from(control == Control::Range);
        let (then, end) = self.list()?;
        self.ranges -= usize::from(control == Control::Range);
        let otherwise = match end {
            ListEnd::End(_) => Vec::new(),
            ListEnd::Else(_) => self.otherwise(control)?,
            ListEnd::Eof => return Err((self.at(), "unexpected EOF".to_owned())),
        };
        self.variables.truncate(scope);
        self.leave();
        let branch = Branch { pipeline, then, otherwise };
        Ok(match control {
            Control::If => Node::If(branch),
            Control::With => Node::With(branch),
            Control::Range => Node::Range(branch),
        })
    }

    /// What follows `{{else`: a body, or `if …` / `with …` that share the `{{end}}`.
    fn otherwise(&mut self, control: Control) -> Result<Vec<Node>> {
        self.skip_space();
        let chained = match (control, self.peek()) {
            (Control::If, Kind::Name(name)) => name == "if",
            (Control::With, Kind::Name(name)) => name == "with",
            _ => false,
        };
        if chained {
            self.next += 1;
            return Ok(vec![self.control(control)?]);
        }
        self.close("else")?;
        match self.list()? {
            (nodes, ListEnd::End(_)) => Ok(nodes),
            (_, ListEnd::Else(at)) => Err((at, "expected end; found {{else}}".to_owned())),
            (_, ListEnd::Eof) => Err((self.at(), "unexpected EOF".to_owned())),
        }
    }

    fn close(&mut self, context: &str) -> Result<()> {
        self.skip_space();
        if *self.peek() != Kind::Close {
            return self.unexpected(context);
        }
        self.next += 1;
        Ok(())
    }

    /// A pipeline up to (not including) the `}}` or `)` that ends it, with at most `most` variables.
    fn pipeline(&mut self, context: &str, most: usize) -> Result<Pipeline> {
        self.skip_space();
        let (variables, assign) = self.declaration(context, most)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            if let (Kind::Close | Kind::Sign(")"), false) = (self.peek(), commands.is_empty()) {
                return Err((self.at(), format!("missing value for {context}")));
            }
            let command = self.command(context)?;
            commands.push(command);
            self.skip_space();
            match self.peek() {
                Kind::Sign("|") => self.next += 1,
                Kind::Close | Kind::Sign(")") => break,
                _ => return self.unexpected(context),
            }
        }
        self.check_later_commands(&commands)?;
        // A new variable is in scope from here on, not in its own value.
        if !assign {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, assign, commands })
    }

    /// `$x :=`, `$x =`, `$i, $x :=`, if one is there.
    fn declaration(&mut self, context: &str, most: usize) -> Result<(Vec<String>, bool)> {
        let start = self.next;
        let mut variables = Vec::new();
        while let Kind::Variable(name) = self.peek().clone() {
            let at = self.at();
            self.next += 1;
            self.skip_space();
            variables.push(name.clone());
            match self.peek() {
                Kind::Sign(sign @ (":=" | "=")) => {
                    let assign = *sign == "=";
                    if assign && !self.variables.contains(&name) {
                        return Err((at, format!("undefined variable {name:?}")));
                    }
                    if variables.len() > most {
                        return Err((at, format!("too many declarations in {context}")));
                    }
                    self.next += 1;
                    return Ok((variables, assign));
                }
                Kind::Sign(",") => {
                    self.next += 1;
                    self.skip_space();
                }
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    /// After the first command each must be a function, since it takes the value before.
    fn check_later_commands(&self, commands: &[Command]) -> Result<()> {
        for (i, command) in commands.iter().enumerate().skip(1) {
            let word = command.words.first();
            if let Some(word) = word.filter(|word| matches!(word.kind, WordKind::Literal(..) | WordKind::Dot | WordKind::Nil)) {
                return Err((word.at, format!("non executable command in pipeline stage {}", i + 1)));
            }
        }
        Ok(())
    }

    fn command(&mut self, context: &str) -> Result<Command> {
        let mut words = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                Kind::Close | Kind::Sign("|" | ")") => break,
                _ => words.push(self.operand(context)?),
            }
            match self.peek() {
                Kind::Space | Kind::Close | Kind::Sign("|" | ")") => {}
                _ => return self.unexpected("operand"),
            }
        }
        if words.is_empty() { Err((self.at(), format!("missing value for {context}"))) } else { Ok(Command { words }) }
    }

    /// A term and the fields chained to it.
    fn operand(&mut self, context: &str) -> Result<Word> {
        let term = self.term(context)?;
        let at = self.at();
        let mut names = Vec::new();
        while let Kind::Field(name) = self.peek().clone() {
            self.next += 1;
            names.push(name);
        }
        if names.is_empty() {
            return Ok(term);
        }
        // Go reports a chain at its second part.
        match term.kind {
            WordKind::Field(mut first) => {
                first.append(&mut names);
                Ok(Word { at, kind: WordKind::Field(first) })
            }
            WordKind::Variable(name, _) => Ok(Word { at, kind: WordKind::Variable(name, names) }),
            WordKind::Literal(..) | WordKind::Nil | WordKind::Dot => {
                Err((at, format!("unexpected . after term {:?}", term.to_string())))
            }
            _ => Ok(Word { at, kind: WordKind::Chain(Box::new(term), names) }),
        }
    }

    fn term(&mut self, context: &str) -> Result<Word> {
        let at = self.at();
        let kind = match self.peek().clone() {
            Kind::Dot => WordKind::Dot,
            Kind::Field(name) => WordKind::Field(vec![name]),
            Kind::Variable(name) if self.variables.contains(&name) => WordKind::Variable(name, Vec::new()),
            Kind::Variable(name) => return Err((at, format!("undefined variable {name:?}"))),
            Kind::Str(value, text) => WordKind::Literal(Value::Str(value), text),
            Kind::Char(value, text) => WordKind::Literal(Value::Int(value), text),
            Kind::Number(text) => WordKind::Literal(number(&text).ok_or((at, format!("bad number syntax: {text:?}")))?, text),
            Kind::Name(name) => match name.as_str() {
                "nil" => WordKind::Nil,
                "true" | "false" => WordKind::Literal(Value::Bool(name == "true"), name),
                "if" | "else" | "end" | "range" | "with" | "define" | "template" | "block" | "break" | "continue" => {
                    return Err((at, format!("unexpected <{name}> in {context}")));
                }
                known if is_function(known) => WordKind::Function(name),
                _ => return Err((at, format!("function {name:?} not defined"))),
            },
            Kind::Sign("(") => {
                self.next += 1;
                self.enter()?;
                let pipeline = self.pipeline("parenthesized pipeline", 1)?;
                self.leave();
                if *self.peek() != Kind::Sign(")") {
                    return Err((self.at(), "unclosed left paren".to_owned()));
                }
                WordKind::Pipeline(Box::new(pipeline))
            }
            _ => return self.unexpected(context),
        };
        self.next += 1;
        Ok(Word { at, kind })
    }
}

/// A Go number: decimal, hexadecimal, octal, binary, with underscores, or with a point or an exponent.
fn number(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let (negative, digits) = match (plain.strip_prefix('-'), plain.strip_prefix('+')) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => (false, plain.as_str()),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let (body, radix) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0o") => (&lower[2..], 8),
        Some("0b") => (&lower[2..], 2),
        Some(two) if two.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit()) => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    if let Ok(number) = i64::from_str_radix(&format!("{}{body}", if negative { "-" } else { "" }), radix) {
        return Some(Value::Int(number));
    }
    if radix != 10 {
        return None;
    }
    let number: f64 = lower.parse().ok()?;
    Some(Value::Float(if negative { -number } else { number }))
}
