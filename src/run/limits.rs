//! `--ulimit`, `--shm-size`, `--sysctl`: numbers that bound the process.

/// Limits and kernel parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Resource limits that replace the inherited ones.
    pub rlimits: Vec<Rlimit>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Namespaced kernel parameters, `name=value`.
    pub sysctls: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rlimits: Vec::new(), shm_size: 64 << 20, sysctls: Vec::new() }
    }
}

/// One resource limit; `u64::MAX` is unlimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// Lower-case name without `RLIMIT_`: `nofile`.
    pub name: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

impl Rlimit {
    /// Parses `name=soft[:hard]`; `-1` is unlimited, `host` as the name alone is not a limit and refused here.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("invalid ulimit argument: {text}");
        let (name, values) = text.split_once('=').ok_or_else(bad)?;
        if !NAMES.contains(&name) {
            return Err(format!("invalid ulimit type: {name}"));
        }
        let number = |word: &str| match word {
            "-1" => Ok(u64::MAX),
            word if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) => word.parse().map_err(|_| bad()),
            _ => Err(bad()),
        };
        let (soft, hard) = match values.split_once(':') {
            Some((soft, hard)) => (number(soft)?, number(hard)?),
            None => (number(values)?, number(values)?),
        };
        if soft > hard {
            return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
        }
        Ok(Self { name: name.to_string(), soft, hard })
    }
}

/// The names that `--ulimit` knows (`setrlimit(2)`).
pub const NAMES: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
