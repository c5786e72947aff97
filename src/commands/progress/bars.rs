//! The bars as text. Pure: the time is given.

use std::time::Duration;

use containers_storage::Digest;

use crate::commands::human;
use crate::transport::{Moving, Progress};

/// Letters of a digest that are shown.
const SHORT: usize = 12;
/// The longest bar; a longer one says no more.
const LONGEST: usize = 40;
/// With less room there is none.
const SHORTEST: usize = 6;

/// The layers on their way.
#[derive(Debug, Default)]
pub(super) struct Bars {
    active: Vec<Bar>,
    count: usize,
    done: usize,
    /// Length of all layers in bytes.
    bytes: u64,
    /// Of those that are at the destination.
    done_bytes: u64,
    /// Of those, what was not there before.
    moved_bytes: u64,
    begun: Duration,
}

#[derive(Debug)]
struct Bar {
    index: usize,
    name: String,
    size: u64,
    bytes: u64,
    begun: Duration,
}

impl Bars {
    /// Takes in what happened at `now`; a line that stays is the answer.
    pub(super) fn tell(&mut self, progress: &Progress<'_>, now: Duration) -> Option<String> {
        match progress {
            Progress::Layers { count, bytes } => {
                *self = Self { count: *count, bytes: *bytes, begun: now, ..Self::default() };
                None
            }
            Progress::Blob(layer) => {
                self.active.retain(|bar| bar.index != layer.index);
                let name = short(layer.digest);
                self.active.push(Bar { index: layer.index, name, size: layer.size, bytes: 0, begun: now });
                None
            }
            Progress::Moved { layer, bytes } => {
                if let Some(bar) = self.active.iter_mut().find(|bar| bar.index == layer.index) {
                    bar.bytes = *bytes;
                }
                None
            }
            Progress::Copied(layer) => {
                self.end(layer);
                self.moved_bytes = self.moved_bytes.saturating_add(layer.size);
                Some(format!("Copying blob {} done   | {}", short(layer.digest), size(layer.size)))
            }
            Progress::Skipped(layer) => {
                self.end(layer);
                Some(format!("Copying blob {} skipped: already exists", short(layer.digest)))
            }
            Progress::Config(digest) => Some(format!("Copying config {} done", short(digest))),
            other => other.line(),
        }
    }

    fn end(&mut self, layer: &Moving<'_>) {
        self.active.retain(|bar| bar.index != layer.index);
        self.done += 1;
        self.done_bytes = self.done_bytes.saturating_add(layer.size);
    }

    /// The lines that change, none of them as wide as the terminal's `width`.
    pub(super) fn lines(&self, now: Duration, width: usize) -> Vec<String> {
        let mut lines: Vec<String> = self.active.iter().map(|bar| bar.line(now, width)).collect();
        if self.count > 1 && self.done < self.count && !self.active.is_empty() {
            let moving = self.active.iter().fold(0_u64, |sum, bar| sum.saturating_add(bar.bytes));
            let name = format!("Layers {}/{}", self.done, self.count);
            let rate = rate(self.moved_bytes.saturating_add(moving), now.saturating_sub(self.begun));
            lines.push(line(&name, self.done_bytes.saturating_add(moving), self.bytes, &rate, width));
        }
        lines
    }
}

impl Bar {
    fn line(&self, now: Duration, width: usize) -> String {
        let rate = rate(self.bytes, now.saturating_sub(self.begun));
        line(&format!("Copying blob {}", self.name), self.bytes, self.size, &rate, width)
    }
}

fn short(digest: &Digest) -> String {
    digest.hex().chars().take(SHORT).collect()
}

fn size(bytes: u64) -> String {
    human::size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Bytes a second, or nothing before that means anything.
fn rate(bytes: u64, elapsed: Duration) -> String {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if milliseconds < 200 {
        return String::new();
    }
    format!(" | {}/s", size(bytes.saturating_mul(1000) / milliseconds))
}

/// A name, a bar as far as there is room, how much of what, and how fast. A layer in the store may turn out longer than was said.
fn line(name: &str, bytes: u64, of: u64, rate: &str, width: usize) -> String {
    let amount = if of == 0 { size(bytes) } else { format!("{} / {}", size(bytes.min(of)), size(of)) };
    let room = width.saturating_sub(1);
    let rest = room.saturating_sub(name.len() + amount.len() + rate.len() + " [] ".len()).min(LONGEST);
    let bar = if of > 0 && rest >= SHORTEST { drawn(bytes.min(of), of, rest) } else { " ".to_owned() };
    let mut text = format!("{name}{bar}{amount}{rate}");
    text.truncate(room);
    text
}

fn drawn(bytes: u64, of: u64, room: usize) -> String {
    let filled = (bytes as f64 / of as f64 * room as f64) as usize;
    let head = if filled == 0 || filled >= room { "" } else { ">" };
    let body = "=".repeat(filled.min(room) - head.len());
    format!(" [{body}{head}{}] ", "-".repeat(room - filled.min(room)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn layers_have_bars_until_they_are_there_and_then_a_line() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let first = Moving { index: 0, digest: &one, size: 10 * MB };
        let second = Moving { index: 1, digest: &two, size: 30 * MB };
        let mut bars = Bars::default();
        assert_eq!(bars.tell(&Progress::Signatures, at(0)).as_deref(), Some("Getting image source signatures"));
        assert_eq!(bars.tell(&Progress::Layers { count: 2, bytes: 40 * MB }, at(0)), None);
        assert!(bars.lines(at(0), 80).is_empty());
        bars.tell(&Progress::Blob(first), at(0));
        bars.tell(&Progress::Blob(second), at(0));
        bars.tell(&Progress::Moved { layer: first, bytes: 5 * MB }, at(1));
        bars.tell(&Progress::Moved { layer: second, bytes: 15 * MB }, at(1));
        let lines = [
            "Copying blob 6b86b273ff34 [=============>---------------] 5 MB / 10 MB | 5 MB/s",
            "Copying blob d4735e3a265e [============>--------------] 15 MB / 30 MB | 15 MB/s",
            "Layers 0/2 [===================>--------------------] 20 MB / 40 MB | 20 MB/s",
        ];
        assert_eq!(bars.lines(at(1), 80), lines);
        assert_eq!(bars.tell(&Progress::Copied(first), at(2)).unwrap(), "Copying blob 6b86b273ff34 done   | 10 MB");
        // Read again from its beginning.
        bars.tell(&Progress::Moved { layer: second, bytes: 0 }, at(2));
        let lines = bars.lines(at(2), 200);
        assert!(lines[0].ends_with("] 0 B / 30 MB | 0 B/s"), "{lines:?}");
        assert!(lines[1].starts_with("Layers 1/2 [") && lines[1].ends_with("] 10 MB / 40 MB | 5 MB/s"), "{lines:?}");
        bars.tell(&Progress::Skipped(second), at(3));
        assert!(bars.lines(at(3), 80).is_empty());
    }

    #[test]
    fn no_line_is_as_wide_as_the_terminal() {
        let digest = Digest::of(b"1");
        for (size, bytes) in [(0, 5), (10, 0), (10, 3), (10, 10), (10, 99), (u64::MAX, u64::MAX - 1)] {
            let layer = Moving { index: 7, digest: &digest, size };
            let mut bars = Bars::default();
            bars.tell(&Progress::Layers { count: 3, bytes: size }, at(0));
            bars.tell(&Progress::Blob(layer), at(0));
            bars.tell(&Progress::Moved { layer, bytes }, at(9));
            for width in 0..200 {
                for line in bars.lines(at(9), width) {
                    assert!(line.len() < width.max(1), "{width}: {line:?}");
                }
            }
        }
    }
}
