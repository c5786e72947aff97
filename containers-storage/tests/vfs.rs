//! The vfs driver under a store: whole trees, what tells a change, and freezing them.

mod fixture;
mod tarsmith;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use containers_storage::archive::unpack::Unmapped;
use containers_storage::changes;
use containers_storage::check::{self, Depth};
use containers_storage::conf::{Conf, DriverKind};
use containers_storage::containers::Container;
use containers_storage::freeze;
use containers_storage::layers::Layer;
use containers_storage::store::{NewContainer, Store};
use containers_storage::{Digest, LayerId};
use fixture::{World, as_user, new_image};
use tarsmith::Tar;

fn store(world: &World) -> Store {
    Store::open(Conf { driver: DriverKind::Vfs, ..world.conf() }).unwrap()
}

fn put(store: &Store, parent: Option<&Layer>, tar: &[u8]) -> Layer {
    let mut staged = store.stage_layer().unwrap();
    let content = staged.unpack(&mut &tar[..], Unmapped::Ignore).unwrap();
    assert_eq!(content.diff_digest, Digest::of(tar));
    store.put_layer(staged, parent.map(|parent| &parent.id), &content).unwrap()
}

fn container(store: &Store, parent: &Layer) -> Container {
    let new = NewContainer { parent: Some(parent.id.clone()), ..NewContainer::default() };
    let mut n = 0;
    let mut name = |_| {
        n += 1;
        Some(format!("c{n}"))
    };
    store.create_container(&new, &mut name, &mut |_, _| Ok(())).unwrap()
}

fn tree(store: &Store, layer: &LayerId) -> PathBuf {
    store.driver().unwrap().diff_dir(layer).unwrap()
}

/// Every path of a tree but the root, with its text.
fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                found.push(format!("{name}/"));
                todo.push(path);
            } else {
                found.push(format!("{name}={}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn changed(store: &Store, container: &Container) -> Vec<String> {
    let layer = store.layers().unwrap().get(&container.layer).unwrap();
    let changes = changes::of_layer(store.driver().unwrap(), &layer).unwrap();
    changes.iter().map(|change| format!("{:?} {}", change.kind, change.path.display())).collect()
}

fn writable(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_layer_holds_what_its_archive_says_over_its_parent() {
    as_user("a_layer_holds_what_its_archive_says_over_its_parent", |world| {
        let store = store(world);
        let base = Tar::new()
            .dir("d")
            .file("d/kept", b"1")
            .file("d/gone", b"1")
            .dir("hidden")
            .file("hidden/old", b"1")
            .file("f", b"1")
            .end();
        let base = put(&store, None, &base);
        let top = Tar::new()
            .dir("d")
            .file("d/.wh.gone", b"")
            .dir("hidden")
            .file("hidden/.wh..wh..opq", b"")
            .file("hidden/new", b"2")
            .file("f", b"22")
            .end();
        let top = put(&store, Some(&base), &top);
        assert_eq!(listing(&tree(&store, &base.id)), ["d/", "d/gone=1", "d/kept=1", "f=1", "hidden/", "hidden/old=1"]);
        assert_eq!(listing(&tree(&store, &top.id)), ["d/", "d/kept=1", "f=22", "hidden/", "hidden/new=2"]);
        store.put_image(&new_image(&[base, top], "a", &["localhost/a:1"])).unwrap();
        let report = check::check(&store, Depth::Content).unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    });
}

#[test]
fn a_file_whose_time_was_set_back_and_directories_that_were_swapped_are_changes() {
    as_user("a_file_whose_time_was_set_back_and_directories_that_were_swapped_are_changes", |world| {
        let store = store(world);
        let base = Tar::new()
            .dir("one")
            .file("one/f", b"1111")
            .dir("two")
            .file("two/f", b"2222")
            .dir("s")
            .file("s/same", b"aaaa")
            .end();
        let base = put(&store, None, &base);
        // Older than any lag of the clock, so that the copies count as such.
        let made = container(&store, &base);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(changed(&store, &made).is_empty());

        let root = tree(&store, &made.layer);
        writable(&root);
        let file = root.join("s/same");
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "bbbb").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        fs::rename(root.join("one"), root.join("x")).unwrap();
        fs::rename(root.join("two"), root.join("one")).unwrap();
        fs::rename(root.join("x"), root.join("two")).unwrap();
        assert_eq!(changed(&store, &made), ["Changed /one/f", "Changed /s/same", "Changed /two/f"]);
    });
}

#[test]
fn a_copy_and_a_frozen_layer_hold_the_same_and_share_no_file_with_the_container() {
    as_user("a_copy_and_a_frozen_layer_hold_the_same_and_share_no_file_with_the_container", |world| {
        let store = store(world);
        let base = Tar::new().dir("d").file("d/kept", b"1").file("d/gone", b"1").file("f", b"1").end();
        let base = put(&store, None, &base);
        let made = container(&store, &base);
        let root = tree(&store, &made.layer);
        assert_ne!(fs::metadata(root.join("f")).unwrap().ino(), fs::metadata(tree(&store, &base.id).join("f")).unwrap().ino());
        writable(&root);
        fs::remove_file(root.join("d/gone")).unwrap();
        fs::create_dir(root.join("n")).unwrap();
        fs::write(root.join("n/new"), "2").unwrap();

        let driver = store.driver().unwrap();
        let copied = freeze::copy(&store, driver, &made, &freeze::Options::default()).unwrap();
        let expected = ["d/", "d/kept=1", "f=1", "n/", "n/new=2"];
        assert_eq!(listing(&tree(&store, &copied.id)), expected);
        fs::write(root.join("n/new"), "3").unwrap();
        assert_eq!(listing(&tree(&store, &copied.id)), expected, "the container goes on by itself");
        fs::write(root.join("n/new"), "2").unwrap();

        let frozen = freeze::in_place(&store, driver, &made, &freeze::Options::default()).unwrap();
        let image = new_image(&[base.clone(), copied], "a", &["localhost/a:1"]);
        let layer = frozen.layer().clone();
        frozen.publish(&store, &image).unwrap();
        assert_eq!(listing(&tree(&store, &layer)), expected);
        assert!(store.containers().unwrap().all().unwrap().is_empty());
        let report = check::check(&store, Depth::Content).unwrap();
        assert!(report.is_sound(), "{:#?}", report.findings);
    });
}

#[test]
fn a_container_on_a_parent_that_went_is_refused_and_leaves_nothing() {
    as_user("a_container_on_a_parent_that_went_is_refused_and_leaves_nothing", |world| {
        let store = store(world);
        let new = NewContainer { parent: Some(LayerId::random()), ..NewContainer::default() };
        let error = store.create_container(&new, &mut |_| Some("c".into()), &mut |_, _| Ok(())).unwrap_err();
        assert!(error.to_string().contains("no directory"), "{error}");
        assert_eq!(fs::read_dir(world.graph_root().join("vfs/tempdirs")).unwrap().count(), 0);
        assert!(check::check(&store, Depth::Structure).unwrap().findings.is_empty());
    });
}
