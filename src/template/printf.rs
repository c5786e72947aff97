//! Go's `fmt.Sprintf`: verbs, flags, width and precision, and the `%!` texts of its mistakes.

use super::text::{exponent_text, plain, quoted, quoted_char, shortest};
use super::{Error, Value};

/// No `f64` has more decimals (5e-324 has 1074 of them); after them there are zeros, and std refuses to write as many as Go does.
const MAX_DECIMALS: usize = 1074;
/// The most that a width or precision may be, as in Go.
const MAX_WIDTH: usize = 1_000_000;

/// A verb with its flags.
#[derive(Debug, Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Formats `arguments` by `format`. Fails only if the result is above `limit` bytes.
pub(super) fn sprintf(format: &str, arguments: &[&Value], limit: usize) -> Result<String, Error> {
    let mut out = String::new();
    let mut arguments = arguments.iter().copied();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let mut characters = after.chars();
        rest = directive(&mut out, &mut characters, &mut arguments);
        if out.len() > limit {
            return Err(Error::too_long());
        }
    }
    out.push_str(rest);
    let extra: Vec<String> = arguments.map(|value| format!("{}={}", value.type_name(), plain(value))).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(out)
}

/// One directive from after its `%`; returns what follows it.
fn directive<'f, 'v>(
    out: &mut String,
    text: &mut std::str::Chars<'f>,
    arguments: &mut impl Iterator<Item = &'v Value>,
) -> &'f str {
    let mut spec = Spec::default();
    let mut next = text.next();
    while let Some(c) = next {
        match c {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '#' => spec.sharp = true,
            ' ' => spec.space = true,
            '0' => spec.zero = true,
            _ => break,
        }
        next = text.next();
    }
    (spec.width, next) = size(out, text, next, arguments, &mut spec.minus, "%!(BADWIDTH)");
    if next == Some('.') {
        next = text.next();
        let (precision, after) = size(out, text, next, arguments, &mut false, "%!(BADPREC)");
        spec.precision = Some(precision.unwrap_or(0));
        next = after;
    }
    spec.zero &= !spec.minus;
    match next {
        None => out.push_str("%!(NOVERB)"),
        Some('%') => out.push('%'),
        Some(verb) => match arguments.next() {
            Some(value) => spec.value(out, verb, value),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        },
    }
    text.as_str()
}

/// A number, or `*` for the next argument; then the character after it.
fn size<'v>(
    out: &mut String,
    text: &mut std::str::Chars<'_>,
    first: Option<char>,
    arguments: &mut impl Iterator<Item = &'v Value>,
    minus: &mut bool,
    bad: &str,
) -> (Option<usize>, Option<char>) {
    if first == Some('*') {
        let size = match arguments.next() {
            Some(Value::Int(size)) => {
                *minus |= *size < 0;
                usize::try_from(size.unsigned_abs()).ok().filter(|size| *size <= MAX_WIDTH)
            }
            _ => None,
        };
        if size.is_none() {
            out.push_str(bad);
        }
        return (size, text.next());
    }
    let mut next = first;
    let mut number: Option<usize> = None;
    while let Some(digit) = next.and_then(|c| c.to_digit(10)) {
        number = Some((number.unwrap_or(0) * 10 + digit as usize).min(MAX_WIDTH));
        next = text.next();
    }
    (number, next)
}

impl Spec {
    /// A value, element by element if it has any.
    fn value(&self, out: &mut String, verb: char, value: &Value) {
        match value {
            _ if verb == 'T' => self.pad(out, value.type_name()),
            Value::NilList => out.push_str("[]"),
            Value::List(items) => {
                out.push('[');
                self.elements(out, items.iter(), |out, item| self.value(out, verb, item));
                out.push(']');
            }
            Value::Map(members) => {
                out.push_str("map[");
                self.elements(out, members.iter(), |out, (key, value)| {
                    self.value(out, verb, &Value::Str(key.clone()));
                    out.push(':');
                    self.value(out, verb, value);
                });
                out.push(']');
            }
            Value::Struct(fields) => {
                out.push('{');
                self.elements(out, fields.iter(), |out, field| {
                    if verb == 'v' && (self.plus || self.sharp) {
                        out.push_str(&field.name);
                        out.push(':');
                    }
                    self.value(out, verb, &field.value);
                });
                out.push('}');
            }
            // With %v the plus sign asks for the names of fields, not for a sign.
            scalar => match (Self { plus: self.plus && verb != 'v', ..*self }).scalar(verb, scalar) {
                Some(text) => self.pad_for(out, &text, scalar),
                None => out.push_str(&bad_verb(verb, scalar)),
            },
        }
    }

    fn elements<T>(&self, out: &mut String, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
        for (i, item) in items.enumerate() {
            if i > 0 {
                out.push(' ');
            }
            write(out, item);
        }
    }

    /// The unpadded text of a value without parts; `None` if the verb is not for it.
    fn scalar(&self, verb: char, value: &Value) -> Option<String> {
        Some(match (verb, value) {
            ('v', Value::Str(text)) if self.sharp => quoted(text),
            ('v' | 's', Value::Str(text)) => self.cut(text),
            ('v' | 'd', Value::Int(number)) | ('d', Value::Duration(number)) => self.integer(*number, 10, ""),
            ('v', Value::Float(number)) => self.signed(*number, shortest(*number)),
            ('v', other) => plain(other),
            ('s', Value::Time(_) | Value::Duration(_)) => plain(value),
            ('q', Value::Str(text)) if self.sharp && !text.contains(['`', '\n']) => format!("`{}`", self.cut(text)),
            ('q', Value::Str(text)) => quoted(&self.cut(text)),
            ('q', Value::Time(_) | Value::Duration(_)) => quoted(&plain(value)),
            ('q', Value::Int(number)) => quoted_char(character(*number)),
            ('c', Value::Int(number)) => character(*number).to_string(),
            ('U', Value::Int(number)) => format!("U+{number:04X}"),
            ('x', Value::Str(text)) => self.bytes(text, false),
            ('X', Value::Str(text)) => self.bytes(text, true),
            ('x', Value::Int(number)) => self.integer(*number, 16, "0x"),
            ('X', Value::Int(number)) => self.integer(*number, 16, "0X").to_uppercase(),
            ('o', Value::Int(number)) => self.integer(*number, 8, "0"),
            ('O', Value::Int(number)) => Self { sharp: true, ..*self }.integer(*number, 8, "0o"),
            ('b', Value::Int(number)) => self.integer(*number, 2, "0b"),
            ('t', Value::Bool(value)) => value.to_string(),
            ('f' | 'F', Value::Float(number)) => self.signed(*number, fixed(*number, self.precision.unwrap_or(6))),
            ('e' | 'E', Value::Float(number)) => {
                let text = scientific(*number, self.precision.unwrap_or(6));
                self.signed(*number, if verb == 'E' { text.to_uppercase() } else { text })
            }
            ('g' | 'G', Value::Float(number)) => {
                let text = self.general(*number);
                self.signed(*number, if verb == 'G' { text.to_uppercase() } else { text })
            }
            _ => return None,
        })
    }

    /// At most `precision` characters.
    fn cut(&self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    fn integer(&self, number: i64, radix: u32, prefix: &str) -> String {
        let mut digits = String::new();
        let mut rest = number.unsigned_abs();
        while rest > 0 || digits.is_empty() {
            let digit = u32::try_from(rest % u64::from(radix)).unwrap_or(0);
            digits.insert(0, char::from_digit(digit, radix).unwrap_or('0'));
            rest /= u64::from(radix);
        }
        let missing = self.precision.unwrap_or(0).saturating_sub(digits.len());
        let prefix = if self.sharp { prefix } else { "" };
        let sign = self.sign(number < 0);
        format!("{sign}{prefix}{}{digits}", "0".repeat(missing))
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    /// A float's text with the sign that the flags ask for.
    fn signed(&self, number: f64, text: String) -> String {
        if number.is_sign_negative() || number.is_infinite() { text } else { format!("{}{text}", self.sign(false)) }
    }

    fn general(&self, number: f64) -> String {
        let Some(precision) = self.precision else { return shortest(number) };
        let precision = precision.max(1);
        let text = scientific(number, precision - 1);
        let Some((digits, exponent)) = text.split_once('e') else { return text };
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let trim = |text: &str| {
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
        };
        let whole = i32::try_from(precision).unwrap_or(i32::MAX);
        if exponent < -4 || exponent >= whole {
            return format!("{}e{}", trim(digits), exponent_text(exponent));
        }
        let decimals = usize::try_from(whole - 1 - exponent).unwrap_or(0);
        trim(&fixed(number, decimals))
    }

    /// The bytes of a text in hexadecimal.
    fn bytes(&self, text: &str, upper: bool) -> String {
        let digits = text.bytes().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") });
        digits.collect::<Vec<_>>().join(if self.space { " " } else { "" })
    }

    /// Pads numbers with zeros between sign and digits if asked to, everything else with blanks.
    fn pad_for(&self, out: &mut String, text: &str, value: &Value) {
        let numeric = matches!(value, Value::Int(_) | Value::Float(_));
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if self.zero && missing > 0 && numeric && self.precision.is_none_or(|_| matches!(value, Value::Float(_))) {
            let digits = text.find(|c: char| !matches!(c, '+' | '-' | ' ')).unwrap_or(0);
            let (sign, digits) = text.split_at(digits);
            out.push_str(sign);
            out.push_str(&"0".repeat(missing));
            out.push_str(digits);
        } else {
            self.pad(out, text);
        }
    }

    fn pad(&self, out: &mut String, text: &str) {
        let missing = " ".repeat(self.width.unwrap_or(0).saturating_sub(text.chars().count()));
        let (left, right) = if self.minus { ("", missing.as_str()) } else { (missing.as_str(), "") };
        out.push_str(left);
        out.push_str(text);
        out.push_str(right);
    }
}

/// A character by its number.
fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// `ddd.ddd` with `precision` digits after the point.
fn fixed(number: f64, precision: usize) -> String {
    if !number.is_finite() {
        return shortest(number);
    }
    let known = precision.min(MAX_DECIMALS);
    format!("{number:.known$}{}", "0".repeat(precision - known))
}

/// `d.ddde±dd` with `precision` digits after the point.
fn scientific(number: f64, precision: usize) -> String {
    if !number.is_finite() {
        return shortest(number);
    }
    let known = precision.min(MAX_DECIMALS);
    let text = format!("{number:.known$e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    format!("{digits}{}e{}", "0".repeat(precision - known), exponent_text(exponent.parse().unwrap_or(0)))
}

/// What Go prints for a verb that is not for the value.
fn bad_verb(verb: char, value: &Value) -> String {
    match value {
        Value::Null => format!("%!{verb}(<nil>)"),
        value => format!("%!{verb}({}={})", value.type_name(), plain(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(format: &str, values: &[Value]) -> String {
        sprintf(format, &values.iter().collect::<Vec<_>>(), 1 << 20).unwrap()
    }

    #[test]
    fn texts_and_lists() {
        let list = Value::from(vec!["a", "b c"]);
        let map = Value::Map([("k".to_owned(), Value::from("v"))].into());
        let cases: &[(&str, Value, &str)] = &[
            ("%s|", "x".into(), "x|"),
            ("%v|", "x".into(), "x|"),
            ("%q|", "a\"b\n\u{1}é\u{200b}".into(), "\"a\\\"b\\n\\x01é\\u200b\"|"),
            ("%#q|", "a".into(), "`a`|"),
            ("%5s|", "é".into(), "    é|"),
            ("%-5s|", "ab".into(), "ab   |"),
            ("%.2s|", "abc".into(), "ab|"),
            ("%-12.12s|", "0123456789abcdef".into(), "0123456789ab|"),
            ("%x|", "hi".into(), "6869|"),
            ("% X|", "hi".into(), "68 69|"),
            ("%s|", list.clone(), "[a b c]|"),
            ("%q|", list.clone(), "[\"a\" \"b c\"]|"),
            ("%5s|", list, "[    a   b c]|"),
            ("%v|", map.clone(), "map[k:v]|"),
            ("%q|", map, "map[\"k\":\"v\"]|"),
            ("%t|", true.into(), "true|"),
            ("%v|", Value::Null, "<nil>|"),
            ("%s|", Value::Null, "%!s(<nil>)|"),
            ("%T|", "x".into(), "string|"),
            ("%+v|", Value::Struct(vec![super::super::Field::new("A", 1)]), "{A:1}|"),
            ("%v|", Value::Struct(vec![super::super::Field::new("A", 1)]), "{1}|"),
        ];
        for (format, value, text) in cases {
            assert_eq!(formatted(format, std::slice::from_ref(value)), *text, "{format}");
        }
    }

    /// Found by fuzzing: std panics above 65,535 digits.
    #[test]
    fn long_numbers_end_in_zeros() {
        for (format, number, length, end) in [
            ("%.70000f", 0.5, 70_002, "000"),
            ("%.70000e", 5e-324, 70_007, "000e-324"),
            ("%.72222g", 0.0, 1, "0"),
            ("%.72222g", 0.1, 57, "5625"),
            ("%.1000000G", 1e300, 301, "160"),
        ] {
            let text = formatted(format, &[Value::Float(number)]);
            assert!(
                text.len() == length && text.ends_with(end),
                "{format} {number}: {} {}",
                text.len(),
                &text[..9.min(text.len())]
            );
        }
    }

    #[test]
    fn numbers() {
        let cases: &[(&str, Value, &str)] = &[
            ("%d", 5.into(), "5"),
            ("%5d|", (-5).into(), "   -5|"),
            ("%-5d|", 5.into(), "5    |"),
            ("%05d", (-5).into(), "-0005"),
            ("%+d", 5.into(), "+5"),
            ("% d", 5.into(), " 5"),
            ("%x", 255.into(), "ff"),
            ("%#X", 255.into(), "0XFF"),
            ("%#o", 8.into(), "010"),
            ("%b", 5.into(), "101"),
            ("%c", 0x263a.into(), "☺"),
            ("%U", 0x263a.into(), "U+263A"),
            ("%q", 65.into(), "'A'"),
            ("%.3d", 5.into(), "005"),
            ("%d", i64::MIN.into(), "-9223372036854775808"),
            ("%v", Value::Float(0.5), "0.5"),
            ("%v", Value::Float(1.0), "1"),
            ("%v", Value::Float(1e21), "1e+21"),
            ("%v", Value::Float(1e-5), "1e-05"),
            ("%f", Value::Float(1.5), "1.500000"),
            ("%.1f", Value::Float(0.25), "0.2"),
            ("%6.2f|", Value::Float(2.71528), "  2.72|"),
            ("%e", Value::Float(123456.0), "1.234560e+05"),
            ("%.3g", Value::Float(3974000.0), "3.97e+06"),
            ("%.3g", Value::Float(3.974), "3.97"),
            ("%.3g", Value::Float(181.0), "181"),
            ("%.3g", Value::Float(4.0), "4"),
        ];
        for (format, value, text) in cases {
            assert_eq!(formatted(format, std::slice::from_ref(value)), *text, "{format}");
        }
    }

    #[test]
    fn mistakes_are_told_as_go_tells_them() {
        assert_eq!(formatted("%d", &["hi".into()]), "%!d(string=hi)");
        assert_eq!(formatted("%s", &[5.into()]), "%!s(int=5)");
        assert_eq!(formatted("%s %s", &["a".into()]), "a %!s(MISSING)");
        assert_eq!(formatted("x", &["a".into(), 5.into()]), "x%!(EXTRA string=a, int=5)");
        assert_eq!(formatted("%", &[]), "%!(NOVERB)");
        assert_eq!(formatted("%%|%z", &[true.into()]), "%|%!z(bool=true)");
        assert_eq!(formatted("%*d|%-*d|", &[4.into(), 5.into(), 3.into(), 6.into()]), "   5|6  |");
        assert!(sprintf("%1000000d%1000000d", &[&5.into(), &5.into()], 1 << 20).is_err());
    }
}
