//! Layers between the tools: theirs come out byte for byte through their tar-split, and ours are whole to them, with every kind of
//! file, owners of subordinate ids, whiteouts and compression.

mod fixture;
mod tarsmith;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use containers_storage::archive::pack::{self, OnDisk, Options, Output, Times, Tree};
use containers_storage::archive::unpack::{self, Devices, LayerOptions, Unmapped};
use containers_storage::archive::{OverlayXattrs, Ownership, Whiteouts};
use containers_storage::check::{self, Depth};
use containers_storage::conf::Conf;
use containers_storage::layers::{Compression, Layer, LayerContent};
use containers_storage::store::Store;
use containers_storage::{Digest, LayerId, Root};
use fixture::{World, as_user, have, new_image};
use tarsmith::{Raw, Tar, listing};

const GRAPH_ROOT: &str = "CORACLE_TEST_GRAPH_ROOT";

/// Runs the ignored test `name` in the user namespace that buildah makes, on the store of `world`.
fn in_namespace(world: &World, name: &str) {
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("buildah");
    command.args(["unshare", "env", &format!("{GRAPH_ROOT}={}", world.graph_root().display())]).arg(exe);
    let output = command.args(["--exact", name, "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn graph_root() -> PathBuf {
    PathBuf::from(std::env::var_os(GRAPH_ROOT).expect("set by in_namespace"))
}

/// The store that `in_namespace` was called for.
fn store() -> Store {
    let graph_root = graph_root();
    let run_root = graph_root.parent().unwrap().join("r");
    Store::open(Conf::at(&graph_root, &run_root, true)).unwrap()
}

fn assert_whole(store: &Store) {
    let report = check::check(store, Depth::Content).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn layers_of_the_other_tools_assemble() {
    as_user("layers_of_the_other_tools_assemble", |world| {
        if !have(&["buildah", "skopeo"]) {
            return;
        }
        let source = world.path("source");
        std::fs::create_dir_all(source.join("d/sub")).unwrap();
        std::fs::write(source.join("d/file"), vec![1; 300_000]).unwrap();
        std::fs::write(source.join("d/empty"), "").unwrap();
        std::fs::write(source.join(format!("d/{}", "ü".repeat(100))), "long").unwrap();
        std::fs::hard_link(source.join("d/file"), source.join("d/sub/hard")).unwrap();
        std::os::unix::fs::symlink("file", source.join("d/soft")).unwrap();
        std::fs::set_permissions(source.join("d/empty"), std::fs::Permissions::from_mode(0o4711)).unwrap();
        let c = world.ok("buildah", &["from", "scratch"]);
        world.ok("buildah", &["copy", "--chown", "5:6", c.trim(), "source", "/"]);
        world.ok("buildah", &["commit", "-q", c.trim(), "localhost/base:1"]);
        // A second layer with a whiteout and an opaque directory.
        let (root, run) = (world.graph_root(), world.path("r"));
        let buildah = format!("buildah --root {} --runroot {} --storage-driver overlay", root.display(), run.display());
        let script = format!(
            "c=$({buildah} from localhost/base:1) && m=$({buildah} mount $c) && rm $m/d/file && rm -r $m/d/sub && mkdir $m/d/sub \
             && echo new >$m/d/sub/new && chown 9:9 $m/d/sub/new && {buildah} umount $c && {buildah} commit -q $c localhost/top:1"
        );
        world.ok("buildah", &["unshare", "sh", "-ec", &script]);
        // A gzip'd layer that was pulled.
        let oci = format!("oci:{}", world.path("oci").display());
        world.skopeo(&["copy", "-q", &world.skopeo_name("localhost/top:1"), &oci]);
        world.ok("buildah", &["rmi", "-a", "-f"]);
        world.skopeo(&["copy", "-q", &oci, &world.skopeo_name("localhost/pulled:1")]);
        let layers = world.store().layers().unwrap().all().unwrap();
        assert!(layers.iter().any(|layer| layer.compression == Compression::Gzip), "{layers:#?}");
        in_namespace(world, "assemble_child");
    });
}

#[test]
#[ignore = "run by layers_of_the_other_tools_assemble in a user namespace"]
fn assemble_child() {
    assert_whole(&store());
}

/// One of everything, with owners that only a user namespace has.
fn rich_layer() -> Vec<u8> {
    let owned = |tar: Tar, uid: &str, gid: &str| tar.pax(&[(b"uid", uid.as_bytes()), (b"gid", gid.as_bytes())]);
    let long = format!("d/{}/{}", "p".repeat(120), "n".repeat(120));
    let mut tar =
        Tar::new().dir("./").dir("d").file("d/file", &[1; 3000]).hard_link("hard", "d/file").symlink("soft", "d/file");
    tar = owned(tar, "1000", "1001").file("d/owned", b"owned");
    tar = owned(tar, "65534", "65534").header(Raw::new("d/nobody", b'0').mode(0o4755));
    tar = tar.pax(&[(b"path", long.as_bytes())]).file("short", b"long");
    tar = tar.pax(&[(b"SCHILY.xattr.user.note", b"a\nb")]).file("noted", b"");
    let capability = b"\x01\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    tar = tar.pax(&[(b"SCHILY.xattr.security.capability", capability)]).file("capable", b"x");
    tar.header(Raw::new("fifo", b'6').mode(0o600))
        .header(Raw::new("sticky", b'5').mode(0o1777))
        .dir("hidden")
        .file("hidden/x", b"x")
        .end()
}

fn upper_layer() -> Vec<u8> {
    Tar::new().dir("d").file("d/.wh.file", b"").dir("hidden").file("hidden/.wh..wh..opq", b"").file("hidden/new", b"n").end()
}

/// Unpacks `blob` and puts it into the store.
fn put(store: &Store, parent: Option<&LayerId>, blob: &[u8]) -> Layer {
    let staged = store.stage_layer().unwrap();
    let mut split = std::fs::File::create(staged.tar_split()).unwrap();
    let options = LayerOptions {
        whiteouts: Whiteouts::OnDisk(OverlayXattrs::User),
        devices: Devices::Skip,
        unmapped: Unmapped::Refuse,
        ownership: Ownership::OnInode,
    };
    let tree = Root::open(staged.tree()).unwrap();
    let outcome = unpack::layer(&mut &blob[..], &tree, options, Some(&mut split)).unwrap();
    let content = LayerContent {
        diff_digest: outcome.diff_digest,
        diff_size: outcome.diff_size,
        compressed_digest: outcome.blob_digest,
        compressed_size: outcome.blob_size,
        compression: outcome.compression.into(),
        uids: outcome.uids.into_iter().collect(),
        gids: outcome.gids.into_iter().collect(),
    };
    store.put_layer(staged, parent, &content).unwrap()
}

/// Packs `diff` while copying it, and puts the copy into the store.
fn put_copy(store: &Store, parent: Option<&LayerId>, diff: &Path) -> Layer {
    let staged = store.stage_layer().unwrap();
    let mut split = std::fs::File::create(staged.tar_split()).unwrap();
    let options = Options {
        tree: Tree::Layer(OverlayXattrs::User),
        times: Times::Force(1_600_000_000),
        on_disk: OnDisk::Untouched,
        owner: pack::Owners::AsOnDisk,
        exclude: Default::default(),
    };
    let copy = Root::open(staged.tree()).unwrap();
    let output = Output { tar_split: Some(&mut split), copy: Some(&copy), ..Output::default() };
    let packed = pack::pack(&Root::open(diff).unwrap(), &options, &mut |_| Ok(true), output).unwrap();
    let (uids, gids) = (packed.uids.into_iter().collect(), packed.gids.into_iter().collect());
    let content = LayerContent::of_tar(packed.diff_digest, packed.diff_size, uids, gids);
    store.put_layer(staged, parent, &content).unwrap()
}

#[test]
fn layers_of_ours_are_whole_to_the_other_tools() {
    as_user("layers_of_ours_are_whole_to_the_other_tools", |world| {
        if !have(&["buildah", "skopeo"]) {
            return;
        }
        in_namespace(world, "put_child");
        for name in ["unpacked", "packed"] {
            let out = world.path(name);
            let dir = format!("dir:{}", out.display());
            world.skopeo(&["copy", "-q", "--dest-decompress", &world.skopeo_name(&format!("localhost/{name}:1")), &dir]);
            let blobs: Vec<_> = std::fs::read_dir(&out)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.file_name().unwrap().len() == 64)
                .collect();
            assert_eq!(blobs.len(), 3, "{name}: a config and two layers");
            for blob in blobs {
                assert_eq!(Digest::of(&std::fs::read(&blob).unwrap()).hex(), blob.file_name().unwrap().to_str().unwrap());
            }
            let c = world.ok("buildah", &["from", &format!("localhost/{name}:1")]);
            let (root, run) = (world.graph_root(), world.path("r"));
            let buildah = format!("buildah --root {} --runroot {} --storage-driver overlay", root.display(), run.display());
            let script =
                format!("cd $({buildah} mount {}) && find . ! -name . -printf '%P %y %m %U:%G %l\\n' | sort", c.trim());
            let seen = world.ok("buildah", &["unshare", "sh", "-ec", &script]);
            let expected = [
                "capable f 644 0:0 ",
                "d d 755 0:0 ",
                "d/nobody f 4755 65534:65534 ",
                "d/owned f 644 1000:1001 ",
                &format!("d/{} d 755 0:0 ", "p".repeat(120)),
                &format!("d/{}/{} f 644 0:0 ", "p".repeat(120), "n".repeat(120)),
                "fifo p 600 0:0 ",
                "hard f 644 0:0 ",
                "hidden d 755 0:0 ",
                "hidden/new f 644 0:0 ",
                "noted f 644 0:0 ",
                "soft l 777 0:0 d/file",
                "sticky d 1777 0:0 ",
            ];
            let mut expected: Vec<_> = expected.iter().map(|line| (*line).to_owned()).collect();
            let mut seen: Vec<_> = seen.lines().map(str::to_owned).collect();
            expected.sort();
            seen.sort();
            assert_eq!(seen, expected, "{name}");
        }
    });
}

#[test]
#[ignore = "run by layers_of_ours_are_whole_to_the_other_tools in a user namespace"]
fn put_child() {
    let store = store();
    let mut gzip = Vec::new();
    flate2::read::GzEncoder::new(&rich_layer()[..], flate2::Compression::new(6)).read_to_end(&mut gzip).unwrap();
    let base = put(&store, None, &gzip);
    assert_eq!(base.compression, Compression::Gzip);
    let top = put(&store, Some(&base.id), &upper_layer());
    store.put_image(&new_image(&[base.clone(), top.clone()], "unpacked", &["localhost/unpacked:1"])).unwrap();
    // The same trees again, packed: other times, hence other layers.
    let diff = |layer: &Layer| graph_root().join("overlay").join(layer.id.as_str()).join("diff");
    let packed = put_copy(&store, None, &diff(&base));
    assert_ne!(packed.id, base.id);
    assert_eq!(listing(&diff(&packed)), listing(&diff(&base)));
    let packed_top = put_copy(&store, Some(&packed.id), &diff(&top));
    store.put_image(&new_image(&[packed, packed_top], "packed", &["localhost/packed:1"])).unwrap();
    assert_whole(&store);
}
