//! Which engine executes a description.
//!
//! Invariant: an unknown name is an error, never a weaker engine (GHSA-7236-3392-c5c6).

use super::Error;

/// The engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// The built-in runtime; Buildah's name for what an unprivileged caller gets is `rootless`.
    #[default]
    Native,
}

impl Isolation {
    /// Parses `--isolation`, `BUILDAH_ISOLATION`: `rootless` and `default` name the built-in runtime, `oci` and `chroot` are
    /// refused by name.
    pub fn parse(name: &str) -> Result<Self, Error> {
        match name.to_ascii_lowercase().as_str() {
            "rootless" | "default" | "" => Ok(Self::Native),
            _ => Err(Error::Isolation(name.to_string())),
        }
    }
}
