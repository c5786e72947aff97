//! What a person sees while an image is copied: Buildah's lines, or on a terminal one bar for each layer on its way and one for all.
//!
//! ```text
//! several threads ─ Progress ─▶ reporter ─┬─ Bars (pure: what the lines are) ─▶ the terminal, redrawn in place
//!                                         └─ Progress::line ─────────────────▶ one line each
//! ```
//!
//! Invariant: after each drawing the cursor stands below the last line and the terminal is in its usual state, so that an error, Ctrl-C
//! or the end of the process leaves nothing to be put right. Nothing is coloured (`NO_COLOR` has nothing to switch off), nothing is
//! written to standard output, and no thread is started: what moves is what draws.

mod bars;

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::bars::Bars;
use super::Ui;
use super::access::Quiet;
use super::ui::escape;
use crate::transport::Progress;

/// Told what is happening, from any thread.
pub(super) type Reporter = Box<dyn Fn(Progress<'_>) + Send + Sync>;

/// How often the bars are drawn while bytes move.
const INTERVAL: Duration = Duration::from_millis(100);
/// What a terminal has that does not say so.
const USUAL_WIDTH: u16 = 80;

/// What shows the progress of a copy, if anything does.
pub(super) fn reporter(quiet: Quiet) -> Reporter {
    if quiet == Quiet::Yes {
        return Box::new(|_| {});
    }
    // Where a log is written between the lines, none of them stays where it was drawn.
    if !std::io::stderr().is_terminal() || is_dumb() || log::max_level() >= log::LevelFilter::Debug {
        return Box::new(|progress| {
            if let Some(line) = progress.line() {
                Ui::progress(line);
            }
        });
    }
    let screen = Mutex::new(Screen { bars: Bars::default(), begun: Instant::now(), drawn: 0, at: None });
    Box::new(move |progress| screen.lock().unwrap_or_else(PoisonError::into_inner).tell(&progress))
}

/// A terminal that cannot move its cursor.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb")
}

/// The bars as they stand on the terminal.
struct Screen {
    bars: Bars,
    begun: Instant,
    /// Lines that the next drawing replaces.
    drawn: usize,
    at: Option<Instant>,
}

impl Screen {
    fn tell(&mut self, progress: &Progress<'_>) {
        let now = self.begun.elapsed();
        let lasting = self.bars.tell(progress, now);
        let only_moved = matches!(progress, Progress::Moved { .. });
        if only_moved && self.at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        self.at = Some(Instant::now());
        let lines = self.bars.lines(now, usize::from(width()));
        let mut text = if self.drawn > 0 { format!("\x1b[{}A\r\x1b[J", self.drawn) } else { String::new() };
        for line in lasting.iter().map(|line| escape(line)).chain(lines.iter().map(|line| line.as_str().into())) {
            text.push_str(&line);
            text.push('\n');
        }
        self.drawn = lines.len();
        Ui::draw(&text);
    }
}

fn width() -> u16 {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map(|size| size.ws_col).ok().filter(|columns| *columns > 0).unwrap_or(USUAL_WIDTH)
}
