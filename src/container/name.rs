//! The names that a person may give to a working container: those that every tool on the store accepts.

/// The longest name in bytes; host names and file names made of it must not be longer.
const MAX_BYTES: usize = 255;

/// A text that cannot be the name of a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid container name {0:?}: a name has 1 to 255 letters, digits, dots, dashes and underscores, and starts with a letter or digit"
)]
pub struct InvalidName(String);

/// Accepts what podman does, `[a-zA-Z0-9][a-zA-Z0-9_.-]*`: nothing that could be a path, a flag or a line of its own.
pub(super) fn check(name: &str) -> Result<(), InvalidName> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts_well && name.len() <= MAX_BYTES && name.bytes().all(is_inner) {
        return Ok(());
    }
    Err(InvalidName(name.chars().take(MAX_BYTES).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_be_paths_flags_or_lines() {
        for good in ["a", "Web-1", "busybox-working-container", "1.2_3", &"x".repeat(255)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "../../x", "a/b", "-x", "_x", "a b", "a\nb", "a\0", "ä", &"x".repeat(256)] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
