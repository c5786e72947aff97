//! `[[registry]]` of registries.conf, containers-registries.conf(5): where the images of a name are, its mirrors first, and how each
//! place is spoken to.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::super::Error;
use super::strings;

/// All registries with settings, by prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    registries: BTreeMap<String, Registry>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Registry {
    location: String,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    pulls: Pulls,
}

/// `pull-from-mirror`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulls {
    All,
    Digests,
    Tags,
}

/// A place where the images of a name are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and path, without tag and digest.
    pub repository: String,
    /// It need not have a certificate that is trusted, nor TLS at all.
    pub insecure: bool,
    /// It stands for another one.
    pub is_mirror: bool,
}

/// A registry that must not be asked. The words are the other tools'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("registry {prefix} is blocked in registries.conf")]
pub struct Blocked {
    /// The prefix of the name that is blocked.
    pub prefix: String,
}

impl Endpoints {
    /// Where an image of `repository` (host and path) is, in the order of asking; `by_digest` if it is named so. Without settings it
    /// is where its name says.
    pub fn of(&self, repository: &str, by_digest: bool) -> Result<Vec<Endpoint>, Blocked> {
        let Some((prefix, registry)) = self.find(repository) else {
            return Ok(vec![Endpoint { repository: repository.to_owned(), insecure: false, is_mirror: false }]);
        };
        if registry.blocked {
            return Err(Blocked { prefix: prefix.to_owned() });
        }
        let counts = |mirror: &&Mirror| match mirror.pulls {
            Pulls::All => true,
            Pulls::Digests => by_digest,
            Pulls::Tags => !by_digest,
        };
        let mirrors = registry.mirrors.iter().filter(counts);
        let mirrors = mirrors.map(|mirror| (mirror.location.as_str(), mirror.insecure, true));
        let places = mirrors.chain([(registry.location.as_str(), registry.insecure, false)]);
        let endpoint = |(location, insecure, is_mirror)| Endpoint {
            repository: rewritten(repository, prefix, location),
            insecure,
            is_mirror,
        };
        Ok(places.map(endpoint).collect())
    }

    /// The registry with the longest prefix.
    fn find(&self, repository: &str) -> Option<(&str, &Registry)> {
        let fits = self.registries.iter().filter(|(prefix, _)| matched(repository, prefix).is_some());
        fits.max_by_key(|(prefix, _)| prefix.len()).map(|(prefix, registry)| (prefix.as_str(), registry))
    }

    /// Takes a file in; a registry with the same prefix replaces an earlier one.
    pub(super) fn merge(&mut self, path: &Path, table: &Table) -> Result<(), Error> {
        let wrong = |message: String| Error::Parse { path: path.to_owned(), message };
        if let Some(value) = table.get("registry") {
            let list = value.as_array().ok_or_else(|| wrong("registry: want [[registry]]".to_owned()))?;
            for item in list {
                let (prefix, registry) = read(item).map_err(wrong)?;
                self.registries.insert(prefix, registry);
            }
        }
        // Files of version 1 have lists of registries.
        for (key, block) in [("insecure", false), ("block", true)] {
            let Some(value) = table.get("registries").and_then(|value| value.get(key)?.get("registries")) else { continue };
            for name in strings(path, &format!("registries.{key}.registries"), value)? {
                let location = name.trim_end_matches('/').to_owned();
                let registry = self.registries.entry(location.clone()).or_default();
                registry.location = location;
                (registry.insecure, registry.blocked) = (registry.insecure || !block, registry.blocked || block);
            }
        }
        Ok(())
    }
}

fn read(item: &Value) -> Result<(String, Registry), String> {
    let item = item.as_table().ok_or("registry: want [[registry]]")?;
    let location = text(item, "location")?;
    let prefix = match text(item, "prefix")? {
        "" => location,
        prefix => prefix,
    };
    let wildcard = prefix.starts_with("*.");
    if prefix.is_empty() {
        return Err("registry: it has neither prefix nor location".to_owned());
    }
    if location.is_empty() && !wildcard {
        return Err(format!("registry {prefix}: location is unset and prefix is not in the format: *.example.com"));
    }
    let digests_only = flag(item, "mirror-by-digest-only")?;
    let mirrors = item.get("mirror").map(|value| value.as_array().ok_or("mirror: want [[registry.mirror]]")).transpose()?;
    let mirrors = mirrors.into_iter().flatten().map(|mirror| read_mirror(mirror, digests_only)).collect::<Result<_, _>>()?;
    let registry =
        Registry { location: checked(location)?, insecure: flag(item, "insecure")?, blocked: flag(item, "blocked")?, mirrors };
    Ok((checked(prefix)?, registry))
}

fn read_mirror(item: &Value, digests_only: bool) -> Result<Mirror, String> {
    let item = item.as_table().ok_or("mirror: want [[registry.mirror]]")?;
    let location = checked(text(item, "location")?)?;
    let pulls = match text(item, "pull-from-mirror")? {
        "" if digests_only => Pulls::Digests,
        "" | "all" => Pulls::All,
        _ if digests_only => return Err(format!("mirror {location}: pull-from-mirror beside mirror-by-digest-only")),
        "digest-only" => Pulls::Digests,
        "tag-only" => Pulls::Tags,
        word => return Err(format!("mirror {location}: pull-from-mirror: unsupported value {word:?}")),
    };
    if location.is_empty() {
        return Err("mirror: invalid location: cannot be empty".to_owned());
    }
    Ok(Mirror { location, insecure: flag(item, "insecure")?, pulls })
}

fn text<'t>(table: &'t Table, key: &str) -> Result<&'t str, String> {
    table.get(key).map_or(Ok(""), |value| value.as_str().ok_or_else(|| format!("{key}: want a text")))
}

fn flag(table: &Table, key: &str) -> Result<bool, String> {
    table.get(key).map_or(Ok(false), |value| value.as_bool().ok_or_else(|| format!("{key}: want true or false")))
}

/// A location or prefix is no address.
fn checked(text: &str) -> Result<String, String> {
    if text.contains("://") {
        return Err(format!("invalid location {text:?}: URI schemes are not supported"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// How many bytes of `repository` the prefix stands for: it ends at a slash or at the end; `*.` is any subdomain.
fn matched(repository: &str, prefix: &str) -> Option<usize> {
    let length = match prefix.strip_prefix('*') {
        Some(domain) => {
            let (end, path) = (repository.find('/').unwrap_or(repository.len()), domain.find('/'));
            let host = &repository[..end];
            if path.is_some() || !host.ends_with(domain) || host.len() == domain.len() {
                return None;
            }
            end
        }
        None => repository.strip_prefix(prefix).map(|_| prefix.len())?,
    };
    matches!(repository.as_bytes().get(length), None | Some(b'/')).then_some(length)
}

fn rewritten(repository: &str, prefix: &str, location: &str) -> String {
    match matched(repository, prefix) {
        Some(length) if !location.is_empty() => format!("{location}{}", &repository[length..]),
        _ => repository.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[registry]]
        location = "r.io"
        insecure = true
        [[registry.mirror]]
        location = "m.io/cache"
        [[registry.mirror]]
        location = "d.io"
        pull-from-mirror = "digest-only"
        insecure = true
        [[registry.mirror]]
        location = "t.io"
        pull-from-mirror = "tag-only"

        [[registry]]
        prefix = "r.io/moved"
        location = "new.io/place"

        [[registry]]
        prefix = "*.bad.io"
        blocked = true
    "#;

    fn endpoints(text: &str) -> Result<Endpoints, String> {
        let mut endpoints = Endpoints::default();
        endpoints.merge(Path::new("r.conf"), &text.parse().unwrap()).map_err(|error| error.to_string())?;
        Ok(endpoints)
    }

    fn of(repository: &str, by_digest: bool) -> String {
        match endpoints(FILE).unwrap().of(repository, by_digest) {
            Ok(found) => {
                let shown = |endpoint: Endpoint| format!("{}{}", endpoint.repository, if endpoint.insecure { "!" } else { "" });
                found.into_iter().map(shown).collect::<Vec<_>>().join(" ")
            }
            Err(blocked) => blocked.to_string(),
        }
    }

    #[test]
    fn mirrors_come_first_and_the_longest_prefix_counts() {
        assert_eq!(of("r.io/a/b", false), "m.io/cache/a/b t.io/a/b r.io/a/b!");
        assert_eq!(of("r.io/a", true), "m.io/cache/a d.io/a! r.io/a!");
        assert_eq!(of("r.io/moved/x", false), "new.io/place/x");
        assert_eq!(of("r.io/moved", false), "new.io/place");
        assert_eq!(of("r.io/moved2", true), "m.io/cache/moved2 d.io/moved2! r.io/moved2!");
        for other in ["evilr.io/a", "r.io:5000/a", "r.io.evil/a", "bad.io/x", "xbad.io/x", "q.io/a.bad.io"] {
            assert_eq!(of(other, false), other);
        }
        assert_eq!(of("a.b.bad.io/x", false), "registry *.bad.io is blocked in registries.conf");
    }

    #[test]
    fn wrong_registries_are_refused() {
        for (text, words) in [
            ("registry = 3", "want [[registry]]"),
            ("[[registry]]", "neither prefix nor location"),
            ("[[registry]]\nprefix = 'a.io'", "location is unset"),
            ("[[registry]]\nlocation = 'https://a.io'", "URI schemes"),
            ("[[registry]]\nlocation = 'a.io'\ninsecure = 'yes'", "insecure: want true or false"),
            ("[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]\nlocation = ''", "cannot be empty"),
            (
                "[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]\nlocation = 'b'\npull-from-mirror = 'x'",
                "unsupported value",
            ),
        ] {
            let error = endpoints(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn files_of_version_1_have_lists() {
        let old = endpoints("[registries.insecure]\nregistries = ['i.io']\n[registries.block]\nregistries = ['b.io']").unwrap();
        assert!(old.of("i.io/x", false).unwrap()[0].insecure);
        assert!(old.of("b.io/x", false).is_err());
    }
}
