//! When something is tried again: how often, and after which pause.

use std::time::Duration;

use jiff::Timestamp;

/// `--retry` and `--retry-delay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often after the first attempt.
    pub count: u32,
    /// The pause before each; none is half a second, and twice as long each time.
    pub delay: Option<Duration>,
}

/// The other tools' number.
const COUNT: u32 = 3;
/// The first pause, where none was asked for.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A server that wants a longer pause is not waited for: the person is told.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Default for Retry {
    fn default() -> Self {
        Self { count: COUNT, delay: None }
    }
}

impl Retry {
    /// The pause before attempt `attempt` (1 is the first repetition), where the server asked for one of `asked`. `None` if there is
    /// no such attempt.
    pub fn pause(&self, attempt: u32, asked: Option<Duration>) -> Option<Duration> {
        if attempt > self.count || asked.is_some_and(|asked| asked > LONGEST_PAUSE) {
            return None;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
        Some(self.delay.unwrap_or(doubled).max(asked.unwrap_or_default()))
    }
}

/// The pause that a `Retry-After` asks for: seconds, or a time (RFC 9110, section 10.2.3).
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(at.as_second().saturating_sub(now.as_second())).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_there_are_no_more() {
        let usual = Retry::default();
        let pauses: Vec<_> = (1..=4).map(|attempt| usual.pause(attempt, None).map(|pause| pause.as_millis())).collect();
        assert_eq!(pauses, [Some(500), Some(1000), Some(2000), None]);
        let fixed = Retry { count: 1, delay: Some(Duration::from_secs(7)) };
        assert_eq!((fixed.pause(1, None), fixed.pause(2, None)), (Some(Duration::from_secs(7)), None));
        assert_eq!(usual.pause(1, Some(Duration::from_secs(5))), Some(Duration::from_secs(5)));
        assert_eq!(usual.pause(1, Some(Duration::from_secs(3600))), None);
        assert_eq!(Retry { count: u32::MAX, delay: None }.pause(u32::MAX, None), Some(LONGEST_PAUSE));
    }

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let seconds = |value: &str| retry_after(value, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("30"), Some(30));
        assert_eq!(seconds("Thu, 01 Jan 2026 00:01:00 GMT"), Some(60));
        assert_eq!(seconds("Wed, 31 Dec 2025 00:01:00 GMT"), Some(0));
        assert_eq!(seconds("99999999999999999999999"), Some(u64::MAX));
        assert_eq!((seconds("soon"), seconds("")), (None, None));
    }
}
