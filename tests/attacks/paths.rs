//! Path resolution (known attacks A01 to A20): names from an image, a context or a running container never lead out of the
//! directory that owns them. `tests/copier.rs` has the same races against the library, with thousands of rounds.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::TestEnv;

/// A tree of the user's own beside the store, which nothing may change or read.
pub struct Canary {
    pub path: PathBuf,
    before: Vec<(PathBuf, u32, u32, i64, u64)>,
}

pub const SECRET: &str = "the canary's secret";

impl Canary {
    pub fn new(env: &TestEnv) -> Self {
        env.write("canary/secret", SECRET);
        env.write("canary/sub/file", SECRET);
        let path = env.work().join("canary");
        let before = Self::state(&path);
        Self { path, before }
    }

    fn state(path: &Path) -> Vec<(PathBuf, u32, u32, i64, u64)> {
        let mut found = Vec::new();
        let mut waiting = vec![path.to_path_buf()];
        while let Some(path) = waiting.pop() {
            let meta = fs::symlink_metadata(&path).expect("the canary's metadata");
            if meta.is_dir() {
                waiting.extend(fs::read_dir(&path).expect("the canary").map(|entry| entry.expect("an entry").path()));
            }
            // A directory's time changes when the control is removed from it.
            let time = if meta.is_dir() { 0 } else { meta.mtime() };
            found.push((path, meta.mode(), meta.uid(), time, meta.ino()));
        }
        found.sort();
        found
    }

    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(Self::state(&self.path), self.before, "the canary was changed");
        assert_eq!(fs::read_to_string(self.path.join("secret")).expect("the secret"), SECRET);
    }
}

/// A process in the container's mount that swaps `/d` for a link to the canary and back.
pub struct Racer {
    child: Child,
    /// Kept open: the process says how its test ended.
    _output: BufReader<ChildStdout>,
}

impl Racer {
    /// Starts it in `container`, which gets the directory and the link, and waits until a naive program, the control, was hit.
    pub fn start(env: &TestEnv, container: &str, canary: &Canary) -> Self {
        Self::start_in(env, &format!("$(coracle mount {container})"), canary)
    }

    /// The same in a directory, which is a word of a shell script.
    pub fn start_in(env: &TestEnv, directory: &str, canary: &Canary) -> Self {
        let program = env.write("racer", fs::read("/proc/self/exe").expect("this program"));
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
        let script = format!(
            "m={directory}; mkdir $m/d; ln -s {canary} $m/link; RACER=$m CANARY={canary} \
             exec {program} paths::racer_process --exact --ignored --nocapture",
            canary = canary.path.display(),
            program = program.display()
        );
        let mut command = env.command("coracle");
        command.args(["unshare", "sh", "-euc", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the racer starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let hit = output.by_ref().lines().map_while(Result::ok).any(|line| line.contains("the control was hit"));
        assert!(hit, "the race hits nobody: it proves nothing");
        Self { child, _output: output }
    }

    pub fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("the racer").success());
    }
}

/// Not a test: what `Racer` runs inside the container's mount.
#[test]
#[ignore = "run by the tests of races in a process of its own"]
fn racer_process() {
    let Some(root) = std::env::var_os("RACER").map(PathBuf::from) else { return };
    let canary = PathBuf::from(std::env::var_os("CANARY").expect("the canary"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let (directory, link) = (root.join("d"), root.join("link"));
                match rustix::fs::renameat_with(rustix::fs::CWD, &directory, rustix::fs::CWD, &link, flags) {
                    // A copy may put a directory where the link was: for a moment there is neither.
                    Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                    Err(error) => panic!("not exchanged: {error}"),
                }
                if !directory.is_symlink() && !link.is_symlink() && directory.exists() {
                    let _ = fs::remove_dir_all(&link);
                    symlink(&canary, &link).expect("linked anew");
                }
            }
        });
        let naive = canary.join("naive");
        let start = Instant::now();
        while !naive.exists() && start.elapsed() < Duration::from_secs(20) {
            let _ = fs::write(root.join("d/naive"), "");
        }
        if fs::remove_file(&naive).is_ok() {
            println!("the control was hit");
        }
        std::io::stdin().read_to_end(&mut Vec::new()).expect("stdin");
        stop.store(true, Ordering::Relaxed);
    });
}

/// A01, A02, A03, A18: CVE-2018-15664, CVE-2019-10152, CVE-2021-41089.
#[test]
fn copies_into_and_out_of_a_container_that_swaps_directories_stay_inside() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    env.write("f", "content");
    env.write("tree/d/g", "content");
    let container = env.ok(["from", "scratch"]);
    let other = env.ok(["from", "scratch"]);
    let racer = Racer::start(&env, &container, &canary);
    for _ in 0..60 {
        // Done inside or refused; what counts is the canary.
        env.run(["copy", "--chown", "5:6", "--chmod", "4777", &container, "f", "/d/x"]);
        env.run(["copy", &container, "tree", "/"]);
        env.run(["copy", "--from", &container, &other, "/d/*", "/out/"]);
    }
    let image = env.run(["commit", "-q", &container, "raced"]);
    racer.stop();
    canary.assert_untouched();
    let script = "m=$(coracle mount $0); grep -rl \"the canary's secret\" $m || true";
    assert_eq!(env.ok(["unshare", "sh", "-euc", script, &other]), "", "the canary was read");
    if image.code == Some(0) {
        let committed = env.ok(["from", "raced"]);
        assert_eq!(env.ok(["unshare", "sh", "-euc", script, &committed]), "", "the canary is in the layer");
    }
    env.assert_store_is_clean();
}

/// A16: CVE-2022-21658.
#[test]
fn removing_a_container_that_swaps_directories_removes_nothing_else() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    for _ in 0..3 {
        let container = env.ok(["from", "scratch"]);
        let racer = Racer::start(&env, &container, &canary);
        env.run(["rm", &container]);
        drop(racer);
        env.run(["rm", &container]);
        canary.assert_untouched();
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        // Its directory may be gone, so how it ends says nothing.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A01, A03, A11: links that an image brings along.
#[test]
fn links_of_an_image_are_followed_inside_it() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    env.write("f", "content");
    let container = env.ok(["from", "scratch"]);
    symlink(&canary.path, env.work().join("dir-link")).expect("linked");
    symlink(canary.path.join("secret"), env.work().join("file-link")).expect("linked");
    for (link, name) in [("dir-link", "/d"), ("file-link", "/f")] {
        env.ok(["copy", "-q", "--no-follow-symlinks", &container, link, name]);
    }
    for destination in ["/d/x", "/d/", "/f", "/d/sub/x", "/../../../d/x"] {
        env.run(["copy", "--chown", "5:6", "--chmod", "4777", &container, "f", destination]);
    }
    env.run(["config", "--workingdir", "/d/new", &container]);
    env.run(["copy", &container, "f"]);
    canary.assert_untouched();
    let out = env.run(["copy", "--from", &container, &container, "/d/sub/file", "/stolen"]);
    assert!(out.failure(125).contains("no such file or directory"), "{out}");
    // The link to the file led to nothing, and there is a directory of that name inside now.
    env.ok(["copy", "-q", "--from", &container, &container, "/d/secret", "/seen"]);
    let script = format!("cd $(coracle mount {container}); find seen; grep -rl \"{SECRET}\" . || true");
    assert_eq!(env.ok(["unshare", "sh", "-euc", &script]), "seen\nseen/f");
}

/// A08: an ignore file is taken for a secrecy boundary.
#[test]
fn an_ignored_file_is_not_reached_by_another_name() {
    let env = TestEnv::new();
    env.write("context/secret", SECRET);
    env.write("context/x/other", "");
    env.write("ignore", "secret*\n");
    symlink("secret", env.work().join("context/l")).expect("linked");
    let container = env.ok(["from", "scratch"]);
    for name in ["secret", "l", "./x/../secret", "s?cret", "*cret", "/secret"] {
        let out = env.run(["copy", "--contextdir", "context", "--ignorefile", "ignore", &container, name, "/a"]);
        assert!(out.failure(125).contains("filtered out using ignore"), "{name}: {out}");
    }
    env.ok(["copy", "--contextdir", "context", "--ignorefile", "ignore", &container, ".", "/all"]);
    let names = env.ok(["unshare", "sh", "-euc", "m=$(coracle mount $0); ls $m/all; test ! -e $m/a", &container]);
    assert_eq!(names, "l\nx");
}

/// A12: CVE-2024-9676.
#[test]
fn owners_are_not_looked_up_in_what_is_no_file() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    env.write("f", "");
    let secret = canary.path.join("secret").display().to_string();
    let kinds =
        ["mkfifo passwd", &format!("ln -s {secret} passwd"), "ln -s /dev/zero passwd", "truncate -s 2G passwd", "mkdir passwd"];
    for kind in kinds {
        let container = env.ok(["from", "scratch"]);
        let script = format!("m=$(coracle mount $0); mkdir $m/etc; cd $m/etc; {kind}");
        env.ok(["unshare", "sh", "-euc", &script, &container]);
        let start = Instant::now();
        let error = env.run(["copy", "--chown", "bob", &container, "f", "/f"]).failure(125);
        assert!(start.elapsed() < Duration::from_secs(30), "{kind} took {:?}", start.elapsed());
        assert!(error.contains("looking up UID/GID for \"bob\"") && !error.contains(SECRET), "{kind}: {error}");
    }
}

/// A14: CVE-2026-93320.
#[test]
fn a_pipe_or_device_in_the_place_of_a_file_is_not_read() {
    let env = TestEnv::new();
    env.write("context/f", "");
    env.shell("mkfifo context/fifo pipe; ln -s /dev/zero zero").success();
    let container = env.ok(["from", "scratch"]);
    for name in ["pipe", "zero"] {
        let start = Instant::now();
        let out = env.run(["copy", "--contextdir", "context", "--ignorefile", name, &container, "f", "/f"]);
        assert!(out.failure(125).contains("reading ignore file"), "{name}: {out}");
        assert!(start.elapsed() < Duration::from_secs(30), "{name}");
    }
    env.ok(["copy", &container, "context/fifo", "/fifo"]);
    assert_eq!(env.ok(["unshare", "sh", "-euc", "m=$(coracle mount $0); stat -c %F $m/fifo", &container]), "fifo");
}

/// A09, A10: names of containers and images that would be paths.
#[test]
fn names_never_become_paths() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let siblings = |env: &TestEnv| fs::read_dir(env.path("home/.local/share/containers")).expect("readable").count();
    let before = siblings(&env);
    let long = "x".repeat(300);
    for name in ["../../x", "..", "a/../b", "/x", &long] {
        let out = env.run(["from", "--name", name, "scratch"]);
        assert_eq!(out.code, Some(125), "{name}: {out}");
        for verb in ["rm", "umount", "config", "inspect"] {
            assert_ne!(env.run([verb, name]).code, Some(0), "{verb} {name}");
        }
        assert_ne!(env.run(["rmi", name]).code, Some(0), "rmi {name}");
        assert_ne!(env.run(["copy", "--from", name, &container, "/etc/passwd", "/p"]).code, Some(0), "{name}");
    }
    assert_eq!(siblings(&env), before);
    assert_eq!(env.ok(["containers", "-q"]), container_id(&env, &container));
    env.assert_store_is_clean();
}

fn container_id(env: &TestEnv, name: &str) -> String {
    env.ok(["inspect", "--format", "{{.ContainerID}}", name])
}

/// A41: CVE-2023-38497.
#[test]
fn modes_do_not_depend_on_the_umask() {
    let env = TestEnv::new();
    env.write("tree/file", "");
    env.shell("chmod 777 tree; chmod 666 tree/file").success();
    for umask in ["000", "077"] {
        let container = env.ok(["from", "scratch"]);
        env.shell(&format!("umask {umask}; coracle copy -q {container} tree /new/tree; coracle copy -q {container} . /all"))
            .success();
        let script = "m=$(coracle mount $0); cd $m; stat -c '%a %n' new new/tree new/tree/file all/tree";
        let modes = env.ok(["unshare", "sh", "-euc", script, &container]);
        assert_eq!(modes, "755 new\n755 new/tree\n666 new/tree/file\n777 all/tree", "umask {umask}");
        let store = fs::metadata(env.graph_root()).expect("the store").mode() & 0o777;
        assert_eq!(store, 0o700, "umask {umask}");
    }
}

/// A01, A03 and A18 for links that lead to nothing: what they name is made, and below the root whatever they say.
#[test]
fn what_links_to_nothing_name_is_made_inside() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    env.busybox("base");
    env.write("file", "content\n");
    env.write("tree/d/g", "content\n");
    env.shell("tar cf file.tar file").success();
    let container = env.ok(["from", "base"]);
    let path = canary.path.display().to_string();
    // Each is new, since what a link names is there after its first use.
    let mut number = 0;
    let mut link = |text: &str| {
        number += 1;
        let name = format!("/l{number}");
        env.inside(&container, &format!("ln -s {text} {name}"));
        name
    };
    let up = format!("../../../../../../../../..{path}");
    for way in [path.as_str(), &up] {
        for (verb, source, below) in [
            ("copy", "file", "a"),
            ("copy", "file", "b/x"),
            ("copy", "tree", "c"),
            ("add", "file.tar", "d"),
            ("add", "file.tar", "e/y"),
        ] {
            let (first, rest) = below.split_once('/').unwrap_or((below, ""));
            let place = format!("{}/{rest}", link(&format!("{way}/new/{first}")));
            env.ok([verb, "-q", "--chown", "5:6", "--chmod", "0777", &container, source, place.trim_end_matches('/')]);
            canary.assert_untouched();
        }
        let found = env.inside(&container, &format!("cd {path}/new; find . -type f | sort | xargs; rm -r {path}"));
        assert_eq!(found, "./a/file ./b/x ./c/d/g ./d/file ./e/y/file", "{way}");
        // As the working directory, too.
        let place = link(&format!("{way}/work"));
        env.ok(["config", "--workingdir", &place, &container]);
        assert_eq!(env.inside(&container, "pwd -P"), format!("{path}/work"));
        env.ok(["config", "--workingdir", "/", &container]);
        env.inside(&container, &format!("rm -r {path}"));
    }
    canary.assert_untouched();
}

/// A01, A03 and A18 for layers that are made beside the container: `copy --link` and `commit --add-file`.
#[test]
fn linked_copies_and_added_files_stay_inside() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    env.busybox("base");
    env.write("file", "content\n");
    env.shell("tar cf file.tar file").success();
    let container = env.ok(["from", "base"]);
    let path = canary.path.display();
    let links = format!(
        "ln -s {path} /link; ln -s ../../../../../../..{path} /up; ln -s {path}/new /dangling; ln -s {path}/secret /leaf"
    );
    env.ok(["run", &container, "--", "sh", "-c", &links]);
    for place in ["/link/x", "/up/", "/up/deep/er/", "/dangling", "/leaf"] {
        env.ok(["copy", "-q", "--link", "--chown", "1:1", "--chmod", "0777", &container, "file", place]);
    }
    env.ok(["add", "-q", "--link", &container, "file.tar", "/link/unpacked"]);
    for squash in [&[][..], &["--squash"]] {
        let files = ["--add-file", "file:/link/added", "--add-file", "file:/dangling/added", "--add-file", "file:/leaf"];
        env.ok([&["commit", "-q"], squash, &files[..], &[&container, "app"]].concat());
        canary.assert_untouched();
    }
    let app = env.ok(["from", "app"]);
    let leaks = env.run(["run", &app, "--", "grep", "-r", SECRET, "/link", "/up", "/leaf", "/dangling"]);
    assert!(!leaks.out().contains(SECRET), "{leaks}");

    // What is kept beside the container, exchanged for a way out of it.
    let userdata =
        env.graph_root().join("overlay-containers").join(env.ok(["inspect", "--format", "{{.ContainerID}}", &container]));
    let userdata = userdata.join("userdata");
    let tree = fs::read_dir(&userdata).expect("userdata").map(|entry| entry.expect("an entry").path());
    let tree = tree.into_iter().find(|path| path.to_string_lossy().contains("linked-")).expect("a linked tree");
    env.shell(&format!("coracle unshare mv {0} {0}.away; ln -s {path} {0}", tree.display())).success();
    env.run(["commit", &container, "stolen"]).failure(125);
    env.shell(&format!("rm {0}; coracle unshare mv {0}.away {0}", tree.display())).success();
    let state = userdata.join("buildah.json");
    let text = fs::read_to_string(&state).expect("the state");
    env.shell(&format!("sed -i 's|{}|{path}|' {}", tree.display(), state.display())).success();
    assert_ne!(fs::read_to_string(&state).expect("the state"), text);
    env.run(["commit", &container, "stolen"]).failure(125);
    assert!(!env.ok(["images", "--format", "{{.Name}}"]).contains("stolen"));
    canary.assert_untouched();
}

/// A83: a volume of the image behind a link of the image, which leads to nothing of ours.
#[test]
fn a_volume_behind_a_link_is_made_inside() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    let path = canary.path.display();
    let links = format!("ln -s {path}/new/dir /one; ln -s ../../../../../../../../..{path}/other /two");
    env.ok(["run", &container, "--", "sh", "-c", &links]);
    env.ok(["config", "--volume", "/one", "--volume", "/two/deep", &container]);
    let made = env.ok(["run", &container, "--", "ls", "-d", &format!("{path}/new/dir"), &format!("{path}/other/deep")]);
    assert_eq!(made.lines().count(), 2, "{made}");
    canary.assert_untouched();
}
