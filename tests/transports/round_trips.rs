//! Through each transport and back: digests are equal, and skopeo reads what we write.

use containers_storage::Digest;
use coracle::image::{Format, Location};
use coracle::transport::compression::{Algorithm, Method};
use coracle::transport::{Recompress, Uncompressed};

use crate::harness::skip_without;
use crate::world::World;

#[test]
fn an_image_keeps_its_digest_through_every_transport_and_the_store() {
    let world = World::new();
    let (base, outcome) = world.base();
    assert_eq!(world.digest(&base), outcome.digest);
    let stored = Location::stored("base");
    let pulled = world.copy(&base, &stored).unwrap();
    assert_eq!(pulled.digest, outcome.digest);
    for (number, place) in ["oci:o2", "oci-archive:o.tar:x", "dir:d", "oci:o3:y"].into_iter().enumerate() {
        let place = world.at(place);
        // From the store first, then from place to place.
        let from = if number == 0 { stored.clone() } else { world.at(["oci:o2", "oci-archive:o.tar", "dir:d"][number - 1]) };
        let pushed = world.copy(&from, &place).unwrap();
        assert_eq!((pushed.digest, world.digest(&place)), (outcome.digest.clone(), outcome.digest.clone()), "{place}");
    }
    assert_eq!(world.files("o2").iter().filter(|name| name.contains(".coracle")).count(), 0);
}

#[test]
fn skopeo_reads_the_same_digest_from_what_we_write() {
    if skip_without(&["skopeo"]) {
        return;
    }
    let world = World::new();
    let (base, outcome) = world.base();
    let stored = Location::stored("base");
    world.copy(&base, &stored).unwrap();
    for place in ["oci:o:x", "oci-archive:o.tar:x", "dir:d"] {
        world.copy(&stored, &world.at(place)).unwrap();
        let place = place.replacen(':', ":%/", 1);
        assert_eq!(Digest::of(&world.skopeo(&["inspect", "--raw", &place])), outcome.digest, "{place}");
        // Every blob is verified on the way.
        world.skopeo(&["copy", "-q", &place, &format!("dir:%/check-{}", &place[..3])]);
    }
}

#[test]
fn we_read_the_same_digest_from_what_skopeo_writes() {
    if skip_without(&["skopeo"]) {
        return;
    }
    let world = World::new();
    world.base();
    for place in ["oci:s:x", "oci-archive:s.tar:x", "dir:sd", "docker-archive:sda.tar:foo/x:1"] {
        let at = place.replacen(':', ":%/", 1);
        world.skopeo(&["copy", "-q", "oci:%/base:a/base:1", &at]);
        let theirs = Digest::of(&world.skopeo(&["inspect", "--raw", &at]));
        assert_eq!(world.digest(&world.at(place)), theirs, "{place}");
        let store = world.second_store();
        let copied = world.copy_in(&store, &world.at(place), &Location::stored(""), |_| {}).unwrap();
        assert_eq!(copied.digest, theirs, "{place}");
        let image = store.images().unwrap().get(copied.image.as_ref().unwrap()).unwrap();
        assert_eq!(store.layers().unwrap().chain(image.layer.as_ref().unwrap()).unwrap().len(), 2);
    }
}

#[test]
fn docker_archives_are_read_by_skopeo_and_come_back_as_the_same_image() {
    let world = World::new();
    let (base, _) = world.base();
    let stored = Location::stored("base");
    let pulled = world.copy(&base, &stored).unwrap();
    let archive = world.at("docker-archive:a.tar:foo:1");
    world.copy(&stored, &archive).unwrap();
    let again = world.copy(&stored, &archive).unwrap_err();
    assert!(again.contains("docker-archive doesn't support modifying existing images"), "{again}");
    let store = world.second_store();
    let loaded = world.copy_in(&store, &world.at("docker-archive:a.tar"), &Location::stored("back"), |_| {}).unwrap();
    assert_eq!(loaded.image, pulled.image);
    let tags = world.copy(&world.at("docker-archive:a.tar:nope:2"), &Location::stored("")).unwrap_err();
    assert!(tags.contains("Tag \"docker.io/library/nope:2\" not found"), "{tags}");
    if !skip_without(&["skopeo"]) {
        let theirs = world.skopeo(&["inspect", "--raw", "docker-archive:%/a.tar:foo:1"]);
        assert_eq!(Digest::of(&theirs), loaded.digest);
        world.skopeo(&["copy", "-q", "docker-archive:%/a.tar:foo:1", "dir:%/check"]);
    }
}

#[test]
fn several_images_of_an_archive_are_told_apart_by_tag_and_place() {
    if skip_without(&["skopeo", "podman"]) || !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    world.base();
    let store = format!("vfs@{0}/pg+{0}/pr", world.path("").display().to_string().trim_end_matches('/'));
    for (name, from) in [("one", "oci:%/base:a/base:1"), ("two", "tarball:%/2.tar")] {
        world.skopeo(&["copy", "-q", from, &format!("containers-storage:[{store}]localhost/{name}:1")]);
    }
    let saved = std::process::Command::new("podman")
        .args(["--storage-driver", "vfs", "--root"])
        .arg(world.path("pg"))
        .arg("--runroot")
        .arg(world.path("pr"))
        .args(["save", "-q", "-m", "-o"])
        .arg(world.path("multi.tar"))
        .args(["localhost/one:1", "localhost/two:1"])
        .output()
        .unwrap();
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    let compressed = zstd::encode_all(&std::fs::read(world.path("multi.tar")).unwrap()[..], 1).unwrap();
    std::fs::write(world.path("multi.tar.zst"), compressed).unwrap();
    let config = |selector: &str| {
        let location = world.at(&format!("docker-archive:multi.tar{selector}"));
        let source = coracle::transport::open_source(&location, world.means()).map_err(|error| error.to_string())?;
        let raw = source.manifest(None).unwrap().bytes;
        Ok::<_, String>((source.names(), raw))
    };
    let (names, one) = config(":localhost/one:1").unwrap();
    assert_eq!(names, ["localhost/one:1"]);
    let (names, two) = config(":@1").unwrap();
    assert_eq!(names, ["localhost/two:1"]);
    assert_ne!(one, two);
    assert_eq!(config(".zst:@0").unwrap().1, one);
    assert!(config("").unwrap_err().contains("expected 1 item, got 2"));
    assert!(config(":@2").unwrap_err().contains("Invalid source index @2"));
}

#[test]
fn formats_are_converted_as_skopeo_does() {
    if skip_without(&["skopeo"]) {
        return;
    }
    let world = World::new();
    world.base();
    world.skopeo(&["copy", "-q", "oci:%/base:a/base:1", "dir:%/oci"]);
    let formats = [(Format::Docker, "v2s2", "dir:oci"), (Format::Oci, "oci", "dir:ours-v2s2")];
    for (format, word, from) in formats {
        let ours = world.at(&format!("dir:ours-{word}"));
        world.copy_with(&world.at(from), &ours, |options| options.format = Some(format)).unwrap();
        let theirs = format!("dir:%/theirs-{word}");
        world.skopeo(&["copy", "-q", "--format", word, &from.replacen(':', ":%/", 1), &theirs]);
        let theirs = world.skopeo(&["inspect", "--raw", &theirs]);
        assert_eq!(String::from_utf8(world.manifest(&ours)), String::from_utf8(theirs), "{word}");
    }
}

#[test]
fn tar_files_become_the_image_that_skopeo_makes_of_them() {
    if skip_without(&["skopeo"]) {
        return;
    }
    let world = World::new();
    world.base();
    let newer = std::time::UNIX_EPOCH + std::time::Duration::new(1_900_000_000, 123_000_000);
    std::fs::File::options().write(true).open(world.path("1.tar.gz")).unwrap().set_modified(newer).unwrap();
    let config = |manifest: &[u8]| {
        let document: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        document["config"]["digest"].as_str().unwrap().to_owned()
    };
    let files = format!("tarball:{0}/1.tar.gz:{0}/2.tar", world.path("").display().to_string().trim_end_matches('/'));
    world.copy(&Location::parse(&files).unwrap().unwrap(), &world.at("oci:ours")).unwrap();
    world.skopeo(&["copy", "-q", &files, "oci:%/theirs:x"]);
    let ours = config(&world.manifest(&world.at("oci:ours")));
    assert_eq!(ours, config(&world.manifest(&world.at("oci:theirs"))));
}

#[test]
fn other_tools_read_the_images_that_we_put_into_a_store() {
    if skip_without(&["skopeo", "podman"]) || !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    let (base, outcome) = world.base();
    world.copy(&base, &Location::stored("quay.io/x/base:1")).unwrap();
    let root = world.path("g").display().to_string();
    let place = format!("containers-storage:[overlay@{root}+{}]quay.io/x/base:1", world.path("r").display());
    assert_eq!(Digest::of(&world.skopeo(&["inspect", "--raw", &place])), outcome.digest);
    world.skopeo(&["copy", "-q", &place, "dir:%/check"]);
    let podman = std::process::Command::new("podman")
        .args(["--storage-driver", "overlay", "--root", &root, "--runroot"])
        .arg(world.path("r"))
        .args(["image", "inspect", "--format", "{{.Digest}} {{len .RootFS.Layers}} {{.RepoTags}}", "quay.io/x/base:1"])
        .output()
        .unwrap();
    let expected = format!("{} 2 [quay.io/x/base:1]\n", outcome.digest);
    assert_eq!(String::from_utf8_lossy(&podman.stdout), expected, "{}", String::from_utf8_lossy(&podman.stderr));
    // And we read what skopeo puts into one.
    let theirs = format!("containers-storage:[overlay@{root}+{}]localhost/theirs:1", world.path("r").display());
    world.skopeo(&["copy", "-q", "tarball:%/2.tar", &theirs]);
    let from = Location::parse(&theirs).unwrap().unwrap();
    let image = world.copy(&from, &world.at("oci:theirs")).unwrap();
    assert_eq!(Digest::of(&world.skopeo(&["inspect", "--raw", "oci:%/theirs"])), image.digest);
}

#[test]
fn layers_are_compressed_where_it_was_asked_for() {
    let world = World::new();
    let (base, _) = world.base();
    let types = |location: &Location| {
        let text = String::from_utf8(world.manifest(location)).unwrap();
        ["tar\"", "tar+gzip\"", "tar+zstd\""].map(|ending| text.matches(ending).count())
    };
    let zstd = Method::new(Algorithm::Zstd, Some(3)).ok();
    world.copy(&base, &Location::stored("base")).unwrap();
    // Only the second layer was compressed by us; what was pulled stays as it was.
    std::fs::remove_dir_all(world.store.private_dir().join("blobs")).unwrap();
    let stored = Location::stored("base");
    let plain = world.at("dir:plain");
    world.copy(&stored, &plain).unwrap();
    assert_eq!(types(&plain), [2, 0, 0]);
    let pushed = world.at("dir:pushed");
    world.copy_with(&stored, &pushed, |options| options.compression.uncompressed = Uncompressed::Compress).unwrap();
    assert_eq!(types(&pushed), [0, 2, 0]);
    let kept = world.at("oci:kept");
    world.copy_with(&stored, &kept, |options| options.compression.uncompressed = Uncompressed::Keep).unwrap();
    assert_eq!(types(&kept), [2, 0, 0]);
    let small = world.at("oci:small");
    world.copy_with(&stored, &small, |options| options.compression.method = zstd).unwrap();
    assert_eq!(types(&small), [0, 0, 2]);
    let same = world.at("oci:same");
    world.copy_with(&base, &same, |options| options.compression.method = zstd).unwrap();
    assert_eq!(types(&same), [0, 2, 0], "compressed already");
    let forced = world.at("oci:forced");
    let force = |options: &mut coracle::transport::CopyOptions<'_>| {
        options.compression.method = zstd;
        options.compression.recompress = Recompress::OtherAlgorithm;
    };
    world.copy_with(&base, &forced, force).unwrap();
    assert_eq!(types(&forced), [0, 0, 2]);
    let docker = world.copy_with(&base, &world.at("dir:no"), |options| {
        force(options);
        options.format = Some(Format::Docker);
    });
    assert!(docker.unwrap_err().contains("zstd compression is not supported for docker images"));
    // And all of them are the same image.
    let store = world.second_store();
    for place in [plain, pushed, kept, small, forced] {
        let image = world.copy_in(&store, &place, &Location::stored("x"), |_| {}).unwrap().image;
        assert_eq!(image, world.copy(&base, &stored).unwrap().image, "{place}");
    }
}

#[test]
fn what_was_pulled_is_pushed_as_it_was_and_goes_with_its_image() {
    let world = World::new();
    let (base, outcome) = world.base();
    let stored = Location::stored("base");
    let image = world.copy(&base, &stored).unwrap().image.unwrap();
    let blobs = "g/coracle/blobs/sha256";
    assert_eq!(world.files(blobs).len(), 2);
    assert_eq!(world.copy(&stored, &world.at("oci:again")).unwrap().digest, outcome.digest);
    // A second pull reads no layer.
    world.copy(&base, &stored).unwrap();
    let lines = world.lines.lock().unwrap().clone();
    assert_eq!(lines.iter().filter(|line| line.ends_with("skipped: already exists")).count(), 2, "{lines:?}");
    // A kept blob that was changed is noticed.
    let blob = world.path(&world.files(blobs)[0]);
    let mut bytes = std::fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    let changed = world.copy(&stored, &world.at("oci:changed")).unwrap_err();
    assert!(changed.contains("has the digest"), "{changed}");
    assert!(!world.path("changed").exists(), "{:?}", world.files("changed"));
    world.store.delete_image(&image).unwrap().finish().unwrap();
    assert_eq!(world.files(blobs), Vec::<String>::new());
}

#[test]
fn blobs_that_no_layer_has_are_collected() {
    let world = World::new();
    let (base, _) = world.base();
    world.copy(&base, &Location::stored("base")).unwrap();
    let orphan = world.path("g/coracle/blobs/sha256").join("0".repeat(64));
    std::fs::write(&orphan, "x").unwrap();
    let report = containers_storage::check::repair(&world.store).unwrap();
    assert!(report.findings.iter().any(|finding| finding.text.contains("of no layer")), "{report:?}");
    assert!(!orphan.exists());
    assert_eq!(world.files("g/coracle/blobs/sha256").len(), 2);
}

#[test]
fn an_image_is_added_to_a_layout_beside_those_that_are_there() {
    let world = World::new();
    let (base, outcome) = world.base();
    world.copy(&world.at("tarball:2.tar"), &world.at("oci:base:other")).unwrap();
    assert_eq!(world.digest(&base), outcome.digest);
    assert_ne!(world.digest(&world.at("oci:base:other")), outcome.digest);
    assert_eq!(world.digest(&world.at("oci:base:@0")), outcome.digest);
    let both = world.copy(&world.at("oci:base"), &world.at("dir:d")).unwrap_err();
    assert!(both.contains("more than one image in oci, choose an image"), "{both}");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let world = World::new();
    let (base, _) = world.base();
    std::fs::create_dir(world.path("home")).unwrap();
    std::fs::write(world.path("home/thesis"), "x").unwrap();
    let error = world.copy(&base, &world.at("dir:home")).unwrap_err();
    assert!(error.contains("not a containers image directory, don't want to overwrite important data"), "{error}");
    assert_eq!(world.files("home"), ["home/thesis"]);
    // An older image in a directory is replaced.
    world.copy(&base, &world.at("dir:d")).unwrap();
    world.copy(&world.at("tarball:2.tar"), &world.at("dir:d")).unwrap();
    assert_eq!(world.files("d").len(), 4, "{:?}", world.files("d"));
}

#[test]
fn the_policy_decides_by_transport_and_path() {
    let world = World::new();
    let (base, _) = world.base();
    let path = world.path("policy.json");
    let text = r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"oci":{"/var/tmp":[{"type":"reject"}]}}}"#;
    std::fs::write(&path, text).unwrap();
    let policy = coracle::conf::Policy::load(&coracle::conf::Environment::default(), Some(&path)).unwrap();
    let source = coracle::transport::open_source(&base, world.means()).unwrap();
    let destination = coracle::transport::open_destination(&world.at("dir:d"), world.means()).unwrap();
    let copied = coracle::transport::copy(source.as_ref(), destination, &world.options(&policy), &|_| {});
    let error = copied.unwrap_err();
    let why = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(error.to_string(), "Source image rejected");
    assert_eq!(why, Some(format!("Running image {base} is rejected by policy.")));
    assert!(!world.path("d").exists());
    // What is in the store was asked about when it came there.
    world.copy(&base, &Location::stored("x")).unwrap();
    std::fs::write(&path, r#"{"default":[{"type":"reject"}]}"#).unwrap();
    let policy = coracle::conf::Policy::load(&coracle::conf::Environment::default(), Some(&path)).unwrap();
    let source = coracle::transport::open_source(&Location::stored("x"), world.means()).unwrap();
    let destination = coracle::transport::open_destination(&world.at("dir:d"), world.means()).unwrap();
    coracle::transport::copy(source.as_ref(), destination, &world.options(&policy), &|_| {}).unwrap();
}

#[test]
fn two_writers_of_one_layout_lose_no_image() {
    let world = World::new();
    let (base, _) = world.base();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (world, base) = (&world, &base);
            scope.spawn(move || world.copy(base, &world.at(&format!("oci:many:n{number}"))).unwrap());
        }
    });
    for number in 0..8 {
        assert_eq!(world.digest(&world.at(&format!("oci:many:n{number}"))), world.digest(&base));
    }
}
