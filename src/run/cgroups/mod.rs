//! `--memory --memory-swap --cpu-* --cpuset-* --cgroup-parent`: limits that control groups enforce.
//!
//! ```text
//!   Limits ──to_spec──▶ LinuxResources, for an external runtime
//!          ──files────▶ values of control files ──Group::create──▶ a group of the run's own, removed after it
//! ```
//!
//! Invariant: a group is made where the machine lets the caller (cgroups(7), delegation), tried and never inferred; limits that
//! cannot be applied are told, and the command runs without. No group of anybody else is changed but by enabling a controller
//! for its children.

mod files;
mod group;

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxCpu, LinuxCpuBuilder, LinuxMemory, LinuxMemoryBuilder, LinuxResources, LinuxResourcesBuilder};

pub(super) use group::Group;

/// `--cgroup-manager`: who makes the groups of an external runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// systemd, asked by the runtime.
    Systemd,
    /// The runtime itself.
    Cgroupfs,
}

impl Manager {
    /// Parses the value of `--cgroup-manager` and of containers.conf's `cgroup_manager`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "systemd" => Some(Self::Systemd),
            "cgroupfs" => Some(Self::Cgroupfs),
            _ => None,
        }
    }
}

/// What a run may use of the machine, and where its group is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The group below which that of the run is made; empty for the caller's.
    pub parent: String,
    /// The limits.
    pub limits: Limits,
}

/// Limits; 0 and the empty text stand for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of memory and swap together; -1 for unlimited swap.
    pub memory_swap: i64,
    /// Weight, 2 to 262,144; 1,024 is the usual one.
    pub cpu_shares: u64,
    /// Microseconds of a period.
    pub cpu_period: u64,
    /// Microseconds of processor time in a period; negative for no limit.
    pub cpu_quota: i64,
    /// Processors, as `0-3,5`.
    pub cpuset_cpus: String,
    /// Memory nodes, as `0-3,5`.
    pub cpuset_mems: String,
}

impl Limits {
    /// Limits of memory alone.
    pub fn of(memory: i64, memory_swap: i64) -> Self {
        Self { memory, memory_swap, ..Self::default() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what contradicts itself.
    pub fn check(&self) -> Result<(), String> {
        if self.memory_swap > 0 && self.memory_swap < self.memory {
            return Err("--memory-swap counts memory and swap together: it cannot be less than --memory".to_owned());
        }
        Ok(())
    }

    /// As the runtime specification writes them; `None` if there is none.
    pub fn to_spec(&self) -> Result<Option<LinuxResources>, OciSpecError> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut resources = LinuxResourcesBuilder::default().memory(self.memory_spec()?).cpu(self.cpu_spec()?).build()?;
        // What nobody limited is not mentioned: the builder's list of devices would deny all of them.
        resources.set_devices(None);
        Ok(Some(resources))
    }

    fn memory_spec(&self) -> Result<LinuxMemory, OciSpecError> {
        let mut memory = LinuxMemoryBuilder::default().build()?;
        memory.set_limit((self.memory != 0).then_some(self.memory));
        memory.set_swap((self.memory_swap != 0).then_some(self.memory_swap));
        Ok(memory)
    }

    fn cpu_spec(&self) -> Result<LinuxCpu, OciSpecError> {
        let mut cpu = LinuxCpuBuilder::default().build()?;
        cpu.set_shares((self.cpu_shares != 0).then_some(self.cpu_shares));
        cpu.set_period((self.cpu_period != 0).then_some(self.cpu_period));
        cpu.set_quota((self.cpu_quota != 0).then_some(self.cpu_quota));
        cpu.set_cpus((!self.cpuset_cpus.is_empty()).then(|| self.cpuset_cpus.clone()));
        cpu.set_mems((!self.cpuset_mems.is_empty()).then(|| self.cpuset_mems.clone()));
        Ok(cpu)
    }
}

/// Refuses what is no list of numbers and ranges (cpuset(7), list format).
pub fn check_list(list: &str) -> Result<(), String> {
    let number = |word: &str| !word.is_empty() && word.len() <= 6 && word.bytes().all(|byte| byte.is_ascii_digit());
    let range = |word: &str| word.split_once('-').map_or_else(|| number(word), |(first, last)| number(first) && number(last));
    if list.is_empty() || list.split(',').all(range) { Ok(()) } else { Err(format!("{list:?} is no list such as 0-3,5")) }
}

/// Refuses a parent group that could lead out of the hierarchy.
pub fn check_parent(parent: &str) -> Result<(), String> {
    let plain = !parent.contains(['\0', '\n', ':']) && parent.split('/').all(|component| !matches!(component, "." | ".."));
    if plain { Ok(()) } else { Err(format!("{parent:?} is no control group")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_parents_that_are_none_are_refused() {
        for list in ["", "0", "0-3", "0-3,5", "1,2"] {
            assert_eq!(check_list(list), Ok(()), "{list:?}");
        }
        for list in [",", "0-", "-1", "a", "0,,1", "0 1", "0-1-2", "0\n1", "99999999"] {
            assert!(check_list(list).is_err(), "{list:?} was accepted");
        }
        for parent in ["", "/a/b", "a", "user.slice"] {
            assert_eq!(check_parent(parent), Ok(()), "{parent:?}");
        }
        for parent in ["..", "/a/../b", "a/./b", "a\0", "a\nb", "a:b"] {
            assert!(check_parent(parent).is_err(), "{parent:?} was accepted");
        }
    }

    #[test]
    fn memory_and_swap_belong_together() {
        for (memory, swap, fits) in [(0, 0, true), (10, 0, true), (10, 10, true), (10, -1, true), (10, 9, false), (0, 9, true)]
        {
            assert_eq!(Limits::of(memory, swap).check().is_ok(), fits, "{memory} {swap}");
        }
    }

    #[test]
    fn the_specification_has_what_was_asked_for_and_nothing_else() {
        assert_eq!(Limits::default().to_spec().unwrap(), None);
        let limits = Limits { cpu_shares: 512, ..Limits::of(100, -1) };
        let text = serde_json::to_string(&limits.to_spec().unwrap()).unwrap();
        assert_eq!(text, r#"{"memory":{"limit":100,"swap":-1},"cpu":{"shares":512}}"#);
    }
}
