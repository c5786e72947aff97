//! `BUILD_REGISTRY_SOURCES`: which registries a build may use, as OpenShift hands it to its builders.

use serde::Deserialize;

/// Why a registry is not used. The words are the other tools'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The variable is no such JSON.
    #[error("parsing $BUILD_REGISTRY_SOURCES ({text:?}) as JSON: {problem}")]
    Parse {
        /// The variable.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The registry is in the list of those that are not used.
    #[error("registry {domain:?} denied by policy: it is in the blocked registries list ({text})")]
    Blocked {
        /// The registry.
        domain: String,
        /// The variable.
        text: String,
    },
    /// There is a list of registries, and this one is not in it.
    #[error("registry {domain:?} denied by policy: not in allowed registries list ({text})")]
    NotAllowed {
        /// The registry.
        domain: String,
        /// The variable.
        text: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    insecure_registries: Vec<String>,
    blocked_registries: Vec<String>,
    allowed_registries: Vec<String>,
}

/// Whether the registry `domain` may be used, and if so whether it may be one without trusted certificates.
pub(super) fn check(text: Option<&str>, domain: &str) -> Result<bool, Denied> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(false) };
    let document: Document =
        serde_json::from_str(text).map_err(|error| Denied::Parse { text: text.to_owned(), problem: error.to_string() })?;
    let has = |list: &[String]| list.iter().any(|listed| listed == domain);
    let (domain, text) = (domain.to_owned(), text.to_owned());
    match &document {
        sources if has(&sources.blocked_registries) => Err(Denied::Blocked { domain, text }),
        sources if !sources.allowed_registries.is_empty() && !has(&sources.allowed_registries) => {
            Err(Denied::NotAllowed { domain, text })
        }
        sources => Ok(has(&sources.insecure_registries)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_say_yes_and_no() {
        let of = |text: &str| check(Some(text), "a.io").map_err(|error| error.to_string());
        assert_eq!(check(None, "a.io"), Ok(false));
        for text in ["", "{}", r#"{"allowedRegistries":["a.io","b.io"],"x":1}"#, r#"{"blockedRegistries":["b.io"]}"#] {
            assert_eq!(of(text), Ok(false), "{text}");
        }
        assert_eq!(of(r#"{"insecureRegistries":["a.io"]}"#), Ok(true));
        let denied = "registry \"a.io\" denied by policy: ";
        for (text, words) in [
            (r#"{"blockedRegistries":["a.io"],"allowedRegistries":["a.io"]}"#, "it is in the blocked registries list ("),
            (r#"{"allowedRegistries":["b.io"]}"#, "not in allowed registries list ("),
        ] {
            assert_eq!(of(text), Err(format!("{denied}{words}{text})")));
        }
        assert!(of("x").unwrap_err().starts_with("parsing $BUILD_REGISTRY_SOURCES (\"x\") as JSON: "));
    }
}
