//! SIGKILL at a random moment of each changing verb. Afterwards the store is valid for us and for podman, what was there is
//! there, the next command works, and what the dead process left is collected.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::registry::{PROGRAM, Registry};
use crate::harness::{TestEnv, have};
use crate::{Dice, stress_time};

const VERBS: [&str; 18] = [
    "from",
    "run",
    "copy",
    "copy --link",
    "commit",
    "commit --rm",
    "commit --add-file",
    "commit --manifest",
    "commit linked",
    "commit elsewhere",
    "build",
    "build --layers",
    "build --layers large",
    "pull",
    "rm",
    "rmi",
    // The last ones need a registry.
    "pull from a registry",
    "push to a registry",
];

/// Stages, steps that change files and others, and a step that is never the same, so that no build is cached as a whole.
const DOCKERFILE: &str = "FROM busybox AS first\nRUN mkdir /made && date +%N > /made/first\nENV A=1\nCOPY file /made/file\n\
    FROM busybox\nARG ROUND\nRUN echo $ROUND > /round\nCOPY --from=first /made /made\nRUN rm /etc/group && cat /made/file > /end\n";

/// The same, with steps whose images are made while the next ones run.
const LARGE: &str = "FROM busybox\nARG ROUND\nRUN echo $ROUND > /round; dd if=/dev/zero of=/large bs=1 count=0 seek=40000000\n\
    RUN rm /etc/group; dd if=/dev/zero of=/more bs=1 count=0 seek=40000000\nCOPY file /end\nRUN rm /large /more\n";

/// The words of one verb on a prepared container and image; `remote` is what an image is called at a registry.
fn words(verb: &str, container: &str, remote: &str) -> Vec<String> {
    let words: Vec<&str> = match verb {
        "from" => vec!["from", "busybox"],
        "run" => vec!["run", container, "--", "sh", "-c", "for i in 1 2 3; do echo $i > /tmp/f$i; done"],
        "copy" => vec!["copy", "-q", container, "tree", "/tree"],
        "copy --link" => vec!["copy", "-q", "--link", container, "tree", "/tree"],
        "commit" | "commit linked" => vec!["commit", "-q", container, "committed"],
        "commit --rm" => vec!["commit", "-q", "--rm", container, "committed"],
        "commit --add-file" => vec!["commit", "-q", "--add-file", "tree/0/0:/added", container, "committed"],
        "commit --manifest" => vec!["commit", "-q", "--manifest", "list", container, "committed"],
        "commit elsewhere" => vec!["commit", "-q", container, "oci:elsewhere"],
        "build" => vec!["build", "-q", "-t", "built", "context"],
        "build --layers" => vec!["build", "-q", "--layers", "-t", "built", "context"],
        "build --layers large" => vec!["build", "-q", "--layers", "-t", "built", "-f", "context/Large", "context"],
        "pull" => vec!["pull", "-q", "oci:source:pulled"],
        "pull from a registry" => vec!["pull", "-q", "--tls-verify=false", remote],
        "push to a registry" => vec!["push", "-q", "--tls-verify=false", "victim", remote],
        "rm" => vec!["rm", container],
        _ => vec!["rmi", "victim"],
    };
    words.into_iter().map(str::to_owned).collect()
}

/// Runs the words in a session of their own and kills every process of it after `delay`; returns whether that was in time.
fn run_and_kill(env: &TestEnv, words: &[String], delay: Duration) -> bool {
    let mut command = env.command("coracle");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().expect("coracle starts");
    sleep(delay);
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    let killed = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).is_ok();
    let status = child.wait().expect("its status");
    killed && status.code().is_none()
}

#[test]
fn a_kill_at_any_moment_leaves_a_valid_store() {
    kill_and_look("overlay");
}

#[test]
fn a_kill_at_any_moment_leaves_a_valid_store_on_vfs() {
    kill_and_look("vfs");
}

fn kill_and_look(driver: &str) {
    let env = TestEnv::on(driver);
    let mut dice = Dice::new();
    let base = env.busybox("localhost/busybox:latest");
    for number in 0..40 {
        env.write(&format!("tree/{}/{number}", number % 5), vec![b'x'; 20_000]);
    }
    env.write("context/Dockerfile", DOCKERFILE);
    env.write("context/Large", LARGE);
    env.write("context/file", "a file");
    let kept = env.ok(["from", "--name", "kept", "busybox"]);
    env.ok(["run", &kept, "--", "sh", "-c", "echo kept > /kept"]);

    env.ok(["push", "-q", &env.ok(["commit", "-q", "--squash", &kept]), "oci:source:pulled"]);
    env.ok(["rmi", "-f", &env.ok(["images", "-q", "--filter", "dangling=true"])]);

    let registry = have(PROGRAM).then(Registry::plain);
    let remote = registry.as_ref().map_or_else(String::new, |registry| registry.name("pulled"));
    if registry.is_some() {
        let image = env.ok(["pull", "-q", "oci:source:pulled"]);
        env.ok(["push", "-q", "--tls-verify=false", &image, &remote]);
        env.ok(["rmi", "-f", &image]);
    }
    let verbs = if registry.is_some() { &VERBS[..] } else { &VERBS[..VERBS.len() - 2] };

    let mut longest = [Duration::from_millis(30); VERBS.len()];
    let (mut rounds, mut hits) = (0u64, 0u64);
    let end = Instant::now() + stress_time();
    while Instant::now() < end {
        let which = usize::try_from(dice.below(verbs.len() as u64)).expect("a small number");
        let verb = verbs[which];
        let container = env.ok(["from", "busybox"]);
        env.ok(["run", &container, "--", "sh", "-c", "echo $$ > /mark; rm /etc/group; mkdir /d"]);
        if verb == "rmi" || verb.starts_with("push") {
            env.ok(["commit", "-q", &container, "victim"]);
        }
        if verb.contains("link") {
            env.ok(["copy", "-q", "--link", &container, "tree", "/before"]);
        }
        let words = words(verb, &container, &remote);
        let limit = u64::try_from(longest[which].as_micros()).expect("a short time");
        let delay = Duration::from_micros(dice.below(limit));
        let started = Instant::now();
        if run_and_kill(&env, &words, delay) {
            hits += 1;
            // Perhaps all of them come early here: aim later, until one is too late.
            longest[which] = (longest[which] * 5 / 4).min(Duration::from_secs(2));
        } else {
            // The command was faster than the kill: aim earlier.
            longest[which] = longest[which].min(started.elapsed()).max(Duration::from_millis(2));
        }
        rounds += 1;

        let context = format!("round {rounds}: {verb} killed after {delay:?}");
        let check = env.run(["check"]);
        assert_eq!(check.code, Some(0), "{context}: the store is damaged\n{check}");
        let images = env.ok(["images", "-q", "--no-trunc"]);
        assert!(images.contains(&base), "{context}: the base image is gone: {images}");
        assert_eq!(env.ok(["run", "kept", "--", "cat", "/kept"]), "kept", "{context}");
        if rounds % 8 == 0 && have("podman") {
            let listed = env.tool("podman", ["images", "-a", "-q", "--no-trunc"]).success();
            assert!(listed.contains(&base), "{context}: podman images: {listed}");
            let listed = env.tool("podman", ["ps", "-a", "--external", "--format", "{{.Names}}"]).success();
            assert!(listed.contains("kept"), "{context}: podman ps: {listed}");
        }
        if verb == "copy --link" {
            // The layer that was there before stays, and the new one is whole or was never there.
            env.ok(["copy", "-q", "--link", &container, "tree", "/after"]);
            env.ok(["commit", "-q", "--rm", &container, "committed"]);
            let layers = env.ok(["inspect", "-t", "image", "--format", "{{len .OCIv1.RootFS.DiffIDs}}", "committed"]);
            assert!(["4", "5"].contains(&layers.as_str()), "{context}: {layers} layers");
        }
        if verb == "commit elsewhere" {
            // The image on its way belongs to nobody any more.
            env.ok(["check", "--repair"]);
            assert_eq!(env.ok(["images", "-q", "--filter", "dangling=true"]), "", "{context}: an image without a name stays");
        }
        if verb.starts_with("build") {
            // The next one goes through, whatever this one left for it.
            let mut again = words.clone();
            again.insert(1, format!("--build-arg=ROUND={rounds}"));
            env.ok(&again);
            let built = env.ok(["from", "built"]);
            assert_eq!(env.inside(&built, "cat /round /end"), format!("{rounds}\na file"), "{context}");
        }
        if verb.starts_with("pull") {
            // Whole, or not there; and it can be had again.
            let place = if verb == "pull" { "oci:source:pulled" } else { &remote };
            let image = env.ok(["pull", "-q", "--tls-verify=false", place]);
            env.ok(["rmi", "-f", &image]);
        }
        if verb.starts_with("push") {
            // What the registry had is there, or what it was to get.
            let image = env.ok(["pull", "-q", "--policy", "always", "--tls-verify=false", &remote]);
            env.ok(["rmi", "-f", &image]);
        }
        // What is left of the round goes through the front door.
        for name in env.ok(["containers", "--noheading", "--format", "{{.ContainerName}}"]).lines().map(str::trim) {
            if !name.is_empty() && name != "kept" {
                // A killed `commit --rm` is ended by the next command that changes the store: by this one, for example.
                let removed = env.run(["rm", name]);
                assert_eq!(removed.code, Some(0), "{context}: {removed}");
            }
        }
        env.run(["rmi", "-f", "committed"]);
        env.run(["rmi", "-f", "built"]);
        // The images of its steps have no names.
        env.ok(["rmi", "--prune"]);
        env.run(["rmi", "-f", "victim"]);
        env.run(["rmi", "-f", "list"]);
    }
    eprintln!("{rounds} rounds, {hits} killed in time");
    assert!(hits * 4 > rounds, "most kills came too late to prove anything: {hits} of {rounds}");

    env.ok(["rm", "-a"]);
    env.ok(["rmi", "-a", "-f"]);
    env.ok(["check", "--repair"]);
    let left = env.run(["check"]);
    assert_eq!((left.code, left.out().as_str()), (Some(0), ""), "garbage remains:\n{left}");
    // A commit that was killed between its layer and its image left the layer, recorded and whole: it must not stay either.
    let table = env.graph_root().join(format!("{driver}-layers/layers.json"));
    assert_eq!(std::fs::read_to_string(table).expect("the table of layers"), "[]", "layers that nothing uses remain");
}
