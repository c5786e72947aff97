//! `build` beside others on one store: the same build twice at once, and the prunes of all tools. And what a build that finds
//! everything in the cache asks of the kernel.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{TestEnv, skip_without};

/// An environment with the image `base`, and a context whose build has stages and steps of all kinds.
fn env() -> TestEnv {
    let env = TestEnv::new();
    env.busybox("localhost/base:latest");
    env.write("ctx/file", "content\n");
    env.write(
        "ctx/Dockerfile",
        "FROM localhost/base AS made\nARG ROUND\nRUN echo $ROUND > /made; sleep 0.2\nFROM localhost/base\nCOPY file /file\n\
         RUN sleep 0.2; echo more >> /file\nCOPY --from=made /made /made\nENV A=1\nRUN cat /file /made > /all\n",
    );
    env
}

/// Starts a build of the context.
fn start(env: &TestEnv, words: &[&str]) -> Child {
    let mut command = env.command(&crate::harness::binary().to_string_lossy());
    command.args(["build", "-q", "--network", "host"]).args(words).arg("ctx");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("coracle")
}

/// The image ID that a build says at its end.
#[track_caller]
fn image(build: Child) -> String {
    let output = build.wait_with_output().expect("its output");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[track_caller]
fn all(env: &TestEnv, image: &str) -> String {
    let container = env.ok(["from", "--pull-never", image]);
    let said = env.inside(&container, "cat /all");
    env.ok(["rm", &container]);
    said
}

#[test]
fn the_same_build_twice_at_once_makes_one_image() {
    let env = env();
    for kind in ["--layers", "--layers=false"] {
        let words = [kind, "--timestamp", "7", "--build-arg", "ROUND=1", "-t", "app"];
        let builds: Vec<Child> = (0..3).map(|_| start(&env, &words)).collect();
        let images: Vec<String> = builds.into_iter().map(image).collect();
        assert!(images.iter().all(|id| *id == images[0]), "{kind}: {images:?}");
        assert_eq!(all(&env, "app"), "content\nmore\n1");
        let named = env.ok(["images", "-q", "--no-trunc", "app"]);
        assert_eq!(named, format!("sha256:{}", images[0]), "{kind}");
        assert_eq!(env.ok(["containers", "-q", "-a"]), "");
        env.assert_store_is_clean();
    }
}

/// A prune takes what has neither a name nor a container, which the images of steps and stages are for moments. The build that it takes
/// one from says so and leaves nothing; whatever is built is right, and no container loses its image.
#[test]
fn prunes_of_all_tools_beside_builds_leave_a_valid_store() {
    if skip_without(&["podman", "buildah"]) {
        return;
    }
    let env = env();
    let kept = env.ok(["from", "--name", "kept", "localhost/base:latest"]);
    let end = Instant::now() + Duration::from_secs(5);
    let prunes: [&[&str]; 4] = [
        &["buildah", "rmi", "--prune"],
        &["podman", "image", "prune", "-f"],
        &["coracle", "rmi", "--prune"],
        &["coracle", "prune"],
    ];
    let mut round = 0;
    let mut one = |kind: &str| {
        round += 1;
        let build = start(&env, &[kind, "--build-arg", &format!("ROUND={round}"), "-t", "app"]);
        let output = build.wait_with_output().expect("its output");
        if output.status.success() {
            assert_eq!(all(&env, "app"), format!("content\nmore\n{round}"), "{kind}");
        } else {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(125), "{said}");
            assert_eq!(said.lines().filter(|line| line.starts_with("Error: ")).count(), 1, "{said}");
        }
        output.status.success()
    };
    std::thread::scope(|scope| {
        let env = &env;
        scope.spawn(move || {
            for words in prunes.into_iter().cycle() {
                if Instant::now() >= end {
                    break;
                }
                env.tool(words[0], &words[1..]);
            }
        });
        while Instant::now() < end {
            one("--layers");
            one("--layers=false");
        }
    });
    assert!(one("--layers") && one("--layers=false"), "builds after the last prune");
    assert_eq!(env.ok(["run", &kept, "echo", "here"]), "here");
    env.ok(["rm", &kept]);
    assert_eq!(env.ok(["containers", "-q", "-a"]), "");
    env.assert_store_is_clean();
}

/// One look at each file of the context, and none is opened.
#[test]
fn a_build_from_the_cache_reads_no_file_of_its_context() {
    if skip_without(&["strace"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("localhost/base:latest");
    let files = "mkdir -p ctx; for d in 1 2 3 4 5 6 7 8 9 10; do mkdir -p ctx/tree/d$d
        for f in 0 1 2 3 4 5 6 7 8 9; do for g in 0 1 2 3 4 5 6 7 8 9; do echo $d $f >ctx/tree/d$d/entry$f$g; done; done; done
        printf 'FROM localhost/base\\nCOPY tree /tree\\nRUN true\\n' >ctx/Dockerfile";
    env.shell(files).success();
    // What changed a moment ago may change again at the same time, and is not remembered.
    std::thread::sleep(Duration::from_millis(2500));
    env.ok(["build", "-q", "--layers", "--network", "host", "ctx"]);
    let traced = "strace -f -qq -e trace=%file,read -o trace coracle build --layers --network host ctx";
    let said = env.shell(traced).success();
    assert_eq!(said.matches("--> Using cache ").count(), 2, "{said}");
    let trace = std::fs::read_to_string(env.work().join("trace")).expect("the trace");
    let about: Vec<&str> = trace.lines().filter(|line| line.contains("\"entry") || line.contains("/entry")).collect();
    assert_eq!(about.iter().filter(|line| line.contains("open")).count(), 0, "{:?}", about.first());
    assert_eq!(about.len(), 1000, "calls that name a file of the context");
}
