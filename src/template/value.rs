//! `Value`: what a template works on, and its JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::golang::json;

/// A value with the kinds that Go's templates tell apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// `nil`
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A string.
    Str(String),
    /// A length of time in nanoseconds, printed as Go's `time.Duration`; a number in JSON.
    Duration(i64),
    /// An instant in a zone (UTC, until a template asks for the local one), printed as Go's `time.Time`.
    Time(Zoned),
    /// A slice.
    List(Vec<Value>),
    /// A slice that was never made: no elements, and `null` in JSON.
    NilList,
    /// A map; keys are sorted as Go prints them.
    Map(BTreeMap<String, Value>),
    /// A struct; unknown field names are errors, unlike a map's.
    Struct(Vec<Field>),
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The Go name, by which a template finds it.
    pub name: Cow<'static, str>,
    /// The JSON name; `None` leaves it out of JSON.
    pub json: Option<Cow<'static, str>>,
    /// JSON leaves it out when it is zero (`omitempty`).
    pub omit_empty: bool,
    /// A struct whose fields are those of the struct around it as well, and in JSON of that alone (an embedded field of Go).
    pub embedded: bool,
    /// The value.
    pub value: Value,
}

impl Field {
    /// A field with the same name in JSON.
    pub fn new(name: &'static str, value: impl Into<Value>) -> Self {
        Self { name: name.into(), json: Some(name.into()), omit_empty: false, embedded: false, value: value.into() }
    }

    /// A field with another name in JSON.
    pub fn tagged(name: &'static str, json: &'static str, value: impl Into<Value>) -> Self {
        Self { name: name.into(), json: Some(json.into()), omit_empty: false, embedded: false, value: value.into() }
    }

    /// A struct whose fields are those of the struct around it as well.
    pub fn embedded(name: &'static str, fields: Vec<Field>) -> Self {
        Self { embedded: true, ..Self::new(name, Value::Struct(fields)) }
    }

    /// The field of this name among `fields`, or among those of the embedded ones.
    pub(super) fn find<'f>(fields: &'f [Field], name: &str) -> Option<&'f Field> {
        let own = fields.iter().find(|field| field.name == name);
        own.or_else(|| fields.iter().filter(|field| field.embedded).find_map(|field| Self::find(field.inner(), name)))
    }

    fn inner(&self) -> &[Field] {
        match &self.value {
            Value::Struct(fields) => fields,
            _ => &[],
        }
    }

    /// Those that JSON has, in their order.
    fn flat<'f>(fields: &'f [Field]) -> Vec<&'f Field> {
        let one = |field: &'f Field| if field.embedded { Self::flat(field.inner()) } else { vec![field] };
        fields.iter().flat_map(one).collect()
    }

    /// The same field, left out of JSON when it is zero.
    pub fn omit_empty(mut self) -> Self {
        self.omit_empty = true;
        self
    }
}

impl Value {
    /// A value from JSON; objects become maps.
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::Str(text.clone()),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            serde_json::Value::Object(members) => {
                Self::Map(members.iter().map(|(key, value)| (key.clone(), Self::from_json(value))).collect())
            }
        }
    }

    /// JSON as Go's `encoding/json` writes it: `indent` is put before each level (empty: compact); `<`, `>`, `&` are escaped
    /// if `escape` says so.
    pub fn to_json(&self, indent: &str, escape: HtmlEscape) -> String {
        let mut writer = JsonWriter { out: String::new(), indent, escape, level: 0 };
        writer.value(self);
        writer.out
    }

    /// Whether Go takes the value for false, and JSON's `omitempty` leaves it out.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Float(value) => *value == 0.0,
            Self::Str(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::NilList => true,
            Self::Map(members) => members.is_empty(),
            Self::Time(_) | Self::Struct(_) => false,
        }
    }

    /// What Go would call the type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Duration(_) => "time.Duration",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::Time(_) => "time.Time",
            Self::List(_) | Self::NilList => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Struct(_) => "struct",
        }
    }
}

struct JsonWriter<'a> {
    out: String,
    indent: &'a str,
    escape: HtmlEscape,
    level: usize,
}

impl JsonWriter<'_> {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null | Value::NilList => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) | Value::Duration(value) => self.out.push_str(&value.to_string()),
            // JSON has no infinities; Go refuses them, and none of our values is one.
            Value::Float(value) if !value.is_finite() => self.out.push_str("null"),
            Value::Float(value) => self.out.push_str(&json_number(*value)),
            Value::Str(text) => self.string(text),
            Value::Time(instant) => self.string(&rfc3339(instant)),
            Value::List(items) => self.sequence('[', ']', items.iter(), |writer, item| writer.value(item)),
            Value::Map(members) => self.sequence('{', '}', members.iter(), |writer, (key, value)| writer.member(key, value)),
            Value::Struct(fields) => {
                let fields = Field::flat(fields).into_iter();
                let written = fields.filter(|field| !(field.omit_empty && field.value.is_empty()));
                let named = written.filter_map(|field| field.json.as_ref().map(|name| (name, &field.value)));
                self.sequence('{', '}', named, |writer, (name, value)| writer.member(name, value));
            }
        }
    }

    fn member(&mut self, key: &str, value: &Value) {
        self.string(key);
        self.out.push_str(if self.indent.is_empty() { ":" } else { ": " });
        self.value(value);
    }

    fn sequence<T>(&mut self, open: char, close: char, items: impl Iterator<Item = T>, write: impl Fn(&mut Self, T)) {
        self.out.push(open);
        self.level += 1;
        let mut any = false;
        for item in items {
            if any {
                self.out.push(',');
            }
            any = true;
            self.line();
            write(self, item);
        }
        self.level -= 1;
        if any {
            self.line();
        }
        self.out.push(close);
    }

    fn line(&mut self) {
        if !self.indent.is_empty() {
            self.out.push('\n');
            self.out.push_str(&self.indent.repeat(self.level));
        }
    }

    fn string(&mut self, text: &str) {
        let json = match self.escape {
            HtmlEscape::On => json::to_vec(text),
            HtmlEscape::Off => serde_json::to_vec(text),
        };
        // Strings always serialise, to UTF-8.
        self.out.push_str(&String::from_utf8(json.unwrap_or_default()).unwrap_or_default());
    }
}

/// A number as `encoding/json` writes it: no exponent from 1e-6 up to 1e21.
fn json_number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        return if text.contains("e-") { text } else { text.replace('e', "e+") };
    }
    value.to_string()
}

/// Whether JSON is safe to put into HTML, as Go's is by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HtmlEscape {
    /// `<`, `>`, `&` become `\u003c`, `\u003e`, `\u0026`.
    On,
    /// They stay.
    Off,
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

/// As Go's `time.Time` becomes JSON: with `Z` or the zone's distance from UTC.
fn rfc3339(at: &Zoned) -> String {
    let instant = at.timestamp();
    if at.offset().is_zero() { instant.to_string() } else { instant.display_with_offset(at.offset()).to_string() }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Time(value.to_zoned(TimeZone::UTC))
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(value: Vec<T>) -> Self {
        Self::List(value.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_gos_forms() {
        let value = Value::Struct(vec![
            Field::tagged("ID", "id", "<x>"),
            Field::new("Count", 3),
            Field::new("Gone", "").omit_empty(),
            Field { name: "Hidden".into(), json: None, omit_empty: false, embedded: false, value: Value::Int(1) },
            Field::new("List", Value::List(vec![])),
            Field::new("Map", Value::Map([("b".to_owned(), Value::Null), ("a".to_owned(), Value::Float(1.0))].into())),
            Field::new("At", Timestamp::UNIX_EPOCH),
        ]);
        let compact = value.to_json("", HtmlEscape::On);
        assert_eq!(compact, r#"{"id":"\u003cx\u003e","Count":3,"List":[],"Map":{"a":1,"b":null},"At":"1970-01-01T00:00:00Z"}"#);
        let indented = value.to_json("  ", HtmlEscape::Off);
        assert!(
            indented.starts_with("{\n  \"id\": \"<x>\",\n  \"Count\": 3,\n  \"List\": [],\n  \"Map\": {\n    \"a\": 1,"),
            "{indented}"
        );
        for (number, text) in [(0.5, "0.5"), (1e21, "1e+21"), (1e20, "100000000000000000000"), (1e-7, "1e-7"), (-2.0, "-2")] {
            assert_eq!(Value::Float(number).to_json("", HtmlEscape::On), text);
        }
    }

    #[test]
    fn json_goes_round() {
        let json: serde_json::Value = serde_json::from_str(r#"{"a":[1,2.5,null,true,"x"],"b":{}}"#).unwrap();
        assert_eq!(Value::from_json(&json).to_json("", HtmlEscape::On), json.to_string());
    }
}
