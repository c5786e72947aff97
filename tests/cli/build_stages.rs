//! `build`: what stages leave in the store.

use crate::harness::TestEnv;

#[test]
fn stages_that_others_stand_on_leave_neither_images_nor_containers() {
    let env = TestEnv::new();
    env.write("ctx/file", "content\n");
    env.write(
        "ctx/Dockerfile",
        "FROM scratch AS base\nCOPY file /a\nFROM base AS side\nCOPY file /b\nFROM base\nCOPY --from=side /b /c\n",
    );
    env.ok(["build", "-t", "app", "ctx"]);
    assert_eq!(env.ok(["images", "--all", "--format", "{{.Name}}"]), "localhost/app");
    assert_eq!(env.ok(["containers", "--quiet", "--all"]), "");
    assert_eq!(env.ok(["check"]), "");
}

/// A build's result: what the template shows of the image.
#[track_caller]
fn show(env: &TestEnv, template: &str, image: &str) -> String {
    env.ok(["inspect", "--type", "image", "--format", template, image])
}

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[track_caller]
fn is_docker(env: &TestEnv, image: &str) -> bool {
    env.ok(["inspect", "--type", "image", "--format", "{{.Manifest}}", image]).contains(DOCKER)
}

#[test]
fn docker_only_settings_choose_the_docker_format_unless_somebody_chose_another() {
    let mut env = TestEnv::new();
    let note = |keyword: &str| format!("building in the docker format, since that of OCI has no place for {keyword}");
    for (keyword, file) in [
        ("HEALTHCHECK", "FROM scratch\nHEALTHCHECK CMD [\"/check\"]\n"),
        ("SHELL", "FROM scratch AS one\nSHELL [\"/sh\"]\nFROM one\nLABEL a=b\n"),
        ("ONBUILD", "FROM scratch\nONBUILD LABEL a=b\n"),
    ] {
        env.write("ctx/Dockerfile", file);
        for layers in ["--layers=false", "--layers"] {
            let output = env.run(["build", layers, "-t", "made", "ctx"]);
            output.success();
            assert_eq!(output.err().matches(&note(keyword)).count(), 1, "{output}");
            assert!(!output.err().contains("will be ignored"), "{output}");
            assert!(is_docker(&env, "made"), "{file}");
        }
        let output = env.run(["build", "--format", "oci", "-t", "made", "ctx"]);
        output.success();
        assert!(output.err().contains("will be ignored. Must use `docker` format"), "{output}");
        assert!(!output.err().contains("building in"), "{output}");
        assert!(!is_docker(&env, "made"), "{file}");
    }
    env.set("BUILDAH_FORMAT", "oci");
    assert!(!env.run(["build", "-t", "made", "ctx"]).err().contains("building in"));
    assert!(!is_docker(&env, "made"));
}

#[test]
fn settings_of_stages_that_only_hand_files_on_choose_no_format() {
    let env = TestEnv::new();
    env.write("ctx/file", "content\n");
    env.write(
        "ctx/Dockerfile",
        "FROM scratch AS files\nSHELL [\"/sh\"]\nCOPY file /a\nFROM scratch AS base\nONBUILD COPY file /b\nFROM base\nCOPY --from=files /a /c\n",
    );
    let output = env.run(["build", "-t", "made", "ctx"]);
    output.success();
    assert_eq!(output.err(), "");
    assert!(!is_docker(&env, "made"));
    // Now they stay.
    let output = env.run(["build", "--save-stages", "-t", "made", "ctx"]);
    output.success();
    assert!(output.err().contains("no place for SHELL"), "{output}");
    assert!(is_docker(&env, "made"));
}

#[test]
fn what_the_oci_format_loses_of_a_base_is_named_once() {
    let env = TestEnv::new();
    env.write("base/Dockerfile", "FROM scratch\nHEALTHCHECK CMD [\"/check\"]\nSHELL [\"/sh\"]\n");
    env.ok(["build", "-q", "--format", "docker", "-t", "base", "base"]);
    env.write("ctx/Dockerfile", "FROM base AS side\nLABEL a=b\nFROM base\nLABEL a=b\n");
    let words = "warning: the image gets no HEALTHCHECK and SHELL of base, for which the OCI format has no place";
    let output = env.run(["build", "-q", "--skip-unused-stages=false", "-t", "made", "ctx"]);
    output.success();
    assert_eq!(output.err().matches(words).count(), 1, "{output}");
    assert_eq!(env.run(["build", "-q", "--format", "docker", "-t", "made", "ctx"]).err(), "");
    assert_eq!(show(&env, "{{.Docker.Config.Shell}}", "made"), "[/sh]");
}

#[test]
fn saved_stages_stay_as_images_with_labels() {
    let env = TestEnv::new();
    env.write("ctx/file", "content\n");
    env.write(
        "ctx/Dockerfile",
        "FROM scratch AS base\nCOPY file /a\nFROM base AS side\nCOPY file /b\nFROM scratch AS idle\nFROM idle\nCOPY --from=side /b /c\n",
    );
    let labels =
        "{{index .OCIv1.Config.Labels \"io.buildah.stage.name\"}}|{{index .OCIv1.Config.Labels \"io.buildah.stage.base\"}}";
    let said = env.run(["build", "--stage-labels", "ctx"]).failure(125);
    assert!(said.contains("--stage-labels requires --save-stages"), "{said}");
    for layers in ["--layers=false", "--layers"] {
        env.ok(["rmi", "--all", "--force"]);
        env.ok(["build", layers, "--save-stages", "--stage-labels", "-t", "app", "ctx"]);
        assert_eq!(env.ok(["containers", "--quiet", "--all"]), "");
        let ids = env.ok(["images", "--all", "--quiet", "--no-trunc"]);
        let ids: Vec<&str> = ids.lines().map(|id| id.trim_start_matches("sha256:")).collect();
        // With layers, that of the labels is a step as well.
        assert_eq!(ids.len(), if layers == "--layers" { 6 } else { 3 }, "{layers}: {ids:?}");
        let found: Vec<String> = ids.iter().map(|id| show(&env, labels, id)).collect();
        let mut bases = ids.iter().zip(&found).filter(|(_, labels)| *labels == "base|scratch").map(|(id, _)| id);
        assert!(bases.any(|base| found.contains(&format!("side|{base}"))), "{layers}: {found:?}");
        assert!(found.contains(&"3|scratch".to_owned()), "{layers}: {found:?}");
        assert_eq!(show(&env, labels, "app"), "3|scratch");
    }
    // A step without the labels is another one.
    let output = env.run(["build", "--layers", "ctx"]).success();
    assert!(!output.contains("Using cache"), "{output}");
    env.ok(["rmi", "--all", "--force"]);
    env.ok(["build", "--save-stages", "-t", "app", "ctx"]);
    assert_eq!(env.ok(["images", "--all", "--quiet"]).lines().count(), 3);
}

#[test]
fn triggers_may_copy_from_stages_that_nothing_else_needs() {
    let env = TestEnv::new();
    env.write("ctx/file", "content\n");
    let files = "FROM scratch AS early\nCOPY file /a\nFROM early AS files\nCOPY file /b\n";
    let check = |layers: &str| {
        let output = env.run(["build", layers, "-t", "app", "ctx"]).success();
        assert_eq!(output.matches("FROM scratch AS early").count(), 1, "{output}");
        assert_eq!(output.matches("FROM base").count(), 1, "{output}");
        env.ok(["build", "-q", "-o", "out", "on"]);
        assert_eq!(content(&env, "out/c"), "content\n");
    };
    env.write("on/Dockerfile", "FROM app\nLABEL a=b\n");
    // Of an image: known when the image is there.
    env.write("base/Dockerfile", "FROM scratch\nONBUILD COPY --from=files /b /c\n");
    env.ok(["build", "-q", "-t", "base", "base"]);
    env.write("ctx/Dockerfile", format!("{files}FROM base\nCOPY file /d\n"));
    check("--layers=false");
    check("--layers");
    // Of a stage: known from the file.
    env.write(
        "ctx/Dockerfile",
        format!("{files}FROM scratch AS base\nONBUILD COPY --from=files /b /c\nFROM base\nCOPY file /d\n"),
    );
    let output = env.run(["build", "-t", "app", "ctx"]).success();
    assert_eq!(output.matches("FROM scratch AS early").count(), 1, "{output}");
    env.ok(["build", "-q", "-o", "out", "on"]);
    assert_eq!(content(&env, "out/c"), "content\n");
    assert_eq!(env.ok(["containers", "--quiet", "--all"]), "");
}

fn content(env: &TestEnv, name: &str) -> String {
    std::fs::read_to_string(env.work().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// They are those of the images of steps; what the file and the base say of the same label counts.
#[test]
fn labels_of_layers_do_not_reach_the_image() {
    let env = TestEnv::new();
    env.busybox("localhost/plain:latest");
    env.ok(["from", "--name", "c", "localhost/plain:latest"]);
    env.ok(["config", "--label", "base=kept", "c"]);
    env.ok(["commit", "-q", "--rm", "c", "localhost/base:latest"]);
    env.write("ctx/Dockerfile", "FROM localhost/base AS first\nRUN echo a > /a\nENV A=1\nRUN echo b > /b\nFROM first\nLABEL file=kept\nRUN echo c > /c\nENV B=2\n");
    let labels = |image: &str| {
        let text = env.ok(["inspect", "--type", "image", "--format", "{{json .OCIv1.Config.Labels}}", image]);
        let mut labels: std::collections::BTreeMap<String, String> = serde_json::from_str(&text).expect("labels");
        labels.remove("io.buildah.version");
        format!("{labels:?}")
    };
    let flags = ["--layer-label", "step=yes", "--layer-label", "base=step", "--layer-label", "file=step"];
    for round in ["new", "cached"] {
        let out = env.run(["build", "--layers", "-t", "app"].iter().chain(&flags).chain(&["ctx"])).success();
        assert_eq!(labels("app"), r#"{"base": "kept", "file": "kept"}"#, "{round}");
        let steps: Vec<&str> =
            out.lines().filter_map(|line| line.strip_prefix("--> ")).filter(|line| line.len() == 12).collect();
        let (result, steps) = steps.split_last().expect("images");
        assert_eq!(labels(result), r#"{"base": "kept", "file": "kept"}"#, "{round}");
        assert_eq!(steps.len(), 5, "{out}");
        for (at, step) in steps.iter().enumerate() {
            let file = if at < 3 { "step" } else { "kept" };
            assert_eq!(labels(step), format!(r#"{{"base": "kept", "file": "{file}", "step": "yes"}}"#), "{round}: {step}");
        }
    }
}

/// As Buildah, but for steps that come from the cache, which have none here.
#[test]
fn each_step_leaves_its_container_if_that_is_asked_for() {
    let env = TestEnv::new();
    env.busybox("localhost/base:latest");
    env.write(
        "ctx/Dockerfile",
        "FROM base AS a\nRUN echo a > /a\nENV A=1\nRUN echo b > /b\nFROM base\nCOPY --from=a /b /c\nRUN echo d > /d\n",
    );
    env.write("bad/Dockerfile", "FROM base\nRUN echo a > /a\nRUN echo half > /half; exit 3\n");
    let left = |words: &[&str], context: &str, code: i32| {
        let build = env.run(["build", "-t", "app"].iter().chain(words).chain(&[context]));
        assert_eq!(build.code, Some(code), "{build}");
        let shown = env.ok(["containers", "--format", "{{.ContainerName}}"]);
        let mut names: Vec<String> = shown.lines().map(str::to_owned).collect();
        names.sort();
        let is_of_step = |name: &&String| !name.starts_with("base-working-container");
        for name in names.iter().filter(is_of_step) {
            let id = name.strip_suffix("-working-container").expect("a name");
            assert_eq!(env.ok(["images", "-a", "-q", "--filter", &format!("id={id}")]).len(), 12, "{name}");
        }
        let sees = |name: &String| env.inside(name, "echo $(ls / | grep -x -E 'a|b|c|d|half') $A");
        let mut seen: Vec<String> = names.iter().map(sees).collect();
        seen.sort();
        names.iter().for_each(|name| drop(env.ok(["rm", name])));
        env.assert_store_is_clean();
        seen
    };
    assert_eq!(left(&["--layers", "--rm=false"], "ctx", 0), ["a", "a 1", "a b 1", "c", "c d"]);
    assert!(left(&["--layers", "--rm=false"], "ctx", 0).is_empty(), "all is in the cache");
    assert!(left(&["--no-cache", "--rm=false"], "ctx", 0).is_empty());
    assert!(left(&["--layers", "--no-cache"], "ctx", 0).is_empty());
    let bad: [(&[&str], &[&str]); 7] = [
        (&["--layers", "--no-cache"], &[]),
        (&["--layers", "--no-cache", "--force-rm"], &[]),
        (&["--layers", "--no-cache", "--force-rm=false"], &["a half"]),
        (&["--layers", "--no-cache", "--keep-failed"], &["a half"]),
        (&["--layers", "--no-cache", "--rm=false"], &["a", "a half"]),
        (&["--layers", "--no-cache", "--rm=false", "--force-rm"], &["a"]),
        (&["--no-cache", "--rm=false", "--force-rm=false"], &[]),
    ];
    for (words, want) in bad {
        assert_eq!(left(words, "bad", 3), want, "{words:?}");
    }
}

#[test]
fn of_stages_side_by_side_the_one_that_failed_is_kept() {
    let env = TestEnv::new();
    env.busybox("base");
    let stages = "FROM base AS a\nRUN touch /a; sleep 60\nFROM base AS b\nRUN touch /b; sleep 1; exit 9\n";
    env.write("ctx/Dockerfile", format!("{stages}FROM a\nCOPY --from=b / /b\n"));
    for layers in ["--layers", "--layers=false"] {
        let build = env.run(["build", layers, "--jobs", "2", "--keep-failed", "ctx"]);
        let said = build.failure(9);
        let names = env.ok(["containers", "-a", "--format", "{{.ContainerName}} {{.ContainerID}}"]);
        let (name, id) = names.split_once(' ').expect("a container");
        assert_eq!(env.inside(name, "ls -d /a /b 2>/dev/null; true"), "/b", "{layers}: {names}");
        assert_eq!(said.matches("is kept").count(), 1, "{said}");
        assert!(said.contains(&format!("the container {} is kept as the failed step left it", &id.trim()[..12])), "{said}");
        env.ok(["rm", name]);
        env.assert_store_is_clean();
    }
}

#[test]
fn volumes_are_in_the_one_layer_if_nothing_follows_that_could_make_them() {
    let env = TestEnv::new();
    env.write("ctx/file", "content\n");
    let made = |flag: &str, lines: &str| {
        env.shell("rm -rf out").success();
        env.write("ctx/Dockerfile", format!("FROM scratch\n{lines}\n"));
        env.ok(["build", "-q", flag, "-o", "out", "ctx"]);
        ["v/w", "x"].map(|path| env.work().join("out").join(path).is_dir())
    };
    assert_eq!(made("--layers=false", "COPY file /\nVOLUME /v/w x /file"), [true, true]);
    assert_eq!(made("--layers=false", "COPY file /\nVOLUME /v/w\nCOPY file /x/"), [false, true]);
    assert_eq!(made("--layers=false", "COPY file /\nVOLUME /v/w\nCMD [\"/x\"]"), [false, false]);
    assert_eq!(made("--layers=false", "VOLUME /v/w"), [false, false]);
    assert_eq!(made("--layers", "COPY file /\nVOLUME /v/w"), [false, false]);
    // What another stage takes from it.
    assert_eq!(made("--layers=false", "COPY file /\nVOLUME /v/w\nFROM scratch\nCOPY --from=0 / /"), [true, false]);
}
