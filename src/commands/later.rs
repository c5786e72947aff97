//! What Buildah has and this version has not: verbs and flags that are refused by name, with the reason, so that nobody takes
//! one for a typing error or, worse, believes that it had an effect.

const REGISTRY: &str = "it speaks to no registry yet";
const BUILD: &str = "it builds no Dockerfile yet";

/// Why the verb `name` is refused; `None` if it is no verb of Buildah's.
pub(super) fn verb(name: &str) -> Option<&'static str> {
    match name {
        "pull" | "push" | "login" | "logout" | "source" => Some(REGISTRY),
        "build" | "bud" | "build-using-dockerfile" => Some(BUILD),
        "manifest" => Some("manifest lists are not implemented yet"),
        "mkcw" => Some("confidential workloads are not implemented"),
        "rpc" => Some("the service for build scripts is not implemented"),
        "dumpbolt" => Some("it reads no podman database"),
        _ => None,
    }
}

/// Why the flag `--name` of `verb` (empty: before any verb) is refused; `None` if Buildah does not have it there either.
pub(super) fn flag(verb: &str, name: &str) -> Option<&'static str> {
    match name {
        "imagestore" => return Some("images and containers live in one store"),
        "transient-store" => return Some("the records of containers live in the graph root"),
        "userns-uid-map" | "userns-gid-map" => return Some("user namespaces are mapped from the subordinate ids only"),
        "cpu-profile" | "memory-profile" => return Some("it has no profiler"),
        "default-mounts-file" => return Some("mounts.conf is not read"),
        _ => {}
    }
    of_verb(verb).iter().find(|(names, _)| names.contains(&name)).map(|(_, reason)| *reason)
}

/// Why the flag `-letter` of `verb` is refused.
pub(super) fn short_flag(verb: &str, letter: char) -> Option<&'static str> {
    let long = match (verb, letter) {
        ("from", 'm') => "memory",
        ("from", 'c') => "cpu-shares",
        ("commit", 'D') => "disable-compression",
        _ => return None,
    };
    flag(verb, long)
}

/// Flags with one reason.
type Refusal = (&'static [&'static str], &'static str);

/// Asked only for flags that the verb does not have: those that it gets one day need not be taken away here.
fn of_verb(verb: &str) -> &'static [Refusal] {
    match verb {
        "from" => &[ACCESS, RESOURCES, RUNTIME, USER_NAMESPACE, PLATFORM],
        "run" => &[RUNTIME],
        "copy" | "add" => &[ACCESS, (&["checksum"], "it fetches no URLs yet"), (&["link"], "layers are not linked yet")],
        "commit" => &[
            ACCESS,
            (
                &["compression-format", "compression-level", "force-compression", "disable-compression"],
                "the store keeps layers uncompressed",
            ),
            (&["encrypt-layer", "encryption-key"], "encrypted layers are not implemented"),
            (&["sign-by"], "signing is not implemented"),
            (&["manifest"], "manifest lists are not implemented yet"),
            (&["cw"], "confidential workloads are not implemented"),
            (SBOM, "it runs no scanner"),
            (&["config"], "a configuration is changed by --change only"),
            (
                &["rewrite-timestamp", "created-annotation", "omit-timestamp", "reference-time"],
                "--timestamp and --source-date-epoch set times",
            ),
        ],
        "config" => &[(&["add-history"], "config adds no history of its own")],
        _ => &[],
    }
}

const ACCESS: Refusal = (
    &[
        "authfile",
        "cert-dir",
        "creds",
        "tls-verify",
        "decryption-key",
        "retry",
        "retry-delay",
        "blob-cache",
        "signature-policy",
        "remove-signatures",
    ],
    REGISTRY,
);

const RESOURCES: Refusal = (
    &["cgroup-parent", "cpu-period", "cpu-quota", "cpu-shares", "cpuset-cpus", "cpuset-mems", "memory", "memory-swap"],
    "it sets no limits through control groups yet",
);

const RUNTIME: Refusal =
    (&["isolation", "runtime", "runtime-flag", "hooks-dir", "cdi-config-dir"], "commands run in the built-in runtime only");

const USER_NAMESPACE: Refusal =
    (&["userns", "userns-uid-map-user", "userns-gid-map-group"], "user namespaces are mapped from the subordinate ids only");

const PLATFORM: Refusal = (&["platform", "arch", "os", "variant"], "images of other platforms are not chosen by flags yet");

const SBOM: &[&str] = &[
    "sbom",
    "sbom-scanner-image",
    "sbom-scanner-command",
    "sbom-merge-strategy",
    "sbom-output",
    "sbom-image-output",
    "sbom-purl-output",
    "sbom-image-purl-output",
    "pull",
    "pull-always",
    "pull-never",
];
