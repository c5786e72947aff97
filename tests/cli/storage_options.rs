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
    insta::assert_snapshot!(env.run(["--storage-opt", "overlay.force_mask=700", "images"]), @r#"
    ------- stderr -------
    Error: --storage-opt: a forced mask (force_mask) is not supported
    hint: the owners that it keeps in attributes are not read here; another store can be given with --root
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

#[test]
fn a_mount_program_mounts_in_the_kernels_place() {
    if skip_without(&["fuse-overlayfs", "buildah", "skopeo"]) {
        return;
    }
    let env = TestEnv::new();
    let program = "[storage]\ndriver = \"overlay\"\n[storage.options.overlay]\nmount_program = \"/usr/bin/fuse-overlayfs\"\n";
    env.write_home(".config/containers/storage.conf", program);
    env.busybox("localhost/base:1");
    env.write("f", "content\n");
    let marker = env.graph_root().join("overlay/.has-mount-program");
    assert_eq!(std::fs::read_to_string(&marker).expect("the mark of the store"), "true");

    let container = env.ok(["from", "localhost/base:1"]);
    env.ok(["copy", "-q", &container, "f", "/d/f"]);
    let script =
        "grep -q 'fuse' /proc/mounts; rm /etc/group; rm -r /home; mkdir /home; echo n > /home/new; echo x >> /etc/passwd";
    env.ok(["run", &container, "--", "sh", "-euc", script]);
    insta::assert_snapshot!(env.ok(["diff", &container]), @r"
    A          /d
    A      8 B /d/f
    D          /etc/group
    C     73 B /etc/passwd
    A      2 B /home/new
    D          /home/user
    ");
    // While a command runs, what it was given to mount upon lies in the container's directory.
    let script = format!(
        "coracle run {container} -- sh -c 'touch /tmp/started; sleep 3; rm /tmp/started' & \
         until coracle diff {container} | grep -q /tmp/started; do sleep 0.1; done; coracle diff {container}; wait"
    );
    let during = env.shell(&script).success();
    assert!(!["/proc", "/sys", "/dev", "/run", "/etc/hosts"].iter().any(|path| during.contains(path)), "{during}");
    env.ok(["commit", "-q", &container, "localhost/ours:1"]);
    env.ok(["commit", "-q", "--rm", &container, "localhost/frozen:1"]);
    env.ok(["check", "--digests"]);

    let list = "find / -xdev | grep -vE '^/(bin|proc|sys|dev|run|etc/(hosts|resolv.conf|hostname))' | sort";
    let expected = ["/", "/d", "/d/f", "/etc", "/etc/passwd", "/home", "/home/new", "/root", "/tmp"].join("\n");
    for image in ["ours", "frozen"] {
        let ours = env.ok(["from", &format!("localhost/{image}:1")]);
        assert_eq!(env.ok(["run", &ours, "--", "sh", "-c", list]), expected, "{image}");
        // Out of the store and into one that the kernel mounts: the archive says the same.
        env.ok(["push", "-q", &format!("localhost/{image}:1"), &format!("oci:out:{image}")]);
    }
    let theirs = env.tool("buildah", ["from", "localhost/ours:1"]).success();
    env.tool("buildah", ["run", "--isolation", "chroot", &theirs, "sh", "-c", "rm /d/f; echo t > /t"]).success();
    assert_eq!(env.ok(["diff", &theirs]).lines().filter(|line| line.ends_with("/d/f") || line.ends_with("/t")).count(), 2);
    env.ok(["rm", "--all"]);
    env.ok(["rmi", "--all"]);
    let left = env.shell("sleep 0.2; pgrep -u $(id -u) -f \"fuse-overlayfs.*$HOME\" || true");
    assert_eq!(left.success(), "", "a mount program outlives its mounts");

    let native = |words: &[&str]| {
        let root = env.path("home/native").to_string_lossy().into_owned();
        let global = ["--root", &root, "--storage-driver", "overlay"];
        env.ok(global.iter().chain(words))
    };
    for image in ["ours", "frozen"] {
        let id = native(&["pull", "-q", &format!("oci:out:{image}")]);
        let container = native(&["from", &id]);
        assert_eq!(native(&["run", &container, "--", "sh", "-c", list]), expected, "{image}");
    }
}
