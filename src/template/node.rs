//! The tree that a template is parsed to. `Display` gives back Go's text of a node, which its errors quote.

use std::fmt;

use super::Value;

/// Where a node begins, as a byte offset into the template.
pub(super) type Offset = usize;

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Text to print as it is.
    Text(String),
    /// A pipeline whose value is printed, or only assigned.
    Action(Pipeline),
    /// `{{if}}`, with `{{else if}}` nested in `otherwise`.
    If(Branch),
    /// `{{with}}`
    With(Branch),
    /// `{{range}}`
    Range(Branch),
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// A condition with two bodies.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// Commands joined by `|`, and the variables that take the result.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    /// Names with their `$`; two only in `range`.
    pub(super) variables: Vec<String>,
    /// `=` and not `:=`.
    pub(super) assign: bool,
    pub(super) commands: Vec<Command>,
}

/// A function or value, and its arguments.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) words: Vec<Word>,
}

/// An operand.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) at: Offset,
    pub(super) kind: WordKind,
}

/// Kinds of operands.
#[derive(Debug, Clone)]
pub(super) enum WordKind {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// A literal, and its text.
    Literal(Value, String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    /// A function's name.
    Function(String),
    /// `(pipeline)`
    Pipeline(Box<Pipeline>),
    /// `(pipeline).A.B`
    Chain(Box<Word>, Vec<String>),
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write!(f, "{} {} ", self.variables.join(", "), if self.assign { "=" } else { ":=" })?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if i > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.words.iter().enumerate() {
            write!(f, "{}{word}", if i > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |f: &mut fmt::Formatter<'_>, names: &[String]| names.iter().try_for_each(|name| write!(f, ".{name}"));
        match &self.kind {
            WordKind::Dot => f.write_str("."),
            WordKind::Nil => f.write_str("nil"),
            WordKind::Literal(_, text) => f.write_str(text),
            WordKind::Field(names) => fields(f, names),
            WordKind::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            WordKind::Function(name) => f.write_str(name),
            WordKind::Pipeline(pipeline) => write!(f, "({pipeline})"),
            WordKind::Chain(word, names) => {
                write!(f, "{word}")?;
                fields(f, names)
            }
        }
    }
}
