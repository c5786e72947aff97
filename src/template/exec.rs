//! Walking a parsed template over a value.

use std::borrow::Cow;

use super::functions::{self, CallError};
use super::node::{Branch, Command, Node, Offset, Pipeline, Word, WordKind};
use super::text::plain;
use super::time::{self, MethodError};
use super::{Error, Field, MAX_OUTPUT, Mode, Value};

/// The most actions that one rendering may run.
const MAX_STEPS: usize = 1_000_000;

/// A value while it is worked on; `None` is Go's invalid value (a key that a map lacks), printed as `<no value>`.
pub(super) type Operand<'a> = Option<Cow<'a, Value>>;

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Renders `nodes`, parsed from `text`, over `data`.
pub(super) fn render(name: &str, text: &str, nodes: &[Node], data: &Value, mode: Mode) -> Result<String, Error> {
    let root = Some(Cow::Borrowed(data));
    let mut executor = Executor {
        name,
        text,
        mode,
        variables: vec![("$".to_owned(), root.clone())],
        out: String::with_capacity(text.len()),
        steps: 0,
        last: None,
    };
    executor.list(&root, nodes)?;
    Ok(executor.out)
}

struct Executor<'a> {
    name: &'a str,
    text: &'a str,
    mode: Mode,
    variables: Vec<(String, Operand<'a>)>,
    out: String,
    steps: usize,
    /// The operand that was evaluated last: errors without an operand of their own are reported there, as Go does.
    last: Option<&'a Word>,
}

impl<'a> Executor<'a> {
    /// An error at a word.
    fn error(&self, word: &Word, message: impl std::fmt::Display) -> Error {
        self.error_at(word.at, &word.to_string(), message)
    }

    /// An error at the operand that was evaluated last.
    fn error_here(&self, message: impl std::fmt::Display) -> Error {
        match self.last {
            Some(word) => self.error(word, message),
            None => self.error_at(0, "", message),
        }
    }

    /// An error with Go's line and column: bytes from the start of the line.
    fn error_at(&self, at: Offset, context: &str, message: impl std::fmt::Display) -> Error {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        let name = self.name;
        Error(format!("template: {name}:{line}:{column}: executing {name:?} at <{context}>: {message}"))
    }

    fn list(&mut self, dot: &Operand<'a>, nodes: &'a [Node]) -> Result<Flow, Error> {
        for node in nodes {
            self.steps += 1;
            if self.out.len() > MAX_OUTPUT || self.steps > MAX_STEPS {
                return Err(Error::too_long());
            }
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::Next
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(dot, pipeline)?;
                    if pipeline.variables.is_empty() {
                        self.out.push_str(&value.map_or_else(|| "<no value>".to_owned(), |value| plain(&value)));
                    }
                    Flow::Next
                }
                Node::If(branch) => self.scoped(|this| {
                    let value = this.pipeline(dot, &branch.pipeline)?;
                    this.list(dot, if is_true(&value) { &branch.then } else { &branch.otherwise })
                })?,
                Node::With(branch) => self.scoped(|this| {
                    let value = this.pipeline(dot, &branch.pipeline)?;
                    if is_true(&value) { this.list(&value, &branch.then) } else { this.list(dot, &branch.otherwise) }
                })?,
                Node::Range(branch) => self.scoped(|this| this.range(dot, branch))?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// Runs something whose variables end with it.
    fn scoped<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let variables = self.variables.len();
        let result = body(self);
        self.variables.truncate(variables);
        result
    }

    fn range(&mut self, dot: &Operand<'a>, branch: &'a Branch) -> Result<Flow, Error> {
        // The variables of a range are set for each element, not to the whole.
        let value = self.commands(dot, &branch.pipeline)?;
        let items = match self.elements(value)? {
            items if items.is_empty() => return self.list(dot, &branch.otherwise),
            items => items,
        };
        for (key, item) in items {
            let flow = self.scoped(|this| {
                match branch.pipeline.variables.as_slice() {
                    [only] => this.set(only, item.clone(), branch.pipeline.assign),
                    [first, second] => {
                        this.set(first, key, branch.pipeline.assign);
                        this.set(second, item.clone(), branch.pipeline.assign);
                    }
                    _ => {}
                }
                this.list(&item, &branch.then)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// Keys and elements of what is ranged over.
    fn elements(&self, value: Operand<'a>) -> Result<Vec<(Operand<'a>, Operand<'a>)>, Error> {
        let number = |i: usize| Some(Cow::Owned(Value::Int(i64::try_from(i).unwrap_or(i64::MAX))));
        let owned = |value: Value| Some(Cow::Owned(value));
        Ok(match value {
            None => Vec::new(),
            Some(Cow::Borrowed(Value::Null | Value::NilList) | Cow::Owned(Value::Null | Value::NilList)) => Vec::new(),
            Some(Cow::Borrowed(Value::List(items))) => {
                items.iter().enumerate().map(|(i, item)| (number(i), Some(Cow::Borrowed(item)))).collect()
            }
            Some(Cow::Owned(Value::List(items))) => {
                items.into_iter().enumerate().map(|(i, item)| (number(i), owned(item))).collect()
            }
            Some(Cow::Borrowed(Value::Map(members))) => {
                members.iter().map(|(key, value)| (owned(Value::Str(key.clone())), Some(Cow::Borrowed(value)))).collect()
            }
            Some(Cow::Owned(Value::Map(members))) => {
                members.into_iter().map(|(key, value)| (owned(Value::Str(key)), owned(value))).collect()
            }
            // Since Go 1.22.
            Some(other) if let Value::Int(count) = *other => {
                let count = usize::try_from(count).unwrap_or_default();
                if count > MAX_STEPS {
                    return Err(Error::too_long());
                }
                (0..count).map(|i| (number(i), number(i))).collect()
            }
            Some(other) => return Err(self.error_here(format!("range can't iterate over {}", plain(&other)))),
        })
    }

    fn set(&mut self, name: &str, value: Operand<'a>, assign: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, place)) if assign => *place = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    /// The value of a pipeline, also put into its variable.
    fn pipeline(&mut self, dot: &Operand<'a>, pipeline: &'a Pipeline) -> Result<Operand<'a>, Error> {
        let value = self.commands(dot, pipeline)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assign);
        }
        Ok(value)
    }

    fn commands(&mut self, dot: &Operand<'a>, pipeline: &'a Pipeline) -> Result<Operand<'a>, Error> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(dot, command, last)?);
        }
        Ok(last.unwrap_or_default())
    }

    /// One command; `piped` is the value from before the `|`.
    fn command(&mut self, dot: &Operand<'a>, command: &'a Command, piped: Option<Operand<'a>>) -> Result<Operand<'a>, Error> {
        let Some((first, rest)) = command.words.split_first() else { return Ok(None) };
        match &first.kind {
            WordKind::Function(name) => self.call(dot, Call { name, function: first, words: rest, text: command }, piped),
            WordKind::Nil => Err(self.error(first, "nil is not a command")),
            WordKind::Field(names) if !rest.is_empty() || piped.is_some() => {
                self.invoke(dot.clone(), Invocation { place: first, names, words: rest }, dot, piped)
            }
            WordKind::Variable(name, names) if !names.is_empty() && (!rest.is_empty() || piped.is_some()) => {
                let value = self.variable(name);
                self.invoke(value, Invocation { place: first, names, words: rest }, dot, piped)
            }
            WordKind::Chain(inner, names) if !rest.is_empty() || piped.is_some() => {
                let value = self.word(dot, inner)?;
                self.invoke(value, Invocation { place: first, names, words: rest }, dot, piped)
            }
            _ if !rest.is_empty() || piped.is_some() => {
                Err(self.error(first, format!("can't give argument to non-function {first}")))
            }
            _ => self.word(dot, first),
        }
    }

    /// The value of an operand.
    fn word(&mut self, dot: &Operand<'a>, word: &'a Word) -> Result<Operand<'a>, Error> {
        self.last = Some(word);
        match &word.kind {
            WordKind::Dot => Ok(dot.clone()),
            WordKind::Nil => Ok(Some(Cow::Owned(Value::Null))),
            WordKind::Literal(value, _) => Ok(Some(Cow::Borrowed(value))),
            WordKind::Field(names) => self.fields(dot.clone(), names),
            WordKind::Variable(name, names) => {
                let value = self.variable(name);
                self.fields(value, names)
            }
            WordKind::Function(name) => self.call(dot, Call { name, function: word, words: &[], text: word }, None),
            WordKind::Pipeline(pipeline) => self.pipeline(dot, pipeline),
            WordKind::Chain(inner, names) => {
                let value = self.word(dot, inner)?;
                self.fields(value, names)
            }
        }
    }

    fn variable(&self, name: &str) -> Operand<'a> {
        self.variables.iter().rev().find(|(known, _)| known == name).and_then(|(_, value)| value.clone())
    }

    /// A member with arguments: only times have methods.
    fn invoke(
        &mut self,
        receiver: Operand<'a>,
        call: Invocation<'a>,
        dot: &Operand<'a>,
        piped: Option<Operand<'a>>,
    ) -> Result<Operand<'a>, Error> {
        self.last = Some(call.place);
        let Some((name, before)) = call.names.split_last() else { return Ok(receiver) };
        let receiver = self.fields(receiver, before)?;
        let Some(Value::Time(at)) = receiver.as_deref() else {
            return Err(self.error(call.place, format!("{name} has arguments but cannot be invoked as function")));
        };
        let mut arguments = Vec::with_capacity(call.words.len() + 1);
        for word in call.words {
            arguments.push(self.word(dot, word)?);
        }
        arguments.extend(piped);
        let given: Vec<&Value> = arguments.iter().map(|operand| operand.as_deref().unwrap_or(&Value::Null)).collect();
        let value = time::method(at, name, &given).map_err(|error| self.no_method(call.place, name, &given, error))?;
        Ok(Some(Cow::Owned(value)))
    }

    fn no_method(&self, place: &Word, name: &str, given: &[&Value], error: MethodError) -> Error {
        match error {
            MethodError::Unknown => self.error(place, format!("can't evaluate field {name} in type time.Time")),
            MethodError::Count { want } => {
                self.error(place, format!("wrong number of args for {name}: want {want} got {}", given.len()))
            }
            MethodError::NoText => {
                let got = given.first().map_or("<nil>", |value| value.type_name());
                self.error(place, format!("wrong type for value; expected string; got {got}"))
            }
        }
    }

    fn fields(&self, mut value: Operand<'a>, names: &[String]) -> Result<Operand<'a>, Error> {
        for name in names {
            if let (Some(Value::Time(at)), Some(place)) = (value.as_deref(), self.last) {
                let result = time::method(at, name, &[]).map_err(|error| self.no_method(place, name, &[], error))?;
                value = Some(Cow::Owned(result));
                continue;
            }
            value = match value {
                None => None,
                Some(Cow::Borrowed(value)) => self.field(value, name)?.map(Cow::Borrowed),
                Some(Cow::Owned(value)) => self.field(&value, name)?.cloned().map(Cow::Owned),
            };
        }
        Ok(value)
    }

    /// A member: what a map lacks has no value, what a struct lacks is an error.
    fn field<'v>(&self, value: &'v Value, name: &str) -> Result<Option<&'v Value>, Error> {
        match value {
            Value::Map(members) => Ok(members.get(name).filter(|value| **value != Value::Null)),
            Value::Struct(fields) => match Field::find(fields, name) {
                Some(field) => Ok(Some(&field.value)),
                None => Err(self.error_here(format!("can't evaluate field {name} in type {}", value.type_name()))),
            },
            Value::Null => Err(self.error_here(format!("nil pointer evaluating interface {{}}.{name}"))),
            other => Err(self.error_here(format!("can't evaluate field {name} in type {}", other.type_name()))),
        }
    }

    fn call(&mut self, dot: &Operand<'a>, call: Call<'a>, piped: Option<Operand<'a>>) -> Result<Operand<'a>, Error> {
        let Call { name, function, words, text } = call;
        if matches!(name, "and" | "or") {
            return self.logic(dot, &call, piped);
        }
        let mut arguments = Vec::with_capacity(words.len() + 1);
        for word in words {
            arguments.push(self.word(dot, word)?);
        }
        arguments.extend(piped);
        if self.mode == Mode::Headings && functions::leaves_headings(name) {
            return Ok(arguments.into_iter().next().flatten());
        }
        functions::call(name, &arguments).map_err(|error| match error {
            CallError::Failed(message) => {
                self.error_at(function.at, &text.to_string(), format!("error calling {name}: {message}"))
            }
            CallError::Count { want } => {
                self.error(function, format!("wrong number of args for {name}: want {want} got {}", arguments.len()))
            }
            CallError::Type { argument, want } => match words.get(argument) {
                Some(word @ Word { kind: WordKind::Literal(..), .. }) => {
                    self.error(word, format!("expected {want}; found {word}"))
                }
                word => {
                    let got = arguments.get(argument).and_then(|value| value.as_deref()).map_or("<nil>", Value::type_name);
                    self.error(word.unwrap_or(function), format!("wrong type for value; expected {want}; got {got}"))
                }
            },
        })
    }

    /// `and` and `or` stop at the first argument that decides.
    fn logic(&mut self, dot: &Operand<'a>, call: &Call<'a>, piped: Option<Operand<'a>>) -> Result<Operand<'a>, Error> {
        let mut last = None;
        for word in call.words {
            let value = self.word(dot, word)?;
            if is_true(&value) == (call.name == "or") {
                return Ok(value);
            }
            last = Some(value);
        }
        let want = || format!("wrong number of args for {}: want at least 1 got 0", call.name);
        piped.or(last).ok_or_else(|| self.error(call.function, want()))
    }
}

/// A member that is called: the word, the names in it, and the arguments.
struct Invocation<'a> {
    place: &'a Word,
    names: &'a [String],
    words: &'a [Word],
}

/// A function's name and arguments.
struct Call<'a> {
    name: &'a str,
    /// The word that is the name.
    function: &'a Word,
    words: &'a [Word],
    /// The whole call, for errors.
    text: &'a dyn std::fmt::Display,
}

fn is_true(value: &Operand<'_>) -> bool {
    value.as_deref().is_some_and(|value| !value.is_empty())
}
