//! One store, several tools: what we write is whole for podman, buildah and skopeo, and what they write is for us.

mod fixture;

use containers_storage::check::{self, Depth};
use containers_storage::store::{Error, NameChange, NewContainer};
use containers_storage::{Digest, ImageId};
use fixture::{World, as_user, have, new_image, put_layer};

fn assert_clean(world: &World) {
    let report = check::check(&world.store(), Depth::Structure).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn the_other_tools_use_an_image_of_ours_and_delete_it_wholly() {
    as_user("the_other_tools_use_an_image_of_ours_and_delete_it_wholly", |world| {
        if !have(&["podman", "buildah", "skopeo"]) {
            return;
        }
        let store = world.store();
        let base = put_layer(&store, None, &[("bin/sh", "no shell"), ("etc/empty", ""), ("etc/os-release", "ID=test\n")]);
        let top = put_layer(&store, Some(&base.id), &[("usr/share/doc/readme", &"long line\n".repeat(500))]);
        let image = store.put_image(&new_image(&[base, top], "a", &["localhost/ours:1"])).unwrap();
        assert_clean(world);

        let listed = world.ok("podman", &["images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}} {{.Digest}}"]);
        assert_eq!(listed.trim(), format!("sha256:{} localhost/ours:1 {}", image.id, image.digest.as_ref().unwrap()));

        // skopeo makes each layer's tar from its tar-split again: it fails unless every byte is right.
        let out = world.path("out");
        world.skopeo(&[
            "copy",
            "-q",
            "--dest-decompress",
            &world.skopeo_name("localhost/ours:1"),
            &format!("dir:{}", out.display()),
        ]);
        let mut blobs = 0;
        for entry in std::fs::read_dir(&out).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.len() == 64 {
                assert_eq!(Digest::of(&std::fs::read(entry.path()).unwrap()).hex(), name);
                blobs += 1;
            }
        }
        assert_eq!(blobs, 3, "a config and two layers");

        let name = world.ok("buildah", &["from", "--pull-never", "localhost/ours:1"]);
        let container = store.container(name.trim()).unwrap();
        assert_eq!(container.image, Some(image.id.clone()));
        assert!(matches!(store.delete_image(&image.id), Err(Error::InUse { .. })));
        let (_, files) = world.mounted("buildah", name.trim(), "etc");
        assert_eq!(files, "empty\nos-release\n");
        world.ok("buildah", &["rm", name.trim()]);
        world.ok("podman", &["rmi", "localhost/ours:1"]);
        assert!(store.images().unwrap().all().unwrap().is_empty());
        assert!(store.layers().unwrap().all().unwrap().is_empty());
        assert_clean(world);
    });
}

#[test]
fn a_container_of_ours_is_seen_and_its_image_protected() {
    as_user("a_container_of_ours_is_seen_and_its_image_protected", |world| {
        if !have(&["podman", "buildah"]) {
            return;
        }
        let store = world.store();
        let base = put_layer(&store, None, &[("a", "1")]);
        let image = store.put_image(&new_image(std::slice::from_ref(&base), "a", &["localhost/ours:1"])).unwrap();
        let new = NewContainer { image: Some(image.id.clone()), parent: Some(base.id), ..NewContainer::default() };
        let container = store.create_container(&new, &mut |_| Some("web".into()), &mut |_, _| Ok(())).unwrap();

        let listed = world.ok("podman", &["ps", "-a", "--external", "--no-trunc", "--format", "{{.ID}} {{.Names}}"]);
        assert_eq!(listed.trim(), format!("{} web", container.id));
        let refused = world.tool("podman", &["rmi", "localhost/ours:1"]);
        assert!(!refused.status.success());
        let (path, files) = world.mounted("podman", "web", "");
        assert_eq!(path, world.graph_root().join("overlay").join(&container.layer).join("merged").to_str().unwrap());
        assert_eq!(files, "a\n");
        if rustix::process::geteuid().is_root() {
            world.ok("podman", &["umount", "web"]);
        }

        assert!(store.delete_container(&container.id).unwrap().finish().unwrap());
        assert_eq!(world.ok("podman", &["ps", "-a", "--external", "-q"]), "");
        assert!(store.delete_image(&image.id).unwrap().finish().unwrap());
        assert_eq!(world.ok("podman", &["images", "-q"]), "");
        assert_clean(world);
    });
}

#[test]
fn images_of_the_other_tools_are_read_named_and_deleted() {
    as_user("images_of_the_other_tools_are_read_named_and_deleted", |world| {
        if !have(&["podman", "buildah"]) {
            return;
        }
        std::fs::write(world.path("f"), "content").unwrap();
        for tag in ["one", "two"] {
            let name = world.ok("buildah", &["from", "scratch"]);
            world.ok("buildah", &["copy", name.trim(), "f", &format!("/{tag}")]);
            world.ok("buildah", &["commit", "-q", "--rm", name.trim(), &format!("localhost/{tag}:1")]);
        }
        let store = world.store();
        let images = store.images().unwrap();
        let one = images.by_name("localhost/one:1").unwrap().unwrap();
        let config = store.image_data(&one, &format!("sha256:{}", one.id)).unwrap();
        assert_eq!(ImageId::of_config(&Digest::of(&config)), one.id);
        assert_eq!(store.layers().unwrap().chain(one.layer.as_ref().unwrap()).unwrap().len(), 1);
        assert_clean(world);

        let two = images.by_name("localhost/two:1").unwrap().unwrap();
        store.change_image_names(&one.id, NameChange::Add, &["localhost/two:1".into()]).unwrap();
        let inspect = |name: &str| world.ok("podman", &["image", "inspect", "--format", "{{.Id}}", name]).trim().to_owned();
        assert_eq!(inspect("localhost/two:1"), one.id.as_str());
        assert_eq!(inspect("localhost/one:1"), one.id.as_str());
        store.change_image_names(&two.id, NameChange::Set, &["localhost/other:2".into()]).unwrap();
        assert_eq!(inspect("localhost/other:2"), two.id.as_str());
        assert!(store.delete_image(&two.id).unwrap().finish().unwrap());
        assert_eq!(world.ok("podman", &["images", "--format", "{{.Repository}}"]).lines().count(), 2, "one image, two names");
        assert_clean(world);
    });
}

#[test]
fn what_we_do_not_know_survives_our_changes() {
    as_user("what_we_do_not_know_survives_our_changes", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("a", "1")]);
        let image = store.put_image(&new_image(std::slice::from_ref(&base), "a", &["localhost/ours:1"])).unwrap();
        let table = store.images_dir().join("images.json");
        let text = std::fs::read_to_string(&table).unwrap();
        std::fs::write(&table, text.replacen('{', r#"{"later":{"a":[1.0,null]},"#, 1)).unwrap();
        store.change_image_names(&image.id, NameChange::Add, &["localhost/more:1".into()]).unwrap();
        let text = std::fs::read_to_string(&table).unwrap();
        assert!(text.contains(r#""later":{"a":[1.0,null]}"#), "{text}");
        assert!(text.contains("localhost/more:1"), "{text}");
    });
}

#[test]
fn a_container_in_the_volatile_file_protects_its_image_and_its_layers() {
    as_user("a_container_in_the_volatile_file_protects_its_image_and_its_layers", |world| {
        let store = world.store();
        let base = put_layer(&store, None, &[("a", "1")]);
        let image = store.put_image(&new_image(std::slice::from_ref(&base), "a", &["localhost/ours:1"])).unwrap();
        let second = store.put_image(&new_image(std::slice::from_ref(&base), "b", &[])).unwrap();
        let new = NewContainer { image: Some(image.id.clone()), parent: Some(base.id.clone()), ..NewContainer::default() };
        let container = store.create_container(&new, &mut |_| Some("web".into()), &mut |_, _| Ok(())).unwrap();
        // As a newer tool would have recorded it.
        for (dir, name) in [(store.containers_dir(), "containers.json"), (store.layers_dir(), "layers.json")] {
            let text = std::fs::read_to_string(dir.join(name)).unwrap();
            let records: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
            let (moved, kept): (Vec<_>, Vec<_>) = records
                .into_iter()
                .partition(|r| [container.id.as_str(), container.layer.as_str()].contains(&r["id"].as_str().unwrap()));
            std::fs::write(dir.join(name), serde_json::to_string(&kept).unwrap()).unwrap();
            std::fs::write(dir.join(format!("volatile-{name}")), serde_json::to_string(&moved).unwrap()).unwrap();
        }
        assert!(matches!(store.delete_image(&image.id), Err(Error::InUse { .. })));
        let mut deleted = store.delete_image(&second.id).unwrap();
        assert!(deleted.layers.is_empty());
        assert!(deleted.finish().unwrap());
        assert_eq!(store.container("web").unwrap().id, container.id);
        assert!(store.delete_container(&container.id).unwrap().finish().unwrap());
        let mut deleted = store.delete_image(&image.id).unwrap();
        assert_eq!(deleted.layers, [base.id]);
        assert!(deleted.finish().unwrap());
        assert_clean(world);
    });
}
