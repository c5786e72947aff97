//! JSON as Go's `encoding/json` writes it.
//!
//! An image's ID is a digest over such text, so configs and manifests that we write must have the bytes that the other tools,
//! all written in Go, give to the same values. The differences to `serde_json` are the escapes: `<`, `>`, `&`, U+2028 and
//! U+2029 are written as `\u…` so that the text is safe inside HTML and JavaScript.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Compact text, as `json.Marshal`. Fails only for values that are no JSON (a map with keys that are no strings).
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(1024);
    value.serialize(&mut Serializer::with_formatter(&mut out, HtmlSafe(CompactFormatter)))?;
    Ok(out)
}

/// Indented text, as `json.MarshalIndent` with an empty prefix.
pub fn to_vec_indented<T: Serialize + ?Sized>(value: &T, indent: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(1024);
    let formatter = HtmlSafe(PrettyFormatter::with_indent(indent.as_bytes()));
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter))?;
    Ok(out)
}

/// The deepest nesting of a document from outside; serde_json has the same limit for what it keeps, but none for what it passes over.
const MAX_DEPTH: usize = 128;

/// Refuses a JSON text that is nested deeper than anybody needs, before anything is done with it (known attacks A139).
pub fn check_depth(text: &[u8]) -> Result<(), serde_json::Error> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (true, _) => {}
            (false, b'"') => in_string = true,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(serde::de::Error::custom(format_args!("nested more than {MAX_DEPTH} deep")));
        }
    }
    Ok(())
}

/// A JSON text with line feeds and indents, as `json.Indent`: nothing but the space between its parts changes. What is no JSON is an
/// error.
pub fn indented(text: &[u8], indent: &str) -> Result<Vec<u8>, serde_json::Error> {
    // Deep ones would grow by their depth with each line.
    check_depth(text)?;
    let _: serde::de::IgnoredAny = serde_json::from_slice(text)?;
    let mut out = Vec::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut bytes = text.iter().copied().peekable();
    let new_line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(indent.bytes().cycle().take(indent.len() * depth));
    };
    while let Some(byte) = bytes.next() {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' | b'[' => {
                out.push(byte);
                while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
                if let Some(end) = bytes.next_if(|next| matches!(next, b'}' | b']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(&mut out, depth);
            }
            b':' => out.extend(b": "),
            _ => {
                in_string = byte == b'"';
                out.push(byte);
            }
        }
    }
    Ok(out)
}

/// The layout of `F`, with Go's escapes.
struct HtmlSafe<F>(F);

macro_rules! forward {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $method<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $kind)*) -> io::Result<()> {
            self.0.$method(writer $(, $argument)*)
        })*
    };
}

impl<F: Formatter> Formatter for HtmlSafe<F> {
    forward! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
        write_char_escape(escape: CharEscape);
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, special) in fragment.char_indices().filter(|(_, c)| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')) {
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            write!(writer, "\\u{:04x}", u32::from(special))?;
            plain = at + special.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_go_does() {
        let cases = [
            ("plain", r#""plain""#),
            ("<a@b> & c", r#""\u003ca@b\u003e \u0026 c""#),
            ("\"\\/", r#""\"\\/""#),
            ("\t\n\r\u{8}\u{c}\u{1}\u{7f}", "\"\\t\\n\\r\\b\\f\\u0001\u{7f}\""),
            ("\u{2028}é\u{2029}", "\"\\u2028é\\u2029\""),
        ];
        for (text, json) in cases {
            assert_eq!(to_vec(text).map(|bytes| String::from_utf8(bytes).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn indents_as_go_does() {
        let value = serde_json::json!({"a": [], "b": {}, "c": [1], "d": {"e": "<"}});
        let text = String::from_utf8(to_vec_indented(&value, "    ").unwrap()).unwrap();
        assert_eq!(
            text,
            "{\n    \"a\": [],\n    \"b\": {},\n    \"c\": [\n        1\n    ],\n    \"d\": {\n        \"e\": \"\\u003c\"\n    }\n}"
        );
    }

    #[test]
    fn text_is_indented_and_nothing_else_of_it_changes() {
        let text = r#" {"z":1.50,"a":[ ],"b" : { },"s":"{[,:\"\\","n":[1, {"x":null}]}"#;
        let shown = String::from_utf8(indented(text.as_bytes(), "  ").unwrap()).unwrap();
        let want = "{\n  \"z\": 1.50,\n  \"a\": [],\n  \"b\": {},\n  \"s\": \"{[,:\\\"\\\\\",\n  \"n\": [\n    1,\n    {\n      \"x\": null\n    }\n  ]\n}";
        assert_eq!(shown, want);
        assert!(indented(b"{", " ").is_err() && indented(b"{} x", " ").is_err());
        assert!(indented("[".repeat(200).as_bytes(), " ").is_err());
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| format!("{{\"x\":\"[[\\\"[\",\"y\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(check_depth(nested(127).as_bytes()).is_ok());
        assert!(check_depth(nested(128).as_bytes()).is_err());
        assert!(check_depth("[]".repeat(1000).as_bytes()).is_ok());
    }
}
