//! A build on a terminal: below what is done already, a line for each stage that is at work and one for what its command printed last.
//!
//! ```text
//! [1/3] STEP 2/4: RUN make (3.1s)                 stays
//! [2/3] STEP 1/2: FROM debian (cached)            stays
//! [1/3] STEP 3/4: RUN make test 12s               drawn again
//!   | test 17 of 90                               drawn again
//! ```
//!
//! Invariant: after each drawing the cursor stands below the last line and the terminal is in its usual state. What is in here is pure but
//! for the clock, which is handed in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::build::{Event, StagePlace};

/// Lines of a command's output that are shown when it fails.
const TAIL: usize = 20;
/// Letters of such a line that are kept.
const LONGEST: usize = 2000;
/// A step that took less is not said to have taken time.
const WORTH_SAYING: Duration = Duration::from_millis(100);

/// What the terminal shows.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// Before each line of a step: the platform, if there are several.
    prefix: String,
    stages: Vec<Stage>,
}

/// A stage that is at work.
#[derive(Debug)]
struct Stage {
    place: StagePlace,
    /// `STEP 2/4: RUN make`
    step: String,
    begun: Duration,
    is_cached: bool,
    output: VecDeque<String>,
}

impl Screen {
    /// An empty one.
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix, stages: Vec::new() }
    }

    /// Takes in what happened at `now`; the lines that stay are the answer. What is told to nobody by the step itself is not asked here.
    pub(super) fn tell(&mut self, event: &Event, now: Duration) -> Vec<String> {
        match event {
            Event::Step { stage, number, of, text } => {
                let done = self.end_step(*stage, now);
                let step = format!("STEP {number}/{of}: {text}");
                let entry = Stage { place: *stage, step, begun: now, is_cached: false, output: VecDeque::new() };
                self.stages.push(entry);
                self.stages.sort_by_key(|stage| stage.place.number);
                done
            }
            Event::Cached { stage, .. } => {
                if let Some(stage) = self.stage(*stage) {
                    stage.is_cached = true;
                }
                Vec::new()
            }
            Event::Output { stage, line, .. } => {
                if let Some(stage) = self.stage(*stage) {
                    if stage.output.len() == TAIL {
                        stage.output.pop_front();
                    }
                    stage.output.push_back(last_state(line).chars().take(LONGEST).collect());
                }
                Vec::new()
            }
            Event::StageEnded { stage, is_built: true } => self.end_step(*stage, now),
            Event::StageEnded { stage, is_built: false } => {
                let output = self.stage(*stage).map(|stage| std::mem::take(&mut stage.output)).unwrap_or_default();
                let mut lines = self.end_step(*stage, now);
                lines.extend(output.into_iter().map(|line| format!("  | {line}")));
                lines
            }
            _ => Vec::new(),
        }
    }

    /// The lines that are drawn again, at most `height`. Of those that `width` is not enough for, the time is not what is cut off.
    pub(super) fn lines(&self, now: Duration, (width, height): (usize, usize)) -> Vec<String> {
        let mut lines = Vec::new();
        // With less room a stage has one line, and with still less some have none.
        let has_output = self.stages.len() * 2 <= height;
        for stage in &self.stages {
            let elapsed = now.saturating_sub(stage.begun);
            let time = if elapsed.as_secs() > 0 { format!(" {}", shown(elapsed)) } else { String::new() };
            let step = format!("{}{}", self.before(stage.place), stage.step);
            let room = width.saturating_sub(time.len() + 1);
            lines.push(format!("{}{time}", step.chars().take(room).collect::<String>()));
            if let Some(last) = stage.output.iter().rev().find(|line| !line.trim().is_empty()).filter(|_| has_output) {
                lines.push(format!("  | {last}"));
            }
        }
        let more = lines.len().saturating_sub(height);
        if more > 0 {
            lines.truncate(height.saturating_sub(1));
            lines.push(format!("and {} more", more + 1));
        }
        lines
    }

    fn stage(&mut self, place: StagePlace) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|stage| stage.place == place)
    }

    fn end_step(&mut self, place: StagePlace, now: Duration) -> Vec<String> {
        let Some(at) = self.stages.iter().position(|stage| stage.place == place) else { return Vec::new() };
        let stage = self.stages.remove(at);
        let elapsed = now.saturating_sub(stage.begun);
        let how = match elapsed {
            _ if stage.is_cached => " (cached)".to_owned(),
            elapsed if elapsed >= WORTH_SAYING => format!(" ({})", precise(elapsed)),
            _ => String::new(),
        };
        vec![format!("{}{}{how}", self.before(place), stage.step)]
    }

    fn before(&self, place: StagePlace) -> String {
        if place.of > 1 { format!("{}[{}/{}] ", self.prefix, place.number, place.of) } else { self.prefix.clone() }
    }
}

/// What a terminal would show of a line in which a command went back to the start.
fn last_state(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    line.rsplit('\r').next().unwrap_or(line)
}

/// `7s`, `2m07s`, `1h02m`
fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

fn precise(time: Duration) -> String {
    if time.as_secs() < 60 { format!("{:.1}s", time.as_secs_f64()) } else { shown(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::OutputStream;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn step(number: usize, text: &str, stage: usize) -> Event {
        Event::Step { stage: StagePlace { number: stage, of: 2 }, number, of: 2, text: text.to_owned() }
    }

    fn output(stage: usize, line: &str) -> Event {
        let stage = StagePlace { number: stage, of: 2 };
        Event::Output { stage, stream: OutputStream::Stdout, line: line.to_owned() }
    }

    #[test]
    fn stages_have_lines_until_they_are_built() {
        let mut screen = Screen::default();
        let place = |number| StagePlace { number, of: 2 };
        assert!(screen.tell(&step(1, "FROM b", 2), at(0)).is_empty());
        assert!(screen.tell(&step(1, "FROM a", 1), at(0)).is_empty());
        assert_eq!(screen.lines(at(10), (80, 10)), ["[1/2] STEP 1/2: FROM a", "[2/2] STEP 1/2: FROM b"]);
        screen.tell(&Event::Cached { stage: place(2), image: "x".into() }, at(20));
        assert_eq!(screen.tell(&step(2, "RUN make", 2), at(30)), ["[2/2] STEP 1/2: FROM b (cached)"]);
        screen.tell(&output(2, "10%\r50%\r"), at(40));
        screen.tell(&output(2, "  "), at(40));
        let lines = ["[1/2] STEP 1/2: FROM a 1m07s", "[2/2] STEP 2/2: RUN make 1m07s", "  | 50%"];
        assert_eq!(screen.lines(at(67_100), (80, 10)), lines);
        assert_eq!(screen.lines(at(67_100), (80, 3)), lines[..2]);
        assert_eq!(screen.lines(at(67_100), (21, 10))[1], "[2/2] STEP 2/2 1m07s");
        assert_eq!(screen.lines(at(100), (80, 1)), ["and 2 more"]);
        let ended = Event::StageEnded { stage: place(1), is_built: true };
        assert_eq!(screen.tell(&ended, at(1230)), ["[1/2] STEP 1/2: FROM a (1.2s)"]);
        let failed = Event::StageEnded { stage: place(2), is_built: false };
        assert_eq!(screen.tell(&failed, at(4_000_000)), ["[2/2] STEP 2/2: RUN make (1h06m)", "  | 50%", "  |   "]);
        assert!(screen.lines(at(5_000_000), (80, 10)).is_empty());
    }

    #[test]
    fn of_a_long_output_the_end_is_kept() {
        let mut screen = Screen::default();
        screen.tell(&step(2, "RUN x", 1), at(0));
        (0..100).for_each(|number| drop(screen.tell(&output(1, &format!("line {number}")), at(1))));
        let failed = Event::StageEnded { stage: StagePlace { number: 1, of: 2 }, is_built: false };
        let lines = screen.tell(&failed, at(2));
        assert_eq!((lines.len(), lines[1].as_str(), lines[20].as_str()), (21, "  | line 80", "  | line 99"));
    }
}
