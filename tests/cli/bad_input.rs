//! Bad input: each gives one clear error that names the thing and the cause, exit status 125, and loses nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{TestEnv, am_root};

/// Runs the words, which must fail with 125 and one `Error:` line that holds every one of `parts`.
#[track_caller]
fn refused(env: &TestEnv, words: &[&str], parts: &[&str]) {
    let output = env.run(words);
    let error = output.failure(125);
    assert_eq!(output.out(), "", "{words:?} wrote data although it failed");
    let lines: Vec<_> = error.lines().filter(|line| line.starts_with("Error: ")).collect();
    assert_eq!(lines.len(), 1, "{words:?}: one error line was expected:\n{error}");
    for part in parts {
        assert!(error.contains(part), "{words:?}: {part:?} is missing in:\n{error}");
    }
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn unknown_things_are_named() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let container = env.ok(["from", "busybox"]);
    refused(&env, &["from", "nosuch"], &["nosuch", "image not known"]);
    refused(&env, &["from", "localhost/busybux"], &["busybux", "hint: ", "localhost/busybox"]);
    refused(&env, &["run", "nosuch", "true"], &["nosuch", "container not known"]);
    refused(&env, &["copy", "nosuch", "f", "/"], &["nosuch", "container not known"]);
    refused(&env, &["commit", "nosuch", "x"], &["nosuch", "container not known"]);
    refused(&env, &["inspect", "nosuch"], &["nosuch"]);
    refused(&env, &["form", "busybox"], &["unknown command \"form\"", "from"]);
    refused(&env, &["from", "--nmae", "x", "busybox"], &["--nmae", "--name"]);
    refused(&env, &["copy", &container, "missing", "/x"], &["missing", "no such file or directory"]);
    env.assert_store_is_clean();
}

#[test]
fn bad_values_are_named_before_anything_changes() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let container = env.ok(["from", "busybox"]);
    let before = env.ok(["inspect", &container]);
    env.write("f", "content");
    refused(&env, &["commit", "--format", "tarball", &container, "x"], &["tarball"]);
    refused(&env, &["commit", "--timestamp", "soon", &container, "x"], &["soon"]);
    refused(&env, &["copy", "--chmod", "u+q", &container, "f", "/f"], &["u+q"]);
    refused(&env, &["copy", "--chown", "nobody-here", &container, "f", "/f"], &["nobody-here"]);
    refused(&env, &["run", "--cap-add", "FLYING", &container, "true"], &["FLYING"]);
    refused(&env, &["run", "--network", "maybe", &container, "true"], &["maybe"]);
    refused(&env, &["run", "--security-opt", "seccomp=/nosuch.json", &container, "true"], &["/nosuch.json"]);
    refused(&env, &["run", "--security-opt", "magic=1", &container, "true"], &["magic"]);
    refused(&env, &["run", "--isolation", "jail", &container, "true"], &["jail"]);
    refused(&env, &["run", "--user", "4294967296", &container, "true"], &["4294967296"]);
    refused(&env, &["from", "--name", "../../x", "busybox"], &["../../x"]);
    let words = "unable to parse value provided \"5x\" as --retry-delay: time: unknown unit \"x\" in duration \"5x\"";
    refused(&env, &["push", "--retry-delay", "5x", "busybox", "dir:x"], &[words]);
    refused(&env, &["config", "--healthcheck-interval", "often", &container], &["often"]);
    refused(&env, &["--log-level", "loud", "images"], &["unable to parse log level", "loud"]);
    refused(&env, &["--storage-driver", "btrfs", "images"], &["btrfs"]);
    assert_eq!(env.ok(["inspect", &container]), before);
    assert_eq!(env.ok(["containers", "-q"]).lines().count(), 1);
    env.assert_store_is_clean();
}

#[test]
fn what_comes_in_a_later_version_is_refused_by_name() {
    let env = TestEnv::new();
    // All verbs and flags are in tests/buildah_table.rs.
    for verb in ["source", "mkcw"] {
        refused(&env, &[verb, "x"], &[verb]);
    }
    refused(&env, &["from", "docker-daemon:x:latest"], &["docker-daemon"]);
}

#[test]
fn an_unreadable_source_directory_is_named() {
    if !am_root() {
        return; // a directory of one's own is readable in the user namespace, whatever its mode; another user's has to be made
    }
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let container = env.ok(["from", "busybox"]);
    env.write("tree/f", "x");
    let closed = env.work().join("tree/closed");
    fs::create_dir(&closed).expect("a directory of root's");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("its mode");
    refused(&env, &["copy", &container, "tree", "/tree"], &["closed", "ermission denied"]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).expect("its mode");
    env.ok(["copy", "-q", &container, "tree", "/tree"]);
    assert_eq!(env.ok(["run", &container, "--", "cat", "/tree/f"]), "x");
}

#[test]
fn a_truncated_archive_is_refused_and_the_container_stays_usable() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let container = env.ok(["from", "busybox"]);
    env.write("tree/f", vec![b'x'; 300_000]);
    env.shell("tar -czf whole.tar.gz tree; head -c 200 whole.tar.gz > cut.tar.gz; tar -cf whole.tar tree; head -c 100000 whole.tar > cut.tar").success();
    refused(&env, &["add", &container, "cut.tar.gz", "/"], &["cut.tar.gz"]);
    refused(&env, &["add", &container, "cut.tar", "/"], &["cut.tar"]);
    env.ok(["run", &container, "--", "true"]);
    env.assert_store_is_clean();
}

#[test]
fn a_changed_layer_is_found_by_check() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let container = env.ok(["from", "busybox"]);
    env.write("f", "the right content");
    env.ok(["copy", "-q", &container, "f", "/f"]);
    env.ok(["commit", "-q", "--rm", &container, "image"]);
    env.ok(["check", "--digests"]);
    let find = format!("find {}/overlay -path '*/diff/f'", env.graph_root().display());
    let file = env.shell(&find).success();
    fs::write(&file, "the wrong content").expect("a change behind the store's back");
    let report = env.run(["check", "--digests"]);
    assert_ne!(report.code, Some(0), "{report}");
    let text = format!("{}{}", report.out(), report.err());
    let layer =
        std::path::Path::new(&file).components().rev().nth(2).map(|name| name.as_os_str().to_string_lossy().into_owned());
    assert!(text.contains(&layer.expect("the layer's ID")[..12]), "{text}");
    let hint = "hint: damaged layers are a part of localhost/image:latest: remove such images";
    assert!(report.err().contains(hint), "{report}");
    let json: serde_json::Value = serde_json::from_str(&env.run(["check", "--digests", "--json"]).out()).expect("JSON");
    assert_eq!(json["images"], serde_json::json!(["localhost/image:latest"]));
}

#[test]
fn a_foreign_binary_is_explained() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let container = env.ok(["from", "busybox"]);
    // The first 64 bytes of an ELF executable for 64-bit ARM (machine 183).
    let mut elf = vec![0u8; 4096];
    elf[..20].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 183, 0]);
    env.write("prog", elf);
    env.ok(["copy", "-q", "--chmod", "755", &container, "prog", "/bin/prog"]);
    let output = env.run(["run", &container, "--", "prog"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.err().contains("prog") && output.err().contains("arm64"), "{output}");
}

#[test]
fn without_newuidmap_one_id_is_mapped_and_a_line_says_so() {
    if !am_root() {
        return; // hiding the helper needs root
    }
    let env = TestEnv::new();
    env.write("f", "content");
    let output = env.with_one_id("c=$(coracle from scratch); coracle copy -q $c f /f; coracle commit -q --rm $c single");
    let id = output.success();
    assert_eq!(id.len(), 64, "{output}");
    assert!(output.err().contains("newuidmap"), "the reason is missing: {output}");
    env.assert_store_is_clean();
}

/// What Debian's Buildah says, beside which this was written.
#[test]
fn errors_have_the_words_that_scripts_look_for() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let container = env.ok(["from", "busybox"]);
    let container = container.trim();
    refused(&env, &["umount", ""], &["error unmounting container : finding build container"]);
    let number = "invalid argument \"x\" for \"--timestamp\" flag: strconv.ParseInt: parsing \"x\": invalid syntax";
    refused(&env, &["commit", "--timestamp", "x", container], &[number]);
    refused(&env, &["commit", "--timestamp", "99999999999999999999", container], &["value out of range"]);
    let missing = ["stat /nosuch: no such file or directory"];
    refused(&env, &["run", "-v", "/nosuch:/x", container, "true"], &missing);
    refused(&env, &["run", "--mount", "type=bind,src=/nosuch,target=/x", container, "true"], &missing);
    refused(&env, &["pull", "dir:nosuch"], &["open nosuch/manifest.json: no such file or directory"]);
    refused(
        &env,
        &["pull", "oci:nosuch:x"],
        &["initializing source oci:nosuch:x: open nosuch/index.json: no such file or directory"],
    );
    refused(&env, &["pull", "docker-archive:nosuch"], &["open nosuch: no such file or directory"]);
    env.ok(["push", "-q", "busybox", "oci:layout:one"]);
    let none = "initializing source oci:layout:two: no descriptor found for reference \"two\"";
    refused(&env, &["pull", "oci:layout:two"], &[none]);
    refused(
        &env,
        &["from", "oci:nosuch"],
        &["initializing source oci:nosuch:: open nosuch/index.json: no such file or directory"],
    );
    let added = "adding \"NOPE\" to the bounding capability set: invalid capability: CAP_NOPE";
    refused(&env, &["run", "--cap-add", "NOPE", container, "true"], &[added]);
    let dropped = "removing \"CAP_NOPE\" from the bounding capability set: invalid capability: CAP_NOPE";
    refused(&env, &["run", "--cap-drop", "CAP_NOPE", container, "true"], &[dropped]);
    let digest = format!("a@sha256:{:064}", 0);
    refused(&env, &["tag", "busybox", &digest], &[&format!("{digest}: tag by digest not supported")]);
}
