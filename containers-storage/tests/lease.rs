//! Leases between processes: who is told what, and that a killed holder leaves nothing behind.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use containers_storage::LayerId;
use containers_storage::lease::{self, Arrival};

const ROLE: &str = "CORACLE_TEST_LEASE_HOLDER";

/// A process that holds the lease until it is told to end, or killed.
struct Holder {
    child: Child,
    _stdin: ChildStdin,
}

/// Not a test by itself: what `Holder` runs.
#[test]
fn role_of_the_holder() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (root, layer) = role.split_once('|').unwrap();
    let layer: LayerId = layer.parse().unwrap();
    let arrival = lease::arrive(Path::new(root), &layer, Path::new("/nonexistent")).unwrap();
    let (word, gate) = match arrival {
        Arrival::Free(gate) => ("free".to_owned(), gate),
        Arrival::HeldBy { pid, gate } => (format!("held {pid}"), gate),
        Arrival::MountedHere { .. } => panic!("nothing is mounted"),
    };
    let _lease = gate.enter().unwrap();
    println!("entered: {word}");
    std::io::stdout().flush().unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

impl Holder {
    /// Starts one, and says what it found on arrival.
    fn start(root: &Path, layer: &LayerId) -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "role_of_the_holder", "--nocapture"])
            .env(ROLE, format!("{}|{layer}", root.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let word = lines.map_while(Result::ok).find_map(|line| line.split_once("entered: ").map(|(_, word)| word.to_owned()));
        let stdin = child.stdin.take().unwrap();
        (Self { child, _stdin: stdin }, word.expect("the holder died"))
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn arrive(root: &Path, layer: &LayerId) -> Arrival {
    lease::arrive(root, layer, Path::new("/nonexistent")).unwrap()
}

#[test]
fn a_second_process_is_sent_to_the_first_and_a_third_to_one_of_them() {
    let tmp = tempfile::tempdir().unwrap();
    let layer = LayerId::random();
    let (first, word) = Holder::start(tmp.path(), &layer);
    assert_eq!(word, "free");
    let (second, word) = Holder::start(tmp.path(), &layer);
    assert_eq!(word, format!("held {}", first.pid()));
    assert_eq!(lease::users(tmp.path(), &layer).unwrap(), [first.pid(), second.pid()]);
    first.kill();
    let Arrival::HeldBy { pid, gate } = arrive(tmp.path(), &layer) else { panic!("the second still holds it") };
    assert_eq!(pid, second.pid());
    assert_eq!(gate.candidates(), [second.pid()]);
    drop(gate);
    second.kill();
    assert!(lease::users(tmp.path(), &layer).unwrap().is_empty());
}

#[test]
fn a_killed_holder_leaves_the_lease_free() {
    let tmp = tempfile::tempdir().unwrap();
    let layer = LayerId::random();
    for _ in 0..5 {
        let (holder, word) = Holder::start(tmp.path(), &layer);
        assert_eq!(word, "free");
        holder.kill();
    }
    assert!(matches!(arrive(tmp.path(), &layer), Arrival::Free(_)));
}

#[test]
fn other_layers_are_not_concerned() {
    let tmp = tempfile::tempdir().unwrap();
    let (holder, _) = Holder::start(tmp.path(), &LayerId::random());
    assert!(matches!(arrive(tmp.path(), &LayerId::random()), Arrival::Free(_)));
    holder.kill();
}

#[test]
fn of_many_that_arrive_at_once_exactly_one_finds_it_free() {
    let tmp = tempfile::tempdir().unwrap();
    let layer = LayerId::random();
    let words: Vec<(Holder, String)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Holder::start(tmp.path(), &layer))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(words.iter().filter(|(_, word)| word == "free").count(), 1);
    assert_eq!(lease::users(tmp.path(), &layer).unwrap().len(), 8);
    for (holder, _) in words {
        holder.kill();
    }
}

#[test]
fn a_lease_that_is_dropped_is_free_again_and_unlisted() {
    let tmp = tempfile::tempdir().unwrap();
    let layer = LayerId::random();
    let Arrival::Free(gate) = arrive(tmp.path(), &layer) else { panic!("free") };
    let held = gate.enter().unwrap();
    assert_eq!(lease::users(tmp.path(), &layer).unwrap(), [std::process::id()]);
    drop(held);
    assert!(lease::users(tmp.path(), &layer).unwrap().is_empty());
    assert!(matches!(arrive(tmp.path(), &layer), Arrival::Free(_)));
}

#[test]
fn only_the_last_user_is_alone_and_nobody_arrives_meanwhile() {
    let tmp = tempfile::tempdir().unwrap();
    let layer = LayerId::random();
    let Arrival::Free(gate) = arrive(tmp.path(), &layer) else { panic!("free") };
    let lease = gate.enter().unwrap();
    let (other, _) = Holder::start(tmp.path(), &layer);
    assert!(lease.alone().is_none());
    other.kill();
    let alone = lease.alone().expect("the other one died");
    let arrived = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (holder, word) = Holder::start(tmp.path(), &layer);
            arrived.store(true, std::sync::atomic::Ordering::SeqCst);
            holder.kill();
            word
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!arrived.load(std::sync::atomic::Ordering::SeqCst), "the gate is shut");
        drop(alone);
        assert_eq!(thread.join().unwrap(), format!("held {}", std::process::id()));
    });
    drop(lease);
    assert!(matches!(arrive(tmp.path(), &layer), Arrival::Free(_)));
}

#[test]
fn a_session_is_listed_without_holding_the_lease_until_it_dies_or_leaves() {
    let tmp = tempfile::tempdir().unwrap();
    let layer = LayerId::random();
    let mut shell = Command::new("sleep").arg("60").spawn().unwrap();
    let Arrival::Free(gate) = arrive(tmp.path(), &layer) else { panic!("free") };
    gate.enter_session(shell.id()).unwrap();
    let Arrival::Free(gate) = arrive(tmp.path(), &layer) else { panic!("a session holds no lock") };
    assert_eq!(gate.sessions(), [shell.id()]);
    gate.leave_session().unwrap();
    let Arrival::Free(gate) = arrive(tmp.path(), &layer) else { panic!("free") };
    assert!(gate.sessions().is_empty());
    gate.enter_session(shell.id()).unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
    let Arrival::Free(gate) = arrive(tmp.path(), &layer) else { panic!("free") };
    assert!(gate.sessions().is_empty());
}

#[test]
fn a_mount_point_here_is_reported_as_such() {
    let tmp = tempfile::tempdir().unwrap();
    let arrival = lease::arrive(tmp.path(), &LayerId::random(), Path::new("/proc")).unwrap();
    assert!(matches!(arrival, Arrival::MountedHere { path, .. } if path == Path::new("/proc")));
}

#[test]
fn damage_to_the_list_is_survived() {
    let tmp = tempfile::tempdir().unwrap();
    let layer = LayerId::random();
    std::fs::create_dir_all(tmp.path().join("coracle/leases")).unwrap();
    std::fs::write(tmp.path().join("coracle/leases").join(&layer), b"user 1 \xff\0\nuser 99999999999\nnonsense").unwrap();
    let Arrival::Free(gate) = arrive(tmp.path(), &layer) else { panic!("free") };
    let _lease = gate.enter().unwrap();
    assert_eq!(lease::users(tmp.path(), &layer).unwrap(), [std::process::id()]);
    lease::forget(tmp.path(), &layer).unwrap();
    lease::forget(tmp.path(), &layer).unwrap();
    assert!(lease::users(tmp.path(), &layer).unwrap().is_empty());
}
