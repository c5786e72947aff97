//! `build`: stages and images that are empty, as sources of copies and mounts.

use crate::harness::TestEnv;

/// What `-o out` gave: the names, sorted; directories end with a slash.
fn out(env: &TestEnv) -> String {
    env.shell("cd out; find . -mindepth 1 -type d -printf '%P/ ' -o -printf '%P ' | tr ' ' '\\n' | sort | xargs; rm -r ../out")
        .success()
}

#[test]
fn an_empty_stage_or_image_has_nothing_to_copy_and_that_is_no_error() {
    let env = TestEnv::new();
    env.write("ctx/f", "content\n");
    env.write("none/Dockerfile", "FROM scratch\nLABEL a=b\n");
    env.ok(["build", "-q", "-t", "empty", "none"]);
    let stages = ["FROM scratch AS x\n", "FROM scratch AS x\nLABEL c=d\n", "FROM empty AS x\n", "FROM scratch\nFROM 0 AS x\n"];
    for (stage, layers) in stages.into_iter().flat_map(|stage| [(stage, "--layers=false"), (stage, "--layers")]) {
        let file = |copy: &str| env.write("ctx/Dockerfile", format!("{stage}FROM scratch\nCOPY f /f\nCOPY --from=x {copy}\n"));
        for (copy, made) in [("/ /dst", "dst/ f"), (". /dst/", "dst/ f"), ("/ /", "f"), ("--link . /dst/", "dst/ f")] {
            file(copy);
            // With layers the second time from the cache.
            for _ in 0..2 {
                env.ok(["build", "-q", layers, "-o", "out", "ctx"]);
                assert_eq!(out(&env), made, "{stage}{copy} {layers}");
            }
        }
        for copy in ["/nosuch /dst", "/nosuch* /dst/"] {
            file(copy);
            let said = env.run(["build", "-q", layers, "ctx"]).failure(125);
            assert!(said.contains("/nosuch") && said.contains("no such file or directory"), "{stage}{copy}: {said}");
        }
    }
    // The reserved name is no image's: no registry is asked for it.
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY --from=scratch / /dst\nCOPY --from=scratch --link . /linked/\n");
    for layers in ["--layers=false", "--layers", "--layers"] {
        env.ok(["build", "-q", layers, "-o", "out", "ctx"]);
        assert_eq!(out(&env), "dst/ linked/", "{layers}");
    }
    // A stage may have it.
    env.write("ctx/Dockerfile", "FROM scratch AS scratch\nCOPY f /f\nFROM scratch\nCOPY --from=scratch / /dst\n");
    env.ok(["build", "-q", "-o", "out", "ctx"]);
    assert_eq!(out(&env), "dst/ dst/f f");
    // The same by its name, and as a further context.
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY --from=localhost/empty / /dst\nCOPY --from=q / /more\n");
    for layers in ["--layers=false", "--layers", "--layers"] {
        env.ok(["build", "-q", layers, "-o", "out", "--build-context", "q=docker-image://localhost/empty", "ctx"]);
        assert_eq!(out(&env), "dst/ more/", "{layers}");
    }
    env.assert_store_is_clean();
}

#[test]
fn an_empty_stage_is_mounted_as_an_empty_directory() {
    let env = TestEnv::new();
    env.busybox("box");
    env.write("none/Dockerfile", "FROM scratch\nLABEL a=b\n");
    env.ok(["build", "-q", "-t", "empty", "none"]);
    for (from, name) in [("FROM scratch AS x\n", "x"), ("FROM empty AS x\n", "x"), ("", "scratch")] {
        let run = "RUN --mount=from=x,target=/m ls -A /m; ! touch /m/a 2>/dev/null
RUN --mount=from=x,target=/m,rw touch /m/a && ls -A /m
RUN --mount=from=x,target=/m,rw ls -A /m
RUN --mount=type=cache,from=x,target=/m ls -A /m
";
        env.write("ctx/Dockerfile", format!("{from}FROM box\n{}", run.replace("from=x", &format!("from={name}"))));
        for layers in ["--layers=false", "--layers", "--layers"] {
            let output = env.run(["build", layers, "-t", "made", "ctx"]);
            output.success();
            let listed = output.out().lines().filter(|line| *line == "a").count();
            assert_eq!(listed, usize::from(!output.out().contains("Using cache")), "{layers}: {output}");
        }
        env.ok(["rmi", "made"]);
    }
    env.assert_store_is_clean();
}
