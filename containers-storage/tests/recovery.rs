//! What killed operations leave, made by hand state by state, and what the next change of the store makes of it.

mod fixture;

use std::fs;
use std::path::Path;

use containers_storage::check::{self, Depth};
use containers_storage::containers::Container;
use containers_storage::layers::Layer;
use containers_storage::store::{NewContainer, Store};
use containers_storage::{ImageId, LayerId};
use fixture::{as_user, new_image, put_layer};

struct Objects {
    base: Layer,
    top: Layer,
    image: ImageId,
    container: Container,
}

fn objects(store: &Store) -> Objects {
    let base = put_layer(store, None, &[("base", "1")]);
    let top = put_layer(store, Some(&base.id), &[("top", "1")]);
    let image = store.put_image(&new_image(&[base.clone(), top.clone()], "a", &["localhost/a:1"])).unwrap().id;
    let new = NewContainer { image: Some(image.clone()), parent: Some(top.id.clone()), ..NewContainer::default() };
    let container = store.create_container(&new, &mut |_| Some("web".into()), &mut |_, _| Ok(())).unwrap();
    Objects { base, top, image, container }
}

/// Leaves a note as a killed process would.
fn note(store: &Store, text: &str) {
    let dir = store.private_dir().join("pending");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("0123456789ab"), text).unwrap();
}

/// Takes the record with this ID out of a table, and nothing else.
fn forget(table: &Path, id: &str) {
    let records: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string(table).unwrap()).unwrap();
    let kept: Vec<_> = records.iter().filter(|record| record["id"] != id).collect();
    assert_eq!(kept.len() + 1, records.len());
    fs::write(table, serde_json::to_string(&kept).unwrap()).unwrap();
}

/// Any change does; this one leaves nothing.
fn next_change(store: &Store) {
    let made = store.create_container(&NewContainer::default(), &mut |_| Some("next".into()), &mut |_, _| Ok(())).unwrap();
    assert!(store.delete_container(&made.id).unwrap().finish().unwrap());
    let report = check::check(store, Depth::Content).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

fn layer_ids(store: &Store) -> Vec<LayerId> {
    store.layers().unwrap().all().unwrap().into_iter().map(|layer| layer.id).collect()
}

#[test]
fn an_operation_that_had_not_begun_or_had_ended_changes_nothing() {
    as_user("an_operation_that_had_not_begun_or_had_ended_changes_nothing", |world| {
        let store = world.store();
        let o = objects(&store);
        let before = layer_ids(&store);
        let own = format!("container {}\nlayer {}\n", o.container.id, o.container.layer);
        for text in [
            own,
            format!("image {}\nlayer {}\nlayer {}\n", o.image, o.top.id, o.base.id),
            format!("layer {}\n", o.top.id),
            String::new(),
        ] {
            note(&store, &text);
            next_change(&store);
            assert_eq!(layer_ids(&store), before, "{text}");
            assert!(store.driver().unwrap().exists(&o.container.layer));
            assert_eq!(store.container("web").unwrap(), o.container);
        }
    });
}

#[test]
fn a_container_whose_record_is_gone_takes_its_layer_along() {
    as_user("a_container_whose_record_is_gone_takes_its_layer_along", |world| {
        let store = world.store();
        let o = objects(&store);
        note(&store, &format!("container {}\nlayer {}\n", o.container.id, o.container.layer));
        forget(&store.containers_dir().join("containers.json"), o.container.id.as_str());
        next_change(&store);
        assert_eq!(layer_ids(&store), [o.base.id, o.top.id]);
        assert!(!store.driver().unwrap().exists(&o.container.layer));
        assert!(!store.container_dir(&o.container.id).exists());
    });
}

#[test]
fn a_container_that_was_being_made_leaves_no_directory() {
    as_user("a_container_that_was_being_made_leaves_no_directory", |world| {
        let store = world.store();
        let o = objects(&store);
        note(&store, &format!("container {}\nlayer {}\n", o.container.id, o.container.layer));
        forget(&store.containers_dir().join("containers.json"), o.container.id.as_str());
        forget(&store.layers_dir().join("layers.json"), o.container.layer.as_str());
        next_change(&store);
        assert!(!store.driver().unwrap().exists(&o.container.layer));
        assert!(!store.container_dir(&o.container.id).exists());
    });
}

#[test]
fn layers_of_a_half_deleted_image_stay_where_others_use_them() {
    as_user("layers_of_a_half_deleted_image_stay_where_others_use_them", |world| {
        let store = world.store();
        let o = objects(&store);
        let other = store.put_image(&new_image(std::slice::from_ref(&o.base), "b", &["localhost/b:1"])).unwrap();
        assert!(store.delete_container(&o.container.id).unwrap().finish().unwrap());
        note(&store, &format!("image {}\nlayer {}\nlayer {}\n", o.image, o.top.id, o.base.id));
        forget(&store.images_dir().join("images.json"), o.image.as_str());
        next_change(&store);
        assert_eq!(layer_ids(&store), [o.base.id]);
        assert!(!store.images_dir().join(&o.image).exists());
        assert!(store.images().unwrap().find(&other.id).unwrap().is_some());
    });
}

#[test]
fn a_note_that_someone_else_wrote_is_no_order() {
    as_user("a_note_that_someone_else_wrote_is_no_order", |world| {
        let store = world.store();
        let o = objects(&store);
        // The container uses its layer, the image its top layer: a lying note cannot take them.
        let nobody = "0".repeat(64);
        note(&store, &format!("container {nobody}\nlayer {}\nlayer {}\nlayer ../../etc\n", o.container.layer, o.top.id));
        next_change(&store);
        assert_eq!(layer_ids(&store), [o.base.id, o.top.id, o.container.layer]);
    });
}

#[test]
fn an_image_that_is_put_takes_the_dead_away() {
    as_user("an_image_that_is_put_takes_the_dead_away", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("base", "1")]);
        for parent in [store.temp_dirs(containers_storage::driver::Side::Images), store.layers_dir().join("tmp")] {
            fs::create_dir_all(parent.join("temp-dir-7/x")).unwrap();
            fs::write(parent.join("lock-7"), "").unwrap();
        }
        let live = store.stage_layer().unwrap();
        store.put_image(&new_image(&[base], "a", &[])).unwrap();
        let report = check::check(&store, Depth::Content).unwrap();
        assert!(report.findings.is_empty() && live.tree().exists(), "{:#?}", report.findings);
    });
}

/// What a process writes that a reboot has ended.
const DEAD: &str = "7 1 another-boot 1";

fn claim(store: &Store, layer: &LayerId) -> std::path::PathBuf {
    store.private_dir().join("unclaimed").join(layer)
}

#[test]
fn layers_of_a_process_that_died_before_its_image_are_collected_from_the_top() {
    as_user("layers_of_a_process_that_died_before_its_image_are_collected_from_the_top", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("base", "1")]);
        let top = put_layer(&store, Some(&base.id), &[("top", "1")]);
        // As long as the maker lives, here this process, it may still record its image.
        assert!(check::repair(&store).unwrap().findings.is_empty());
        assert_eq!(layer_ids(&store), [base.id.clone(), top.id.clone()]);
        for layer in [&base, &top] {
            fs::write(claim(&store, &layer.id), format!("{DEAD}\n")).unwrap();
        }
        let found = check::check(&store, Depth::Structure).unwrap();
        assert!(found.is_sound() && found.findings.len() == 2 && found.findings.iter().all(|f| f.repairable), "{found:#?}");
        assert_eq!(check::repair(&store).unwrap().findings.len(), 2);
        assert_eq!(layer_ids(&store), []);
        assert!(check::check(&store, Depth::Content).unwrap().findings.is_empty());
        assert!(!store.driver().unwrap().exists(&base.id) && !claim(&store, &base.id).exists());
    });
}

#[test]
fn an_image_takes_along_what_a_dead_process_left_on_its_layers() {
    as_user("an_image_takes_along_what_a_dead_process_left_on_its_layers", |world| {
        let store = world.store();
        let o = objects(&store);
        assert!(store.delete_container(&o.container.id).unwrap().finish().unwrap());
        let lower = put_layer(&store, Some(&o.top.id), &[("x", "1")]);
        let upper = put_layer(&store, Some(&lower.id), &[("y", "1")]);
        let elsewhere = put_layer(&store, None, &[("z", "1")]);
        for layer in [&lower.id, &upper.id, &elsewhere.id] {
            fs::write(claim(&store, layer), format!("{DEAD}\n")).unwrap();
        }
        let deleted = store.delete_image(&o.image).unwrap().layers.clone();
        assert_eq!(deleted, [upper.id, lower.id, o.top.id, o.base.id]);
        assert_eq!(layer_ids(&store), [elsewhere.id], "an interrupted pull of something else can go on");
        check::repair(&store).unwrap();
        assert!(layer_ids(&store).is_empty());
        assert!(check::check(&store, Depth::Content).unwrap().findings.is_empty());
    });
}

#[test]
fn abandoned_layers_stay_where_something_uses_them() {
    as_user("abandoned_layers_stay_where_something_uses_them", |world| {
        let store = world.store();
        let o = objects(&store);
        assert!(!claim(&store, &o.base.id).exists() && !claim(&store, &o.top.id).exists(), "the image claims its layers");
        let above_container = put_layer(&store, Some(&o.top.id), &[("x", "1")]);
        let by_another_tool = put_layer(&store, None, &[("y", "1")]);
        fs::remove_file(claim(&store, &by_another_tool.id)).unwrap();
        let taken_up = put_layer(&store, None, &[("z", "1")]);
        for layer in [&o.base.id, &o.top.id, &o.container.layer, &above_container.id, &taken_up.id] {
            fs::write(claim(&store, layer), format!("{DEAD}\n")).unwrap();
        }
        // Another process is making the same layer.
        assert_eq!(put_layer(&store, None, &[("z", "1")]).id, taken_up.id);
        check::repair(&store).unwrap();
        let expected = [o.base.id, o.top.id, o.container.layer, by_another_tool.id, taken_up.id.clone()];
        assert_eq!(layer_ids(&store), expected);
        let files: Vec<_> =
            fs::read_dir(store.private_dir().join("unclaimed")).unwrap().map(|f| f.unwrap().file_name()).collect();
        assert_eq!(files, [taken_up.id.as_str()]);
    });
}
