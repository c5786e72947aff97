//! Trees completed on a real file system, as whoever runs the tests.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, SeekFrom, XattrFlags};

use super::*;

struct World {
    dir: tempfile::TempDir,
    marks: Marks,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("parent")).unwrap();
        fs::create_dir(dir.path().join("layer")).unwrap();
        Self { dir, marks: Marks::default() }
    }

    fn parent(&self, path: &str) -> PathBuf {
        self.dir.path().join("parent").join(path)
    }

    fn layer(&self, path: &str) -> PathBuf {
        self.dir.path().join("layer").join(path)
    }

    fn complete(&self) -> Result<(), Error> {
        complete(&self.layer(""), &self.parent(""), &self.marks, true)
    }
}

fn put(path: impl AsRef<Path>, text: &str) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// A time that no test runs at, with a fraction of a second.
fn set_time(path: &Path) {
    let time = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_789 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn what_the_layer_has_or_deletes_is_not_copied_and_everything_else_is() {
    let mut world = World::new();
    for path in ["d/kept", "d/changed", "d/gone", "gone/f", "remade/old", "opaque/old", "file-now/f", "dir-now"] {
        put(world.parent(path), "old");
    }
    for path in ["d/changed", "d/added", "remade/new", "opaque/new", "file-now", "dir-now/f"] {
        put(world.layer(path), "new");
    }
    world.marks.whiteouts = ["d/gone", "gone", "remade"].map(PathBuf::from).into();
    world.marks.opaque = ["opaque"].map(PathBuf::from).into();
    world.complete().unwrap();
    for (path, text) in [("d/kept", "old"), ("d/changed", "new"), ("d/added", "new"), ("file-now", "new"), ("dir-now/f", "new")]
    {
        assert_eq!(read(world.layer(path)), text, "{path}");
    }
    for path in ["d/gone", "gone", "remade/old", "opaque/old"] {
        assert!(!world.layer(path).exists(), "{path}");
    }
    assert!(world.layer("remade/new").exists() && world.layer("opaque/new").exists());
    assert_eq!(read(world.parent("d/gone")), "old", "the parent is only read");
}

#[test]
fn an_opaque_root_shows_nothing_of_the_parent() {
    let mut world = World::new();
    put(world.parent("f"), "old");
    world.marks.opaque.insert(PathBuf::new());
    world.complete().unwrap();
    assert!(!world.layer("f").exists());
}

#[test]
fn a_copy_keeps_mode_time_attributes_links_and_holes() {
    let world = World::new();
    put(world.parent("d/f"), "text");
    fs::set_permissions(world.parent("d/f"), fs::Permissions::from_mode(0o4751)).unwrap();
    let attribute = |path: PathBuf| {
        let mut value = [0; 8];
        rustix::fs::getxattr(path, "user.note", &mut value[..]).map(|length| value[..length].to_vec())
    };
    rustix::fs::setxattr(world.parent("d/f"), "user.note", b"n", XattrFlags::empty()).unwrap();
    fs::hard_link(world.parent("d/f"), world.parent("second")).unwrap();
    symlink("/nowhere", world.parent("d/link")).unwrap();
    rustix::fs::mknodat(CWD, world.parent("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let sparse = fs::File::create(world.parent("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", 8 << 20).unwrap();
    sparse.set_len(9 << 20).unwrap();
    for path in ["d/f", "d/link", "sparse", "d"] {
        set_time(&world.parent(path));
    }
    fs::set_permissions(world.parent("d"), fs::Permissions::from_mode(0o1555)).unwrap();
    world.complete().unwrap();

    for path in ["d/f", "d/link", "sparse", "d", "pipe"] {
        let (a, b) = (fs::symlink_metadata(world.parent(path)).unwrap(), fs::symlink_metadata(world.layer(path)).unwrap());
        assert_eq!((a.mode(), a.mtime(), a.mtime_nsec(), a.len()), (b.mode(), b.mtime(), b.mtime_nsec(), b.len()), "{path}");
        assert_ne!(a.ino(), b.ino(), "{path}");
    }
    assert_eq!(attribute(world.layer("d/f")).unwrap(), b"n");
    assert_eq!(fs::metadata(world.layer("d/f")).unwrap().ino(), fs::metadata(world.layer("second")).unwrap().ino());
    assert_eq!(fs::read_link(world.layer("d/link")).unwrap(), Path::new("/nowhere"));
    let copy = fs::File::open(world.layer("sparse")).unwrap();
    assert!(rustix::fs::seek(&copy, SeekFrom::Data(0)).unwrap() >= 7 << 20, "the hole stays one");
    assert_eq!(fs::read(world.layer("sparse")).unwrap()[8 << 20..][..3], *b"end");
    fs::set_permissions(world.layer("d"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn directories_keep_what_the_layer_says_of_them_and_implied_ones_what_the_parent_says() {
    let mut world = World::new();
    for dir in ["said", "implied"] {
        put(world.parent(dir).join("below"), "old");
        fs::set_permissions(world.parent(dir), fs::Permissions::from_mode(0o711)).unwrap();
        put(world.layer(dir).join("new"), "new");
        fs::set_permissions(world.layer(dir), fs::Permissions::from_mode(0o755)).unwrap();
    }
    set_time(&world.layer("said"));
    set_time(&world.parent("implied"));
    world.marks.implied.insert("implied".into());
    world.complete().unwrap();
    let look = |dir: &str| {
        let stat = fs::metadata(world.layer(dir)).unwrap();
        (stat.mode() & 0o7777, stat.mtime_nsec())
    };
    assert_eq!((look("said"), look("implied")), ((0o755, 123_456_789), (0o711, 123_456_789)));
    assert!(world.layer("said/below").exists() && world.layer("implied/below").exists());
}

#[test]
fn no_link_is_followed_on_either_side() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    put(world.parent("dir/f"), "old");
    symlink(outside.path(), world.layer("dir")).unwrap();
    symlink(outside.path(), world.parent("to-outside")).unwrap();
    world.complete().unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(fs::symlink_metadata(world.layer("to-outside")).unwrap().is_symlink());
}

#[test]
fn many_directories_are_copied_whole() {
    let world = World::new();
    for n in 0..300 {
        put(world.parent(&format!("{}/{}/f{n}", n % 7, n % 31)), &n.to_string());
    }
    world.complete().unwrap();
    for n in 0..300 {
        assert_eq!(read(world.layer(&format!("{}/{}/f{n}", n % 7, n % 31))), n.to_string());
    }
}

#[test]
fn a_failure_names_the_directory() {
    let world = World::new();
    put(world.parent("d/f"), "x");
    fs::remove_dir_all(world.layer("")).unwrap();
    assert!(world.complete().unwrap_err().to_string().contains("layer"));
}
