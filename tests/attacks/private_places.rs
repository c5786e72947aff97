//! The store, the run root and temporary directories while verbs work (known attacks A26, A63, A125, A128): another user, who is told
//! every name there at the moment it appears, gets no further than the first private directory; a container that is running sees
//! nothing of them; and no overlay is mounted with more rights than it needs. Root has to run these, to be a second user.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rustix::fs::{Access, AtFlags, CWD, Mode};
use rustix::process::{Gid, Uid};

use crate::harness::{TestEnv, skip_without};
use crate::other_users::{open_environment, skip_without_a_second_user};
use crate::probe::Probed;

const NOBODY: u32 = 65534;
/// How deep names are looked for: down to the files at the top of a layer.
const DEPTH: usize = 10;

/// Two threads: one of root, which finds every name below some directories again and again, and one of `nobody`, which is told
/// each name once and tries to do something with it.
struct Stranger {
    stop: Arc<AtomicBool>,
    finder: JoinHandle<HashSet<PathBuf>>,
    intruder: JoinHandle<Vec<String>>,
}

impl Stranger {
    fn start(tops: &[&Path]) -> Self {
        let (tell, told) = mpsc::channel::<PathBuf>();
        let stop = Arc::new(AtomicBool::new(false));
        let (tops, finder_stop): (Vec<PathBuf>, _) = (tops.iter().map(|top| top.to_path_buf()).collect(), stop.clone());
        let finder = std::thread::spawn(move || {
            let mut known = HashSet::new();
            while !finder_stop.load(Ordering::Relaxed) {
                for top in &tops {
                    find(top, DEPTH, &mut |path| {
                        if known.insert(path.clone()) {
                            tell.send(path).expect("the other thread listens");
                        }
                    });
                }
            }
            known
        });
        let intruder = std::thread::spawn(move || {
            become_nobody();
            told.into_iter().flat_map(|path| intrude(&path)).collect()
        });
        Self { stop, finder, intruder }
    }

    /// Every name that was there at some time, and what could be done with it.
    fn stop(self) -> (HashSet<PathBuf>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        (self.finder.join().expect("the finder"), self.intruder.join().expect("the intruder"))
    }
}

/// Calls `seen` for the names below `directory`, so many levels deep. What goes meanwhile is passed over.
fn find(directory: &Path, levels: usize, seen: &mut dyn FnMut(PathBuf)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        seen(entry.path());
        if levels > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&entry.path(), levels - 1, seen);
        }
    }
}

/// Makes this thread, and no other, a thread of `nobody`.
fn become_nobody() {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[gid]).expect("no other groups");
    rustix::thread::set_thread_res_gid(gid, gid, gid).expect("its group");
    rustix::thread::set_thread_res_uid(uid, uid, uid).expect("its user");
}

/// What succeeded on `path`. The stat of a name in a directory that is open to all tells nothing but the name.
fn intrude(path: &Path) -> Vec<String> {
    let open = |options: &mut OpenOptions| options.custom_flags(libc::O_NONBLOCK).open(path).is_ok();
    let tries: [(&str, bool); 6] = [
        ("open", open(OpenOptions::new().read(true))),
        ("write", open(OpenOptions::new().append(true))),
        ("ls", fs::read_dir(path).is_ok()),
        ("exec", rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()),
        ("mkdir", rustix::fs::mkdirat(CWD, path.join("planted"), Mode::RWXU).is_ok()),
        ("look behind", fs::symlink_metadata(path.join("x")).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)),
    ];
    tries.into_iter().filter(|(_, done)| *done).map(|(what, _)| format!("{what} {}", path.display())).collect()
}

/// Verbs that move layers about, from each kind of source to each kind of destination, with nothing of the umask's help.
const VERBS: &str = "umask 000
    coracle commit -q base oci:layout; coracle push -q app docker-archive:app.tar
    coracle rmi -f app >/dev/null; coracle pull -q oci:layout; coracle pull -q docker-archive:app.tar
    c=$(coracle from app)
    coracle add -q $c tree.tar /t; coracle copy -q $c tree /u; coracle copy -q --link $c tree /v
    for isolation in rootless chroot; do
        coracle run --isolation $isolation --network host --mount type=cache,dst=/cache --mount type=bind,from=app,src=/bin,dst=/b \\
            $c sh -c 'cp /bin/busybox /suid; chmod 4755 /suid; echo x >/cache/f'
    done
    coracle unshare sh -c 'coracle mount $0 >/dev/null; coracle umount $0 >/dev/null' $c
    coracle commit -q $c second; coracle commit -q --squash $c third; coracle push -q second dir:pushed
    coracle push -q second oci-archive:pushed.tar; coracle commit -q --rm $c fourth; coracle diff fourth >/dev/null
    coracle rmi second third >/dev/null";

/// A26, A125, A128, CVE-2025-47290, CVE-2021-41091, CVE-2020-25039: every name is known to the other user as soon as it exists, and
/// none of them can be entered, opened, run or replaced.
#[test]
fn another_user_who_knows_every_name_enters_no_directory() {
    if skip_without_a_second_user() {
        return;
    }
    let env = open_environment();
    env.busybox("app");
    env.ok(["from", "--name", "base", "app"]);
    env.write("tree/d/e/file", "content");
    env.shell("tar -cf tree.tar tree").success();
    let control = env.write("open/control/file", "seen");
    for path in [&control, &env.work().join("open"), &env.work().join("open/control")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    let (local, tmp, run) = (env.path("home/.local"), env.path("tmp"), env.path("run"));
    let stranger = Stranger::start(&[&local, &tmp, &run, &env.work().join("open")]);
    env.shell(VERBS).success();
    let (known, done) = stranger.stop();
    let is_control = |line: &String| line.contains("/open/control");
    let leaks: Vec<_> = done.iter().filter(|line| !is_control(line)).collect();
    assert!(leaks.is_empty(), "nobody could: {leaks:#?}");
    for what in ["open", "exec", "ls", "look behind"] {
        assert!(done.iter().any(|line| is_control(line) && line.starts_with(what)), "the control: {what}: {done:?}");
    }
    // The names that it was told are of the places that matter.
    let saw = |part: &str| known.iter().any(|path| path.to_string_lossy().contains(part));
    for part in ["/overlay/tempdirs/", "/diff/suid", "/merged", "/overlay-containers/", "/run/", "/buildah-cache-", "/coracle/"]
    {
        assert!(saw(part), "nothing with {part:?} was ever there");
    }
    env.assert_store_is_clean();
}

/// A26, CVE-2025-47290, the other racer: a process in a container, in each isolation, that looks for what a verb unpacks at the same time.
#[test]
fn a_running_container_never_sees_what_is_being_unpacked() {
    if skip_without(&["tar"]) {
        return;
    }
    let probed = Probed::new();
    let env = &probed.env;
    env.write("layer/marker-of-a-layer/own", "content");
    env.shell("tar -cf layer.tar layer").success();
    env.shell("c=$(coracle from scratch); coracle add -q $c layer.tar /; coracle commit -q --rm $c oci:layout").success();
    // What both sides see: when to begin and to end, and what was found.
    let shared = env.write("shared/found", "").parent().expect("a directory").to_path_buf();
    let volume = format!("{}:/shared", shared.display());
    probed.change("mkdir -p own/marker-of-a-layer");
    for isolation in ["rootless", "chroot"] {
        let script = "while [ ! -e /shared/end ]; do for d in / /proc/[0-9]*/root/ /proc/[0-9]*/cwd/ /proc/[0-9]*/fd/; do \
             find $d -maxdepth 9 -path '*/proc' -prune -o -name marker-of-a-layer -print 2>/dev/null; done >>/shared/found; \
             : >/shared/begun; done";
        let words =
            ["run", "--isolation", isolation, "--network", "host", "-v", &volume, &probed.container, "--", "sh", "-c", script];
        let mut running = env.command("coracle").args(words).stdin(Stdio::null()).spawn().expect("a container");
        env.shell(
            "until [ -e shared/begun ]; do sleep 0.05; done; \
             for i in 1 2 3 4 5 6; do coracle pull -q oci:layout >/dev/null; c=$(coracle from scratch); coracle add -q $c layer.tar /; \
             coracle commit -q --rm $c n$i >/dev/null; coracle rmi n$i >/dev/null; done; : >shared/end",
        )
        .success();
        assert!(running.wait().expect("the container").success());
        let found = fs::read_to_string(shared.join("found")).expect("what was found");
        // Its own root is found by each name that its own processes have for it; nothing else is.
        let foreign: Vec<_> = found.lines().filter(|line| !line.ends_with("/own/marker-of-a-layer")).collect();
        assert!(foreign.is_empty(), "{isolation}: {foreign:?}");
        assert!(found.lines().any(|line| line == "/own/marker-of-a-layer"), "{isolation}: the control: {found:?}");
        for name in ["begun", "end", "found"] {
            fs::remove_file(shared.join(name)).expect("a file of the two");
        }
    }
}

/// A63, CVE-2015-8660, CVE-2023-0386: wherever an overlay is attached outside of a container, the verb `mount` included, it is
/// `nosuid` and `nodev`, and a user's has `userxattr`; in a container, setuid programs work.
#[test]
fn overlays_outside_of_containers_run_no_setuid_programs() {
    if skip_without(&["strace"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("app");
    let container = env.ok(["from", "app"]);
    // From inside `unshare`: the mount is there, and attached, as long as that shell lives.
    let shown = "grep overlay /proc/self/mountinfo";
    let listed = env.ok(["unshare", "sh", "-euc", &format!("coracle mount {container} >/dev/null; {shown}")]);
    let of_the_store = |line: &&str| line.contains(&*env.graph_root().to_string_lossy()) && line.contains("/merged ");
    let line = listed.lines().find(of_the_store).expect("the mount");
    let options: Vec<_> = line.split(' ').nth(5).unwrap_or_default().split(',').collect();
    assert!(options.contains(&"nosuid") && options.contains(&"nodev"), "{line}");
    // The verb's own mounts, and every trial of the machine, as they are asked for. One id is mapped: strace denies newuidmap its rights.
    let calls = env.work().join("calls");
    for verb in [
        format!("coracle copy -q {container} calls /x"),
        format!("coracle commit -q --squash {container} squashed"),
        format!("coracle unshare coracle mount {container}"),
        "coracle info".to_owned(),
        format!("coracle diff {container}"),
    ] {
        env.write("calls", "");
        let traced = format!("strace -f -qq -s 4096 -e trace=mount,fsmount,move_mount,fsconfig -o {} {verb}", calls.display());
        env.shell(&traced).success();
        let text = fs::read_to_string(&calls).expect("the calls");
        assert!(!verb.contains("info") || text.contains("mount("), "{verb} made no trial: {text}");
        for call in text.lines().filter(|line| line.contains("fsmount(") && !line.contains("resumed")) {
            assert!(call.contains("MOUNT_ATTR_NOSUID") && call.contains("MOUNT_ATTR_NODEV"), "{verb}: {call}");
        }
        for call in text.lines().filter(|line| line.contains("\"overlay\"") && line.contains(" mount(")) {
            assert!(call.contains("MS_NOSUID") && call.contains("MS_NODEV") && call.contains("userxattr"), "{verb}: {call}");
        }
        let creations = text.matches("FSCONFIG_CMD_CREATE").count();
        assert_eq!(text.matches("\"userxattr\"").count(), creations, "{verb}: {text}");
    }
    // The control: `run` takes those attributes away again, in each isolation.
    let probed = Probed::in_env(env);
    probed.shell(&[], "cp /probe /suid; chmod 4755 /suid").success();
    for flags in [&["--isolation", "rootless"][..], &["--isolation", "chroot"], &["--isolation", "oci", "--runtime", "runc"]] {
        if flags.contains(&"runc") && skip_without(&["runc"]) {
            continue;
        }
        let flags = [flags, &["--user", "1000"]].concat();
        let options = probed.shell(&flags, "grep ' / / ' /proc/self/mountinfo | cut -d' ' -f6").success();
        assert!(!options.contains("nosuid") && !options.contains("nodev"), "{flags:?}: {options}");
        let output = probed.shell(&flags, "/suid").success();
        let report: serde_json::Value = serde_json::from_str(&output).expect("the probe's JSON");
        assert_ne!(report["CapEff"], "0000000000000000", "{flags:?}: root by a setuid program has its capabilities");
    }
}

/// A63: nobody else can name what an overlay is made of.
#[test]
fn another_user_cannot_stat_the_upper_directory() {
    if skip_without_a_second_user() {
        return;
    }
    let env = open_environment();
    let container = env.ok(["from", "scratch"]);
    let merged = env.ok(["unshare", "coracle", "mount", &container]);
    let layer = Path::new(&merged).parent().expect("the layer's directory").to_path_buf();
    let stat = |path: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "stat"]).arg(path);
        let output = command.output().expect("setpriv");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for name in ["diff", "work", "merged", "link", "."] {
        let (done, said) = stat(&layer.join(name));
        assert!(!done && said.contains("Permission denied"), "{name}: {said}");
    }
    assert!(stat(&env.path("home")).0, "the control");
}

/// A125: a store that others may enter is closed to them, and that is said; one that they may write to is refused.
#[test]
fn a_store_that_is_open_to_others_is_closed_or_refused() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let root = env.graph_root();
    let mode = || fs::metadata(&root).expect("the graph root").permissions().mode() & 0o7777;
    for open in [0o755, 0o711, 0o750] {
        fs::set_permissions(&root, fs::Permissions::from_mode(open)).expect("its mode");
        let listed = env.run(["containers", "-q"]);
        assert!(listed.err().contains("its mode is 0700 now"), "{open:o}: {listed}");
        assert_eq!(mode(), 0o700);
        assert_eq!(env.run(["containers", "-q"]).err(), "", "it is said once");
    }
    for open in [0o777, 0o770, 0o702] {
        fs::set_permissions(&root, fs::Permissions::from_mode(open)).expect("its mode");
        assert!(env.run(["rm", &container]).failure(125).contains("others may write to it"), "{open:o}");
        assert_eq!(mode(), open, "nothing was changed");
    }
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).expect("its mode");
    for open in [0o777, 0o770] {
        let run_root = env.path("run");
        fs::set_permissions(&run_root, fs::Permissions::from_mode(open)).expect("its mode");
        let refused = env.run(["containers"]).failure(125);
        assert!(
            refused.contains("cannot hold the run root") && refused.contains("others may write to it"),
            "{open:o}: {refused}"
        );
        fs::set_permissions(&run_root, fs::Permissions::from_mode(0o700)).expect("its mode");
    }
    env.ok(["rm", &container]);
}

/// A126: the names that verbs make in a directory that is open to all: two that can be foretold, which are looked at before they are used
/// (`other_users`, `sources`), and otherwise fresh random ones, made 0700 where nothing was.
#[test]
fn names_in_a_shared_directory_are_random_or_looked_at() {
    if skip_without(&["strace", "runc"]) {
        return;
    }
    let mut env = TestEnv::new();
    env.busybox("app");
    let shared = env.path("shared");
    fs::create_dir(&shared).expect("a directory");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("its mode");
    env.set("TMPDIR", &shared.to_string_lossy());
    env.write("tree/f", "");
    env.write("calls", "");
    let run = "coracle run --network host";
    let verbs = format!(
        "c=$(coracle from app); {run} $c true; {run} --isolation chroot $c true; {run} --isolation oci --runtime runc $c true
         {run} --mount type=cache,dst=/c $c true; {run} -v $PWD/tree:/t:O $c true; coracle copy -q $c tree /t
         coracle commit -q $c oci:layout; coracle push -q app oci-archive:a.tar; coracle push -q app docker-archive:d.tar
         coracle push -q app dir:d; coracle pull -q oci-archive:a.tar; coracle pull -q docker-archive:d.tar; coracle pull -q dir:d
         coracle commit -q --squash $c squashed; coracle diff $c; coracle info; coracle check; coracle rm $c"
    );
    let traced = "for i in 1 2; do env -u XDG_RUNTIME_DIR strace -f -qq -A -o calls -e trace=mkdir,mkdirat,mknodat,openat,symlinkat,linkat,renameat2,bind \
         sh -euc \"$0\" >/dev/null; rm -rf layout a.tar d.tar d; done";
    env.output(
        {
            let mut command = env.command("sh");
            command.args(["-euc", traced, &verbs]);
            command
        },
        b"",
    )
    .success();
    let calls = fs::read_to_string(env.work().join("calls")).expect("the calls");
    let mut made: Vec<(String, String)> = Vec::new();
    for call in
        calls.lines().filter(|line| line.contains("O_CREAT") || !line.contains("openat(")).filter(|line| !line.contains("-1 E"))
    {
        for place in [&*shared.to_string_lossy(), "/tmp", "/var/tmp"] {
            let Some((_, rest)) = call.split_once(&format!("\"{place}/")) else { continue };
            let name = rest.split(['/', '"']).next().unwrap_or_default();
            if !Path::new(place).join(name).starts_with(env.work().parent().expect("the top"))
                || place == shared.to_string_lossy()
            {
                made.push((name.to_owned(), call.to_owned()));
            }
        }
    }
    let uid = crate::harness::test_user().uid;
    let foretold = [format!("buildah-cache-{uid}"), format!("storage-run-{uid}")];
    assert!(made.iter().any(|(name, _)| *name == foretold[0]), "the control: {made:?}");
    let mut fresh = HashSet::new();
    for (name, call) in made.iter().filter(|(name, _)| !foretold.contains(name)) {
        let random = name.strip_prefix("coracle-").or_else(|| name.strip_prefix(".tmp")).unwrap_or_default();
        assert!(random.len() >= 6, "another user can foretell {name:?}: {call}");
        let first = fresh.insert(name.clone());
        assert!(!first || call.contains("mkdir") && call.contains("0700") || call.contains("O_EXCL"), "{call}");
    }
}

/// A126: the runtime directory is another user's, or others may write to it, or it is another user's link: it is refused with the
/// owner's number, and nothing is written there.
#[test]
fn a_runtime_directory_that_is_not_the_users_is_refused() {
    let mut env = open_environment();
    let place = env.path("work/runtime");
    let elsewhere = env.path("work/elsewhere");
    env.set("XDG_RUNTIME_DIR", &place.to_string_lossy());
    fs::create_dir(&elsewhere).expect("a directory");
    let own = |path: &Path, uid: u32| {
        if crate::harness::am_root() {
            std::os::unix::fs::lchown(path, Some(uid), Some(uid)).expect("its owner");
        }
    };
    let user = crate::harness::test_user().uid;
    own(&elsewhere, user);
    let mut kinds = vec![("wide", 0o777, user), ("group", 0o770, user), ("file", 0o600, user)];
    if crate::harness::am_root() {
        kinds.extend([("foreign", 0o777, NOBODY), ("foreign", 0o755, NOBODY), ("link", 0, NOBODY), ("fifo", 0o666, NOBODY)]);
    }
    for (kind, mode, owner) in kinds {
        match kind {
            "link" => std::os::unix::fs::symlink(&elsewhere, &place).expect("linked"),
            "file" => fs::write(&place, "").expect("written"),
            "fifo" => assert!(Command::new("mkfifo").arg(&place).status().expect("mkfifo").success()),
            _ => fs::create_dir(&place).expect("made"),
        }
        if kind != "link" {
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("its mode");
        }
        own(&place, owner);
        for verb in [&["from", "scratch"][..], &["images"], &["info"], &["unshare", "true"]] {
            let output = env.run(verb);
            if verb[0] == "unshare" {
                continue; // It uses no store: what counts is what it leaves.
            }
            assert_eq!(output.code, Some(125), "{kind} {verb:?}: {output}");
            let said = output.err();
            assert!(said.contains("cannot hold the run root"), "{kind} {verb:?}: {output}");
            let names_owner = owner == user || kind == "fifo" || said.contains(&format!("uid {owner}"));
            assert!(names_owner, "{kind} {verb:?}: {output}");
        }
        assert_eq!(fs::read_dir(&elsewhere).expect("the directory").count(), 0, "{kind}");
        if fs::symlink_metadata(&place).expect("it is there").is_dir() {
            fs::remove_dir(&place).expect("nothing is in it");
        } else {
            fs::remove_file(&place).expect("removed");
        }
    }
    // The control: the user's own link to a directory of the user's.
    std::os::unix::fs::symlink(&elsewhere, &place).expect("linked");
    own(&place, user);
    env.ok(["from", "scratch"]);
}
