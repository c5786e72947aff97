//! All tools on one store at once, in both directions: nothing is lost, and the store checks clean.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::harness::{TestEnv, skip_without};
use crate::stress_time;

#[test]
fn coracle_podman_buildah_and_skopeo_share_a_store() {
    if skip_without(&["podman", "buildah", "skopeo"]) {
        return;
    }
    let env = TestEnv::new();
    let end = Instant::now() + stress_time();
    env.busybox("localhost/busybox:latest");
    env.ok(["from", "--name", "kept", "busybox"]);
    let kept_by_buildah = env.tool("buildah", ["from", "--name", "theirs", "localhost/busybox:latest"]).success();
    assert_eq!(kept_by_buildah, "theirs");
    let rounds = AtomicU64::new(0);
    let count = || rounds.fetch_add(1, Ordering::Relaxed);
    let going = || Instant::now() < end;

    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (env, count, going) = (&env, &count, &going);
            scope.spawn(move || {
                let mut number = 0;
                while going() {
                    let container = env.ok(["from", "busybox"]);
                    env.ok(["run", &container, "--", "sh", "-c", "echo x > /x"]);
                    let image = format!("localhost/ours-{worker}-{number}:latest");
                    env.ok(["commit", "-q", "--rm", &container, &image]);
                    if number >= 3 {
                        env.ok(["rmi", &format!("localhost/ours-{worker}-{}:latest", number - 3)]);
                    }
                    number += 1;
                    count();
                }
            });
        }
        scope.spawn(|| {
            let mut number = 0;
            while going() {
                let container = env.tool("buildah", ["from", "localhost/busybox:latest"]).success();
                env.tool("buildah", ["config", "--label", "by=buildah", &container]).success();
                let image = format!("localhost/theirs-{number}:latest");
                env.tool("buildah", ["commit", "-q", "--rm", &container, &image]).success();
                number += 1;
                count();
            }
        });
        scope.spawn(|| {
            while going() {
                env.tool("podman", ["tag", "localhost/busybox:latest", "localhost/podman-tag:latest"]).success();
                // Its list of containers is no snapshot: one that goes while it reads makes it fail ("container not known").
                let listed = env.tool("podman", ["ps", "-a", "--external"]);
                assert!(listed.code == Some(0) || listed.err().contains("not known"), "{listed}");
                env.tool("podman", ["untag", "localhost/podman-tag:latest", "localhost/podman-tag:latest"]);
                count();
            }
        });
        scope.spawn(|| {
            let mut number = 0;
            while going() {
                let target = format!("dir:{}", env.work().join(format!("out{number}")).display());
                env.tool("skopeo", ["copy", "-q", "containers-storage:localhost/busybox:latest", &target]).success();
                env.tool("skopeo", ["copy", "-q", &target, &format!("containers-storage:localhost/copied-{number}:latest")])
                    .success();
                number += 1;
                count();
            }
        });
    });

    eprintln!("{} rounds of all tools", rounds.load(Ordering::Relaxed));
    assert_eq!(env.ok(["run", "kept", "--", "echo", "here"]), "here");
    assert_eq!(env.ok(["run", "theirs", "--", "echo", "here"]), "here");
    let images = env.ok(["images", "--format", "{{.Name}}"]);
    let theirs = env.tool("podman", ["images", "--format", "{{.Repository}}"]).success();
    for name in images.lines().map(str::trim).filter(|name| !name.is_empty() && *name != "<none>") {
        assert!(theirs.contains(name), "podman does not list {name}:\n{theirs}");
    }
    env.assert_store_is_clean();
}

#[test]
fn a_store_that_podman_made_and_runs_a_container_in_is_shared() {
    if skip_without(&["podman", "runc"]) {
        return;
    }
    let env = TestEnv::new();
    let tar = crate::harness::busybox_tar();
    env.tool("podman", ["import", "-q", &tar.to_string_lossy(), "localhost/base:1"]).success();
    let runtime = ["--cgroup-manager", "cgroupfs", "--runtime", "runc"];
    let podman = |words: &[&str]| env.tool("podman", runtime.iter().chain(words));
    podman(&["create", "--name", "created", "localhost/base:1", "/bin/true"]).success();
    let started = podman(&["run", "-d", "--name", "runs", "--network", "host", "localhost/base:1", "/bin/sleep", "600"]);
    // Where the machine's cgroups are refused by the runtime, podman's container stays created; the store is shared all the same.
    let runs = started.code == Some(0);
    if !runs {
        eprintln!("podman cannot run a container here: {started}");
    }

    let container = env.ok(["from", "base:1"]);
    env.ok(["run", &container, "--", "/bin/sh", "-c", "echo ours > /ours"]);
    let id = env.ok(["commit", "-q", "--rm", &container, "made"]);
    assert!(env.ok(["containers", "-a"]).contains("created"));
    let refused = env.run(["rmi", "base:1"]).failure(125);
    assert!(refused.contains("in use by a container"), "{refused}");
    assert!(podman(&["images", "-q", "--no-trunc"]).success().contains(&id));
    if runs {
        assert_eq!(podman(&["inspect", "--format", "{{.State.Status}}", "runs"]).success(), "running");
        assert_eq!(podman(&["run", "--rm", "--network", "host", "localhost/made", "/bin/cat", "/ours"]).success(), "ours");
        podman(&["rm", "-f", "-t", "0", "runs"]).success();
    }
    podman(&["rm", "created"]).success();
    env.assert_store_is_clean();
    env.ok(["rmi", "base:1", "made"]);
}
