//! `seccomp.json` of containers and Docker: the specification's filter with conditions on architecture, capabilities and kernel.
//!
//! Invariant: a field or value that is not known is an error, since it could be the one that restricts (GHSA-7236-3392-c5c6).

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

use crate::run::capabilities::Set;

/// Why a profile is refused.
#[derive(Debug)]
pub(super) enum Error {
    Json(serde_json::Error),
    Unsupported(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default, rename = "defaultErrno")]
    _default_errno: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    #[serde(default)]
    listener_path: Option<std::path::PathBuf>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default, rename = "errno")]
    _errno: Option<String>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default, rename = "comment")]
    _comment: Option<String>,
    #[serde(default)]
    includes: Conditions,
    #[serde(default)]
    excludes: Conditions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: usize,
    value: u64,
    #[serde(default)]
    value_two: Option<u64>,
    op: LinuxSeccompOperator,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Conditions {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// Parses a profile for a process that may hold `capabilities`.
pub(super) fn parse(bytes: &[u8], capabilities: Set) -> Result<LinuxSeccomp, Error> {
    let profile: Profile = serde_json::from_slice(bytes).map_err(Error::Json)?;
    let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut syscalls: Vec<LinuxSyscall> = Vec::new();
    for rule in profile.syscalls.into_iter().flatten() {
        let included = applies(&rule.includes, capabilities, &kernel)?;
        let excluded = rule.excludes.is_met_by_any(capabilities, &kernel)?;
        if included && !excluded {
            syscalls.push(rule.into_spec().map_err(|error| Error::Unsupported(error.to_string()))?);
        }
    }
    let syscalls = combine_inequalities(syscalls);
    let architectures = architectures(profile.architectures, profile.arch_map)?;
    let mut filter = LinuxSeccompBuilder::default()
        .default_action(profile.default_action)
        .architectures(architectures)
        .syscalls(syscalls)
        .build()
        .map_err(|error| Error::Unsupported(error.to_string()))?;
    filter.set_default_errno_ret(profile.default_errno_ret);
    filter.set_flags(profile.flags);
    filter.set_listener_path(profile.listener_path);
    Ok(filter)
}

/// Two rules "first argument is not A" and "first argument is not B" would together let both pass; what they mean is neither.
fn combine_inequalities(rules: Vec<LinuxSyscall>) -> Vec<LinuxSyscall> {
    let mut combined: Vec<LinuxSyscall> = Vec::with_capacity(rules.len());
    for rule in rules {
        let twin = single_inequality(&rule).and_then(|index| {
            combined.iter_mut().find(|known| {
                let same = known.names() == rule.names() && known.action() == rule.action();
                let inequalities = known.args().iter().flatten().all(|arg| is_inequality(arg) && arg.index() == index);
                same && inequalities && known.args().as_ref().is_some_and(|args| !args.is_empty())
            })
        });
        match twin {
            Some(known) => {
                let mut args = known.args().clone().unwrap_or_default();
                args.extend(rule.args().iter().flatten().filter(|arg| !known.args().iter().flatten().any(|k| k == *arg)));
                known.set_args(Some(args));
            }
            None => combined.push(rule),
        }
    }
    combined
}

fn is_inequality(arg: &LinuxSeccompArg) -> bool {
    arg.op() == LinuxSeccompOperator::ScmpCmpNe
}

fn single_inequality(rule: &LinuxSyscall) -> Option<usize> {
    match rule.args().as_deref() {
        Some([arg]) if is_inequality(arg) => Some(arg.index()),
        _ => None,
    }
}

fn architectures(listed: Option<Vec<Arch>>, map: Option<Vec<ArchMap>>) -> Result<Vec<Arch>, Error> {
    let native = match std::env::consts::ARCH {
        "aarch64" => "SCMP_ARCH_AARCH64",
        _ => "SCMP_ARCH_X86_64",
    };
    let mut architectures = listed.unwrap_or_default();
    for entry in map.into_iter().flatten().filter(|entry| entry.architecture == native) {
        for name in std::iter::once(&entry.architecture).chain(entry.sub_architectures.iter().flatten()) {
            let parsed = name.parse().map_err(|_| Error::Unsupported(format!("unknown architecture {name:?}")))?;
            architectures.push(parsed);
        }
    }
    Ok(architectures)
}

/// All conditions that are set hold.
fn applies(conditions: &Conditions, capabilities: Set, kernel: &str) -> Result<bool, Error> {
    let arch = conditions.arches.is_empty() || conditions.arches.iter().any(|name| name == native_name());
    let caps = conditions.caps.iter().all(|name| capabilities.has(name));
    Ok(arch && caps && kernel_is(conditions, kernel)?.unwrap_or(true))
}

impl Conditions {
    /// At least one condition is set and holds.
    fn is_met_by_any(&self, capabilities: Set, kernel: &str) -> Result<bool, Error> {
        let arch = self.arches.iter().any(|name| name == native_name());
        let caps = self.caps.iter().any(|name| capabilities.has(name));
        Ok(arch || caps || kernel_is(self, kernel)?.unwrap_or(false))
    }
}

fn kernel_is(conditions: &Conditions, kernel: &str) -> Result<Option<bool>, Error> {
    let Some(wanted) = &conditions.min_kernel else { return Ok(None) };
    let wanted_version = version(wanted).ok_or_else(|| Error::Unsupported(format!("invalid minKernel {wanted:?}")))?;
    Ok(Some(version(kernel).is_some_and(|running| running >= wanted_version)))
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The name of this architecture in conditions.
fn native_name() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    }
}

impl Rule {
    fn into_spec(self) -> Result<LinuxSyscall, oci_spec::OciSpecError> {
        let names: Vec<String> = self.name.into_iter().chain(self.names).collect();
        let mut rule = LinuxSyscallBuilder::default().names(names).action(self.action).build()?;
        rule.set_errno_ret(self.errno_ret);
        let mut args = Vec::new();
        for argument in self.args.into_iter().flatten() {
            let builder = LinuxSeccompArgBuilder::default().index(argument.index).value(argument.value).op(argument.op);
            let builder = match argument.value_two {
                Some(second) => builder.value_two(second),
                None => builder,
            };
            args.push(builder.build()?);
        }
        rule.set_args((!args.is_empty()).then_some(args));
        Ok(rule)
    }
}
