//! `build`: which images it may stand on and for which platforms, and where else the image goes: source policies, `--all-platforms`,
//! `-t` with a transport, `--sbom`.

use std::fs;

use crate::harness::TestEnv;
use crate::harness::registry::{Proxy, Registry, body};

/// The image of `FROM` and what else a build names, made from `scratch` with one file.
fn base(env: &TestEnv, name: &str, content: &str) {
    env.write("base/f", content);
    env.write("base/Dockerfile", "FROM scratch\nCOPY f /f\n");
    env.ok(["build", "-q", "-t", name, "base"]);
}

fn policy(env: &TestEnv, rules: &str) {
    env.write("policy", format!("{{\"rules\": [{rules}]}}"));
}

#[test]
fn a_source_policy_denies_and_converts_images() {
    let env = TestEnv::new();
    base(&env, "one", "one");
    base(&env, "two", "two");
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY --from=localhost/one /f /f\n");
    env.write("from/Dockerfile", "FROM localhost/one\nLABEL a=b\n");
    let build = |context: &str| env.run(["build", "--source-policy-file", "policy", "-q", "-o", "out", context]);
    let read = || fs::read_to_string(env.work().join("out/f")).expect("the file");
    policy(&env, r#"{"action": "DENY", "selector": {"identifier": "docker-image://localhost/one:*"}}"#);
    for context in ["ctx", "from"] {
        let said = build(context).failure(125);
        assert!(said.contains("docker-image://localhost/one:latest is denied by rule 1 of the source policy"), "{said}");
    }
    let convert = r#"{"action": "CONVERT", "selector": {"identifier": "docker-image://localhost/one:latest", "matchType": "EXACT"},
        "updates": {"identifier": "docker-image://localhost/two:latest"}}"#;
    policy(&env, convert);
    for context in ["ctx", "from"] {
        build(context).success();
        assert_eq!(read(), "two");
        fs::remove_file(env.work().join("out/f")).expect("the file");
    }
    policy(
        &env,
        r#"{"action": "ALLOW", "selector": {"identifier": "*"}}, {"action": "DENY", "selector": {"identifier": "*"}}"#,
    );
    build("from").success();
    assert_eq!(read(), "one");
    policy(&env, r#"{"action": "FORBID", "selector": {"identifier": "*"}}"#);
    let said = build("from").failure(125);
    assert!(said.contains("reading the source policy") && said.contains("rule 1: unknown action \"FORBID\""), "{said}");
    assert!(env.run(["build", "--source-policy-file", "nosuch", "ctx"]).failure(125).contains("no such file"));
}

#[test]
fn a_source_policy_says_what_is_at_an_address() {
    let env = TestEnv::new();
    let server = Proxy::start(None, |_, _| body("", "content\n"));
    let address = format!("http://{}/file", server.host());
    env.write("ctx/Dockerfile", format!("FROM scratch\nADD {address} /f\n"));
    let build = || env.run(["build", "--layers", "--source-policy-file", "policy", "-q", "-o", "out", "ctx"]);
    let rule = |digest: &str| {
        format!(
            r#"{{"action": "CONVERT", "selector": {{"identifier": "{address}"}}, "updates": {{"attrs": {{"http.checksum": "sha256:{digest}"}}}}}}"#
        )
    };
    // sha256 of "content\n"
    policy(&env, &rule("434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53"));
    build().success();
    assert_eq!(fs::read_to_string(env.work().join("out/f")).expect("the file"), "content\n");
    policy(&env, &rule(&"0".repeat(64)));
    let said = build().failure(125);
    assert!(said.contains("sha256:0000"), "{said}");
    policy(&env, r#"{"action": "DENY", "selector": {"identifier": "http://*"}}"#);
    let said = build().failure(125);
    assert!(said.contains(&format!("{address} is denied by rule 1")), "{said}");
}

#[test]
fn all_platforms_are_those_of_every_base_image() {
    let env = TestEnv::new();
    env.write("base/Dockerfile", "FROM scratch\nCOPY Dockerfile /\nARG TARGETARCH\nLABEL arch=$TARGETARCH\n");
    env.ok(["build", "-q", "--platform", "linux/amd64,linux/arm64/v8,linux/s390x", "--manifest", "wide", "base"]);
    env.ok(["build", "-q", "--platform", "linux/arm64,linux/ppc64le,linux/amd64", "--manifest", "other", "base"]);
    env.write(
        "ctx/Dockerfile",
        "FROM localhost/wide AS a\nLABEL a=b\nFROM --platform=$TARGETPLATFORM localhost/other\nCOPY --from=a / /\n",
    );
    let output = env.run(["build", "--all-platforms", "--manifest", "made", "ctx"]).success();
    assert!(output.contains("[linux/amd64] ") && output.contains("[linux/arm64] "), "{output}");
    let list = env.ok(["manifest", "inspect", "made"]);
    assert_eq!(list.matches("\"architecture\"").count(), 2, "{list}");
    assert!(list.contains("amd64") && list.contains("arm64") && !list.contains("s390x"), "{list}");
    // Stages that nothing needs are not asked.
    env.write("ctx/Dockerfile", "FROM localhost/wide AS a\nLABEL a=b\nFROM localhost/other\nLABEL a=b\n");
    env.ok(["build", "-q", "--all-platforms", "--manifest", "more", "ctx"]);
    assert!(env.ok(["manifest", "inspect", "more"]).contains("ppc64le"));
    let said = env.run(["build", "--all-platforms", "--iidfile", "x", "ctx"]).failure(125);
    assert!(said.contains("building multiple images, but iidfile"), "{said}");
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    let said = env.run(["build", "--all-platforms", "ctx"]).failure(125);
    assert!(said.contains("no stage is made on an image whose platforms could be looked up"), "{said}");
}

#[test]
fn the_list_of_a_base_image_is_looked_up_at_its_registry() {
    let env = TestEnv::new();
    let registry = Registry::plain();
    let name = registry.name("base");
    env.write("base/Dockerfile", "FROM scratch\nLABEL a=b\n");
    env.ok(["build", "-q", "--platform", "linux/amd64,linux/arm64", "--manifest", "list", "base"]);
    env.ok(["manifest", "push", "-q", "--all", "--tls-verify=false", "list", &format!("docker://{name}")]);
    env.ok(["rmi", "--all", "--force"]);
    env.ok(["pull", "-q", "--tls-verify=false", &name]);
    env.write("ctx/Dockerfile", format!("FROM {name}\nLABEL c=d\n"));
    let build = |pull: &str, list: &str| {
        env.ok(["build", "-q", "--tls-verify=false", pull, "--all-platforms", "--manifest", list, "ctx"]);
        env.ok(["manifest", "inspect", list]).matches("\"architecture\"").count()
    };
    assert_eq!(build("--pull=never", "narrow"), 1);
    assert_eq!(build("--pull=missing", "wide"), 2);
}

#[test]
fn a_tag_may_be_another_place() {
    let env = TestEnv::new();
    env.write("ctx/f", "content\n");
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY f /f\n");
    let id = env.ok(["build", "-q", "-t", "oci:layout:tag", "-t", "docker-archive:archive:name:tag", "ctx"]);
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(env.ok(["images", "--all", "--quiet"]), "", "it only passed through the store");
    env.assert_store_is_clean();
    for place in ["oci:layout:tag", "docker-archive:archive"] {
        env.ok(["pull", "-q", place]);
    }
    assert!(env.ok(["images", "--no-trunc", "--quiet"]).contains(&id), "the layout has the very image");
    env.ok(["rmi", "--all", "--force"]);
    // With a name it stays, and with layers the steps do.
    env.ok(["build", "-q", "-t", "dir:directory", "-t", "kept", "ctx"]);
    assert_eq!(env.ok(["images", "--all", "--format", "{{.Name}}"]), "localhost/kept");
    assert!(env.work().join("directory/manifest.json").exists());
    env.ok(["rmi", "--all", "--force"]);
    env.ok(["build", "-q", "--layers", "-t", "oci:layout:again", "ctx"]);
    let output = env.run(["build", "--layers", "-t", "oci:layout:again", "ctx"]).success();
    assert!(output.contains("Using cache"), "{output}");
    env.ok(["rmi", "--all", "--force"]);
    let said = env.run(["build", "-t", "docker-daemon:x", "ctx"]).failure(125);
    assert!(said.contains("docker-daemon"), "{said}");
    let said = env.run(["build", "-q", "-t", "oci:/nosuch/dir:x", "ctx"]).failure(125);
    assert!(said.contains("/nosuch"), "{said}");
    assert_eq!(env.ok(["images", "--quiet"]), "", "what could not be brought there does not stay");
}

/// `scan TREE OUTPUT`: the names of the files as a list.
const SCANNER: &str = "#!/bin/sh\n(cd \"$1\"; ls) >\"$2\"\n";

#[test]
fn a_list_of_the_contents_is_made_of_the_image_and_its_contexts() {
    let env = TestEnv::new();
    env.busybox("box");
    env.write("scan", SCANNER);
    env.shell(
        "s=$(coracle from box); coracle copy -q --chmod 755 $s scan /bin/scan; coracle commit -q --rm $s scanner >/dev/null",
    )
    .success();
    env.write("ctx/inside", "1");
    env.write("ctx/outside", "2");
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY inside /\n");
    let scanner = ["--sbom-scanner-image", "scanner", "--sbom-merge-strategy", "cat"];
    let commands = ["--sbom-scanner-command", "scan {ROOTFS} {OUTPUT}", "--sbom-scanner-command", "scan {CONTEXT} {OUTPUT}"];
    let outputs = ["--sbom-output", "list", "--sbom-image-output", "/list"];
    for layers in ["--layers=false", "--layers", "--layers", "--squash"] {
        let words: Vec<&str> =
            [&["build", "-q", layers, "-t", "made", "-o", "out"][..], &scanner, &commands, &outputs, &["ctx"]].concat();
        env.ok(&words);
        let list = fs::read_to_string(env.work().join("list")).expect("the list");
        assert_eq!(list, "inside\nDockerfile\ninside\noutside\n", "{layers}");
        assert_eq!(fs::read_to_string(env.work().join("out/list")).expect("the list in the image"), list, "{layers}");
        fs::remove_dir_all(env.work().join("out")).expect("the files");
    }
    assert_eq!(env.ok(["containers", "--quiet", "--all"]), "");
    let said = env.run(["build", "--sbom", "syft", "ctx"]).failure(125);
    assert!(said.contains("sbom configuration missing one or more of"), "{said}");
}
