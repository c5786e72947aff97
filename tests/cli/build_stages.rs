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
        assert_eq!(ids.len(), 3, "{layers}: {ids:?}");
        let found: Vec<String> = ids.iter().map(|id| show(&env, labels, id)).collect();
        let base = ids.iter().zip(&found).find(|(_, labels)| *labels == "base|scratch");
        let base = base.unwrap_or_else(|| panic!("{layers}: {found:?}")).0;
        assert!(found.contains(&format!("side|{base}")), "{layers}: {found:?}");
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
