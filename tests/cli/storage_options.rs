//! Options of the graph drivers: from storage.conf, STORAGE_OPTS and the command line; each is obeyed or refused by name.

use crate::harness::{TestEnv, skip_without};

/// An image in an OCI layout `layout:odd`, with a file of an owner that no test user has been given.
fn image_of_a_foreign_owner(env: &TestEnv) {
    let script =
        "mkdir tree; echo x > tree/f; tar --owner=4000000000 --group=4000000000 --numeric-owner -C tree -cf layer.tar f
        umoci init --layout layout; umoci new --image layout:odd; umoci raw add-layer --image layout:odd layer.tar";
    env.shell(script).success();
}

#[test]
fn owners_that_are_not_mapped_are_refused_unless_they_are_to_be_ignored() {
    if skip_without(&["umoci"]) {
        return;
    }
    for driver in ["overlay", "vfs"] {
        let mut env = TestEnv::on(driver);
        image_of_a_foreign_owner(&env);
        let refused = env.run(["pull", "-q", "oci:layout:odd"]);
        assert!(refused.failure(125).contains("4000000000"), "{driver}: {refused}");

        let option = format!("{driver}.ignore_chown_errors=true");
        let image = env.ok(["--storage-opt", &option, "pull", "-q", "oci:layout:odd"]);
        let container = env.ok(["--storage-opt", &option, "from", &image]);
        let script = format!("m=$(coracle mount {container}); stat -c %u $m/f");
        assert_eq!(env.ok(["unshare", "sh", "-euc", &script]), "0", "{driver}");
        env.ok(["rm", "--all"]);
        env.ok(["rmi", "--all"]);

        env.set("STORAGE_OPTS", &format!("ignore_chown_errors=true,{driver}.ignore_chown_errors=false"));
        assert_eq!(env.run(["pull", "-q", "oci:layout:odd"]).code, Some(125), "{driver}: the last one wins");
        env.set("STORAGE_OPTS", "");
        let text = format!("[storage]\ndriver = \"{driver}\"\n[storage.options.{driver}]\nignore_chown_errors = \"true\"\n");
        env.write_home(".config/containers/storage.conf", text);
        env.ok(["pull", "-q", "oci:layout:odd"]);
    }
}

#[test]
fn mount_options_reach_the_mount() {
    let env = TestEnv::new();
    env.busybox("localhost/base:1");
    let container = env.ok(["from", "localhost/base:1"]);
    let options = |option: &str| {
        let script = format!("m=$(coracle --storage-opt {option} mount {container}); grep \" $m \" /proc/self/mountinfo");
        let line = env.ok(["unshare", "sh", "-euc", &script]);
        line.split(' ').nth(5).map(str::to_owned).unwrap_or_default()
    };
    assert!(options("overlay.mountopt=noexec").contains("noexec"));
    assert!(options("overlay2.mountopt=nosuid").contains("nosuid"));
    // A comma parts options, unless quotes keep the words together, as with Buildah.
    let both = options(r#"'"mountopt=nodev,noexec"'"#);
    assert!(both.contains("nodev") && both.contains("noexec"), "{both}");
    assert!(!options("vfs.mountopt=noexec").contains("noexec"));
}

#[test]
fn what_no_driver_does_here_is_refused_by_name() {
    let env = TestEnv::new();
    insta::assert_snapshot!(env.run(["--storage-opt", "overlay.mount_program=/usr/bin/fuse-overlayfs", "images"]), @r#"
    ------- stderr -------
    Error: --storage-opt: a mount program (mount_program) is not supported
    hint: from Linux 5.13 on overlay is mounted without a program, also by users: take mount_program out of storage.conf, or use --storage-driver vfs, which mounts nothing
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["--storage-opt", "overlay.force_mask=700", "images"]), @r#"
    ------- stderr -------
    Error: --storage-opt: a forced mask (force_mask) is not supported
    hint: the other tools take force_mask with a mount program only; another store can be given with --root
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["--storage-opt", "overlay.fast=1", "images"]), @r#"
    ------- stderr -------
    Error: --storage-opt: unknown storage option "overlay.fast=1"
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["--storage-driver", "btrfs", "images"]), @r#"
    ------- stderr -------
    Error: --storage-driver: the storage driver "btrfs" is not supported
    [exit status: 125]
    "#);
}
