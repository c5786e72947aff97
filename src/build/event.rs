//! What happens in a build, for whoever tells a person. Values own what they hold, so that they can go from one process to another.

use std::fmt;

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Event {
    /// An instruction is next.
    Step {
        /// In which stage.
        stage: StagePlace,
        /// Its number in the stage, from 1; FROM is the first.
        number: usize,
        /// How many there are.
        of: usize,
        /// As written, without its here-documents but for a hint at the first.
        text: String,
    },
    /// The step is not taken: there is an image of an earlier build.
    Cached {
        /// In which stage.
        stage: StagePlace,
        /// The image.
        image: String,
    },
    /// The image of the step was at another place (`--cache-from`).
    Pulled {
        /// In which stage.
        stage: StagePlace,
        /// Place and key.
        from: String,
    },
    /// The image of the step is sent to another place (`--cache-to`).
    Sending {
        /// In which stage.
        stage: StagePlace,
        /// Place and key.
        to: String,
    },
    /// The step has to be taken, though steps are looked up.
    Missed {
        /// In which stage.
        stage: StagePlace,
        /// Why.
        reason: Missed,
    },
    /// There is an image now: of a step, or in the end.
    Made {
        /// Of which stage.
        stage: StagePlace,
        /// Its ID.
        image: String,
    },
    /// The stage that was asked for becomes an image.
    Commit {
        /// Which stage that is.
        stage: StagePlace,
        /// The image's name as it was given.
        name: Option<String>,
    },
    /// Something went another way than expected, though the work goes on: a line of standard error.
    Warning(String),
    /// Something that a person should know: the same.
    Notice(String),
    /// Arguments were given that no ARG declares.
    UnusedArguments(Vec<String>),
    /// The image has this name.
    Tagged(String),
    /// A line that a command printed, where stages are built at the same time or the caller follows what is printed.
    Output {
        /// In which stage.
        stage: StagePlace,
        /// Where it printed it.
        stream: OutputStream,
        /// Without its end.
        line: String,
    },
    /// No further step of a stage is taken.
    StageEnded {
        /// Which stage that is.
        stage: StagePlace,
        /// Whether there is something that came of it.
        is_built: bool,
    },
    /// Nothing has happened for a while, to whoever follows a build live.
    Idle,
    /// A stage has a working container now. For the build itself.
    ContainerMade(String),
    /// The one of a step that failed is to stay. For the build itself.
    ContainerLeft(String),
    /// It has one that keeps its images there. For the build itself.
    HolderMade(String),
}

/// Where a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which stage of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StagePlace {
    /// Its number, from 1.
    pub number: usize,
    /// How many there are up to the one that was asked for.
    pub of: usize,
}

/// Why there is no image for a step.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Missed {
    /// A step before it was taken.
    AfterMiss,
    /// No build took this instruction here.
    New,
    /// The last time this input was another one.
    Changed {
        /// Its name, as `source src/` or `argument VERSION`.
        input: String,
    },
    /// The image of the last time is gone.
    ImageGone,
    /// It is older than it may be.
    TooOld,
    /// The caller wants every step to be taken.
    NotWanted,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterMiss => f.write_str("a step before it ran"),
            Self::New => f.write_str("no build ran it here before"),
            Self::Changed { input } => write!(f, "{input} changed since the last time"),
            Self::ImageGone => f.write_str("the image of the last time was removed"),
            Self::TooOld => f.write_str("the image of the last time is too old"),
            Self::NotWanted => f.write_str("no step may come from the cache"),
        }
    }
}

/// Who is told.
pub type Tell<'a> = &'a mut dyn FnMut(Event);
