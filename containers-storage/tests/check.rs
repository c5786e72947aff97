//! What a check finds, and what a repair may take away: one fault at a time in a store that is whole.

mod fixture;

use std::fs;
use std::path::Path;

use containers_storage::check::{self, Depth, Severity};
use containers_storage::layers::Layer;
use containers_storage::store::{NewContainer, Store};
use containers_storage::{ImageId, LayerId};
use fixture::{World, as_user, new_image, put_layer};

struct Whole {
    base: Layer,
    top: Layer,
    image: ImageId,
    container_layer: LayerId,
}

/// An image of two layers, and a container made from it.
fn whole(store: &Store) -> Whole {
    let base = put_layer(store, None, &[("etc/hosts", "127.0.0.1 localhost\n")]);
    let top = put_layer(store, Some(&base.id), &[("a", "1"), ("b/c", "22")]);
    let image = store.put_image(&new_image(&[base.clone(), top.clone()], "a", &["localhost/a:1"])).unwrap();
    let new = NewContainer { image: Some(image.id.clone()), parent: Some(top.id.clone()), ..NewContainer::default() };
    let container = store.create_container(&new, &mut |_| Some("web".into()), &mut |_, _| Ok(())).unwrap();
    Whole { base, top, image: image.id, container_layer: container.layer }
}

fn texts(store: &Store, depth: Depth) -> Vec<String> {
    check::check(store, depth)
        .unwrap()
        .findings
        .into_iter()
        .map(|finding| format!("{:?}: {}", finding.severity, finding.text))
        .collect()
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_whole_store_has_no_findings_at_any_depth() {
    as_user("a_whole_store_has_no_findings_at_any_depth", |world| {
        let store = world.store();
        assert_eq!(texts(&store, Depth::Content), [""; 0]);
        whole(&store);
        assert_eq!(texts(&store, Depth::Content), [""; 0]);
        assert!(check::repair(&store).unwrap().findings.is_empty());
    });
}

#[test]
fn each_damage_is_found_and_not_repaired() {
    as_user("each_damage_is_found_and_not_repaired", |_| {
        type Fault = fn(&Store, &Whole);
        let cases: [(&str, Fault); 11] = [
            ("its parent", |store, w| {
                edit(
                    &store.layers_dir().join("layers.json"),
                    &format!(r#""parent":"{}""#, w.base.id),
                    &format!(r#""parent":"{}""#, "0".repeat(64)),
                )
            }),
            ("has no directory", |store, w| {
                fs::remove_dir_all(store.driver_home().join(&w.container_layer).join("diff")).unwrap()
            }),
            ("is missing", |store, w| {
                let link = fs::read_to_string(store.driver_home().join(&w.top.id).join("link")).unwrap();
                fs::remove_file(store.driver_home().join("l").join(link)).unwrap();
            }),
            ("link file", |store, w| fs::remove_file(store.driver_home().join(&w.top.id).join("link")).unwrap()),
            ("stacked on other layers", |store, w| {
                for name in ["lower", "lower-layers"] {
                    fs::remove_file(store.driver_home().join(&w.top.id).join(name)).unwrap();
                }
            }),
            ("has no tar-split", |store, w| fs::remove_file(store.tar_split(&w.top.id)).unwrap()),
            ("manifest: it has 1 bytes", |store, w| {
                fs::write(store.images_dir().join(&w.image).join("manifest"), "x").unwrap()
            }),
            ("its digest is another one", |store, w| {
                edit(&store.images_dir().join(&w.image).join("manifest"), "schemaVersion", "schemaversion")
            }),
            ("have the same name", |store, w| {
                let second = store.put_image(&new_image(std::slice::from_ref(&w.base), "b", &["localhost/b:1"])).unwrap();
                edit(&store.images_dir().join("images.json"), r#""names":["localhost/b:1"]"#, r#""names":["localhost/a:1"]"#);
                assert_ne!(second.id, w.image);
            }),
            ("its image", |store, w| edit(&store.containers_dir().join("containers.json"), w.image.as_str(), &"0".repeat(64))),
            ("is damaged at byte 0", |store, _| fs::write(store.images_dir().join("images.json"), "\0\0\0").unwrap()),
        ];
        for (expected, fault) in cases {
            let world = World::new();
            let store = world.store();
            fault(&store, &whole(&store));
            let before = check::check(&store, Depth::Structure).unwrap();
            let damage = |report: &check::Report| {
                report.findings.iter().any(|f| f.severity == Severity::Damage && f.text.contains(expected))
            };
            assert!(damage(&before), "{expected}: {before:#?}");
            assert!(!before.is_sound());
            // A table that cannot be read is an error for a repair: nothing is known to be garbage then.
            if check::repair(&store).is_ok() {
                assert!(damage(&check::check(&store, Depth::Structure).unwrap()), "{expected}");
            }
        }
    });
}

#[test]
fn changed_content_is_found_by_its_digest() {
    as_user("changed_content_is_found_by_its_digest", |world| {
        let store = world.store();
        let w = whole(&store);
        fs::write(store.driver_home().join(&w.top.id).join("diff/a"), "2").unwrap();
        assert_eq!(texts(&store, Depth::Structure), [""; 0]);
        let found = texts(&store, Depth::Content);
        assert!(found.len() == 1 && found[0].starts_with(&format!("Damage: layer {}", w.top.id)), "{found:?}");
    });
}

#[test]
fn garbage_is_found_and_removed_and_nothing_else_is() {
    as_user("garbage_is_found_and_removed_and_nothing_else_is", |world| {
        let store = world.store();
        whole(&store);
        let (unknown, home) = ("f".repeat(64), store.driver_home());
        fs::create_dir_all(home.join(&unknown).join("diff/ro")).unwrap();
        fs::write(home.join(&unknown).join("link"), "UNKNOWNLINK").unwrap();
        std::os::unix::fs::symlink(format!("../{unknown}/diff"), home.join("l/UNKNOWNLINK")).unwrap();
        std::os::unix::fs::symlink(format!("../{}/diff", "e".repeat(64)), home.join("l/DANGLING")).unwrap();
        fs::write(store.layers_dir().join(format!("{}.tar-split.gz", "d".repeat(64))), "x").unwrap();
        fs::create_dir(store.images_dir().join(&unknown)).unwrap();
        fs::create_dir_all(store.containers_dir().join(&unknown).join("userdata")).unwrap();
        fs::create_dir_all(world.conf().run_root.join("overlay-containers").join(&unknown)).unwrap();
        fs::write(store.layers_dir().join(".tmp-layers.json77"), "[").unwrap();
        fs::create_dir_all(store.temp_dirs(containers_storage::driver::Side::Images).join("temp-dir-7/x")).unwrap();
        fs::write(store.temp_dirs(containers_storage::driver::Side::Images).join("lock-7"), "").unwrap();
        // Other components' property.
        let foreign = [home.join("compat123"), store.containers_dir().join("notes"), store.conf().graph_root.join("libpod")];
        for path in &foreign {
            fs::create_dir(path).unwrap();
        }
        let live = store.stage_layer().unwrap();

        let report = check::check(&store, Depth::Structure).unwrap();
        assert!(report.is_sound() && report.findings.iter().all(|finding| finding.repairable), "{report:#?}");
        assert_eq!(report.findings.len(), 8, "{report:#?}");
        assert_eq!(check::repair(&store).unwrap().findings, report.findings);
        assert_eq!(texts(&store, Depth::Content), [""; 0]);
        assert!(foreign.iter().all(|path| path.exists()) && live.tree().exists());
        assert!(!home.join("l/UNKNOWNLINK").is_symlink());
        store.container("web").unwrap();
    });
}

#[test]
fn incomplete_layers_of_other_tools_go_with_the_next_change() {
    as_user("incomplete_layers_of_other_tools_go_with_the_next_change", |world| {
        let store = world.store();
        let w = whole(&store);
        let layer = put_layer(&store, Some(&w.top.id), &[("half", "done")]);
        let from = format!(r#""id":"{}""#, layer.id);
        edit(&store.layers_dir().join("layers.json"), &from, &format!(r#"{from},"flags":{{"incomplete":true}}"#));
        assert!(texts(&store, Depth::Structure)[0].ends_with("is incomplete"));
        put_layer(&store, None, &[("other", "")]);
        assert!(!store.layers().unwrap().contains(&layer.id));
        assert!(!store.driver_home().join(&layer.id).exists());
        assert_eq!(texts(&store, Depth::Structure), [""; 0]);
    });
}

#[test]
fn a_store_that_cannot_be_written_is_read_and_refuses_changes_in_one_sentence() {
    as_user("a_store_that_cannot_be_written_is_read_and_refuses_changes_in_one_sentence", |world| {
        if rustix::process::geteuid().is_root() {
            println!("skipped: root writes everywhere");
            return;
        }
        let store = world.store();
        let w = whole(&store);
        let chmod = |mode: &str| {
            assert!(std::process::Command::new("chmod").args(["-R", mode]).arg(world.graph_root()).status().unwrap().success());
        };
        chmod("a-w");
        assert!(store.is_read_only());
        assert_eq!(store.images().unwrap().all().unwrap().len(), 1);
        assert_eq!(store.container("web").unwrap().layer, w.container_layer);
        let error = store.delete_image(&w.image).unwrap_err().to_string();
        assert!(error.contains("read-only"), "{error}");
        assert!(store.stage_layer().unwrap_err().to_string().contains("read-only"));
        chmod("u+w");
    });
}
