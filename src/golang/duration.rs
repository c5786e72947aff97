//! Durations as Go's `time.ParseDuration` reads them.

/// What is wrong with a text that should be a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// It does not follow the grammar, or is too long for 292 years.
    #[error("invalid duration")]
    Invalid,
    /// A number without a unit.
    #[error("missing unit in duration")]
    MissingUnit,
    /// A unit that is none of `ns us µs ms s m h`.
    #[error("unknown unit in duration")]
    UnknownUnit,
}

impl ParseDurationError {
    /// Go's complaint about `text`, which is what this was said of.
    pub fn about(self, text: &str) -> String {
        match self {
            Self::UnknownUnit => format!("unknown unit {:?} in duration {text:?}", unknown_unit(text)),
            _ => format!("{self} {text:?}"),
        }
    }
}

/// The first unit in `text` that is none.
fn unknown_unit(text: &str) -> &str {
    let is_of_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    let units = text.trim_start_matches(['+', '-']).split(is_of_number);
    units.filter(|unit| !unit.is_empty()).find(|unit| unit_ns(unit).is_none()).unwrap_or_default()
}

/// Reads a duration (`1h30m`, `300ms`, `-1.5s`, `0`); the result is in nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, ParseDurationError> {
    let (negative, unsigned) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => (false, text),
    };
    if unsigned == "0" {
        return Ok(0);
    }
    if unsigned.is_empty() {
        return Err(ParseDurationError::Invalid);
    }
    let mut total: i128 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(ParseDurationError::MissingUnit)?;
        let (number, after) = rest.split_at(number);
        if number.is_empty() {
            return Err(ParseDurationError::Invalid);
        }
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit);
        let scale = unit_ns(unit).ok_or(ParseDurationError::UnknownUnit)?;
        total += scaled(number, scale).ok_or(ParseDurationError::Invalid)?;
        if total > i128::from(i64::MAX) {
            return Err(ParseDurationError::Invalid);
        }
        rest = next;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| ParseDurationError::Invalid)
}

/// The text of a duration in nanoseconds, as `time.Duration.String`: `1h30m0s`, `1.5s`, `250ms`, `0s`.
pub fn format_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let (scale, unit) = match total {
        0 => return "0s".to_owned(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (whole, rest) = (total / scale, total % scale);
    let (hours, minutes) = if unit == "s" { (whole / 3600, whole / 60 % 60) } else { (0, 0) };
    let longer = match (hours, minutes) {
        (0, 0) => String::new(),
        (0, minutes) => format!("{minutes}m"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    };
    let whole = if unit == "s" { whole % 60 } else { whole };
    let digits = format!("{:0width$}", rest, width = scale.ilog10() as usize);
    let fraction = digits.trim_end_matches('0');
    let point = if fraction.is_empty() || rest == 0 { String::new() } else { format!(".{fraction}") };
    format!("{sign}{longer}{whole}{point}{unit}")
}

/// Nanoseconds in a unit.
fn unit_ns(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `scale`, what is below one cut.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 19 || fraction.contains('.') {
        return None;
    }
    let mut value = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? } * scale;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        value += place * i128::from(digit - b'0');
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let cases = [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("300ms", 300_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("-2us", -2_000),
            ("+1ns", 1),
            ("1µs", 1_000),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(parse_duration(text), Ok(nanoseconds), "{text:?}");
        }
    }

    #[test]
    fn complains_in_gos_words() {
        for (text, words) in [
            ("5x", "unknown unit \"x\" in duration \"5x\""),
            ("-1h2y3s", "unknown unit \"y\" in duration \"-1h2y3s\""),
            ("5", "missing unit in duration \"5\""),
            ("x", "invalid duration \"x\""),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().about(text), words);
        }
    }

    #[test]
    fn writes_what_go_writes() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (250_000_000, "250ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (5_400_000_000_001, "1h30m0.000000001s"),
            (-2_000_000_000, "-2s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format_duration(nanoseconds), text);
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        let cases = [
            ("5", ParseDurationError::MissingUnit),
            ("1h5", ParseDurationError::MissingUnit),
            ("5x", ParseDurationError::UnknownUnit),
            ("5 s", ParseDurationError::UnknownUnit),
            ("", ParseDurationError::Invalid),
            ("-", ParseDurationError::Invalid),
            ("s", ParseDurationError::Invalid),
            (".s", ParseDurationError::Invalid),
            ("1.2.3s", ParseDurationError::Invalid),
            ("9999999h", ParseDurationError::Invalid),
            ("99999999999999999999999s", ParseDurationError::Invalid),
            ("bogus", ParseDurationError::Invalid),
        ];
        for (text, error) in cases {
            assert_eq!(parse_duration(text), Err(error), "{text:?}");
        }
    }
}
