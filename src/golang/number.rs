//! Whole numbers as Go's `strconv` reads them for flags: `ParseInt` and `ParseUint` with base 0.

/// What is wrong with a text that should be a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseNumberError {
    /// It does not follow the grammar.
    #[error("invalid syntax")]
    Syntax,
    /// It has more than 64 bits.
    #[error("value out of range")]
    Range,
}

/// Reads `12`, `-12`, `0x1f`, `0b11`, `0o17`, `017` (octal), `1_000`.
pub fn parse_int(text: &str) -> Result<i64, ParseNumberError> {
    let (negative, unsigned) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => (false, text),
    };
    let size = i128::from(parse_uint(unsigned)?);
    i64::try_from(if negative { -size } else { size }).map_err(|_| ParseNumberError::Range)
}

/// The same without a sign.
pub fn parse_uint(text: &str) -> Result<u64, ParseNumberError> {
    let prefixes = [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)];
    let prefixed = prefixes.into_iter().find_map(|(prefix, base)| Some((text.strip_prefix(prefix)?, base)));
    // An underscore may follow the prefix, and the 0 of the old octal form is one.
    let (digits, base, may_begin) = match (prefixed, text.strip_prefix('0').filter(|rest| !rest.is_empty())) {
        (Some((digits, base)), _) => (digits, base, true),
        (None, Some(digits)) => (digits, 8, true),
        (None, None) => (text, 10, false),
    };
    let starts_well = may_begin || !digits.starts_with('_');
    if digits.is_empty() || !starts_well || digits.ends_with('_') || digits.contains("__") {
        return Err(ParseNumberError::Syntax);
    }
    let mut value = Some(0u64);
    for digit in digits.chars().filter(|digit| *digit != '_') {
        let digit = digit.to_digit(base).ok_or(ParseNumberError::Syntax)?;
        value = value.and_then(|value| value.checked_mul(base.into())?.checked_add(digit.into()));
    }
    value.ok_or(ParseNumberError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        use ParseNumberError::{Range, Syntax};
        let cases = [
            ("0", Ok(0)),
            ("12", Ok(12)),
            ("-12", Ok(-12)),
            ("+5", Ok(5)),
            ("0x1F", Ok(31)),
            ("-0b11", Ok(-3)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("1_000", Ok(1000)),
            ("0x_1", Ok(1)),
            ("0_7", Ok(7)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(Range)),
            ("99999999999999999999999", Err(Range)),
            ("", Err(Syntax)),
            ("x", Err(Syntax)),
            ("-", Err(Syntax)),
            ("08", Err(Syntax)),
            ("0x", Err(Syntax)),
            ("1__0", Err(Syntax)),
            ("_1", Err(Syntax)),
            ("1_", Err(Syntax)),
            ("1.5", Err(Syntax)),
            ("--1", Err(Syntax)),
        ];
        for (text, number) in cases {
            assert_eq!(parse_int(text), number, "{text:?}");
        }
        assert_eq!(parse_uint("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse_uint("18446744073709551616"), Err(Range));
        for text in ["-1", "+1", ""] {
            assert_eq!(parse_uint(text), Err(Syntax), "{text:?}");
        }
    }
}
