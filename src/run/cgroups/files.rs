//! Limits as the kernel's control files take them, in either version of the interface. Pure.
//!
//! Sources: the kernel's `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/`.

use super::Limits;

/// One value for one control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The controller that must be there.
    pub controller: &'static str,
    /// The file in the group's directory.
    pub file: &'static str,
    /// What is written.
    pub value: String,
}

/// The period of version 1 and 2 where none is given, in microseconds.
const PERIOD: u64 = 100_000;

fn setting(controller: &'static str, file: &'static str, value: impl ToString) -> Setting {
    Setting { controller, file, value: value.to_string() }
}

/// For the unified hierarchy.
pub(super) fn unified(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if limits.memory > 0 {
        settings.push(setting("memory", "memory.max", limits.memory));
    }
    match limits.memory_swap {
        0 => {}
        // Swap is counted alone here.
        swap if swap > 0 => settings.push(setting("memory", "memory.swap.max", swap.saturating_sub(limits.memory))),
        _ => settings.push(setting("memory", "memory.swap.max", "max")),
    }
    if limits.cpu_shares > 0 {
        settings.push(setting("cpu", "cpu.weight", weight(limits.cpu_shares)));
    }
    if limits.cpu_quota != 0 || limits.cpu_period > 0 {
        let quota = if limits.cpu_quota > 0 { limits.cpu_quota.to_string() } else { "max".to_owned() };
        let period = if limits.cpu_period > 0 { limits.cpu_period } else { PERIOD };
        settings.push(setting("cpu", "cpu.max", format!("{quota} {period}")));
    }
    if !limits.cpuset_cpus.is_empty() {
        settings.push(setting("cpuset", "cpuset.cpus", &limits.cpuset_cpus));
    }
    if !limits.cpuset_mems.is_empty() {
        settings.push(setting("cpuset", "cpuset.mems", &limits.cpuset_mems));
    }
    settings
}

/// For the hierarchies of version 1, in an order that the kernel accepts.
pub(super) fn separate(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if limits.memory > 0 {
        settings.push(setting("memory", "memory.limit_in_bytes", limits.memory));
    }
    if limits.memory_swap != 0 {
        settings.push(setting("memory", "memory.memsw.limit_in_bytes", limits.memory_swap));
    }
    if limits.cpu_shares > 0 {
        settings.push(setting("cpu", "cpu.shares", limits.cpu_shares));
    }
    if limits.cpu_period > 0 {
        settings.push(setting("cpu", "cpu.cfs_period_us", limits.cpu_period));
    }
    if limits.cpu_quota != 0 {
        settings.push(setting("cpu", "cpu.cfs_quota_us", limits.cpu_quota));
    }
    if !limits.cpuset_cpus.is_empty() {
        settings.push(setting("cpuset", "cpuset.cpus", &limits.cpuset_cpus));
    }
    if !limits.cpuset_mems.is_empty() {
        settings.push(setting("cpuset", "cpuset.mems", &limits.cpuset_mems));
    }
    settings
}

/// Shares (2 to 262,144) on the scale of weights (1 to 10,000), as the runtime specification's users have agreed.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(settings: Vec<Setting>) -> Vec<String> {
        settings.into_iter().map(|one| format!("{} {}", one.file, one.value)).collect()
    }

    #[test]
    fn limits_become_values_of_both_interfaces() {
        let limits = Limits {
            cpu_shares: 1024,
            cpu_quota: 50_000,
            cpuset_cpus: "0".into(),
            cpuset_mems: "0-1".into(),
            ..Limits::of(100, 150)
        };
        assert_eq!(
            text(unified(&limits)),
            [
                "memory.max 100",
                "memory.swap.max 50",
                "cpu.weight 39",
                "cpu.max 50000 100000",
                "cpuset.cpus 0",
                "cpuset.mems 0-1"
            ]
        );
        let separate_values = [
            "memory.limit_in_bytes 100",
            "memory.memsw.limit_in_bytes 150",
            "cpu.shares 1024",
            "cpu.cfs_quota_us 50000",
            "cpuset.cpus 0",
            "cpuset.mems 0-1",
        ];
        assert_eq!(text(separate(&limits)), separate_values);
        let open = Limits { cpu_quota: -1, cpu_period: 7, ..Limits::of(1, -1) };
        assert_eq!(text(unified(&open)), ["memory.max 1", "memory.swap.max max", "cpu.max max 7"]);
        assert!(unified(&Limits::default()).is_empty() && separate(&Limits::default()).is_empty());
    }

    #[test]
    fn weights_cover_the_scale_of_shares() {
        for (shares, want) in [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight(shares), want, "{shares}");
        }
    }
}
