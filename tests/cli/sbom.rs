//! `commit --sbom…`: a scanner that the test makes looks at a container, and what it writes comes to its places.

use std::fs;

use crate::harness::TestEnv;

/// `scan TREE OUTPUT`: each file of the tree as a component, in CycloneDX.
const SCANNER: &str = r#"#!/bin/sh
echo "scanning $1"
entry() { printf '{"name":"%s","version":"1","purl":"pkg:generic/%s@1"}' "$1" "$1"; }
list=; for f in "$1"/*; do [ -f "$f" ] && list="$list${list:+,}$(entry "${f##*/}")"; done
printf '{"bomFormat":"CycloneDX","components":[%s]}' "$list" >"$2"
[ -z "$FAIL" ] || exit 7
! touch "$1/written" 2>/dev/null
"#;

/// A scanner's image `scanner`, and the container `c` with two files.
fn world() -> TestEnv {
    let env = TestEnv::new();
    env.busybox("box");
    env.write("scan", SCANNER);
    env.write("one", "1");
    env.write("two", "2");
    env.shell(
        "set -e; s=$(coracle from box); coracle copy -q --chmod 755 $s scan /bin/scan; coracle commit -q --rm $s scanner >/dev/null
         coracle from --name c scratch >/dev/null; coracle copy -q c one two /",
    )
    .success();
    env
}

const OWN: [&str; 4] = ["--sbom-scanner-image", "scanner", "--sbom-scanner-command", "scan {ROOTFS} {OUTPUT}"];
const CYCLONEDX: [&str; 2] = ["--sbom-merge-strategy", "merge-cyclonedx-by-component-name-and-version"];

#[test]
fn the_list_comes_to_the_host_and_into_the_image() {
    let env = world();
    let before = env.ok(["containers", "-q"]);
    let outputs = ["--sbom-output", "host.json", "--sbom-purl-output", "purls.json"];
    let inside = ["--sbom-image-output", "/root/sbom.json", "--sbom-image-purl-output", "/root/purls.json"];
    let words: Vec<&str> = [&["commit", "-q"][..], &OWN, &CYCLONEDX, &outputs, &inside, &["c", "made"]].concat();
    let output = env.run(&words);
    let id = output.success();
    assert_eq!(id.lines().count(), 1, "standard output has the image's ID only: {output}");
    assert!(output.err().contains("scanning /.rootfs"), "{output}");
    let list = fs::read_to_string(env.work().join("host.json")).expect("the list");
    assert_eq!(
        list,
        r#"{"bomFormat":"CycloneDX","components":[{"name":"one","version":"1","purl":"pkg:generic/one@1"},{"name":"two","version":"1","purl":"pkg:generic/two@1"}]}"#
    );
    let purls = fs::read_to_string(env.work().join("purls.json")).expect("the URLs");
    assert_eq!(purls, "{\"image_contents\":{\"dependencies\":[\"pkg:generic/one@1\",\"pkg:generic/two@1\"]}}\n");
    assert_eq!(env.ok(["containers", "-q"]), before, "the scanner's container is gone");
    let seen = env.shell(
        "coracle from --name m made >/dev/null; coracle from --name b box >/dev/null
         coracle copy -q --from made b /root/sbom.json /root/purls.json /; coracle run b cat /sbom.json /purls.json; coracle diff c",
    );
    let seen = seen.success();
    assert!(seen.starts_with(&format!("{list}{purls}")), "{seen}");
    assert!(!seen.contains("written") && !seen.contains(".rootfs"), "the container is as it was: {seen}");
    env.assert_store_is_clean();
}

#[test]
fn lists_of_several_commands_are_merged() {
    let env = world();
    let more = [
        "--sbom-scanner-command",
        r#"echo '{"components":[{"name":"two","version":"1"},{"name":"three"}]}' > {OUTPUT}; : {ROOTFS}"#,
    ];
    let context = ["--sbom-scanner-command", "nosuch {CONTEXT} {OUTPUT}"];
    let to = ["--sbom-output", "list", "c"];
    let words: Vec<&str> = [&["commit", "-q", "--squash"][..], &OWN, &more, &context, &CYCLONEDX, &to].concat();
    env.ok(&words);
    let list = fs::read_to_string(env.work().join("list")).expect("the list");
    assert_eq!(list.matches("\"name\"").count(), 3, "{list}");
    assert!(list.ends_with("{\"name\":\"three\"}]}\n"), "{list}");
    let words: Vec<&str> = [&["commit", "-q"][..], &OWN, &more, &["--sbom-merge-strategy", "cat"], &to].concat();
    env.ok(&words);
    let list = fs::read_to_string(env.work().join("list")).expect("the list");
    assert_eq!(list.matches("\"components\"").count(), 2, "{list}");
}

#[test]
fn a_scan_that_fails_leaves_no_image_and_no_container() {
    let env = world();
    let images = env.ok(["images", "-aq"]);
    let to = ["--sbom-output", "list"];
    let scanned = |more: &[&str]| -> String {
        let words: Vec<&str> = [&["commit", "-q"][..], &CYCLONEDX, &to, more, &["c", "made"]].concat();
        env.run(&words).failure(125)
    };
    let image = ["--sbom-scanner-image", "scanner"];
    for (command, cause) in [
        ("false {ROOTFS}", "exit status 1"),
        ("nosuch {ROOTFS}", "running scanning command"),
        ("true {ROOTFS}", "no such file or directory"),
        ("ln -s /etc/passwd {OUTPUT}; : {ROOTFS}", "reading what"),
        ("echo x > {OUTPUT}; : {ROOTFS}", "decoding JSON document"),
        ("echo no place", "no scanner command mentions {ROOTFS}"),
    ] {
        let error = scanned(&[&image[..], &["--sbom-scanner-command", command]].concat());
        assert!(error.contains(cause), "{command}: {error}");
    }
    let error = scanned(&["--sbom-scanner-image", "nosuch.invalid/x", "--pull=never", "--sbom-scanner-command", "x {ROOTFS}"]);
    assert!(error.contains("creating temporary working container to run scanner"), "{error}");
    assert_eq!(env.ok(["images", "-aq"]), images);
    assert_eq!(env.ok(["containers", "-q"]).lines().count(), 1);
    assert!(!env.work().join("list").exists());
    env.assert_store_is_clean();
}
