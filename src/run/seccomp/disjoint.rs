//! The built-in profile for runtimes on libseccomp, which takes no rule that contradicts another one of the same call: what is
//! refused for some arguments is allowed for all others, spelled out.
//!
//! Invariant: no two rules of a call that match the same arguments have different actions, and the upper halves of arguments are
//! not looked at, since the kernel does not look at them either (known attack A58). Pure.

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator, LinuxSyscall};

use super::default_profile::{EPERM, NAMESPACE_FLAGS, REFUSED_FAMILIES, TYPING_CONTROLS, argument, rule};

/// Bits of an argument that the kernel looks at: an `int` or `unsigned int` in all the calls here.
const BITS: u32 = 32;
const ALL_BITS: u64 = 0xffff_ffff;

/// `AF_NETLINK`, and its protocol `NETLINK_AUDIT`.
const NETLINK: u64 = 16;
const AUDIT: u64 = 9;

/// `argument` is `value`.
fn is(index: usize, value: u64) -> Result<LinuxSeccompArg, OciSpecError> {
    argument(index, Operator::ScmpCmpMaskedEq, ALL_BITS, Some(value))
}

/// Conditions one of which holds for every value of an argument but `values`.
fn is_none_of(index: usize, values: &[u64]) -> Result<Vec<LinuxSeccompArg>, OciSpecError> {
    let first = values.first().copied().unwrap_or_default();
    let differing = values.iter().fold(0, |bits, value| bits | (value ^ first));
    let mut conditions = Vec::new();
    for bit in (0..BITS).map(|shift| 1u64 << shift).filter(|bit| differing & bit == 0) {
        conditions.push(argument(index, Operator::ScmpCmpMaskedEq, bit, Some(!first & bit))?);
    }
    // Where they differ, each pattern that is none of theirs: counting through the subsets of the mask.
    let mut pattern = 0u64;
    loop {
        if differing != 0 && !values.iter().any(|value| value & differing == pattern) {
            conditions.push(argument(index, Operator::ScmpCmpMaskedEq, differing, Some(pattern))?);
        }
        pattern = pattern.wrapping_sub(differing) & differing;
        if pattern == 0 {
            return Ok(conditions);
        }
    }
}

fn allow(name: &str, args: Vec<LinuxSeccompArg>) -> Result<LinuxSyscall, OciSpecError> {
    rule(&[name], Action::ScmpActAllow, None, args)
}

/// `clone` and `unshare` without a new namespace.
pub(super) fn without_namespaces() -> Result<Vec<LinuxSyscall>, OciSpecError> {
    let mut rules = Vec::new();
    for name in ["clone", "unshare"] {
        rules.push(allow(name, vec![argument(0, Operator::ScmpCmpMaskedEq, NAMESPACE_FLAGS, Some(0))?])?);
        for flag in (0..BITS).map(|shift| 1u64 << shift).filter(|flag| NAMESPACE_FLAGS & flag != 0) {
            let set = argument(0, Operator::ScmpCmpMaskedEq, flag, Some(flag))?;
            rules.push(rule(&[name], Action::ScmpActErrno, EPERM, vec![set])?);
        }
    }
    Ok(rules)
}

/// `ioctl` but for typing into terminals.
pub(super) fn without_typing() -> Result<Vec<LinuxSyscall>, OciSpecError> {
    let mut rules = Vec::new();
    for condition in is_none_of(1, TYPING_CONTROLS)? {
        rules.push(allow("ioctl", vec![condition])?);
    }
    for control in TYPING_CONTROLS {
        rules.push(rule(&["ioctl"], Action::ScmpActErrno, EPERM, vec![is(1, *control)?])?);
    }
    Ok(rules)
}

/// Which sockets for auditing are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Auditing {
    Allowed,
    Refused,
}

/// `socket` but for the refused families.
///
/// On 32-bit x86 libseccomp writes each of these rules for `socketcall` too, with the call's number in the place of the first
/// argument, and rules that differed become the same. So `socketcall`, behind which no filter sees the family (CVE-2026-123876),
/// is closed first: after that libseccomp drops what would open it.
pub(super) fn sockets(auditing: Auditing) -> Result<Vec<LinuxSyscall>, OciSpecError> {
    let mut rules = vec![rule(&["socketcall"], Action::ScmpActErrno, EPERM, vec![])?];
    let mut special = REFUSED_FAMILIES.to_vec();
    for family in REFUSED_FAMILIES {
        rules.push(rule(&["socket"], Action::ScmpActErrno, EPERM, vec![is(0, *family)?])?);
    }
    if auditing == Auditing::Refused {
        special.push(NETLINK);
        let audit = vec![is(0, NETLINK)?, is(2, AUDIT)?];
        rules.push(rule(&["socket"], Action::ScmpActErrno, Some(libc::EINVAL as u32), audit)?);
        for other in is_none_of(2, &[AUDIT])? {
            rules.push(allow("socket", vec![is(0, NETLINK)?, other])?);
        }
    }
    for condition in is_none_of(0, &special)? {
        rules.push(allow("socket", vec![condition])?);
    }
    Ok(rules)
}
