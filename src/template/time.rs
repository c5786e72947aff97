//! The methods of Go's `time.Time` that templates call on a time, in UTC, and its layouts (package `time`, "Constants").

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Value;
use super::text::time;

/// Why a method could not be called.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MethodError {
    /// There is no such method.
    Unknown,
    /// It takes another number of arguments.
    Count {
        /// What it takes.
        want: usize,
    },
    /// Its argument is no string.
    NoText,
}

/// Calls `name` on a time.
pub(super) fn method(instant: Timestamp, name: &str, arguments: &[&Value]) -> Result<Value, MethodError> {
    let at = TimeZone::UTC.to_datetime(instant);
    let want = usize::from(name == "Format");
    let value = match name {
        "Format" => match arguments.first() {
            Some(Value::Str(layout)) => Value::Str(format(instant, layout)),
            Some(_) => return Err(MethodError::NoText),
            None => return Err(MethodError::Count { want }),
        },
        "Unix" => Value::Int(instant.as_second()),
        "UnixMilli" => Value::Int(instant.as_millisecond()),
        "UnixMicro" => Value::Int(instant.as_microsecond()),
        "UnixNano" => Value::Int(i64::try_from(instant.as_nanosecond()).unwrap_or_default()),
        "Year" => Value::Int(at.year().into()),
        "Month" => Value::from(MONTHS[month_index(at)]),
        "Day" => Value::Int(at.day().into()),
        "YearDay" => Value::Int(at.day_of_year().into()),
        "Weekday" => Value::from(weekday(at)),
        "Hour" => Value::Int(at.hour().into()),
        "Minute" => Value::Int(at.minute().into()),
        "Second" => Value::Int(at.second().into()),
        "Nanosecond" => Value::Int(at.subsec_nanosecond().into()),
        "UTC" => Value::Time(instant),
        "String" => Value::Str(time(instant)),
        // The zero time of Go is the year 1, which no image has.
        "IsZero" => Value::Bool(false),
        _ => return Err(MethodError::Unknown),
    };
    if arguments.len() == want { Ok(value) } else { Err(MethodError::Count { want }) }
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// The words of a layout; of two that begin alike the longer one is first.
const CHUNKS: [&str; 30] = [
    "January", "Jan", "Monday", "Mon", "MST", "2006", "__2", "_2", "002", "01", "02", "03", "04", "05", "06", "15", "PM", "pm",
    "Z07:00", "Z0700", "Z07", "-07:00", "-0700", "-07", "1", "2", "3", "4", "5", "Z",
];

/// `time.Time.Format`.
fn format(instant: Timestamp, layout: &str) -> String {
    let at = TimeZone::UTC.to_datetime(instant);
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((length, digits, trims)) = fraction(rest) {
            out.push_str(&subsecond(at, &rest[..1], digits, trims));
            rest = &rest[length..];
            continue;
        }
        match CHUNKS.iter().find(|chunk| rest.starts_with(**chunk)) {
            // "Jan" in "January" was found before; in "Janet" Go leaves it, as a letter in lower case follows.
            Some(&chunk) if !(chunk == "Jan" && rest[3..].starts_with(|c: char| c.is_ascii_lowercase())) => {
                out.push_str(&shown(at, chunk));
                rest = &rest[chunk.len()..];
            }
            _ => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// `.000`, `,000` (all digits) and `.999` (no trailing zeros), unless another digit follows: length, digits, whether zeros go.
fn fraction(rest: &str) -> Option<(usize, usize, bool)> {
    let digit = rest.strip_prefix(['.', ','])?.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let digits = rest[1..].chars().take_while(|c| *c == digit).count();
    let ends = !rest[1 + digits..].starts_with(|c: char| c.is_ascii_digit());
    ends.then_some((1 + digits, digits, digit == '9'))
}

fn subsecond(at: DateTime, point: &str, digits: usize, trims: bool) -> String {
    let all = format!("{:09}", at.subsec_nanosecond());
    let kept: String = all.chars().chain(std::iter::repeat('0')).take(digits).collect();
    match kept.trim_end_matches('0') {
        "" if trims => String::new(),
        short if trims => format!("{point}{short}"),
        _ => format!("{point}{kept}"),
    }
}

fn shown(at: DateTime, chunk: &str) -> String {
    let hour12 = (at.hour() + 11) % 12 + 1;
    match chunk {
        "January" => MONTHS[month_index(at)].to_owned(),
        "Jan" => MONTHS[month_index(at)][..3].to_owned(),
        "Monday" => weekday(at).to_owned(),
        "Mon" => weekday(at)[..3].to_owned(),
        "MST" => "UTC".to_owned(),
        "2006" => format!("{:04}", at.year()),
        "06" => format!("{:02}", at.year().rem_euclid(100)),
        "01" => format!("{:02}", at.month()),
        "1" => at.month().to_string(),
        "02" => format!("{:02}", at.day()),
        "_2" => format!("{:>2}", at.day()),
        "2" => at.day().to_string(),
        "002" => format!("{:03}", at.day_of_year()),
        "__2" => format!("{:>3}", at.day_of_year()),
        "15" => format!("{:02}", at.hour()),
        "03" => format!("{hour12:02}"),
        "3" => hour12.to_string(),
        "04" => format!("{:02}", at.minute()),
        "4" => at.minute().to_string(),
        "05" => format!("{:02}", at.second()),
        "5" => at.second().to_string(),
        "PM" => if at.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        "pm" => if at.hour() < 12 { "am" } else { "pm" }.to_owned(),
        "-07:00" => "+00:00".to_owned(),
        "-0700" => "+0000".to_owned(),
        "-07" => "+00".to_owned(),
        _ => "Z".to_owned(),
    }
}

fn month_index(at: DateTime) -> usize {
    usize::try_from(at.month() - 1).unwrap_or_default().min(11)
}

fn weekday(at: DateTime) -> &'static str {
    const NAMES: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    NAMES[usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or_default().min(6)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(name: &str, arguments: &[&Value]) -> Result<String, MethodError> {
        let instant: Timestamp = "2026-11-01T13:05:09.0625Z".parse().expect("a time");
        method(instant, name, arguments).map(|value| super::super::text::plain(&value))
    }

    #[test]
    fn layouts_are_those_of_go() {
        let cases = [
            ("2006-01-02T15:04:05Z07:00", "2026-11-01T13:05:09Z"),
            ("2006-01-02T15:04:05.999999999Z07:00", "2026-11-01T13:05:09.0625Z"),
            ("Mon Jan _2 15:04:05 MST 2006", "Sun Nov  1 13:05:09 UTC 2026"),
            ("Monday, 02-Jan-06 15:04:05 -0700", "Sunday, 01-Nov-26 13:05:09 +0000"),
            ("January 2, 2006 at 3:04pm", "November 1, 2026 at 1:05pm"),
            ("3:4:5 PM 1/2/06", "1:5:9 PM 11/1/26"),
            ("002 __2 .000 ,00 .99", "305 305 .062 ,06 .06"),
            ("plain text", "plain text"),
            ("Janet 20060102", "Janet 20261101"),
            ("-07:00 -07 Z0700 03", "+00:00 +00 Z 01"),
            ("", ""),
        ];
        for (layout, want) in cases {
            assert_eq!(called("Format", &[&Value::from(layout)]).as_deref(), Ok(want), "{layout:?}");
        }
    }

    #[test]
    fn methods_without_arguments() {
        let cases = [
            ("Unix", "1793538309"),
            ("UnixMilli", "1793538309062"),
            ("Year", "2026"),
            ("Month", "November"),
            ("Day", "1"),
            ("Weekday", "Sunday"),
            ("Hour", "13"),
            ("Nanosecond", "62500000"),
            ("IsZero", "false"),
            ("UTC", "2026-11-01 13:05:09.0625 +0000 UTC"),
            ("String", "2026-11-01 13:05:09.0625 +0000 UTC"),
        ];
        for (name, want) in cases {
            assert_eq!(called(name, &[]).as_deref(), Ok(want), "{name}");
        }
        assert_eq!(called("Nope", &[]), Err(MethodError::Unknown));
        assert_eq!(called("Format", &[]), Err(MethodError::Count { want: 1 }));
        assert_eq!(called("Unix", &[&Value::Int(1)]), Err(MethodError::Count { want: 0 }));
        assert_eq!(called("Format", &[&Value::Int(1)]), Err(MethodError::NoText));
    }
}
