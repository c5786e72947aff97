//! The scripts as root of an ordinary container: podman runs it, without privilege, on the machine's own programs, with the default
//! capabilities and with either of the two filters of system calls that are common.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{TestEnv, binary};

/// Whose rules the container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Podman's: user namespaces may be made, and mounts in them.
    Podman,
    /// Docker's: neither.
    Docker,
}

/// What docker's default filter refuses without CAP_SYS_ADMIN, and podman's does not.
const REFUSED: [&str; 15] = [
    "clone3",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "setdomainname",
    "sethostname",
    "umount",
    "umount2",
    "unshare",
];

/// The `CLONE_NEW*` flags of clone(2), all but that of time.
const NEW_NAMESPACES: u32 = 0x7E02_0000;

/// What the script that fails with docker's rules leaves behind, and what it does not make, as if it had not: later scripts list it.
const AFTER_FAILURE: &str =
    "[ \"$(cat $script.status)\" = 0 ] || { coracle rm busybox-working-container; coracle tag busybox $script; }";

/// Runs the scripts in one container: what each printed and how it ended. The store is that of `env`, and can be read from outside
/// afterwards: root in the container is the user, whose subordinate ids the others are.
pub fn run(env: &TestEnv, kind: Kind, scripts: &[&str]) -> Vec<(String, Option<i32>, String)> {
    let loop_of_scripts = format!(
        "coracle info --format '{{{{.coracle.rung}}}} {{{{.coracle.why}}}} {{{{.coracle.remedies}}}}' >info.out\n\
         CONTAINERS_STORAGE_CONF=/dev/null coracle --root \"$TMPDIR/new\" --runroot \"$TMPDIR/run\" info --format '{{{{.store.GraphDriverName}}}}' >driver.out\n\
         for script in {}; do \"examples/$script\" >\"$script.out\" 2>\"$script.err\"; echo $? >\"$script.status\"; {AFTER_FAILURE}; done",
        scripts.join(" ")
    );
    env.write("all-scripts", loop_of_scripts);
    let (graph_root, run_root) = (env.graph_root(), env.path("run/containers"));
    let conf = format!("[storage]\ndriver = \"vfs\"\ngraphroot = {graph_root:?}\nrunroot = {run_root:?}\n");
    env.write("storage.conf", conf);
    let output = env.shell(&format!("{}; {}", make_root(), podman(env, kind)));
    assert_eq!(output.code, Some(0), "{output}");
    let read = |name: String| fs::read_to_string(env.work().join(name)).unwrap_or_default();
    check_what_info_says(kind, &read("info.out".to_owned()), read("driver.out".to_owned()).trim());
    let answer = |script: &&str| {
        let status = read(format!("{script}.status")).trim().parse().ok();
        (read(format!("{script}.out")), status, read(format!("{script}.err")))
    };
    let answers: Vec<_> = scripts.iter().map(answer).collect();
    // Root of a rootless container may make no device nodes, and without mounts those of the machine cannot be had either.
    let says_so = answers.iter().any(|(_, _, said)| said.contains("/dev/null is a file"));
    assert_eq!(says_so, kind == Kind::Docker, "what is said of /dev/null");
    answers
}

/// The rung of design, why it is not a better one, and what would lift it; and the driver of a store that nobody configured.
fn check_what_info_says(kind: Kind, info: &str, driver_of_new_stores: &str) {
    match kind {
        Kind::Podman => assert!(info.starts_with("1 ") && driver_of_new_stores == "overlay", "{info} {driver_of_new_stores}"),
        Kind::Docker => {
            let why = "4 creating a user namespace: operation not permitted [inside a container, a seccomp profile that allows";
            assert!(info.starts_with(why) && info.contains("--cap-add SYS_ADMIN"), "{info}");
            assert_eq!(driver_of_new_stores, "vfs");
        }
    }
}

/// A root directory whose programs are the machine's.
fn make_root() -> &'static str {
    "mkdir container && cd container && mkdir -p usr etc tmp var/tmp proc sys dev root run && \
     for link in bin sbin lib lib64; do [ ! -L /$link ] || ln -s usr/$link $link; done && cd .."
}

fn podman(env: &TestEnv, kind: Kind) -> String {
    let own = env.work();
    let top = own.parent().expect("the environment's directory");
    let shared = binary().ancestors().nth(2).expect("the directory of the tests");
    let mut words = vec![
        format!("coracle unshare podman --root {0}/podman/root --runroot {0}/podman/run --storage-driver vfs", own.display()),
        "--cgroup-manager cgroupfs --runtime runc run --rm --network none --env PATH --env TMPDIR --env BUILDER".to_owned(),
        format!("--env BUILDAH_ISOLATION --env CONTAINERS_STORAGE_CONF={}/storage.conf", own.display()),
        "--volume /usr:/usr:ro --volume /etc:/etc:ro".to_owned(),
        format!("--volume {0}:{0} --volume {1}:{1}:ro", top.display(), shared.display()),
    ];
    if kind == Kind::Docker {
        words.push(format!("--security-opt seccomp={}", docker_filter(env).display()));
    }
    words.push(format!("--workdir {0} --rootfs {0}/container sh all-scripts", own.display()));
    words.join(" ")
}

/// Podman's filter without what docker's has not.
fn docker_filter(env: &TestEnv) -> PathBuf {
    let text = fs::read(Path::new("/usr/share/containers/seccomp.json")).expect("podman's filter");
    let mut filter: Value = serde_json::from_slice(&text).expect("a filter");
    let gone: BTreeSet<&str> = REFUSED.into_iter().chain(["clone", "setns"]).collect();
    let rules = filter["syscalls"].as_array_mut().expect("its rules");
    for rule in rules.iter_mut() {
        let names = rule["names"].as_array_mut().expect("names");
        names.retain(|name| !gone.contains(name.as_str().unwrap_or_default()));
    }
    rules.retain(|rule| rule["names"].as_array().is_some_and(|names| !names.is_empty()));
    let flags = json!([{ "index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }]);
    rules.push(json!({ "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": flags }));
    let others: Vec<_> = REFUSED.into_iter().filter(|name| *name != "clone3").chain(["setns"]).collect();
    rules.push(json!({ "names": others, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }));
    // So that the C library falls back to clone, whose flags can be looked at.
    rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }));
    env.write("docker.json", filter.to_string())
}
