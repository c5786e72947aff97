//! `Value`: what a template works on, and its JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

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
    /// An instant, printed as Go's `time.Time` in UTC.
    Time(Timestamp),
    /// A slice.
    List(Vec<Value>),
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
    /// The value.
    pub value: Value,
}

impl Field {
    /// A field with the same name in JSON.
    pub fn new(name: &'static str, value: impl Into<Value>) -> Self {
        Self { name: name.into(), json: Some(name.into()), omit_empty: false, value: value.into() }
    }

    /// A field with another name in JSON.
    pub fn tagged(name: &'static str, json: &'static str, value: impl Into<Value>) -> Self {
        Self { name: name.into(), json: Some(json.into()), omit_empty: false, value: value.into() }
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
        let _ = json;
        Self::Null
    }

    /// JSON as Go's `encoding/json` writes it: `indent` is put before each level (empty: compact); `<`, `>`, `&` are escaped
    /// if `escape` says so.
    pub fn to_json(&self, indent: &str, escape: HtmlEscape) -> String {
        let _ = (indent, escape);
        String::new()
    }
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

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Time(value)
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
