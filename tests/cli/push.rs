//! `push`, and `commit` to another place than the store.

use std::fs;

use crate::harness::{TestEnv, have, skip_without};

fn document(env: &TestEnv, path: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(env.work().join(path)).expect("a document")).expect("JSON")
}

/// The digests of the images in a layout.
fn digests(env: &TestEnv, layout: &str) -> Vec<String> {
    let index = document(env, &format!("{layout}/index.json"));
    let manifests = index["manifests"].as_array().expect("manifests").iter();
    manifests.map(|manifest| manifest["digest"].as_str().expect("a digest").to_owned()).collect()
}

/// The manifest of the only image in a layout.
fn manifest(env: &TestEnv, layout: &str) -> serde_json::Value {
    let digest = digests(env, layout)[0].replace("sha256:", "");
    document(env, &format!("{layout}/blobs/sha256/{digest}"))
}

#[test]
fn nothing_is_printed_and_the_digest_is_written_without_a_newline() {
    let env = TestEnv::new();
    env.busybox("box");
    let output = env.run(["push", "--digestfile", "digest", "box", "oci:layout:x"]);
    assert_eq!(output.success(), "");
    for line in ["Getting image source signatures", "Copying blob sha256:", "Copying config sha256:", "Writing manifest to"] {
        assert!(output.err().contains(line), "{line}: {output}");
    }
    assert_eq!(fs::read_to_string(env.work().join("digest")).unwrap(), digests(&env, "layout")[0]);
    let quiet = env.run(["push", "--quiet", "box", "oci:layout:y"]);
    assert_eq!((quiet.success(), quiet.err()), (String::new(), String::new()));
    let [x, y] = digests(&env, "layout").try_into().expect("two entries");
    assert_eq!(x, y);
}

#[test]
fn what_cannot_be_pushed_is_refused_by_name() {
    let env = TestEnv::new();
    env.busybox("box");
    insta::assert_snapshot!(env.run(["push", "nosuch", "dir:x"]), @r#"
    ------- stderr -------
    Error: pushing image "nosuch" to "dir:x": nosuch: image not known
    [exit status: 125]
    "#);
    for (words, cause) in [
        (&["--retry", "0", "box", "localhost:1/x"][..], "pushing image \"box\" to \"docker://localhost:1/x\""),
        (&["box", "docker://localhost:1/X"], "repository name must be lowercase"),
        (&["box", "tarball:x"], "tarball"),
        (&["box", "docker-daemon:x:y"], "docker-daemon"),
        (&["--format", "zz", "box", "dir:x"], "unknown format \"zz\""),
        (&["--format", "v2s1", "box", "dir:x"], "v2s1"),
        (&["--compression-format", "zz", "box", "dir:x"], "\"zz\""),
        (&["--compression-level", "10", "box", "dir:x"], "invalid compression level: 10"),
        (&["--sign-by", "me", "box", "dir:x"], "Cannot determine canonical Docker reference"),
        (&["--encryption-key", "k", "box", "dir:x"], "Invalid recipient format"),
        (&[], "at least a source image ID must be specified"),
        (&["a", "b", "c"], "Only two arguments are necessary to push: source and destination"),
    ] {
        let error = env.run(["push"].iter().chain(words)).failure(125);
        assert!(error.contains(cause), "{words:?}: {error}");
    }
    assert!(!env.work().join("x").exists());
}

#[test]
fn a_docker_archive_has_the_images_own_name_too_and_is_not_changed() {
    let env = TestEnv::new();
    let id = env.busybox("localhost/box:1");
    let tags = |archive: &str| {
        let text = env.tool("tar", ["xOf", archive, "manifest.json"]).success();
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")[0]["RepoTags"].to_string()
    };
    for (words, want) in [
        (["box:1", "docker-archive:own.tar"], "[\"localhost/box:1\"]"),
        (["box:1", "docker-archive:both.tar:q.example/x"], "[\"q.example/x:latest\",\"localhost/box:1\"]"),
        ([&id[..12], "docker-archive:none.tar"], "[]"),
    ] {
        env.ok(["push", "-q"].iter().chain(&words));
        assert_eq!(tags(words[1].split(':').nth(1).expect("a file")), want);
    }
    let error = env.run(["push", "box:1", "docker-archive:own.tar:y"]).failure(125);
    assert!(error.contains("docker-archive doesn't support modifying existing images"), "{error}");
}

/// A layer that skopeo compressed is pushed as it was; only `--force-compression` makes another one of it.
#[test]
fn what_was_pulled_is_pushed_byte_for_byte() {
    if skip_without(&["skopeo"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("box");
    env.ok(["push", "-q", "-D", "box", "oci:plain:x"]);
    assert_eq!(manifest(&env, "plain")["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar");
    env.tool("skopeo", ["copy", "-q", "oci:plain:x", "oci:theirs:x"]).success();
    env.tool("skopeo", ["copy", "-q", "--dest-compress-format", "zstd", "oci:plain:x", "oci:zstd:x"]).success();
    for theirs in ["theirs", "zstd"] {
        env.ok(["rmi", "-af"]);
        env.ok(["pull", "-q", &format!("oci:{theirs}:x")]);
        for place in ["oci", "oci-archive"] {
            let again = format!("{place}-{theirs}");
            env.ok(["push", "-q", "--digestfile", "digest", "docker.io/library/x", &format!("{place}:{again}:x")]);
            assert_eq!(fs::read_to_string(env.work().join("digest")).unwrap(), digests(&env, theirs)[0], "{again}");
        }
    }
    env.ok(["push", "-q", "--force-compression", "--compression-format", "gzip", "docker.io/library/x", "oci:forced:x"]);
    assert_eq!(manifest(&env, "forced")["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let read = env.tool("skopeo", ["inspect", "--format", "{{.Digest}}", "oci:forced:x"]).success();
    assert_eq!(read, digests(&env, "forced")[0]);
}

/// A killed push leaves a directory in the layout, whose lock nobody holds.
#[test]
fn what_killed_pushes_left_is_removed_by_the_next_one() {
    let env = TestEnv::new();
    env.busybox("box");
    for transport in ["oci", "dir"] {
        let place = format!("{transport}:{transport}");
        env.ok(["push", "-q", "box", &place]);
        let (dead, live) = (".coracle-0123456789abcdef", ".coracle-fedcba9876543210");
        let script = format!(
            "cd {transport}; mkdir {dead} {live} .coracle-mine; echo half > {dead}/blob-1
             flock {live} -c 'echo locked > ../locked; while [ ! -e ../done ]; do sleep 0.02; done' &
             while [ ! -e ../locked ]; do sleep 0.02; done
             coracle push -q box {transport}:.; ls -A | grep coracle | LC_ALL=C sort; touch ../done; wait; rm ../locked ../done"
        );
        assert_eq!(env.shell(&script).success(), format!("{live}\n.coracle-mine"), "{transport}");
    }
}

#[test]
fn a_format_and_a_compression_can_be_asked_for() {
    let env = TestEnv::new();
    env.busybox("box");
    env.ok(["push", "-q", "--format", "v2s2", "box", "dir:docker"]);
    let docker = document(&env, "docker/manifest.json");
    assert_eq!(docker["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(docker["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
    let mut sizes = Vec::new();
    for (format, level) in [("zstd", "1"), ("zstd", "19"), ("gzip", "1"), ("gzip", "9")] {
        let place = format!("{format}{level}");
        let how = ["--compression-format", format, "--compression-level", level];
        env.ok(["push", "-q"].iter().chain(&how).chain(&["box", &format!("oci:{place}:x")]));
        let layer = manifest(&env, &place)["layers"][0].clone();
        assert_eq!(layer["mediaType"], format!("application/vnd.oci.image.layer.v1.tar+{format}"));
        sizes.push(layer["size"].as_u64().expect("a size"));
    }
    assert!(sizes[0] > sizes[1] && sizes[2] > sizes[3], "{sizes:?}");
}

#[test]
fn a_commit_to_another_place_prints_the_id_and_leaves_no_image() {
    let env = TestEnv::new();
    env.busybox("box");
    let images = env.ok(["images", "-aq"]);
    let container = env.ok(["from", "box"]);
    let output = env.run(["commit", "--metadata-file", "metadata", &container, "oci:layout:new"]);
    let id = output.success();
    let written = manifest(&env, "layout");
    assert_eq!(written["config"]["digest"], format!("sha256:{id}"));
    assert_eq!(written["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar");
    assert!(output.err().contains("Writing manifest to image destination"), "{output}");
    assert_eq!(document(&env, "metadata")["containerimage.digest"], digests(&env, "layout")[0]);
    assert_eq!(env.ok(["commit", "-q", "--iidfile", "id", &container, "dir:dir"]), "");
    assert_eq!(document(&env, "dir/manifest.json")["config"]["digest"], fs::read_to_string(env.work().join("id")).unwrap());
    env.ok(["commit", "-q", "--compression-format", "zstd", &container, "oci:small:new"]);
    assert_eq!(manifest(&env, "small")["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(env.ok(["images", "-aq"]), images);

    env.run(["commit", "-q", "--rm", &container, "dir:/nosuch/dir"]).failure(125);
    assert_eq!(env.ok(["containers", "-q"]).lines().count(), 1);
    env.ok(["commit", "-q", "--rm", &container, "docker-archive:archive.tar:app"]);
    assert_eq!(env.ok(["containers", "-q"]), "");
    assert_eq!(env.ok(["images", "-aq"]), images);
    env.assert_store_is_clean();
    env.ok(["pull", "-q", "docker-archive:archive.tar"]);
    let again = env.ok(["from", "docker.io/library/app"]);
    assert_eq!(env.ok(["run", &again, "echo", "it", "runs"]), "it runs");
}

#[test]
fn to_push_into_the_store_is_to_name() {
    let env = TestEnv::new();
    let id = env.busybox("box");
    env.ok(["push", "-q", "box", "containers-storage:localhost/again"]);
    env.ok(["push", "-q", "box", "containers-storage:short"]);
    assert_eq!(env.ok(["images", "-q", "--no-trunc", "localhost/again"]), format!("sha256:{id}"));
    assert_eq!(env.ok(["images", "-q", "--no-trunc", "docker.io/library/short"]), format!("sha256:{id}"));
}

/// The hexadecimal part of a descriptor's digest.
fn digest_of(descriptor: &serde_json::Value) -> String {
    descriptor["digest"].as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned()
}

/// A list in the store with images for two architectures. Its name, and the images' IDs.
fn list_of_two(env: &TestEnv) -> [String; 2] {
    ["amd64", "arm64"].map(|architecture| {
        let container = env.ok(["from", "scratch"]);
        env.write("f", format!("for {architecture}\n"));
        env.ok(["copy", "-q", &container, "f", "/f"]);
        env.ok(["config", "--arch", architecture, &container]);
        env.ok(["commit", "-q", "--rm", "--manifest", "localhost/list:1", &container])
    })
}

/// Digests of every file of a `dir:` place, by name.
fn files(env: &TestEnv, dir: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(env.work().join(dir)).expect("the directory").flatten();
    let read = |entry: std::fs::DirEntry| {
        (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file of the image"))
    };
    entries.map(read).collect()
}

#[test]
fn all_images_of_a_list_are_pushed_as_the_other_tools_push_them() {
    let env = TestEnv::new();
    let images = list_of_two(&env);
    env.ok(["push", "-q", "--all", "--digestfile", "digest", "localhost/list:1", "dir:ours"]);

    let digest = std::fs::read_to_string(env.work().join("digest")).expect("the digest");
    let sum = env.shell("sha256sum < ours/manifest.json | cut -d' ' -f1").success();
    assert_eq!(digest, format!("sha256:{sum}"));

    env.ok(["push", "-q", "--all", "localhost/list:1", "oci:layout:list"]);
    let index = document(&env, "layout/index.json");
    let entry = index["manifests"][0].clone();
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1));
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "list");
    let nested = document(
        &env,
        &format!("layout/blobs/sha256/{}", entry["digest"].as_str().unwrap_or_default().trim_start_matches("sha256:")),
    );
    let architectures: Vec<&str> = nested["manifests"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["platform"]["architecture"].as_str())
        .collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
    // One of them: as everywhere, that of this machine.
    env.ok(["push", "-q", "localhost/list:1", "oci:one:list"]);
    let one = document(&env, "one/index.json");
    assert_ne!(one["manifests"][0]["digest"], entry["digest"]);

    if have("skopeo") && have("buildah") {
        // skopeo 1.9 finds no image of a list in a store, its own family's neither; Buildah does.
        env.tool("buildah", ["manifest", "push", "-q", "--all", "localhost/list:1", "dir:theirs"]).success();
        env.ok(["push", "-q", "--all", "-D", "localhost/list:1", "dir:plain"]);
        assert_eq!(files(&env, "theirs"), files(&env, "plain"), "every byte is the same");
        env.tool("skopeo", ["--insecure-policy", "copy", "-q", "--all", "oci:layout:list", "dir:checked"]).success();
        assert_eq!(
            files(&env, "checked")["manifest.json"],
            fs::read(env.work().join("layout/blobs/sha256").join(digest_of(&entry))).expect("the list")
        );
    }
    // Back from the layout: one image, of the wished platform.
    env.ok(["rmi", "--all", "--force"]);
    for (architecture, image) in ["amd64", "arm64"].iter().zip(&images) {
        assert_eq!(&env.ok(["pull", "-q", "--arch", architecture, "oci:layout:list"]), image);
    }
}

#[test]
fn a_list_that_was_pushed_can_be_removed_and_its_images_stay() {
    let env = TestEnv::new();
    let images = list_of_two(&env);
    let refused = env.run(["push", "-q", "--all", "--rm", "localhost/list:1", "docker-archive:x.tar"]);
    assert_eq!(refused.code, Some(125), "an archive holds no list\n{refused}");
    let named = |name: &str| env.ok(["images", "-q", "--filter", &format!("reference={name}")]);
    assert_ne!(named("localhost/list"), "", "a push that fails removes nothing");
    env.ok(["push", "-q", "--all", "--rm", "localhost/list:1", "oci:layout:list"]);
    assert_eq!(named("localhost/list"), "");
    let left = env.ok(["images", "-a", "-q", "--no-trunc"]);
    assert!(images.iter().all(|image| left.contains(image)), "{left}");
    // An image is no list: it stays.
    env.ok(["tag", &images[0], "localhost/image:1"]);
    env.ok(["push", "-q", "--rm", "localhost/image:1", "oci:layout:image"]);
    assert_ne!(named("localhost/image"), "");
    env.assert_store_is_clean();
}

/// `compression_format` and `compression_level` of containers.conf are what the flags say otherwise.
#[test]
fn the_settings_choose_the_compression() {
    let env = TestEnv::new();
    env.busybox("busybox");
    let layer_type = |flags: &[&str], place: &str| {
        env.run([&["push", "-q"], flags, &["busybox", place]].concat()).success();
        let manifest = env.shell(
            "d=$(jq -r '.manifests[0].digest' out/index.json); jq -r '.layers[0].mediaType' out/blobs/sha256/${d#sha256:}",
        );
        let manifest = manifest.success();
        env.shell("rm -rf out").success();
        manifest
    };
    let (gzip, zstd) = ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(layer_type(&[], "oci:out:x"), gzip);
    env.write_home(
        ".config/containers/containers.conf",
        "[engine]\ncompression_format = \"zstd:chunked\"\ncompression_level = 3\n",
    );
    assert_eq!(layer_type(&[], "oci:out:x"), zstd);
    assert_eq!(layer_type(&["--compression-format", "gzip"], "oci:out:x"), gzip);
    // What has a compression of its own takes no other.
    env.run(["push", "-q", "busybox", "docker-archive:out.tar:busybox:latest"]).success();
    env.write_home(".config/containers/containers.conf", "[engine]\ncompression_format = \"lz4\"\n");
    assert!(env.run(["push", "-q", "busybox", "oci:out:x"]).failure(125).contains("lz4"));
}

#[test]
fn a_chunked_layer_says_where_its_table_is_and_is_zstd_for_everybody() {
    if skip_without(&["skopeo"]) {
        return;
    }
    let env = TestEnv::new();
    env.write("f", "content\n");
    env.shell("c=$(coracle from scratch); coracle copy -q $c f /d/f; coracle commit -q --rm $c box >/dev/null").success();
    env.run(["push", "-q", "--compression-format", "zstd:chunked", "box", "oci:chunked:x"]).success();
    let layer = &manifest(&env, "chunked")["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    let told =
        |name: &str| layer["annotations"][format!("io.github.containers.zstd-chunked.{name}")].as_str().unwrap_or_default();
    assert!(told("manifest-checksum").starts_with("sha256:"), "{layer}");
    assert!(told("manifest-position").ends_with(":1") && told("tarsplit-position").split(':').count() == 3, "{layer}");
    env.run(["push", "-q", "--compression-format", "zstd:chunked", "box", "oci:again:x"]).success();
    assert_eq!(digests(&env, "chunked"), digests(&env, "again"), "the same layer is the same blob");
    env.shell(
        "set -e; id=$(coracle images -q --no-trunc box); tar=$(coracle push -q -D box dir:plain; sed 's/.*\"layers\":\\[{[^]]*\"digest\":\"sha256:\\([0-9a-f]*\\)\".*/\\1/' plain/manifest.json)
         skopeo --insecure-policy copy -q --dest-decompress oci:chunked:x dir:theirs; cmp plain/$tar theirs/$tar
         coracle rmi -a >/dev/null; [ sha256:$(coracle pull -q oci:chunked:x) = $id ]
         coracle push -q --force-compression --compression-format gzip $id oci:gzip:x; ! grep -r zstd-chunked gzip/index.json gzip/blobs",
    )
    .success();
}
