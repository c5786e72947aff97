//! The part of YAML that settings need: mappings, lists and texts, nested.
//!
//! Invariant: a document means one thing. Anchors, aliases and tags are refused, so that nothing grows or is read as something else
//! (known attacks A139); so are a key that stands twice and a second document. Pure.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// How deep mappings and lists may be nested.
const MAX_DEPTH: usize = 16;

/// A value, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The line that it begins in, from 1; that of its key, if it has one.
    pub(super) line: usize,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// A text, number, switch or nothing: what it is depends on who asks.
    Scalar {
        /// As it stands there, without quotation marks.
        text: String,
        /// It stands there in quotation marks, or as a block.
        quoted: bool,
    },
    /// Keys with their values.
    Mapping(Vec<(String, Node)>),
    /// Values.
    List(Vec<Node>),
}

impl Node {
    /// The value of a text; `None` for nothing (`null`, `~`).
    pub(super) fn text(&self) -> Result<Option<&str>, &'static str> {
        match &self.value {
            Value::Scalar { text, quoted: false } if ["", "~", "null", "Null", "NULL"].contains(&text.as_str()) => Ok(None),
            Value::Scalar { text, .. } => Ok(Some(text)),
            _ => Err("want a text"),
        }
    }

    /// The value of a switch, in any of YAML's words for it.
    pub(super) fn switch(&self) -> Result<Option<bool>, &'static str> {
        let Value::Scalar { text, quoted: false } = &self.value else { return Err("want true or false") };
        match text.to_ascii_lowercase().as_str() {
            "" | "~" | "null" => Ok(None),
            "true" | "yes" | "on" => Ok(Some(true)),
            "false" | "no" | "off" => Ok(Some(false)),
            _ => Err("want true or false"),
        }
    }

    /// The keys and values of a mapping; none for nothing.
    pub(super) fn members(&self) -> Result<&[(String, Node)], &'static str> {
        match &self.value {
            Value::Mapping(members) => Ok(members),
            _ if self.text() == Ok(None) => Ok(&[]),
            _ => Err("want keys with values"),
        }
    }

    /// The values of a list; `None` for nothing.
    pub(super) fn list(&self) -> Result<Option<&[Node]>, &'static str> {
        match &self.value {
            Value::List(nodes) => Ok(Some(nodes)),
            _ if self.text() == Ok(None) => Ok(None),
            _ => Err("want a list"),
        }
    }
}

/// What is being filled.
enum Open {
    Mapping { members: Vec<(String, Node)>, key: Option<(String, usize)> },
    List(Vec<Node>),
}

/// Reads a document. An empty one is nothing. The error says what is wrong, and in which line.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    // Each with the line that it begins in.
    let mut open: Vec<(usize, Open)> = Vec::new();
    let mut whole: Option<Node> = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
        let line = span.start.line();
        let wrong = |what: &str| format!("line {line}: {what}");
        let (line, value) = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_) if whole.is_some() => return Err(wrong("a second document")),
            Event::DocumentStart(_) => continue,
            Event::Alias(_) => return Err(wrong("aliases are not taken")),
            Event::Scalar(_, _, anchor, ref tag)
            | Event::SequenceStart(anchor, ref tag)
            | Event::MappingStart(anchor, ref tag)
                if anchor != 0 || tag.is_some() =>
            {
                return Err(wrong("anchors and tags are not taken"));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= MAX_DEPTH => {
                return Err(wrong("nested too deep"));
            }
            Event::MappingStart(..) => {
                open.push((line, Open::Mapping { members: Vec::new(), key: None }));
                continue;
            }
            Event::SequenceStart(..) => {
                open.push((line, Open::List(Vec::new())));
                continue;
            }
            Event::Scalar(text, style, ..) => {
                (line, Value::Scalar { text: text.into_owned(), quoted: !matches!(style, ScalarStyle::Plain) })
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some((line, Open::Mapping { members, .. })) => (line, Value::Mapping(members)),
                Some((line, Open::List(nodes))) => (line, Value::List(nodes)),
                None => return Err(wrong("an end without a beginning")),
            },
        };
        let node = Node { line, value };
        match open.last_mut() {
            None => whole = Some(node),
            Some((_, Open::List(nodes))) => nodes.push(node),
            Some((_, Open::Mapping { members, key })) => put(members, key, node).map_err(|what| wrong(&what))?,
        }
    }
    Ok(whole.unwrap_or(Node { line: 1, value: Value::Mapping(Vec::new()) }))
}

/// Takes a key or a value into a mapping.
fn put(members: &mut Vec<(String, Node)>, key: &mut Option<(String, usize)>, node: Node) -> Result<(), String> {
    match (key.take(), node.value) {
        (Some((key, line)), value) => members.push((key, Node { line, value })),
        (None, Value::Scalar { text, .. }) if members.iter().any(|(known, _)| *known == text) => {
            return Err(format!("{text:?} stands there twice"));
        }
        (None, Value::Scalar { text, .. }) => *key = Some((text, node.line)),
        (None, _) => return Err("a key that is no text".to_owned()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_mean_one_thing() {
        let node = |line, value| Node { line, value };
        let scalar = |line, text: &str| node(line, Value::Scalar { text: text.into(), quoted: false });
        let cases = [
            ("", node(1, Value::Mapping(vec![]))),
            ("# nothing\n", node(1, Value::Mapping(vec![]))),
            ("a: b\nc: [d, 1]", {
                let list = node(2, Value::List(vec![scalar(2, "d"), scalar(2, "1")]));
                node(1, Value::Mapping(vec![("a".into(), scalar(1, "b")), ("c".into(), list)]))
            }),
            ("a:\n  - b\n  - c", {
                let list = node(1, Value::List(vec![scalar(2, "b"), scalar(3, "c")]));
                node(1, Value::Mapping(vec![("a".into(), list)]))
            }),
            ("{\"a\": \"true\"}", {
                let quoted = Value::Scalar { text: "true".into(), quoted: true };
                node(1, Value::Mapping(vec![("a".into(), node(1, quoted))]))
            }),
            ("---\na:\n  r.io:5000/x: ~\n...\n", {
                let inner = Value::Mapping(vec![("r.io:5000/x".into(), scalar(3, "~"))]);
                node(2, Value::Mapping(vec![("a".into(), node(2, inner))]))
            }),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
        let bomb = format!("a: &a [x]\n{}", "b: [*a, *a, *a]\n");
        for text in [&bomb, "a: 1\na: 2", "a: *a", "a: !!str b", "a: 1\n---\nb: 1", "? {a: b}\n: c", "a: [", "a: b: c"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&format!("{}x", "- ".repeat(1000))).is_err());
        assert_eq!(parse("a: yes").unwrap().members().unwrap()[0].1.switch(), Ok(Some(true)));
        assert!(parse("a: 'yes'").unwrap().members().unwrap()[0].1.switch().is_err());
    }

    proptest::proptest! {
        /// Whatever stands there, it is a document or an error.
        #[test]
        fn any_text_is_read_or_refused(text in "([ \\n:\\[\\]{}#&*!|>'\"%@`,?a-c-]|a: |\\n  ){0,60}") {
            let _ = parse(&text);
        }
    }
}
