//! The functions that a template can call: Go's own, and those that the other tools add for `--format`.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::exec::Operand;
use super::printf::sprintf;
use super::text::plain;
use super::value::HtmlEscape;
use super::{MAX_OUTPUT, Value};

/// The names. `and` and `or` do not evaluate all their arguments and are done by the executor.
const NAMES: [&str; 26] = [
    "and", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne", "not", "or", "pad",
    "print", "printf", "println", "slice", "split", "title", "truncate", "upper", "urlquery",
];

/// Whether a name is a function's.
pub(super) fn is_function(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether a function changes the cells of a table but not their heading.
pub(super) fn leaves_headings(name: &str) -> bool {
    matches!(name, "json" | "lower" | "title" | "truncate" | "upper")
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// An error of the function itself.
    Failed(String),
    /// A number of arguments that it does not take.
    Count {
        /// What it takes, in Go's words.
        want: &'static str,
    },
    /// An argument of the wrong type, by its place.
    Type {
        /// The argument.
        argument: usize,
        /// What it takes.
        want: &'static str,
    },
}

type Result<T> = std::result::Result<T, CallError>;

fn failed<T>(message: impl Into<String>) -> Result<T> {
    Err(CallError::Failed(message.into()))
}

/// Arguments; one without a value counts as nil.
struct Arguments<'a, 'b>(&'b [Operand<'a>]);

impl<'b> Arguments<'_, 'b> {
    fn exactly(&self, count: usize, want: &'static str) -> Result<()> {
        if self.0.len() == count { Ok(()) } else { Err(CallError::Count { want }) }
    }

    fn at_least(&self, count: usize, want: &'static str) -> Result<()> {
        if self.0.len() >= count { Ok(()) } else { Err(CallError::Count { want }) }
    }

    fn value(&self, place: usize) -> &'b Value {
        self.0.get(place).and_then(|operand| operand.as_deref()).unwrap_or(&Value::Null)
    }

    fn values(&self) -> Vec<&'b Value> {
        (0..self.0.len()).map(|place| self.value(place)).collect()
    }

    fn text(&self, place: usize) -> Result<&'b str> {
        match self.value(place) {
            Value::Str(text) => Ok(text),
            _ => Err(CallError::Type { argument: place, want: "string" }),
        }
    }

    fn size(&self, place: usize) -> Result<usize> {
        match self.value(place) {
            Value::Int(number) => Ok(usize::try_from(*number).unwrap_or(0).min(MAX_OUTPUT)),
            _ => Err(CallError::Type { argument: place, want: "int" }),
        }
    }
}

/// Calls a function other than `and` and `or`.
pub(super) fn call<'a>(name: &str, operands: &[Operand<'a>]) -> Result<Operand<'a>> {
    let arguments = Arguments(operands);
    if matches!(name, "index" | "slice") {
        arguments.at_least(1, "at least 1")?;
        return if name == "index" { index(operands) } else { slice(operands).map(owned) };
    }
    Ok(owned(match name {
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => Value::Bool(compare(name, &arguments)?),
        "not" => {
            arguments.exactly(1, "1")?;
            Value::Bool(arguments.value(0).is_empty())
        }
        "len" => {
            arguments.exactly(1, "1")?;
            Value::Int(length(arguments.value(0))?)
        }
        "printf" => {
            arguments.at_least(1, "at least 1")?;
            let values = arguments.values();
            Value::Str(
                sprintf(arguments.text(0)?, values.get(1..).unwrap_or_default(), MAX_OUTPUT)
                    .map_err(|e| CallError::Failed(e.0))?,
            )
        }
        "print" => Value::Str(print(&arguments.values())),
        "println" => Value::Str(arguments.values().iter().map(|value| plain(value)).collect::<Vec<_>>().join(" ") + "\n"),
        "html" => Value::Str(escape(&print(&arguments.values()), html)),
        "js" => Value::Str(escape(&print(&arguments.values()), js)),
        "urlquery" => Value::Str(url_query(&print(&arguments.values()))),
        "json" => {
            arguments.exactly(1, "1")?;
            Value::Str(arguments.value(0).to_json("", HtmlEscape::Off))
        }
        other => texts(other, &arguments)?,
    }))
}

fn owned<'a>(value: Value) -> Operand<'a> {
    Some(Cow::Owned(value))
}

/// The functions on texts.
fn texts(name: &str, arguments: &Arguments<'_, '_>) -> Result<Value> {
    Ok(match name {
        "split" => {
            arguments.exactly(2, "2")?;
            let (text, separator) = (arguments.text(0)?, arguments.text(1)?);
            let parts: Vec<String> = match separator {
                "" => text.chars().map(String::from).collect(),
                separator => text.split(separator).map(str::to_owned).collect(),
            };
            parts.into()
        }
        "join" => {
            arguments.exactly(2, "2")?;
            let items = match arguments.value(0) {
                Value::List(items) => items.as_slice(),
                Value::Null | Value::NilList => &[],
                _ => return Err(CallError::Type { argument: 0, want: "[]string" }),
            };
            items.iter().map(plain).collect::<Vec<_>>().join(arguments.text(1)?).into()
        }
        "pad" => {
            arguments.exactly(3, "3")?;
            let (text, before, after) = (arguments.text(0)?, arguments.size(1)?, arguments.size(2)?);
            if text.is_empty() { text.into() } else { format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into() }
        }
        "truncate" => {
            arguments.exactly(2, "2")?;
            arguments.text(0)?.chars().take(arguments.size(1)?).collect::<String>().into()
        }
        _ => {
            arguments.exactly(1, "1")?;
            let text = arguments.text(0)?;
            match name {
                "lower" => text.to_lowercase(),
                "upper" => text.to_uppercase(),
                _ => title(text),
            }
            .into()
        }
    })
}

/// `fmt.Sprint`: a blank between two operands when neither is a string.
fn print(values: &[&Value]) -> String {
    let mut out = String::new();
    for (i, value) in values.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|before| values.get(before));
        if before.is_some_and(|before| !matches!(before, Value::Str(_)) && !matches!(value, Value::Str(_))) {
            out.push(' ');
        }
        out.push_str(&plain(value));
    }
    out
}

/// The first letter of each word in upper case, as `strings.Title`.
fn title(text: &str) -> String {
    let mut inside = false;
    text.chars()
        .flat_map(|c| {
            let first = !inside;
            inside = c.is_alphanumeric() || matches!(c, '_' | '\'');
            if first { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

fn length(value: &Value) -> Result<i64> {
    let length = match value {
        Value::Str(text) => text.len(),
        Value::List(items) => items.len(),
        Value::NilList => 0,
        Value::Map(members) => members.len(),
        Value::Null => return failed("len of nil pointer"),
        other => return failed(format!("len of type {}", other.type_name())),
    };
    Ok(i64::try_from(length).unwrap_or(i64::MAX))
}

/// `index a 1 "k"` is `a[1]["k"]`.
fn index<'a>(operands: &[Operand<'a>]) -> Result<Operand<'a>> {
    let Some((first, keys)) = operands.split_first() else { return Ok(None) };
    let mut value = first.clone();
    for key in keys {
        let key = key.as_deref().unwrap_or(&Value::Null);
        value = match value {
            None => return failed("index of untyped nil"),
            Some(Cow::Borrowed(value)) => element(value, key)?.map(|element| match element {
                Element::Inside(inner) => Cow::Borrowed(inner),
                Element::Made(made) => Cow::Owned(made),
            }),
            Some(Cow::Owned(value)) => element(&value, key)?.map(|element| match element {
                Element::Inside(inner) => Cow::Owned(inner.clone()),
                Element::Made(made) => Cow::Owned(made),
            }),
        };
    }
    Ok(value)
}

enum Element<'v> {
    Inside(&'v Value),
    Made(Value),
}

fn element<'v>(value: &'v Value, key: &Value) -> Result<Option<Element<'v>>> {
    match (value, key) {
        (Value::Map(members), Value::Str(key)) => Ok(match members.get(key) {
            Some(Value::Null) => None,
            Some(value) => Some(Element::Inside(value)),
            // The zero of the map's type: a map without any value is one of texts, as labels are.
            None if members.values().all(|value| matches!(value, Value::Str(_))) => {
                Some(Element::Made(Value::Str(String::new())))
            }
            None => None,
        }),
        (Value::Map(_), key) => failed(format!("value has type {}; should be string", key.type_name())),
        (Value::List(items), Value::Int(number)) => match usize::try_from(*number).ok().and_then(|place| items.get(place)) {
            Some(item) => Ok(Some(Element::Inside(item))),
            None => failed(format!("index out of range: {number}")),
        },
        (Value::NilList, Value::Int(number)) => failed(format!("index out of range: {number}")),
        (Value::Str(text), Value::Int(number)) => {
            match usize::try_from(*number).ok().and_then(|place| text.as_bytes().get(place)) {
                Some(byte) => Ok(Some(Element::Made(Value::Int(i64::from(*byte))))),
                None => failed(format!("index out of range: {number}")),
            }
        }
        (Value::List(_) | Value::NilList | Value::Str(_), key) => {
            failed(format!("cannot index slice/array with type {}", key.type_name()))
        }
        (Value::Null, _) => failed("index of untyped nil"),
        (other, _) => failed(format!("can't index item of type {}", other.type_name())),
    }
}

/// `slice a 1 2` is `a[1:2]`.
fn slice(operands: &[Operand<'_>]) -> Result<Value> {
    let arguments = Arguments(operands);
    if operands.len() > 4 {
        return failed(format!("too many slice indexes: {}", operands.len() - 1));
    }
    let value = arguments.value(0);
    let length = match value {
        Value::Str(_) if operands.len() == 4 => return failed("cannot 3-index slice a string"),
        Value::Str(text) => text.len(),
        Value::List(items) => items.len(),
        Value::NilList => 0,
        Value::Null => return failed("slice of untyped nil"),
        other => return failed(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (place, bound) in bounds.iter_mut().enumerate().take(operands.len() - 1) {
        let Value::Int(number) = arguments.value(place + 1) else {
            return failed(format!("cannot index slice/array with type {}", arguments.value(place + 1).type_name()));
        };
        *bound = match usize::try_from(*number) {
            Ok(number) if number <= length => number,
            _ => return failed(format!("index out of range: {number}")),
        };
    }
    let [start, end, most] = bounds;
    if start > end || end > most {
        return failed(format!("invalid slice index: {start} > {end}"));
    }
    Ok(match value {
        Value::Str(text) => String::from_utf8_lossy(text.as_bytes().get(start..end).unwrap_or_default()).into_owned().into(),
        Value::List(items) => Value::List(items.get(start..end).unwrap_or_default().to_vec()),
        _ => Value::NilList,
    })
}

/// `eq ne lt le gt ge`; `eq a b c` asks whether `a` is one of the others.
fn compare(name: &str, arguments: &Arguments<'_, '_>) -> Result<bool> {
    if name == "eq" {
        arguments.at_least(1, "at least 1")?;
        if arguments.0.len() == 1 {
            return failed("missing argument for comparison");
        }
        for place in 1..arguments.0.len() {
            if equal(arguments.value(0), arguments.value(place))? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    arguments.exactly(2, "2")?;
    let (left, right) = (arguments.value(0), arguments.value(1));
    if name == "ne" {
        return Ok(!equal(left, right)?);
    }
    let order = match (left, right) {
        (Value::Int(left) | Value::Duration(left), Value::Int(right) | Value::Duration(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Str(left), Value::Str(right)) => Some(left.cmp(right)),
        (Value::Int(_) | Value::Float(_) | Value::Str(_), Value::Int(_) | Value::Float(_) | Value::Str(_)) => {
            return failed("incompatible types for comparison");
        }
        _ => return failed("invalid type for comparison"),
    };
    Ok(match name {
        "lt" => order == Some(Ordering::Less),
        "le" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        "gt" => order == Some(Ordering::Greater),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn equal(left: &Value, right: &Value) -> Result<bool> {
    match (left, right) {
        (Value::List(_) | Value::NilList | Value::Map(_), _) | (_, Value::List(_) | Value::NilList | Value::Map(_)) => {
            failed("non-comparable type")
        }
        (Value::Null, _) | (_, Value::Null) => Ok(left == right),
        (Value::Int(left) | Value::Duration(left), Value::Int(right) | Value::Duration(right)) => Ok(left == right),
        _ if left.type_name() == right.type_name() => Ok(left == right),
        _ => failed("incompatible types for comparison"),
    }
}

/// Replaces the characters for which `replace` has something.
fn escape(text: &str, replace: impl Fn(char) -> Option<Cow<'static, str>>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match replace(c) {
            Some(with) => out.push_str(&with),
            None => out.push(c),
        }
    }
    out
}

fn html(c: char) -> Option<Cow<'static, str>> {
    Some(Cow::Borrowed(match c {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&#34;",
        '\'' => "&#39;",
        '\0' => "\u{fffd}",
        _ => return None,
    }))
}

fn js(c: char) -> Option<Cow<'static, str>> {
    Some(match c {
        '\\' => Cow::Borrowed("\\\\"),
        '\'' => Cow::Borrowed("\\'"),
        '"' => Cow::Borrowed("\\\""),
        '<' | '>' | '&' | '=' => Cow::Owned(format!("\\u{:04X}", u32::from(c))),
        // What Rust's debug form would escape is what Go calls not printable.
        c if c.is_control() || c.escape_debug().count() > 1 => Cow::Owned(format!("\\u{:04X}", u32::from(c))),
        _ => return None,
    })
}

/// `url.QueryEscape`.
fn url_query(text: &str) -> String {
    let byte = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
        b' ' => "+".to_owned(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}
