//! What a process that builds a stage says to the one that waits for it: events, each of which is answered before the stage goes on, and at
//! last what was built or why not; then it is told what to do next (`Order`). A message is its length (4 bytes, little endian) and
//! as many bytes of JSON.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::args::{self, Scope};
use super::error::{Error, Remote, StepError};
use super::event::Event;
use super::stage::{Build, Built, Tree};
use crate::image::{Change, Draft, ImageConfig};

/// No message is longer: an image's config has 4 MiB at most.
const LONGEST: u32 = 64 << 20;
/// The answer to an event.
const HEARD: [u8; 1] = [1];

/// One message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// Something happens.
    Event(Event),
    /// The stage is built.
    Built(Box<Report>),
    /// It cannot begin before these others are.
    Lacks(Vec<usize>),
    /// It has to begin again, after these others.
    Lost(Vec<usize>),
    /// It is not.
    Failed(Box<Remote>),
}

/// What a process that has built a stage is to do next.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Another stage.
    Build {
        /// Which.
        stage: usize,
        /// What became of stages that it does not know.
        news: Vec<(usize, Report)>,
    },
    /// To end.
    End,
}

/// `Built`, as another process can read it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    image: Option<String>,
    container: Option<String>,
    holder: Option<String>,
    is_passing: bool,
    is_bare: bool,
    scope: args::Declared,
    config: String,
    below: String,
    annotations: BTreeMap<String, String>,
    lineage: Vec<(String, String)>,
}

impl Report {
    /// Of a stage that was built here.
    pub(super) fn of(built: &Built<'_>) -> Self {
        let (image, container) = match &built.tree {
            Tree::Image(image) => (image.as_ref().map(|image| image.found.id.to_string()), None),
            Tree::Container(id) => (None, Some(id.to_string())),
        };
        let pair = |change: &Change| match change {
            Change::SetAnnotation { key, value } => Some((key.clone(), value.clone())),
            _ => None,
        };
        Self {
            image,
            container,
            holder: built.holder.as_ref().map(ToString::to_string),
            is_passing: built.is_passing,
            is_bare: built.is_bare,
            scope: built.scope.declared(),
            config: String::from_utf8_lossy(&built.draft.config.to_docker()).into_owned(),
            below: built.below.to_string(),
            annotations: built.draft.annotations.clone(),
            lineage: built.lineage.iter().filter_map(pair).collect(),
        }
    }

    /// Whether the stage is an image, or nothing: no container of it is left.
    pub(super) fn is_image(&self) -> bool {
        self.container.is_none()
    }

    /// The stage that another process built.
    pub(super) fn into_built<'h>(self, build: &Build<'h>) -> Result<Built<'h>, StepError> {
        let damaged = |what: &str| StepError::Word(format!("the process that built the stage told no {what}"));
        let tree = match (self.image, self.container) {
            (Some(id), _) => {
                let id = id.parse().map_err(|_| damaged("image"))?;
                Tree::Image(Some(Box::new(build.found(&id)?)))
            }
            (None, Some(id)) => Tree::Container(id.parse().map_err(|_| damaged("container"))?),
            (None, None) => Tree::Image(None),
        };
        let config = ImageConfig::parse(self.config.as_bytes()).map_err(|_| damaged("configuration"))?;
        let draft = Draft { format: build.options.image.format, config, annotations: self.annotations, ..Draft::default() };
        let set = |(key, value)| Change::SetAnnotation { key, value };
        let holder = self.holder.map(|id| id.parse().map_err(|_| damaged("holder"))).transpose()?;
        Ok(Built {
            tree,
            holder,
            is_passing: self.is_passing,
            is_bare: self.is_bare,
            scope: Scope::of(build.heading, self.scope),
            draft,
            below: self.below.parse().map_err(|_| damaged("identity"))?,
            lineage: self.lineage.into_iter().map(set).collect(),
        })
    }
}

/// Why a stage was not built, for another process.
pub(super) fn failure(build: &Build<'_>, error: &Error) -> Remote {
    let explained = (build.options.explain)(error);
    let hints = explained.hints.into_iter().chain(error.hints()).collect();
    let span = error.span().map(|span| (span.file, span.start, span.end));
    Remote { text: explained.text, hints, span, status: error.exit_status(), errno: explained.errno }
}

/// Says it: a `Message`, or an `Order`.
pub(super) fn send(to: &mut File, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&text);
    to.write_all(&bytes)
}

/// Waits until it was heard.
pub(super) fn await_answer(from: &mut File) -> io::Result<()> {
    from.read_exact(&mut [0; 1])
}

/// Says that an event was heard. Whoever is gone does not wait for it.
pub(super) fn answer(to: &mut File) {
    let _ = to.write_all(&HEARD);
}

/// The next message; `None` when nobody is left who could say one.
pub(super) fn receive<T: DeserializeOwned>(from: &mut File) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut text)?;
    match serde_json::from_slice(&text) {
        Ok(message) => Ok(Some(message)),
        // It ended in the middle.
        Err(_) if text.len() < length as usize => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent_and_an_end_is_an_end() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (mut read, mut write) = (File::from(read), File::from(write));
        send(&mut write, &Message::Event(Event::Warning("a\nb".into()))).unwrap();
        write.write_all(&[9, 0, 0, 0, b'"']).unwrap();
        drop(write);
        let Some(Message::Event(event)) = receive(&mut read).unwrap() else { panic!("no event") };
        assert_eq!(event, Event::Warning("a\nb".into()));
        assert!(receive::<Message>(&mut read).unwrap().is_none(), "it was cut off");
        assert!(receive::<Message>(&mut read).unwrap().is_none());
    }
}
