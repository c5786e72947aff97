//! Root of an ordinary container: a graph root on the container's own overlayfs, and no CAP_SYS_ADMIN.

use crate::harness::{CommandOutput, TestEnv};

/// Runs a script as root of a user namespace, in which `over` is a mount of overlayfs. No file names a driver.
fn on_overlayfs(env: &TestEnv, script: &str) -> CommandOutput {
    env.write_home(".config/containers/storage.conf", "");
    let outer = "mkdir -p lower upper scratch over
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=scratch,userxattr overlay over
        exec sh -euc \"$0\"";
    env.run(["unshare", "sh", "-euc", outer, script])
}

#[test]
fn a_graph_root_on_overlayfs_gets_the_driver_vfs_unless_one_is_named() {
    let env = TestEnv::new();
    env.write("f", "content\n");
    let script = "coracle() { command coracle --root $PWD/over/root --runroot $PWD/over/run \"$@\"; }
        coracle info --format '{{.coracle.driver}} {{.coracle.driverConfigured}} {{.coracle.why}}'; echo
        c=$(coracle from scratch); coracle copy -q $c f /f; cat $(coracle mount $c)/f";
    insta::assert_snapshot!(on_overlayfs(&env, script).success(), @r"
    vfs false the graph root lies on overlayfs, on which no other overlay can be mounted
    content
    ");

    let script = "export STORAGE_DRIVER=overlay
        c=$(coracle --root $PWD/over/named --runroot $PWD/over/run from scratch)
        coracle --root $PWD/over/named --runroot $PWD/over/run copy $c f /f";
    let refused = on_overlayfs(&env, script);
    let hints = refused.failure(125);
    assert!(hints.contains("hint: STORAGE_DRIVER=vfs") && hints.contains("a volume for the graph root"), "{refused}");

    let program = "coracle --root $PWD/over/fuse --runroot $PWD/over/run info --format '{{.coracle.driver}}'";
    let script = format!(
        "printf '[storage.options.overlay]\\nmount_program = \"/usr/bin/fuse-overlayfs\"\\n' >fuse.conf
         CONTAINERS_STORAGE_CONF=$PWD/fuse.conf {program}"
    );
    assert_eq!(on_overlayfs(&env, &script).success(), "overlay");
}

#[test]
fn root_without_the_right_to_mount_works_in_a_namespace_of_all_its_ids() {
    let Some(env) = TestEnv::of_root() else { return };
    env.write("f", "content\n");
    let script = "c=$(coracle from scratch); coracle add -q $c $1 /; coracle copy -q --chown 33:34 $c f /f
        coracle run $c -- /bin/sh -c 'cat /f; stat -c %u:%g /f; rm /etc/group'
        coracle commit -q --rm $c one >/dev/null; coracle info --format '{{.coracle.driver}} {{.coracle.rung}}'; echo
        printf 'FROM one\\nRUN test ! -e /etc/group && stat -c %%u:%%g /f >/g\\n' >Dockerfile; coracle build -q -t two . >/dev/null
        c=$(coracle from two); coracle run $c -- cat /g; coracle check";
    let busybox = crate::harness::busybox_tar();
    let mut command = env.command("setpriv");
    command.args(["--bounding-set=-sys_admin", "--inh-caps=-all", "sh", "-euc", script, "sh"]).arg(busybox);
    insta::assert_snapshot!(env.output(command, b"").success(), @r"
    content
    33:34
    overlay 1
    33:34
    ");
}

#[test]
fn root_who_can_map_no_id_gets_the_driver_vfs_and_stays_where_it_is() {
    let Some(mut env) = TestEnv::of_root() else { return };
    env.set("CONTAINERS_STORAGE_CONF", "/dev/null");
    env.write("f", "content\n");
    let script = "coracle() { command coracle --root $PWD/root --runroot $PWD/run \"$@\"; }
        coracle info --format '{{.coracle.driver}} {{.coracle.rung}}'; echo
        c=$(coracle from scratch); coracle copy -q --chown 33:34 $c f /f; coracle commit -q --rm $c one >/dev/null
        coracle from -q one >/dev/null; stat -c %u:%g $PWD/root/vfs/dir/*/f | sort -u
        export STORAGE_DRIVER=overlay; c=$(coracle from scratch); coracle copy $c f /f";
    let mut command = env.command("setpriv");
    command.args(["--bounding-set=-all,+chown,+dac_override,+fowner,+sys_chroot", "--inh-caps=-all", "sh", "-euc", script]);
    let output = env.output(command, b"");
    let hints = output.failure(125);
    assert!(hints.contains("hint: root of a container needs CAP_SETFCAP"), "{output}");
    assert_eq!(output.out(), "vfs 4\n33:34\n", "{output}");
}

#[test]
fn root_without_any_capability_writes_into_a_container_from_scratch() {
    let Some(mut env) = TestEnv::of_root() else { return };
    env.set("CONTAINERS_STORAGE_CONF", "/dev/null");
    env.write("f", "content\n");
    let script = "coracle() { command coracle --root $PWD/root --runroot $PWD/run \"$@\"; }
        c=$(coracle from scratch); coracle copy -q $c f /f; coracle commit -q --rm $c one >/dev/null
        c=$(coracle from one); coracle copy -q $c f /d/g; cat root/vfs/dir/*/d/g; coracle check";
    let mut command = env.command("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "sh", "-euc", script]);
    assert_eq!(env.output(command, b"").success(), "content");
}
