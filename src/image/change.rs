//! `Change`: every edit that `config`, `commit --change` and the metadata instructions of a Dockerfile can make.
//!
//! One list for all three, so that they cannot differ. A `Change` is data: applying it is [`super::Draft::apply`].

use std::fmt;

use super::config::Healthcheck;

/// One edit of a [`super::Draft`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Replaces the command; empty removes it.
    Cmd(Vec<String>),
    /// Replaces the entrypoint; empty removes it.
    Entrypoint(Vec<String>),
    /// Sets a variable to the text as it is.
    SetEnv {
        /// Name of the variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// Sets variables, names with their values, in their order.
    SetEnvs(Vec<(String, String)>),
    /// Sets a variable to `template` with `$NAME` and `${NAME}` replaced from the draft's own variables (`config --env`).
    ExpandEnv {
        /// Name of the variable.
        name: String,
        /// Its value before replacement.
        template: String,
    },
    /// Removes a variable.
    UnsetEnv(String),
    /// Removes all variables.
    ClearEnv,
    /// Sets a label.
    SetLabel {
        /// Key.
        key: String,
        /// Value.
        value: String,
    },
    /// Removes a label.
    UnsetLabel(String),
    /// Removes all labels.
    ClearLabels,
    /// Sets an annotation.
    SetAnnotation {
        /// Key.
        key: String,
        /// Value.
        value: String,
    },
    /// Removes an annotation.
    UnsetAnnotation(String),
    /// Removes all annotations.
    ClearAnnotations,
    /// Sets an annotation of the layer to come.
    SetLayerAnnotation {
        /// Key.
        key: String,
        /// Value.
        value: String,
    },
    /// Removes an annotation of the layer to come.
    UnsetLayerAnnotation(String),
    /// Removes all annotations of the layer to come.
    ClearLayerAnnotations,
    /// Adds a port, as it is.
    Expose(String),
    /// Removes a port.
    Unexpose(String),
    /// Removes all ports.
    ClearPorts,
    /// Adds a volume.
    AddVolume(String),
    /// Removes a volume.
    RemoveVolume(String),
    /// Removes all volumes.
    ClearVolumes,
    /// Sets the user.
    User(String),
    /// Sets the working directory as it is (`config --workingdir`).
    WorkingDir(String),
    /// Sets the working directory; a relative path is joined to the present one (`WORKDIR`).
    EnterDir(String),
    /// Adds an ONBUILD trigger (Docker only).
    OnBuild(String),
    /// Removes the ONBUILD triggers (Docker only).
    ClearOnBuild,
    /// Sets the stop signal.
    StopSignal(String),
    /// Replaces the health check (Docker only). `None` removes it.
    Healthcheck(Option<Healthcheck>),
    /// Changes members of the health check, with defaults if there is none yet (`config --healthcheck*`, Docker only).
    EditHealthcheck(HealthcheckEdit),
    /// Sets the shell (Docker only).
    Shell(Vec<String>),
    /// Sets the host name (Docker only).
    Hostname(String),
    /// Sets the NIS domain name (Docker only).
    Domainname(String),
    /// Sets the author.
    Author(String),
    /// Sets the comment (Docker only).
    Comment(String),
    /// Sets the architecture.
    Architecture(String),
    /// Sets the variant of the architecture.
    Variant(String),
    /// Sets the operating system.
    Os(String),
    /// Sets the version of the operating system.
    OsVersion(String),
    /// Adds an operating system feature.
    AddOsFeature(String),
    /// Removes an operating system feature.
    RemoveOsFeature(String),
    /// Removes all operating system features.
    ClearOsFeatures,
    /// Sets `created_by` of the next history entry.
    CreatedBy(String),
    /// Sets `comment` of the next history entry.
    HistoryComment(String),
}

/// Members of a health check to replace; durations in ns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthcheckEdit {
    /// The test.
    pub test: Option<Vec<String>>,
    /// Time between two checks.
    pub interval: Option<i64>,
    /// Time after which a check has failed.
    pub timeout: Option<i64>,
    /// Time in which failures do not count.
    pub start_period: Option<i64>,
    /// Time between checks in the start period.
    pub start_interval: Option<i64>,
    /// Failures in a row that make a container unhealthy.
    pub retries: Option<i64>,
}

/// Something that a change could not do in full. `Display` is the line for stderr, in the other tools' words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub(super) String);

impl Warning {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
