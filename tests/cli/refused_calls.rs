//! Older kernels and foreign filters of system calls: each newer call answers ENOSYS, one at a time and all at once, and the verbs still
//! work, or say why a part of them cannot.

use crate::harness::{CommandOutput, TestEnv, am_root, skip_without, test_user};

/// Calls that came after Linux 5.1, whose absence must cost nothing but time.
const REPLACEABLE: [(&str, libc::c_long); 9] = [
    ("openat2", libc::SYS_openat2),
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("faccessat2", libc::SYS_faccessat2),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("statx", libc::SYS_statx),
    ("copy_file_range", libc::SYS_copy_file_range),
    ("renameat2", libc::SYS_renameat2),
    ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
];

/// The calls of the newer mount interface, without which a container gets no mounts.
const MOUNTS: [(&str, libc::c_long); 6] = [
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("mount_setattr", libc::SYS_mount_setattr),
];

/// Runs a script where the calls are refused. Installing the filter without no_new_privs needs root.
fn without(env: &TestEnv, calls: &[libc::c_long], script: &str) -> CommandOutput {
    let user = test_user();
    let numbers: Vec<String> = calls.iter().map(ToString::to_string).collect();
    let own = env.command("python3");
    let mut command = std::process::Command::new("python3");
    command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(env.work());
    command.args(["-c", include_str!("refuse.py"), &user.uid.to_string(), &user.gid.to_string(), "38", &numbers.join(",")]);
    command.args(["sh", "-euc", script]);
    env.output(command, b"")
}

/// The five verbs, with an image whose owners are mapped among them.
const VERBS: &str = "
    c=$(coracle from base)
    coracle copy -q $c f /f
    coracle config --label a=b $c
    coracle commit -q $c top >/dev/null
    coracle from --name mapped --userns auto:size=2000 base >/dev/null
    coracle copy -q --from top mapped /f /g
    coracle commit -q --rm mapped mapped >/dev/null
    coracle copy -q --from mapped $c /g /h
    coracle inspect -f '{{.OCIv1.Config.Labels.a}}' top; echo";

#[test]
fn verbs_need_no_newer_system_call() {
    if !am_root() || skip_without(&["python3"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    env.write("f", "content");
    let all: Vec<libc::c_long> = REPLACEABLE.into_iter().map(|(_, call)| call).collect();
    let each = REPLACEABLE.into_iter().map(|(name, call)| (name, vec![call]));
    let run = "coracle run --network none --mount type=tmpfs,target=/t $c -- sh -c 'cat /h; touch /t/x; test -c /dev/null'";
    for (name, calls) in each.chain([("all at once", all)]) {
        let output =
            without(&env, &calls, &format!("{VERBS}\n{run}\ncoracle rm -a >/dev/null\ncoracle rmi top mapped >/dev/null"));
        assert_eq!(output.success(), "b\ncontent", "without {name}: {output}");
    }
    env.assert_store_is_clean();
}

#[test]
fn without_newer_mount_calls_files_are_as_before_and_commands_get_a_plain_chroot_that_says_so() {
    if !am_root() || skip_without(&["python3"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    env.write("f", "content");
    let all: Vec<libc::c_long> = MOUNTS.into_iter().map(|(_, call)| call).collect();
    let each = MOUNTS.into_iter().map(|(name, call)| (name, vec![call]));
    let run = "coracle run --isolation chroot $c -- cat /h";
    for (name, calls) in each.chain([("all at once", all)]) {
        let output =
            without(&env, &calls, &format!("{VERBS}\n{run}\ncoracle rm -a >/dev/null\ncoracle rmi top mapped >/dev/null"));
        assert_eq!(output.success(), "b\ncontent", "without {name}: {output}");
        assert!(output.err().contains("nothing can be mounted here"), "without {name}: {output}");
    }
    env.assert_store_is_clean();
}
