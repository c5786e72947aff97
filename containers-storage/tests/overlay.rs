//! The overlay driver on real directories and mounts, as root and as an unprivileged user.

mod namespaces;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use containers_storage::LayerId;
use containers_storage::driver::overlay::{Config, Overlay};
use containers_storage::driver::{self, Access, GraphDriver, MountOptions};

fn overlay(home: &Path) -> Overlay {
    Overlay::open(Config { home: home.to_path_buf(), ..Config::default() }).unwrap()
}

fn layer(driver: &Overlay, parent: Option<&LayerId>) -> LayerId {
    let id = LayerId::random();
    driver.create(&id, parent).unwrap();
    id
}

fn put(driver: &Overlay, id: &LayerId, name: &str, text: &str) {
    let path = driver.diff_dir(id).unwrap().join(name);
    // A base layer's root is 0555, which binds a user outside of the namespace.
    fs::set_permissions(driver.diff_dir(id).unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn volatile() -> MountOptions {
    MountOptions { volatile: true, ..MountOptions::default() }
}

/// Everything about a tree that a probe might change.
fn snapshot(dir: &Path) -> Vec<(PathBuf, u32, i64, i64, i64, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let mut names = vec![0; 4096];
        let length = rustix::fs::llistxattr(&path, &mut names[..]).unwrap();
        names.truncate(length);
        if stat.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        seen.push((path, stat.mode(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec(), names));
    }
    seen.sort();
    seen
}

#[test]
fn a_layer_has_the_files_that_every_tool_expects() {
    let tmp = tempfile::tempdir().unwrap();
    let home = tmp.path().join("graph/overlay");
    let driver = overlay(&home);
    let base = layer(&driver, None);
    fs::set_permissions(home.join(&base).join("diff"), fs::Permissions::from_mode(0o1751)).unwrap();
    let middle = layer(&driver, Some(&base));
    let top = layer(&driver, Some(&middle));

    let read = |id: &LayerId, file: &str| fs::read_to_string(home.join(id).join(file)).unwrap();
    let link = |id: &LayerId| read(id, "link");
    assert_eq!(link(&base).len(), 26);
    assert_eq!(fs::read_link(home.join("l").join(link(&base))).unwrap(), Path::new("..").join(&base).join("diff"));
    assert_eq!(read(&top, "lower"), format!("l/{}:l/{}", link(&middle), link(&base)));
    assert_eq!(read(&top, "lower-layers"), format!("{middle}:{base}"));
    assert!(!home.join(&base).join("lower").exists() && !home.join(&base).join("lower-layers").exists());
    assert!(home.join(&base).join("empty").is_dir() && !home.join(&top).join("empty").exists());
    for (path, expected) in [
        (home.clone(), 0o755),
        (home.join("l"), 0o755),
        (home.join(&top), 0o700),
        (home.join(&top).join("work"), 0o700),
        (home.join(&top).join("merged"), 0o700),
        (home.join(&top).join("diff"), 0o1751),
        (home.join(&top).join("link"), 0o644),
    ] {
        assert_eq!(mode(&path), expected, "{path:?}");
    }
    assert_eq!(mode(&home.join(layer(&driver, None)).join("diff")), 0o555);
    assert_eq!(driver.chain(&top).unwrap(), [middle, base]);
    assert_eq!(fs::read_to_string(home.join(".has-mount-program")).unwrap(), "false");
}

#[test]
fn the_chain_of_an_old_parent_is_derived_from_its_links() {
    let tmp = tempfile::tempdir().unwrap();
    let driver = overlay(tmp.path());
    let base = layer(&driver, None);
    let middle = layer(&driver, Some(&base));
    let parent = layer(&driver, Some(&middle));
    let whole = format!("{parent}:{middle}:{base}");
    let file = tmp.path().join(&parent).join("lower-layers");
    fs::write(&file, middle.as_str()).unwrap();
    let child = layer(&driver, Some(&parent));
    assert_eq!(fs::read_to_string(tmp.path().join(&child).join("lower-layers")).unwrap(), whole, "shorter than `lower`");
    fs::remove_file(&file).unwrap();
    let child = layer(&driver, Some(&parent));
    assert_eq!(fs::read_to_string(tmp.path().join(&child).join("lower-layers")).unwrap(), whole, "absent");
    assert_eq!(driver.chain(&parent).unwrap(), [middle.clone(), base]);

    let link = fs::read_to_string(tmp.path().join(&middle).join("link")).unwrap();
    fs::remove_file(tmp.path().join("l").join(link)).unwrap();
    assert!(matches!(driver.create(&LayerId::random(), Some(&parent)), Err(driver::Error::Damaged { .. })));
}

#[test]
fn a_layer_leaves_by_rename_with_its_link_and_a_stale_one_makes_room() {
    let tmp = tempfile::tempdir().unwrap();
    let home = tmp.path().join("overlay");
    let driver = overlay(&home);
    let id = layer(&driver, None);
    put(&driver, &id, "a/b", "x");
    let old_link = fs::read_to_string(home.join(&id).join("link")).unwrap();
    driver.create(&id, None).unwrap();
    assert_eq!(fs::read_dir(home.join(&id).join("diff")).unwrap().count(), 0);
    assert!(!home.join("l").join(&old_link).is_symlink());
    assert_eq!(fs::read_dir(home.join("l")).unwrap().count(), 1);

    let tree = tmp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("f"), "x").unwrap();
    let adopted = LayerId::random();
    driver.adopt(&adopted, None, &tree, containers_storage::driver::Side::Images).unwrap();
    assert!(home.join(&adopted).join("diff/f").is_file() && !tree.exists());
    assert_eq!(mode(&home.join(&adopted).join("diff")), 0o555);

    let into = tmp.path().join("temp-dir");
    fs::create_dir(&into).unwrap();
    driver.detach(&id, &into).unwrap();
    driver.detach(&adopted, &into).unwrap();
    driver.detach(&LayerId::random(), &into).unwrap();
    assert!(!driver.exists(&id) && !driver.exists(&adopted));
    assert_eq!(fs::read_dir(home.join("l")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&into).unwrap().count(), 4);
}

#[test]
fn stores_with_another_format_are_refused_by_name() {
    let tmp = tempfile::tempdir().unwrap();
    let config = || Config { home: tmp.path().to_path_buf(), ..Config::default() };
    let refusal = |config: Config| Overlay::open(config).unwrap_err().to_string();
    assert!(refusal(Config { composefs: true, ..config() }).contains("composefs"));
    fs::write(tmp.path().join(".has-mount-program"), "true").unwrap();
    assert!(refusal(config()).contains("mount program"));
    assert!(Overlay::open(Config { mount_program: Some("/usr/bin/fuse-overlayfs".into()), ..config() }).is_ok());

    // A store that a mount program wrote goes on with the one that is there.
    let programs = tmp.path().join("bin");
    fs::create_dir(&programs).unwrap();
    let directories: &'static [&'static str] = vec![&*programs.to_str().unwrap().to_owned().leak()].leak();
    let searching = || Config { program_directories: directories, ..config() };
    assert!(refusal(searching()).contains("mount program"));
    fs::write(programs.join("fuse-overlayfs"), "").unwrap();
    assert!(refusal(searching()).contains("mount program"), "no program, if it cannot be executed");
    fs::set_permissions(programs.join("fuse-overlayfs"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Overlay::open(searching()).unwrap().is_served());
    fs::write(tmp.path().join(".has-mount-program"), "false").unwrap();
    assert!(!Overlay::open(searching()).unwrap().is_served());
    let driver = overlay(tmp.path());
    let base = layer(&driver, None);
    fs::create_dir(tmp.path().join(&base).join("composefs-data")).unwrap();
    let top = layer(&driver, Some(&base));
    assert!(driver.lower_dirs(&top).unwrap_err().to_string().contains("composefs"));
}

#[test]
fn a_mount_shows_lowers_and_writes_to_the_upper() {
    let Some(dir) = namespaces::inside("a_mount_shows_lowers_and_writes_to_the_upper") else { return };
    let driver = overlay(&dir.join("overlay"));
    let base = layer(&driver, None);
    put(&driver, &base, "d/low", "base");
    put(&driver, &base, "gone", "base");
    let middle = layer(&driver, Some(&base));
    put(&driver, &middle, "d/mid", "middle");
    let top = layer(&driver, Some(&middle));
    let merged = driver.mount(&top, &volatile()).unwrap();
    assert!(driver::is_mount_point(&merged));
    assert_eq!(fs::read_to_string(merged.join("d/low")).unwrap(), "base");
    assert_eq!(fs::read_to_string(merged.join("d/mid")).unwrap(), "middle");
    fs::write(merged.join("new"), "x").unwrap();
    fs::remove_file(merged.join("gone")).unwrap();
    driver.unmount(&top).unwrap();
    driver.unmount(&top).unwrap();
    assert!(!driver::is_mount_point(&merged));
    let diff = driver.diff_dir(&top).unwrap();
    assert!(diff.join("new").is_file());
    assert!(fs::symlink_metadata(diff.join("gone")).unwrap().file_type().is_char_device());

    // The work directory was used with `volatile`: it must be usable again, both ways.
    driver.mount(&top, &volatile()).unwrap();
    driver.unmount(&top).unwrap();
    let merged = driver.mount(&top, &MountOptions::default()).unwrap();
    assert!(!merged.join("gone").exists());
    driver.unmount(&top).unwrap();
}

#[test]
fn a_read_only_mount_has_no_upper() {
    let Some(dir) = namespaces::inside("a_read_only_mount_has_no_upper") else { return };
    let driver = overlay(&dir.join("overlay"));
    let base = layer(&driver, None);
    put(&driver, &base, "f", "base");
    let top = layer(&driver, Some(&base));
    put(&driver, &top, "g", "top");
    for id in [&base, &top] {
        let fd = driver.mount_detached(id, &MountOptions { access: Access::Read, ..MountOptions::default() }).unwrap();
        let root = containers_storage::Root::from(fd);
        assert_eq!(root.read_file(Path::new("f"), 10).unwrap(), b"base");
        let error = root.create_file(Path::new("new"), 0o600).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        assert!(!driver.in_use(id).unwrap(), "a read-only mount uses no upper");
    }
    assert!(!dir.join("overlay").join(&top).join("work/work").exists());
}

#[test]
fn two_hundred_lowers_are_mounted() {
    let Some(dir) = namespaces::inside("two_hundred_lowers_are_mounted") else { return };
    let driver = overlay(&dir.join("overlay"));
    let mut top = layer(&driver, None);
    put(&driver, &top, "f0", "0");
    for n in 1..=200 {
        top = layer(&driver, Some(&top));
        put(&driver, &top, &format!("f{n}"), &n.to_string());
    }
    let merged = driver.mount(&top, &volatile()).unwrap();
    for n in [0, 1, 100, 199, 200] {
        assert_eq!(fs::read_to_string(merged.join(format!("f{n}"))).unwrap(), n.to_string());
    }
    driver.unmount(&top).unwrap();
}

#[test]
fn a_long_home_with_odd_characters_is_mounted() {
    let Some(dir) = namespaces::inside("a_long_home_with_odd_characters_is_mounted") else { return };
    for name in ["a:b,c\\d e".to_owned(), "x".repeat(200)] {
        let driver = overlay(&dir.join(&name).join(&name).join("overlay"));
        let base = layer(&driver, None);
        put(&driver, &base, "f", "base");
        let top = layer(&driver, Some(&base));
        let merged = driver.mount(&top, &volatile()).unwrap();
        assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "base");
        assert!(driver.in_use(&top).unwrap());
        driver.unmount(&top).unwrap();
        assert!(!driver.in_use(&top).unwrap());
    }
}

#[test]
fn the_probe_finds_mounts_of_other_namespaces_and_leaves_no_trace() {
    let Some(dir) = namespaces::inside("the_probe_finds_mounts_of_other_namespaces_and_leaves_no_trace") else { return };
    let driver = overlay(&dir.join("overlay"));
    let base = layer(&driver, None);
    put(&driver, &base, "f", "base");
    let top = layer(&driver, Some(&base));
    let before = snapshot(&dir);
    assert!(!driver.in_use(&top).unwrap());
    assert_eq!(snapshot(&dir), before, "probing a layer that was never mounted");

    let merged = driver.mount(&top, &volatile()).unwrap();
    fs::write(merged.join("f"), "changed").unwrap();
    let before = snapshot(&driver.diff_dir(&top).unwrap());
    assert!(driver.in_use(&top).unwrap());
    let mut elsewhere = Command::new("unshare").args(["--mount", "sleep", "60"]).spawn().unwrap();
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    let theirs = format!("/proc/{}/ns/mnt", elsewhere.id());
    while fs::read_link(&theirs).is_ok_and(|ns| ns == own) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    driver.unmount(&top).unwrap();
    assert!(driver.in_use(&top).unwrap(), "still mounted in the other namespace");
    assert_eq!(snapshot(&driver.diff_dir(&top).unwrap()), before, "probing a layer in use");
    elsewhere.kill().unwrap();
    elsewhere.wait().unwrap();
    assert!(!driver.in_use(&top).unwrap(), "at once after its last process, though the namespace ends a moment later");
    assert_eq!(snapshot(&driver.diff_dir(&top).unwrap()), before, "probing a layer that was mounted once");
}

#[test]
fn mount_options_become_attributes_and_unknown_ones_name_the_kernels_reason() {
    let Some(dir) = namespaces::inside("mount_options_become_attributes_and_unknown_ones_name_the_kernels_reason") else {
        return;
    };
    let driver = overlay(&dir.join("overlay"));
    let top = layer(&driver, Some(&layer(&driver, None)));
    let with = |words: &[&str]| MountOptions {
        options: Some(words.iter().map(|word| (*word).to_owned()).collect()),
        ..MountOptions::default()
    };
    let merged = driver.mount(&top, &with(&["nodev", "noexec", "metacopy=on"])).unwrap();
    let info = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = info.lines().find(|line| line.contains(merged.to_str().unwrap())).unwrap();
    assert!(line.contains("nodev") && line.contains("noexec") && !line.contains("metacopy=on"), "{line}");
    assert_eq!(line.contains("userxattr"), namespaces::is_rootless(), "{line}");
    driver.unmount(&top).unwrap();
    let error = driver.mount(&top, &with(&["nonsense=1"])).unwrap_err().to_string();
    assert!(error.contains("nonsense"), "{error}");
    assert!(matches!(driver.mount(&top, &with(&["upperdir=/etc"])), Err(driver::Error::Unsupported { .. })));
}
