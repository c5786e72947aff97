//! `--imagestore`: images and their layers in a root of their own, containers and theirs in `--root`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{TestEnv, am_root, have};

/// The image store of a test.
fn image_root(env: &TestEnv) -> PathBuf {
    env.path("home/images")
}

/// A test's environment whose storage.conf names an image store.
fn with_image_store(driver: &str) -> TestEnv {
    let env = TestEnv::on(driver);
    let text = format!("[storage]\ndriver = \"{driver}\"\nimagestore = \"{}\"\n", image_root(&env).display());
    env.write_home(".config/containers/storage.conf", text);
    env
}

/// IDs in a table.
fn ids(table: &Path) -> Vec<String> {
    let text = fs::read_to_string(table).unwrap_or_else(|_| "[]".to_owned());
    let records: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a table");
    records.iter().map(|record| record["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Names of layers' directories in a driver's home.
fn dirs(home: &Path) -> Vec<String> {
    let names = fs::read_dir(home).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.len() == 64).collect();
    names.sort();
    names
}

#[test]
fn images_lie_apart_from_containers() {
    let env = with_image_store("overlay");
    let (graph, images) = (env.graph_root(), image_root(&env));
    let base = env.busybox("localhost/base:1");
    let container = env.ok(["from", "localhost/base:1"]);
    env.write("f", "content\n");
    env.ok(["copy", "-q", &container, "f", "/f"]);

    assert_eq!(ids(&images.join("overlay-images/images.json")), [base.as_str()]);
    assert_eq!(ids(&graph.join("overlay-images/images.json")), [""; 0]);
    let image_layers = ids(&images.join("overlay-layers/layers.json"));
    let own_layers = ids(&graph.join("overlay-layers/layers.json"));
    assert_eq!((image_layers.len(), own_layers.len()), (1, 1));
    assert_eq!(dirs(&images.join("overlay")), image_layers);
    assert_eq!(dirs(&graph.join("overlay")), own_layers);
    assert_eq!(ids(&graph.join("overlay-containers/containers.json")).len(), 1);
    // The chain names the link that lies in the image store (containers/storage, overlay.go: getLower).
    let lower = fs::read_to_string(graph.join("overlay").join(&own_layers[0]).join("lower")).expect("the chain");
    let target = fs::read_link(images.join("overlay").join(&lower)).expect("the link of the layer below");
    assert_eq!(target, Path::new("..").join(&image_layers[0]).join("diff"));
    assert!(!graph.join("overlay").join(&lower).exists());
    // The format has tar-splits in the graph root; the image store is whole by itself with a second one.
    for root in [&graph, &images] {
        assert!(root.join("overlay-layers").join(format!("{}.tar-split.gz", image_layers[0])).is_file(), "{root:?}");
    }
    let info = env.ok(["info", "--format", "{{.store.GraphImageStore}}"]);
    assert_eq!(Path::new(&info), images);
}

#[test]
fn every_verb_works_over_two_roots() {
    for driver in ["overlay", "vfs"] {
        let env = with_image_store(driver);
        env.busybox("localhost/base:1");
        env.write("f", "content\n");
        let container = env.ok(["from", "localhost/base:1"]);
        env.ok(["copy", "-q", &container, "f", "/d/f"]);
        env.ok(["run", &container, "--", "sh", "-c", "rm /etc/group; rm -r /home; mkdir /home; echo h > /home/h"]);
        let changed = env.ok(["diff", &container]);
        assert!(changed.contains("/d/f") && changed.contains("/home/h"), "{driver}: {changed}");
        env.ok(["commit", "-q", &container, "localhost/copied:1"]);
        env.ok(["commit", "-q", "--squash", &container, "localhost/squashed:1"]);
        env.ok(["commit", "-q", "--rm", &container, "localhost/frozen:1"]);
        for image in ["copied", "squashed", "frozen"] {
            let name = format!("localhost/{image}:1");
            let container = env.ok(["from", &name]);
            let seen = env.ok(["run", &container, "--", "sh", "-c", "cat /d/f; ls /home; test ! -e /etc/group"]);
            assert_eq!(seen, "content\nh", "{driver} {image}");
            env.ok(["push", "-q", &name, &format!("oci:out:{image}")]);
            env.ok(["rm", &container]);
        }
        assert_eq!(env.ok(["check", "--digests"]), "", "{driver}");

        // Into a store of one root: the layers are what they say.
        let root = env.path("home/other").to_string_lossy().into_owned();
        let other = |words: &[&str]| env.ok(["--root", &root, "--imagestore", ""].iter().chain(words));
        let id = other(&["pull", "-q", "oci:out:frozen"]);
        assert_eq!(other(&["images", "-q", "--no-trunc"]), format!("sha256:{}", id.trim_start_matches("sha256:")));
        other(&["check", "--digests"]);
        env.ok(["rmi", "localhost/frozen:1"]);
        env.ok(["pull", "-q", "oci:out:frozen"]);
        env.ok(["tag", &id, "localhost/again:1"]);
        env.ok(["rmi", "--all", "--force"]);
        env.ok(["prune", "--all", "--force"]);
        env.assert_store_is_clean();
        assert_eq!(env.ok(["check"]), "", "{driver}");
        for root in [env.graph_root(), image_root(&env)] {
            let home = if driver == "vfs" { root.join("vfs/dir") } else { root.join("overlay") };
            assert_eq!(dirs(&home), [""; 0], "{driver} {root:?}");
            let records = fs::read_dir(root.join(format!("{driver}-layers"))).expect("the layers' records").flatten();
            let splits = records.filter(|entry| entry.file_name().to_string_lossy().ends_with(".tar-split.gz"));
            assert_eq!(splits.count(), 0, "{driver} {root:?}");
        }
    }
}

#[test]
fn the_image_store_alone_is_a_store_for_the_other_tools() {
    if !have("buildah") || !have("skopeo") {
        return;
    }
    let env = with_image_store("overlay");
    env.busybox("localhost/base:1");
    let container = env.ok(["from", "localhost/base:1"]);
    env.write("f", "content\n");
    env.ok(["copy", "-q", &container, "f", "/f"]);
    let made = env.ok(["commit", "-q", "--rm", &container, "localhost/made:1"]);
    let images = image_root(&env).to_string_lossy().into_owned();
    let run = env.path("home/run2").to_string_lossy().into_owned();

    let as_root = ["--root", &images, "--runroot", &run, "--storage-driver", "overlay"];
    let listed = env.tool("buildah", as_root.iter().chain(&["images", "-q", "--no-trunc"])).success();
    assert!(listed.contains(&made), "{listed}");
    let source = format!("containers-storage:[overlay@{images}+{run}]localhost/made:1");
    // skopeo puts each layer together through its tar-split and compares the digest.
    env.tool("buildah", ["unshare", "skopeo", "copy", "-q", &source, "dir:out"]).success();
    let theirs = env.tool("buildah", as_root.iter().chain(&["from", "localhost/made:1"])).success();
    env.tool("buildah", as_root.iter().chain(&["run", "--isolation", "chroot", &theirs, "cat", "/f"])).success();
    env.tool("buildah", as_root.iter().chain(&["rm", &theirs])).success();

    // And as an additional store of another graph root.
    let other = env.path("home/other").to_string_lossy().into_owned();
    let option = format!("overlay.imagestore={images}");
    let beside = ["--root", &other, "--runroot", &run, "--storage-driver", "overlay", "--storage-opt", &option];
    let theirs = env.tool("buildah", beside.iter().chain(&["from", "localhost/made:1"])).success();
    let script = format!("cat $(buildah {} mount {theirs})/f", beside.join(" "));
    assert_eq!(env.tool("buildah", ["unshare", "sh", "-euc", &script]).success(), "content");
    env.tool("buildah", beside.iter().chain(&["rm", &theirs])).success();
    assert_eq!(env.ok(["check", "--digests"]), "");
}

#[test]
fn commit_moves_the_layer_where_a_rename_can_and_copies_it_elsewhere() {
    let env = with_image_store("overlay");
    env.busybox("localhost/base:1");
    let inode_of = |image: &str| {
        use std::os::unix::fs::MetadataExt as _;
        let id = env.ok(["inspect", "--type", "image", "--format", "{{.FromImageID}}", image]);
        let table = fs::read_to_string(image_root(&env).join("overlay-images/images.json")).expect("the table of images");
        let images: Vec<serde_json::Value> = serde_json::from_str(&table).expect("a table");
        let layer = images.iter().find(|image| image["id"] == id.as_str()).and_then(|image| image["layer"].as_str());
        let dir = image_root(&env).join("overlay").join(layer.expect("its layer"));
        fs::metadata(dir.join("diff/f")).expect("the file").ino()
    };
    let container = env.ok(["from", "localhost/base:1"]);
    env.write("f", "content\n");
    env.ok(["copy", "-q", &container, "f", "/f"]);
    let before = env.ok(["run", &container, "--", "stat", "-c", "%i", "/f"]);
    env.ok(["commit", "-q", "--rm", &container, "localhost/moved:1"]);
    assert_eq!(inode_of("localhost/moved:1").to_string(), before, "the layer was moved, not copied");

    if !am_root() {
        return;
    }
    // A file system of its own for the graph root: in this test's mount namespace, which the processes below share.
    let graph = env.path("home/elsewhere").to_string_lossy().into_owned();
    let script = format!(
        "mkdir {graph}; mount -t tmpfs tmpfs {graph}; chmod 700 {graph}
        c=$(coracle --root {graph} from localhost/base:1); coracle --root {graph} copy -q $c f /g
        coracle --root {graph} commit -q --rm $c localhost/far:1 > /dev/null
        coracle --root {graph} run $(coracle --root {graph} from localhost/far:1) -- cat /g
        coracle --root {graph} check --digests
        coracle --root {graph} rm --all > /dev/null; coracle --root {graph} push -q localhost/far:1 oci:far"
    );
    assert_eq!(env.ok(["unshare", "sh", "-euc", &script]), "content");
    // The record is in the image store, so that another graph root has the image too; its tar-split is there as well.
    assert_eq!(env.ok(["run", &env.ok(["from", "localhost/far:1"]), "--", "cat", "/g"]), "content");
    env.ok(["push", "-q", "localhost/far:1", "oci:far2"]);
}

#[test]
fn images_that_were_there_before_stay_in_use() {
    let env = TestEnv::new();
    let old = env.busybox("localhost/old:1");
    let images = image_root(&env).to_string_lossy().into_owned();
    let with = |words: &[&str]| env.ok(["--imagestore", &images].iter().chain(words));
    assert_eq!(with(&["images", "-q", "--no-trunc"]), format!("sha256:{old}"));
    let container = with(&["from", "localhost/old:1"]);
    with(&["run", &container, "--", "sh", "-c", "echo n > /n"]);
    with(&["commit", "-q", "--rm", &container, "localhost/new:1"]);
    with(&["tag", "localhost/old:1", "localhost/also:1"]);
    assert!(env.ok(["images", "--format", "{{.Name}}"]).contains("localhost/also"), "the name went where the record is");
    assert_eq!(with(&["run", &with(&["from", "localhost/new:1"]), "--", "cat", "/n"]), "n");
    with(&["tag", "localhost/new:1", "localhost/old:1"]);
    assert_eq!(ids(&env.graph_root().join("overlay-images/images.json")), [old.as_str()]);
    with(&["rm", "--all"]);
    with(&["check", "--digests"]);
    with(&["rmi", "--all", "--force"]);
    assert_eq!(env.ok(["images", "-q"]), "");
    assert_eq!(with(&["check"]), "");
}

#[test]
fn the_image_store_must_be_another_directory() {
    let env = TestEnv::new();
    let root = env.graph_root().to_string_lossy().into_owned();
    let refused = env.run(["--root", &root, "--imagestore", &root, "images"]).failure(125);
    assert!(refused.contains("must either be not set or be different than graphroot"), "{refused}");
}
