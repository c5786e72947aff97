//! Capability names and the set a container's process may hold.
//!
//! Invariant: inheritable and ambient sets are always empty (CVE-2022-24769); an unknown name is an error, never ignored.

/// What a container of Buildah's may do: `CapEff` 00000000800405fb.
pub const DEFAULT: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The set and what changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The starting set (`default_capabilities` of containers.conf, else [`DEFAULT`]), with or without the `CAP_` prefix.
    pub defaults: Vec<String>,
    /// `--cap-add`; `all` stands for every capability.
    pub add: Vec<String>,
    /// `--cap-drop`; `all` stands for every capability.
    pub drop: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { defaults: DEFAULT.iter().map(|name| (*name).to_string()).collect(), add: Vec::new(), drop: Vec::new() }
    }
}
