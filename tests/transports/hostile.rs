//! Sources that lie. Each is refused with an error that names what is wrong, and nothing of it is left in the store.

use containers_storage::Digest;
use coracle::image::Location;

use crate::world::{World, gzip, tar_of};

/// One image as the parts of a layout that a test may spoil.
struct Layout {
    layer: Vec<u8>,
    config: String,
    layer_descriptor: String,
    manifest: String,
}

const OCI: &str = "application/vnd.oci.image";

impl Layout {
    fn new() -> Self {
        let tar = tar_of(&[("a", b"content")]);
        let layer = gzip(&tar);
        let config = config(&[Digest::of(&tar)]);
        let layer_descriptor = descriptor("layer.v1.tar+gzip", &layer);
        let mut layout = Self { layer, config, layer_descriptor, manifest: String::new() };
        layout.name_everything();
        layout
    }

    /// The manifest for the parts as they are now.
    fn name_everything(&mut self) {
        let config = descriptor("config.v1+json", self.config.as_bytes());
        self.manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, self.layer_descriptor);
    }

    /// Writes it as `oci:NAME`.
    fn write(&self, world: &World, name: &str) -> Location {
        let blobs = world.path(name).join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let layer_digest = between(&self.layer_descriptor, "\"digest\":\"sha256:", "\"");
        if layer_digest.len() == 64 {
            std::fs::write(blobs.join(layer_digest), &self.layer).unwrap();
        }
        for document in [&self.config, &self.manifest] {
            std::fs::write(blobs.join(Digest::of(document.as_bytes()).hex()), document).unwrap();
        }
        let index =
            format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor("manifest.v1+json", self.manifest.as_bytes()));
        std::fs::write(world.path(name).join("index.json"), index).unwrap();
        std::fs::write(world.path(name).join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        world.at(&format!("oci:{name}"))
    }
}

fn config(diff_ids: &[Digest]) -> String {
    let ids: Vec<String> = diff_ids.iter().map(|id| format!("\"{id}\"")).collect();
    format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#, ids.join(","))
}

fn descriptor(kind: &str, bytes: &[u8]) -> String {
    format!(r#"{{"mediaType":"{OCI}.{kind}","digest":"{}","size":{}}}"#, Digest::of(bytes), bytes.len())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(middle, _)| middle)
}

/// Refused with these words by the store and by a directory, of which nothing is left.
#[track_caller]
fn refused(world: &World, source: &Location, words: &str) {
    for destination in [Location::stored("x"), world.at("dir:copied"), world.at("docker-archive:copied.tar")] {
        let error = world.copy(source, &destination).expect_err(words);
        assert!(error.contains(words), "{source} to {destination}: {error}");
    }
    nothing_is_left(world);
}

#[track_caller]
fn nothing_is_left(world: &World) {
    assert!(world.store.images().unwrap().all().unwrap().is_empty());
    assert!(world.store.layers().unwrap().all().unwrap().is_empty());
    let left: Vec<String> =
        world.files("g").into_iter().filter(|name| name.contains("temp-dir") || name.contains("blobs")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!world.path("copied").exists() && !world.path("copied.tar").exists(), "{:?}", world.files(""));
    assert!(
        !world.files("").iter().any(|name| name.contains(".coracle-") || name.contains("copied.tar")),
        "{:?}",
        world.files("")
    );
}

#[test]
fn the_layout_that_the_tests_spoil_is_a_good_one() {
    let world = World::new();
    let good = Layout::new().write(&world, "good");
    world.copy(&good, &Location::stored("x")).unwrap();
}

#[test]
fn a_layer_that_is_not_what_its_descriptor_says_is_refused() {
    let world = World::new();
    let mut longer = Layout::new();
    longer.layer.push(0);
    refused(&world, &longer.write(&world, "longer"), "bytes instead of");
    let mut other = Layout::new();
    let last = other.layer.len() - 12;
    other.layer[last] ^= 1;
    let error = world.copy(&other.write(&world, "other"), &world.at("oci:copied")).unwrap_err();
    assert!(error.contains("has the digest"), "{error}");
    nothing_is_left(&world);
    let mut short = Layout::new();
    short.layer.truncate(20);
    refused(&world, &short.write(&world, "short"), "20 bytes instead of");
}

/// A36 of the project's list of known attacks.
#[test]
fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let world = World::new();
    let mut wrong = Layout::new();
    wrong.config = config(&[Digest::of(b"another")]);
    wrong.name_everything();
    let place = wrong.write(&world, "wrong");
    let error = world.copy(&place, &Location::stored("x")).unwrap_err();
    assert!(error.contains("has the diff ID"), "{error}");
    let error = world.copy(&place, &world.at("docker-archive:copied.tar")).unwrap_err();
    assert!(error.contains("the config says"), "{error}");
    nothing_is_left(&world);
    for (name, ids) in [("few", vec![]), ("many", vec![Digest::of(b"1"), Digest::of(b"2")])] {
        let mut layout = Layout::new();
        layout.config = config(&ids);
        layout.name_everything();
        refused(&world, &layout.write(&world, name), "the manifest has 1 layers");
    }
}

/// A39: what follows the compressed data.
#[test]
fn something_after_the_compressed_data_is_refused() {
    let world = World::new();
    let mut tail = Layout::new();
    tail.layer.extend_from_slice(b"tail");
    tail.layer_descriptor = descriptor("layer.v1.tar+gzip", &tail.layer);
    tail.name_everything();
    let error = world.copy(&tail.write(&world, "tail"), &Location::stored("x")).unwrap_err();
    assert!(error.contains("gzip"), "{error}");
    nothing_is_left(&world);
}

/// A105: digests that are none.
#[test]
fn digests_that_are_paths_are_refused() {
    let world = World::new();
    for (number, digest) in
        ["sha256:../../../../etc/passwd", "sha256:", "sha256:ABCD", "md5:d41d8cd98f00b204e9800998ecf8427e"].iter().enumerate()
    {
        let mut layout = Layout::new();
        layout.layer_descriptor = format!(r#"{{"mediaType":"{OCI}.layer.v1.tar","digest":"{digest}","size":1}}"#);
        layout.name_everything();
        refused(&world, &layout.write(&world, &format!("d{number}")), "is not a digest");
    }
}

/// A38, A21: files that are links out of the layout.
#[test]
fn files_that_lead_out_of_the_layout_are_refused() {
    let world = World::new();
    std::fs::write(world.path("canary"), Layout::new().layer).unwrap();
    let layout = Layout::new();
    let place = layout.write(&world, "linked");
    let blob = world.path("linked/blobs/sha256").join(between(&layout.layer_descriptor, "\"digest\":\"sha256:", "\""));
    for target in [world.path("canary"), "../../../canary".into()] {
        std::fs::remove_file(&blob).unwrap();
        std::os::unix::fs::symlink(&target, &blob).unwrap();
        refused(&world, &place, "symbolic link to nothing inside");
    }
    let dir = Layout::new().write(&world, "manifest");
    std::fs::rename(world.path("manifest/index.json"), world.path("outside.json")).unwrap();
    std::os::unix::fs::symlink(world.path("outside.json"), world.path("manifest/index.json")).unwrap();
    refused(&world, &dir, "symbolic link to nothing inside");
    std::fs::remove_file(world.path("manifest/index.json")).unwrap();
    let fifo = world.path("manifest/index.json");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(world.copy(&dir, &Location::stored("x")).is_err(), "and does not wait for ever");
}

/// The same for `dir:`, whose files have other names.
#[test]
fn a_directory_whose_files_lie_is_refused() {
    let world = World::new();
    let (base, _) = world.base();
    world.copy(&base, &world.at("dir:d")).unwrap();
    let manifest = String::from_utf8(world.manifest(&base)).unwrap();
    let blob = world.path("d").join(between(manifest.rsplit("layers").next().unwrap(), "\"digest\":\"sha256:", "\""));
    let good = std::fs::read(&blob).unwrap();
    let mut wrong = good.clone();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    std::fs::write(&blob, wrong).unwrap();
    assert!(world.copy(&world.at("dir:d"), &Location::stored("x")).is_err());
    nothing_is_left(&world);
    std::fs::write(&blob, &good[1..]).unwrap();
    refused(&world, &world.at("dir:d"), "bytes instead of");
    std::fs::remove_file(&blob).unwrap();
    refused(&world, &world.at("dir:d"), "reading");
    std::fs::write(world.path("canary"), good).unwrap();
    std::os::unix::fs::symlink(world.path("canary"), &blob).unwrap();
    refused(&world, &world.at("dir:d"), "symbolic link to nothing inside");
}

/// A110, A139: documents without end.
#[test]
fn documents_without_measure_are_refused() {
    let world = World::new();
    let mut huge = Layout::new();
    huge.manifest.push_str(&" ".repeat(5 << 20));
    refused(&world, &huge.write(&world, "huge"), "limit");
    let mut config = Layout::new();
    config.config.push_str(&" ".repeat(5 << 20));
    config.name_everything();
    refused(&world, &config.write(&world, "config"), "limit");
    let mut layers = Layout::new();
    layers.layer_descriptor = vec![layers.layer_descriptor.clone(); 501].join(",");
    layers.name_everything();
    refused(&world, &layers.write(&world, "layers"), "501 layers");
    let deep = Layout { manifest: format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), ..Layout::new() };
    refused(&world, &deep.write(&world, "deep"), "oci:");
}

/// A107, A106: two readings of one document.
#[test]
fn documents_with_two_meanings_are_refused() {
    let world = World::new();
    let mut both = Layout::new();
    both.manifest = both.manifest.replacen('{', r#"{"manifests":[],"#, 1);
    refused(&world, &both.write(&world, "both"), "ambiguous");
    let mut first = Layout::new();
    first.manifest = r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned();
    refused(&world, &first.write(&world, "v1"), "schema 1");
    let place = Layout::new().write(&world, "swapped");
    let index = std::fs::read_to_string(world.path("swapped/index.json")).unwrap();
    let digest = between(&index, "sha256:", "\"").to_owned();
    std::fs::write(world.path("swapped/blobs/sha256").join(&digest), Layout::new().manifest.replacen("2", "2 ", 1)).unwrap();
    refused(&world, &place, "instead of");
}

/// Name, kind, and content or target.
type Member<'a> = (&'a str, tar::EntryType, &'a [u8]);

fn docker_archive(world: &World, name: &str, members: &[Member<'_>]) -> Location {
    let mut builder = tar::Builder::new(Vec::new());
    for (member, kind, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let link = *kind == tar::EntryType::Symlink;
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..member.len()].copy_from_slice(member.as_bytes());
        if link {
            gnu.linkname[..content.len()].copy_from_slice(content);
        }
        let data: &[u8] = if link { b"" } else { content };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    std::fs::write(world.path(name), builder.into_inner().unwrap()).unwrap();
    world.at(&format!("docker-archive:{name}"))
}

const FILE: tar::EntryType = tar::EntryType::Regular;
const LINK: tar::EntryType = tar::EntryType::Symlink;

/// A38: archives that reach out of themselves, or say one thing twice.
#[test]
fn docker_archives_that_reach_out_are_refused() {
    let world = World::new();
    let layer = tar_of(&[("a", b"content")]);
    let config = config(&[Digest::of(&layer)]);
    let config = config.as_bytes();
    let manifest = |layer: &str| format!(r#"[{{"Config":"c.json","RepoTags":["x:1"],"Layers":["{layer}"]}}]"#);
    std::fs::write(world.path("l.tar"), &layer).unwrap();
    let good = manifest("l.tar");
    let good = good.as_bytes();
    world
        .copy(
            &docker_archive(
                &world,
                "good.tar",
                &[("manifest.json", FILE, good), ("c.json", FILE, config), ("l.tar", FILE, &layer)],
            ),
            &world.at("dir:fine"),
        )
        .unwrap();
    let (up, absolute) = (manifest("../l.tar"), manifest(&world.path("l.tar").display().to_string()));
    let outside = world.path("l.tar").display().to_string();
    let wrong = tar_of(&[("a", b"another")]);
    let cases: Vec<(&str, Vec<Member<'_>>, &str)> = vec![
        ("a layer above", vec![("manifest.json", FILE, up.as_bytes()), ("c.json", FILE, config)], "../l.tar"),
        (
            "a layer of the host",
            vec![("manifest.json", FILE, absolute.as_bytes()), ("c.json", FILE, config)],
            "is not in the archive",
        ),
        (
            "a link above",
            vec![("manifest.json", FILE, good), ("c.json", FILE, config), ("l.tar", LINK, b"../l.tar")],
            "leads out",
        ),
        (
            "a link to the host",
            vec![("manifest.json", FILE, good), ("c.json", FILE, config), ("l.tar", LINK, outside.as_bytes())],
            "leads out",
        ),
        (
            "a link to itself",
            vec![("manifest.json", FILE, good), ("c.json", FILE, config), ("l.tar", LINK, b"l.tar")],
            "link to a link",
        ),
        (
            "two manifests",
            vec![("manifest.json", FILE, good), ("manifest.json", FILE, b"[]"), ("c.json", FILE, config)],
            "comes twice",
        ),
        ("a climbing entry", vec![("../manifest.json", FILE, good), ("c.json", FILE, config)], "manifest.json"),
        ("another layer", vec![("manifest.json", FILE, good), ("c.json", FILE, config), ("l.tar", FILE, &wrong)], "the digest"),
        ("no images", vec![("manifest.json", FILE, b"[]")], "expected 1 item, got 0"),
        ("no manifest", vec![("x", FILE, b"")], "is not in the archive"),
        ("an old one", vec![("repositories", FILE, b"{}")], "Docker before 1.10"),
    ];
    for (what, members, words) in cases {
        let archive = docker_archive(&world, "bad.tar", &members);
        for destination in [Location::stored("x"), world.at("oci:copied")] {
            let error = world.copy(&archive, &destination).expect_err(what);
            assert!(error.contains(words), "{what}: {error}");
        }
        nothing_is_left(&world);
    }
}

#[test]
fn archives_that_were_cut_short_are_refused() {
    let world = World::new();
    let (base, _) = world.base();
    world.copy(&base, &world.at("oci-archive:whole.tar:x")).unwrap();
    world.copy(&base, &world.at("docker-archive:docker.tar:x")).unwrap();
    for name in ["oci-archive:whole.tar", "docker-archive:docker.tar"] {
        let (_, file) = name.split_once(':').unwrap();
        let bytes = std::fs::read(world.path(file)).unwrap();
        for part in [1, 2, 3, 5, 9] {
            std::fs::write(world.path("cut.tar"), &bytes[..bytes.len() * part / 10]).unwrap();
            let error = world.copy(&world.at(&name.replace(file, "cut.tar")), &Location::stored("x")).unwrap_err();
            assert!(error.contains("cut.tar"), "{error}");
            nothing_is_left(&world);
        }
        let squeezed = gzip(&bytes);
        std::fs::write(world.path("cut.tar"), &squeezed[..squeezed.len() - 9]).unwrap();
        let error = world.copy(&world.at(&name.replace(file, "cut.tar")), &Location::stored("x")).unwrap_err();
        assert!(error.contains("decompressing"), "{error}");
        nothing_is_left(&world);
    }
}
