//! When another place than the store is asked: the words of `--pull` and `--policy`. Pure.

/// When an image should be looked for elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// What is in the store is taken; what is not would be pulled.
    #[default]
    Missing,
    /// Only the store counts.
    Never,
    /// The registry is always asked.
    Always,
    /// The registry is asked whether it has a newer one; what is in the store will do if it cannot be reached.
    Newer,
}

/// A word that is no pull policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized pull policy {0:?}")]
pub struct UnknownPullPolicy(pub String);

impl std::str::FromStr for PullPolicy {
    type Err = UnknownPullPolicy;

    fn from_str(word: &str) -> Result<Self, UnknownPullPolicy> {
        match word.to_ascii_lowercase().as_str() {
            "missing" | "ifmissing" | "notpresent" => Ok(Self::Missing),
            "never" | "false" => Ok(Self::Never),
            "always" | "true" => Ok(Self::Always),
            "newer" | "ifnewer" => Ok(Self::Newer),
            _ => Err(UnknownPullPolicy(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_words_are_buildahs() {
        for (word, want) in [
            ("missing", PullPolicy::Missing),
            ("ifmissing", PullPolicy::Missing),
            ("NotPresent", PullPolicy::Missing),
            ("true", PullPolicy::Always),
            ("always", PullPolicy::Always),
            ("false", PullPolicy::Never),
            ("newer", PullPolicy::Newer),
        ] {
            assert_eq!(word.parse::<PullPolicy>().unwrap(), want, "{word}");
        }
        for word in ["", "sometimes"] {
            assert!(word.parse::<PullPolicy>().is_err(), "{word:?}");
        }
    }
}
