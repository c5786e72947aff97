//! Dockerfiles and build contexts that nobody writes in good faith, and builds that are cut short: one clear error, or the right image,
//! and a store that is valid and holds nothing of what failed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{CommandOutput, TestEnv, am_root};

/// An environment with the base image and a context of one Dockerfile.
fn context(dockerfile: &str) -> TestEnv {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    env.write("context/Dockerfile", dockerfile);
    env
}

fn build(env: &TestEnv) -> CommandOutput {
    env.run(["build", "-q", "-t", "built", "context"])
}

/// The one error that a build ended with; nothing of it is left.
#[track_caller]
fn one_error(env: &TestEnv, output: &CommandOutput) -> String {
    let said = output.failure(125);
    assert_eq!(said.lines().filter(|line| line.starts_with("Error: ")).count(), 1, "{said}");
    assert_nothing_is_left(env);
    said
}

#[track_caller]
fn assert_nothing_is_left(env: &TestEnv) {
    assert_eq!(env.ok(["containers", "-q"]), "", "a working container stays");
    let names = env.ok(["images", "--format", "{{.Name}}"]);
    assert!(!names.contains("localhost/built"), "an image has got the name: {names}");
    env.assert_store_is_clean();
}

/// What a command prints in a container of the image.
#[track_caller]
fn inside(env: &TestEnv, script: &str) -> String {
    let container = env.ok(["from", "built"]);
    env.inside(&container, script)
}

#[test]
fn a_dockerfile_of_ten_megabytes_is_read() {
    let mut text = String::from("FROM busybox\n");
    while text.len() < 9 << 20 {
        text += "# a comment of no consequence, of which there are very many here, one after the other\n";
    }
    text += &format!("LABEL long={}\nRUN echo reached > /reached\n", "x".repeat(1 << 20));
    let env = context(&text);
    let started = Instant::now();
    build(&env).success();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(inside(&env, "cat /reached"), "reached");
}

#[test]
fn ten_thousand_stages_are_planned_and_only_those_needed_are_built() {
    let mut text = String::new();
    for number in 0..10_000 {
        text += &format!("FROM busybox AS s{number}\nRUN echo {number} > /number\n");
    }
    text += "FROM busybox\nCOPY --from=s1234 /number /number\n";
    let env = context(&text);
    build(&env).success();
    assert_eq!(inside(&env, "cat /number"), "1234");
}

#[test]
fn a_chain_of_five_hundred_stages_is_followed_to_its_end() {
    let mut text = String::from("FROM busybox AS s0\n");
    for number in 1..500 {
        text += &format!("FROM s{} AS s{number}\n", number - 1);
    }
    text += "LABEL end=reached\n";
    let env = context(&text);
    let started = Instant::now();
    build(&env).success();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let label = env.ok(["inspect", "-t", "image", "--format", "{{.OCIv1.Config.Labels.end}}", "built"]);
    assert_eq!(label, "reached");
}

#[test]
fn stages_that_need_each_other_are_refused_with_the_place() {
    let cycles = [
        ("FROM busybox AS a\nCOPY --from=b /x /x\nFROM a AS b\nRUN true\n", "Dockerfile:2"),
        ("FROM busybox AS a\nRUN true\nCOPY --from=a /x /x\n", "Dockerfile:3"),
        ("FROM busybox AS a\nRUN --mount=from=1,target=/m true\nFROM a\nRUN true\n", "Dockerfile:2"),
    ];
    for (text, place) in cycles {
        let env = context(text);
        let said = one_error(&env, &build(&env));
        assert!(said.contains(place), "{text}: {said}");
    }
}

#[test]
fn links_out_of_the_context_show_nothing_of_the_host() {
    let text = "FROM busybox\nCOPY out/passwd /x\n";
    let env = context(text);
    env.shell("ln -s /etc context/out; ln -s ../../secret context/up; echo secret > secret").success();
    let said = one_error(&env, &build(&env));
    assert!(said.contains("out/passwd") && said.contains("Dockerfile:2"), "{said}");
    env.write("context/Dockerfile", "FROM busybox\nCOPY up /up\n");
    one_error(&env, &build(&env));
    // Inside of a directory a link is copied as it is.
    env.write("context/Dockerfile", "FROM busybox\nCOPY . /all\n");
    build(&env).success();
    assert_eq!(inside(&env, "readlink /all/out; readlink /all/up"), "/etc\n../../secret");
}

/// A context directory `in` with a file, a pipe, a socket and, where this machine lets root make one, a device. Whether that is there.
fn special_files(env: &TestEnv) -> bool {
    env.shell("mkdir context/in; mkfifo -m 640 context/in/pipe; echo f > context/in/f").success();
    env.shell("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"context/in/socket\")'").success();
    let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o600));
    let path = env.work().join("context/in/null");
    am_root() && rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, rustix::fs::makedev(1, 3)).is_ok()
}

#[test]
fn pipes_of_the_context_are_copied_as_pipes_and_sockets_and_devices_are_left_out_with_a_word() {
    let env = context("");
    let has_device = special_files(&env);
    let started = Instant::now();
    let lines = ["COPY in /all/", "ADD in /all/", "COPY in/* /all/", "COPY --link . /tree/\nRUN mv /tree/in /all"];
    for (line, layers) in lines.into_iter().flat_map(|line| [(line, "--layers"), (line, "--layers=false")]) {
        env.write("context/Dockerfile", format!("FROM busybox\n{line}\n"));
        let output = env.run(["build", layers, "-t", "built", "context"]);
        output.success();
        let said = output.to_string();
        assert!(said.contains("skipping socket"), "{line}: {said}");
        assert_eq!(said.contains("skipping device"), has_device, "{line}: {said}");
        let script = "cd /all; ls; stat -c '%F %a' pipe; echo through >pipe & cat pipe";
        assert_eq!(inside(&env, script), "f\npipe\nfifo 640\nthrough", "{line}");
        env.ok(["rm", "--all"]);
    }
    // By its own name, too; of a socket there is nothing that could be copied.
    for line in ["COPY in/pipe /p", "ADD in/pipe /p", "COPY in/f in/pipe /\nRUN mv /pipe /p"] {
        env.write("context/Dockerfile", format!("FROM busybox\n{line}\n"));
        build(&env).success();
        assert_eq!(inside(&env, "stat -c '%F %a' /p"), "fifo 640", "{line}");
        env.ok(["rm", "--all"]);
    }
    env.ok(["rmi", "built"]);
    for line in ["COPY in/socket /s", "COPY in/f in/socket /"] {
        env.write("context/Dockerfile", format!("FROM busybox\n{line}\n"));
        let said = one_error(&env, &build(&env));
        assert!(said.contains("no items matching glob \"/in/socket\" copied"), "{line}: {said}");
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn devices_of_the_context_are_copied_by_real_root() {
    let Some(env) = TestEnv::of_root() else { return };
    env.busybox("localhost/busybox:latest");
    env.write("context/Dockerfile", "FROM busybox\nADD in /all/\n");
    let has_device = special_files(&env);
    let output = build(&env);
    output.success();
    assert!(output.to_string().contains("skipping socket"), "{output}");
    let want = if has_device { "f\nnull\npipe\nnull: character special file 1 3 600" } else { "f\npipe" };
    assert_eq!(inside(&env, "cd /all; ls; [ ! -e null ] || stat -c '%n: %F %t %T %a' null"), want);
}

#[test]
fn names_that_are_no_utf8_arrive_byte_by_byte() {
    let env =
        context("FROM busybox\nCOPY . /all\nRUN cd /all && printf '%s\\n' f* | od -An -tx1 > /names && cat f* > /content\n");
    let path = env.work().join("context").join(OsStr::from_bytes(b"f\xff\xfe"));
    fs::write(&path, "content").expect("a file with a strange name");
    if am_root() {
        let user = crate::harness::test_user();
        std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid)).expect("its owner");
    }
    build(&env).success();
    let names = inside(&env, "cat /names /content");
    assert!(names.contains("66 ff fe 0a") && names.ends_with("content"), "{names}");
}

#[test]
fn a_directory_that_cannot_be_read_is_named() {
    if !am_root() {
        return; // the user's own directories can be read inside, whatever their mode
    }
    let env = context("FROM busybox\nLABEL a=b\nCOPY . /all\n");
    let closed = env.write("context/closed/f", "").parent().expect("a directory").to_owned();
    std::os::unix::fs::chown(&closed, Some(0), Some(0)).expect("a directory of root");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("a closed directory");
    let said = one_error(&env, &build(&env));
    assert!(said.contains("closed") && said.contains("Dockerfile:3"), "{said}");
}

#[test]
fn files_that_change_and_vanish_while_they_are_copied_do_no_harm() {
    let env = context("FROM busybox\nCOPY . /all\n");
    let place = env.work().join("context");
    for number in 0..300 {
        env.write(&format!("context/d{}/f{number}", number % 10), vec![b'x'; 30_000]);
    }
    let going = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while going.load(Ordering::Relaxed) {
                let path = place.join(format!("d{}/f{number}", number % 10));
                // Shorter, longer, gone, and there again.
                let _ = fs::write(&path, vec![b'y'; 10]);
                let _ = fs::write(&path, vec![b'z'; 60_000]);
                let _ = fs::remove_file(&path);
                let _ = fs::rename(place.join(format!("d{}", number % 10)), place.join("moved"));
                let _ = fs::rename(place.join("moved"), place.join(format!("d{}", number % 10)));
                let _ = fs::write(&path, vec![b'x'; 30_000]);
                let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o644));
                number = (number + 1) % 300;
            }
        });
        for _ in 0..3 {
            let output = build(&env);
            if output.code != Some(0) {
                one_error(&env, &output);
                continue;
            }
            assert_eq!(inside(&env, "cd /all && find . -type f -size +60000c | wc -l"), "0");
            env.ok(["rm", "-a"]);
            env.assert_store_is_clean();
            env.ok(["rmi", "-f", "built"]);
        }
        going.store(false, Ordering::Relaxed);
    });
}

/// Starts a build whose command waits, sends the signal to the builder alone or to all that a terminal would send it to, and returns how
/// the build ended.
fn interrupted(env: &TestEnv, signal: nix::sys::signal::Signal, everybody: bool) -> String {
    let mut command: Command = env.command("coracle");
    command.args(["build", "--layers", "-t", "built", "context"]).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("coracle starts");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    let end = Instant::now() + Duration::from_secs(20);
    while !env.work().join("context/started").exists() {
        assert!(Instant::now() < end, "the command of RUN does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    if everybody { nix::sys::signal::killpg(pid, signal) } else { nix::sys::signal::kill(pid, signal) }.expect("a signal");
    let started = Instant::now();
    let output = child.wait_with_output().expect("the end of the build");
    assert!(started.elapsed() < Duration::from_secs(30), "the build went on for {:?}", started.elapsed());
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether a process of this machine has this command line.
fn runs(words: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes.into_iter().any(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == words.as_bytes()))
}

#[test]
fn signals_end_a_build_and_leave_nothing() {
    use nix::sys::signal::Signal::{SIGINT, SIGTERM};
    for (signal, everybody) in [(SIGINT, true), (SIGTERM, false), (SIGTERM, true)] {
        let env = context("FROM busybox\nRUN echo first > /first\nRUN touch /shared/started && sleep 987\n");
        let shared = env.work().join("context");
        env.write_home(
            ".config/containers/containers.conf",
            format!("[containers]\nvolumes = [\"{}:/shared\"]\n", shared.display()),
        );
        let said = interrupted(&env, signal, everybody);
        assert!(said.lines().filter(|line| line.starts_with("Error: ")).count() <= 1, "{said}");
        assert_nothing_is_left(&env);
        assert!(!runs("sleep\0987\0"), "the command of RUN goes on after {signal}");
    }
}
