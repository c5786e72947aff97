//! The tar engine against directories, GNU tar and Python's tarfile.

mod tarsmith;

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use containers_storage::archive::pack::{OnDisk, Options, Outcome, Output, Owners, Times, Tree, pack};
use containers_storage::archive::{Compression, OverlayXattrs, unpack};
use containers_storage::{Digest, Root, tar_split};
use proptest::prelude::*;
use tarsmith::{Tar, installed, layer_options, listing, unpack_layer};

fn options() -> Options {
    Options {
        tree: Tree::Layer(OverlayXattrs::User),
        times: Times::Keep,
        on_disk: OnDisk::Untouched,
        owner: Owners::AsOnDisk,
        exclude: HashSet::new(),
    }
}

/// A tar, its tar-split and what the packer said.
struct Packed {
    tar: Vec<u8>,
    split: Vec<u8>,
    outcome: Outcome,
}

fn pack_with(source: &Path, options: &Options, copy: Option<&Path>) -> Packed {
    let (mut tar, mut split) = (Vec::new(), Vec::new());
    let copy = copy.map(|copy| Root::open(copy).unwrap());
    let output = Output { tar: Some(&mut tar), tar_split: Some(&mut split), copy: copy.as_ref(), ..Output::default() };
    let outcome = pack(&Root::open(source).unwrap(), options, &mut |_| Ok(true), output).unwrap();
    Packed { tar, split, outcome }
}

fn pack_dir(source: &Path) -> Packed {
    pack_with(source, &options(), None)
}

fn reassemble(split: &[u8], diff: &Path) -> (Vec<u8>, tar_split::Assembled) {
    let layers = [Root::open(diff).unwrap()];
    let mut tar = Vec::new();
    let assembled = tar_split::assemble(&mut &split[..], &mut |name| tar_split::open_in(&layers, name), &mut tar).unwrap();
    (tar, assembled)
}

/// A tree with one of everything that an ordinary user can make.
fn sample(root: &Path) {
    fs::create_dir_all(root.join("d/deep/er")).unwrap();
    fs::write(root.join("d/file"), "content\n").unwrap();
    fs::write(root.join("d/empty"), "").unwrap();
    fs::write(root.join("d/deep/er/big"), vec![7_u8; 700_000]).unwrap();
    fs::write(root.join(format!("d/{}", "n".repeat(200))), "long").unwrap();
    fs::write(root.join("ü\n\u{1b}[31m"), "odd").unwrap();
    fs::hard_link(root.join("d/file"), root.join("hard")).unwrap();
    symlink("d/file", root.join("soft")).unwrap();
    symlink("t".repeat(300), root.join("longlink")).unwrap();
    fs::set_permissions(root.join("d/empty"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(root.join("d/deep"), fs::Permissions::from_mode(0o1777)).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    rustix::fs::setxattr(root.join("d/file"), "user.note", b"a\nb", rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(root.join("d/file"), "user.overlay.origin", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(3_000_000).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"data", 1_000_000).unwrap();
}

#[test]
fn an_empty_directory_is_two_zero_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let packed = pack_dir(dir.path());
    assert_eq!(packed.tar, [0; 1024]);
    assert_eq!(packed.outcome.diff_digest.hex(), "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
    assert_eq!(reassemble(&packed.split, dir.path()).0, [0; 1024]);
}

#[test]
fn what_is_packed_unpacks_to_the_same_archive() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two, copy) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("3"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&copy).unwrap();
    sample(&one);
    let packed = pack_with(&one, &options(), Some(&copy));
    assert_eq!(Digest::of(&packed.tar), packed.outcome.diff_digest);
    assert_eq!(packed.tar.len() as u64, packed.outcome.diff_size);

    let unpacked = unpack_layer(&packed.tar, &two).unwrap();
    assert_eq!(unpacked.diff_digest, packed.outcome.diff_digest);
    assert_eq!(unpacked.blob_digest, packed.outcome.diff_digest);
    assert_eq!(unpacked.entries, packed.outcome.entries);
    assert_eq!((&unpacked.uids, &unpacked.gids), (&packed.outcome.uids, &packed.outcome.gids));
    for again in [&two, &copy] {
        assert!(pack_dir(again).tar == packed.tar, "{again:?}: {:#?}", listing(again));
        assert_eq!(fs::metadata(again.join("d/empty")).unwrap().mode() & 0o7777, 0o4755);
        assert_eq!(fs::metadata(again.join("hard")).unwrap().nlink(), 2);
        assert!(rustix::fs::getxattr(again.join("d/file"), "user.overlay.origin", &mut [0_u8; 8][..]).is_err());
    }
    assert!(fs::metadata(copy.join("sparse")).unwrap().blocks() < 1000, "holes are kept");
    for (split, diff) in [(&packed.split, &one), (&packed.split, &copy), (&packed.split, &two)] {
        let (tar, assembled) = reassemble(split, diff);
        assert!(tar == packed.tar);
        assert_eq!((assembled.digest, assembled.members), (packed.outcome.diff_digest.clone(), packed.outcome.entries));
    }
}

#[test]
fn gnu_tar_and_python_read_what_is_packed() {
    let dir = tempfile::tempdir().unwrap();
    let (source, gnu) = (dir.path().join("1"), dir.path().join("2"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&gnu).unwrap();
    sample(&source);
    let packed = pack_dir(&source);
    let file = dir.path().join("x.tar");
    fs::write(&file, &packed.tar).unwrap();
    let args = ["--xattrs", "--xattrs-include=*", "-p", "-xf"];
    assert!(Command::new("tar").args(args).arg(&file).arg("-C").arg(&gnu).status().unwrap().success());
    assert!(pack_dir(&gnu).tar == packed.tar);
    if !installed(&["python3"]) {
        return;
    }
    let script = "import sys,tarfile\nt=tarfile.open(sys.argv[1],'r:')\nprint(len(t.getmembers()))";
    let count = Command::new("python3").args(["-c", script]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8(count.stdout).unwrap().trim(), packed.outcome.entries.to_string());
}

#[test]
fn archives_of_other_writers_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("1");
    fs::create_dir(&source).unwrap();
    sample(&source);
    let expected = pack_dir(&source).tar;
    let formats = [
        vec!["--format=gnu"],
        vec!["--format=pax", "--xattrs"],
        vec!["--format=gnu", "-S"],
        vec!["--format=pax", "-S", "--sparse-version=0.0"],
        vec!["--format=pax", "-S", "--sparse-version=0.1"],
        vec!["--format=pax", "-S", "--sparse-version=1.0"],
    ];
    for (at, format) in formats.iter().enumerate() {
        let (file, out) = (dir.path().join(format!("{at}.tar")), dir.path().join(format!("out{at}")));
        let status = Command::new("tar").args(format).arg("-cf").arg(&file).arg("-C").arg(&source).arg(".").status();
        assert!(status.unwrap().success());
        let mut split = Vec::new();
        fs::create_dir(&out).unwrap();
        let bytes = fs::read(&file).unwrap();
        let options = layer_options();
        let root = Root::open(&out).unwrap();
        let outcome = unpack::layer(&mut &bytes[..], &root, options, Some(&mut split));
        let outcome = outcome.unwrap_or_else(|error| panic!("{format:?}: {error}"));
        assert_eq!(outcome.diff_digest, Digest::of(&bytes));
        // Only the PAX archive with attributes has them all.
        if format.contains(&"--xattrs") {
            assert!(pack_dir(&out).tar == expected, "{format:?}");
        }
        assert_eq!(fs::read(out.join("sparse")).unwrap(), fs::read(source.join("sparse")).unwrap(), "{format:?}");
        assert_eq!(listing(&out), listing(&source), "{format:?}");
        assert!(reassemble(&split, &out).0 == bytes, "{format:?}");
    }
}

#[test]
fn whiteouts_and_opaque_directories_go_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let (diff, again, copy) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("3"));
    fs::create_dir(&copy).unwrap();
    let tar =
        Tar::new().dir("d").file("d/.wh..wh..opq", b"").file("d/new", b"x").file("d/.wh.old", b"").file(".wh.gone", b"").end();
    unpack_layer(&tar, &diff).unwrap();
    let expected = ["d opaque", "d/new file:x", "d/old whiteout", "gone whiteout"];
    assert_eq!(listing(&diff), expected);
    let packed = pack_with(&diff, &options(), Some(&copy));
    unpack_layer(&packed.tar, &again).unwrap();
    assert_eq!(listing(&again), expected);
    assert_eq!(listing(&copy), expected);
    // Without the directory in a lower layer the marker is not written.
    let mut plain = Vec::new();
    let output = Output { tar: Some(&mut plain), ..Output::default() };
    let mut asked = Vec::new();
    let mut lower_has = |path: &Path| {
        asked.push(path.to_path_buf());
        Ok(false)
    };
    pack(&Root::open(&diff).unwrap(), &options(), &mut lower_has, output).unwrap();
    assert_eq!(asked, [PathBuf::from("d")]);
    assert_eq!(plain.len(), packed.tar.len() - 512);
}

#[test]
fn times_owner_and_exclusions() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("keep/sub")).unwrap();
    fs::create_dir_all(dir.path().join("drop/sub")).unwrap();
    fs::write(dir.path().join("keep/f"), "x").unwrap();
    let options = Options {
        times: Times::Force(1234),
        on_disk: OnDisk::SetTimes,
        owner: Owners::One(3_000_000, 7),
        exclude: HashSet::from([PathBuf::from("drop")]),
        ..options()
    };
    let packed = pack_with(dir.path(), &options, None);
    assert_eq!((packed.outcome.entries, packed.outcome.uids.len()), (3, 1));
    assert!(packed.outcome.uids.contains(&3_000_000) && packed.outcome.gids.contains(&7));
    assert_eq!(fs::metadata(dir.path().join("keep")).unwrap().mtime(), 1234);
    assert_eq!(fs::metadata(dir.path().join("keep/f")).unwrap().mtime(), 1234);
    assert_ne!(fs::metadata(dir.path().join("drop")).unwrap().mtime(), 1234);
    let clamped = Options { times: Times::Clamp(1000), on_disk: OnDisk::Untouched, ..options.clone() };
    assert!(pack_with(dir.path(), &clamped, None).tar != packed.tar);
    let later = Options { times: Times::Clamp(5000), ..options };
    assert!(pack_with(dir.path(), &later, None).tar == packed.tar);
}

#[test]
fn a_tree_deeper_than_the_descriptor_limit() {
    let dir = tempfile::tempdir().unwrap();
    let depth = 1500;
    let mut at = rustix::fs::openat(rustix::fs::CWD, dir.path(), rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    }
    let (out, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let packed = pack_with(dir.path(), &options(), Some(copy.path()));
    assert_eq!(packed.outcome.entries, depth);
    unpack_layer(&packed.tar, out.path()).unwrap();
    assert!(pack_dir(out.path()).tar == packed.tar);
    assert!(pack_dir(copy.path()).tar == packed.tar);
}

#[test]
fn a_changed_file_does_not_reassemble() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "one").unwrap();
    let packed = pack_dir(dir.path());
    let layers = [Root::open(dir.path()).unwrap()];
    for content in ["two", "three", "on"] {
        fs::write(dir.path().join("f"), content).unwrap();
        let open = &mut |name: &[u8]| tar_split::open_in(&layers, name);
        let error = tar_split::assemble(&mut &packed.split[..], open, &mut std::io::sink()).unwrap_err();
        assert!(error.to_string().contains("\"f\": its"), "{error}");
    }
}

#[test]
fn compressed_layers_have_both_digests() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::new().file("f", &[9; 100_000]).end();
    let mut gzip = Vec::new();
    flate2::read::GzEncoder::new(&tar[..], flate2::Compression::new(1)).read_to_end(&mut gzip).unwrap();
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    for (at, (bytes, kind)) in [(gzip, Compression::Gzip), (zstd, Compression::Zstd)].into_iter().enumerate() {
        let outcome = unpack_layer(&bytes, &dir.path().join(at.to_string())).unwrap();
        assert_eq!(outcome.compression, kind);
        assert_eq!((outcome.blob_digest, outcome.blob_size), (Digest::of(&bytes), bytes.len() as u64));
        assert_eq!((outcome.diff_digest, outcome.diff_size), (Digest::of(&tar), tar.len() as u64));
        let error = unpack_layer(&bytes[..bytes.len() - 3], &dir.path().join(format!("cut{at}"))).unwrap_err();
        assert!(error.to_string().starts_with(&format!("decompressing ({kind})")), "{error}");
    }
}

/// A random tree, as names and what they are.
#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32),
    Link(String),
    Dir(Vec<(String, Node)>),
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        (proptest::collection::vec(any::<u8>(), 0..2000), 0_u32..0o10000)
            .prop_map(|(data, mode)| Node::File(data, mode | 0o400)),
        "[a-z./]{1,120}".prop_map(Node::Link),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| proptest::collection::vec(("[^/.\0][^/\0]{0,60}", inner), 0..8).prop_map(Node::Dir))
}

fn make(at: &Path, node: &Node) {
    match node {
        Node::File(data, mode) => {
            fs::write(at, data).unwrap();
            fs::set_permissions(at, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Node::Link(target) => symlink(target, at).unwrap(),
        Node::Dir(entries) => {
            fs::create_dir(at).unwrap();
            for (name, node) in entries {
                // Generated names may be longer than the file system takes.
                let path = at.join(name);
                if name.len() < 250 && fs::symlink_metadata(&path).is_err() {
                    make(&path, node);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_survives(tree in node()) {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        fs::create_dir(&one).unwrap();
        make(&one.join("t"), &tree);
        let packed = pack_dir(&one);
        let outcome = unpack_layer(&packed.tar, &two).unwrap();
        prop_assert_eq!(&outcome.diff_digest, &packed.outcome.diff_digest);
        prop_assert!(pack_dir(&two).tar == packed.tar);
        prop_assert!(reassemble(&packed.split, &two).0 == packed.tar);
    }

    #[test]
    fn damage_is_never_a_panic_and_never_leaves_the_root(flips in proptest::collection::vec((0_usize..6144, any::<u8>()), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let mut tar = Tar::new().dir("d").file("d/f", b"x").symlink("l", "../..").pax(&[(b"path", b"long/name")]).file("x", b"y").end();
        for (at, byte) in flips {
            let length = tar.len();
            tar[at % length] = byte;
        }
        let _ = unpack_layer(&tar, &dir.path().join("diff"));
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
