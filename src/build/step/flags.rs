//! The flags of a build that commands see, each an input of RUN with a name that a person knows.
//!
//! Invariant: a flag that was not given is no input, so that what lists inputs stays short. One without a name here counts all the same.

use std::fmt::Debug;

use serde_json::{Map, Value};

use crate::build::cache::Inputs;
use crate::build::options::RunOptions;
use crate::container::state::CommonOptions;

/// Members of `CommonBuildOpts` and the flags that set them.
const COMMON: [(&str, &str); 25] = [
    ("AddHost", "--add-host"),
    ("ApparmorProfile", "--security-opt"),
    ("CPUPeriod", "--cpu-period"),
    ("CPUQuota", "--cpu-quota"),
    ("CPUSetCPUs", "--cpuset-cpus"),
    ("CPUSetMems", "--cpuset-mems"),
    ("CPUShares", "--cpu-shares"),
    ("CgroupParent", "--cgroup-parent"),
    ("DNSOptions", "--dns-option"),
    ("DNSSearch", "--dns-search"),
    ("DNSServers", "--dns"),
    ("HTTPProxy", "--http-proxy"),
    ("LabelOpts", "--security-opt"),
    ("Masks", "--security-opt"),
    ("Memory", "--memory"),
    ("MemorySwap", "--memory-swap"),
    ("NoHostname", "--no-hostname"),
    ("NoHosts", "--no-hosts"),
    ("NoNewPrivileges", "--security-opt"),
    ("OCIHooksDir", "--hooks-dir"),
    ("SeccompProfilePath", "--security-opt"),
    ("ShmSize", "--shm-size"),
    ("Ulimit", "--ulimit"),
    ("Unmasks", "--security-opt"),
    ("Volumes", "--volume"),
];

/// Adds them.
pub(super) fn inputs(build: &RunOptions<'_>, inputs: &mut Inputs) {
    let (confinement, kept) = (&build.confinement, &build.environment);
    let mut add = |flag: &str, value: &dyn Debug| inputs.add(flag, format!("{value:?}").as_bytes());
    add("--cap-add or --cap-drop", &(&kept.capabilities, &confinement.cap_add, &confinement.cap_drop));
    add("--network", &(&kept.network_policy, &confinement.namespaces.network));
    add("--allow", &build.allowed);
    let lists: [(&str, &dyn Debug, usize); 5] = [
        ("--group-add", &(&kept.group_add, &confinement.groups), kept.group_add.len() + confinement.groups.len()),
        ("--device", &(&kept.devices, &build.mounts.devices), kept.devices.len() + build.mounts.devices.len()),
        ("--security-opt", &confinement.security, confinement.security.len()),
        ("--mount", &build.step_mounts, build.step_mounts.len()),
        ("--compat-volumes", &build.compat_volumes, usize::from(build.compat_volumes)),
    ];
    for (flag, values, _) in lists.iter().filter(|(.., count)| *count > 0) {
        add(flag, values);
    }
    let usual = members(&CommonOptions::default());
    for (member, value) in members(&kept.common).iter().filter(|(member, value)| usual.get(*member) != Some(*value)) {
        let flag = COMMON.iter().find(|(known, _)| known == member).map_or(member.as_str(), |(_, flag)| *flag);
        // Several members have one flag.
        add(flag, &(member, value.to_string()));
    }
}

fn members(options: &CommonOptions) -> Map<String, Value> {
    match serde_json::to_value(options) {
        Ok(Value::Object(members)) => members,
        // Never: they are numbers, texts and lists of these.
        Ok(_) | Err(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_its_flag() {
        let without: Vec<String> = members(&CommonOptions::default())
            .into_iter()
            .map(|(member, _)| member)
            .filter(|member| !COMMON.iter().any(|(known, _)| known == member))
            .collect();
        // These two are about the image, whose flags are inputs of every step.
        assert_eq!(without, ["IdentityLabel", "OmitHistory"]);
    }
}
