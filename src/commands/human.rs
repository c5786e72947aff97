//! Sizes and ages in the words of the other tools (Go's `docker/go-units` and `fmt`), since scripts and eyes know them.

use std::time::Duration;

/// `bytes` with three digits and a unit of base 1000: `181 B`, `3.97 MB`, `4 MB`.
pub(super) fn size(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), UNITS[unit])
}

/// `value` as `%.3g` prints it: three significant digits, no trailing zeros, an exponent from 1000 on.
fn three_digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    // The exponent after rounding decides about the form (C99 7.19.6.1), so let the formatter round first.
    let scientific = format!("{value:.2e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..3).contains(&exponent) {
        let decimals = usize::try_from(2 - exponent).unwrap_or(0);
        return without_trailing_zeros(&format!("{value:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_trailing_zeros(digits), exponent.abs())
}

fn without_trailing_zeros(digits: &str) -> String {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.').to_owned() } else { digits.to_owned() }
}

/// How long ago something was: `Less than a second`, `About a minute`, `5 weeks`. Without the word "ago".
pub(super) fn age(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let minutes = seconds / 60;
    // Go rounds to the nearest hour here, so that 90 minutes are 2 hours.
    let hours = (elapsed.as_secs_f64() / 3600.0 + 0.5) as u64;
    let plural = |count: u64, unit: &str| format!("{count} {unit}");
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => plural(seconds, "seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => plural(minutes, "minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => plural(hours, "hours"),
        () if hours < 24 * 7 * 2 => plural(hours / 24, "days"),
        () if hours < 24 * 30 * 2 => plural(hours / 24 / 7, "weeks"),
        () if hours < 24 * 365 * 2 => plural(hours / 24 / 30, "months"),
        () => plural(seconds / 3600 / 24 / 365, "years"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let cases = [
            (0, "0 B"),
            (181, "181 B"),
            (999, "999 B"),
            (1000, "1 KB"),
            (1024, "1.02 KB"),
            (3_974_000, "3.97 MB"),
            (4_000_000, "4 MB"),
            (12_345_678, "12.3 MB"),
            (124_500_000, "124 MB"),
            (999_600_000, "1e+03 MB"),
            (1_500_000_000, "1.5 GB"),
            (5_000_000_000_000_000, "5e+03 TB"),
        ];
        for (bytes, want) in cases {
            assert_eq!(size(bytes), want, "{bytes}");
        }
    }

    #[test]
    fn ages_are_words() {
        let hour = 3600;
        let day = 24 * hour;
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (hour - 1, "59 minutes"),
            (hour, "About an hour"),
            (hour + 1799, "About an hour"),
            (hour + 1800, "2 hours"),
            (47 * hour, "47 hours"),
            (2 * day, "2 days"),
            (14 * day, "2 weeks"),
            (60 * day, "2 months"),
            (729 * day, "24 months"),
            (730 * day, "2 years"),
        ];
        for (seconds, want) in cases {
            assert_eq!(age(Duration::from_secs(seconds)), want, "{seconds}");
        }
        assert_eq!(age(Duration::from_millis(999)), "Less than a second");
    }
}
