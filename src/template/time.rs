//! The methods of Go's `time.Time` that templates call on a time, and its layouts (package `time`, "Constants").

use jiff::Zoned;
use jiff::tz::TimeZone;

use super::Value;
use super::text::{time, zone_name};

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
pub(super) fn method(at: &Zoned, name: &str, arguments: &[&Value]) -> Result<Value, MethodError> {
    let instant = at.timestamp();
    let want = usize::from(name == "Format");
    let value = match name {
        "Format" => match arguments.first() {
            Some(Value::Str(layout)) => Value::Str(format(at, layout)),
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
        "UTC" => Value::from(instant),
        "Local" => Value::Time(at.with_time_zone(TimeZone::system())),
        "String" => Value::Str(time(at)),
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
fn format(at: &Zoned, layout: &str) -> String {
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

fn subsecond(at: &Zoned, point: &str, digits: usize, trims: bool) -> String {
    let all = format!("{:09}", at.subsec_nanosecond());
    let kept: String = all.chars().chain(std::iter::repeat('0')).take(digits).collect();
    match kept.trim_end_matches('0') {
        "" if trims => String::new(),
        short if trims => format!("{point}{short}"),
        _ => format!("{point}{kept}"),
    }
}

fn shown(at: &Zoned, chunk: &str) -> String {
    let hour12 = (at.hour() + 11) % 12 + 1;
    match chunk {
        "January" => MONTHS[month_index(at)].to_owned(),
        "Jan" => MONTHS[month_index(at)][..3].to_owned(),
        "Monday" => weekday(at).to_owned(),
        "Mon" => weekday(at)[..3].to_owned(),
        "MST" => zone_name(at),
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
        "-07:00" => at.strftime("%:z").to_string(),
        "-0700" => at.strftime("%z").to_string(),
        "-07" => offset_hours(at),
        _ if at.offset().is_zero() => "Z".to_owned(),
        "Z07:00" => at.strftime("%:z").to_string(),
        "Z0700" => at.strftime("%z").to_string(),
        "Z07" => offset_hours(at),
        _ => chunk.to_owned(),
    }
}

/// `-07`: whole hours only, as Go.
fn offset_hours(at: &Zoned) -> String {
    let minutes = at.offset().seconds() / 60;
    format!("{}{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60)
}

fn month_index(at: &Zoned) -> usize {
    usize::try_from(at.month() - 1).unwrap_or_default().min(11)
}

fn weekday(at: &Zoned) -> &'static str {
    const NAMES: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    NAMES[usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or_default().min(6)]
}

#[cfg(test)]
mod tests {
    use super::super::value::HtmlEscape;
    use super::*;

    fn called(name: &str, arguments: &[&Value]) -> Result<String, MethodError> {
        let instant: jiff::Timestamp = "2026-11-01T13:05:09.0625Z".parse().expect("a time");
        method(&instant.to_zoned(TimeZone::UTC), name, arguments).map(|value| super::super::text::plain(&value))
    }

    #[test]
    fn times_in_another_zone() {
        let instant: jiff::Timestamp = "2026-11-01T13:05:09.5Z".parse().expect("a time");
        let at = instant.to_zoned(TimeZone::posix("NST3:30NDT,M3.2.0,M11.1.0").expect("a zone"));
        let shown =
            |layout: &str| method(&at, "Format", &[&Value::from(layout)]).map(|value| super::super::text::plain(&value));
        assert_eq!(time(&at), "2026-11-01 09:35:09.5 -0330 NST");
        assert_eq!(shown("15:04 -07:00 -0700 -07 MST").as_deref(), Ok("09:35 -03:30 -0330 -03 NST"));
        assert_eq!(shown("Z07:00 Z0700 Z07 Z").as_deref(), Ok("-03:30 -0330 -03 Z"));
        assert_eq!(method(&at, "UTC", &[]), Ok(Value::from(instant)));
        assert_eq!(method(&at, "Hour", &[]), Ok(Value::Int(9)));
        assert_eq!(Value::Time(at).to_json("", HtmlEscape::On), "\"2026-11-01T09:35:09.5-03:30\"");
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
