//! Several processes on one store: killed at any moment, and all at once.

mod fixture;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use containers_storage::ContainerId;
use containers_storage::check::{self, Depth};
use containers_storage::conf::Conf;
use containers_storage::store::{NameChange, NewContainer, Store};
use fixture::{World, as_user, have, new_image, put_layer};

const WORKER: &str = "CORACLE_TEST_WORKER";
/// How often a worker works; unset, it does so until it is killed.
const ROUNDS: &str = "CORACLE_TEST_ROUNDS";
const KILLS: u32 = 80;

/// Whether the test that kills goes on: a number of rounds, or for as many seconds as `contrib/stress` says.
fn goes_on(round: u32, start: Instant) -> bool {
    let seconds = std::env::var("CORACLE_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    seconds.map_or(round < KILLS, |seconds| start.elapsed() < Duration::from_secs(seconds))
}

fn create(store: &Store, name: &str) -> ContainerId {
    let image = store.images().unwrap().by_name("localhost/base:1").unwrap().unwrap();
    let new = NewContainer { image: Some(image.id), parent: image.layer, ..NewContainer::default() };
    let mut names = |attempt| Some(if attempt == 0 { name.to_owned() } else { format!("{name}-{attempt}") });
    let mut state = |_: &_, dir: &Path| std::fs::write(dir.join("buildah.json"), "{}");
    store.create_container(&new, &mut names, &mut state).unwrap().id
}

/// One of everything that changes a store.
fn work_once(store: &Store, tag: &str) {
    let id = create(store, "worker");
    store.rename_container(&id, &format!("renamed-{id}")).unwrap();
    let base = store.images().unwrap().by_name("localhost/base:1").unwrap().unwrap();
    let below = store.layers().unwrap().chain(base.layer.as_ref().unwrap()).unwrap();
    let top = put_layer(store, base.layer.as_ref(), &[("tag", tag)]);
    let layers: Vec<_> = below.into_iter().rev().chain([top]).collect();
    let image = store.put_image(&new_image(&layers, tag, &["localhost/shared:1", &format!("localhost/{tag}:1")])).unwrap();
    store.change_image_names(&image.id, NameChange::Add, &["localhost/shared:2".into()]).unwrap();
    assert!(store.delete_container(&id).unwrap().finish().unwrap());
    assert!(store.delete_image(&image.id).unwrap().finish().unwrap());
}

/// Alone, one round of work on a store of its own; started by another test, as many as it says, on that test's store.
#[test]
fn worker() {
    let Ok(dir) = std::env::var(WORKER) else {
        return as_user("worker", |world| {
            let (store, _) = prepare(world);
            work_once(&store, "alone");
            assert_eq!(store.images().unwrap().all().unwrap().len(), 1);
            assert_eq!(store.containers().unwrap().all().unwrap().len(), 1);
            let report = check::check(&store, Depth::Content).unwrap();
            assert!(report.findings.is_empty(), "{report:#?}");
        });
    };
    let dir = Path::new(&dir);
    let store = Store::open(Conf::at(&dir.join("g"), &dir.join("r"), containers_storage::id_map::is_rootless())).unwrap();
    let count = std::env::var(ROUNDS).map_or(u32::MAX, |text| text.parse().unwrap());
    let mark = std::process::id();
    println!("ready");
    std::io::stdout().flush().unwrap();
    for round in 0..count {
        work_once(&store, &format!("p{mark}-{round}"));
    }
}

fn start_worker(world: &World, rounds: Option<u32>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "worker", "--nocapture"]).env(WORKER, world.path("")).env_remove(ROUNDS);
    if let Some(rounds) = rounds {
        command.env(ROUNDS, rounds.to_string());
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next().expect("the worker starts").unwrap().contains("ready") {}
    // The rest of its output goes nowhere, and must not block it.
    std::thread::spawn(move || lines.count());
    child
}

fn prepare(world: &World) -> (Store, ContainerId) {
    let store = world.store();
    let base = put_layer(&store, None, &[("a", "1")]);
    store.put_image(&new_image(&[base], "base", &["localhost/base:1"])).unwrap();
    let kept = create(&store, "kept");
    (store, kept)
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_sound_store() {
    as_user("a_process_killed_at_any_moment_leaves_a_sound_store", |world| {
        let (store, kept) = prepare(world);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let (mut dirty, mut round, start) = (0, 0, Instant::now());
        while goes_on(round, start) {
            round += 1;
            let mut child = start_worker(world, None);
            // Xorshift: the same moments in every run, as far as the machine allows.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            std::thread::sleep(Duration::from_micros(seed % 25_000));
            child.kill().unwrap();
            child.wait().unwrap();

            let report = check::check(&store, Depth::Structure).unwrap();
            assert!(report.is_sound(), "round {round}: {report:#?}");
            assert!(report.findings.iter().all(|finding| finding.repairable), "round {round}: {report:#?}");
            dirty += u32::from(!report.findings.is_empty());
            assert_eq!(store.container("kept").unwrap().id, kept);
            assert!(store.images().unwrap().by_name("localhost/base:1").unwrap().is_some());
            let next = create(&store, "next");
            assert!(store.delete_container(&next).unwrap().finish().unwrap());
        }
        assert!(dirty > 0, "no kill hit anything: the test proves nothing");
        check::repair(&store).unwrap();
        let report = check::check(&store, Depth::Content).unwrap();
        assert!(report.findings.is_empty(), "{report:#?}");
    });
}

#[test]
fn processes_at_once_lose_nothing() {
    as_user("processes_at_once_lose_nothing", |world| {
        let (store, kept) = prepare(world);
        let mut workers: Vec<Child> = (0..4).map(|_| start_worker(world, Some(15))).collect();
        let others = if have(&["podman", "buildah"]) { 3 } else { 0 };
        let mut names = Vec::new();
        for _ in 0..others {
            names.push(world.ok("buildah", &["from", "--pull-never", "localhost/base:1"]));
            // podman's list fails when an image goes while it reads; what matters is what it leaves behind.
            world.tool("podman", &["images", "-q"]);
            world.ok("podman", &["tag", "localhost/base:1", "localhost/more:1"]);
        }
        for worker in &mut workers {
            assert!(worker.wait().unwrap().success());
        }
        for name in &names {
            store.container(name.trim()).unwrap();
            world.ok("buildah", &["rm", name.trim()]);
        }
        let containers = store.containers().unwrap().all().unwrap();
        assert_eq!(containers.into_iter().map(|container| container.id).collect::<Vec<_>>(), [kept]);
        let images = store.images().unwrap().all().unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].names.contains(&"localhost/more:1".to_owned()), others > 0);
        let report = check::check(&store, Depth::Content).unwrap();
        assert!(report.findings.is_empty(), "{report:#?}");
    });
}
