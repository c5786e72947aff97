//! A freeze that stops after each of its steps, as a kill would stop it, and the next process.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::conf::Conf;
use crate::store::{NewContainer, NewImage};
use crate::{Digest, ImageId};

struct World {
    _dir: tempfile::TempDir,
    conf: Conf,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let conf = Conf::at(&dir.path().join("g"), &dir.path().join("r"), id_map::is_rootless());
        Self { _dir: dir, conf }
    }

    /// A process of its own, as far as the store can tell.
    fn store(&self) -> Store {
        Store::open(self.conf.clone()).unwrap()
    }

    fn packed(&self) -> (Store, Container, InPlace) {
        let store = self.store();
        let new = NewContainer::default();
        let container = store.create_container(&new, &mut |_| Some("c".into()), &mut |_, _| Ok(())).unwrap();
        let diff = store.driver().unwrap().diff_dir(&container.layer).unwrap();
        fs::set_permissions(&diff, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(diff.join("file"), "data").unwrap();
        let frozen = in_place(&store, store.driver().unwrap(), &container, &Options::default()).unwrap();
        (store, container, frozen)
    }
}

fn image(layer: &LayerId) -> NewImage {
    let config = b"{}".to_vec();
    let digest = Digest::of(&config);
    NewImage {
        passing: false,
        holder: None,
        id: ImageId::of_config(&digest),
        digest: digest.clone(),
        layer: Some(layer.clone()),
        names: vec!["localhost/x:1".into()],
        metadata: "{}".into(),
        created: "2026-01-02T03:04:05Z".into(),
        big_data: vec![(digest.to_string(), config)],
    }
}

/// A freeze that ends after the steps `done`, as a kill would end it; with the name that the layer was to have.
fn killed_after(world: &World, done: impl FnOnce(&mut publish::Steps, &Store, &store::AllMut)) -> (Store, Container, LayerId) {
    let (store, container, frozen) = world.packed();
    let target = frozen.layer().clone();
    let mut all = store.lock_all().unwrap();
    let mut steps = publish::Steps::prepare(frozen, &store, &mut all, &image(&target)).unwrap();
    done(&mut steps, &store, &all);
    drop((all, steps));
    (store, container, target)
}

fn record_both(steps: &mut publish::Steps, store: &Store, all: &store::AllMut) {
    steps.record_layer(store).unwrap();
    steps.record_image(store, all).unwrap();
}

/// What the next process that changes something finds.
fn next(world: &World, container: &Container) -> (Store, bool, Layer) {
    let store = world.store();
    drop(store.lock_layers().unwrap());
    let kept = store.containers().unwrap().find(&container.id).unwrap().is_some();
    let layers = store.layers().unwrap().all().unwrap();
    let [layer] = layers.as_slice() else { panic!("one record is left in any case: {layers:?}") };
    assert!(!layer.flags.contains_key(FLAG), "the flag goes in any case");
    assert_eq!(kept, layer.id == container.layer);
    let driver = store.driver().unwrap();
    let diff = driver.diff_dir(&layer.id).unwrap();
    assert_eq!(fs::read_to_string(diff.join("file")).unwrap(), "data", "nothing is lost in any case");
    let dir = driver.home(crate::driver::Side::Images).join(&layer.id);
    let link = driver.home(crate::driver::Side::Images).join("l").join(fs::read_to_string(dir.join("link")).unwrap());
    assert_eq!(fs::read_link(link).unwrap(), Path::new("..").join(&layer.id).join("diff"));
    (store, kept, layer.clone())
}

fn assert_container_again(world: &World, container: &Container) {
    let (store, kept, layer) = next(world, container);
    assert!(kept && layer.diff_digest.is_none() && layer.diff_size == 0 && layer.uids.is_empty());
    assert!(
        fs::read_dir(store.layers_dir()).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".tar-split.gz"))
    );
    // And it can be frozen after all.
    let frozen = in_place(&store, store.driver().unwrap(), container, &Options::default()).unwrap();
    let layer = frozen.layer().clone();
    frozen.publish(&store, &image(&layer)).unwrap();
}

fn assert_image(world: &World, container: &Container) {
    let (store, kept, layer) = next(world, container);
    assert!(!kept && layer.diff_digest.is_some());
    let content_id = LayerId::of_image_layer(None, layer.diff_digest.as_ref().unwrap());
    assert_eq!(layer.id, content_id, "as every tool would name it");
    assert!(store.tar_split(&layer.id).exists());
    assert!(!store.container_dir(&container.id).exists());
    assert_eq!(store.images().unwrap().by_name("localhost/x:1").unwrap().unwrap().layer, Some(layer.id));
}

#[test]
fn dropped_before_it_is_published_it_leaves_the_container() {
    let world = World::new();
    let (store, container, frozen) = world.packed();
    drop((store, frozen));
    assert_container_again(&world, &container);
}

#[test]
fn killed_before_the_first_step_it_leaves_the_container() {
    let world = World::new();
    let (_, container, _) = killed_after(&world, |_, _, _| ());
    assert_container_again(&world, &container);
}

#[test]
fn killed_after_the_layer_was_recorded_it_is_rolled_back() {
    let world = World::new();
    let (store, container, target) = killed_after(&world, |steps, store, _| steps.record_layer(store).unwrap());
    assert!(store.tar_split(&target).exists());
    assert_container_again(&world, &container);
}

#[test]
fn killed_after_the_image_was_recorded_it_is_rolled_forward() {
    let world = World::new();
    let (_, container, _) = killed_after(&world, record_both);
    assert_image(&world, &container);
}

#[test]
fn a_container_that_a_killed_freeze_was_to_remove_can_be_removed() {
    let world = World::new();
    let (store, container, _) = killed_after(&world, record_both);
    assert!(store.delete_container(&container.id).unwrap().finish().unwrap());
    assert_image(&world, &container);
    // The second removal is nobody's any more.
    assert!(matches!(store.delete_container(&container.id), Err(store::Error::NoContainer(_))));
}

#[test]
fn killed_after_the_container_went_it_is_rolled_forward() {
    let world = World::new();
    let (_, container, _) = killed_after(&world, |steps, store, all| {
        record_both(steps, store, all);
        steps.release_container(store).unwrap();
    });
    assert_image(&world, &container);
}

#[test]
fn published_whole_there_is_nothing_to_recover() {
    let world = World::new();
    let (store, container, frozen) = world.packed();
    frozen.publish(&store, &image(&container.layer)).unwrap();
    assert_image(&world, &container);
}

#[test]
fn an_image_that_cannot_be_recorded_leaves_the_container() {
    let world = World::new();
    let (store, container, frozen) = world.packed();
    let base = store.put_image(&NewImage { layer: None, ..image(&container.layer) });
    base.unwrap();
    assert!(matches!(frozen.publish(&store, &image(&container.layer)), Err(Error::Store(store::Error::ImageConflict(_)))));
    let (_, kept, layer) = next(&world, &container);
    assert!(kept && layer.diff_digest.is_none());
}

#[test]
fn a_container_that_went_meanwhile_is_not_frozen() {
    let world = World::new();
    let (store, container, frozen) = world.packed();
    store.delete_container(&container.id).unwrap().finish().unwrap();
    assert!(frozen.publish(&store, &image(&container.layer)).is_err());
    assert!(store.images().unwrap().all().unwrap().is_empty());
    assert!(store.layers().unwrap().all().unwrap().is_empty());
}

#[test]
fn a_layer_with_children_or_digests_is_unfit() {
    let world = World::new();
    let (store, container, _) = world.packed();
    let again = || in_place(&store, store.driver().unwrap(), &container, &Options::default());
    let new = NewContainer { parent: Some(container.layer.clone()), ..NewContainer::default() };
    let child = store.create_container(&new, &mut |_| Some("d".into()), &mut |_, _| Ok(())).unwrap();
    assert!(matches!(again(), Err(Error::Unfit { .. })));
    store.delete_container(&child.id).unwrap().finish().unwrap();
    let mut all = store.lock_all().unwrap();
    all.layers.update(&container.layer, |layer| layer.diff_digest = Some(Digest::of(b""))).unwrap();
    all.layers.prepare().unwrap().finish().unwrap();
    drop(all);
    assert!(matches!(again(), Err(Error::Unfit { .. })));
}

/// Whichever way an image comes into the store, nobody can delete it once it can be seen.
#[test]
fn an_image_is_held_from_the_moment_that_it_is_there() {
    let world = World::new();
    let (store, _, frozen) = world.packed();
    let new = NewContainer::default();
    let make = |name: &str| store.create_container(&new, &mut |_| Some(name.into()), &mut |_, _| Ok(())).unwrap();
    let (holder, same) = (make("holder").id, make("same"));
    let held_by = |id: &ImageId| match store.delete_image(id) {
        Err(store::Error::InUse { users, .. }) => users,
        other => panic!("{other:?}"),
    };
    let held = NewImage { names: Vec::new(), holder: Some(holder.clone()), ..image(frozen.layer()) };
    let first = frozen.publish(&store, &held).unwrap();
    assert_eq!(held_by(&first.id), [holder.to_string()]);

    let config = br#"{"a":1}"#.to_vec();
    let digest = Digest::of(&config);
    let second = NewImage {
        id: ImageId::of_config(&digest),
        big_data: vec![(digest.to_string(), config)],
        layer: first.layer.clone(),
        ..held.clone()
    };
    store.put_image(&second).unwrap();
    assert_eq!(held_by(&second.id), [holder.to_string()], "the holder stands on one");
    store.delete_image(&first.id).unwrap().finish().unwrap();

    // A layer of equal content that another commit has published already.
    let diff = store.driver().unwrap().diff_dir(&same.layer).unwrap();
    fs::set_permissions(&diff, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(diff.join("file"), "data").unwrap();
    let file = first.layer.clone().unwrap();
    let original = store.driver().unwrap().diff_dir(&file).unwrap().join("file");
    let times = fs::metadata(original).unwrap().modified().unwrap();
    let set = fs::File::options().write(true).open(diff.join("file")).unwrap();
    set.set_times(fs::FileTimes::new().set_modified(times)).unwrap();
    let frozen = in_place(&store, store.driver().unwrap(), &same, &Options::default()).unwrap();
    let again = frozen.publish(&store, &held).unwrap();
    assert_eq!((held_by(&again.id), again.layer), (vec![holder.to_string()], Some(file)));

    store.hold_image(&holder, &second.id).unwrap();
    assert_eq!(held_by(&second.id), [holder.to_string()]);
    store.delete_image(&again.id).unwrap().finish().unwrap();
    assert!(matches!(store.hold_image(&holder, &again.id), Err(store::Error::NoImage(_))));
    // One that somebody has removed is no reason to fail.
    store.delete_container(&holder).unwrap().finish().unwrap();
    store.put_image(&held.clone()).unwrap();
    store.delete_image(&held.id).unwrap().finish().unwrap();
}
