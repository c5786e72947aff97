//! `pull`, and the other verbs that read an image from another place than the store.

use std::fs;

use crate::harness::{TestEnv, skip_without};

/// An environment whose working directory has the same image at every kind of place; its store is empty.
fn places() -> (TestEnv, String) {
    let env = TestEnv::new();
    let id = env.busybox("localhost/box:1");
    for place in ["dir:dir", "oci:layout:some/name:2", "oci-archive:oci.tar:named", "docker-archive:docker.tar:q.example/app:3"]
    {
        assert_eq!(env.ok(["push", "-q", "box:1", place]), "", "{place}");
    }
    env.ok(["rmi", "-af"]);
    (env, id)
}

fn names(env: &TestEnv) -> Vec<String> {
    let rows = env.ok(["images", "--noheading", "--format", "{{.Name}}:{{.Tag}}"]);
    let mut names: Vec<String> = rows.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn the_id_is_printed_and_the_names_are_those_of_the_place() {
    let (env, id) = places();
    let cases: [(&str, &[&str]); 6] = [
        ("dir:dir", &["<none>:<none>"]),
        ("oci:layout:some/name:2", &["docker.io/some/name:2"]),
        ("oci:layout", &["<none>:<none>"]),
        ("oci-archive:oci.tar", &["localhost/named:latest"]),
        ("docker-archive:docker.tar", &["localhost/box:1", "q.example/app:3"]),
        ("docker-archive:docker.tar:q.example/app:3", &["q.example/app:3"]),
    ];
    for (place, want) in cases {
        let output = env.run(["pull", place]);
        assert_eq!(output.success(), id, "{place}");
        for line in ["Getting image source signatures", "Copying blob sha256:", "Copying config sha256:", "Writing manifest to"]
        {
            assert!(output.err().contains(line), "{place}: {line}: {output}");
        }
        assert_eq!(names(&env), want, "{place}");
        let quiet = env.run(["pull", "--quiet", place]);
        assert_eq!((quiet.success(), quiet.err()), (id.clone(), String::new()), "{place}");
        env.ok(["rmi", "-af"]);
    }
    env.assert_store_is_clean();
}

#[test]
fn what_is_in_the_store_is_looked_up_only() {
    let env = TestEnv::new();
    let id = env.busybox("box");
    for operand in ["box", "localhost/box", "containers-storage:localhost/box", &id, &id[..12]] {
        let output = env.run(["pull", operand]);
        assert_eq!((output.success(), output.err()), (id.clone(), String::new()), "{operand}");
    }
    assert_eq!(env.ok(["pull", "--policy", "never", "box"]), id);
    assert_eq!(env.ok(["pull", "--policy", "newer", "box"]), id);
    assert!(env.run(["pull", "--policy", "never", "nosuch"]).failure(125).contains("nosuch: image not known"));
    assert!(
        env.run(["pull", "--policy", "always", "--retry", "0", "localhost:1/box"]).failure(125).contains("connection refused")
    );
    assert!(env.run(["pull", "--policy", "zz", "box"]).failure(125).contains("unsupported pull policy \"zz\""));
    assert!(env.run(["pull", "--arch", "s390x", "box"]).failure(125).contains("image not known"));
    assert!(env.run(["pull", "-a", "oci:x"]).failure(125).contains("pulling all tags is not supported for oci transport"));
    assert!(env.run(["pull"]).failure(125).contains("an image name must be specified"));
}

#[test]
fn flags_about_registries_are_taken_where_none_is_asked() {
    let (env, id) = places();
    let auth = env.write("auth.json", "{}").to_string_lossy().into_owned();
    let harmless = ["--tls-verify=false", "--authfile", &auth, "--cert-dir", "/nosuch", "--creds", "me:secret", "--retry", "1"];
    let pull = ["pull", "-q"].iter().chain(&harmless).chain(&["--retry-delay", "1s", "--remove-signatures", "dir:dir"]);
    assert_eq!(env.ok(pull), id);
    assert_eq!(env.ok(["from"].iter().chain(&harmless).chain(&[id.as_str()])), format!("{}-working-container", &id[..12]));
    assert_eq!(env.ok(["push", "-q"].iter().chain(&harmless).chain(&[id.as_str(), "dir:again"])), "");
    let missing = env.run(["pull", "--authfile", "/nosuch", "dir:dir"]).failure(125);
    assert!(missing.contains("credential file is not accessible: stat /nosuch"), "{missing}");
    assert!(env.run(["pull", "--retry-delay", "zz", "dir:dir"]).failure(125).contains("--retry-delay"));
}

#[test]
fn an_empty_format_is_none_and_a_level_beyond_the_last_is_the_last() {
    let (env, id) = places();
    env.ok(["pull", "-q", "dir:dir"]);
    env.ok(["push", "-q", "--format=", &id, "dir:plain"]);
    env.ok(["push", "-q", "--compression-format", "zstd", "--compression-level", "22", &id, "oci:small"]);
    for flags in [&["--all"][..], &["localhost:1"]] {
        let error = env.run([&["logout", "--authfile", "nosuch"], flags].concat()).failure(125);
        assert!(error.contains("credential file is not accessible: stat nosuch: no such file or directory"), "{error}");
    }
}

#[test]
fn a_wrong_platform_is_said_and_the_image_taken() {
    let (env, id) = places();
    let output = env.run(["pull", "-q", "--platform", "linux/s390x", "dir:dir"]);
    assert_eq!(output.success(), id);
    assert!(output.err().contains("warning: image platform (linux/"), "{output}");
    assert!(env.run(["pull", "--platform", "zz", "dir:dir"]).failure(125).contains("invalid platform syntax for \"zz\""));
}

#[test]
fn from_and_copy_read_the_places_too() {
    let (env, id) = places();
    for (place, container, image) in [
        ("dir:dir", "dir-working-container", ""),
        ("oci:layout:some/name:2", "name-working-container", "docker.io/some/name:2"),
        ("docker-archive:docker.tar:q.example/app:3", "app-working-container", "q.example/app:3"),
    ] {
        assert_eq!(env.ok(["from", "-q", place]), container);
        let from = env.ok(["inspect", "--format", "{{.FromImageID}} {{.FromImage}}", container]);
        assert_eq!(from.trim_end(), format!("{id} {image}").trim_end(), "{place}");
        env.ok(["rmi", "-af"]);
    }
    let target = env.ok(["from", "scratch"]);
    let output = env.run(["copy", "--from", "oci-archive:oci.tar", &target, "/bin/busybox", "/box"]);
    assert_eq!(output.success().len(), 64, "{output}");
    assert_eq!(names(&env), ["localhost/named:latest"]);
    assert!(env.run(["copy", "--from", "dir:nosuch", &target, "/x"]).failure(125).contains("nosuch"));
    assert!(
        env.run(["inspect", "oci:layout"]).failure(125).contains("unsupported transport \"oci\" for looking up local images")
    );
}

/// Podman's archive of two images.
#[test]
fn of_several_images_in_an_archive_one_is_chosen_by_tag_or_place() {
    if skip_without(&["podman"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("localhost/one");
    let container = env.ok(["from", "one"]);
    env.ok(["config", "--label", "which=two", &container]);
    env.ok(["commit", "-q", "--rm", &container, "two"]);
    env.tool("podman", ["save", "-q", "-m", "-o", "both.tar", "localhost/one", "localhost/two"]).success();
    env.tool("gzip", ["-k", "both.tar"]).success();
    let [one, two] = ["one", "two"].map(|name| env.ok(["images", "-q", "--no-trunc", name]).replace("sha256:", ""));
    env.ok(["rmi", "-af"]);
    for archive in ["both.tar", "both.tar.gz"] {
        for (which, id, name) in [
            ("localhost/two", &two, "localhost/two:latest"),
            ("@0", &one, "localhost/one:latest"),
            ("@1", &two, "localhost/two:latest"),
        ] {
            assert_eq!(&env.ok(["pull", "-q", &format!("docker-archive:{archive}:{which}")]), id, "{which}");
            assert_eq!(names(&env), [name]);
            env.ok(["rmi", "-af"]);
        }
        for which in ["", ":nosuch", ":@2"] {
            env.run(["pull", "-q", &format!("docker-archive:{archive}{which}")]).failure(125);
            assert_eq!(names(&env), Vec::<String>::new(), "{which}");
        }
    }
    env.assert_store_is_clean();
}

/// The error is one line that names the place, and nothing of the image is left in the store.
#[track_caller]
fn assert_refused(env: &TestEnv, place: &str, words: &str) {
    let error = env.run(["pull", "-q", place]).failure(125);
    assert!(error.starts_with("Error: ") && error.contains(words), "{place}: {words:?} is missing in {error}");
    assert_eq!(error.lines().filter(|line| !line.starts_with("hint: ")).count(), 1, "{place}: {error}");
    assert_eq!(env.ok(["images", "-aq"]), "", "{place}");
    let layers = fs::read_to_string(env.graph_root().join("overlay-layers/layers.json")).unwrap_or_default();
    assert!(!layers.contains("\"id\""), "{place} left a layer: {layers}");
    env.assert_store_is_clean();
}

#[test]
fn places_that_are_cut_short_or_changed_leave_nothing() {
    let (env, _) = places();
    for (archive, kind) in [("oci.tar", "oci-archive"), ("docker.tar", "docker-archive")] {
        let whole = fs::read(env.work().join(archive)).unwrap();
        for length in [0, 100, 3000, whole.len() / 2, whole.len() - 4000] {
            let cut = env.write(&format!("cut-{length}-{archive}"), &whole[..length]);
            let name = cut.file_name().unwrap().to_string_lossy().into_owned();
            assert_refused(&env, &format!("{kind}:{name}"), &name);
        }
    }
    let manifest = fs::read_to_string(env.work().join("dir/manifest.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let layer = document["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let path = format!("dir/{layer}");
    let whole = fs::read(env.work().join(&path)).unwrap();
    // The time in the header of gzip: the same files, another digest.
    let mut changed = whole.clone();
    changed[4] ^= 1;
    env.write(&path, &changed);
    assert_refused(&env, "dir:dir", &layer);
    env.write(&path, &whole[..whole.len() - 1]);
    assert_refused(&env, "dir:dir", "bytes instead of");
    env.write(&path, &whole);
    env.write("dir/manifest.json", manifest.replace(&layer, "../../../../etc/passwd"));
    assert_refused(&env, "dir:dir", "is not a digest");
    env.write("dir/manifest.json", &manifest);
    assert_eq!(env.ok(["pull", "-q", "dir:dir"]).len(), 64);
}

#[test]
fn names_that_are_none_are_no_names() {
    let (env, id) = places();
    let index = fs::read_to_string(env.work().join("layout/index.json")).unwrap();
    for name in ["\\u001b[31mred", "../../escape", "UPPER/case", "a b", ""] {
        env.write("layout/index.json", index.replace("some/name:2", name));
        let output = env.run(["pull", "-q", "oci:layout:@0"]);
        assert!(!output.err().contains('\u{1b}') && !output.out().contains('\u{1b}'), "{name:?}");
        if output.code == Some(0) {
            assert_eq!(output.success(), id);
            assert_eq!(names(&env), ["<none>:<none>"], "{name:?}");
            env.ok(["rmi", "-af"]);
        }
    }
    env.assert_store_is_clean();
}
