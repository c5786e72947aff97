//! `manifest` and its verbs, beyond what `tests/compat/lists.rs` compares with Buildah.

use std::fs;

use serde_json::{Value, json};

use crate::harness::registry::{PROGRAM, Registry};
use crate::harness::{TestEnv, skip_without};

/// `one` for this machine, `two` for arm64.
fn world() -> TestEnv {
    let env = TestEnv::new();
    env.write("f", "content\n");
    for (name, architecture) in [("one", "amd64"), ("two", "arm64")] {
        let container = env.ok(["from", "scratch"]);
        env.ok(["copy", "-q", &container, "f", &format!("/{name}")]);
        env.ok(["config", "--arch", architecture, &container]);
        env.ok(["commit", "-q", "--rm", &container, name]);
    }
    env
}

fn inspect(env: &TestEnv, list: &str) -> Value {
    serde_json::from_str(&env.ok(["manifest", "inspect", list])).expect("JSON")
}

fn document(env: &TestEnv, path: &str) -> Value {
    serde_json::from_slice(&fs::read(env.work().join(path)).expect("a document")).expect("JSON")
}

/// The blob of a layout that has this digest.
fn blob(env: &TestEnv, layout: &str, digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().expect("a digest").replace("sha256:", "");
    fs::read(env.work().join(layout).join("blobs/sha256").join(digest)).expect("a blob")
}

/// The index that a layout's only entry names.
fn index(env: &TestEnv, layout: &str) -> Value {
    let top = document(env, &format!("{layout}/index.json"));
    serde_json::from_slice(&blob(env, layout, &top["manifests"][0]["digest"])).expect("JSON")
}

fn architectures(list: &Value) -> Vec<&str> {
    let manifests = list["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    manifests.iter().map(|entry| entry["platform"]["architecture"].as_str().unwrap_or_default()).collect()
}

#[test]
fn what_is_wrong_is_said() {
    let env = world();
    env.write_home(".config/containers/containers.conf", "[engine]\nretry = 0\n");
    env.ok(["manifest", "create", "l", "one"]);
    insta::assert_snapshot!(env.run(["manifest", "add", "nosuch", "one"]), @r#"
    ------- stderr -------
    Error: nosuch: image not known
    hint: "coracle images" shows what the store has; other places are docker://NAME, oci:DIR, docker-archive:FILE, …
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["manifest", "frob"]), @r#"
    ------- stderr -------
    Error: unknown command "frob" for "coracle manifest"
    [exit status: 125]
    "#);
    let cases: &[(&[&str], &str)] = &[
        (&["create", "Bad:Name:X"], "Bad:Name:X"),
        (&["create", ""], "parsing name \"\": invalid reference format"),
        (&["create", "--annotation", "x", "m"], "no \"=\" found in annotation \"x\""),
        (&["create", "--amend", "--replace", "m"], "--amend"),
        (&["create", "one"], "that name is already in use"),
        (&["add", "", "one"], "invalid image name \"\""),
        (&["add", "l", "one", "two"], "too many arguments"),
        (&["add", "--artifact-type", "x", "l", "one"], "--artifact-type requires --artifact"),
        (
            &["add", "--artifact-type", "x", "--artifact-exclude-titles", "l", "one"],
            "--artifact-type/--artifact-exclude-titles require",
        ),
        (&["add", "--artifact", "l", "nosuch"], "\"nosuch\" to determine its digest"),
        (&["add", "--artifact", "l", "."], "not a regular file"),
        (&["add", "l", "docker://localhost:1/x"], "connection refused"),
        (&["add", "l", "localhost:1/nosuch"], "localhost:1/nosuch"),
        (&["add", "l", "docker://localhost:1/nosuch"], "localhost:1/nosuch"),
        (&["add", "--insecure", "--tls-verify", "l", "one"], "--insecure"),
        (&["annotate", "l"], "expected an instance digest, image name, or artifact name"),
        (&["annotate", "--index", "l", "one"], "did not expect image or artifact name \"one\""),
        (&["annotate", "--index", "--os", "x", "l"], "--index is not compatible with --os"),
        (&["annotate", "--os", "x", "l", "two"], "no instance matching digest"),
        (&["remove", "l", "localhost:1/nosuch"], "localhost:1/nosuch"),
        (&["remove", "l", ""], "Invalid instance \"\""),
        (&["inspect", "one"], "image is not a manifest list"),
        (&["push", "one", "dir:x"], "image is not a manifest list"),
        (&["push", "--retry", "0", "l", "localhost:1/l"], "docker://localhost:1/l"),
        (&["push", "l", "docker-archive:x"], "it holds one image only"),
        (&["push", "--format", "v2s2", "l", "oci:x"], "does not take manifests in the format Docker v2s2"),
        (&["push", "--sign-by", "x", "l", "dir:x"], "signing the image"),
        (&["push", "--sign-by", "x", "l", "oci:x"], "cannot hold signatures"),
    ];
    for (words, said) in cases {
        let output = env.run(std::iter::once("manifest").chain(words.iter().copied()));
        assert!(output.failure(125).contains(said), "{words:?}: {output}");
    }
    assert_eq!(architectures(&inspect(&env, "l")), ["amd64"]);
}

#[test]
fn flags_of_every_verb_stand_before_between_and_after_the_two_words() {
    let env = world();
    let root = env.graph_root().display().to_string();
    for words in [["--root", &root, "manifest", "create", "a"], ["manifest", "--root", &root, "create", "b"]] {
        env.ok(words);
    }
    env.ok(["manifest", "create", "c", "--root", &root]);
    let help = env.ok(["manifest"]);
    assert_eq!(env.ok(["manifest", "--help"]), help);
    assert!(help.contains("annotate"), "{help}");
    assert!(env.ok(["manifest", "add", "--help"]).contains("coracle manifest add [flags] LIST"));
    assert!(env.ok(["help", "manifest", "add"]).contains("--artifact-type"));
}

#[test]
fn a_new_list_takes_a_name_only_if_it_may() {
    let env = world();
    let first = env.ok(["manifest", "create", "l", "one"]);
    env.run(["manifest", "create", "l"]).failure(125);
    assert_eq!(env.ok(["manifest", "create", "--amend", "--annotation", "a=b", "l", "two"]), first);
    assert_eq!(inspect(&env, "l")["annotations"], json!({"a": "b"}));
    let second = env.ok(["manifest", "create", "--replace", "l", "two"]);
    assert_ne!(first, second);
    assert_eq!(architectures(&inspect(&env, "l")), ["arm64"]);
    assert_eq!(env.ok(["images", "--quiet", "--no-trunc", "--all"]).matches(&first).count(), 0, "the old one is gone");
    env.ok(["tag", "l", "kept"]);
    env.ok(["manifest", "create", "--replace", "l", "one"]);
    assert_eq!(architectures(&inspect(&env, "kept")), ["arm64"], "what has another name stays");
    // An image becomes the first of a list, or loses its name; it stays.
    let image = env.ok(["images", "-q", "--no-trunc", "one"]);
    let list = env.ok(["manifest", "create", "--amend", "one", "two"]);
    assert_eq!(env.ok(["manifest", "inspect", "one"]).matches("\"digest\"").count(), 2);
    assert!(env.ok(["images", "-aq", "--no-trunc"]).contains(&image) && !image.contains(&list));
    let digest = env.ok(["inspect", "--format", "{{.FromImageDigest}}", image.trim_start_matches("sha256:")]);
    assert!(env.ok(["manifest", "inspect", "one"]).contains(&digest));
    env.ok(["manifest", "create", "--replace", "two"]);
    assert!(!env.ok(["manifest", "inspect", "two"]).contains("digest"));
    env.assert_store_is_clean();
}

#[test]
fn lists_are_added_as_one_image_or_as_all() {
    let env = world();
    env.ok(["manifest", "create", "both", "two", "one"]);
    env.ok(["manifest", "create", "first", "both"]);
    let here = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    assert_eq!(architectures(&inspect(&env, "first")), [here]);
    env.ok(["manifest", "create", "--all", "all", "both"]);
    assert_eq!(architectures(&inspect(&env, "all")), ["arm64", "amd64"]);
    env.ok(["manifest", "push", "-q", "all", "oci:layout:x"]);
    env.ok(["manifest", "create", "from-layout"]);
    let added = env.ok(["manifest", "add", "--all", "--variant", "v9", "from-layout", "oci:layout:x"]);
    let listed = inspect(&env, "from-layout");
    assert_eq!(architectures(&listed), ["arm64", "amd64"]);
    assert_eq!(listed["manifests"][0]["platform"]["variant"], "v9", "the first is the one that the flags are for");
    assert!(added.ends_with(listed["manifests"][0]["digest"].as_str().expect("a digest")), "{added}");
    assert_eq!(env.ok(["manifest", "inspect", "oci:layout:x"]).matches("\"digest\"").count(), 2);
}

#[test]
fn images_that_lie_elsewhere_are_pushed_from_there() {
    let env = world();
    env.ok(["push", "-q", "two", "oci:elsewhere:two"]);
    env.ok(["manifest", "create", "l", "one"]);
    // A relative path means the same from anywhere.
    env.ok(["manifest", "add", "l", "oci:elsewhere:two"]);
    env.ok(["rmi", "two"]);
    env.shell("cd /; coracle manifest push -q l oci:$HOME/../work/out:x").success();
    let index = index(&env, "out");
    assert_eq!(architectures(&index), ["amd64", "arm64"]);
    for entry in index["manifests"].as_array().expect("entries") {
        let manifest: Value = serde_json::from_slice(&blob(&env, "out", &entry["digest"])).expect("JSON");
        assert!(!blob(&env, "out", &manifest["layers"][0]["digest"]).is_empty());
    }
    // What was there is there no more, or is something else.
    let layer =
        fs::read_dir(env.work().join("elsewhere/blobs/sha256")).expect("blobs").next().expect("one").expect("one").path();
    fs::write(&layer, "other").expect("a blob");
    let output = env.run(["manifest", "push", "-q", "l", "oci:again:x"]);
    output.failure(125);
    assert!(!env.work().join("again").exists(), "nothing is left of a failed push");
    // A place that the policy does not accept is not read.
    let policy = r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"oci":{"":[{"type":"reject"}]}}}"#;
    env.write_home(".config/containers/policy.json", policy);
    assert!(env.run(["manifest", "push", "-q", "l", "oci:again:x"]).failure(125).contains("rejected by policy"));
    assert!(env.run(["manifest", "add", "l", "oci:elsewhere:two"]).failure(125).contains("rejected by policy"));
}

#[test]
fn an_image_of_a_list_may_be_gone() {
    let env = world();
    env.ok(["manifest", "create", "l", "one", "two"]);
    env.ok(["rmi", "two"]);
    let output = env.run(["manifest", "push", "-q", "l", "oci:out:x"]);
    assert!(output.failure(125).contains("is not in the store"), "{output}");
    let output = env.run(["from", "--arch", "arm64", "l"]);
    assert!(output.failure(125).contains("is not in the store"), "{output}");
    env.ok(["manifest", "push", "-q", "--all=false", "l", "dir:out"]);
    assert_eq!(architectures(&document(&env, "out/manifest.json")), ["amd64", "arm64"]);
}

#[test]
fn files_become_artifacts_of_a_list() {
    let env = world();
    env.write("data.json", "{\"a\":1}\n");
    env.write("binary", [0_u8, 1, 2]);
    env.write("config", "c");
    env.ok(["manifest", "create", "l", "one"]);
    let added = env.ok([
        "manifest",
        "add",
        "--artifact",
        "--artifact-type",
        "application/x",
        "--artifact-annotation",
        "k=v",
        "--annotation",
        "in=list",
        "--artifact-subject",
        "one",
        "l",
        "data.json",
        "binary",
    ]);
    let listed = inspect(&env, "l");
    let entry = &listed["manifests"][1];
    assert!(added.ends_with(entry["digest"].as_str().expect("a digest")));
    assert_eq!((&entry["artifactType"], &entry["annotations"]), (&json!("application/x"), &json!({"in": "list"})));
    let files = [env.work().join("data.json"), env.work().join("binary")];
    assert_eq!(entry["files"], json!(files));
    assert_eq!(listed["mediaType"], "application/vnd.oci.image.index.v1+json");

    env.ok(["manifest", "push", "-q", "l", "oci:out:x"]);
    let index = index(&env, "out");
    let manifest: Value = serde_json::from_slice(&blob(&env, "out", &index["manifests"][1]["digest"])).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers");
    let types: Vec<&str> = layers.iter().map(|layer| layer["mediaType"].as_str().expect("a type")).collect();
    assert_eq!(types, ["application/json", "application/octet-stream"]);
    assert_eq!(layers[0]["annotations"], json!({"org.opencontainers.image.title": "data.json"}));
    assert_eq!(manifest["annotations"], json!({"k": "v"}));
    assert_eq!(blob(&env, "out", &layers[0]["digest"]), b"{\"a\":1}\n");
    assert_eq!(blob(&env, "out", &manifest["config"]["digest"]), b"{}");
    let raw = env.ok(["inspect", "--type", "image", "--format", "{{.FromImageDigest}}", "one"]);
    assert_eq!(manifest["subject"]["digest"], json!(raw));

    env.ok([
        "manifest",
        "add",
        "--artifact",
        "--artifact-config",
        "config",
        "--artifact-config-type",
        "application/c",
        "--artifact-layer-type",
        "application/l",
        "--artifact-exclude-titles",
        "l",
        "data.json",
    ]);
    env.ok(["manifest", "push", "-q", "l", "dir:dir"]);
    let last = &document(&env, "dir/manifest.json")["manifests"][2];
    let name = last["digest"].as_str().expect("a digest").replace("sha256:", "");
    let manifest = document(&env, &format!("dir/{name}.manifest.json"));
    assert_eq!(manifest["config"]["mediaType"], "application/c");
    assert_eq!(
        (&manifest["layers"][0]["mediaType"], &manifest["layers"][0]["annotations"]),
        (&json!("application/l"), &Value::Null)
    );

    // An image store holds images.
    let output = env.run(["pull", "-q", "oci:out:x", "--arch", "none"]);
    output.failure(125);
    env.ok(["manifest", "remove", "l", "binary"]);
    assert_eq!(inspect(&env, "l")["manifests"].as_array().map(Vec::len), Some(2));
    env.write("data.json", "changed");
    let output = env.run(["manifest", "push", "-q", "l", "oci:other:x"]);
    output.failure(125);
    env.ok(["manifest", "remove", "l", "data.json"]);
    env.ok(["manifest", "push", "-q", "l", "oci:other:x"]);
}

#[test]
fn skopeo_and_podman_take_artifacts_as_they_are() {
    if skip_without(&["skopeo", "jq"]) {
        return;
    }
    let env = world();
    let output = env.shell(
        "echo text >note.txt
         coracle manifest create l one >/dev/null; coracle manifest add --artifact --artifact-type application/x l note.txt >/dev/null
         coracle manifest push -q l oci:out:x
         digest=$(skopeo inspect --raw oci:out:x | jq -r '.manifests[1].digest')
         skopeo inspect --raw oci:out:x | jq -c '[.manifests[].artifactType]'
         sha256sum out/blobs/sha256/* | awk '{ n = split($2, path, \"/\"); if (path[n] != $1) print \"bad\", $0 }'
         jq -r .artifactType out/blobs/sha256/${digest#sha256:}",
    );
    assert_eq!(output.success(), "[null,\"application/x\"]\napplication/x", "{output}");
}

#[test]
fn a_list_has_annotations_and_a_subject_of_its_own() {
    let env = world();
    let id = env.ok(["manifest", "create", "l", "one"]);
    assert_eq!(env.ok(["manifest", "annotate", "--index", "--annotation", "a=b", "l"]), id);
    assert_eq!(env.ok(["manifest", "annotate", "--subject", "two", "l"]), id);
    env.ok(["manifest", "create", "--annotation", "a=1,b=2", "commas"]);
    assert_eq!(inspect(&env, "commas")["annotations"], json!({"a": "1,b=2"}), "a comma is of the value");
    let listed = inspect(&env, "l");
    assert_eq!(listed["annotations"], json!({"a": "b"}));
    let two = env.ok(["inspect", "--type", "image", "--format", "{{.FromImageDigest}}", "two"]);
    assert_eq!(listed["subject"]["digest"], json!(two));
    env.ok(["manifest", "annotate", "--os-version", "10", "--annotation", "of=one", "l", "one"]);
    env.ok(["manifest", "push", "-q", "l", "oci:out:x"]);
    let index = index(&env, "out");
    assert_eq!((&index["subject"]["digest"], &index["annotations"]), (&json!(two), &json!({"a": "b"})));
    assert_eq!(index["manifests"][0]["annotations"], json!({"of": "one"}));
    assert_eq!(index["manifests"][0]["platform"]["os.version"], "10");
}

#[test]
fn a_pushed_list_tells_its_digest_and_may_go() {
    let env = world();
    env.ok(["manifest", "create", "l", "one", "two"]);
    let output = env.run(["manifest", "push", "--digestfile", "digest", "--rm", "l", "oci:out:x"]);
    assert_eq!(output.success(), "");
    for line in ["Copying 2 of 2 images in list", "Writing manifest list to image destination"] {
        assert!(output.err().contains(line), "{line}: {output}");
    }
    let top = document(&env, "out/index.json");
    assert_eq!(
        fs::read_to_string(env.work().join("digest")).expect("a digest"),
        top["manifests"][0]["digest"].as_str().unwrap()
    );
    env.run(["manifest", "exists", "l"]).failure(1);
    assert_eq!(env.ok(["images", "--noheading", "--quiet"]).lines().count(), 2, "the images stay");
    env.ok(["manifest", "create", "m", "one"]);
    let quiet = env.run(["manifest", "push", "--quiet", "--purge", "--compression-format", "zstd", "m", "oci:zstd:x"]);
    assert_eq!((quiet.success(), quiet.err()), (String::new(), String::new()));
    let manifest: Value =
        serde_json::from_slice(&blob(&env, "zstd", &index(&env, "zstd")["manifests"][0]["digest"])).expect("JSON");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    env.assert_store_is_clean();
}

/// Each entry as its architecture, the annotations, and what its layers' media type ends with.
const TOLD: &str = r#"told() {
    skopeo inspect --raw --tls-verify=false $1 >raw
    jq -c '.manifests[] | [.digest, .platform.architecture, .annotations]' raw | while read -r entry; do
        digest=$(echo "$entry" | jq -r '.[0]')
        ending=$(skopeo inspect --raw --tls-verify=false ${1%:*}@$digest | jq -r '.layers[].mediaType | sub(".*[+.]"; "")' | sort -u | tr '\n' ' ')
        echo "$entry" | jq -r --arg ending "$ending" '"\(.[1]) \(.[2]["io.github.containers.compression.zstd"]) \($ending)"'
    done
}
"#;

#[test]
fn images_are_pushed_in_another_compression_as_well() {
    if skip_without(&[PROGRAM, "skopeo", "podman", "jq"]) {
        return;
    }
    let (env, registry) = (world(), Registry::plain());
    let script = |text: &str| {
        env.shell(&format!("set -eu; R={}; insecure=--tls-verify=false\n{TOLD}\n{text}", registry.host())).success()
    };
    env.ok(["manifest", "create", "l", "one", "two"]);
    let told = script(
        "coracle manifest push $insecure --add-compression zstd --digestfile digest l docker://$R/l:x 2>err
         told docker://$R/l:x; test $(cat digest) = sha256:$(sha256sum raw | cut -d' ' -f1)
         grep -c 'Replicating image .*/4)' err
         # Both have the same configuration, and only annotations that they need.
         for digest in $(jq -r '.manifests[].digest' raw); do skopeo inspect --raw $insecure docker://$R/l@$digest | jq -r .config.digest; done | sort | uniq -c | awk '{ print $1 }'",
    );
    assert_eq!(told, "amd64 null gzip \narm64 null gzip \namd64 true zstd \narm64 true zstd \n2\n2\n2");
    // Who knows no zstd in lists takes the first, and we take the other.
    let taken = script(
        "layer() { skopeo inspect --raw --tls-verify=false docker://$R/l@$(jq -r \".manifests[$1].digest\" raw) | jq -r '.layers[0].digest'; }
         first=$(layer 0); third=$(layer 2); test $first != $third
         test $(skopeo inspect --tls-verify=false --override-arch amd64 docker://$R/l:x | jq -r '.Layers[0]') = $first
         skopeo copy -q --all --src-tls-verify=false docker://$R/l:x dir:all; ls all/*.manifest.json | wc -l
         podman() { command podman --root pg --runroot pr --storage-driver vfs \"$@\"; }
         podman pull -q $insecure --arch amd64 $R/l:x >id
         podman pull -q $insecure $R/l@$(jq -r '.manifests[2].digest' raw) >other; cmp id other
         coracle rmi one two l >/dev/null
         coracle pull -q $insecure --arch amd64 $R/l:x >ours; cmp id ours
         coracle push -q $R/l:x dir:layers; test $(jq -r '.layers[].digest' layers/manifest.json) = $third",
    );
    assert_eq!(taken, "4");
    // What is there already is not made again.
    let again = script(
        "coracle manifest create again >/dev/null; coracle manifest add $insecure --all again docker://$R/l:x >/dev/null
         coracle manifest push -q $insecure --add-compression gzip,zstd --add-compression zstd again docker://$R/again:x
         told docker://$R/again:x | sort | uniq -c | awk '{ print $1, $2, $3, $4 }'",
    );
    assert_eq!(again, "1 amd64 null gzip\n1 amd64 true zstd\n1 arm64 null gzip\n1 arm64 true zstd");
    env.assert_store_is_clean();
}

#[test]
fn a_further_compression_goes_with_a_format_of_the_images() {
    let env = world();
    env.ok(["manifest", "create", "l", "one"]);
    // Each image as its compression, with a star where the list tells that it is zstd.
    let endings = |layout: &str| -> String {
        let index = index(&env, layout);
        let told = index["manifests"].as_array().expect("entries").iter().map(|entry| {
            let manifest: Value = serde_json::from_slice(&blob(&env, layout, &entry["digest"])).expect("JSON");
            let ending = manifest["layers"][0]["mediaType"].as_str().and_then(|kind| kind.rsplit('+').next()).expect("a type");
            let star = if entry["annotations"]["io.github.containers.compression.zstd"] == "true" { "*" } else { "" };
            format!("{ending}{star}")
        });
        told.collect::<Vec<_>>().join(" ")
    };
    let push = |layout: &str, flags: &[&str]| {
        let place = format!("oci:{layout}:x");
        let arguments = [&["manifest", "push", "-q"], flags, &["l", &place]].concat();
        env.run(arguments)
    };
    let cases: &[(&[&str], &str)] = &[
        (&["--compression-format=zstd", "--force-compression", "--add-compression=gzip"], "gzip zstd*"),
        (&["--compression-format=gzip", "--force-compression", "--add-compression=zstd,gzip"], "gzip zstd*"),
        (&["--compression-format=zstd", "--add-compression=zstd"], "zstd*"),
        (&["--add-compression=gzip"], "gzip"),
        (&["--add-compression=gzip,zstd:chunked"], "gzip zstd*"),
    ];
    for (number, (flags, want)) in cases.iter().enumerate() {
        let layout = format!("out{number}");
        push(&layout, flags).success();
        assert_eq!(endings(&layout), *want, "{flags:?}");
    }
    env.write_home(".config/containers/containers.conf", "[engine]\nadd_compression = [\"zstd:chunked\"]\n");
    push("configured", &[]).success();
    assert_eq!(endings("configured"), "gzip zstd*");
    push("told", &["--add-compression=gzip"]).success();
    assert_eq!(endings("told"), "gzip");
    let wrong: &[(&[&str], &str)] = &[
        (&["--add-compression=lz4"], "cannot find compressor for \"lz4\""),
        (&["--add-compression=zstd", "--format=v2s2"], "zstd compression is not supported for docker images"),
        (&["--add-compression=zstd", "--all=false"], "--add-compression together with --all=false"),
    ];
    for (flags, want) in wrong {
        let said = push("wrong", flags).failure(125);
        assert!(said.contains(want), "{said}");
        assert!(!env.work().join("wrong").exists(), "{flags:?}");
    }
}

#[test]
fn no_entry_is_lost_when_many_add_at_once() {
    let env = world();
    env.ok(["manifest", "create", "l"]);
    let output = env.shell(
        "for i in 1 2 3 4 5 6; do c=$(coracle from scratch); coracle config --label n=$i --os os$i $c; coracle commit -q --rm $c i$i >/dev/null; done
         for i in 1 2 3 4 5 6; do coracle manifest add l i$i >/dev/null & done; wait
         coracle manifest inspect l | grep -c '\"os\"'",
    );
    assert_eq!(output.success(), "6", "{output}");
}

#[test]
fn names_from_a_list_are_shown_escaped() {
    let env = world();
    env.ok(["manifest", "create", "l"]);
    env.ok(["manifest", "add", "--arch", "a\u{1b}[31m", "l", "one"]);
    let output = env.run(["from", "--arch", "b\u{1b}[31m", "l"]);
    assert!(!output.failure(125).contains('\u{1b}'), "{output}");
    assert!(!env.ok(["manifest", "inspect", "l"]).contains('\u{1b}'));
}

/// As with the newest Buildah; Debian's takes the image of this machine that the list names.
#[test]
fn rmi_of_a_list_takes_the_list_and_none_of_its_images() {
    let env = TestEnv::new();
    env.images_of_two_machines();
    let names = || {
        let mut names: Vec<String> = env.ok(["images", "--format", "{{.Name}}"]).lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    let (both, list) = (["localhost/one", "localhost/two"], "localhost/l");
    let create = || env.ok(["manifest", "create", "l", "one", "two"]);
    let id = create();
    assert_eq!(env.ok(["rmi", "l"]), format!("untagged: {list}:latest\n{id}"));
    assert_eq!(names(), both);

    let id = create();
    env.ok(["tag", "l", "m"]);
    assert_eq!(env.ok(["rmi", "l"]), format!("untagged: {list}:latest"));
    assert_eq!(env.ok(["rmi", &id[..12]]), format!("untagged: localhost/m:latest\n{id}"));
    assert_eq!(names(), both);

    // An image may go before the lists that name it; a named list is no garbage.
    create();
    assert_eq!(env.ok(["rmi", "--prune"]), "");
    env.ok(["rmi", "one"]);
    assert_eq!(names(), [list, "localhost/two"]);
    assert_eq!(env.ok(["manifest", "inspect", "l"]).matches("\"digest\"").count(), 2);
    assert_eq!(env.ok(["rmi", "--all", "--force"]).lines().filter(|line| line.starts_with("untagged: ")).count(), 2);
    assert!(names().is_empty());
    env.assert_store_is_clean();
}

#[test]
fn an_archive_of_a_list_can_be_dated() {
    let env = world();
    env.ok(["manifest", "create", "list", "one", "two"]);
    let times = |file: &str| {
        let listed = env.shell(&format!("TZ=UTC tar --full-time -tvf {file} | awk '{{print $4, $5}}' | sort -u"));
        listed.success()
    };
    env.ok(["manifest", "push", "-q", "list", "oci-archive:undated.tar:l"]);
    assert_eq!(times("undated.tar"), "1970-01-01 00:00:00");
    env.ok(["manifest", "push", "-q", "--timestamp", "1700000000", "list", "oci-archive:dated.tar:l"]);
    assert_eq!(times("dated.tar"), "2023-11-14 22:13:20");
    assert_eq!(env.ok(["pull", "-q", "oci-archive:undated.tar:l"]), env.ok(["pull", "-q", "oci-archive:dated.tar:l"]));
    let refused = env.run(["manifest", "push", "--timestamp", "soon", "list", "dir:d"]).failure(125);
    assert!(refused.contains("timestamp"), "{refused}");
}
