//! Capability names and the set a container's process may hold.
//!
//! Invariant: inheritable and ambient sets are always empty (CVE-2022-24769); an unknown name is an error, never ignored.

use std::str::FromStr;

use oci_spec::runtime::{Capabilities, Capability};

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

/// Capabilities as the kernel counts them: bit N is capability N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set(pub u64);

impl Set {
    /// None.
    pub const EMPTY: Set = Set(0);

    /// Every capability that this version knows.
    pub fn all() -> Self {
        Set(caps::all().into_iter().fold(0, |set, capability| set | capability.bitmask()))
    }

    /// Whether it holds the capability `name`, given with its prefix.
    pub fn has(self, name: &str) -> bool {
        caps::Capability::from_str(name).is_ok_and(|capability| self.0 & capability.bitmask() != 0)
    }

    /// As the runtime specification writes it.
    pub fn to_spec(self) -> Capabilities {
        let held = caps::all().into_iter().filter(|capability| self.0 & capability.bitmask() != 0);
        held.filter_map(|capability| Capability::from_str(capability.to_string().trim_start_matches("CAP_")).ok()).collect()
    }

    /// From the runtime specification.
    pub fn from_spec(capabilities: &Capabilities) -> Self {
        let known = capabilities.iter().filter_map(|capability| caps::Capability::from_str(&format!("CAP_{capability}")).ok());
        Set(known.fold(0, |set, capability| set | capability.bitmask()))
    }
}

impl Options {
    /// The set: `defaults` and what is added, without what is dropped: that counts last, as with Buildah's `run`.
    pub fn resolve(&self) -> Result<Set, String> {
        let mut set = combine(&self.defaults).map_err(|unknown| unknown.reason())?;
        set.0 |= combine(&self.add).map_err(|unknown| unknown.in_set("adding", "to"))?.0;
        set.0 &= !combine(&self.drop).map_err(|unknown| unknown.in_set("removing", "from"))?.0;
        Ok(set)
    }
}

/// A name that no capability has, as it was typed.
struct Unknown(String);

impl Unknown {
    fn reason(&self) -> String {
        format!("invalid capability: {}", full_name(&self.0))
    }

    /// The words are Buildah's.
    fn in_set(&self, doing: &str, preposition: &str) -> String {
        format!("{doing} {:?} {preposition} the bounding capability set: {}", self.0, self.reason())
    }
}

fn full_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

fn combine(names: &[String]) -> Result<Set, Unknown> {
    let mut set = Set::EMPTY;
    for name in names {
        if name.eq_ignore_ascii_case("all") {
            return Ok(Set::all());
        }
        let capability = caps::Capability::from_str(&full_name(name)).map_err(|_| Unknown(name.clone()))?;
        set.0 |= capability.bitmask();
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<u64, String> {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
        Options { add: strings(add), drop: strings(drop), ..Options::default() }.resolve().map(|set| set.0)
    }

    #[test]
    fn words_make_the_set() {
        let default = 0x0000_0000_8004_05fb;
        for (add, drop, expected) in [
            (&[] as &[&str], &[] as &[&str], default),
            (&["net_raw"], &[], default | 1 << 13),
            (&["CAP_NET_RAW"], &["NET_RAW"], default),
            (&[], &["chown"], default & !1),
            (&[], &["ALL"], 0),
            (&["KILL"], &["all"], 0),
            (&["all"], &["CAP_BPF"], Set::all().0 & !(1 << 39)),
        ] {
            assert_eq!(set(add, drop), Ok(expected), "{add:?} {drop:?}");
        }
        for (add, drop, refused) in [
            (
                &["nope"] as &[&str],
                &[] as &[&str],
                r#"adding "nope" to the bounding capability set: invalid capability: CAP_NOPE"#,
            ),
            (&[], &["CAP_"], r#"removing "CAP_" from the bounding capability set: invalid capability: CAP_"#),
        ] {
            assert_eq!(set(add, drop), Err(refused.to_owned()));
        }
    }

    #[test]
    fn the_runtime_specification_carries_every_capability() {
        assert_eq!(Set::from_spec(&Set::all().to_spec()), Set::all());
        assert_eq!(Set::all().to_spec().len(), 41);
    }
}
