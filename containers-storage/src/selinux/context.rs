//! One security context: `user:role:type[:level]`. Pure.

use std::fmt;

use super::Error;

/// A context, with the text of its parts as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The SELinux user.
    pub user: String,
    /// The role.
    pub role: String,
    /// The type, or domain.
    pub kind: String,
    /// The range of levels; empty where the policy has none.
    pub level: String,
}

impl Context {
    /// Parses a label. Characters that no policy has, and that mount options or files of the kernel's would take for their own, are refused.
    pub fn parse(label: &str) -> Result<Self, Error> {
        let mut parts = label.splitn(4, ':').map(str::to_owned);
        let (Some(user), Some(role), Some(kind)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::InvalidLabel(label.to_owned()));
        };
        let context = Self { user, role, kind, level: parts.next().unwrap_or_default() };
        if label.bytes().all(is_plain) { Ok(context) } else { Err(Error::InvalidLabel(label.to_owned())) }
    }

    /// The same with another level.
    #[must_use]
    pub fn with_level(&self, level: &str) -> Self {
        Self { level: level.to_owned(), ..self.clone() }
    }
}

/// Whether a byte may be in a context.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'=')
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, role, kind, level } = self;
        write!(f, "{user}:{role}:{kind}")?;
        if level.is_empty() { Ok(()) } else { write!(f, ":{level}") }
    }
}
