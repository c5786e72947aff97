//! SIGINT, SIGTERM and SIGHUP while an image is on its way: the process ends of the signal, and what it had begun is gone by then.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::harness::TestEnv;

/// A container with a file that takes its time on the way, also when most of it is holes.
fn env_with_a_large_layer() -> TestEnv {
    let env = TestEnv::new();
    env.ok(["from", "--name", "large", "scratch"]);
    fs::File::create(env.work().join("zeroes")).and_then(|file| file.set_len(200 << 20)).expect("a file of holes");
    env.ok(["copy", "-q", "large", "zeroes", "/zeroes"]);
    env
}

/// What is in a directory; nothing if it is missing.
fn entries(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Whether a file somewhere below has begun to fill.
fn has_data(dir: &Path) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => has_data(&entry.path()),
        Ok(meta) => meta.len() > 0,
        Err(_) => false,
    })
}

/// Starts the verb, sends it `signal` as soon as there is data in `dir`, where was none, and answers with what it printed.
fn interrupted(env: &TestEnv, words: &[&str], dir: &Path, signal: Signal) -> String {
    let before = entries(dir);
    let mut command = env.command("coracle");
    command.args(words).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child: Child = command.spawn().expect("coracle starts");
    let started = Instant::now();
    while !has_data(dir) {
        assert!(started.elapsed() < Duration::from_secs(30), "{words:?} makes nothing in {}", dir.display());
        assert!(child.try_wait().expect("its status").is_none(), "{words:?} ended, and nothing was in {}", dir.display());
        std::thread::sleep(Duration::from_millis(1));
    }
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), signal).expect("a signal");
    let output = child.wait_with_output().expect("its end");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.signal(), Some(signal as i32), "{words:?}: {said}");
    assert_eq!(entries(dir), before, "{words:?} left something after {signal}");
    said
}

#[test]
fn a_pull_takes_away_what_it_has_begun() {
    let env = env_with_a_large_layer();
    env.ok(["commit", "-q", "--rm", "large", "oci:source:latest"]);
    // Where a layer is until all of it is there.
    let layers = env.graph_root().join("overlay/tempdirs");
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        for verb in ["pull", "from"] {
            assert_eq!(interrupted(&env, &[verb, "-q", "oci:source:latest"], &layers, signal), "", "{verb} {signal}");
        }
    }
    assert_eq!(env.ok(["images", "-a", "-q"]) + &env.ok(["containers", "-q"]), "");
    env.assert_store_is_clean();
    env.ok(["pull", "-q", "oci:source:latest"]);
}

#[test]
fn a_push_and_a_commit_to_a_directory_leave_nothing_there() {
    let env = env_with_a_large_layer();
    env.ok(["commit", "-q", "large", "image"]);
    env.shell("mkdir out").success();
    for signal in [SIGINT, SIGTERM] {
        for words in
            [["push", "-q", "image", "oci:out"], ["commit", "-q", "large", "oci:out"], ["push", "-q", "image", "dir:out"]]
        {
            assert_eq!(interrupted(&env, &words, &env.work().join("out"), signal), "", "{words:?} {signal}");
        }
    }
    assert_eq!(env.ok(["images", "-a", "-q", "--filter", "dangling=true"]), "");
    env.assert_store_is_clean();
}

/// Below `nohup`, or in the background of a script: who ignores the signal goes on.
#[test]
fn a_signal_that_is_ignored_ends_nothing() {
    let env = env_with_a_large_layer();
    let script = "trap '' HUP INT; coracle commit -q large oci:out & sleep 0.2; kill -HUP $!; kill -INT $!; wait $!";
    env.shell(script).success();
    assert!(env.work().join("out/index.json").exists());
    env.busybox("localhost/busybox:latest");
    env.write("ctx/Dockerfile", "FROM busybox\nRUN sleep 2\n");
    env.shell("trap '' HUP; coracle build -q ctx & sleep 0.7; kill -HUP $!; wait $!").success();
}
