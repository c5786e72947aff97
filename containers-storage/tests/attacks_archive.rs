//! Hostile archives: one test per entry of the catalogue of known attacks (group 3) that the tar engine answers for.
//!
//! After every recipe a tree beside the unpack directory, the canary, is what it was.

mod tarsmith;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use containers_storage::archive::unpack::{Devices, LayerOptions, Unmapped};
use containers_storage::archive::{Error, unpack};
use containers_storage::{Digest, Root, tar_split};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tarsmith::{Raw, Tar, layer_options, listing, patched, unpack_layer, unpack_tree};

/// A directory to unpack into, and a canary beside it.
struct World {
    dir: tempfile::TempDir,
    before: Vec<String>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let canary = dir.path().join("canary");
        fs::create_dir_all(canary.join("sub")).unwrap();
        fs::create_dir(dir.path().join("diff")).unwrap();
        fs::create_dir(dir.path().join("diff-evil")).unwrap();
        fs::write(canary.join("secret"), "secret").unwrap();
        fs::set_permissions(canary.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut world = Self { dir, before: Vec::new() };
        world.before = world.state();
        world
    }

    fn canary(&self) -> PathBuf {
        self.dir.path().join("canary")
    }

    fn diff(&self) -> PathBuf {
        self.dir.path().join("diff")
    }

    /// Everything outside `diff`, with modes, times and inode numbers.
    fn state(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for line in listing(self.dir.path()) {
            if line.starts_with("diff/") {
                continue;
            }
            let path = self.dir.path().join(line.split(' ').next().unwrap());
            let meta = fs::symlink_metadata(path).unwrap();
            let times = if line.starts_with("diff ") { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) };
            lines.push(format!("{line} {:o} {} {times:?}", meta.mode(), meta.ino()));
        }
        lines
    }

    fn layer(&self, tar: &[u8]) -> Result<unpack::LayerOutcome, Error> {
        unpack_layer(tar, &self.diff())
    }

    fn tree(&self, tar: &[u8], dest: &str) -> Result<unpack::TreeOutcome, Error> {
        unpack_tree(tar, &self.diff(), dest)
    }

    fn clear(&self) {
        fs::remove_dir_all(self.diff()).unwrap();
        fs::create_dir(self.diff()).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // The unpack directory was made anew by `clear`.
            let strip = |lines: &[String]| lines.iter().filter(|line| !line.starts_with("diff ")).cloned().collect::<Vec<_>>();
            assert_eq!(strip(&self.state()), strip(&self.before), "something outside the unpack directory changed");
        }
    }
}

/// The refusal's text, which must name the entry as it was written.
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>, name: &str) -> String {
    let error = result.expect_err(name).to_string();
    assert!(error.starts_with(&format!("{name:?}: ")), "{error} does not begin with {name:?}");
    error
}

/// Runs the ignored test `name` of this program in a process of its own, under `umask`.
fn in_child(name: &str, umask: &str) {
    let exe = std::env::current_exe().unwrap();
    let script = format!("umask {umask}; exec \"$0\" --exact {name} --ignored --nocapture");
    let output = Command::new("sh").args(["-c", &script]).arg(exe).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// The most memory that this process has had resident, in KiB (proc(5), `VmHWM`).
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a21_names_that_climb_are_refused_and_absolute_ones_are_inside() {
    let world = World::new();
    for name in ["../x", "a/../../x", "./../x", "..", "a/..", "../diff-evil/x", "/../x"] {
        for flag in [b'0', b'5', b'2', b'1', b'6'] {
            let tar = Tar::new().header(Raw::new(name, flag).link(if flag == b'1' || flag == b'2' { "t" } else { "" })).end();
            assert!(refusal(world.layer(&tar), name).contains("climbs"));
            assert!(refusal(world.tree(&tar, "/"), name).contains("climbs"));
        }
    }
    for name in ["../.wh.x", "a/../../.wh.x"] {
        refusal(world.layer(&Tar::new().file(name, b"").end()), name);
    }
    assert_eq!(listing(&world.diff()), [""; 0]);
    world.layer(&Tar::new().file("/abs", b"1").file("//abs2", b"2").end()).unwrap();
    assert_eq!(listing(&world.diff()), ["abs file:1", "abs2 file:2"]);
}

#[test]
fn a22_a_link_and_then_a_name_below_it_stay_inside() {
    let world = World::new();
    let canary = world.canary();
    let target = canary.to_str().unwrap();
    for link in [target, "../canary", "../../../../../../../../tmp"] {
        let tar = Tar::new().symlink("l", link).file("l/x", b"x").dir("l/sub").end();
        assert!(world.layer(&tar).is_err(), "the link's target does not exist inside");
        world.clear();
        assert!(world.tree(&tar, "/").is_err());
        world.clear();
    }
    // Two hops, and directories made through them.
    let tar = Tar::new().symlink("a", ".").symlink("a/b", "..").dir("a/b/sub").file("a/b/x", b"x").end();
    world.layer(&tar).unwrap();
    assert_eq!(listing(&world.diff()), ["a link:.", "b link:..", "sub dir", "x file:x"]);
    world.clear();
    // A link to a place inside is followed inside; a second way to the same name is a second entry of it.
    let tar = Tar::new().dir("usr").symlink("l", "/usr").file("l/x", b"1");
    world.layer(&tar.clone().end()).unwrap();
    assert!(listing(&world.diff()).contains(&"usr/x file:1".to_owned()));
    world.clear();
    assert!(refusal(world.layer(&tar.file("usr/x", b"2").end()), "usr/x").contains("duplicates"));
    world.clear();
    // The link comes after what is below it.
    let tar = Tar::new().file("l/x", b"x").symlink("l", target).end();
    refusal(world.layer(&tar), "l");
    world.clear();
    // A link planted by what was there before.
    symlink(target, world.diff().join("l")).unwrap();
    assert!(world.tree(&Tar::new().file("l/x", b"x").end(), "/").is_err());
}

#[test]
fn a23_the_root_is_not_replaced() {
    let world = World::new();
    let inode = fs::metadata(world.diff()).unwrap().ino();
    for name in [".", "./", "/", "", "./."] {
        for flag in [b'2', b'1', b'3', b'6'] {
            let tar = Tar::new().header(Raw::new(name, flag).link(if flag < b'3' { "/etc" } else { "" })).end();
            assert!(refusal(world.layer(&tar), name).contains("root"));
            assert!(refusal(world.tree(&tar, "/"), name).contains("root"));
        }
    }
    for name in [".", ""] {
        refusal(world.layer(&Tar::new().file(name, b"x").end()), name);
    }
    world.layer(&Tar::new().header(Raw::new("./", b'5').mode(0o777)).end()).unwrap();
    let meta = fs::metadata(world.diff()).unwrap();
    assert_eq!(meta.ino(), inode);
    assert_ne!(meta.mode() & 0o777, 0o777, "the root of a layer keeps the mode it was made with");
}

#[test]
fn a24_hard_links_reach_only_members() {
    let world = World::new();
    let secret = world.canary().join("secret");
    for target in [secret.to_str().unwrap(), "canary/secret", "missing", "h"] {
        let tar = Tar::new().hard_link("h", target).end();
        assert!(refusal(world.layer(&tar), "h").contains("does not exist"), "{target}");
        assert!(world.tree(&tar, "/").is_err());
    }
    refusal(world.layer(&Tar::new().hard_link("h", "../canary/secret").end()), "h");
    let tar = Tar::new().symlink("l", world.canary().to_str().unwrap()).hard_link("h", "l/secret").end();
    refusal(world.layer(&tar), "h");
    world.clear();
    refusal(world.layer(&Tar::new().dir("d").hard_link("h", "d").end()), "h");
    world.clear();
    // An absolute target is the image's; a link is linked, not followed.
    let tar = Tar::new().file("f", b"x").hard_link("h", "/f").symlink("s", "/etc/passwd").hard_link("t", "s").end();
    world.layer(&tar).unwrap();
    assert_eq!(listing(&world.diff()), ["f file:x", "h file:x", "s link:/etc/passwd", "t link:/etc/passwd"]);
    world.clear();
    // A file over a hard link replaces the name and leaves the inode alone.
    fs::hard_link(&secret, world.diff().join("h")).unwrap();
    world.tree(&Tar::new().file("h", b"new").end(), "/").unwrap();
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    assert_eq!(fs::read(world.diff().join("h")).unwrap(), b"new");
}

#[test]
fn a25_metadata_does_not_go_through_links() {
    let world = World::new();
    let canary = world.canary();
    let target = canary.to_str().unwrap();
    symlink(target, world.diff().join("d")).unwrap();
    symlink(canary.join("secret"), world.diff().join("f")).unwrap();
    let directory = Tar::new().header(Raw::new("d", b'5').mode(0o777)).end();
    world.tree(&directory, "/").unwrap();
    world.tree(&Tar::new().header(Raw::new("f", b'0').mode(0o4777)).end(), "/").unwrap();
    let link = Tar::new().pax(&[(b"SCHILY.xattr.user.k", b"v")]).header(Raw::new("s", b'2').link(target).mode(0o4777)).end();
    world.tree(&link, "/").unwrap();
    assert_eq!(listing(&world.diff())[..2], ["d dir".to_owned(), "f file:".to_owned()]);
    world.clear();
    // A directory that became a link before its mode is due.
    let tar = Tar::new().header(Raw::new("d", b'5').mode(0o777)).symlink("d", target).end();
    refusal(world.layer(&tar), "d");
    world.clear();
    world.tree(&tar, "/").unwrap();
    assert_eq!(listing(&world.diff()), [format!("d link:{target}")]);
}

/// A member with a PAX size and a header size, then another member.
fn two_sizes(header: u64, pax: &[u8], stored: &[u8]) -> Vec<u8> {
    let mut raw = Raw::new("f", b'0');
    raw.size = header;
    Tar::new().pax(&[(b"size", pax)]).header(raw).raw(stored).file("after", b"x").end()
}

#[test]
fn a27_what_can_be_read_in_two_ways_is_refused() {
    let world = World::new();
    let nested = Tar::new().file("hidden", b"evil").bytes;
    let plain = Raw::new("f", b'0').block();
    let sized = |flag: u8| {
        let mut raw = Raw::new("f", flag).link(if flag == b'5' || flag == b'6' { "" } else { "t" });
        raw.size = nested.len() as u64;
        Tar::new().header(raw).raw(&nested).end()
    };
    let mut long = Raw::new("x/", b'0');
    long.size = 1;
    let table = [
        ("PAX larger than the header", two_sizes(0, nested.len().to_string().as_bytes(), &nested)),
        ("PAX smaller than the header", two_sizes(nested.len() as u64, b"0", &nested)),
        ("size twice", Tar::new().extension(b'x', b"9 size=1\n9 size=2\n").file("f", b"x").end()),
        ("path twice", Tar::new().pax(&[(b"path", b"a"), (b"path", b"b")]).file("f", b"x").end()),
        ("record too long", Tar::new().extension(b'x', b"99 path=a\n").file("f", b"x").end()),
        ("record without newline", Tar::new().extension(b'x', b"9 path=ab").file("f", b"x").end()),
        ("negative PAX size", Tar::new().pax(&[(b"size", b"-1")]).file("f", b"").end()),
        ("two PAX headers", Tar::new().pax(&[(b"path", b"a")]).pax(&[(b"path", b"b")]).file("f", b"").end()),
        ("long name twice", Tar::new().pax(&[(b"path", b"a")]).extension(b'L', b"b\0").file("f", b"").end()),
        ("long name with a tail", Tar::new().extension(b'L', b"a\0b").file("f", b"").end()),
        ("global path", Tar::new().extension(b'g', b"10 path=a\n").file("f", b"").end()),
        ("octal garbage", Tar::new().raw(&patched(plain, 124, b"0000000000x\0")).end()),
        ("negative base-256 size", Tar::new().raw(&patched(plain, 124, &[0xff; 12])).end()),
        ("size out of range", Tar::new().raw(&patched(plain, 124, b"\x80\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff")).end()),
        ("directory with content", sized(b'5')),
        ("link with content", sized(b'2')),
        ("hard link with content", sized(b'1')),
        ("pipe with content", sized(b'6')),
        ("file with a slash", Tar::new().header(long).raw(b"x").end()),
        ("lone zero block", Tar::new().file("a", b"").raw(&[0; 512]).file("b", b"").end()),
        ("bad checksum", Tar::new().raw(&[b'x'; 512]).end()),
        ("header without a member", Tar::new().pax(&[(b"path", b"a")]).end()),
        ("contiguous file", Tar::new().header(Raw::new("f", b'7')).end()),
        ("unknown type", Tar::new().header(Raw::new("f", b'Z')).end()),
        ("GNU header with a prefix", Tar::new().raw(&patched(patched(plain, 257, b"ustar  \0"), 345, b"prefix")).end()),
    ];
    for (what, tar) in table {
        let error = world.layer(&tar).expect_err(what);
        assert!(matches!(error, Error::Refused { .. } | Error::Stream { .. }), "{what}: {error}");
        assert!(!world.diff().join("hidden").exists(), "{what}");
        world.clear();
    }
    // What PAX may override, it overrides; a nested archive is content.
    let same = two_sizes(nested.len() as u64, nested.len().to_string().as_bytes(), &nested);
    world.layer(&same).unwrap();
    assert_eq!(fs::read(world.diff().join("f")).unwrap(), nested);
    assert!(!world.diff().join("hidden").exists() && world.diff().join("after").exists());
}

#[test]
fn a28_whiteouts_of_nothing_are_refused() {
    let world = World::new();
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh..."] {
        assert!(refusal(world.layer(&Tar::new().dir("d").file(name, b"").end()), name).contains("whiteout of nothing"));
        world.clear();
    }
    refusal(world.layer(&Tar::new().file(".wh.d/x", b"").end()), ".wh.d/x");
    let tar = Tar::new().file(".wh..wh.x", b"").file(".wh..wh.aufs", b"").dir(".wh..wh.plnk").file(".wh..wh.plnk/1", b"").end();
    world.layer(&tar).unwrap();
    assert_eq!(listing(&world.diff()), [""; 0]);
    let target = world.canary();
    let tar = Tar::new().symlink("l", target.to_str().unwrap()).file("l/.wh.secret", b"").file("l/.wh..wh..opq", b"").end();
    world.layer(&tar).unwrap();
    assert_eq!(listing(&world.diff()), [format!("l link:{}", target.display())]);
    world.clear();
    // In an archive that is added, the same names are ordinary.
    world.tree(&Tar::new().file(".wh.x", b"1").file("d/.wh..wh..opq", b"2").end(), "/").unwrap();
    assert_eq!(listing(&world.diff()), [".wh.x file:1", "d dir", "d/.wh..wh..opq file:2"]);
}

/// All orders of `items`.
fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.len() < 2 {
        return vec![items.to_vec()];
    }
    let mut all = Vec::new();
    for at in 0..items.len() {
        let mut rest = items.to_vec();
        let first = rest.remove(at);
        for mut order in orders(&rest) {
            order.insert(0, first.clone());
            all.push(order);
        }
    }
    all
}

#[test]
fn a29_the_order_of_members_does_not_matter() {
    let world = World::new();
    let sets: [(&[&str], &[&str]); 4] = [
        (&["d/", "d/.wh..wh..opq", "d/new", "d/.wh.old"], &["d opaque", "d/new file:", "d/old whiteout"]),
        (&["d/", ".wh.d", "d/new"], &["d opaque", "d/new file:"]),
        (&[".wh.f", "f"], &["f file:"]),
        (&[".wh.d", "d/.wh.x", ".wh.e"], &["d whiteout", "e whiteout"]),
    ];
    for (names, expected) in sets {
        for order in orders(names) {
            let mut tar = Tar::new();
            for name in &order {
                tar = if name.ends_with('/') { tar.dir(name) } else { tar.file(name, b"") };
            }
            world.layer(&tar.end()).unwrap_or_else(|error| panic!("{order:?}: {error}"));
            assert_eq!(listing(&world.diff()), expected, "{order:?}");
            world.clear();
        }
    }
    for tar in [
        Tar::new().file("f", b"1").file("f", b"2"),
        Tar::new().dir("d").dir("d/"),
        Tar::new().dir("d").file("./d", b""),
        Tar::new().file("d/x", b"").file("d", b""),
        Tar::new().file(".wh.x", b"").file(".wh.x", b""),
    ] {
        assert!(world.layer(&tar.end()).unwrap_err().to_string().contains("duplicates of file paths not supported"));
        world.clear();
    }
}

#[test]
fn a30_marks_of_overlay_drivers_are_dropped() {
    let world = World::new();
    let marks = ["opaque", "redirect", "metacopy", "origin", "whiteout", "impure"];
    let mut records: Vec<(Vec<u8>, &[u8])> = vec![(b"SCHILY.xattr.user.keep".to_vec(), b"v")];
    for mark in marks {
        for family in ["user.overlay", "trusted.overlay"] {
            records.push((format!("SCHILY.xattr.{family}.{mark}").into_bytes(), b"y"));
        }
    }
    records.push((b"SCHILY.xattr.user.fuseoverlayfs.opaque".to_vec(), b"y"));
    let records: Vec<(&[u8], &[u8])> = records.iter().map(|(key, value)| (&key[..], *value)).collect();
    world.layer(&Tar::new().pax(&records).dir("d").pax(&records).file("f", b"").end()).unwrap();
    for name in ["d", "f"] {
        let mut list = [0_u8; 4096];
        let length = rustix::fs::llistxattr(world.diff().join(name), &mut list[..]).unwrap();
        let names = String::from_utf8_lossy(&list[..length]).into_owned();
        assert!(names.contains("user.keep") && !names.contains("overlay"), "{name}: {names}");
    }
    world.clear();
    assert!(refusal(world.layer(&Tar::new().header(Raw::new("c", b'3')).end()), "c").contains("0:0"));
}

#[test]
fn a31_only_harmless_attributes_and_owners_survive() {
    let world = World::new();
    let records: [(&[u8], &[u8]); 5] = [
        (b"SCHILY.xattr.security.selinux", b"system_u:object_r:shadow_t:s0"),
        (b"SCHILY.xattr.system.posix_acl_access", b"\x02\0\0\0"),
        (b"SCHILY.xattr.trusted.evil", b"1"),
        (b"SCHILY.acl.access", b"user:root:rwx"),
        (b"SCHILY.xattr.user.ok", b"1"),
    ];
    world.layer(&Tar::new().pax(&records).file("f", b"").end()).unwrap();
    let mut list = [0_u8; 4096];
    let length = rustix::fs::llistxattr(world.diff().join("f"), &mut list[..]).unwrap();
    assert_eq!(&list[..length], b"user.ok\0");
    // A device is passed over, and so is a further name of it.
    let mut device = Raw::new("dev", b'4');
    device.device = (8, 0);
    world.clear();
    world.layer(&Tar::new().header(device).hard_link("dev2", "dev").hard_link("dev3", "dev2").end()).unwrap();
    assert_eq!(listing(&world.diff()), [""; 0]);
}

#[test]
fn a31_an_owner_that_is_nobodys_number_is_refused() {
    let world = World::new();
    for (key, value) in [(b"uid", "4294967295"), (b"gid", "4294967296"), (b"uid", "-1")] {
        let tar = Tar::new().pax(&[(key, value.as_bytes())]).file("f", b"").end();
        assert!(refusal(world.layer(&tar), "f").contains("owner"), "{value}");
    }
}

/// An endless input that counts what is taken.
struct Endless<'a> {
    start: &'a [u8],
    filler: u8,
    left: u64,
    taken: u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = if self.start.is_empty() {
            let length = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            into[..length].fill(self.filler);
            self.left -= length as u64;
            length
        } else {
            self.start.read(into)?
        };
        self.taken += length as u64;
        Ok(length)
    }
}

#[test]
fn a32_metadata_has_limits() {
    let world = World::new();
    for flag in [b'x', b'g', b'L', b'K'] {
        let mut raw = Raw::new("PaxHeaders.0/x", flag);
        raw.size = 4 << 30;
        let start = Tar::new().header(raw).bytes;
        let mut input = Endless { start: &start, filler: b'a', left: 8 << 30, taken: 0 };
        let error = unpack::layer(&mut input, &Root::open(&world.diff()).unwrap(), layer_options(), None).unwrap_err();
        assert!(error.to_string().contains("larger than 1048576 bytes"), "{error}");
        assert!(input.taken < 8 << 20, "{} bytes were read", input.taken);
    }
    let records: String = (100_000..200_000).map(|n| format!("12 k{n}=v\n")).collect();
    assert!(world.layer(&Tar::new().extension(b'x', records.as_bytes()).file("f", b"").end()).is_err());
    let map = format!("1,1,{}", "2,0,".repeat(100_000));
    let sparse = Tar::new().pax(&[(b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", map.trim_end_matches(',').as_bytes())]);
    assert!(world.layer(&sparse.file("f", b"x").end()).unwrap_err().to_string().contains("65,536 segments"));
}

#[test]
fn a33_bytes_after_the_end_are_streamed_and_counted() {
    in_child("a33_child", "022");
}

#[test]
#[ignore = "run by a33_bytes_after_the_end_are_streamed_and_counted in a process of its own"]
fn a33_child() {
    let world = World::new();
    let start = Tar::new().file("f", b"x").end();
    let second = Tar::new().file("second", b"x").end();
    for filler in [0, b'#'] {
        let mut input = Endless { start: &start, filler, left: 96 << 20, taken: 0 };
        let outcome = unpack::layer(&mut input, &Root::open(&world.diff()).unwrap(), layer_options(), Some(&mut io::sink()));
        let outcome = outcome.unwrap();
        assert_eq!(outcome.diff_size, start.len() as u64 + (96 << 20));
        world.clear();
    }
    assert!(peak_memory() < 64 << 10, "{} KiB", peak_memory());
    let both = [start.as_slice(), &second, b"tail"].concat();
    let mut split = Vec::new();
    let root = Root::open(&world.diff()).unwrap();
    let outcome = unpack::layer(&mut &both[..], &root, layer_options(), Some(&mut split)).unwrap();
    assert_eq!((outcome.diff_digest, outcome.entries), (Digest::of(&both), 1));
    let mut again = Vec::new();
    let layers = [root];
    tar_split::assemble(&mut &split[..], &mut |name| tar_split::open_in(&layers, name), &mut again).unwrap();
    assert!(again == both);
    // Padding that is not zero is part of the archive as well.
    world.clear();
    let mut odd = Tar::new().file("f", b"x").end();
    odd[600] = b'!';
    assert_eq!(world.layer(&odd).unwrap().diff_digest, Digest::of(&odd));
}

#[test]
fn a34_marks_cost_the_same_each() {
    in_child("a34_child", "022");
}

#[test]
#[ignore = "run by a34_marks_cost_the_same_each in a process of its own, whose processor time it measures"]
fn a34_child() {
    let world = World::new();
    let cost = |directories: u32| {
        let mut tar = Tar::new();
        for at in 0..directories {
            tar =
                tar.file(format!("d/{at}/x"), b"").file(format!("d/{at}/.wh..wh..opq"), b"").file(format!("d/{at}/.wh.y"), b"");
        }
        let tar = tar.end();
        let used = || {
            let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
            usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
        };
        let before = used();
        world.layer(&tar).unwrap();
        let spent = used() - before;
        world.clear();
        spent
    };
    let (small, large) = (cost(400), cost(1600));
    // Four times the marks: four times the cost if each costs the same, sixteen times if each walks the tree.
    assert!(large < small * 10, "{large} µs for four times what costs {small} µs");
}

#[test]
fn a34_refused_archives_leave_no_descriptor() {
    let world = World::new();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let corrupt = Tar::new().dir("d").file("d/f", b"x").raw(&[b'x'; 512]).end();
    let before = descriptors();
    for _ in 0..200 {
        assert!(world.layer(&corrupt).is_err());
        world.clear();
    }
    // Other tests of this process have some open.
    assert!(descriptors() < before + 60, "{} descriptors, {before} before", descriptors());
}

#[test]
fn a35_no_program_decompresses() {
    let world = World::new();
    let planted = world.diff().join("bin");
    fs::create_dir(&planted).unwrap();
    let mark = world.dir.path().join("diff/ran");
    for name in ["xz", "unxz", "bzip2", "zstd", "gzip", "pigz", "unpigz"] {
        let program = planted.join(name);
        fs::write(&program, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let exe = std::env::current_exe().unwrap();
    let path = format!("{}:{}", planted.display(), std::env::var("PATH").unwrap());
    let output = Command::new(exe).args(["--exact", "a35_child", "--ignored"]).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!mark.exists());
}

#[test]
#[ignore = "run by a35_no_program_decompresses in a process of its own"]
fn a35_child() {
    let world = World::new();
    let tar = Tar::new().file("f", b"x").end();
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
    io::Write::write_all(&mut xz, &tar).unwrap();
    for bytes in [xz.finish().unwrap(), zstd::encode_all(&tar[..], 1).unwrap()] {
        world.layer(&bytes).unwrap();
        world.clear();
        assert!(world.layer(&bytes[..bytes.len() / 2]).is_err());
        world.clear();
    }
}

#[test]
fn a37_only_the_tar_is_read_of_a_chunked_layer() {
    let world = World::new();
    let tar = Tar::new().file("f", b"x").end();
    let toc = br#"{"version":1,"entries":[{"type":"reg","name":"evil","size":1}]}"#;
    let mut bytes = zstd::encode_all(&tar[..], 1).unwrap();
    bytes.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18]);
    bytes.extend_from_slice(&u32::try_from(toc.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(toc);
    assert_eq!(world.layer(&bytes).unwrap().diff_digest, Digest::of(&tar));
    assert_eq!(listing(&world.diff()), ["f file:x"]);
}

#[test]
fn a39_what_is_hashed_is_what_is_unpacked() {
    let world = World::new();
    let tar = Tar::new().file("one", b"1").file("two", b"2").end();
    let gzip = |data: &[u8]| {
        let mut out = Vec::new();
        flate2::read::GzEncoder::new(data, flate2::Compression::new(1)).read_to_end(&mut out).unwrap();
        out
    };
    let (first, second) = tar.split_at(700);
    let members = [gzip(first), gzip(second)].concat();
    assert_eq!(world.layer(&members).unwrap().diff_digest, Digest::of(&tar));
    assert_eq!(listing(&world.diff()), ["one file:1", "two file:2"]);
    for tail in [&b"tail"[..], &zstd::encode_all(&tar[..], 1).unwrap(), &[0; 16]] {
        world.clear();
        let error = world.layer(&[&members, tail].concat()).unwrap_err();
        assert!(matches!(error, Error::Decompress { .. }), "{error}");
    }
}

#[test]
fn a40_the_unpacker_keeps_nothing_in_the_tree() {
    let world = World::new();
    let target = world.canary().join("new");
    let target = target.to_str().unwrap();
    let mut tar = Tar::new();
    for name in ["tar-split.gz", ".done", "link", "lower", "work", "merged", "diff"] {
        tar = tar.symlink(name, target);
    }
    let mut split = Vec::new();
    unpack::layer(&mut &tar.end()[..], &Root::open(&world.diff()).unwrap(), layer_options(), Some(&mut split)).unwrap();
    assert_eq!(listing(&world.diff()).len(), 7);
    assert!(!split.is_empty());
}

#[test]
fn a41_modes_do_not_depend_on_the_umask() {
    in_child("a41_child", "000");
    in_child("a41_child", "077");
}

#[test]
#[ignore = "run by a41_modes_do_not_depend_on_the_umask under two umasks"]
fn a41_child() {
    let world = World::new();
    let tar = Tar::new()
        .header(Raw::new("d", b'5').mode(0o2775))
        .header(Raw::new("f", b'0').mode(0o4666))
        .header(Raw::new("p", b'6').mode(0o622))
        .header(Raw::new("implied/x", b'0').mode(0o200))
        .end();
    let mode = |name: &str| fs::symlink_metadata(world.diff().join(name)).unwrap().mode() & 0o7777;
    let expected = [("d", 0o2775), ("f", 0o4666), ("p", 0o622), ("implied", 0o755), ("implied/x", 0o200)];
    world.layer(&tar).unwrap();
    for (name, bits) in expected {
        assert_eq!(mode(name), bits, "{name} in a layer");
    }
    world.clear();
    world.tree(&tar, "/").unwrap();
    for (name, bits) in expected {
        assert_eq!(mode(name), bits, "{name} in a tree");
    }
}

#[test]
fn a42_odd_names_survive_byte_for_byte() {
    let world = World::new();
    let names: [&[u8]; 8] = [b"\xff\xfe", b"new\nline", b"\x1b[31mred", "\u{202e}bidi".as_bytes(), b" ", b"~", b"\\x00", b"A"];
    let mut tar = Tar::new().file("a", b"");
    for name in names {
        tar = tar.file(name, b"x");
    }
    let long = vec![b'n'; 255];
    tar = tar.pax(&[(b"path", &long)]).file("short", b"x");
    let bytes = tar.end();
    let mut split = Vec::new();
    let root = Root::open(&world.diff()).unwrap();
    unpack::layer(&mut &bytes[..], &root, layer_options(), Some(&mut split)).unwrap();
    use std::os::unix::ffi::OsStrExt;
    for name in names.iter().copied().chain([&long[..], b"a"]) {
        assert!(world.diff().join(std::ffi::OsStr::from_bytes(name)).exists(), "{:?}", String::from_utf8_lossy(name));
    }
    let (layers, mut again) = ([root], Vec::new());
    tar_split::assemble(&mut &split[..], &mut |name| tar_split::open_in(&layers, name), &mut again).unwrap();
    assert!(again == bytes);
    world.clear();
    for name in [vec![b'n'; 256], [b"d/".repeat(2048), b"x".to_vec()].concat(), b"a\0b".to_vec()] {
        assert!(world.layer(&Tar::new().pax(&[(b"path", &name)]).file("f", b"").end()).is_err());
        world.clear();
    }
    // The message is fit for a terminal.
    let error = world.layer(&Tar::new().file("\x1b]0;x\x07/../\n::set-output", b"").end()).unwrap_err().to_string();
    assert!(error.chars().all(|c| !c.is_control()), "{error:?}");
}

#[test]
fn a142_extreme_numbers_are_clamped_or_refused() {
    let world = World::new();
    for (key, value) in
        [("mtime", "9".repeat(1000)), ("mtime", "1e9".to_owned()), ("size", "9".repeat(30)), ("uid", "0x1".to_owned())]
    {
        let tar = Tar::new().pax(&[(key.as_bytes(), value.as_bytes())]).file("f", b"").end();
        assert!(world.layer(&tar).is_err(), "{key}={value}");
        world.clear();
    }
    for value in ["-1", "253402300800", "-62135596800.999999999", "9223372036854775807", &format!("1.{}", "9".repeat(1000))] {
        world.layer(&Tar::new().pax(&[(b"mtime", value.as_bytes())]).file("f", b"").end()).unwrap();
        world.clear();
    }
}

/// Owners outside the ids of this user namespace can be had only where there is such a namespace.
#[test]
fn a31_unmapped_owners_are_named_or_ignored_on_request() {
    let world = World::new();
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let exe = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user"])
        .arg(exe)
        .args(["--exact", "a31_child", "--ignored"])
        .output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by a31_unmapped_owners_are_named_or_ignored_on_request in a user namespace"]
fn a31_child() {
    let world = World::new();
    let tar = Tar::new().pax(&[(b"uid", b"5"), (b"gid", b"7")]).file("f", b"x").end();
    let error = refusal(world.layer(&tar), "f");
    assert!(error.contains("owner 5:7 is not mapped"), "{error}");
    world.clear();
    let options = LayerOptions { unmapped: Unmapped::Ignore, devices: Devices::Skip, ..layer_options() };
    let root = Root::open(Path::new(&world.diff())).unwrap();
    unpack::layer(&mut &tar[..], &root, options, None).unwrap();
    assert_eq!(listing(&world.diff()), ["f file:x"]);
}
