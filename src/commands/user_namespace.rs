//! `--userns` and the id maps: in which user namespace later runs are, and who owns the container's files.

use std::path::PathBuf;

use containers_storage::id_map::{IdMap, IdRange};

use super::{CommandError, Context};
use crate::conf::ContainersConf;
use crate::container::from::{AutomaticMaps, IdMaps, UserNamespace};
use crate::userns::subid;

/// The user namespace of later runs.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Flags for later runs")]
pub(super) struct UserNamespaceArgs {
    /// User namespace: host, private, or auto for one with owners of its own
    #[arg(long, value_name = "NAMESPACE")]
    userns: Option<String>,

    /// User whose ranges in /etc/subuid are the user ids
    #[arg(long, value_name = "USER")]
    userns_uid_map_user: Option<String>,

    /// Group whose ranges in /etc/subgid are the group ids
    #[arg(long, value_name = "GROUP")]
    userns_gid_map_group: Option<String>,
}

impl UserNamespaceArgs {
    /// What the flags say. Those with the maps themselves are global ones, and may stand after the verb like all of these.
    pub(super) fn resolve(&self, ctx: &Context, conf: &ContainersConf) -> Result<UserNamespace, CommandError> {
        let (uids, gids) = (&ctx.global().userns_uid_map, &ctx.global().userns_gid_map);
        if uids.is_empty() && !gids.is_empty() {
            return Err(CommandError::usage("option --userns-gid-map can not be used without --userns-uid-map"));
        }
        let (user_uids, group_gids) = self.by_name()?;
        let maps = IdMaps {
            uid: IdMap(user_uids.into_iter().chain(parse("userns-uid-map", uids)?).collect()),
            gid: IdMap(group_gids.into_iter().chain(parse("userns-gid-map", gids)?).collect()),
        };
        choose(self.userns.as_deref().or(conf.containers.userns.as_deref()), maps)
    }

    /// The ranges of `--userns-uid-map-user` and `--userns-gid-map-group`; each stands for both.
    fn by_name(&self) -> Result<(Vec<IdRange>, Vec<IdRange>), CommandError> {
        let user = self.userns_uid_map_user.as_deref().or(self.userns_gid_map_group.as_deref());
        let group = self.userns_gid_map_group.as_deref().or(self.userns_uid_map_user.as_deref());
        let (Some(user), Some(group)) = (user, group) else { return Ok((Vec::new(), Vec::new())) };
        Ok((ranges_of(user, "/etc/subuid", "subuid")?, ranges_of(group, "/etc/subgid", "subgid")?))
    }
}

fn ranges_of(name: &str, path: &str, what: &str) -> Result<Vec<IdRange>, CommandError> {
    let text = std::fs::read_to_string(path).map_err(|error| CommandError::from(error).context(format!("reading {path:?}")))?;
    let mut inside = 0u32;
    let mut map = Vec::new();
    for range in subid::ranges_of(&text, name) {
        map.push(IdRange { container_id: inside, host_id: range.start, size: range.length });
        inside = inside.saturating_add(range.length);
    }
    if map.is_empty() {
        let text = format!("parsing ID mapping options: no {what} ranges found for user {name:?} in {path}");
        return Err(CommandError::usage(text));
    }
    Ok(map)
}

/// Words `INSIDE:OUTSIDE:COUNT`; one word may hold several such triples.
fn parse(flag: &str, words: &[String]) -> Result<Vec<IdRange>, CommandError> {
    let malformed = || {
        let shown: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        let shown = shown.join(" ");
        CommandError::usage(format!(
            "initializing ID mappings: {flag} setting is malformed expected [\"uint32:uint32:uint32\"]: [{shown}]"
        ))
    };
    let mut map = Vec::new();
    for word in words {
        let numbers: Vec<u32> = word.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| malformed())?;
        let triples = numbers.chunks_exact(3);
        if !triples.remainder().is_empty() || numbers.is_empty() {
            return Err(malformed());
        }
        for triple in triples {
            let [container_id, host_id, size] = [triple[0], triple[1], triple[2]];
            let fits = container_id.checked_add(size).is_some() && host_id.checked_add(size).is_some();
            if size == 0 || !fits {
                return Err(CommandError::usage(format!("--{flag} {word:?}: no ids, or ids beyond the largest one")));
            }
            map.push(IdRange { container_id, host_id, size });
        }
    }
    Ok(map)
}

fn choose(how: Option<&str>, mut maps: IdMaps) -> Result<UserNamespace, CommandError> {
    if maps.uid.0.is_empty() {
        maps.uid.clone_from(&maps.gid);
    } else if maps.gid.0.is_empty() {
        maps.gid.clone_from(&maps.uid);
    }
    let mapped = !maps.uid.0.is_empty();
    match how {
        None if mapped => Ok(UserNamespace::Mapped(maps)),
        None => Ok(UserNamespace::Host),
        Some("host") if mapped => Err(CommandError::usage(
            "parsing ID mapping options: can not specify ID mappings while using host's user namespace",
        )),
        Some("host") => Ok(UserNamespace::Host),
        Some("" | "private" | "container") if mapped => Ok(UserNamespace::Mapped(maps)),
        Some("" | "private" | "container") => Ok(UserNamespace::Private),
        Some(word) if word == "auto" || word.starts_with("auto:") => {
            automatic(word.strip_prefix("auto").unwrap_or_default().trim_start_matches(':')).map(UserNamespace::Automatic)
        }
        Some(word) => {
            let path = PathBuf::from(word.strip_prefix("ns:").unwrap_or(word));
            if let Err(error) = std::fs::metadata(&path) {
                let text = format!("parsing ID mapping options: checking user namespace: stat {}", path.display());
                return Err(CommandError::from(error).context(text));
            }
            Err(CommandError::usage(format!(
                "--userns {word:?}: commands join no user namespace of others: what is in it may reach the container's files"
            )))
        }
    }
}

/// `size=N`, `uidmapping=…`, `gidmapping=…`
fn automatic(options: &str) -> Result<AutomaticMaps, CommandError> {
    let mut automatic = AutomaticMaps::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", number)) => {
                let size = number.parse::<u32>().ok().filter(|size| *size > 0);
                automatic.size =
                    Some(size.ok_or_else(|| CommandError::usage(format!("--userns auto: invalid size {number:?}")))?);
            }
            _ => return Err(CommandError::usage(format!("--userns auto: unknown option {option:?}; there is size=N"))),
        }
    }
    Ok(automatic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(container_id: u32, host_id: u32, size: u32) -> IdRange {
        IdRange { container_id, host_id, size }
    }

    fn parsed(words: &[&str]) -> Result<Vec<IdRange>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse("userns-uid-map", &words).map_err(|error| error.text())
    }

    #[test]
    fn triples_become_ranges() {
        assert_eq!(parsed(&["0:1:100", "100:200:1"]).unwrap(), [range(0, 1, 100), range(100, 200, 1)]);
        assert_eq!(parsed(&["0:1:2:2:9:3"]).unwrap(), [range(0, 1, 2), range(2, 9, 3)]);
        assert_eq!(
            parsed(&["0:1"]).unwrap_err(),
            "initializing ID mappings: userns-uid-map setting is malformed expected [\"uint32:uint32:uint32\"]: [\"0:1\"]"
        );
        for word in ["", "x:y:z", "0:1:-1", "0:1:0", "0:4294967295:2", "0:1:2:3"] {
            assert!(parsed(&[word]).is_err(), "{word:?}");
        }
    }

    #[test]
    fn one_map_stands_for_both_and_contradictions_are_refused() {
        let maps = || IdMaps { uid: IdMap(vec![range(0, 1, 9)]), gid: IdMap(Vec::new()) };
        let both = IdMaps { gid: maps().uid, ..maps() };
        assert_eq!(choose(None, maps()).unwrap(), UserNamespace::Mapped(both.clone()));
        assert_eq!(choose(Some("private"), maps()).unwrap(), UserNamespace::Mapped(both));
        assert_eq!(choose(None, IdMaps::default()).unwrap(), UserNamespace::Host);
        assert_eq!(choose(Some("container"), IdMaps::default()).unwrap(), UserNamespace::Private);
        let automatic = |size| UserNamespace::Automatic(AutomaticMaps { size });
        assert_eq!(choose(Some("auto"), IdMaps::default()).unwrap(), automatic(None));
        assert_eq!(choose(Some("auto:size=70"), IdMaps::default()).unwrap(), automatic(Some(70)));
        for word in ["host", "keep-id", "ns:/nonexistent", "/proc/self/ns/user", "auto:x=1"] {
            assert!(choose(Some(word), maps()).is_err(), "{word}");
        }
    }
}
