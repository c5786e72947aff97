//! `config`: every kind of value, through the binary; the rules themselves are tables beside `image::setting`.

use crate::harness::TestEnv;

fn settings(env: &TestEnv, container: &str, template: &str) -> String {
    env.ok(["inspect", "--format", template, container])
}

#[test]
fn values_land_in_both_formats() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.ok([
        "config",
        "--env",
        "A=1",
        "--env",
        "B=$A",
        "--label",
        "x=y",
        "--port",
        "80,53/udp",
        "--user",
        "u:g",
        "--workingdir",
        "/w",
        "--entrypoint",
        "[\"/app\"]",
        "--cmd",
        "one \"two three\"",
        "--volume",
        "/v",
        "--stop-signal",
        "9",
        "--author",
        "me",
        "--arch",
        "arm64",
        "--variant",
        "v8",
        "--annotation",
        "k=v",
        &container,
    ]);
    let oci = settings(&env, &container, "{{json .OCIv1.Config}}");
    insta::assert_snapshot!(oci, @r#"{"User":"u:g","ExposedPorts":{"53/udp":{},"80":{}},"Env":["A=1","B=1"],"Entrypoint":["/app"],"Cmd":["one","two three"],"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"x":"y"},"StopSignal":"9"}"#);
    assert_eq!(settings(&env, &container, "{{.Docker.Config.Env}} {{.Docker.Architecture}}"), "[A=1 B=1] arm64");
    assert_eq!(settings(&env, &container, "{{.ImageAnnotations}}"), "map[k:v]");
}

#[test]
fn a_minus_removes() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.ok(["config", "--env", "A=1", "--env", "B=2", "--label", "x=1", "--label", "y=2", "--port", "80", &container]);
    env.ok(["config", "--env", "A-", "--label", "-", "--port", "80-", &container]);
    assert_eq!(settings(&env, &container, "{{json .OCIv1.Config}}"), r#"{"Env":["B=2"]}"#);
}

#[test]
fn a_variable_without_a_value_comes_from_the_caller() {
    let mut env = TestEnv::new();
    env.set("MINE", "here");
    let container = env.ok(["from", "scratch"]);
    env.ok(["config", "--env", "MINE", &container]);
    assert_eq!(settings(&env, &container, "{{.OCIv1.Config.Env}}"), "[MINE=here]");
    insta::assert_snapshot!(env.run(["config", "--env", "NOPE", &container]), @r#"
    ------- stderr -------
    Error: setting env "NOPE": no value given
    [exit status: 125]
    "#);
}

#[test]
fn an_annotation_can_be_of_the_layer_and_follows_it() {
    let env = TestEnv::new();
    let layers = |image: &str| {
        env.ok(["push", "-q", image, &format!("dir:{image}")]);
        let manifest = std::fs::read(env.work().join(image).join("manifest.json")).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
        manifest["layers"].as_array().expect("layers").iter().map(|layer| layer["annotations"].clone()).collect::<Vec<_>>()
    };
    let container = env.ok(["from", "scratch"]);
    env.ok(["config", "--annotation", "layer:a=1", "--annotation", "layer:b=2", "--annotation", "c=3", &container]);
    assert_eq!(settings(&env, &container, "{{.ImageAnnotations}} {{.TopLayerAnnotations}}"), "map[c:3] map[a:1 b:2]");
    env.ok(["config", "--annotation", "layer:b-", &container]);
    env.ok(["commit", &container, "parent"]);
    assert_eq!(layers("parent"), [serde_json::json!({"a": "1"})]);
    let child = env.ok(["from", "parent"]);
    assert_eq!(settings(&env, &child, "{{.TopLayerAnnotations}}"), "map[]");
    env.ok(["config", "--annotation", "layer:x=9", "--annotation", "layer:-", "--annotation", "layer:d=4", &child]);
    env.ok(["commit", &child, "child"]);
    assert_eq!(layers("child"), [serde_json::json!({"a": "1"}), serde_json::json!({"d": "4"})]);
}

#[test]
fn what_oci_cannot_hold_is_said_and_kept_for_docker() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    insta::assert_snapshot!(env.run(["config", "--shell", "/bin/x -y", "--healthcheck", "CMD true", "--hostname", "h", &container]), @r"
    ------- stderr -------
    warning: SHELL is not supported for OCI image format, [/bin/x -y] will be ignored. Must use `docker` format
    warning: HEALTHCHECK is not supported for OCI image format and will be ignored. Must use `docker` format
    warning: HOSTNAME is not supported for OCI V1 image format, hostname h will be ignored. Must use `docker` format
    ");
    let docker =
        settings(&env, &container, "{{.Docker.Config.Shell}} {{.Docker.Config.Healthcheck.Test}} {{.Docker.Config.Hostname}}");
    assert_eq!(docker, "[/bin/x -y] [CMD true] h");
}

#[test]
fn history_has_a_line_for_each_setting() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.ok([
        "config",
        "--add-history",
        "--user",
        "u",
        "--cmd",
        "x",
        "--volume",
        "/a",
        "--volume",
        "/b",
        "--label",
        "k=v",
        &container,
    ]);
    let lines = settings(&env, &container, "{{range .History}}{{.CreatedBy}} {{.EmptyLayer}}|{{end}}");
    insta::assert_snapshot!(lines, @"/bin/sh -c #(nop) USER u true|/bin/sh -c #(nop) ENV  true|/bin/sh -c #(nop) CMD x true|/bin/sh -c #(nop) VOLUME /a true|/bin/sh -c #(nop) VOLUME /b true|/bin/sh -c #(nop) LABEL k=v true|");
}

#[test]
fn members_that_we_do_not_know_survive() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let id = env.ok(["containers", "-q"]);
    let file = env.graph_root().join("overlay-containers").join(id).join("userdata/buildah.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen('{', r#"{"FromTheFuture":{"z":1.50,"a":[]},"#, 1)).unwrap();
    env.ok(["config", "--env", "A=1", &container]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(r#""FromTheFuture":{"z":1.50,"a":[]}"#), "{text}");
    assert!(text.contains("A=1"), "{text}");
}

#[test]
fn edits_at_the_same_time_are_all_kept() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let script = format!("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do coracle config --label l$i=$i {container} & done; wait");
    env.shell(&script).success();
    assert_eq!(settings(&env, &container, "{{len .OCIv1.Config.Labels}}"), "12");
}

#[test]
fn an_unknown_container_and_a_missing_one() {
    let env = TestEnv::new();
    insta::assert_snapshot!(env.run(["config", "--env", "A=1", "nope"]), @r#"
    ------- stderr -------
    Error: reading build container "nope": container not known
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["config"]), @r"
    ------- stderr -------
    Error: container ID must be specified
    [exit status: 125]
    ");
}

#[test]
fn a_damaged_state_file_is_left_as_it_is() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let id = env.ok(["containers", "-q"]);
    let file = env.graph_root().join("overlay-containers").join(id).join("userdata/buildah.json");
    std::fs::write(&file, "{\"type\":\"buildah 0.0.1\",").unwrap();
    let output = env.run(["config", "--env", "A=1", &container]);
    assert!(output.failure(125).contains("buildah.json\" is damaged"), "{output}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"type\":\"buildah 0.0.1\",");
}
