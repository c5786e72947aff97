//! `build`: steps that change settings alone. Their images need no container, and are those that a container would have become.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{TestEnv, binary};

fn env(dockerfile: &str) -> TestEnv {
    let env = TestEnv::new();
    env.busybox("localhost/base:latest");
    env.write("ctx/Dockerfile", dockerfile);
    env
}

#[test]
fn settings_alone_need_no_container() {
    let env = env("FROM localhost/base\nENV A=1\n");
    let layers = env.graph_root().join("overlay").display().to_string();
    // Nobody can make a layer there, and so no container.
    env.shell(&format!("chmod a-w {layers}")).success();
    let refused = env.run(["from", "localhost/base"]).failure(125);
    assert!(refused.contains("permission denied"), "{refused}");
    for kind in ["--layers", "--layers=false"] {
        env.ok(["build", kind, "-t", "app", "ctx"]);
        assert_eq!(env.ok(["inspect", "--type", "image", "-f", "{{.OCIv1.Config.Env}}", "app"]).matches("A=1").count(), 1);
    }
    env.shell(&format!("chmod u+w {layers}")).success();
    env.assert_store_is_clean();
}

/// With `--rm=false` each step has a container that stays.
#[test]
fn images_are_the_same_with_containers_and_without() {
    let env = env("FROM localhost/base AS one\nARG X=1\nENV A=$X\nLABEL l=1\nMAINTAINER me\nCMD [\"x\"]\nFROM one AS two\n\
         ENTRYPOINT [\"y\"]\nONBUILD LABEL t=1\nHEALTHCHECK CMD true\nENV PATH=/own:$PATH\nRUN echo $A >/f\nENV B=$A\nEXPOSE 80\nUSER 7\n\
         VOLUME /v\nFROM two AS three\nSTOPSIGNAL 9\nSHELL [\"/bin/ash\", \"-c\"]\nFROM scratch AS four\nENV N=1\nLABEL n=1\n\
         COPY --from=three /f /f\nLABEL m=1\nFROM four AS five\nENV N=2\nCOPY --from=three /f /g\nFROM three\nLABEL last=1\n\
         COPY --from=five /f /g /\nWORKDIR /tmp\nENV C=1\nUSER 0\nRUN touch /h\nUSER 8\n");
    let build = |words: &[&str]| {
        let all = ["build", "-q", "--layers", "--no-cache", "--network", "host", "--timestamp", "7"];
        env.ok(all.iter().chain(words).chain(&["ctx"]))
    };
    // Docker's format names the image that the container stood on, which is another one where each step has its own.
    let options: [&[&str]; 3] = [
        &["--format", "oci"],
        &["--format", "oci", "--layer-label", "own=1", "-t", "app"],
        &["--format", "oci", "--target", "five"],
    ];
    for words in options {
        let without = build(words);
        let with = build(&[words, &["--rm=false"]].concat());
        assert_eq!(without, with, "{words:?}");
        env.ok(["rm", "-a"]);
    }
    env.assert_store_is_clean();
}

/// What a step needs that runs a command is told the settings of those before it, also when nobody kept the image below them.
#[test]
fn a_command_after_settings_finds_them() {
    let env = env(
        "FROM localhost/base AS a\nRUN echo 1 >/one\nFROM a\nENV A=1\nLABEL l=1\nRUN test $A = 1; cat /one >/two\nENV B=2\nRUN \
         test $A$B = 12; cat /two\n",
    );
    for kind in ["--layers", "--layers=false"] {
        let said = env.run(["build", kind, "--network", "host", "-t", "app", "ctx"]).success();
        assert!(said.contains("\n1\n"), "{kind}: {said}");
        let label = env.ok(["inspect", "--type", "image", "-f", "{{.OCIv1.Config.Labels.l}}", "app"]);
        assert_eq!(label, "1", "{kind}");
    }
    // The second time all is found, without layers nothing.
    let again = env.run(["build", "--layers", "--network", "host", "-t", "app", "ctx"]).success();
    assert_eq!(again.matches("--> Using cache ").count(), 6, "{again}");
    env.assert_store_is_clean();
}

/// A chain of stages has one container that keeps its images, not one for each stage.
#[test]
fn a_chain_of_stages_is_held_once() {
    let env =
        env("FROM localhost/base AS a\nENV A=1\nFROM a AS b\nENV B=1\nFROM b AS c\nENV C=1\nFROM c\nENV D=1\nRUN sleep 2\n");
    for kind in ["--layers", "--layers=false"] {
        let mut command = env.command(&binary().to_string_lossy());
        command.args(["build", "-q", "--network", "host", kind, "ctx"]);
        let mut build = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a build");
        let end = Instant::now() + Duration::from_secs(20);
        let names = loop {
            let names = env.ok(["containers", "-a", "--format", "{{.ContainerName}}"]);
            // That of RUN is the last one.
            if names.contains("working-container") || Instant::now() > end {
                break names;
            }
        };
        let status = build.wait().expect("its end");
        assert!(status.success() && names.contains("working-container"), "{kind}: {status} {names}");
        assert_eq!(names.matches("coracle-build-").count(), 1, "{kind}: {names}");
        env.assert_store_is_clean();
    }
}
