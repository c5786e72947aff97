//! Flags of `from` that bound what later runs may use of the machine, through control groups.

use super::CommandError;
use crate::container::run::parse_size;
use crate::container::state::CommonOptions;
use crate::run::cgroups;

/// Limits through control groups.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct LimitArgs {
    /// Control group below which that of the processes is made
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,

    /// Period of processor time, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,

    /// Processor time in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,

    /// Weight of the processes where processors are short, 1024 being the usual one
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,

    /// Processors that may be used, as 0-3,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,

    /// Memory nodes that may be used, as 0-3,5
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,

    /// Memory, as 512m
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,

    /// Memory and swap together, as 1g; -1 for unlimited swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
}

impl LimitArgs {
    /// Notes the limits where Buildah keeps them, each checked.
    pub(super) fn keep(&self, common: &mut CommonOptions) -> Result<(), CommandError> {
        let usage =
            |flag: &'static str| move |problem: String| CommandError::usage(format!("invalid value for {flag}: {problem}"));
        let bytes =
            |word: &str| parse_size(word).and_then(|size| i64::try_from(size).map_err(|_| format!("invalid size: {word:?}")));
        if let Some(word) = &self.memory {
            common.memory = bytes(word).map_err(usage("memory"))?;
        }
        if let Some(word) = &self.memory_swap {
            common.memory_swap = if word == "-1" { -1 } else { bytes(word).map_err(usage("memory-swap"))? };
        }
        common.cgroup_parent = self.cgroup_parent.clone().unwrap_or_default();
        common.cpu_period = self.cpu_period.unwrap_or_default();
        common.cpu_quota = self.cpu_quota.unwrap_or_default();
        common.cpu_shares = self.cpu_shares.unwrap_or_default();
        common.cpuset_cpus = self.cpuset_cpus.clone().unwrap_or_default();
        common.cpuset_mems = self.cpuset_mems.clone().unwrap_or_default();
        cgroups::Limits::of(common.memory, common.memory_swap).check().map_err(CommandError::usage)?;
        for (flag, list) in [("cpuset-cpus", &common.cpuset_cpus), ("cpuset-mems", &common.cpuset_mems)] {
            cgroups::check_list(list).map_err(usage(flag))?;
        }
        cgroups::check_parent(&common.cgroup_parent).map_err(usage("cgroup-parent"))
    }
}
