//! The operations of a store, one by one: what they give, what they refuse, and what is on disk afterwards.

mod fixture;

use std::fs;

use containers_storage::check::{self, Depth};
use containers_storage::conf::Conf;
use containers_storage::containers::Container;
use containers_storage::layers::Layer;
use containers_storage::selinux::{Context, Contexts, LabelChoice};
use containers_storage::store::{Error, NameChange, NewContainer, Store};
use containers_storage::{ContainerId, LayerId};
use fixture::{World, as_user, new_image, put_layer};

fn container(store: &Store, name: &str) -> Result<ContainerId, Error> {
    let mut state = |_: &_, _: &std::path::Path| Ok(());
    let container = store.create_container(&NewContainer::default(), &mut |n| (n == 0).then(|| name.to_owned()), &mut state);
    container.map(|container| container.id)
}

fn assert_clean(store: &Store) {
    let report = check::check(store, Depth::Content).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

fn names(store: &Store) -> Vec<Vec<String>> {
    store.images().unwrap().all().unwrap().into_iter().map(|image| image.names).collect()
}

fn one_layer(layer: &Layer) -> &[Layer] {
    std::slice::from_ref(layer)
}

#[test]
fn a_taken_name_is_asked_for_again_or_refused() {
    as_user("a_taken_name_is_asked_for_again_or_refused", |world| {
        let store = world.store();
        let first = container(&store, "web").unwrap();
        match container(&store, "web") {
            Err(Error::NameInUse { name, id }) => assert_eq!((name.as_str(), id), ("web", first.clone())),
            other => panic!("{other:?}"),
        }
        let mut asked = Vec::new();
        let mut generated = |n: u32| {
            asked.push(n);
            Some(if n == 0 { "web".to_owned() } else { format!("web-{n}") })
        };
        let second = store.create_container(&NewContainer::default(), &mut generated, &mut |_, _| Ok(())).unwrap();
        assert_eq!((asked, second.name()), (vec![0, 1], "web-1"));
        assert!(matches!(store.rename_container(&second.id, "web"), Err(Error::NameInUse { .. })));
        assert_eq!(store.rename_container(&second.id, "other").unwrap().names, ["other"]);
        assert_eq!(store.rename_container(&second.id, "other").unwrap().names, ["other"]);
        assert!(matches!(store.container("web-1"), Err(Error::UnknownContainer(_))));
        assert_clean(&store);
    });
}

#[test]
fn a_container_whose_state_cannot_be_written_never_was() {
    as_user("a_container_whose_state_cannot_be_written_never_was", |world| {
        let store = world.store();
        let mut full = |_: &_, _: &std::path::Path| Err(std::io::ErrorKind::StorageFull.into());
        let made = store.create_container(&NewContainer::default(), &mut |_| Some("web".into()), &mut full);
        assert!(matches!(made, Err(Error::Io { .. })));
        assert!(store.containers().unwrap().is_empty());
        assert!(store.layers().unwrap().all().unwrap().is_empty());
        assert_eq!(fs::read_dir(store.private_dir().join("pending")).unwrap().count(), 0);
        assert_clean(&store);
    });
}

#[test]
fn what_a_container_is_made_from_must_exist() {
    as_user("what_a_container_is_made_from_must_exist", |world| {
        let store = world.store();
        let try_with = |new: &NewContainer| store.create_container(new, &mut |_| Some("x".into()), &mut |_, _| Ok(()));
        let image = NewContainer { image: Some("a".repeat(64).parse().unwrap()), ..NewContainer::default() };
        assert!(matches!(try_with(&image), Err(Error::NoImage(_))));
        let parent = NewContainer { parent: Some("a".repeat(64).parse().unwrap()), ..NewContainer::default() };
        assert!(matches!(try_with(&parent), Err(Error::NoLayer(_))));
        assert_clean(&store);
    });
}

#[test]
fn a_container_keeps_its_labels_and_no_other_gets_their_level() {
    as_user("a_container_keeps_its_labels_and_no_other_gets_their_level", |world| {
        let store = world.store();
        let context = |label: &str| Context::parse(label).ok();
        let contexts = Contexts { process: context("u:r:container_t:s0"), file: context("u:o:container_file_t:s0") };
        let made = |name: &str, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let labels = LabelChoice::new(contexts.clone(), &words).unwrap();
            let new = NewContainer { labels: Some(labels), ..NewContainer::default() };
            let mut seen = None;
            let mut state = |record: &Container, _: &std::path::Path| {
                seen = Some(record.labels());
                Ok(())
            };
            let container = store.create_container(&new, &mut |_| Some(name.into()), &mut state).unwrap();
            assert_eq!(seen, Some(container.labels()), "the state is told");
            let container = store.containers().unwrap().get(&container.id).unwrap();
            let layer = store.layers().unwrap().get(&container.layer).unwrap();
            assert_eq!(layer.mount_label, container.labels().mount, "as the other tools keep it");
            container.labels()
        };
        let levels: std::collections::HashSet<String> = (0..20).map(|n| made(&format!("c{n}"), &[]).mount).collect();
        assert_eq!(levels.len(), 20);
        let typed = made("typed", &["type:spc_t", "level:s0:c1,c2"]);
        assert_eq!((typed.process.as_str(), typed.mount.as_str()), ("u:r:spc_t:s0:c1,c2", "u:o:container_file_t:s0:c1,c2"));
        let disabled = made("disabled", &["disable"]);
        assert_eq!((disabled.process.as_str(), disabled.mount.as_str()), ("", "u:o:container_file_t:s0:c1022,c1023"));
        let text = fs::read_to_string(store.containers_dir().join("containers.json")).unwrap();
        assert!(
            text.contains(r#""MountLabel":"u:o:container_file_t:s0:c1,c2""#) && text.contains(r#""ProcessLabel":"""#),
            "{text}"
        );
        assert_clean(&store);
    });
}

#[test]
fn equal_layers_are_stored_once_and_never_on_a_containers_layer() {
    as_user("equal_layers_are_stored_once_and_never_on_a_containers_layer", |world| {
        let store = world.store();
        let first = put_layer(&store, None, &[("a", "1")]);
        let again = put_layer(&store, None, &[("a", "1")]);
        assert_eq!(first, again);
        assert_eq!(first.id, LayerId::of_image_layer(None, first.diff_digest.as_ref().unwrap()));
        let above = put_layer(&store, Some(&first.id), &[("a", "1")]);
        assert_ne!(above.id, first.id);
        assert_eq!(store.layers().unwrap().all().unwrap().len(), 2);
        assert_eq!(fs::read_dir(store.temp_dirs(containers_storage::driver::Side::Images)).unwrap().count(), 0);

        let id = container(&store, "web").unwrap();
        let writable = store.containers().unwrap().get(&id).unwrap().layer;
        let staged = store.stage_layer().unwrap();
        fs::write(staged.tar_split(), "").unwrap();
        let content = containers_storage::store::LayerContent::of_tar(first.diff_digest.unwrap(), 1, vec![], vec![]);
        assert!(matches!(store.put_layer(staged, Some(&writable), &content), Err(Error::InUse { .. })));
        assert_clean(&store);
    });
}

#[test]
fn a_base_layers_root_can_be_entered_by_everyone() {
    as_user("a_base_layers_root_can_be_entered_by_everyone", |world| {
        use std::os::unix::fs::PermissionsExt;
        let store = world.store();
        let base = put_layer(&store, None, &[("a", "1")]);
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(store.driver().unwrap().diff_dir(&base.id).unwrap()), 0o555);
        assert_eq!(mode(store.tar_split(&base.id)), 0o600);
        assert_eq!(mode(store.conf().graph_root.clone()), 0o700);
        assert_eq!(mode(store.layers_dir()), 0o700);
    });
}

#[test]
fn a_name_belongs_to_one_image() {
    as_user("a_name_belongs_to_one_image", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("a", "1")]);
        let a = store.put_image(&new_image(one_layer(&base), "a", &["localhost/a:1", "localhost/x:1"])).unwrap();
        let b = store.put_image(&new_image(one_layer(&base), "b", &["localhost/x:1"])).unwrap();
        assert_eq!(names(&store), [vec!["localhost/a:1"], vec!["localhost/x:1"]]);
        store.change_image_names(&a.id, NameChange::Set, &["localhost/x:1".into(), "localhost/y:1".into()]).unwrap();
        assert_eq!(names(&store), [vec!["localhost/x:1", "localhost/y:1"], vec![]]);
        store.change_image_names(&a.id, NameChange::Remove, &["localhost/x:1".into()]).unwrap();
        assert_eq!(names(&store), [vec!["localhost/y:1"], vec![]]);
        let history = store.images().unwrap().get(&a.id).unwrap().names_history;
        assert_eq!(history, ["localhost/x:1", "localhost/y:1", "localhost/a:1"]);
        let again = store.put_image(&new_image(one_layer(&base), "b", &["localhost/b:2"])).unwrap();
        assert_eq!((again.id, store.images().unwrap().all().unwrap().len()), (b.id, 2));
        assert_clean(&store);
    });
}

#[test]
fn an_images_id_stands_for_one_stack_of_layers() {
    as_user("an_images_id_stands_for_one_stack_of_layers", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("a", "1")]);
        let other = put_layer(&store, None, &[("a", "2")]);
        let mut new = new_image(one_layer(&base), "a", &[]);
        store.put_image(&new).unwrap();
        new.layer = Some(other.id);
        assert!(matches!(store.put_image(&new), Err(Error::ImageConflict(_))));
        new.layer = Some("0".repeat(64).parse().unwrap());
        assert!(matches!(store.put_image(&new), Err(Error::NoLayer(_))));
    });
}

#[test]
fn deleting_an_image_takes_the_layers_that_nobody_else_needs() {
    as_user("deleting_an_image_takes_the_layers_that_nobody_else_needs", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("base", "1")]);
        let middle = put_layer(&store, Some(&base.id), &[("middle", "1")]);
        let left = put_layer(&store, Some(&middle.id), &[("left", "1")]);
        let right = put_layer(&store, Some(&middle.id), &[("right", "1")]);
        let on_left = store.put_image(&new_image(&[base.clone(), middle.clone(), left.clone()], "l", &[])).unwrap();
        let on_right = store.put_image(&new_image(&[base.clone(), middle.clone(), right.clone()], "r", &[])).unwrap();
        let on_base = store.put_image(&new_image(one_layer(&base), "b", &[])).unwrap();
        let delete = |id| {
            let mut deleted = store.delete_image(id).unwrap();
            assert!(deleted.finish().unwrap());
            deleted.layers.clone()
        };
        assert_eq!(delete(&on_left.id), [left.id]);
        assert_eq!(delete(&on_right.id), [right.id, middle.id]);
        assert_eq!(delete(&on_base.id), [base.id]);
        assert!(matches!(store.delete_image(&on_base.id), Err(Error::NoImage(_))));
        assert_clean(&store);
    });
}

#[test]
fn several_images_are_deleted_in_one_step_or_none() {
    as_user("several_images_are_deleted_in_one_step_or_none", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("base", "1")]);
        let upper = put_layer(&store, Some(&base.id), &[("upper", "1")]);
        let on_base = store.put_image(&new_image(one_layer(&base), "b", &[])).unwrap().id;
        let on_upper = store.put_image(&new_image(&[base.clone(), upper.clone()], "u", &[])).unwrap().id;
        let kept = store.put_image(&new_image(one_layer(&base), "k", &[])).unwrap().id;
        let holder = NewContainer { image: Some(kept.clone()), parent: Some(base.id.clone()), ..NewContainer::default() };
        let holder = store.create_container(&holder, &mut |_| Some("holder".to_owned()), &mut |_, _| Ok(())).unwrap();
        let all = [on_base.clone(), kept.clone(), on_upper.clone()];
        assert!(matches!(store.delete_images(&all), Err(Error::InUse { .. })));
        assert_eq!(store.images().unwrap().count(), 3);
        // One that is not there any more is no reason to keep the others.
        let gone = [on_upper.clone(), on_base, "0".repeat(64).parse().unwrap()];
        assert_eq!(store.delete_images(&gone).unwrap().layers, [upper.id]);
        assert!(store.delete_container(&holder.id).unwrap().finish().unwrap());
        assert_eq!(store.delete_images(&[kept]).unwrap().layers, [base.id]);
        assert_eq!(store.images().unwrap().count(), 0);
        assert_clean(&store);
    });
}

#[test]
fn a_wrong_byte_in_a_config_is_noticed_when_it_is_read() {
    as_user("a_wrong_byte_in_a_config_is_noticed_when_it_is_read", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("a", "1")]);
        let image = store.put_image(&new_image(one_layer(&base), "a", &[])).unwrap();
        let key = format!("sha256:{}", image.id);
        assert!(store.image_data(&image, &key).is_ok());
        let file = containers_storage::images::big_data_file(&key).unwrap();
        let path = store.images_dir().join(&image.id).join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(store.image_data(&image, &key), Err(Error::WrongData { .. })));
        assert!(matches!(store.image_data(&image, "nothing"), Err(Error::NoData { .. })));
        assert!(matches!(store.image_data(&image, "../images.json"), Err(Error::NoData { .. })));
    });
}

#[test]
fn an_additional_store_is_read_used_and_never_changed() {
    as_user("an_additional_store_is_read_used_and_never_changed", |world| {
        let other = World::new();
        let base = put_layer(&other.store(), None, &[("etc/shared", "yes")]);
        let image = other.store().put_image(&new_image(one_layer(&base), "a", &["localhost/shared:1"])).unwrap();
        let tables = || fs::read(other.graph_root().join("overlay-images/images.json")).unwrap();
        let before = tables();

        let conf = Conf { additional_image_stores: vec![other.graph_root()], ..world.conf() };
        let store = Store::open(conf).unwrap();
        let found = store.images().unwrap().by_name("localhost/shared:1").unwrap().unwrap();
        assert!(found.read_only && found.id == image.id);
        assert!(store.image_data(&found, "manifest").is_ok());
        assert_eq!(store.tar_split(&base.id), other.store().tar_split(&base.id));
        let new = NewContainer { image: Some(image.id.clone()), parent: Some(base.id.clone()), ..NewContainer::default() };
        let container = store.create_container(&new, &mut |_| Some("web".into()), &mut |_, _| Ok(())).unwrap();
        let lowers = store.driver().unwrap().lower_dirs(&container.layer).unwrap();
        assert_eq!(lowers, [other.graph_root().join("overlay").join(&base.id).join("diff")]);
        assert!(matches!(store.delete_image(&image.id), Err(Error::ReadOnlyImage(_))));
        assert_clean(&store);
        assert!(store.delete_container(&container.id).unwrap().finish().unwrap());

        // A new name needs a record of the store's own, which hides the other one until it is deleted; its layer stays where it is.
        let named = store.change_image_names(&image.id, NameChange::Add, &["localhost/mine:1".into()]).unwrap();
        assert_eq!((named.names.len(), named.read_only, named.created == image.created), (2, false, true));
        let own = store.images().unwrap().by_name("localhost/shared:1").unwrap().unwrap();
        assert!(!own.read_only && own == named && store.images().unwrap().all().unwrap().len() == 1);
        assert!(store.images_dir().join(&image.id).join("manifest").is_file());
        store.put_image_data(&image.id, "note", b"x").unwrap();
        assert_clean(&store);
        assert!(store.delete_image(&image.id).unwrap().layers.is_empty());
        assert!(store.images().unwrap().get(&image.id).unwrap().read_only);
        assert_clean(&store);
        assert_eq!(tables(), before);
        assert!(other.graph_root().join("overlay").join(&base.id).exists());
    });
}

#[test]
fn data_replaced_since_its_record_was_read_is_no_damage() {
    as_user("data_replaced_since_its_record_was_read_is_no_damage", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("etc/f", "x")]);
        let image = store.put_image(&new_image(one_layer(&base), "list", &["localhost/list:1"])).unwrap();
        store.put_image_data(&image.id, "list", b"one entry").unwrap();
        let before = store.images().unwrap().get(&image.id).unwrap();
        store.put_image_data(&image.id, "list", b"one entry and another").unwrap();
        assert_eq!(store.image_data(&before, "list").unwrap(), b"one entry and another");
        // What stays different is damage.
        fs::write(store.images_dir().join(&image.id).join("list"), "another length").unwrap();
        let record = store.images().unwrap().get(&image.id).unwrap();
        assert!(matches!(store.image_data(&record, "list"), Err(Error::WrongData { .. })));
    });
}

#[test]
fn a_graph_root_that_others_may_write_to_is_refused() {
    as_user("a_graph_root_that_others_may_write_to_is_refused", |world| {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(world.graph_root()).unwrap();
        fs::set_permissions(world.graph_root(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::create_dir(world.graph_root().join("overlay-layers")).unwrap();
        assert!(matches!(Store::open(world.conf()), Err(Error::NotPrivate { .. })));
        fs::remove_dir(world.graph_root().join("overlay-layers")).unwrap();
        assert!(Store::open(world.conf()).is_ok());
        assert_eq!(fs::metadata(world.graph_root()).unwrap().permissions().mode() & 0o7777, 0o700);
        fs::remove_dir(world.graph_root()).unwrap();
        fs::write(world.graph_root(), "").unwrap();
        assert!(matches!(Store::open(world.conf()), Err(Error::NotPrivate { .. })));
    });
}

#[test]
fn a_mount_that_stays_is_counted_once() {
    as_user("a_mount_that_stays_is_counted_once", |world| {
        let store = world.store();
        let table = world.conf().run_root.join("overlay-layers/mountpoints.json");
        let (a, b): (LayerId, LayerId) = ("a".repeat(64).parse().unwrap(), "b".repeat(64).parse().unwrap());
        store.note_unmount(&a).unwrap();
        assert!(!table.exists());
        store.note_mount(&a, std::path::Path::new("/m/a")).unwrap();
        store.note_mount(&b, std::path::Path::new("/m/b")).unwrap();
        store.note_mount(&a, std::path::Path::new("/m/a")).unwrap();
        store.note_unmount(&b).unwrap();
        assert_eq!(fs::read_to_string(&table).unwrap(), format!(r#"[{{"id":"{a}","path":"/m/a","count":1}}]"#));
    });
}
