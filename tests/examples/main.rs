//! The scripts of `contrib/examples`, each run by Debian's Buildah and by us, on the overlay driver and on vfs: stdout, status, and
//! of every image config, history and the files of each layer are equal.
//!
//! All scripts of a group run in one store, in their order, so that what one leaves is there for the next, as on a build machine. The
//! same scripts run under the other isolations of ours, and in containers without further privileges; what they must print is what
//! Buildah printed outside.

#[path = "../harness/mod.rs"]
mod harness;
mod in_container;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use harness::{CommandOutput, TestEnv, am_root, skip_without};
use in_container::Kind;

/// Scripts that need nothing but the machine's busybox. The first makes the base image of the others.
const BUSYBOX: &[&str] = &[
    "busybox-base",
    "scratch-binary",
    "static-web-server",
    "layers-by-commit",
    "edit-in-place",
    "host-tools",
    "docker-format",
    "metadata",
    "squash",
    "build-and-copy",
    "archives",
    "reproducible",
    "variants",
    "unprivileged-user",
    "failing-step",
    "ignore-file",
    "settings-from-json",
    "run-options",
    "history",
    "cleanup",
];

/// Scripts on a Debian root file system.
const DEBIAN: &[&str] = &["debian-base", "python-service", "toolchain", "distroless", "nginx-site"];

/// Scripts that open ports of the host's network: one at a time.
static NETWORK: Mutex<()> = Mutex::new(());

/// Who runs the scripts.
#[derive(Debug, Clone, Copy)]
struct Builder {
    program: &'static str,
    /// `BUILDAH_ISOLATION`.
    isolation: &'static str,
    runtime: &'static str,
    /// The container that the scripts run in, if they do.
    inside: Option<Kind>,
}

/// The reference: Debian's Buildah with the isolation that works everywhere.
const BUILDAH: Builder = Builder { program: "buildah", isolation: "chroot", runtime: "", inside: None };
/// Ours, with the isolation that is ours when nothing is said.
const CORACLE: Builder = Builder { program: "coracle", isolation: "", runtime: "", inside: None };
const CHROOT: Builder = Builder { isolation: "chroot", ..CORACLE };
const RUNC: Builder = Builder { isolation: "oci", runtime: "runc", ..CORACLE };
const CRUN: Builder = Builder { isolation: "oci", runtime: "crun", ..CORACLE };
const IN_PODMAN: Builder = Builder { inside: Some(Kind::Podman), ..CHROOT };
const IN_DOCKER: Builder = Builder { inside: Some(Kind::Docker), ..CHROOT };

/// The line that the script about options prints when it was given a host name.
const HOST_NAME_LINE: usize = 6;

/// What a script asks for that a machine without mounts and namespaces cannot give: it ends with these words on stderr.
const IMPOSSIBLE_IN_DOCKER: (&str, &str) =
    ("run-options", "Error: a mount at \"/in\" is not possible here, where nothing can be mounted");

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/examples")
}

/// An environment on a storage driver, with the scripts where the user can reach them.
fn environment(driver: &str, builder: Builder) -> TestEnv {
    let mut env = TestEnv::new();
    env.write_home(".config/containers/storage.conf", format!("[storage]\ndriver = \"{driver}\"\n"));
    env.set("BUILDER", builder.program);
    for (name, value) in [("BUILDAH_ISOLATION", builder.isolation), ("BUILDAH_RUNTIME", builder.runtime)] {
        if !value.is_empty() {
            env.set(name, value);
        }
    }
    for entry in fs::read_dir(examples()).expect("the examples").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() {
            env.write(&format!("examples/{name}"), fs::read(entry.path()).expect("an example"));
        }
    }
    env.write("describe.py", include_str!("describe.py"));
    env.shell("chmod 755 examples/*").success();
    env
}

/// What a script printed and how it ended.
fn run(env: &TestEnv, builder: Builder, script: &str) -> (String, Option<i32>, String) {
    let text = fs::read_to_string(examples().join(script)).expect("an example");
    let network = text.contains("--network host").then(|| NETWORK.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let program = env.work().join("examples").join(script);
    let output = match builder.runtime {
        "crun" => without_mixed_groups(env, &program),
        _ => env.tool(&program.to_string_lossy(), [""; 0]),
    };
    drop(network);
    (output.out(), output.code, output.err())
}

/// Runs a script as root of the machine would let the user run it: crun refuses a machine with control groups of both versions, so
/// that those of version 2 are covered, in a mount namespace of the script's own.
fn without_mixed_groups(env: &TestEnv, script: &Path) -> CommandOutput {
    let user = harness::test_user();
    let cover = "[ ! -d /sys/fs/cgroup/unified ] || mount -t tmpfs none /sys/fs/cgroup/unified";
    let become_user = format!("exec setpriv --reuid {} --regid {} --clear-groups -- \"$0\"", user.uid, user.gid);
    let own = env.command("unshare");
    let mut command = std::process::Command::new("unshare");
    command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(env.work());
    command.args(["-m", "sh", "-euc", &format!("{cover}; {become_user}")]).arg(script);
    env.output(command, b"")
}

/// The images of the store, described by a third tool.
fn images(env: &TestEnv) -> String {
    let list = "skopeo --version >/dev/null; names=$(buildah images --format '{{.Name}}:{{.Tag}}' | grep -v none | sort)";
    env.shell(&format!("{list}; python3 describe.py $names")).success()
}

/// What a group of scripts said, one by one, and the images that it left.
#[derive(Clone)]
struct Answers {
    scripts: Vec<(String, Option<i32>, String)>,
    images: String,
}

fn run_group(driver: &str, scripts: &[&str], builder: Builder, debian: Option<&Path>) -> Answers {
    let mut env = environment(driver, builder);
    if let Some(tar) = debian {
        env.set("DEBIAN_TAR", &tar.to_string_lossy());
    }
    let scripts = match builder.inside {
        Some(kind) => in_container::run(&env, kind, scripts),
        None => scripts.iter().map(|script| run(&env, builder, script)).collect(),
    };
    Answers { scripts, images: images(&env) }
}

/// Scripts that run in one store.
struct Group {
    driver: &'static str,
    scripts: &'static [&'static str],
    /// What Buildah answered, asked once for all isolations.
    reference: OnceLock<Answers>,
}

static BUSYBOX_ON_OVERLAY: Group = Group { driver: "overlay", scripts: BUSYBOX, reference: OnceLock::new() };
static BUSYBOX_ON_VFS: Group = Group { driver: "vfs", scripts: BUSYBOX, reference: OnceLock::new() };
static DEBIAN_ON_OVERLAY: Group = Group { driver: "overlay", scripts: DEBIAN, reference: OnceLock::new() };
static DEBIAN_ON_VFS: Group = Group { driver: "vfs", scripts: DEBIAN, reference: OnceLock::new() };

/// What differs between Buildah and `builder` over a group of scripts.
///
/// Debian's Buildah now and then loses what a command under its chroot isolation printed: what differs is asked again.
fn differences(group: &Group, builder: Builder, debian: Option<&Path>) -> Vec<String> {
    let Group { driver, scripts, reference } = group;
    let ask = || run_group(driver, scripts, BUILDAH, debian);
    let (first, ours) = std::thread::scope(|scope| {
        let first = scope.spawn(|| reference.get_or_init(ask));
        let ours = scope.spawn(|| run_group(driver, scripts, builder, debian));
        (first.join().expect("buildah's side"), ours.join().expect("our side"))
    });
    let compare = |theirs: &Answers| {
        let (theirs, ours) = without_the_impossible(builder, theirs, &ours);
        compare(scripts, &theirs, &ours)
    };
    let mut wrong = compare(first);
    for _ in 0..2 {
        if wrong.is_empty() {
            break;
        }
        let again = compare(&ask());
        wrong.retain(|(place, _)| again.iter().any(|(other, _)| other == place));
    }
    wrong.into_iter().map(|(place, text)| format!("{place} on {driver} ({builder:?})\n{text}")).collect()
}

/// The reference without what `builder` cannot do, and ours with the reference's answer there, after a look at how it failed.
fn without_the_impossible(builder: Builder, theirs: &Answers, ours: &Answers) -> (Answers, Answers) {
    let (mut theirs, mut ours) = (theirs.clone(), ours.clone());
    let Some(kind) = builder.inside else { return (theirs, ours) };
    let (script, words) = IMPOSSIBLE_IN_DOCKER;
    let at = BUSYBOX.iter().position(|name| *name == script).expect("the script");
    let (text, status, stderr) = &mut ours.scripts[at];
    match kind {
        Kind::Podman => {
            // Its filter lets nobody set a host name, not even in a namespace of one's own.
            let kept = text.lines().nth(HOST_NAME_LINE).expect("the host name").to_owned();
            *text = text.replace(&format!("\n{kept}\n"), "\nstepbox\n");
        }
        Kind::Docker => {
            assert!(*status == Some(125) && stderr.contains(words), "{script}: {text}\n{stderr}");
            ours.scripts[at] = theirs.scripts[at].clone();
            theirs.images = without_image(&theirs.images, script);
            ours.images = without_image(&ours.images, script);
        }
    }
    (theirs, ours)
}

/// The description of images without that of one of them.
fn without_image(description: &str, name: &str) -> String {
    let title = format!("=== localhost/{name}:latest");
    let mut keep = true;
    let lines = description.lines().filter(|line| {
        if line.starts_with("=== ") {
            keep = !line.starts_with(&title);
        }
        keep
    });
    lines.map(|line| format!("{line}\n")).collect::<String>().trim_end().to_owned()
}

/// The scripts that differ, or `images`, with what differs.
fn compare<'s>(scripts: &[&'s str], theirs: &Answers, ours: &Answers) -> Vec<(&'s str, String)> {
    let mut wrong = Vec::new();
    for (script, (their, our)) in scripts.iter().zip(theirs.scripts.iter().zip(&ours.scripts)) {
        if their.0 != our.0 || their.1 != our.1 {
            let show = |answer: &(String, Option<i32>, String)| format!("{}[{:?}]\n{}", answer.0, answer.1, answer.2);
            wrong.push((*script, format!("--- buildah\n{}\n--- ours\n{}", show(their), show(our))));
        }
        assert_eq!(their.1, Some(0), "{script} must succeed with buildah:\n{}{}", their.0, their.2);
    }
    wrong.extend(first_difference(&theirs.images, &ours.images).map(|text| ("images", text)));
    wrong
}

/// The first lines that differ, with the image and layer that they belong to.
fn first_difference(theirs: &str, ours: &str) -> Option<String> {
    if theirs == ours {
        return None;
    }
    let place = |lines: &[&str]| lines.iter().rev().find(|line| line.starts_with("===")).map_or("", |line| line).to_owned();
    let (left, right): (Vec<_>, Vec<_>) = (theirs.lines().collect(), ours.lines().collect());
    let at = left.iter().zip(&right).position(|(one, other)| one != other).unwrap_or(left.len().min(right.len()));
    let window = |lines: &[&str]| lines.iter().skip(at.saturating_sub(2)).take(8).copied().collect::<Vec<_>>().join("\n");
    let before = left.get(..at).unwrap_or_default();
    Some(format!("{}\n--- buildah\n{}\n--- ours\n{}", place(before), window(&left), window(&right)))
}

#[track_caller]
fn assert_equal(group: &Group, builder: Builder) {
    if skip_without(&["buildah", "skopeo", "jq", "python3", "runc", "podman"]) {
        return;
    }
    let debian = match group.scripts == DEBIAN {
        true => match debian_tar() {
            None => return,
            tar => tar,
        },
        false => None,
    };
    let wrong = differences(group, builder, debian.as_deref());
    assert!(wrong.is_empty(), "{} differences:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// The tar that `contrib/test` makes with debootstrap; none where the package source could not be reached.
fn debian_tar() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CORACLE_TEST_DEBIAN_TAR")?);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {path:?} does not exist");
    None
}

#[test]
fn every_script_is_in_a_group() {
    let mut known: Vec<&str> = BUSYBOX.iter().chain(DEBIAN).copied().chain(["debootstrap", "README.md"]).collect();
    known.sort_unstable();
    let mut found: Vec<String> = fs::read_dir(examples())
        .expect("the examples")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn scripts_on_busybox_do_the_same_on_overlay() {
    assert_equal(&BUSYBOX_ON_OVERLAY, CORACLE);
}

#[test]
fn scripts_on_busybox_do_the_same_on_vfs() {
    assert_equal(&BUSYBOX_ON_VFS, CORACLE);
}

#[test]
fn scripts_on_busybox_do_the_same_in_a_chroot() {
    assert_equal(&BUSYBOX_ON_OVERLAY, CHROOT);
}

#[test]
fn scripts_on_busybox_do_the_same_in_a_chroot_on_vfs() {
    assert_equal(&BUSYBOX_ON_VFS, CHROOT);
}

#[test]
fn scripts_on_busybox_do_the_same_under_runc() {
    assert_equal(&BUSYBOX_ON_OVERLAY, RUNC);
}

/// For contrib/stress: the other groups say what is ours, and this one takes another minute.
#[test]
#[ignore = "run by contrib/stress"]
fn scripts_on_busybox_do_the_same_under_crun() {
    if !am_root() || skip_without(&["crun"]) {
        return; // covering control groups for a user needs root
    }
    assert_equal(&BUSYBOX_ON_OVERLAY, CRUN);
}

/// Where a container may make user namespaces of its own, as podman's may, nothing is missing.
#[test]
fn scripts_on_busybox_do_the_same_in_a_container() {
    assert_equal(&BUSYBOX_ON_VFS, IN_PODMAN);
}

/// Where it may make none and mount nothing, as docker's, all but one script do the same.
#[test]
fn scripts_on_busybox_do_the_same_in_a_container_that_may_mount_nothing() {
    assert_equal(&BUSYBOX_ON_VFS, IN_DOCKER);
}

#[test]
fn scripts_on_debian_do_the_same_on_overlay() {
    assert_equal(&DEBIAN_ON_OVERLAY, CORACLE);
}

#[test]
fn scripts_on_debian_do_the_same_on_vfs() {
    assert_equal(&DEBIAN_ON_VFS, CORACLE);
}

#[test]
fn scripts_on_debian_do_the_same_in_a_chroot() {
    assert_equal(&DEBIAN_ON_OVERLAY, CHROOT);
}

#[test]
fn scripts_on_debian_do_the_same_under_runc() {
    assert_equal(&DEBIAN_ON_OVERLAY, RUNC);
}
