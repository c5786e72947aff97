//! The keywords that instructions begin with.

use std::fmt;

use super::error::nearest;

/// What an instruction begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each stands for the word of the same name")]
pub enum Keyword {
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
}

impl Keyword {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Add,
        Self::Arg,
        Self::Cmd,
        Self::Copy,
        Self::Entrypoint,
        Self::Env,
        Self::Expose,
        Self::From,
        Self::Healthcheck,
        Self::Label,
        Self::Maintainer,
        Self::OnBuild,
        Self::Run,
        Self::Shell,
        Self::StopSignal,
        Self::User,
        Self::Volume,
        Self::Workdir,
    ];

    /// As it is usually written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Arg => "ARG",
            Self::Cmd => "CMD",
            Self::Copy => "COPY",
            Self::Entrypoint => "ENTRYPOINT",
            Self::Env => "ENV",
            Self::Expose => "EXPOSE",
            Self::From => "FROM",
            Self::Healthcheck => "HEALTHCHECK",
            Self::Label => "LABEL",
            Self::Maintainer => "MAINTAINER",
            Self::OnBuild => "ONBUILD",
            Self::Run => "RUN",
            Self::Shell => "SHELL",
            Self::StopSignal => "STOPSIGNAL",
            Self::User => "USER",
            Self::Volume => "VOLUME",
            Self::Workdir => "WORKDIR",
        }
    }

    /// The flags that may stand before its arguments.
    pub const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Add => &["chown", "chmod", "checksum", "exclude", "keep-git-dir", "link", "unpack"],
            Self::Copy => &["from", "chown", "chmod", "exclude", "link", "parents"],
            Self::From => &["platform", "after"],
            Self::Healthcheck => &["interval", "timeout", "start-period", "start-interval", "retries"],
            Self::Run => &["mount", "network", "security", "device"],
            _ => &[],
        }
    }

    /// Whether here-documents may follow it.
    pub(super) const fn takes_heredocs(self) -> bool {
        matches!(self, Self::Run | Self::Copy | Self::Add)
    }

    /// Whether it changes nothing but the configuration.
    pub const fn is_change(self) -> bool {
        !matches!(self, Self::Add | Self::Arg | Self::Copy | Self::From | Self::Run)
    }

    /// The keyword that `word` is, in any case.
    pub fn find(word: &str) -> Option<Self> {
        // Most words differ in length or in the first letter already; files of a million lines are read, too.
        let first = word.bytes().next()?.to_ascii_uppercase();
        let may = |name: &str| name.len() == word.len() && name.as_bytes().first() == Some(&first);
        Self::ALL.into_iter().find(|keyword| may(keyword.name()) && keyword.name().eq_ignore_ascii_case(word))
    }

    /// The keyword that `word` was probably meant to be, of those that may be there.
    pub(super) fn nearest(word: &str, may_be: impl Fn(Self) -> bool) -> Option<Self> {
        let word = word.split(|c: char| !c.is_alphabetic()).next().unwrap_or(word);
        let known = Self::ALL.into_iter().filter(|keyword| may_be(*keyword));
        nearest(word, known.map(|keyword| (keyword, keyword.name())))
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
