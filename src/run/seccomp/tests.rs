//! The compiled filter, run by an interpreter: what counts is what the kernel would answer, not what the profile says.

use super::*;
use crate::run::capabilities;
use crate::sys::seccomp::Instruction;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const PERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// Classic BPF over `struct seccomp_data`.
fn interpret(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend_from_slice(&number.to_le_bytes());
    data.extend_from_slice(&arch.to_le_bytes());
    data.extend_from_slice(&[0; 8]);
    args.iter().for_each(|arg| data.extend_from_slice(&arg.to_le_bytes()));
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let instruction = program[at];
        let operand = instruction.operand;
        at += 1;
        let holds = match instruction.code {
            0x20 => {
                let place = operand as usize;
                accumulator = u32::from_le_bytes(data[place..place + 4].try_into().unwrap());
                continue;
            }
            0x54 => {
                accumulator &= operand;
                continue;
            }
            0x05 => {
                at += operand as usize;
                continue;
            }
            0x06 => return operand,
            0x15 => accumulator == operand,
            0x25 => accumulator > operand,
            0x35 => accumulator >= operand,
            code => panic!("instruction {code:#x}"),
        };
        at += usize::from(if holds { instruction.jump_true } else { instruction.jump_false });
    }
}

fn default_program(add: &[&str]) -> Vec<Instruction> {
    program_for(add, Reader::Ours)
}

fn program_for(add: &[&str], reader: Reader) -> Vec<Instruction> {
    let add = add.iter().map(|name| (*name).to_string()).collect();
    let set = capabilities::Options { add, ..capabilities::Options::default() }.resolve().unwrap();
    compile(&default_profile::resolve(set, reader).unwrap()).unwrap()
}

fn call(program: &[Instruction], name: &str, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    let number = syscalls::number(syscalls::find(name).unwrap(), syscalls::Abi::X86_64).unwrap();
    interpret(program, X86_64, number, all)
}

fn call_32(program: &[Instruction], name: &str, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    interpret(program, I386, syscalls::number(syscalls::find(name).unwrap(), syscalls::Abi::I386).unwrap(), all)
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_default_profile_answers_as_written() {
    let program = default_program(&[]);
    for (name, args, expected) in [
        ("read", &[][..], ALLOW),
        ("execve", &[], ALLOW),
        ("setuid", &[], ALLOW),
        ("file_setattr", &[], ALLOW),
        ("mount", &[], PERM),
        ("bpf", &[], PERM),
        ("keyctl", &[], PERM),
        ("add_key", &[], PERM),
        ("userfaultfd", &[], PERM),
        ("perf_event_open", &[], PERM),
        ("io_uring_setup", &[], NOSYS),
        ("clone3", &[], NOSYS),
        ("unshare", &[0x1000_0000], PERM),
        ("unshare", &[0x0000_0200], ALLOW),
        ("clone", &[0x1000_0011], PERM),
        ("clone", &[0x0001_0f00], ALLOW),
        ("socket", &[2, 1, 0], ALLOW),
        ("socket", &[38, 5, 0], PERM),
        ("socket", &[40, 1, 0], PERM),
        ("socket", &[16, 3, 9], libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        ("socket", &[16, 3, 0], ALLOW),
        ("ioctl", &[0, 0x5412], PERM),
        ("ioctl", &[0, 0x5401], ALLOW),
        ("personality", &[0x2_0000], ALLOW),
        ("personality", &[0x4_0000], NOSYS),
    ] {
        assert_eq!(call(&program, name, args), expected, "{name} {args:x?}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn high_halves_and_other_abis_do_not_get_round_the_filter() {
    let program = default_program(&[]);
    let high = 0xdead_0000_0000_0000u64;
    for (name, args) in [
        ("socket", [high | 38, 5, 0]),
        ("socket", [high | 40, 1, 0]),
        ("socket", [high | 16, 3, high | 9]),
        ("ioctl", [0, high | 0x5412, 0]),
        ("unshare", [high | 0x1000_0000, 0, 0]),
        ("clone", [high | 0x1000_0000, 0, 0]),
    ] {
        assert_ne!(call(&program, name, &args), ALLOW, "{name}");
    }
    for name in ["socketcall", "mount", "keyctl", "bpf", "unshare"] {
        assert_ne!(call_32(&program, name, &[0x1000_0000]), ALLOW, "{name}");
    }
    assert_eq!(call_32(&program, "read", &[]), ALLOW);
    let read_x32 = interpret(&program, X86_64, 0x4000_0000, [0; 6]);
    assert_eq!(read_x32, NOSYS);
    for arch in [0xc000_00b7, 0x4000_0028, 0] {
        assert_eq!(interpret(&program, arch, 0, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_capability_opens_its_calls() {
    let program = default_program(&["SYS_ADMIN"]);
    for name in ["mount", "bpf", "clone3", "setns"] {
        assert_eq!(call(&program, name, &[]), ALLOW, "{name}");
    }
    assert_eq!(call(&program, "unshare", &[0x1000_0000]), ALLOW);
    assert_eq!(call(&program, "iopl", &[]), PERM);
}

/// The rules for libseccomp answer like ours, and no two of a call that match the same arguments differ.
#[test]
#[cfg(target_arch = "x86_64")]
fn other_compilers_get_the_same_answers_from_rules_that_agree() {
    let values = |around: &[u64]| {
        let mut values: Vec<u64> = (0..64).chain((0..32).map(|bit| 1 << bit)).collect();
        values.extend(around.iter().flat_map(|value| (0..32).map(move |bit| value ^ (1 << bit)).chain([*value])));
        values.extend(values.clone().iter().map(|value| value | 0xdead_0000_0000_0000));
        values
    };
    for add in [&[][..], &["AUDIT_WRITE"], &["SYS_ADMIN"]] {
        let (ours, theirs) = (program_for(add, Reader::Ours), program_for(add, Reader::Libseccomp));
        for value in values(&[0x5412, 0x541c, 16, 38, 40, 0x7e02_0000]) {
            for (name, args) in [
                ("ioctl", [0, value, 0]),
                ("socket", [value, 1, 0]),
                ("socket", [16, 3, value]),
                ("clone", [value, 0, 0]),
                ("unshare", [value, 0, 0]),
            ] {
                let (theirs, ours) = (call(&theirs, name, &args), call(&ours, name, &args));
                assert_eq!(theirs, ours, "{add:?} {name} {args:x?}");
            }
        }
        let set = capabilities::Options { add: add.iter().map(|name| (*name).to_string()).collect(), ..Default::default() };
        let profile = default_profile::resolve(set.resolve().unwrap(), Reader::Libseccomp).unwrap();
        let mut seen = std::collections::BTreeMap::new();
        for rule in profile.syscalls().iter().flatten() {
            for name in rule.names() {
                let before = seen.insert(name.clone(), rule.args().is_none());
                assert!(before.is_none() || (before == Some(false) && rule.args().is_some()), "{name} has rules of both kinds");
            }
        }
    }
}

fn compiled(json: &str) -> Result<Vec<Instruction>, Error> {
    let filter = profile::parse(json.as_bytes(), capabilities::Set::EMPTY).map_err(|error| match error {
        profile::Error::Json(source) => Error::Parse { path: PathBuf::new(), source },
        profile::Error::Unsupported(why) => Error::Unsupported(why),
    })?;
    compile(&filter)
}

fn with_rules(rules: &str) -> Result<Vec<Instruction>, Error> {
    compiled(&format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}}],"syscalls":[{rules}]}}"#
    ))
}

#[test]
#[cfg(target_arch = "x86_64")]
fn every_operator_compares_all_64_bits() {
    let big = 0x1_0000_0005u64;
    for (op, equal, below, above) in [
        ("EQ", true, false, false),
        ("NE", false, true, true),
        ("LT", false, true, false),
        ("LE", true, true, false),
        ("GT", false, false, true),
        ("GE", true, false, true),
    ] {
        let rule = format!(
            r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{{"index":1,"value":{big},"op":"SCMP_CMP_{op}"}}]}}"#
        );
        let program = with_rules(&rule).unwrap();
        for (value, expected) in [
            (big, equal),
            (big - 1, below),
            (big + 1, above),
            (5, below),
            (0x2_0000_0000, above),
            (0, below),
            (u64::MAX, above),
        ] {
            let allowed = call(&program, "read", &[0, value]) == ALLOW;
            assert_eq!(allowed, expected, "{value:#x} {op} {big:#x}");
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn two_inequalities_on_one_argument_are_both_kept() {
    let not = |value: u32| {
        format!(r#"{{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":{value},"op":"SCMP_CMP_NE"}}]}}"#)
    };
    let program = with_rules(&format!("{},{}", not(38), not(40))).unwrap();
    for (family, allowed) in [(2, true), (38, false), (40, false), (0xff_0000_0026, false)] {
        assert_eq!(call(&program, "socket", &[family]) == ALLOW, allowed, "family {family}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let rule = |action: &str, name: &str| format!(r#"{{"names":["{name}"],"action":"{action}"}}"#);
    for bad in [
        rule("SCMP_ACT_NOTIFY", "read"),
        rule("SCMP_ACT_NOPE", "read"),
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","extra":1}"#.to_string(),
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}"#.to_string(),
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"SCMP_CMP_XX"}]}"#.to_string(),
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"x"}}"#.to_string(),
    ] {
        assert!(with_rules(&bad).is_err(), "{bad}");
    }
    assert!(
        compiled(r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mountt"],"action":"SCMP_ACT_ERRNO"}]}"#).is_err()
    );
    assert!(compiled(r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x","syscalls":[]}"#).is_err());
    assert!(compiled("{}").is_err());
    assert!(filter(&SeccompChoice::File("/nonexistent".into()), capabilities::Set::EMPTY, Reader::Ours).is_err());
    assert!(with_rules(&rule("SCMP_ACT_ALLOW", "a_call_of_the_future")).is_ok());
}

#[test]
fn every_name_of_the_default_profile_is_known() {
    let filter = default_profile::resolve(capabilities::Set::EMPTY, Reader::Ours).unwrap();
    // Gone from the kernel's headers, or of an ABI that is not built in.
    let historic = ["arm_fadvise64_64", "arm_sync_file_range", "query_module", "nfsservctl", "swapcontext"];
    for rule in filter.syscalls().iter().flatten() {
        for name in rule.names() {
            let known = syscalls::find(name).is_some() || historic.contains(&name.as_str()) || name.starts_with("pciconfig_");
            assert!(known, "{name}");
        }
    }
}
