//! What a layer changed, after real work in a real mount.

mod namespaces;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use containers_storage::LayerId;
use containers_storage::changes::{self, Change};
use containers_storage::driver::overlay::{Config, Overlay};
use containers_storage::driver::{GraphDriver, MountOptions};
use containers_storage::layers::Layer;

fn lines(changes: &[Change]) -> Vec<String> {
    let line = |change: &Change| {
        let old = change.old_size.map_or(String::new(), |size| format!(" was {size}"));
        format!("{:?} {} {:?} {}{old}", change.kind, change.path.display(), change.file_type, change.size)
    };
    changes.iter().map(line).collect()
}

/// Makes a layer on `parent` by working in its mount.
fn worked(driver: &Overlay, parent: Option<&Layer>, work: impl FnOnce(&Path)) -> Layer {
    let parent = parent.map(|parent| &parent.id);
    let id = LayerId::random();
    driver.create(&id, parent).unwrap();
    let merged = driver.mount(&id, &MountOptions { volatile: true, ..MountOptions::default() }).unwrap();
    work(&merged);
    driver.unmount(&id).unwrap();
    Layer::new(id, parent.cloned())
}

#[test]
fn additions_changes_and_deletions_are_told_apart() {
    let Some(dir) = namespaces::inside("additions_changes_and_deletions_are_told_apart") else { return };
    let driver = Overlay::open(Config { home: dir.join("overlay"), ..Config::default() }).unwrap();
    let base = worked(&driver, None, |root| {
        for dir in ["keep/deep", "gone/sub", "remade/old", "remade/both", "back"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for file in ["keep/f", "keep/deep/f", "keep/mode", "gone/sub/f", "remade/old/f", "remade/both/f", "back/f", "file"] {
            fs::write(root.join(file), "1234").unwrap();
        }
        symlink("a", root.join("link")).unwrap();
        fs::write(root.join("same-time"), "aaaa").unwrap();
    });
    let middle = worked(&driver, Some(&base), |root| {
        fs::remove_dir_all(root.join("back")).unwrap();
        fs::write(root.join("middle"), "12").unwrap();
    });
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let top = worked(&driver, Some(&middle), |root| {
        fs::write(root.join("keep/f"), "123456").unwrap();
        fs::set_permissions(root.join("keep/mode"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_dir_all(root.join("gone")).unwrap();
        fs::remove_dir_all(root.join("remade")).unwrap();
        fs::create_dir_all(root.join("remade/both")).unwrap();
        fs::write(root.join("remade/new"), "1").unwrap();
        fs::create_dir(root.join("back")).unwrap();
        fs::remove_file(root.join("link")).unwrap();
        symlink("b", root.join("link")).unwrap();
        fs::remove_file(root.join("file")).unwrap();
        fs::create_dir(root.join("file")).unwrap();
        let before = time(&root.join("same-time"));
        fs::write(root.join("same-time"), "bbbb").unwrap();
        fs::File::options().write(true).open(root.join("same-time")).unwrap().set_modified(before).unwrap();
        // Opened for writing, copied up, not changed.
        drop(fs::File::options().append(true).open(root.join("keep/deep/f")).unwrap());
    });
    assert_eq!(
        lines(&changes::of_layer(&driver, &top).unwrap()),
        [
            "Added /back Directory 0",
            "Changed /file Directory 0 was 4",
            "Deleted /gone Directory 0",
            "Changed /keep/f File 6 was 4",
            "Changed /keep/mode File 4 was 4",
            "Changed /link Symlink 0",
            "Deleted /remade/both/f File 0 was 4",
            "Added /remade/new File 1",
            "Deleted /remade/old Directory 0",
            "Changed /same-time File 4 was 4",
        ]
    );
    assert_eq!(lines(&changes::of_layer(&driver, &middle).unwrap()), ["Deleted /back Directory 0", "Added /middle File 2"]);
    let untouched = worked(&driver, Some(&top), |_| {});
    assert!(changes::of_layer(&driver, &untouched).unwrap().is_empty());
    assert!(changes::of_layer(&driver, &base).unwrap().iter().all(|change| change.kind == changes::Kind::Added));
}
