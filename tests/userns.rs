//! Entering and joining user namespaces, and forks, each case in a process of its own: a process with threads, as the usual harness
//! has them, can do neither.
//!
//! Run by root, the cases run as the unprivileged user `coracle-test`, or `builder`.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use coracle::sys::fork::fork_into;
use coracle::userns::{self, How, MountNamespace, Notice, ProcessId};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};

type Case = (&'static str, fn() -> Result<(), String>);

const CASES: &[Case] = &[
    ("enter maps the caller to root and the subordinate ids behind it", enter_full),
    ("a second enter stays in the same user namespace", enter_twice),
    ("mounts made inside are not seen outside", mounts_are_private),
    ("without newuidmap one id is mapped and setgroups is denied", single_id),
    ("join reaches the mounts of another process and keeps the working directory", join_other),
    ("entering takes milliseconds", enter_is_fast),
    ("a copy of a process sees that the one which made it has ended", copy_sees_end),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(name) = arguments.iter().position(|a| a == "--case").and_then(|at| arguments.get(at + 1)) {
        return run_case(name);
    }
    let filter = arguments.get(1).filter(|a| !a.starts_with('-'));
    let mut failed = 0;
    for (name, _) in CASES.iter().filter(|(name, _)| filter.is_none_or(|f| name.contains(f.as_str()))) {
        let status = command(name).status().expect("the test program starts itself");
        println!("test {name} ... {}", if status.success() { "ok" } else { "FAILED" });
        failed += u8::from(!status.success());
    }
    ExitCode::from(failed)
}

fn run_case(name: &str) -> ExitCode {
    let case = CASES.iter().find(|(known, _)| *known == name).map(|(_, case)| case);
    let result = match (name, case) {
        ("hold a mount", _) => hold_a_mount(),
        (_, Some(case)) => case(),
        _ => Err("no such case".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}

/// This program again, as an unprivileged user, in a clean environment.
fn command(case: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--case", case]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/tmp");
    if rustix::process::geteuid().is_root() {
        let passwd = std::fs::read_to_string("/etc/passwd").expect("readable");
        let line = ["coracle-test:", "builder:"].iter().find_map(|name| passwd.lines().find(|l| l.starts_with(name)));
        let mut ids = line.expect("a user for tests").split(':').skip(2).map(|id| id.parse().expect("a number"));
        command.uid(ids.next().expect("a uid")).gid(ids.next().expect("a gid"));
    }
    command
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn expect(condition: bool, message: impl Into<String>) -> Result<(), String> {
    if condition { Ok(()) } else { Err(message.into()) }
}

fn enter(mounts: MountNamespace) -> Result<userns::Entered, String> {
    userns::enter(mounts).map_err(|error| format!("{error}: {:?} {error:?}", error.hints()))
}

fn enter_full() -> Result<(), String> {
    let uid = rustix::process::getuid().as_raw();
    let entered = enter(MountNamespace::Private)?;
    expect(entered.how == How::NewFull && entered.notices.is_empty(), format!("{entered:?}"))?;
    expect(entered.outer.uid == uid, format!("{entered:?}"))?;
    let map = read("/proc/self/uid_map")?;
    let words: Vec<Vec<&str>> = map.lines().map(|line| line.split_whitespace().collect()).collect();
    expect(words[0] == ["0", &uid.to_string(), "1"], &map)?;
    expect(words[1][0] == "1" && words[1][2].parse::<u32>().is_ok_and(|n| n > 1), &map)?;
    expect(rustix::process::geteuid().is_root() && rustix::process::getegid().is_root(), "not root inside")?;
    expect(userns::outer_ids().is_ok_and(|ids| ids == entered.outer), "the outer ids changed")?;
    expect(userns::is_rootless(), "taken for real root")
}

fn enter_twice() -> Result<(), String> {
    enter(MountNamespace::Keep)?;
    let link = |name: &str| std::fs::metadata(format!("/proc/self/ns/{name}")).map(|m| m.ino()).map_err(|e| e.to_string());
    let (user, mounts) = (link("user")?, link("mnt")?);
    let again = enter(MountNamespace::Keep)?;
    expect(again.how == How::AlreadyInside && (link("user")?, link("mnt")?) == (user, mounts), format!("{again:?}"))?;
    enter(MountNamespace::Private)?;
    expect(link("user")? == user && link("mnt")? != mounts, "no mount namespace of its own")
}

fn mount_tmpfs(path: &str) -> Result<(), String> {
    let none: Option<&std::ffi::CStr> = None;
    rustix::mount::mount("none", path, "tmpfs", rustix::mount::MountFlags::empty(), none).map_err(|e| format!("mount: {e}"))
}

fn mounts_are_private() -> Result<(), String> {
    enter(MountNamespace::Private)?;
    mount_tmpfs("/mnt")?;
    std::fs::write("/mnt/inside", "").map_err(|error| error.to_string())?;
    let parent = rustix::process::getppid().map(rustix::process::Pid::as_raw_nonzero).ok_or("no parent")?;
    let outside = read(&format!("/proc/{parent}/mountinfo"))?;
    expect(!outside.contains(" /mnt "), "the mount is visible outside")
}

fn single_id() -> Result<(), String> {
    let uid = rustix::process::getuid();
    if std::fs::metadata("/proc/self/ns/user").is_err() {
        return Err("no user namespaces".to_owned());
    }
    // no_new_privs makes the setuid helpers powerless, which is one way not to have them.
    rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string())?;
    let entered = enter(MountNamespace::Private)?;
    expect(entered.how == How::NewSingle, format!("{entered:?}"))?;
    expect(matches!(entered.notices.as_slice(), [Notice::SingleId(_)]), format!("{:?}", entered.notices))?;
    expect(read("/proc/self/setgroups")?.trim() == "deny", "setgroups is allowed")?;
    let map = read("/proc/self/uid_map")?;
    expect(map.split_whitespace().eq(["0", &uid.as_raw().to_string(), "1"]), map)
}

fn start_time(pid: u32) -> Result<u64, String> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    let field = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    field.and_then(|text| text.parse().ok()).ok_or(stat)
}

/// What another process of the same user holds while `join_other` looks at it.
fn hold_a_mount() -> Result<(), String> {
    enter(MountNamespace::Private)?;
    mount_tmpfs("/mnt")?;
    std::fs::write("/mnt/held", "").map_err(|error| error.to_string())?;
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(|error| error.to_string())?;
    Ok(())
}

fn join_other() -> Result<(), String> {
    let mut holder: Child = Command::new("/proc/self/exe")
        .args(["--case", "hold a mount"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take().ok_or("no stdout")?).read_line(&mut line).map_err(|error| error.to_string())?;
    let process = ProcessId { pid: holder.id(), start_time: start_time(holder.id())? };
    let before = std::env::current_dir().map_err(|error| error.to_string())?;
    let joined = userns::join(process).map_err(|error| format!("{error}: {error:?}"));
    let seen = std::fs::metadata("/mnt/held").is_ok();
    let again = userns::join(process).map_err(|error| format!("{error}: {error:?}"));
    drop(holder.stdin.take());
    holder.wait().map_err(|error| error.to_string())?;
    joined?;
    again?;
    expect(seen, "the mount of the other process is not there")?;
    expect(std::env::current_dir().is_ok_and(|now| now == before), "the working directory changed")?;
    expect(matches!(userns::join(process), Err(userns::Error::Gone { .. })), "a process that ended was joined")
}

fn enter_is_fast() -> Result<(), String> {
    let start = std::time::Instant::now();
    enter(MountNamespace::Private)?;
    let took = start.elapsed();
    eprintln!("entering took {} µs", took.as_micros());
    // Ten times the usual: a bound that only a wait, a sleep or a second program start in sequence would break.
    expect(took.as_millis() < 40, format!("{took:?}"))
}

fn copy_sees_end() -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let (read, write) = std::io::pipe().map_err(words)?;
    // Who has a copy of the other end waits for ever.
    let child = fork_into(CloneFlags::empty(), &[write.as_fd()], || {
        let mut polled = [PollFd::new(read.as_fd(), PollFlags::POLLIN)];
        let seen = poll(&mut polled, PollTimeout::from(5_000u16)).is_ok_and(|ready| ready == 1);
        i32::from(!seen || polled[0].revents() != Some(PollFlags::POLLHUP))
    });
    let child = child.map_err(words)?;
    drop(write);
    let status = waitpid(child, None).map_err(|error| error.to_string())?;
    expect(status == WaitStatus::Exited(child, 0), format!("{status:?}"))
}
