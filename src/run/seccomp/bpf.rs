//! From the specification's filter to classic BPF (`Documentation/userspace-api/seccomp_filter.rst`).
//!
//! ```text
//!   load arch ─ our ABI? ─▶ load number ─ binary search over ranges of numbers ─▶ answer, or rules on arguments ─▶ answer
//!             └ other ABI of the list ─▶ the same for that one;  any other ─▶ kill
//! ```
//!
//! Invariant: an argument that the kernel takes as an `int` is compared in its low half only, since the kernel ignores the high
//! half that a caller can fill (known attack A58). Jumps that can be far are unconditional ones, whose offset has 32 bits.
//!
//! The kernel's data is in machine order; all ABIs here are little-endian.

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use super::Error;
use super::syscalls::{self, Abi};
use crate::sys::seccomp::Instruction;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP_ABOVE: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Calls of the x32 ABI carry this bit in the number.
const X32: u32 = 0x4000_0000;

/// Instructions that the kernel takes at most (`BPF_MAXINSNS`).
const LENGTH_LIMIT: usize = 4096;

/// Calls whose arguments at these places are 32-bit numbers for the kernel.
const NARROW: &[(&str, &[usize])] = &[
    ("socket", &[0, 1, 2]),
    ("socketpair", &[0, 1, 2]),
    ("personality", &[0]),
    ("ioctl", &[0, 1]),
    ("clone", &[0]),
    ("unshare", &[0]),
    ("setns", &[0, 1]),
    ("prctl", &[0]),
    ("fcntl", &[0, 1]),
    ("kill", &[0, 1]),
    ("ptrace", &[]),
];

/// Compiles `filter` for this machine.
///
/// # Errors
/// For an action, a flag or an architecture list that cannot be honoured.
pub fn compile(filter: &LinuxSeccomp) -> Result<Vec<Instruction>, Error> {
    let unsupported = |what: &str| Err(Error::Unsupported(format!("{what} is not supported")));
    if filter.listener_path().is_some() {
        return unsupported("a listener");
    }
    if filter.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return unsupported("a filter flag");
    }
    let default = answer(filter.default_action(), filter.default_errno_ret())?;
    let (native, compatible) = match std::env::consts::ARCH {
        "x86_64" => ((Arch::ScmpArchX86_64, Abi::X86_64), (Arch::ScmpArchX86, Abi::I386)),
        "aarch64" => ((Arch::ScmpArchAarch64, Abi::Aarch64), (Arch::ScmpArchArm, Abi::Arm)),
        other => return Err(Error::Unsupported(format!("filtering on {other} is not supported; use seccomp=unconfined"))),
    };
    let listed = filter.architectures().as_deref().unwrap_or_default();
    let wanted = [native, compatible].into_iter().filter(|(arch, abi)| *abi == native.1 || listed.contains(arch));
    let mut program = Program::default();
    program.push(LOAD, ARCHITECTURE);
    for (arch, abi) in wanted {
        let rules = rules_for(filter, abi, default)?;
        let skip = program.unless_equal(arch as u32);
        program.architecture(abi, default, &rules);
        program.land(skip);
    }
    program.push(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
    if program.instructions.len() > LENGTH_LIMIT {
        return unsupported("a profile of this size");
    }
    Ok(program.instructions)
}

/// What to return to the kernel.
fn answer(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, Error> {
    if action == LinuxSeccompAction::ScmpActNotify {
        return Err(Error::Unsupported("the action SCMP_ACT_NOTIFY is not supported".to_string()));
    }
    if errno.is_some_and(|errno| errno > 4095) {
        return Err(Error::Unsupported(format!("the error number {} is out of range", errno.unwrap_or_default())));
    }
    Ok(action.as_u32(errno))
}

/// The rules of one system call.
struct Rules<'a> {
    number: u32,
    narrow: &'static [usize],
    /// In the order of trying; the first that matches answers. The last has no conditions.
    steps: Vec<(u32, &'a [LinuxSeccompArg])>,
}

/// Rules by number, ascending.
fn rules_for(filter: &LinuxSeccomp, abi: Abi, default: u32) -> Result<Vec<Rules<'_>>, Error> {
    let mut found: Vec<(u32, &'static str, u32, &[LinuxSeccompArg])> = Vec::with_capacity(400);
    for rule in filter.syscalls().iter().flatten() {
        let answer = answer(rule.action(), rule.errno_ret())?;
        let args = rule.args().as_deref().unwrap_or_default();
        if args.iter().any(|arg| arg.index() > 5) {
            return Err(Error::Unsupported("an argument index above 5".to_string()));
        }
        for name in rule.names() {
            match syscalls::find(name) {
                Some(row) => found.extend(syscalls::number(row, abi).map(|number| (number, row.0, answer, args))),
                None => known_elsewhere(rule, name, answer, default)?,
            }
        }
    }
    // Within a call: rules with conditions first, then the more restrictive one. The kernel numbers its answers that way.
    found.sort_by_key(|(number, _, answer, args)| (*number, args.is_empty(), severity(*answer)));
    let mut rules: Vec<Rules<'_>> = Vec::with_capacity(found.len());
    for (number, name, answer, args) in found {
        match rules.last_mut() {
            Some(last) if last.number == number => last.steps.push((answer, args)),
            _ => {
                let narrow = NARROW.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, places)| places);
                rules.push(Rules { number, narrow, steps: vec![(answer, args)] });
            }
        }
    }
    for rule in &mut rules {
        if rule.steps.last().is_some_and(|(_, args)| !args.is_empty()) {
            rule.steps.push((default, &[]));
        }
    }
    Ok(rules)
}

/// Ascending: the kernel, too, lets the smallest answer win, `KILL_PROCESS` counted as negative.
fn severity(answer: u32) -> i32 {
    (answer & libc::SECCOMP_RET_ACTION_FULL).cast_signed()
}

/// A name that this machine's ABIs do not have changes nothing, unless it was to be refused: a misspelt refusal is a hole.
fn known_elsewhere(rule: &LinuxSyscall, name: &str, answer: u32, default: u32) -> Result<(), Error> {
    let foreign = ["s390_", "sys_debug_setcontext", "swapcontext", "spu_", "subpage_prot", "pciconfig_", "riscv_", "rtas"];
    if severity(answer) >= severity(default) || foreign.iter().any(|prefix| name.starts_with(prefix)) {
        return Ok(());
    }
    Err(Error::Unsupported(format!("system call {name:?}, which is to be answered with {}, is not known", rule.action())))
}

/// A jump whose target is not known yet.
struct Pending(usize);

#[derive(Default)]
struct Program {
    instructions: Vec<Instruction>,
}

impl Program {
    fn push(&mut self, code: u16, operand: u32) {
        self.instructions.push(Instruction { code, jump_true: 0, jump_false: 0, operand });
    }

    /// Goes on if the accumulator equals `value`, else to where the answer lands.
    fn unless_equal(&mut self, value: u32) -> Pending {
        self.branch(JUMP_EQUAL, value, 1, 0)
    }

    /// A comparison followed by a far jump; `held` and `failed` count instructions to skip, one of them the jump.
    fn branch(&mut self, code: u16, operand: u32, held: u8, failed: u8) -> Pending {
        self.instructions.push(Instruction { code, jump_true: held, jump_false: failed, operand });
        self.push(JUMP, 0);
        Pending(self.instructions.len() - 1)
    }

    fn land(&mut self, pending: Pending) {
        let distance = self.instructions.len() - pending.0 - 1;
        if let Some(jump) = self.instructions.get_mut(pending.0) {
            // The program has at most 4,096 instructions, or is refused.
            jump.operand = u32::try_from(distance).unwrap_or(u32::MAX);
        }
    }

    fn architecture(&mut self, abi: Abi, default: u32, rules: &[Rules<'_>]) {
        self.push(LOAD, NUMBER);
        if abi == Abi::X86_64 {
            // The x32 ABI would be a second set of numbers on the same architecture: it has no calls here.
            let ordinary = self.branch(JUMP_AT_LEAST, X32, 1, 0);
            self.push(RETURN, default);
            self.land(ordinary);
        }
        let ranges = ranges(rules, default);
        self.search(&ranges);
    }

    /// Binary search: each comparison leaves half of the ranges.
    fn search(&mut self, ranges: &[(u32, Leaf<'_>)]) {
        match ranges {
            [] => {}
            [(_, Leaf::Answer(answer))] => self.push(RETURN, *answer),
            [(_, Leaf::Rules(rules))] => self.steps(rules),
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let start = high.first().map_or(0, |(start, _)| *start);
                let upper = self.branch(JUMP_AT_LEAST, start, 0, 1);
                self.search(low);
                self.land(upper);
                self.search(high);
            }
        }
    }

    fn steps(&mut self, rules: &Rules<'_>) {
        for (answer, args) in &rules.steps {
            let failed: Vec<Pending> =
                args.iter().flat_map(|arg| self.condition(arg, rules.narrow.contains(&arg.index()))).collect();
            self.push(RETURN, *answer);
            failed.into_iter().for_each(|pending| self.land(pending));
        }
    }

    /// Code that goes on if the condition holds; the jumps for when it does not.
    fn condition(&mut self, arg: &LinuxSeccompArg, narrow: bool) -> Vec<Pending> {
        let value = if arg.op() == LinuxSeccompOperator::ScmpCmpMaskedEq { arg.value_two().unwrap_or(0) } else { arg.value() };
        let mask = if arg.op() == LinuxSeccompOperator::ScmpCmpMaskedEq { arg.value() } else { u64::MAX };
        let mask = if narrow { mask & u64::from(u32::MAX) } else { mask };
        let value = if narrow { value & u64::from(u32::MAX) } else { value };
        let low = ARGUMENTS + 8 * u32::try_from(arg.index()).unwrap_or(0);
        let halves = (Half { offset: low + 4, mask, value }, Half { offset: low, mask, value });
        match arg.op() {
            LinuxSeccompOperator::ScmpCmpEq | LinuxSeccompOperator::ScmpCmpMaskedEq => self.equal(&halves, narrow),
            LinuxSeccompOperator::ScmpCmpNe => {
                let differs = self.equal(&halves, narrow);
                self.push(JUMP, 0);
                let same = Pending(self.instructions.len() - 1);
                differs.into_iter().for_each(|pending| self.land(pending));
                vec![same]
            }
            LinuxSeccompOperator::ScmpCmpGe => self.ordered(&halves, narrow, JUMP_AT_LEAST, true),
            LinuxSeccompOperator::ScmpCmpGt => self.ordered(&halves, narrow, JUMP_ABOVE, true),
            LinuxSeccompOperator::ScmpCmpLt => self.ordered(&halves, narrow, JUMP_AT_LEAST, false),
            LinuxSeccompOperator::ScmpCmpLe => self.ordered(&halves, narrow, JUMP_ABOVE, false),
        }
    }

    fn equal(&mut self, (high, low): &(Half, Half), narrow: bool) -> Vec<Pending> {
        let mut failed = Vec::with_capacity(2);
        if !narrow {
            self.load(high, 32);
            failed.push(self.unless_equal(high.part(32)));
        }
        self.load(low, 0);
        failed.push(self.unless_equal(low.part(0)));
        failed
    }

    /// `argument CODE value`, or its negation. The high halves decide unless they are equal.
    fn ordered(&mut self, (high, low): &(Half, Half), narrow: bool, code: u16, wanted: bool) -> Vec<Pending> {
        let (mut held, mut failed) = (Vec::new(), Vec::new());
        if !narrow {
            self.load(high, 32);
            let above = self.branch(JUMP_ABOVE, high.part(32), 0, 1);
            let below = self.branch(JUMP_EQUAL, high.part(32), 1, 0);
            if wanted {
                held.push(above);
                failed.push(below);
            } else {
                failed.push(above);
                held.push(below);
            }
        }
        self.load(low, 0);
        let (held_skip, failed_skip) = if wanted { (1, 0) } else { (0, 1) };
        failed.push(self.branch(code, low.part(0), held_skip, failed_skip));
        held.into_iter().for_each(|pending| self.land(pending));
        failed
    }

    fn load(&mut self, half: &Half, shift: u32) {
        self.push(LOAD, half.offset);
        let mask = (half.mask >> shift) as u32;
        if mask != u32::MAX {
            self.push(AND, mask);
        }
    }
}

/// One half of a 64-bit argument.
struct Half {
    offset: u32,
    mask: u64,
    value: u64,
}

impl Half {
    fn part(&self, shift: u32) -> u32 {
        (self.value >> shift) as u32
    }
}

/// What stands at the end of the search.
#[derive(Clone, Copy)]
enum Leaf<'a> {
    Answer(u32),
    Rules(&'a Rules<'a>),
}

/// Neighbouring numbers with the same answer, as ranges that cover every number.
fn ranges<'a>(rules: &'a [Rules<'a>], default: u32) -> Vec<(u32, Leaf<'a>)> {
    let mut ranges: Vec<(u32, Leaf<'a>)> = vec![(0, Leaf::Answer(default))];
    let mut add = |start: u32, leaf: Leaf<'a>| match (ranges.last_mut(), leaf) {
        (Some((_, Leaf::Answer(before))), Leaf::Answer(now)) if *before == now => {}
        (Some((known, last)), leaf) if *known == start => *last = leaf,
        _ => ranges.push((start, leaf)),
    };
    let mut next = 0;
    for rule in rules {
        if rule.number > next {
            add(next, Leaf::Answer(default));
        }
        add(
            rule.number,
            match rule.steps.as_slice() {
                [(answer, []), ..] => Leaf::Answer(*answer),
                _ => Leaf::Rules(rule),
            },
        );
        next = rule.number.saturating_add(1);
    }
    add(next, Leaf::Answer(default));
    ranges
}
