//! Mounts of RUN in a build (known attacks A65, A77 to A82, A92, A93, A95, A96): stages, contexts and caches are not left, secrets leave no
//! trace.

use std::fs;
use std::path::Path;

use crate::harness::{CommandOutput, TestEnv};
use crate::paths::{Canary, Racer};

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.busybox("busybox");
    env
}

fn build(env: &TestEnv, flags: &[&str], text: &str) -> CommandOutput {
    env.write("ctx/Dockerfile", text);
    env.run([&["build", "--network", "host", "-t", "app"], flags, &["ctx"]].concat())
}

/// A77, CVE-2024-1753, and A82: what a stage's links lead to is in that stage, and writes end with the command.
#[test]
fn a_stages_links_do_not_lead_out_of_it() {
    let env = env();
    let canary = Canary::new(&env);
    let out = canary.path.display();
    let stage = format!(
        "FROM busybox AS evil\nRUN ln -s / /root1; ln -s ../../../.. /up; ln -s {out} /out; ln -s /proc/self/root /magic; echo in >/inside\n\
         FROM busybox\n"
    );
    for source in ["/root1", "/up", "../../..", "up/root1"] {
        let mount =
            format!("RUN --mount=from=evil,source={source},target=/m,rw cat /m/inside && echo x >/m/new && rm -r /m/bin\n");
        let output =
            build(&env, &[], &format!("{stage}{mount}RUN --mount=from=evil,target=/m test ! -e /m/new && test -e /m/bin/sh"));
        output.success();
    }
    for source in ["/out", "/out/secret", "/magic/proc/1/root"] {
        for kind in ["bind", "cache"] {
            let mount = format!("RUN --mount=type={kind},from=evil,source={source},target=/m cat /m /m/secret");
            let output = build(&env, &[], &format!("{stage}{mount}"));
            assert_ne!(output.code, Some(0), "{kind} {source}: {output}");
        }
    }
    canary.assert_untouched();
    env.assert_store_is_clean();
}

/// A82, CVE-2025-4953, and A78: the context is below its handle, and no command writes to it.
#[test]
fn the_context_is_neither_left_nor_written_to() {
    let env = env();
    let canary = Canary::new(&env);
    env.write("ctx/sub/file", "kept");
    std::os::unix::fs::symlink(&canary.path, env.work().join("ctx/out")).expect("a link");
    std::os::unix::fs::symlink("..", env.work().join("ctx/up")).expect("a link");
    let script =
        "RUN --mount=target=/c,rw echo x >/c/sub/file; rm -r /c/sub; touch /c/new\nRUN --mount=target=/c cat /c/sub/file";
    build(&env, &[], &format!("FROM busybox\n{script}")).success();
    assert_eq!(fs::read_to_string(env.work().join("ctx/sub/file")).expect("the file"), "kept");
    assert!(!env.work().join("ctx/new").exists());
    for source in ["out", "out/secret", "/out/secret", &canary.path.display().to_string(), "up/canary", "../canary"] {
        let output = build(&env, &[], &format!("FROM busybox\nRUN --mount=source={source},target=/m cat /m /m/secret"));
        assert_ne!(output.code, Some(0), "{source}: {output}");
    }
    canary.assert_untouched();
}

/// A78, CVE-2024-11218: a directory of a shared cache is swapped for a link while other builds mount what is below it.
#[test]
fn a_source_in_a_shared_cache_stays_inside_during_a_race() {
    let env = env();
    let canary = Canary::new(&env);
    build(&env, &[], "FROM busybox\nRUN --mount=type=cache,id=x,target=/c mkdir /c/e").success();
    let caches = fs::read_dir(env.path("tmp")).expect("the directory for temporary files").flatten();
    let caches =
        caches.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("buildah-cache")).expect("caches");
    let cache = fs::read_dir(caches).expect("the caches").flatten().map(|entry| entry.path());
    let cache = cache.into_iter().find(|path| path.join("e").is_dir()).expect("the cache");
    let racer = Racer::start_in(&env, &cache.display().to_string(), &canary);
    for round in 0..6 {
        // Inside or refused; what counts is the canary.
        let text = format!("FROM busybox\nRUN --mount=type=cache,id=x,source=d,target=/m touch /m/new-{round}; cat /m/secret");
        let output = build(&env, &["--no-cache"], &text);
        assert!(!output.out().contains(crate::paths::SECRET), "{output}");
    }
    racer.stop();
    canary.assert_untouched();
}

/// A79, CVE-2024-9407, and A80, CVE-2024-9675: words that ride along, and names that are paths.
#[test]
fn words_are_known_and_names_are_hashed() {
    let env = env();
    let canary = Canary::new(&env);
    for mount in ["bind-propagation=rw\\,suid", "bind-propagation=x", "upperdir=/x", "ro=x", "rw,rw", "target=/o"] {
        let output = build(&env, &[], &format!("FROM busybox\nRUN --mount=type=bind,target=/m,{mount} true"));
        assert_eq!(output.code, Some(125), "{mount}: {output}");
    }
    for id in ["../../canary", "/etc", "..", &canary.path.display().to_string()] {
        let text = format!("FROM busybox\nRUN --mount=type=cache,id={id},target=/c ls /c/secret || echo x >/c/new");
        build(&env, &[], &text).success();
    }
    canary.assert_untouched();
}

/// A81, CVE-2024-23652: the command replaces what leads to a mount point; nothing of the host is removed, and the user's file stays.
#[test]
fn mount_points_are_removed_where_they_were_made() {
    let env = env();
    let canary = Canary::new(&env);
    let out = canary.path.display();
    let text = format!(
        "FROM busybox\nRUN --mount=type=secret,id=s,target=/d/secret --mount=type=tmpfs,target=/e/sub \
         umount /d/secret 2>/dev/null; mv /d /gone; ln -s {out} /d; mv /e /went; ln -s {out} /e; true\n\
         RUN --mount=type=bind,source=Dockerfile,target=/f/stub true\nRUN test ! -e /f && test -L /d && test -L /e"
    );
    env.write("key", "k");
    build(&env, &["--secret", "id=s,src=key"], &text).success();
    canary.assert_untouched();
    env.assert_store_is_clean();
}

/// A92, A93, A96: the value of a secret is in no file of the store, no cache of steps, no output; another value makes the same image.
#[test]
fn a_secret_leaves_no_trace_and_changes_no_key() {
    let env = env();
    let text = "FROM busybox\nRUN --mount=type=secret,id=s --mount=type=secret,id=s,env=S,target=/x/y \
                test -n \"$S\" && test -s /run/secrets/s && test -s /x/y\nRUN ! test -e /x && ! test -e /run/secrets";
    let mut ids = Vec::new();
    for value in ["canary42-first", "canary42-second"] {
        env.write("key", value);
        let flags = ["--secret", "id=s,src=key", "--layers", "--timestamp", "0"];
        let output = build(&env, &flags, text);
        output.success();
        assert!(!format!("{output}").contains("canary42"), "{output}");
        ids.push(env.ok(["images", "-q", "--no-trunc", "app"]));
        let failed = build(&env, &["--log-level", "debug", "--secret", "id=s,src=key"], &text.replace("test -n", "test -z"));
        assert!(failed.code != Some(0) && !format!("{failed}").contains("canary42"), "{failed}");
    }
    assert_eq!(ids[0], ids[1], "the value is no input");
    for place in [env.path("home"), env.path("run"), env.path("tmp")] {
        assert_eq!(holder(&place, b"canary42"), None);
    }
}

/// A file below `dir` that has `words` in it.
fn holder(dir: &Path, words: &[u8]) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let kind = entry.file_type().ok()?;
        let found = match (kind.is_dir(), kind.is_file()) {
            (true, _) => holder(&entry.path(), words),
            (_, true) => fs::read(entry.path())
                .ok()
                .filter(|bytes| bytes.windows(words.len()).any(|window| window == words))
                .map(|_| entry.path()),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// A95, CVE-2024-7387: the place of a secret is inside, whatever it is called and whatever links the image has there.
#[test]
fn a_secrets_place_is_inside() {
    let env = env();
    let canary = Canary::new(&env);
    env.write("key", "k");
    let out = canary.path.display();
    for target in ["../../../canary/new", "/out/secret", "/link", "/out/new/deep", "/bin/sh"] {
        let text = format!(
            "FROM busybox\nRUN ln -s {out} /out; ln -s {out}/secret /link\n\
             RUN --mount=type=secret,id=s,target={target} [\"/bin/busybox\", \"true\"]"
        );
        // It may be refused; it must not reach out.
        let _ = build(&env, &["--secret", "id=s,src=key"], &text);
        canary.assert_untouched();
    }
    for target in ["/proc/self/environ", "/sys/kernel", "/", "/proc/../proc/1/x"] {
        let output = build(
            &env,
            &["--secret", "id=s,src=key"],
            &format!("FROM busybox\nRUN --mount=type=secret,id=s,target={target} true"),
        );
        assert_eq!(output.code, Some(125), "{target}: {output}");
    }
    env.assert_store_is_clean();
}

/// A65: nothing that a RUN leaves behind lives on in the next step.
#[test]
fn no_process_outlives_its_step() {
    let env = env();
    let text = "FROM busybox\nRUN setsid sh -c 'while :; do date >/x; sleep 0.01; done' >/dev/null 2>&1 & sleep 0.2\n\
                RUN rm -f /x; sleep 0.2; test ! -e /x";
    for isolation in ["rootless", "chroot"] {
        build(&env, &["--isolation", isolation, "--no-cache"], text).success();
    }
}
