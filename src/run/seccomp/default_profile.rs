//! The built-in profile: what programs and package managers use is allowed, the rest does not exist.
//!
//! In effect that of containers/common, with these differences, each narrower and each opened by CAP_SYS_ADMIN or by a profile
//! of the user's own: new user namespaces and the calls that need one (CVE-2022-0185), the kernel's key rings, AF_ALG
//! (CVE-2026-31431), `socketcall`, behind which a filter cannot see the address family (CVE-2026-123876), and the terminal
//! controls that type for the user (CVE-2017-5226).

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator as Operator, LinuxSyscall, LinuxSyscallBuilder,
};

use super::disjoint::Auditing;
use super::{Reader, disjoint};
use crate::run::capabilities::Set;

/// Always allowed.
#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    // Files and directories.
    "access", "chdir", "chmod", "chown", "chown32", "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3",
    "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "arm_fadvise64_64", "fallocate", "fanotify_mark", "fchdir", "fchmod",
    "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "fdatasync", "file_getattr", "file_setattr",
    "flock", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futimesat", "getcwd",
    "getdents", "getdents64", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "lchown", "lchown32",
    "link", "linkat", "_llseek", "lseek", "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat", "name_to_handle_at",
    "newfstatat", "open", "openat", "openat2", "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2",
    "read", "readahead", "readdir", "readlink", "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "sendfile",
    "sendfile64", "splice", "stat", "stat64", "statfs", "statfs64", "statx", "symlink", "symlinkat", "sync", "sync_file_range",
    "sync_file_range2", "arm_sync_file_range", "syncfs", "tee", "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime",
    "utimensat", "utimensat_time64", "utimes", "write", "writev", "cachestat",
    // Extended attributes.
    "fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat", "lgetxattr", "listxattr", "listxattrat",
    "llistxattr", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr", "setxattrat",
    // Waiting and events.
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old",
    "eventfd", "eventfd2", "_newselect", "pause", "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "select",
    "signalfd", "signalfd4", "io_cancel", "io_destroy", "io_getevents", "io_setup", "io_submit",
    // Memory.
    "brk", "get_mempolicy", "madvise", "map_shadow_stack", "mbind", "membarrier", "memfd_create", "memfd_secret", "mincore",
    "mlock", "mlock2", "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "process_mrelease", "remap_file_pages", "set_mempolicy",
    "set_mempolicy_home_node",
    // Processes and threads.
    "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv",
    "futex_wake", "get_robust_list", "get_thread_area", "getcpu", "getpgid", "getpgrp", "getpid", "getppid", "getpriority",
    "getrlimit", "getrusage", "getsid", "gettid", "ioprio_get", "ioprio_set", "kill", "pidfd_getfd", "pidfd_open",
    "pidfd_send_signal", "prctl", "prlimit64", "process_vm_readv", "process_vm_writev", "ptrace", "restart_syscall", "rseq",
    "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
    "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr",
    "sched_setparam", "sched_setscheduler", "sched_yield", "set_robust_list", "set_thread_area", "set_tid_address", "setpgid",
    "setpriority", "setrlimit", "setsid", "tgkill", "times", "tkill", "ugetrlimit", "vfork", "wait4", "waitid", "waitpid",
    "breakpoint", "cacheflush", "set_tls",
    // Signals.
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sigaction", "sigaltstack", "signal", "sigpending", "sigprocmask", "sigreturn",
    "sigsuspend",
    // Ids and capabilities.
    "capget", "capset", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32",
    "getresgid", "getresgid32", "getresuid", "getresuid32", "getuid", "getuid32", "setfsgid", "setfsgid32", "setfsuid",
    "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setregid", "setregid32", "setresgid", "setresgid32",
    "setresuid", "setresuid32", "setreuid", "setreuid32", "setuid", "setuid32",
    // Time.
    "adjtimex", "alarm", "clock_adjtime", "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime",
    "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep", "setitimer", "time",
    "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64",
    "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64",
    // Sockets and messages; `socket` itself is below.
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recv", "recvfrom", "recvmmsg",
    "recvmmsg_time64", "recvmsg", "send", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socketpair", "ipc",
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64",
    "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "shmat",
    "shmctl", "shmdt", "shmget",
    // The machine.
    "getrandom", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "reboot", "seccomp", "sysinfo",
    "syslog", "uname", "arch_prctl", "modify_ldt",
];

/// Refused with "operation not permitted" instead of "no such call", since programs expect that answer.
#[rustfmt::skip]
const REFUSED: &[&str] = &[
    "add_key", "bdflush", "io_pgetevents", "kexec_file_load", "kexec_load", "keyctl", "migrate_pages", "move_pages", "nfsservctl",
    "nice", "oldfstat", "oldlstat", "oldolduname", "oldstat", "olduname", "pciconfig_iobase", "pciconfig_read", "pciconfig_write",
    "request_key", "sgetmask", "ssetmask", "swapoff", "swapon", "sysfs", "uselib", "userfaultfd", "ustat", "vm86", "vm86old",
    "vmsplice",
];

/// Allowed to the holders of a capability; others are not permitted.
#[rustfmt::skip]
const BY_CAPABILITY: &[(&str, &[&str])] = &[
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_SYS_ADMIN", &[
        "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "listmount", "lookup_dcookie", "mount", "mount_setattr",
        "move_mount", "open_tree", "open_tree_attr", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "setdomainname",
        "sethostname", "setns", "statmount", "umount", "umount2",
    ]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module", "query_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &["kcmp", "process_madvise"]),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    ("CAP_SYS_TIME", &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
];

/// Every `CLONE_NEW*` flag of `clone` and `unshare` (clone(2)).
pub(super) const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// Personalities that are of use: Linux, `UNAME26`, both with 32-bit addresses, and asking (personality(2)).
const PERSONALITIES: &[u64] = &[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `TIOCSTI` and `TIOCLINUX`: input for a terminal from somebody who is not at it (ioctl_tty(2)).
pub(super) const TYPING_CONTROLS: &[u64] = &[0x5412, 0x541c];

/// Address families `AF_ALG` and `AF_VSOCK`.
pub(super) const REFUSED_FAMILIES: &[u64] = &[38, 40];

/// The profile for a process that may hold `capabilities`, to be compiled by `reader`.
pub(super) fn resolve(capabilities: Set, reader: Reader) -> Result<LinuxSeccomp, OciSpecError> {
    let mut rules =
        vec![rule(ALLOWED, Action::ScmpActAllow, None, vec![])?, rule(REFUSED, Action::ScmpActErrno, EPERM, vec![])?];
    for (capability, names) in BY_CAPABILITY {
        let held = capabilities.has(capability);
        let (action, errno) = if held { (Action::ScmpActAllow, None) } else { (Action::ScmpActErrno, EPERM) };
        rules.push(rule(names, action, errno, vec![])?);
    }
    if capabilities.has("CAP_SYS_ADMIN") {
        rules.push(rule(&["clone", "clone3", "unshare"], Action::ScmpActAllow, None, vec![])?);
    } else if reader == Reader::Libseccomp {
        rules.extend(disjoint::without_namespaces()?);
    } else {
        // The flags of clone3 are out of a filter's sight; without it, programs fall back to clone.
        let none_of = argument(0, Operator::ScmpCmpMaskedEq, NAMESPACE_FLAGS, Some(0))?;
        rules.push(rule(&["clone", "unshare"], Action::ScmpActAllow, None, vec![none_of])?);
        rules.push(rule(&["clone", "unshare"], Action::ScmpActErrno, EPERM, vec![])?);
    }
    for value in PERSONALITIES {
        let exactly = argument(0, Operator::ScmpCmpEq, *value, None)?;
        rules.push(rule(&["personality"], Action::ScmpActAllow, None, vec![exactly])?);
    }
    let auditing = if capabilities.has("CAP_AUDIT_WRITE") { Auditing::Allowed } else { Auditing::Refused };
    match reader {
        Reader::Ours => rules.extend(with_exceptions(auditing)?),
        Reader::Libseccomp => {
            rules.extend(disjoint::without_typing()?);
            rules.extend(disjoint::sockets(auditing)?);
        }
    }
    LinuxSeccompBuilder::default()
        .default_action(Action::ScmpActErrno)
        .default_errno_ret(libc::ENOSYS as u32)
        .architectures(architectures())
        .syscalls(rules)
        .build()
}

/// `ioctl` and `socket`, allowed but for some arguments: our own compiler puts the exceptions first.
fn with_exceptions(auditing: Auditing) -> Result<Vec<LinuxSyscall>, OciSpecError> {
    let mut rules = vec![rule(&["ioctl"], Action::ScmpActAllow, None, vec![])?];
    for control in TYPING_CONTROLS {
        rules.push(rule(&["ioctl"], Action::ScmpActErrno, EPERM, vec![argument(1, Operator::ScmpCmpEq, *control, None)?])?);
    }
    rules.push(rule(&["socket"], Action::ScmpActAllow, None, vec![])?);
    for family in REFUSED_FAMILIES {
        rules.push(rule(&["socket"], Action::ScmpActErrno, EPERM, vec![argument(0, Operator::ScmpCmpEq, *family, None)?])?);
    }
    if auditing == Auditing::Refused {
        // A netlink socket for auditing: AF_NETLINK, NETLINK_AUDIT.
        let audit = vec![argument(0, Operator::ScmpCmpEq, 16, None)?, argument(2, Operator::ScmpCmpEq, 9, None)?];
        rules.push(rule(&["socket"], Action::ScmpActErrno, Some(libc::EINVAL as u32), audit)?);
    }
    Ok(rules)
}

pub(super) const EPERM: Option<u32> = Some(libc::EPERM as u32);

fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86],
    }
}

pub(super) fn rule(
    names: &[&str],
    action: Action,
    errno: Option<u32>,
    args: Vec<LinuxSeccompArg>,
) -> Result<LinuxSyscall, OciSpecError> {
    let mut rule = LinuxSyscallBuilder::default().action(action).build()?;
    rule.set_names(names.iter().map(|name| (*name).to_string()).collect());
    rule.set_errno_ret(errno);
    rule.set_args((!args.is_empty()).then_some(args));
    Ok(rule)
}

pub(super) fn argument(
    index: usize,
    op: Operator,
    value: u64,
    value_two: Option<u64>,
) -> Result<LinuxSeccompArg, OciSpecError> {
    let builder = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    match value_two {
        Some(second) => builder.value_two(second),
        None => builder,
    }
    .build()
}
