//! Steps that go to another machine: `--cache-to` and `--cache-from`, with a registry and with a directory. Two stores are two machines.

use std::path::Path;

use crate::build_cache::{FILE, Project, Then};
use crate::harness::registry::{Answer, PASSWORD, PROGRAM, Proxy, Registry, USER, status};
use crate::harness::skip_without;

const INSECURE: &str = "--tls-verify=false";

/// The keys under which steps were sent, in their order.
fn sent(out: &str) -> Vec<String> {
    let keys = out.lines().filter_map(|line| line.strip_prefix("--> Pushing cache "));
    keys.map(|place| place.rsplit_once(':').expect("a key").1.to_owned()).collect()
}

fn built(project: &Project, flags: &[&str]) -> (String, String) {
    let out = project.env.run(["build", "--layers", "-t", "app"].iter().chain(flags).chain(&["ctx"]));
    (out.success(), String::from_utf8_lossy(&out.stderr).into_owned())
}

fn id(out: &str) -> &str {
    out.lines().last().unwrap_or_default()
}

/// Both machines build the same, and then the second one with one file changed.
fn share(place_to: &str, place_from: &str) {
    let (first, second) = (Project::new(), Project::new());
    let (out, notes) = built(&first, &["--cache-to", place_to, INSECURE]);
    assert_eq!((sent(&out).len(), notes.as_str()), (4, ""), "{out}");
    let (other, notes) = built(&second, &["--cache-from", place_from, INSECURE]);
    assert_eq!(id(&other), id(&out), "the very image: {other}{notes}");
    assert_eq!(other.matches("--> Cache pulled from remote ").count(), 4, "{other}");
    assert_eq!(second.stamp(), first.stamp());
    // Nothing that was pulled has a name, and all of it is found in the store now.
    assert_eq!(second.env.ok(["images", "--format", "{{.Name}}", "--filter", "dangling=false"]).lines().count(), 2);
    let (again, _) = built(&second, &["--cache-from", place_from, INSECURE]);
    assert_eq!((again.matches("Using cache").count(), again.matches("pulled").count()), (4, 0), "{again}");
    let third = Project::new();
    third.env.write("ctx/src/a", "changed\n");
    let (changed, _) = built(&third, &["--cache-from", place_from, INSECURE]);
    assert_eq!(changed.matches("--> Cache pulled from remote ").count(), 2, "ARG and ENV: {changed}");
    assert_ne!(third.stamp(), first.stamp());
    [&first, &second, &third].iter().for_each(|project| project.env.assert_store_is_clean());
}

#[test]
fn a_repository_takes_steps_from_machine_to_machine() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let registry = Registry::plain();
    let place = registry.name("team/cache");
    share(&place, &format!("type=registry,ref={place}"));
}

#[test]
fn a_directory_takes_steps_from_machine_to_machine() {
    let keeper = Project::new();
    let dir = keeper.env.work().join("steps").display().to_string();
    share(&format!("type=local,dest={dir}"), &format!("oci:{dir}"));
}

#[test]
fn what_counts_for_one_machine_counts_for_another() {
    let keeper = Project::new();
    let dir = keeper.env.work().join("steps").display().to_string();
    let (to, from) = (format!("oci:{dir}"), format!("oci:{dir}"));
    built(&keeper, &["--cache-to", &to]);
    type Change = (&'static str, fn(&Project), &'static [&'static str], Then);
    let changes: [Change; 9] = [
        ("nothing", |_| {}, &[], Then::Cached),
        ("another name", |_| {}, &["-t", "other"], Then::Cached),
        ("the platform by name", |_| {}, &["--os", "linux"], Then::Cached),
        ("the usual argument", |_| {}, &["--build-arg", "VERSION=1"], Then::Cached),
        ("an argument", |_| {}, &["--build-arg", "VERSION=2"], Then::Runs),
        ("the time of images", |_| {}, &["--timestamp", "1"], Then::Runs),
        ("a flag of commands", |_| {}, &["--cap-add", "SYS_ADMIN"], Then::Runs),
        ("a file", |project| drop(project.env.write("ctx/src/new", "")), &[], Then::Runs),
        ("a variable", |project| drop(project.env.write("ctx/Dockerfile", FILE.replace("E=1", "E=2"))), &[], Then::Runs),
    ];
    for (name, change, flags, then) in changes {
        let project = Project::new();
        change(&project);
        let (found, notes) = project.build(&[&["--cache-from", &from], flags].concat());
        assert_eq!(found, then, "{name}: {notes}");
    }
}

#[test]
fn settings_of_every_kind_go_to_another_machine_in_both_formats() {
    let file = "FROM base\nLABEL a=b\nENTRYPOINT [\"sh\"]\nCMD [\"-c\", \"true\"]\nEXPOSE 80\nVOLUME /v\nUSER 1:1\nSTOPSIGNAL 9\n\
                SHELL [\"/bin/sh\", \"-c\"]\nHEALTHCHECK CMD true\nONBUILD RUN true\nMAINTAINER me\nWORKDIR /w\nWORKDIR /w\n\
                COPY --link other /linked\nADD other /added\nCOPY <<F /here\ntext\nF\nRUN true\n";
    let (first, second) = (Project::new(), Project::new());
    let place = format!("oci:{}", first.env.work().join("steps").display());
    [&first, &second].iter().for_each(|project| drop(project.env.write("ctx/Dockerfile", file)));
    let (sent_nowhere, notes) = built(&first, &["--cache-to", &place]);
    assert!(sent(&sent_nowhere).is_empty() && notes.contains("a directory keeps steps in the OCI format only"), "{notes}");
    let flags = ["--format", "oci", "--label", "own=1", "--annotation", "x=y", "--layer-label", "l=1"];
    let (out, _) = built(&first, &[&flags[..], &["--cache-to", &place]].concat());
    let (other, notes) = built(&second, &[&flags[..], &["--cache-from", &place]].concat());
    assert_eq!(other.matches("--> Cache pulled").count(), sent(&out).len(), "{other}\n{notes}");
    assert_eq!(id(&other), id(&out));
    let refused = first.env.run(["build", "--layers", "--format", "docker", "--cache-to", &place, "ctx"]).failure(125);
    assert!(refused.contains("a directory keeps steps in the OCI format only"), "{refused}");
    if skip_without(&[PROGRAM]) {
        return;
    }
    let registry = Registry::plain();
    let (first, second, place) = (Project::new(), Project::new(), registry.name("c"));
    [&first, &second].iter().for_each(|project| drop(project.env.write("ctx/Dockerfile", file)));
    let (out, _) = built(&first, &["--format", "docker", INSECURE, "--cache-to", &place]);
    let (other, notes) = built(&second, &["--format", "docker", INSECURE, "--cache-from", &place]);
    assert_eq!(other.matches("--> Cache pulled").count(), sent(&out).len(), "{other}\n{notes}");
    assert_eq!(id(&other), id(&out));
}

#[test]
fn images_that_do_not_stand_on_ours_are_not_taken() {
    let honest = Project::new();
    let dir = honest.env.work().join("steps");
    let place = format!("oci:{}", dir.display());
    let (out, _) = built(&honest, &["--cache-to", &place]);
    let keys = sent(&out);
    // The same words on other layers, and with other settings, under the keys of the honest steps.
    let evil = Project::new();
    evil.env
        .shell("c=$(coracle from base); echo evil >x; coracle copy -q $c x /x; coracle commit -q --rm $c base >/dev/null")
        .success();
    built(&evil, &[]);
    for (container, key) in keys.iter().enumerate().map(|(at, key)| (format!("c{at}"), key)) {
        evil.env.ok(["push", "-q", "app", &format!("{place}:{key}")]);
        let victim = Project::new();
        let (found, notes) = victim.build(&["--cache-from", &place]);
        // What is above settings alone may be found all the same: it stands on layers that are ours.
        let then = if key == &keys[0] || key == &keys[1] { Then::Cached } else { Then::Runs };
        assert_eq!(found, then, "{container}: {notes}");
        assert!(notes.contains("of the cache is not used: it "), "{notes}");
        assert_ne!(victim.stamp(), evil.stamp());
    }
    // One honest image under the key of another.
    built(&honest, &["--cache-to", &place]);
    let last = keys.last().expect("a key");
    honest.env.ok(["push", "-q", "app", &format!("{place}:{}", keys[0])]);
    let (found, notes) = Project::new().build(&["--cache-from", &place]);
    assert_eq!(found, Then::Cached, "{notes}");
    assert!(notes.contains("it has not the layers that the instruction makes"), "{notes}");
    // Bytes that are not what their name says.
    honest.env.ok(["tag", &id(&out)[..12], "again"]);
    std::fs::remove_dir_all(&dir).expect("the directory");
    built(&honest, &["--cache-to", &place]);
    damage_layers(&dir);
    let victim = Project::new();
    let (found, notes) = victim.build(&["--cache-from", &place]);
    assert_eq!(found, Then::Runs, "{last}: {notes}");
    assert!(notes.contains(&format!("the cache {place} is not used from here on: ")), "{notes}");
    victim.env.assert_store_is_clean();
}

/// Changes a byte of each blob that is no document.
fn damage_layers(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("blobs/sha256")).expect("blobs") {
        let path = entry.expect("a blob").path();
        let mut bytes = std::fs::read(&path).expect("its bytes");
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).expect("other bytes");
        }
    }
}

#[test]
fn old_steps_of_other_machines_are_not_taken() {
    let keeper = Project::new();
    let place = format!("oci:{}", keeper.env.work().join("steps").display());
    built(&keeper, &["--cache-to", &place]);
    let (found, notes) = Project::new().build(&["--cache-from", &place, "--cache-ttl", "1ms"]);
    assert_eq!(found, Then::Runs);
    assert!(notes.contains("of the cache is not used: it is too old"), "{notes}");
    assert_eq!(Project::new().build(&["--cache-from", &place, "--cache-ttl", "1h"]).0, Then::Cached);
    assert_eq!(Project::new().build(&["--cache-from", &place, "--no-cache"]).0, Then::Runs);
}

#[test]
fn a_place_that_fails_costs_a_warning_and_no_build() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let registry = Registry::with_login();
    let busy = Proxy::start(None, |_, _| status("500 Internal Server Error", ""));
    for (place, more) in [(registry.name("c"), "--retry=0"), (format!("127.0.0.1:{}/c", busy.port()), "--retry=0")] {
        let project = Project::new();
        let (out, notes) = built(&project, &[INSECURE, more, "--cache-from", &place, "--cache-to", &place]);
        assert_eq!(notes.matches(&format!("the cache {place} is not used from here on: ")).count(), 1, "{notes}");
        assert_eq!(notes.matches(&format!("the cache {place} gets no more steps: ")).count(), 1, "{notes}");
        assert!(out.contains("Successfully tagged localhost/app:latest"), "{out}");
    }
    // With the password it works.
    let (place, creds) = (registry.name("c"), format!("{USER}:{PASSWORD}"));
    let flags = [INSECURE, "--creds", &creds, "--cache-from", &place, "--cache-to", &place];
    let (out, notes) = built(&Project::new(), &flags);
    assert_eq!((sent(&out).len(), notes.as_str()), (4, ""));
    let (out, _) = built(&Project::new(), &flags);
    assert_eq!((out.matches("pulled from").count(), sent(&out).len()), (4, 0), "{out}");
}

#[test]
fn what_a_place_has_is_not_sent_again() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let registry = Registry::plain();
    let proxy = Proxy::start(Some(&registry), |_, _| Answer::Pass);
    let place = format!("127.0.0.1:{}/c", proxy.port());
    let writes = || proxy.seen().iter().filter(|head| !head.starts_with("GET") && !head.starts_with("HEAD")).count();
    let project = Project::new();
    let flags = [INSECURE, "--cache-to", &place, "--cache-from", &place];
    built(&project, &flags);
    let first = writes();
    assert!(first > 0);
    let (out, _) = built(&project, &flags);
    assert_eq!(sent(&out).len(), 4, "what is in the store is offered: {out}");
    assert_eq!(writes(), first);
    built(&Project::new(), &flags);
    assert_eq!(writes(), first, "what was pulled is not offered");
    // The last step anew: its layer, its config and its manifest, and nothing of what is below.
    project.env.write("ctx/Dockerfile", format!("{FILE}RUN echo more >/more\n"));
    built(&project, &flags);
    let uploads = proxy.seen().iter().filter(|head| head.starts_with("PUT") && head.contains("/blobs/")).count();
    assert_eq!(uploads, 3 + 4 + 2, "layers of base, COPY and RUN, four configs; then one layer, one config");
}

#[test]
fn without_layers_the_flags_do_nothing_and_say_so() {
    let project = Project::new();
    let place = format!("oci:{}", project.env.work().join("steps").display());
    let out = project.env.run(["build", "--cache-to", &place, "ctx"]);
    out.success();
    assert!(out.err().contains("--cache-from and --cache-to have no effect without --layers"), "{out}");
    assert!(!project.env.work().join("steps").exists());
}

/// A store of whole trees and one of changes are two machines like others.
#[test]
fn stores_of_both_drivers_share_steps() {
    let keeper = Project::new();
    for (number, (first, second)) in [("vfs", "overlay"), ("overlay", "vfs"), ("vfs", "vfs")].into_iter().enumerate() {
        let place = format!("oci:{}", keeper.env.work().join(format!("steps{number}")).display());
        let (first, second) = (Project::on(first), Project::on(second));
        let (out, notes) = built(&first, &["--cache-to", &place]);
        assert_eq!((sent(&out).len(), notes.contains("cache")), (4, false), "{out}{notes}");
        let (other, notes) = built(&second, &["--cache-from", &place]);
        assert_eq!(other.matches("--> Cache pulled from remote ").count(), 4, "{number}: {other}{notes}");
        assert_eq!((id(&other), second.stamp()), (id(&out), first.stamp()));
        // What was pulled carries steps that are taken.
        second.env.write("ctx/Dockerfile", format!("{FILE}RUN cat /stamp >/again\n"));
        built(&second, &["--cache-from", &place]);
        let container = second.env.ok(["from", "--pull-never", "app"]);
        assert_eq!(second.env.inside(&container, "cat /again; rm /again /stamp"), first.stamp());
        [&first, &second].iter().for_each(|project| project.env.assert_store_is_clean());
    }
}

/// The steps are shared as ever; one layer is made of them by each machine.
#[test]
fn a_squashed_image_is_made_of_steps_of_another_machine() {
    let (first, second, third) = (Project::new(), Project::new(), Project::new());
    let place = format!("oci:{}", first.env.work().join("steps").display());
    let (out, notes) = built(&first, &["--squash", "--cache-to", &place]);
    assert_eq!((sent(&out).len(), notes.as_str()), (4, ""), "{out}");
    let (other, notes) = built(&second, &["--squash", "--cache-from", &place]);
    assert_eq!(other.matches("--> Cache pulled from remote ").count(), 4, "{other}{notes}");
    for project in [&first, &second] {
        assert_eq!(project.stamp(), first.stamp());
        assert_eq!(project.env.ok(["inspect", "--format", "{{len .OCIv1.RootFS.DiffIDs}}", "app"]), "1");
    }
    // The image of the last step is that of a build without the flag.
    let (other, notes) = built(&third, &["--cache-from", &place]);
    assert_eq!(other.matches("--> Cache pulled from remote ").count(), 4, "{other}{notes}");
    assert_eq!(third.env.ok(["inspect", "--format", "{{len .OCIv1.RootFS.DiffIDs}}", "app"]), "3");
    let (again, notes) = built(&second, &["--squash", "--cache-from", &place]);
    assert_eq!(again.matches("--> Using cache ").count(), 4, "{again}{notes}");
    assert_eq!(second.stamp(), first.stamp());
    [&first, &second, &third].iter().for_each(|project| project.env.assert_store_is_clean());
}

/// The media types of all layers that a directory of steps has.
fn layer_types(dir: &Path) -> std::collections::BTreeSet<String> {
    let mut types = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(dir.join("blobs/sha256")).expect("blobs") {
        let bytes = std::fs::read(entry.expect("a blob").path()).expect("its bytes");
        let Ok(document) = serde_json::from_slice::<serde_json::Value>(&bytes) else { continue };
        let layers = document["layers"].as_array().into_iter().flatten();
        types.extend(layers.filter_map(|layer| layer["mediaType"].as_str()).map(str::to_owned));
    }
    types
}

#[test]
fn steps_are_compressed_as_was_said_and_found_whatever_was_said() {
    let first = Project::new();
    let dir = first.env.work().join("steps");
    let place = format!("oci:{}", dir.display());
    let cases: [(&[&str], &str); 3] = [
        (&[], "tar+gzip"),
        (&["--compression-format", "gzip", "--compression-level", "1"], "tar+gzip"),
        (&["--compression-format", "zstd", "--compression-level", "3", "--force-compression"], "tar+zstd"),
    ];
    for (flags, kind) in cases {
        let _ = std::fs::remove_dir_all(&dir);
        let (out, notes) = built(&first, &[flags, &["--cache-to", &place]].concat());
        assert_eq!((sent(&out).len(), notes.as_str()), (4, ""), "{out}");
        let types: Vec<String> = layer_types(&dir).into_iter().collect();
        assert_eq!(types, [format!("application/vnd.oci.image.layer.v1.{kind}")], "{flags:?}");
        let second = Project::new();
        let (other, notes) = built(&second, &["--cache-from", &place]);
        assert_eq!(other.matches("--> Cache pulled from remote ").count(), 4, "{flags:?}: {other}{notes}");
        assert_eq!((id(&other), second.stamp()), (id(&out), first.stamp()), "{flags:?}");
        second.env.assert_store_is_clean();
    }
}
