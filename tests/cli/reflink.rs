//! Copies on file systems that can share data: a plain commit and the trees of vfs take no room for what was not changed.
//!
//! Each test makes a file system of its own in a file and mounts it (root's part); the store on it belongs to the unprivileged user.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{TestEnv, am_root, skip_without, test_user};

/// Length of the file whose data is to be shared, in bytes. What else a verb writes is far less.
const BIG: usize = 24 << 20;

/// A file system in a file, mounted as long as this lives.
struct Mounted {
    env: TestEnv,
    mount_point: PathBuf,
}

impl Mounted {
    /// `None`, with a line that says why, where it cannot be had.
    fn new(kind: &str) -> Option<Self> {
        if !am_root() {
            eprintln!("skipped: only root mounts a file system");
            return None;
        }
        let make = format!("mkfs.{kind}");
        if skip_without(&[&make, "filefrag"]) {
            return None;
        }
        let env = TestEnv::new();
        let (image, mount_point) = (env.path("disk"), env.path("disk.d"));
        fs::create_dir(&mount_point).expect("a directory");
        fs::File::create(&image).and_then(|file| file.set_len(400 << 20)).expect("a sparse file");
        let output = Command::new(&make).arg("-q").arg(&image).output().expect("mkfs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = Command::new("mount").args(["-o", "loop"]).args([&image, &mount_point]).output().expect("mount");
        if !output.status.success() {
            eprintln!("skipped: no loop device, or no {kind}: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        let user = test_user();
        chown(&mount_point, Some(user.uid), Some(user.gid)).expect("its owner");
        fs::set_permissions(&mount_point, fs::Permissions::from_mode(0o700)).expect("its mode");
        Some(Self { env, mount_point })
    }

    /// Runs `coracle` on the store that lies on the file system.
    #[track_caller]
    fn ok(&self, driver: &str, words: &[&str]) -> String {
        let root = self.mount_point.join(driver);
        let run_root = self.env.path("run").join(driver);
        let (root, run_root) = (root.to_string_lossy(), run_root.to_string_lossy());
        self.env.ok(["--root", &root, "--runroot", &run_root, "--storage-driver", driver].iter().chain(words))
    }

    /// Bytes in use, once everything is on the disk.
    fn used(&self) -> u64 {
        assert!(Command::new("sync").arg("-f").arg(&self.mount_point).status().expect("sync").success());
        let output = Command::new("df").args(["--output=used", "-B1"]).arg(&self.mount_point).output().expect("df");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number of bytes")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.mount_point).status());
    }
}

/// The files called `name` below `dir`.
fn files(dir: &Path, name: &str) -> Vec<PathBuf> {
    let output = Command::new("find").arg(dir).args(["-name", name, "-type", "f"]).output().expect("find");
    String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect()
}

/// Whether every extent of the file is shared with another one (`FIEMAP_EXTENT_SHARED`, as filefrag prints it). What xfs has set aside behind
/// the end of a file that was written shortly before is none of it.
fn is_shared(file: &Path) -> bool {
    let blocks = BIG as u64 / 4096;
    let output = Command::new("filefrag").arg("-sv").arg(file).output().expect("filefrag");
    let text = String::from_utf8_lossy(&output.stdout);
    // `   0:        0..    1023:      12345..     13368:   1024:             last,shared,eof`
    let start = |line: &str| line.split(':').nth(1)?.split("..").next()?.trim().parse::<u64>().ok();
    let extents = text.lines().filter(|line| line.matches("..").count() == 2);
    let extents: Vec<&str> = extents.filter(|line| start(line).is_some_and(|start| start < blocks)).collect();
    assert!(!extents.is_empty(), "{text}");
    let is_shared = extents.iter().all(|line| line.contains("shared"));
    if !is_shared {
        eprintln!("{text}");
    }
    is_shared
}

fn commit_and_from_share_data(kind: &str) {
    let Some(disk) = Mounted::new(kind) else { return };
    // No two blocks of it are equal, so that nothing else than sharing saves room.
    let noise: Vec<u8> =
        (0..BIG as u64 / 8).flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    disk.env.write("big", noise);
    for driver in ["overlay", "vfs"] {
        let container = disk.ok(driver, &["from", "scratch"]);
        disk.ok(driver, &["copy", "-q", &container, "big", "/big"]);
        let store = disk.mount_point.join(driver);
        let [own] = &files(&store, "big")[..] else { panic!("one copy on {kind}, {driver}") };
        assert!(!is_shared(own), "{kind}, {driver}: nothing to share with yet");
        let before = disk.used();
        assert!(before > BIG as u64, "{before}");

        disk.ok(driver, &["commit", "-q", &container, "image"]);
        let copies = files(&store, "big");
        assert_eq!(copies.len(), 2, "{kind}, {driver}: the container's and the image's");
        assert!(copies.iter().all(|file| is_shared(file)), "{kind}, {driver}: {copies:?}");
        let grown = disk.used().saturating_sub(before);
        assert!(grown < BIG as u64 / 4, "{kind}, {driver}: a commit took {grown} bytes");

        // With vfs a container starts with a copy of its image's tree.
        let other = disk.ok(driver, &["from", "image"]);
        let grown = disk.used().saturating_sub(before);
        assert!(grown < BIG as u64 / 4, "{kind}, {driver}: from took {grown} bytes");
        assert_eq!(files(&store, "big").len(), if driver == "vfs" { 3 } else { 2 });
        assert!(files(&store, "big").iter().all(|file| is_shared(file)), "{kind}, {driver}");
        disk.ok(driver, &["rm", &container, &other]);
    }
}

#[test]
fn a_commit_shares_its_data_with_the_container_on_btrfs() {
    commit_and_from_share_data("btrfs");
}

#[test]
fn a_commit_shares_its_data_with_the_container_on_xfs() {
    commit_and_from_share_data("xfs");
}
