//! Tables of known attack A15 (the resolver's corner cases), each by `openat2` and by the walk, and A16/A140 for removal.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// The two roots that must answer alike: one by `openat2`, one by the walk.
fn both(path: &Path) -> [Root; 2] {
    let kernel = Root::open(path).unwrap();
    let mut walk = Root::open(path).unwrap();
    walk.walk_only = true;
    [kernel, walk]
}

/// What a look-up says: the inode, or the errno.
fn answer(result: io::Result<OwnedFd>) -> Result<u64, i32> {
    match result {
        Ok(fd) => Ok(rustix::fs::fstat(fd).unwrap().st_ino),
        Err(error) => Err(error.raw_os_error().unwrap_or(0)),
    }
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// `dir/{file,sub/}`, links in and out, a chain `c0 -> c1 -> … -> c41 -> dir/file`.
fn fixture() -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path().join("root");
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    fs::write(root.join("dir/file"), "x").unwrap();
    fs::write(tmp.path().join("secret"), "s").unwrap();
    symlink("dir/file", root.join("to-file")).unwrap();
    symlink("/dir", root.join("to-dir")).unwrap();
    symlink("dir/", root.join("to-dir-slash")).unwrap();
    symlink("dir/file/", root.join("to-file-slash")).unwrap();
    symlink("../../../secret", root.join("out")).unwrap();
    symlink(tmp.path().join("secret"), root.join("out-absolute")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("loop-b", root.join("loop-a")).unwrap();
    symlink("loop-a", root.join("loop-b")).unwrap();
    for n in 0..41 {
        symlink(format!("c{}", n + 1), root.join(format!("c{n}"))).unwrap();
    }
    symlink("dir/file", root.join("c41")).unwrap();
    tmp
}

#[test]
fn kernel_and_walk_give_the_same_answers_and_never_leave_the_root() {
    let tmp = fixture();
    let base = tmp.path().join("root");
    let (dir, file, sub) = (inode(&base.join("dir")), inode(&base.join("dir/file")), inode(&base.join("dir/sub")));
    let top = inode(&base);
    let (noent, notdir, eloop) = (Errno::NOENT.raw_os_error(), Errno::NOTDIR.raw_os_error(), Errno::LOOP.raw_os_error());
    let long = format!("{}dir", "./".repeat(3000));
    let cases: Vec<(&str, Result<u64, i32>)> = vec![
        ("", Ok(top)),
        (".", Ok(top)),
        ("/", Ok(top)),
        ("..", Ok(top)),
        ("../..", Ok(top)),
        ("dir", Ok(dir)),
        ("dir/", Ok(dir)),
        ("dir/.", Ok(dir)),
        ("dir//", Ok(dir)),
        ("//dir", Ok(dir)),
        ("dir/..", Ok(top)),
        ("dir/sub/..", Ok(dir)),
        ("dir/sub/../../..", Ok(top)),
        ("dir/../dir/./sub", Ok(sub)),
        ("dir/file", Ok(file)),
        ("dir/file/", Err(notdir)),
        ("dir/file/.", Err(notdir)),
        ("dir/file/..", Err(notdir)),
        ("dir/nope/..", Err(noent)),
        ("to-file", Ok(file)),
        ("to-file/", Err(notdir)),
        ("to-file-slash", Err(notdir)),
        ("to-dir", Ok(dir)),
        ("to-dir/", Ok(dir)),
        ("to-dir/sub", Ok(sub)),
        ("to-dir/..", Ok(top)),
        ("to-dir-slash", Ok(dir)),
        ("out", Err(noent)),
        ("out-absolute", Err(noent)),
        ("dangling", Err(noent)),
        ("loop-a", Err(eloop)),
        ("c2", Ok(file)),
        ("c1", Err(eloop)),
        ("c0", Err(eloop)),
        (&long, Err(Errno::NAMETOOLONG.raw_os_error())),
    ];
    for (path, expected) in cases {
        for root in both(&base) {
            let got = answer(root.resolve(Path::new(path)));
            assert_eq!(got, expected, "{path:?}, walk: {}", root.walk_only);
        }
    }
}

#[test]
fn the_last_component_is_never_followed_when_asked_for_itself() {
    let tmp = fixture();
    let base = tmp.path().join("root");
    let link = inode(&base.join("to-dir"));
    for root in both(&base) {
        for path in ["to-dir", "to-dir/", "to-dir/.", "to-dir//"] {
            assert_eq!(answer(root.resolve_nofollow(Path::new(path))), Ok(link), "{path:?}");
            assert_eq!(root.symlink_metadata(Path::new(path)).unwrap().st_ino, link, "{path:?}");
        }
        for path in ["", "/", "..", "dir/.."] {
            assert!(root.resolve_nofollow(Path::new(path)).is_err(), "{path:?}");
        }
    }
}

#[test]
fn magic_links_of_proc_are_refused_and_plain_ones_followed() {
    let file = File::open("/dev/null").unwrap();
    let magic = format!("{}/fd/{}", std::process::id(), file.as_raw_fd());
    for root in both(Path::new("/proc")) {
        assert_eq!(answer(root.resolve(Path::new(&magic))), Err(Errno::LOOP.raw_os_error()), "walk: {}", root.walk_only);
        assert_eq!(answer(root.resolve(Path::new("self/exe"))), Err(Errno::LOOP.raw_os_error()), "walk: {}", root.walk_only);
        assert!(root.resolve(Path::new("self/status")).is_ok(), "walk: {}", root.walk_only);
    }
}

#[test]
fn a_directory_swapped_for_a_link_never_leads_out() {
    let tmp = tempfile::tempdir().unwrap();
    let base = tmp.path().join("root");
    fs::create_dir_all(base.join("d")).unwrap();
    fs::create_dir(tmp.path().join("outside")).unwrap();
    fs::write(tmp.path().join("outside/secret"), "s").unwrap();
    symlink(tmp.path().join("outside"), base.join("l")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, base.join("d"), CWD, base.join("l"), exchange).unwrap();
            }
        });
        for root in both(&base) {
            for _ in 0..3000 {
                assert!(root.resolve(Path::new("d/secret")).is_err());
                assert!(root.resolve(Path::new("d/../d/../../outside/secret")).is_err());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn creating_a_file_neither_follows_nor_truncates() {
    let tmp = fixture();
    let base = tmp.path().join("root");
    for root in both(&base) {
        for taken in ["dir/file", "dangling", "to-file", "out"] {
            let error = root.create_file(Path::new(taken), 0o644).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{taken}");
        }
        root.create_file(Path::new("to-dir/new"), 0o600).unwrap();
        assert_eq!(fs::metadata(base.join("dir/new")).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(base.join("dir/new")).unwrap();
    }
    assert!(!base.join("nowhere").exists());
}

#[test]
fn a_listing_is_sorted_and_typed() {
    let tmp = fixture();
    let root = Root::open(&tmp.path().join("root")).unwrap();
    let entries = root.read_dir(Path::new("to-dir")).unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.name.to_str().unwrap(), entry.kind)).collect();
    assert_eq!(seen, [("file", Some(EntryKind::File)), ("sub", Some(EntryKind::Directory))]);
    assert!(root.read_dir(Path::new("dir/file")).is_err());
}

#[test]
fn mkdir_all_makes_what_is_missing_and_goes_through_no_file_and_in_no_circle() {
    let tmp = fixture();
    let base = tmp.path().join("root");
    for (n, root) in both(&base).into_iter().enumerate() {
        let mut made = Vec::new();
        let path = format!("to-dir/a{n}/../a{n}/b");
        root.mkdir_all(Path::new(&path), |_, path| {
            made.push(path.to_path_buf());
            Ok(())
        })
        .unwrap();
        assert!(base.join(format!("dir/a{n}/b")).is_dir());
        assert_eq!(made.len(), 2);
        for (path, errno) in [("dir/file/x", Errno::NOTDIR), ("loop-a/x", Errno::LOOP), ("to-file/x", Errno::NOTDIR)] {
            let error = root.mkdir_all(Path::new(path), |_, _| Ok(())).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{path}");
        }
    }
}

#[test]
fn mkdir_all_makes_what_a_link_to_nothing_names_within_the_root() {
    for number in 0..2 {
        let tmp = fixture();
        let base = tmp.path().join("root");
        let root = &both(&base)[number];
        let outside = tmp.path().join("outside").display().to_string();
        let links = [
            ("up", "../../../../above/there", "above/there"),
            ("absolute", outside.as_str(), &outside[1..]),
            ("dir/relative", "sub/../other/./deep/", "dir/other/deep"),
            ("two", "dir/three", "dir/four"),
        ];
        symlink("/to-dir/four", base.join("dir/three")).unwrap();
        for (link, text, leads_to) in links {
            symlink(text, base.join(link)).unwrap();
            let mut made = Vec::new();
            let handle = root.mkdir_all(&Path::new(link).join("below"), |_, path| {
                made.push(path.to_path_buf());
                Ok(())
            });
            let found = inode(&base.join(leads_to).join("below"));
            assert_eq!(answer(handle), Ok(found), "{link}");
            assert!(!made.is_empty() && made.iter().all(|path| root.subdir(path).is_ok()), "{link}: {made:?}");
        }
        assert!(!tmp.path().join("outside").exists() && !tmp.path().join("above").exists());
    }
}

#[test]
fn removal_takes_links_not_what_they_name() {
    let tmp = fixture();
    let root = Root::open(tmp.path()).unwrap();
    symlink(tmp.path().join("secret"), tmp.path().join("root/dir/sub/link")).unwrap();
    root.remove_all(Path::new("root/to-dir")).unwrap();
    assert!(tmp.path().join("root/dir").is_dir());
    root.remove_all(Path::new("root")).unwrap();
    root.remove_all(Path::new("root")).unwrap();
    assert!(!tmp.path().join("root").exists());
    assert_eq!(fs::read_to_string(tmp.path().join("secret")).unwrap(), "s");
}

#[test]
fn removal_opens_up_directories_that_forbid_it() {
    let tmp = tempfile::tempdir().unwrap();
    let closed = tmp.path().join("t/closed");
    fs::create_dir_all(closed.join("inner")).unwrap();
    fs::write(closed.join("inner/file"), "").unwrap();
    for (path, mode) in [(closed.join("inner"), 0o000), (closed, 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    Root::open(tmp.path()).unwrap().remove_all(Path::new("t")).unwrap();
    assert!(!tmp.path().join("t").exists());
}

#[test]
fn a_tree_20000_deep_is_removed() {
    let tmp = tempfile::tempdir().unwrap();
    let mut dir = Root::open(tmp.path()).unwrap().resolve(Path::new(".")).unwrap();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..20_000 {
        rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, "d", flags, Mode::empty()).unwrap();
    }
    drop(dir);
    Root::open(tmp.path()).unwrap().remove_all(Path::new("d")).unwrap();
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn removal_under_swapped_links_spares_what_is_outside() {
    let tmp = tempfile::tempdir().unwrap();
    let canary = tmp.path().join("canary");
    fs::create_dir(&canary).unwrap();
    let base = tmp.path().join("base");
    fs::create_dir(&base).unwrap();
    let root = Root::open(&base).unwrap();
    for _ in 0..150 {
        for n in 0..20 {
            fs::create_dir_all(base.join(format!("t/d{n}/e"))).unwrap();
            fs::write(base.join(format!("t/d{n}/e/f")), "").unwrap();
        }
        fs::write(canary.join("f"), "keep").unwrap();
        symlink(&canary, base.join("link")).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in (0..20).cycle().take(200) {
                    let exchange = rustix::fs::RenameFlags::EXCHANGE;
                    let _ = rustix::fs::renameat_with(CWD, base.join(format!("t/d{n}/e")), CWD, base.join("link"), exchange);
                }
            });
            // Against somebody who moves things all the time it may give up; it may not go astray.
            let _ = root.remove_all(Path::new("t"));
        });
        root.remove_all(Path::new("t")).unwrap();
        root.remove_all(Path::new("link")).unwrap();
        assert_eq!(fs::read_to_string(canary.join("f")).unwrap(), "keep");
    }
}
