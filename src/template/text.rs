//! Values as text without a format: what `fmt.Print` prints, and Go's quoted strings.

use std::fmt::Write;

use jiff::Zoned;

use super::Value;

/// The text of a value, as `%v`.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => shortest(*value),
        Value::Str(text) => text.clone(),
        Value::Duration(length) => crate::golang::duration::format_duration(*length),
        Value::Time(at) => time(at),
        Value::NilList => "[]".to_owned(),
        Value::List(items) => format!("[{}]", joined(items.iter().map(plain))),
        Value::Map(members) => format!("map[{}]", joined(members.iter().map(|(key, value)| format!("{key}:{}", plain(value))))),
        Value::Struct(fields) => format!("{{{}}}", joined(fields.iter().map(|field| plain(&field.value)))),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

/// `time.Time.String`: `2006-01-02 15:04:05.999999999 -0700 MST`.
pub(super) fn time(at: &Zoned) -> String {
    let text = at.datetime().to_string().replacen('T', " ", 1);
    format!("{text} {} {}", at.strftime("%z"), zone_name(at))
}

/// `MST`: the short name of the zone at that time.
pub(super) fn zone_name(at: &Zoned) -> String {
    at.time_zone().to_offset_info(at.timestamp()).abbreviation().to_owned()
}

/// A float with as few digits as identify it, with an exponent below 1e-4 and from 1e6 on (`%v`).
pub(super) fn shortest(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        return format!("{digits}e{}", exponent_text(exponent));
    }
    value.to_string()
}

/// A sign and at least two digits.
pub(super) fn exponent_text(exponent: i32) -> String {
    format!("{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
}

/// `strconv.Quote`.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|c| push_quoted(&mut out, c, '"'));
    out.push('"');
    out
}

/// `strconv.QuoteRune`.
pub(super) fn quoted_char(c: char) -> String {
    let mut out = String::from("'");
    push_quoted(&mut out, c, '\'');
    out.push('\'');
    out
}

fn push_quoted(out: &mut String, c: char, quote: char) {
    let short = match c {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        '\\' => '\\',
        c if c == quote => quote,
        _ => {
            // What Rust's debug form leaves alone is what Go calls printable.
            let printable = c == '\'' || c == '"' || c.escape_debug().count() == 1;
            let code = u32::from(c);
            let _ = match code {
                _ if printable => write!(out, "{c}"),
                0..=0x7f => write!(out, "\\x{code:02x}"),
                0x80..=0xffff => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
            return;
        }
    };
    out.extend(['\\', short]);
}
