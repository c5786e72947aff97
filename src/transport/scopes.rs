//! Scopes of policy.json(5) for paths.

use std::path::Path;

/// The absolute path and the directories above it, the narrowest first; `/` is none, since the whole transport has `""`.
pub(super) fn of_path(path: &Path) -> Vec<String> {
    let resolved = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    let Ok(resolved) = resolved else { return Vec::new() };
    resolved.ancestors().filter(|path| path.parent().is_some()).map(|path| path.display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_above_is_a_scope_but_the_root() {
        assert_eq!(of_path(Path::new("/nonexistent/b/c")), ["/nonexistent/b/c", "/nonexistent/b", "/nonexistent"]);
        assert_eq!(of_path(Path::new("/")), Vec::<String>::new());
    }
}
