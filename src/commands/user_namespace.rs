//! `--userns` and the id maps: in which user namespace later runs are, and who owns the container's files.

use std::path::PathBuf;

use containers_storage::id_map::{IdMap, IdRange};

use super::args::GlobalArgs;
use super::{CommandError, Context};
use crate::conf::ContainersConf;
use crate::container::from::{AutomaticMaps, IdMaps, KeptId, UserNamespace};
use crate::userns::subid;

/// The user namespace of later runs.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Flags for runs")]
pub(super) struct UserNamespaceArgs {
    /// User namespace: host, private, auto or keep-id for one with owners of its own, or the path of one
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
        let (user_uids, group_gids) = self.by_name()?;
        let maps = IdMaps {
            uid: IdMap(user_uids.into_iter().chain(parse("userns-uid-map", uids)?).collect()),
            gid: IdMap(group_gids.into_iter().chain(parse("userns-gid-map", gids)?).collect()),
        };
        let all_without_ids = (!uids.is_empty() && maps.uid.0.is_empty()) || (!gids.is_empty() && maps.gid.0.is_empty());
        if all_without_ids {
            return Err(CommandError::usage("container ID 0 cannot be mapped to a host ID"));
        }
        choose(self.userns.as_deref().or(conf.containers.userns.as_deref()), maps)
    }

    /// The ranges of `--userns-uid-map-user` and `--userns-gid-map-group`; each stands for both.
    fn by_name(&self) -> Result<(Vec<IdRange>, Vec<IdRange>), CommandError> {
        let user = self.userns_uid_map_user.as_deref().or(self.userns_gid_map_group.as_deref());
        let group = self.userns_gid_map_group.as_deref().or(self.userns_uid_map_user.as_deref());
        let (Some(user), Some(group)) = (user, group) else { return Ok((Vec::new(), Vec::new())) };
        Ok((ranges_of(user, "/etc/subuid", "subuid", "user")?, ranges_of(group, "/etc/subgid", "subgid", "group")?))
    }
}

/// Refuses maps that nobody could use, for every verb: most of them do not look at them.
pub(super) fn check_maps(global: &GlobalArgs) -> Result<(), CommandError> {
    let (uids, gids) = (&global.userns_uid_map, &global.userns_gid_map);
    if uids.is_empty() && !gids.is_empty() {
        return Err(CommandError::usage("option --userns-gid-map can not be used without --userns-uid-map"));
    }
    parse("userns-uid-map", uids)?;
    parse("userns-gid-map", gids).map(drop)
}

fn ranges_of(name: &str, path: &str, what: &str, whose: &str) -> Result<Vec<IdRange>, CommandError> {
    let text = std::fs::read_to_string(path).map_err(|error| CommandError::from(error).context(format!("reading {path:?}")))?;
    let mut inside = 0u32;
    let mut map = Vec::new();
    for range in subid::ranges_of(&text, name) {
        map.push(IdRange { container_id: inside, host_id: range.start, size: range.length });
        inside = inside.saturating_add(range.length);
    }
    if map.is_empty() {
        let text = format!("parsing ID mapping options: no {what} ranges found for {whose} {name:?} in {path}");
        return Err(CommandError::usage(text));
    }
    Ok(map)
}

/// Words `INSIDE:OUTSIDE:COUNT`; one word may hold several such triples. Those without ids are left out, as Buildah does.
fn parse(what: &str, words: &[String]) -> Result<Vec<IdRange>, CommandError> {
    let shown = || words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ");
    let malformed = || {
        let expected = "expected [\"uint32:uint32:uint32\"]";
        CommandError::usage(format!("initializing ID mappings: {what} setting is malformed {expected}: [{}]", shown()))
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
            if container_id.checked_add(size).is_none() || host_id.checked_add(size).is_none() {
                return Err(CommandError::usage(format!(
                    "initializing ID mappings: {what} {word:?}: ids beyond the largest one"
                )));
            }
            if size == 0 {
                continue;
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
        Some(word) if word.starts_with("auto") => automatic(word).map(UserNamespace::Automatic),
        Some(word) if word == "keep-id" || word.starts_with("keep-id:") => {
            if mapped {
                let text = "parsing ID mapping options: can not specify ID mappings while keeping the caller's ID";
                return Err(CommandError::usage(text));
            }
            kept_id(word.strip_prefix("keep-id").unwrap_or_default()).map(UserNamespace::KeepId)
        }
        Some(word) => {
            let path = PathBuf::from(word.strip_prefix("ns:").unwrap_or(word));
            if let Err(error) = std::fs::metadata(&path) {
                let text = format!("parsing ID mapping options: checking user namespace: stat {}", path.display());
                return Err(CommandError::from(error).context(text));
            }
            // Runs are in other working directories.
            let path = std::path::absolute(path).map_err(CommandError::from)?;
            Ok(UserNamespace::Joined(path, maps))
        }
    }
}

/// `auto[:size=N,uidmapping=INSIDE:OUTSIDE:COUNT,gidmapping=…]`
fn automatic(word: &str) -> Result<AutomaticMaps, CommandError> {
    let wrong = |text: String| CommandError::usage(format!("parsing ID mapping options: {text}"));
    let mut automatic = AutomaticMaps::default();
    let options = match word.split_once(':') {
        _ if word == "auto" => return Ok(automatic),
        Some(("auto", options)) => options,
        _ => return Err(wrong("wrong user namespace mode".to_owned())),
    };
    for option in options.split(',') {
        let (key, value) = option.split_once('=').ok_or_else(|| wrong(format!("invalid option specified: {option:?}")))?;
        let map = |kind: &str| {
            let parsed = parse(kind, &[value.to_owned()]);
            parsed.map_err(|error| wrong(format!("failed to create Parse{kind}Map {kind}=[{value}]: {}", error.text())))
        };
        match key {
            "size" => automatic.size = number(value).map_err(wrong)?,
            "uidmapping" => automatic.uid_map.extend(map("UID")?),
            "gidmapping" => automatic.gid_map.extend(map("GID")?),
            _ => return Err(wrong(format!("unknown option specified: {key:?}"))),
        }
    }
    Ok(automatic)
}

/// `[:uid=N,gid=N]`
fn kept_id(options: &str) -> Result<KeptId, CommandError> {
    let wrong = |text: String| CommandError::usage(format!("parsing ID mapping options: {text}"));
    let mut kept = KeptId::default();
    let Some(options) = options.strip_prefix(':') else { return Ok(kept) };
    for option in options.split(',') {
        match option.split_once('=') {
            Some(("uid", value)) => kept.uid = Some(number(value).map_err(wrong)?),
            Some(("gid", value)) => kept.gid = Some(number(value).map_err(wrong)?),
            Some((key, _)) => return Err(wrong(format!("unknown option specified: {key:?}"))),
            None => return Err(wrong(format!("invalid option specified: {option:?}"))),
        }
    }
    Ok(kept)
}

/// Decimal digits only; the error is that of Go's strconv, which scripts may have seen.
fn number(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if digits { "value out of range" } else { "invalid syntax" };
    let parsed = if digits { text.parse().ok() } else { None };
    parsed.ok_or_else(|| format!("strconv.ParseUint: parsing {text:?}: {problem}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
        assert_eq!(parsed(&["0:1:0"]).unwrap(), []);
        for word in ["", "x:y:z", "0:1:-1", "0:4294967295:2", "0:1:2:3"] {
            assert!(parsed(&[word]).is_err(), "{word:?}");
        }
    }

    #[test]
    fn automatic_maps_take_buildahs_options_and_refuse_in_its_words() {
        let given = automatic("auto:uidmapping=0:1:5,gidmapping=7:8:9,uidmapping=9:9:1,size=3").unwrap();
        assert_eq!((given.size, given.uid_map, given.gid_map), (3, vec![range(0, 1, 5), range(9, 9, 1)], vec![range(7, 8, 9)]));
        for (word, words) in [
            ("autox", "wrong user namespace mode"),
            ("auto:", "invalid option specified: \"\""),
            ("auto:foo", "invalid option specified: \"foo\""),
            ("auto:foo=1", "unknown option specified: \"foo\""),
            ("auto:size=x", "strconv.ParseUint: parsing \"x\": invalid syntax"),
            ("auto:size=-1", "strconv.ParseUint: parsing \"-1\": invalid syntax"),
            ("auto:size=4294967296", "value out of range"),
            ("auto:uidmapping=x", "failed to create ParseUIDMap UID=[x]: initializing ID mappings: UID setting is malformed"),
        ] {
            let error = automatic(word).unwrap_err().text();
            assert!(error.starts_with("parsing ID mapping options: ") && error.contains(words), "{word}: {error}");
        }
    }

    #[test]
    fn an_id_is_kept_as_it_is_or_as_another_one() {
        assert_eq!(kept_id("").unwrap(), KeptId::default());
        assert_eq!(kept_id(":uid=5,gid=6").unwrap(), KeptId { uid: Some(5), gid: Some(6) });
        for word in [":", ":uid", ":uid=x", ":size=1", ":uid=-1"] {
            assert!(kept_id(word).is_err(), "{word}");
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
        let automatic = |size| UserNamespace::Automatic(AutomaticMaps { size, ..AutomaticMaps::default() });
        assert_eq!(choose(Some("auto"), IdMaps::default()).unwrap(), automatic(0));
        assert_eq!(choose(Some("auto:size=70"), IdMaps::default()).unwrap(), automatic(70));
        let joined = choose(Some("ns:/proc/self/ns/user"), maps()).unwrap();
        assert!(matches!(joined, UserNamespace::Joined(path, _) if path == Path::new("/proc/self/ns/user")));
        for word in ["host", "keep-id", "ns:/nonexistent", "auto:x=1"] {
            assert!(choose(Some(word), maps()).is_err(), "{word}");
        }
    }
}
