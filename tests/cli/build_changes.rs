//! `build --layers` with contexts that change while they are read, and with files that the caller itself may not read.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::harness::TestEnv;

fn env_with(lines: &str) -> TestEnv {
    let env = TestEnv::new();
    env.busybox("busybox");
    env.write("ctx/Dockerfile", format!("FROM busybox\n{lines}\n"));
    env
}

const BUILD: [&str; 6] = ["build", "--layers", "--network", "host", "-t", "app"];

fn start(env: &TestEnv) -> Child {
    let mut command = env.command(&crate::harness::binary().to_string_lossy());
    command.args(BUILD).arg("ctx").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("coracle")
}

/// What the build said, which must not have failed.
#[track_caller]
fn said(build: Child) -> String {
    let output = build.wait_with_output().expect("its output");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

#[track_caller]
fn content(env: &TestEnv, path: &str) -> String {
    let container = env.ok(["from", "--pull-never", "app"]);
    let said = env.inside(&container, &format!("cat {path}"));
    env.ok(["rm", &container]);
    said
}

const WARNING: &str = "changed while the step was taken";

#[test]
fn what_a_command_saw_of_a_file_that_changed_is_not_taken_for_what_was_there_before() {
    let env = env_with(
        "RUN --mount=type=bind,target=/m for i in $(seq 40); do grep -q NEW /m/f && break; sleep 0.05; done; cat /m/f >/o",
    );
    env.write("ctx/f", "old\n");
    let build = start(&env);
    std::thread::sleep(Duration::from_millis(700));
    env.write("ctx/f", "NEW\n");
    let text = said(build);
    assert!(content(&env, "/o") == "NEW" && text.contains(WARNING), "{text}");
    env.write("ctx/f", "old\n");
    let text = said(start(&env));
    assert!(content(&env, "/o") == "old" && !text.contains("Using cache") && !text.contains(WARNING), "{text}");
    // Left alone it is found again.
    let text = said(start(&env));
    assert!(text.contains("Using cache"), "{text}");
    env.assert_store_is_clean();
}

#[test]
fn a_copy_of_a_context_that_changed_is_not_taken_for_what_was_there_before() {
    let env = env_with("COPY . /c/");
    for number in 0..4000 {
        env.write(&format!("ctx/m{number}"), "between\n");
    }
    env.write("ctx/a", "first\n");
    env.write("ctx/z", "old\n");
    let build = start(&env);
    let diffs = env.graph_root().join("overlay");
    let is_begun = || {
        let layers = std::fs::read_dir(&diffs).into_iter().flatten().flatten();
        layers.into_iter().any(|layer| layer.path().join("diff/c/a").exists())
    };
    let end = Instant::now() + Duration::from_secs(30);
    while !is_begun() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    env.write("ctx/z", "NEW\n");
    let text = said(build);
    let first = content(&env, "/c/z");
    env.write("ctx/z", "old\n");
    let again = said(start(&env));
    assert_eq!(content(&env, "/c/z"), "old", "first {first}, then:\n{again}");
    assert!(text.contains(WARNING) && !again.contains("Using cache"), "{text}\n{again}");
    env.assert_store_is_clean();
}

#[test]
fn files_that_only_the_namespace_can_read_are_copied_and_found_again() {
    let env = env_with("COPY k /k\nRUN --mount=type=bind,target=/m cat /m/ok /m/db/f >/o");
    env.write("ctx/k", "key\n");
    env.write("ctx/ok", "ok\n");
    env.write("ctx/db/f", "row\n");
    env.write("ctx/.dockerignore", "db\n");
    env.shell("chmod 0 ctx/k; coracle unshare sh -c 'chown 99:99 ctx/db && chmod 700 ctx/db'").success();
    said(start(&env));
    assert_eq!(content(&env, "/k; cat /o"), "key\nok\nrow");
    let text = said(start(&env));
    assert_eq!(text.matches("Using cache").count(), 2, "{text}");
    env.shell("coracle unshare sh -c 'echo other >ctx/db/f; chown 0:0 ctx/db'").success();
    let text = said(start(&env));
    assert!(text.matches("Using cache").count() == 1 && content(&env, "/o") == "ok\nother", "{text}");
    env.shell("coracle unshare rm -r ctx/db").success();
    env.assert_store_is_clean();
}
