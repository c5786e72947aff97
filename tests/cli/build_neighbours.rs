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

/// A prune takes what has neither a name nor a container. What a build makes and what it stands on has one, at any moment. (The long form
/// is among the tests of reliability.)
#[test]
fn prunes_of_all_tools_take_nothing_from_builds() {
    if skip_without(&["podman", "buildah"]) {
        return;
    }
    let env = env();
    let kept = env.ok(["from", "--name", "kept", "localhost/base:latest"]);
    let end = Instant::now() + Duration::from_secs(5);
    let prunes: [&[&str]; 6] = [
        &["coracle", "rmi", "--prune"],
        &["buildah", "rmi", "--prune"],
        &["coracle", "prune"],
        &["podman", "image", "prune", "-f"],
        &["coracle", "rmi", "--prune"],
        &["coracle", "prune"],
    ];
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
        for round in 0.. {
            if Instant::now() >= end {
                break;
            }
            // Each twice: the second one finds what is left of the first.
            for kind in ["--layers", "--layers", "--layers=false", "--layers=false"] {
                image(start(env, &[kind, "--build-arg", &format!("ROUND={round}"), "-t", "app"]));
                assert_eq!(all(env, "app"), format!("content\nmore\n{round}"), "{kind}");
            }
        }
    });
    assert_eq!(env.ok(["run", &kept, "echo", "here"]), "here");
    env.ok(["rm", &kept]);
    assert_eq!(env.ok(["containers", "-q", "-a"]), "");
    env.assert_store_is_clean();
}

/// Whoever removes images of the cache while a build goes on from them costs it the time to make them again.
#[test]
fn a_build_begins_a_stage_again_whose_images_are_removed_under_it() {
    let env = TestEnv::new();
    env.busybox("localhost/base:latest");
    let wait = "while [ -e /c/wait ]; do sleep 0.05; done";
    env.write(
        "ctx/Dockerfile",
        format!(
            "FROM localhost/base AS made\nRUN echo made > /made\nFROM localhost/base AS other\nARG ROUND\nRUN {wait}; echo other > /other\n\
             FROM localhost/base\nCOPY --from=other /other /\nCOPY --from=made /made /\nRUN cat /made /other > /all\n"
        ),
    );
    let shared = env.write("shared/ready", "").parent().expect("a directory").to_owned();
    let volume = format!("{}:/c", shared.display());
    let words = |round| ["--layers", "-v", &volume, "-t", "app", "--build-arg", round];
    let first = image(start(&env, &words("ROUND=1")));
    // The first stage comes from the cache, the second one takes its time, and meanwhile the image of the first one goes.
    env.ok(["rmi", "app"]);
    let made = image(start(&env, &["--layers", "-v", &volume, "--target", "made"]));
    env.write("shared/wait", "");
    let build = start(&env, &words("ROUND=2"));
    let end = Instant::now() + Duration::from_secs(8);
    while env.ok(["containers", "-q"]).is_empty() {
        assert!(Instant::now() < end, "the command does not run");
        std::thread::sleep(Duration::from_millis(10));
    }
    env.ok(["rmi", &made]);
    std::fs::remove_file(env.work().join("shared/wait")).expect("the file");
    assert_ne!(image(build), first, "made anew, at another time");
    let container = env.ok(["from", "--pull-never", "app"]);
    assert_eq!(env.inside(&container, "cat /all"), "made\nother");
    env.ok(["rm", &container]);
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
