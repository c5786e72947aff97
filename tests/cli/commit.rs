//! `commit`: what is printed and written, what the documents say, and what becomes of the container.

use crate::harness::TestEnv;

fn container_with_a_file(env: &TestEnv) -> String {
    let container = env.ok(["from", "scratch"]);
    env.write("file", "content\n");
    env.ok(["copy", "-q", &container, "file", "/file"]);
    container
}

fn config(env: &TestEnv, image: &str) -> serde_json::Value {
    serde_json::from_str(&env.ok(["inspect", "-t", "image", "--format", "{{.Config}}", image])).unwrap()
}

fn manifest(env: &TestEnv, image: &str) -> serde_json::Value {
    serde_json::from_str(&env.ok(["inspect", "-t", "image", "--format", "{{.Manifest}}", image])).unwrap()
}

#[test]
fn the_id_is_printed_or_written_to_a_file() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    let id = env.ok(["commit", &container, "app"]);
    assert_eq!(id.len(), 64);
    let file = env.work().join("iid");
    insta::assert_snapshot!(env.run(["commit", "--iidfile", &file.to_string_lossy(), &container]), @"");
    assert!(std::fs::read_to_string(file).unwrap().starts_with("sha256:"));
    env.assert_store_is_clean();
}

#[test]
fn the_metadata_file_describes_the_manifest() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    let file = env.work().join("meta");
    let id = env.ok(["commit", "--metadata-file", &file.to_string_lossy(), &container, "app"]);
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(document["containerimage.config.digest"], format!("sha256:{id}"));
    let digest = env.ok(["inspect", "-t", "image", "--format", "{{.FromImageDigest}}", "app"]);
    assert_eq!(document["containerimage.digest"], digest);
    assert_eq!(document["containerimage.descriptor"]["digest"], digest);
}

#[test]
fn an_unchanged_container_commits_an_empty_layer() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.ok(["commit", "--rm", &container, "one"]);
    let container = env.ok(["from", "one"]);
    env.ok(["commit", &container, "two"]);
    let empty = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert_eq!(config(&env, "two")["rootfs"]["diff_ids"], serde_json::json!([empty, empty]));
    env.assert_store_is_clean();
}

#[test]
fn history_names_the_base_once() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    env.ok(["config", "--author", "me", "--created-by", "by hand", "--history-comment", "note ", &container]);
    env.ok(["commit", "--rm", &container, "base"]);
    let container = env.ok(["from", "base"]);
    env.ok(["config", "--add-history", "--label", "a=b", &container]);
    env.ok(["commit", &container, "app"]);
    let history = config(&env, "app")["history"].clone();
    let texts: Vec<String> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} / {} / {}", entry["created_by"], entry["comment"], entry["empty_layer"]))
        .collect();
    insta::assert_snapshot!(texts.join("\n"), @r##"
    "by hand" / "note " / null
    "/bin/sh -c #(nop) ENV " / "FROM localhost/base:latest" / true
    "/bin/sh -c #(nop) LABEL a=b" / null / true
    "/bin/sh" / null / null
    "##);
    assert_eq!(manifest(&env, "app")["annotations"]["org.opencontainers.image.base.name"], "localhost/base:latest");
}

#[test]
fn rm_takes_the_container_and_keeps_the_files() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    env.ok(["commit", "--rm", &container, "app"]);
    assert_eq!(env.ok(["containers", "-q"]), "");
    insta::assert_snapshot!(env.run(["diff", "app"]), @"A      8 B /file");
    env.assert_store_is_clean();
}

#[test]
fn a_copy_and_a_freeze_give_the_same_image() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    let copied = env.ok(["commit", "--timestamp", "7", &container, "copied"]);
    let frozen = env.ok(["commit", "--timestamp", "7", "--rm", &container, "frozen"]);
    assert_eq!(copied, frozen);
    env.assert_store_is_clean();
}

#[test]
fn squash_makes_one_layer_without_the_bases_history() {
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    env.ok(["run", &container, "--", "rm", "/etc/passwd"]);
    env.ok(["commit", "--squash", &container, "flat"]);
    assert_eq!(config(&env, "flat")["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
    assert_eq!(config(&env, "flat")["history"].as_array().unwrap().len(), 1);
    let container = env.ok(["from", "flat"]);
    insta::assert_snapshot!(env.run(["run", &container, "--", "sh", "-c", "ls /bin/sh; ls /etc/passwd"]), @r"
    /bin/sh
    ------- stderr -------
    ls: /etc/passwd: No such file or directory
    Error: while running runtime: exit status 1
    [exit status: 1]
    ");
    env.assert_store_is_clean();
}

#[test]
fn a_fixed_time_makes_equal_images() {
    let mut env = TestEnv::new();
    let container = container_with_a_file(&env);
    let one = env.ok(["commit", "--timestamp", "0", &container, "one"]);
    let two = env.ok(["commit", "--timestamp", "0", &container, "two"]);
    assert_eq!(one, two);
    assert_eq!(config(&env, "one")["created"], "1970-01-01T00:00:00Z");
    assert_eq!(config(&env, "one")["config"]["Labels"], serde_json::Value::Null);
    env.set("SOURCE_DATE_EPOCH", "86400");
    env.ok(["commit", "--identity-label", &container, "three"]);
    assert_eq!(config(&env, "three")["created"], "1970-01-02T00:00:00Z");
    assert!(config(&env, "three")["config"]["Labels"]["io.buildah.version"].is_string());
    let both = env.run(["commit", "--timestamp", "0", "--source-date-epoch", "0", &container]);
    assert!(both.failure(125).contains("cannot use more then one timestamp option at a time"), "{both}");
}

#[test]
fn changes_are_the_images_and_not_the_containers() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    env.ok(["config", "--env", "A=1", "--env", "GONE=1", "--annotation", "old=1", &container]);
    env.ok([
        "commit",
        "--change",
        "CMD [\"/app\"]",
        "--change",
        "ENV B=$A",
        "--change",
        "EXPOSE 80",
        "--unsetenv",
        "GONE",
        "--annotation",
        "new=1",
        "--unsetannotation",
        "old",
        "--created-annotation=false",
        &container,
        "app",
    ]);
    insta::assert_snapshot!(config(&env, "app")["config"], @r#"{"Cmd":["/app"],"Env":["A=1","B=1"],"ExposedPorts":{"80/tcp":{}},"Labels":{"io.buildah.version":"0.1.0"}}"#);
    insta::assert_snapshot!(manifest(&env, "app")["annotations"], @r#"{"new":"1"}"#);
    assert_eq!(env.ok(["inspect", "--format", "{{.OCIv1.Config.Env}}", &container]), "[A=1 GONE=1]");
    insta::assert_snapshot!(env.run(["commit", "--change", "RUN true", &container]), @r#"
    ------- stderr -------
    Error: --change "RUN true": RUN is not allowed here: only instructions that change the configuration are
    [exit status: 125]
    "#);
}

#[test]
fn added_files_are_in_the_image_only() {
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    env.write("extra", "extra\n");
    env.ok(["commit", "--add-file", "extra:/opt/extra", &container, "app"]);
    insta::assert_snapshot!(env.run(["diff", "app"]), @r"
    A          /opt
    A      6 B /opt/extra
    ");
    insta::assert_snapshot!(env.run(["diff", &container]), @"");
    let missing = env.run(["commit", "--add-file", "nope:/x", &container, "app2"]);
    assert!(missing.failure(125).contains("nope"), "{missing}");
    assert_eq!(env.ok(["containers", "--noheading"]).lines().count(), 1);
    env.assert_store_is_clean();
}

#[test]
fn docker_format_keeps_what_oci_drops() {
    let env = TestEnv::new();
    let container = env.ok(["from", "--format", "docker", "scratch"]);
    env.ok(["config", "--healthcheck", "CMD true", "--shell", "/bin/x -y", &container]);
    env.ok(["commit", "--format", "docker", &container, "app"]);
    let app = config(&env, "app");
    assert_eq!(app["config"]["Healthcheck"]["Test"], serde_json::json!(["CMD", "true"]));
    assert_eq!(app["container_config"], app["config"]);
    assert_eq!(app["history"][0]["created_by"], "/bin/x -y");
    assert_eq!(manifest(&env, "app")["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
}

#[test]
fn registries_and_bad_names_are_refused() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let registry = env.run(["commit", &container, "docker://q.example/x"]).failure(125);
    assert!(registry.contains("docker://q.example/x"), "{registry}");
    assert_eq!(env.ok(["images", "-q"]), "");
    insta::assert_snapshot!(env.run(["commit", &container, "Bad:Name:X"]), @r#"
    ------- stderr -------
    Error: cannot parse input: "Bad:Name:X": invalid reference format
    [exit status: 125]
    "#);
    let signed = env.run(["commit", "--sign-by", "me", &container, "x"]).failure(125);
    assert!(signed.contains("signing the image with the key \"me\""), "{signed}");
}

#[test]
fn a_policy_that_rejects_the_store_holds() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.write_home(".config/containers/policy.json", "{\"default\":[{\"type\":\"reject\"}]}\n");
    insta::assert_snapshot!(env.run(["commit", &container, "x"]), @r"
    ------- stderr -------
    Error: Source image rejected: images of the local store are rejected by policy
    [exit status: 125]
    ");
}

#[test]
fn a_configuration_file_is_merged_between_unsetenv_and_change() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    env.ok([
        "config",
        "--env",
        "A=1",
        "--env",
        "B=1",
        "--entrypoint",
        "[\"/e\"]",
        "--cmd",
        "old",
        "--label",
        "k=v",
        &container,
    ]);
    env.write("file.json", r#"{"Cmd":["/app"],"Env":["A=2","NONE"],"Labels":{"l":"w"},"ExposedPorts":{"80/tcp":{}}}"#);
    let flags = ["--identity-label=false", "--unsetenv", "B", "--config", "file.json", "--change", "ENV B=3"];
    env.ok([&["commit"], &flags[..], &[&container, "app"]].concat());
    insta::assert_snapshot!(config(&env, "app")["config"], @r#"{"Cmd":["/app"],"Env":["A=2","NONE=","B=3"],"ExposedPorts":{"80/tcp":{}},"Labels":{"k":"v","l":"w"}}"#);
    env.write("bad.json", r#"{"Cmd":7}"#);
    insta::assert_snapshot!(env.run(["commit", "--config", "bad.json", &container]), @r#"
    ------- stderr -------
    Error: parsing configuration blob from "bad.json": parsing image configuration: invalid type: integer `7`, expected a sequence at line 1 column 8
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["commit", "--config", "nosuch.json", &container]), @r"
    ------- stderr -------
    Error: reading configuration blob from file: nosuch.json: no such file or directory
    [exit status: 125]
    ");
}

#[test]
fn the_times_of_scripts_from_long_ago_still_work() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    env.shell("touch -d @86400 reference").success();
    env.ok(["commit", "--omit-timestamp", &container, "omitted"]);
    env.ok(["commit", "--reference-time", "reference", &container, "referred"]);
    assert_eq!(config(&env, "omitted")["created"], "1970-01-01T00:00:00Z");
    assert_eq!(config(&env, "referred")["created"], "1970-01-02T00:00:00Z");
    let both = env.run(["commit", "--omit-timestamp", "--timestamp", "0", &container]);
    assert!(both.failure(125).contains("timestamp option at a time"), "{both}");
}

#[test]
fn a_base_without_history_gets_none() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    env.ok(["commit", "--rm", "--omit-history", &container, "base"]);
    let container = env.ok(["from", "base"]);
    env.ok(["commit", &container, "app"]);
    assert_eq!(config(&env, "app")["history"], serde_json::Value::Null);
    assert_eq!(config(&env, "app")["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_manifest_list_is_made_and_grows() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    let one = env.ok(["commit", "--manifest", "list", &container, "one"]);
    env.ok(["config", "--arch", "arm64", "--variant", "v8", &container]);
    let two = env.ok(["commit", "--rm", "--manifest", "list", &container]);
    let list = stored_list(&env);
    let platforms: Vec<_> = list["manifests"].as_array().unwrap().iter().map(|entry| entry["platform"].to_string()).collect();
    assert_eq!(platforms.len(), 2);
    assert_eq!(platforms[1], r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#);
    let digest = env.ok(["inspect", "-t", "image", "--format", "{{.FromImageDigest}}", "one"]);
    assert_eq!(list["manifests"][0]["digest"], digest);
    assert_ne!(one, two);
    let container = env.ok(["from", "one"]);
    insta::assert_snapshot!(env.run(["commit", "--manifest", "one", &container]), @r#"
    ------- stderr -------
    Error: image name "one" is already associated with image [ID], which is no manifest list: that name is already in use
    [exit status: 125]
    "#);
    env.assert_store_is_clean();
}

/// The one manifest list of the store.
fn stored_list(env: &TestEnv) -> serde_json::Value {
    let images = std::fs::read_dir(env.graph_root().join("overlay-images")).expect("the images");
    let manifests = images.filter_map(|entry| std::fs::read(entry.ok()?.path().join("manifest")).ok());
    let documents = manifests.map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).expect("a manifest"));
    let lists: Vec<_> = documents.filter(|document| document["manifests"].is_array()).collect();
    assert_eq!(lists.len(), 1);
    lists.into_iter().next().expect("a list")
}

#[test]
fn a_name_with_a_digest_is_only_for_the_image_that_has_it() {
    let env = TestEnv::new();
    let container = container_with_a_file(&env);
    env.ok(["commit", "--timestamp", "0", &container, ""]);
    let other = format!("app@sha256:{}", "0".repeat(64));
    let refused = env.run(["commit", "--timestamp", "0", &container, &other]);
    assert!(refused.failure(125).contains("does not match the destination reference"), "{refused}");
    assert_eq!(env.ok(["images", "--format", "{{.Name}}"]), "<none>");
    let digest = env.ok(["images", "--format", "{{.Digest}}"]);
    env.ok(["commit", "--timestamp", "0", &container, &format!("app@{digest}")]);
    assert_eq!(env.ok(["images", "--format", "{{.Name}}"]), "localhost/app");
}

#[test]
fn a_map_of_ids_onto_themselves_keeps_no_layer_from_an_image() {
    let env = TestEnv::new();
    env.busybox("localhost/base:1");
    env.write("f", "content\n");
    let container = env.ok(["from", "--userns-uid-map", "0:0:1", "localhost/base:1"]);
    env.ok(["copy", "-q", &container, "f", "/f"]);
    env.ok(["commit", "-q", "--rm", &container, "localhost/mapped:1"]);
    env.write("Dockerfile", "FROM localhost/mapped:1\nCOPY f /g\n");
    env.ok(["build", "-q", "--layers", "--userns-uid-map", "0:0:1", "-t", "localhost/built:1", "."]);
    let container = env.ok(["from", "localhost/built:1"]);
    assert_eq!(env.ok(["run", &container, "--", "sh", "-c", "cat /f /g"]), "content\ncontent");
    assert_eq!(env.ok(["check"]), "");
}
