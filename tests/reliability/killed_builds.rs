//! SIGKILL of the process that a person started, which can take leave of nobody: what it started ends all the same, and what it made
//! is removed, at once or by the next build.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGSTOP, SIGTERM};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Dice;
use crate::harness::{TestEnv, skip_without};

/// Stages side by side and one after the other, files that take their time, and a command that no polite signal ends.
const DOCKERFILE: &str = "FROM busybox AS first\nCOPY files /files\nRUN trap '' TERM INT; FIRST & wait\n\
    FROM busybox AS second\nRUN cp /bin/busybox /b1 && cp /bin/busybox /b2\nRUN rm /b1; trap '' TERM; SECOND & wait\n\
    FROM busybox\nCOPY --from=first /files /a\nCOPY --from=second /b2 /b\n";

/// The commands of a test's stages, which no other test has.
struct Commands([String; 2]);

impl Commands {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(98_710);
        let first = NEXT.fetch_add(2, Ordering::Relaxed);
        Self([first, first + 1].map(|seconds| format!("sleep {seconds}")))
    }

    #[track_caller]
    fn await_both(&self) {
        until("both commands run", || self.0.iter().all(|words| runs(words)));
    }
}

fn started(env: &TestEnv, words: &[&str]) -> Child {
    let mut command = env.command("coracle");
    command.args(words).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("coracle starts")
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

/// Waits until no process has the build's output open any more: each that it started had.
#[track_caller]
fn await_end(child: Child) -> String {
    let begun = Instant::now();
    let output = child.wait_with_output().expect("the end of the build");
    assert!(begun.elapsed() < Duration::from_secs(30), "something of the build went on for {:?}", begun.elapsed());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether a process of this machine has these words on its command line.
fn runs(words: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = processes.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(words))
}

/// Whether git fetches something for a build of `env`. (What git itself started to speak to the server ends with the connection.)
fn fetches(env: &TestEnv) -> bool {
    let tmp = env.path("tmp").into_os_string().into_encoded_bytes();
    let is_it = |process: fs::DirEntry| {
        let read = |name: &str| fs::read(process.path().join(name)).unwrap_or_default();
        let words = read("cmdline");
        let is_fetch = words.split(|byte| *byte == 0).any(|word| word == b"fetch");
        is_fetch && read("environ").windows(tmp.len()).any(|part| part == tmp)
    };
    fs::read_dir("/proc").expect("/proc").flatten().any(is_it)
}

/// Waits until `is_so`, at most 10 seconds.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn context() -> (TestEnv, Commands) {
    let (env, commands) = (TestEnv::new(), Commands::new());
    env.busybox("localhost/busybox:latest");
    let [first, second] = &commands.0;
    env.write("context/Dockerfile", DOCKERFILE.replace("FIRST", first).replace("SECOND", second));
    for number in 0..200 {
        env.write(&format!("context/files/{number}"), vec![b'x'; 10_000]);
    }
    (env, commands)
}

#[track_caller]
fn assert_nothing_is_left(env: &TestEnv, commands: &Commands, when: &str) {
    for words in &commands.0 {
        // The kernel may be at it still.
        until(&format!("{words} ends, {when}"), || !runs(words));
    }
    assert_eq!(env.ok(["containers", "-q"]), "", "{when}: a working container stays");
    assert_eq!(fs::read_dir(env.graph_root().join("coracle/builds")).map_or(0, Iterator::count), 0, "{when}: a note stays");
    env.assert_store_is_clean();
}

#[test]
fn a_killed_build_takes_all_it_started_with_it() {
    let (env, commands) = context();
    let mut dice = Dice::new();
    for layers in ["--layers=false", "--layers=true", "--jobs=1"] {
        for _ in 0..6 {
            let delay = Duration::from_millis(dice.below(250));
            let child = started(&env, &["build", "-q", "--no-cache", layers, "context"]);
            std::thread::sleep(delay);
            kill(pid_of(&child), SIGKILL).expect("a signal");
            await_end(child);
            // In its first moments it has no guardian yet: what it left then goes with the next command.
            env.ok(["prune"]);
            assert_nothing_is_left(&env, &commands, &format!("{layers} after {delay:?}"));
        }
    }
    // At a moment when it certainly runs something.
    let child = started(&env, &["build", "-q", "--jobs=2", "context"]);
    commands.await_both();
    kill(pid_of(&child), SIGKILL).expect("a signal");
    await_end(child);
    assert_nothing_is_left(&env, &commands, "with two commands running");
}

/// One that waits for its command would never notice, and no hang-up tells it: the kernel has to end it, in its user namespace, too.
#[test]
fn a_stage_in_its_user_namespace_ends_with_a_build_that_is_killed() {
    let (env, commands) = context();
    for layers in ["--layers=false", "--layers=true"] {
        let build = format!("trap '' HUP; exec coracle build -q --jobs=2 {layers} context");
        let mut command = env.command("sh");
        command.args(["-c", &build]).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("coracle starts");
        commands.await_both();
        let pid = pid_of(&child);
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).expect("a namespace");
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
        let own = namespace(&pid.to_string());
        let stages: Vec<&str> = children.split_whitespace().filter(|one| namespace(one) != own).collect();
        assert_eq!(stages.len(), 2, "{children}");
        for stage in &stages {
            kill(Pid::from_raw(stage.parse().expect("a pid")), SIGSTOP).expect("a signal");
        }
        kill(pid, SIGKILL).expect("a signal");
        for stage in stages {
            until("the stage ends", || !std::path::Path::new(&format!("/proc/{stage}")).exists());
        }
        await_end(child);
        assert_nothing_is_left(&env, &commands, layers);
    }
}

#[test]
fn what_a_build_left_whose_guardian_was_killed_is_removed_by_the_next_one_or_prune() {
    let (env, commands) = context();
    env.write("other/Dockerfile", "FROM scratch\nLABEL a=b\n");
    for next in [&["build", "-q", "other"][..], &["prune"]] {
        let child = started(&env, &["build", "-q", "--jobs=2", "context"]);
        commands.await_both();
        let pid = pid_of(&child);
        kill(pid, SIGSTOP).expect("a signal");
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
        assert_eq!(children.split_whitespace().count(), 3, "two stages and a guardian: {children}");
        for one in children.split_whitespace() {
            kill(Pid::from_raw(one.parse().expect("a pid")), SIGKILL).expect("a signal");
        }
        kill(pid, SIGKILL).expect("a signal");
        await_end(child);
        assert_eq!(env.ok(["containers", "-q"]).lines().count(), 2, "nobody could remove them");
        env.ok(next);
        assert_nothing_is_left(&env, &commands, next[0]);
    }
}

/// Waits until the directory for temporary files has something, sends the signal, and says what is left there.
#[track_caller]
fn left_in_tmp(env: &TestEnv, child: Child, signal: Signal) -> usize {
    let entries = || fs::read_dir(env.path("tmp")).expect("the directory").count();
    until("something is fetched or unpacked", || entries() > 0);
    std::thread::sleep(Duration::from_millis(50));
    kill(pid_of(&child), signal).expect("a signal");
    await_end(child);
    entries()
}

#[test]
fn a_context_that_was_not_unpacked_in_full_is_deleted_whatever_ended_it() {
    let (env, _) = context();
    env.shell("tar cf context.tar -C context .").success();
    let archive = fs::read(env.work().join("context.tar")).expect("the archive");
    for signal in [SIGINT, SIGTERM, SIGKILL] {
        let mut child = started(&env, &["build", "-q", "-"]);
        let mut input = child.stdin.take().expect("its input");
        input.write_all(&archive[..archive.len() / 2]).expect("written");
        assert_eq!(left_in_tmp(&env, child, signal), 0, "{signal}");
        drop(input);
    }
}

#[test]
fn a_repository_that_is_being_fetched_is_deleted_and_git_ended() {
    if skip_without(&["git"]) {
        return;
    }
    let (env, _) = context();
    // Takes the question and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("127.0.0.1:{}/r.git", silent.local_addr().expect("an address").port());
    let held = std::thread::spawn(move || silent.incoming().take(4).collect::<Vec<_>>());
    for signal in [SIGINT, SIGTERM, SIGKILL] {
        let child = started(&env, &["build", "-q", &format!("http://{address}")]);
        until("git fetches", || fetches(&env));
        assert_eq!(left_in_tmp(&env, child, signal), 0, "{signal}");
        until("git ends", || !fetches(&env));
    }
    // What a guardian that was killed could not delete, the next context does; what is in use stays.
    let child = started(&env, &["build", "-q", &format!("http://{address}")]);
    until("something is fetched", || fs::read_dir(env.path("tmp")).expect("the directory").count() > 0);
    env.shell(
        "mkdir -p ../tmp/coracle-context-0123456789abcdef/tree && echo left > ../tmp/coracle-context-0123456789abcdef/tree/f",
    )
    .success();
    env.shell("tar cf empty.tar -C context Dockerfile").success();
    env.run(["build", "-q", "--target", "nosuch", "empty.tar"]).failure(125);
    assert_eq!(fs::read_dir(env.path("tmp")).expect("the directory").count(), 1, "that of the build that goes on");
    kill(pid_of(&child), SIGTERM).expect("a signal");
    await_end(child);
    drop(held);
}
