//! What happens in a build, in words for people or for programs (inventory 1.2.2).
//!
//! ```text
//!                 standard output                               standard error
//! usual           STEP, -->, COMMIT, tags, what RUN prints      warnings, what RUN prints
//! plain           the same                                      and why a step did not come from the cache
//! terminal        steps that are done, tags                     warnings, and in place what is at work (`screen`)
//! json            nothing                                       one object a line
//! quiet           the ID, or an archive                         warnings, what RUN prints there
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::screen::Screen;
use crate::build::options::Following;
use crate::build::{Event, OutputStream, StagePlace};
use crate::commands::{CommandError, Ui};
use crate::transport::copy::Platform;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As Buildah does.
    Usual,
    /// The same, and why a step did not come from the cache.
    Explained,
    /// On a terminal, drawn again in place.
    Terminal,
    /// For programs.
    Json,
    /// Not at all, and what RUN prints is no answer either: standard output is for the ID, or for an archive.
    Quiet,
}

impl Style {
    /// How closely a build has to be followed for it.
    pub(super) fn following(self) -> Following {
        match self {
            Self::Terminal => Following::Live,
            Self::Json => Following::Output,
            Self::Usual | Self::Explained | Self::Quiet => Following::Steps,
        }
    }
}

/// How often a terminal is drawn while commands print.
const INTERVAL: Duration = Duration::from_millis(100);
/// Columns and lines of a terminal that does not say how many it has.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// What stands on a terminal now.
pub(super) struct Terminal {
    screen: Screen,
    begun: Instant,
    at: Option<Instant>,
    /// What the next drawing replaces.
    drawn: Vec<String>,
}

impl Terminal {
    /// An empty one; `platform` is that of the build, if there are several.
    pub(super) fn new(platform: Option<&Platform>) -> Self {
        let prefix = platform.map(|platform| format!("[{}] ", shown(platform))).unwrap_or_default();
        Self { screen: Screen::new(prefix), begun: Instant::now(), at: None, drawn: Vec::new() }
    }

    /// Takes away what would be drawn again.
    fn clear(&mut self) {
        let drawn = std::mem::take(&mut self.drawn);
        if !drawn.is_empty() {
            Ui::redraw(drawn.len(), &[]);
        }
    }

    fn draw(&mut self) {
        let size = rustix::termios::tcgetwinsize(std::io::stderr());
        let or = |count: u16, usual| if count == 0 { usual } else { usize::from(count) };
        let (width, height) = size.map_or(USUAL_SIZE, |size| (or(size.ws_col, USUAL_SIZE.0), or(size.ws_row, USUAL_SIZE.1)));
        let lines = self.screen.lines(self.begun.elapsed(), (width, (height / 2).max(1)));
        if lines != self.drawn {
            Ui::redraw(self.drawn.len(), &lines);
            self.drawn = lines;
        }
        self.at = Some(Instant::now());
    }
}

/// Tells a person what happens.
pub(super) struct Reporter<'u> {
    pub(super) ui: &'u mut Ui,
    pub(super) style: Style,
    /// For `Style::Terminal`.
    pub(super) terminal: Option<Terminal>,
    /// One of several platforms, which each line of a step names.
    pub(super) platform: Option<Platform>,
    /// The ID goes to a file, and is printed nowhere.
    pub(super) hides_ids: bool,
    /// Whether a program reads what is said, however little that is.
    pub(super) is_for_programs: bool,
    /// The stages that have begun and not ended.
    pub(super) at_work: BTreeSet<usize>,
    /// What could not be printed: the build goes on, and ends with this.
    pub(super) failure: Option<CommandError>,
}

impl Reporter<'_> {
    /// Tells of one event.
    pub(super) fn tell(&mut self, event: &Event) {
        match event {
            Event::Step { stage, .. } => drop(self.at_work.insert(stage.number)),
            Event::StageEnded { stage, .. } => drop(self.at_work.remove(&stage.number)),
            _ => {}
        }
        let is_trouble = matches!(event, Event::Warning(_) | Event::Notice(_));
        let told = match self.style {
            style if style == Style::Json || self.is_for_programs && is_trouble => {
                if let Some(document) = document(event, self.platform.as_ref()) {
                    Ui::document(&document);
                }
                Ok(())
            }
            Style::Terminal => self.show(event),
            style => self.say(event, style),
        };
        if let Err(error) = told {
            self.failure.get_or_insert(error);
        }
    }

    /// Leaves a terminal as it was: nothing below what stays.
    pub(super) fn end(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.clear();
        }
    }

    /// Shows one event on the terminal.
    fn show(&mut self, event: &Event) -> Result<(), CommandError> {
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        let lasting = terminal.screen.tell(event, terminal.begun.elapsed());
        let is_moving = matches!(event, Event::Output { .. } | Event::Idle | Event::Cached { .. });
        if is_moving && lasting.is_empty() {
            if terminal.at.is_none_or(|at| at.elapsed() >= INTERVAL) {
                terminal.draw();
            }
            return Ok(());
        }
        terminal.clear();
        for line in lasting {
            self.ui.data(line)?;
        }
        self.ui.finish()?;
        // Of the rest, what has no place on the screen.
        if matches!(event, Event::Warning(_) | Event::Notice(_) | Event::UnusedArguments(_) | Event::Tagged(_)) {
            self.say(event, Style::Terminal)?;
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.draw();
        }
        Ok(())
    }

    fn say(&mut self, event: &Event, style: Style) -> Result<(), CommandError> {
        if let Event::Warning(text) | Event::Notice(text) = event {
            // In order with what goes to standard output.
            self.ui.finish()?;
            match event {
                Event::Warning(_) => self.ui.warning(text),
                _ => self.ui.note(text),
            }
            return Ok(());
        }
        if let Event::Output { stage, stream, line } = event {
            return self.output(*stage, *stream, line);
        }
        if style == Style::Quiet {
            return Ok(());
        }
        let line = match event {
            Event::Step { stage, number, of, text } => format!("{}STEP {number}/{of}: {text}", self.prefix(*stage)),
            Event::Cached { image, .. } => format!("--> Using cache {image}"),
            Event::Pulled { from, .. } => format!("--> Cache pulled from remote {from}"),
            Event::Sending { to, .. } => format!("--> Pushing cache {to}"),
            Event::Missed { stage, reason } if style == Style::Explained => {
                self.ui.finish()?;
                self.ui.note(format!("{}--> Not from the cache: {reason}", self.beside(*stage)));
                return Ok(());
            }
            Event::Made { .. } if self.hides_ids => return Ok(()),
            Event::Made { image, .. } => format!("--> {}", image.get(..12).unwrap_or(image)),
            Event::Commit { stage, name: Some(name) } => format!("{}COMMIT {name}", self.prefix(*stage)),
            Event::Commit { stage, name: None } => format!("{}COMMIT", self.prefix(*stage)),
            Event::UnusedArguments(names) => {
                format!("[Warning] one or more build args were not consumed: [{}]", names.join(" "))
            }
            Event::Tagged(name) if self.platform.is_none() => format!("Successfully tagged {name}"),
            Event::Missed { .. } | Event::Tagged(_) | Event::Warning(_) | Event::Notice(_) => return Ok(()),
            Event::Output { .. } | Event::StageEnded { .. } | Event::Idle => return Ok(()),
            Event::ContainerMade(_) | Event::ContainerLeft(_) | Event::HolderMade(_) => return Ok(()),
        };
        self.ui.data(line)?;
        // What RUN prints comes after it.
        self.ui.finish()
    }

    /// What a command printed while stages are built at the same time: each line says of which stage it is, unless it is of the last.
    fn output(&mut self, stage: StagePlace, stream: OutputStream, line: &str) -> Result<(), CommandError> {
        // All that it needs is done when that begins.
        let prefix = if stage.number == stage.of { String::new() } else { self.prefix(stage) };
        let line = format!("{prefix}{line}\n");
        match stream {
            OutputStream::Stdout if self.style == Style::Quiet => Ok(()),
            OutputStream::Stdout => {
                self.ui.exact(line.as_bytes())?;
                self.ui.finish()
            }
            OutputStream::Stderr => {
                self.ui.finish()?;
                // As the command wrote it, like what it prints on its own.
                Ui::draw(&line);
                Ok(())
            }
        }
    }

    /// Before a line of ours that follows that of a step: the stage, if another one is at work, too, whose step may stand between. Lines that
    /// Buildah has as well are as scripts know them.
    fn beside(&self, stage: StagePlace) -> String {
        if self.at_work.len() > 1 { self.prefix(stage) } else { String::new() }
    }

    fn prefix(&self, stage: StagePlace) -> String {
        let platform = self.platform.as_ref().map(|platform| format!("[{}] ", shown(platform))).unwrap_or_default();
        if stage.of > 1 { format!("{platform}[{}/{}] ", stage.number, stage.of) } else { platform }
    }
}

/// `OS/ARCH[/VARIANT]`
pub(super) fn shown(platform: &Platform) -> String {
    let Platform { os, architecture, variant } = platform;
    if variant.is_empty() { format!("{os}/{architecture}") } else { format!("{os}/{architecture}/{variant}") }
}

/// Something that goes on in another way than was expected.
pub(super) fn warning(text: &str) -> Value {
    json!({"event": "warning", "text": text})
}

/// How a build failed.
pub(super) fn failure(error: &CommandError) -> Value {
    let mut document = json!({"event": "error", "text": error.text(), "hints": error.hints(), "status": error.exit_status()});
    if let (Some(excerpt), Value::Object(members)) = (error.excerpt(), &mut document) {
        members.insert("excerpt".to_owned(), excerpt.into());
    }
    document
}

/// An event as JSON, unless it is only for people. The members of each kind are listed in coracle-build.1.
fn document(event: &Event, platform: Option<&Platform>) -> Option<Value> {
    let mut document = match event {
        Event::Step { stage, number, of, text } => {
            json!({"event": "step", "stage": stage.number, "stages": stage.of, "step": number, "steps": of, "text": text})
        }
        Event::Cached { stage, image } => {
            json!({"event": "cached", "stage": stage.number, "stages": stage.of, "image": image})
        }
        Event::StageEnded { stage, is_built } => {
            json!({"event": "stage", "stage": stage.number, "stages": stage.of, "built": is_built})
        }
        Event::Pulled { stage, from } => {
            json!({"event": "cache-pulled", "stage": stage.number, "stages": stage.of, "from": from})
        }
        Event::Sending { stage, to } => json!({"event": "cache-push", "stage": stage.number, "stages": stage.of, "to": to}),
        Event::Missed { stage, reason } => {
            json!({"event": "missed", "stage": stage.number, "stages": stage.of, "reason": reason.to_string()})
        }
        Event::Made { stage, image } => json!({"event": "image", "stage": stage.number, "stages": stage.of, "image": image}),
        Event::Commit { stage, name } => {
            json!({"event": "commit", "stage": stage.number, "stages": stage.of, "name": name})
        }
        Event::Warning(text) => warning(text),
        Event::Notice(text) => json!({"event": "notice", "text": text}),
        Event::UnusedArguments(names) => json!({"event": "unused-arguments", "names": names}),
        Event::Tagged(name) => json!({"event": "tagged", "name": name}),
        Event::Output { stage, stream, line } => {
            let stream = if *stream == OutputStream::Stdout { "stdout" } else { "stderr" };
            json!({"event": "output", "stage": stage.number, "stages": stage.of, "stream": stream, "line": line})
        }
        Event::ContainerMade(_) | Event::ContainerLeft(_) | Event::HolderMade(_) | Event::Idle => return None,
    };
    if let (Some(platform), Value::Object(members)) = (platform, &mut document) {
        members.insert("platform".to_owned(), shown(platform).into());
    }
    Some(document)
}
