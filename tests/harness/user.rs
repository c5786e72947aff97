//! Who runs the tests' commands, and the files that all tests share: a copy of the binary that this user can reach, and the
//! busybox root file system.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The unprivileged user of the tests.
#[derive(Debug, Clone)]
pub struct TestUser {
    /// Login name.
    pub name: String,
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
}

/// Whether the test program itself runs as root.
pub fn am_root() -> bool {
    fs::metadata("/proc/self").map(|meta| meta.uid() == 0).unwrap_or(false)
}

/// The user that runs the commands: the caller, or, for root, the one that `contrib/test` made.
pub fn test_user() -> TestUser {
    let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let uid = fs::metadata("/proc/self").map(|meta| meta.uid()).unwrap_or(0);
    let wanted = std::env::var("CORACLE_TEST_USER").unwrap_or_else(|_| "coracle-test".to_owned());
    let found = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
        let matches =
            if uid == 0 { fields.first() == Some(&wanted.as_str()) } else { fields.get(2) == Some(&uid.to_string().as_str()) };
        matches && fields.len() >= 4
    });
    let Some(fields) = found else { panic!("no user {wanted:?} on this machine: run contrib/test, which creates it") };
    let number = |text: &str| text.parse::<u32>().expect("a number in /etc/passwd");
    TestUser { name: fields[0].to_owned(), uid: number(fields[2]), gid: number(fields[3]) }
}

fn shared_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        // One directory for each test program; nothing runs at its end, so the next one removes it.
        for entry in fs::read_dir("/var/tmp").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ended = |pid: &str| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists();
            if name.strip_prefix("coracle-tests-").is_some_and(ended) {
                // Another test program may be removing it as well.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let dir = PathBuf::from(format!("/var/tmp/coracle-tests-{}", std::process::id()));
        fs::create_dir_all(dir.join("bin")).expect("the shared directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("its mode");
        fs::set_permissions(dir.join("bin"), fs::Permissions::from_mode(0o755)).expect("its mode");
        dir
    })
}

/// Copies by another process: a child that another test forks meanwhile would hold the copy open for writing (ETXTBSY).
fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().expect("cp").success(), "a copy of {from:?}");
}

/// The directory that holds the binary, to be put first in PATH.
pub fn bin_dir() -> PathBuf {
    binary().parent().expect("a directory").to_path_buf()
}

/// A copy of the binary under test where the unprivileged user can execute it (a checkout below /root is closed to it).
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = shared_dir().join("bin/coracle");
        // Another binary in its place (Buildah's own) judges the suite before the suite judges ours.
        let built = std::env::var_os("CORACLE_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into());
        copy_program(Path::new(&built), &path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        path
    })
}

/// A tar of a root file system made of the machine's static busybox.
pub fn busybox_tar() -> &'static Path {
    static TAR: OnceLock<PathBuf> = OnceLock::new();
    TAR.get_or_init(|| {
        let root = shared_dir().join("busybox");
        for dir in ["bin", "etc", "tmp", "root", "home/user"] {
            fs::create_dir_all(root.join(dir)).expect("a directory of the root file system");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        copy_program(Path::new(busybox.expect("busybox-static is installed")), &root.join("bin/busybox"));
        fs::set_permissions(root.join("bin/busybox"), fs::Permissions::from_mode(0o755)).expect("its mode");
        let list = Command::new(root.join("bin/busybox")).arg("--list").output().expect("the list of applets");
        for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).ok();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n")
            .expect("passwd");
        fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n").expect("group");
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("the mode of /tmp");
        let tar = shared_dir().join("busybox.tar");
        let status = Command::new("tar")
            .args(["--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "--numeric-owner", "-C"])
            .arg(&root)
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status()
            .expect("tar");
        assert!(status.success(), "tar of the busybox root");
        fs::set_permissions(&tar, fs::Permissions::from_mode(0o644)).expect("its mode");
        tar
    })
}
