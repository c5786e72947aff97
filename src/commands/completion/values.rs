//! What fits as the value of a flag or as an operand.

use clap::Arg;

use crate::commands::verbs::Verb;

/// Kinds of words that can be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// These; one that ends in `=` or `:` goes on after it.
    Words(&'static [&'static str]),
    /// Words divided by `|`.
    Alternatives(&'static str),
    /// Names of working containers.
    Containers,
    /// Names of images.
    Images,
    /// Names of the stages of a Dockerfile.
    Stages,
    /// Paths of the machine.
    Files,
    /// Directories of the machine.
    Directories,
    /// Programs of the machine.
    Programs,
    /// Verbs.
    Verbs,
}

use Kind::{Alternatives, Containers, Directories, Files, Images, Programs, Stages, Verbs, Words};

const NAMESPACE: Kind = Words(&["host", "private"]);
const TRANSPORTS: Kind = Words(&["containers-storage:", "dir:", "docker-archive:", "oci:", "oci-archive:"]);
const FORMATS: Kind = Words(&["docker", "oci"]);

/// What the flags of this name take, in every verb that has them; `VERB --name` comes before.
const BY_NAME: &[(&str, &[Kind])] = &[
    ("push --format", &[Words(&["docker", "oci", "v2s1", "v2s2"])]),
    ("manifest push --format", &[Words(&["docker", "oci", "v2s2"])]),
    ("commit --format", &[FORMATS]),
    ("from --format", &[FORMATS]),
    ("build --format", &[FORMATS]),
    ("build --from", &[Images]),
    ("build --file", &[Files]),
    ("build --mount", &[Words(&["type=bind,", "type=cache,", "type=secret,", "type=ssh,", "type=tmpfs,"])]),
    ("build --output", &[Words(&["-", "type=local,dest=", "type=tar,dest="]), Directories]),
    ("build --progress", &[Words(&["auto", "json", "plain", "quiet", "tty"])]),
    ("build --secret", &[Words(&["id="])]),
    ("build --target", &[Stages]),
    ("build --ssh", &[Words(&["default"])]),
    ("build --allow", &[Words(&["security.insecure"])]),
    ("build --volume", &[Files]),
    ("build --tag", &[Images]),
    ("copy --from", &[Containers, Images]),
    ("add --from", &[Containers, Images]),
    ("unshare --mount", &[Containers]),
    ("run --mount", &[Words(&["type=bind,", "type=cache,", "type=tmpfs,"])]),
    ("run --volume", &[Files]),
    ("from --volume", &[Files]),
    ("config --volume", &[]),
    ("config --workingdir", &[]),
    ("run --workingdir", &[]),
    ("images --filter", &[Words(IMAGE_FILTERS)]),
    ("containers --filter", &[Words(&["ancestor=", "id=", "name="])]),
    ("inspect --type", &[Words(&["container", "image", "manifest"])]),
    ("log-level", &[Words(&["debug", "error", "fatal", "info", "panic", "trace", "warn"])]),
    ("storage-driver", &[Words(&["overlay", "vfs"])]),
    ("cgroup-manager", &[Words(&["cgroupfs", "systemd"])]),
    ("isolation", &[Words(&["chroot", "default", "oci", "rootless"])]),
    ("network", &[Words(&["host", "none", "private"])]),
    ("cgroupns", &[NAMESPACE]),
    ("ipc", &[NAMESPACE]),
    ("pid", &[NAMESPACE]),
    ("uts", &[NAMESPACE]),
    ("userns", &[Words(&["auto", "host", "keep-id", "private"])]),
    ("pull", &[Words(&["always", "missing", "never", "newer"])]),
    ("policy", &[Words(&["always", "ifnewer", "missing", "never"])]),
    ("add-compression", &[Words(&["gzip", "zstd", "zstd:chunked"])]),
    ("compression-format", &[Words(&["gzip", "zstd", "zstd:chunked"])]),
    ("arch", &[Words(&["386", "amd64", "arm", "arm64", "loong64", "ppc64le", "riscv64", "s390x"])]),
    ("os", &[Words(&["linux"])]),
    ("platform", &[Words(&["linux/amd64", "linux/arm/v7", "linux/arm64", "linux/ppc64le", "linux/riscv64", "linux/s390x"])]),
    ("stop-signal", &[Words(&["SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH"])]),
    ("security-opt", &[Words(&["apparmor=", "label=", "mask=", "no-new-privileges", "seccomp=", "unmask="])]),
    ("ulimit", &[Words(ULIMITS)]),
    ("cap-add", &[Words(CAPABILITIES)]),
    ("cap-drop", &[Words(CAPABILITIES)]),
    ("runtime", &[Words(&["crun", "runc", "youki"]), Files]),
];

const IMAGE_FILTERS: &[&str] = &[
    "after=",
    "before=",
    "containers=external",
    "containers=false",
    "containers=true",
    "dangling=false",
    "dangling=true",
    "digest=",
    "id=",
    "intermediate=false",
    "intermediate=true",
    "label=",
    "manifest=false",
    "manifest=true",
    "readonly=false",
    "readonly=true",
    "reference=",
    "since=",
    "until=",
];

/// Names of setrlimit(2), as `--ulimit` spells them.
const ULIMITS: &[&str] = &[
    "as=",
    "core=",
    "cpu=",
    "data=",
    "fsize=",
    "locks=",
    "memlock=",
    "msgqueue=",
    "nice=",
    "nofile=",
    "nproc=",
    "rss=",
    "rtprio=",
    "rttime=",
    "sigpending=",
    "stack=",
];

/// Names of capabilities(7) that builds ask for.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_WRITE",
    "BPF",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_CHROOT",
    "SYS_NICE",
    "SYS_PTRACE",
    "SYS_RESOURCE",
    "SYS_TIME",
];

/// What `flag` of `verb` takes. What has no place in the table follows from the name of its value.
pub(super) fn of_flag(verb: Option<&Verb>, flag: &Arg) -> Vec<Kind> {
    let long = flag.get_long().unwrap_or_default();
    let with_verb = format!("{} --{long}", verb.map_or("", |verb| verb.name));
    let listed = |name: &str| BY_NAME.iter().find(|(known, _)| *known == name);
    if let Some((_, kinds)) = listed(&with_verb).or_else(|| listed(long)) {
        return kinds.to_vec();
    }
    match flag.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str()) {
        "BOOL" => vec![Words(&["false", "true"])],
        "FILE" | "PATH" => vec![Files],
        "DIR" => vec![Directories],
        "CONTAINER" => vec![Containers],
        "IMAGE" => vec![Images],
        _ => Vec::new(),
    }
}

/// What fits as the operand number `index` of `verb`, by the words of its usage line.
pub(super) fn of_operand(verb: &Verb, index: usize) -> Vec<Kind> {
    let words: Vec<&'static str> = verb.operands.split(' ').filter(|word| !word.is_empty() && *word != "[--]").collect();
    let repeated = words.iter().position(|word| word.contains('…')).unwrap_or(usize::MAX);
    let Some(word) = words.get(index.min(repeated)) else { return Vec::new() };
    let word = word.trim_matches(['[', ']', '…']);
    let mut kinds = Vec::new();
    if word.chars().all(|c| c.is_lowercase() || c == '|') {
        kinds.push(Alternatives(word));
    }
    for part in word.split('|') {
        match part {
            "CONTAINER" => kinds.push(Containers),
            "IMAGE" | "LIST" => kinds.push(Images),
            "FILE" => kinds.push(Files),
            "SRC" | "CONTEXT" => kinds.push(Files),
            "VERB" => kinds.push(Verbs),
            "scratch" => kinds.push(Words(&["scratch"])),
            // The programs of a container are not known without looking into it.
            "COMMAND" if verb.name != "run" => kinds.push(Programs),
            "ARG" if verb.name != "run" => kinds.push(Files),
            _ => {}
        }
    }
    let of_places = [
        ("from", 0),
        ("pull", 0),
        ("push", 0),
        ("push", 1),
        ("commit", 1),
        ("manifest create", 1),
        ("manifest add", 1),
        ("manifest inspect", 0),
        ("manifest push", 1),
    ];
    if of_places.contains(&(verb.name, index.min(repeated))) {
        kinds.push(TRANSPORTS);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_follow_from_the_usage_line() {
        let kinds = |verb: &str, index| of_operand(Verb::find(verb).expect("a verb"), index);
        assert_eq!(kinds("rm", 0), [Containers]);
        assert_eq!(kinds("rm", 5), [Containers]);
        assert_eq!(kinds("copy", 0), [Containers]);
        assert_eq!(kinds("copy", 3), [Files]);
        assert_eq!(kinds("inspect", 0), [Containers, Images]);
        assert_eq!(kinds("inspect", 1), []);
        assert_eq!(kinds("from", 0), [Images, Words(&["scratch"]), TRANSPORTS]);
        assert_eq!(kinds("tag", 1), []);
        assert_eq!(kinds("manifest add", 0), [Images]);
        assert_eq!(kinds("manifest add", 2), [Images, Files, TRANSPORTS]);
        assert_eq!(kinds("manifest create", 3), [Images, TRANSPORTS]);
        assert_eq!(kinds("run", 1), []);
        assert_eq!(kinds("unshare", 0), [Programs]);
        assert_eq!(kinds("help", 0), [Verbs]);
        assert!(matches!(kinds("completion", 0).as_slice(), [Alternatives(_)]));
        assert_eq!(kinds("info", 0), []);
    }

    #[test]
    fn lists_are_sorted_and_name_flags_that_exist() {
        for (name, kinds) in BY_NAME {
            for kind in *kinds {
                let Words(words) = kind else { continue };
                assert!(words.is_sorted(), "{name}: {words:?}");
            }
            if let Some((verb, flag)) = name.split_once(" --") {
                let Some(verb) = Verb::find(verb) else { continue };
                assert!(verb.parser().get_arguments().any(|arg| arg.get_long() == Some(flag)), "{name}");
            }
        }
    }
}
