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

#[test]
fn a_store_that_a_mount_program_wrote_goes_on_with_it() {
    if skip_without(&["fuse-overlayfs", "buildah"]) {
        return;
    }
    let env = TestEnv::new();
    env.write_home(".config/containers/storage.conf", "[storage]\ndriver = \"overlay\"\n");
    env.busybox("localhost/base:1");
    let program = "overlay.mount_program=/usr/bin/fuse-overlayfs";
    let container = env.ok(["--storage-opt", program, "from", "localhost/base:1"]);
    env.ok(["--storage-opt", program, "run", &container, "--", "rm", "/etc/group"]);
    // From here on nothing names the program but the mark of the store, as with Buildah.
    let look = "grep -c 'fuse.* / \\| / fuse' /proc/mounts; test ! -e /etc/group; touch /new";
    assert_eq!(env.ok(["run", &container, "--", "sh", "-euc", look]), "1");
    env.ok(["commit", "-q", "--rm", &container, "localhost/next:1"]);
    let theirs = env.tool("buildah", ["from", "localhost/next:1"]).success();
    let seen = env.tool("buildah", ["run", "--isolation", "chroot", &theirs, "sh", "-c", "ls /etc/group /new"]);
    assert_eq!(seen.out(), "/new\n", "{seen}");
    env.tool("buildah", ["rm", &theirs]).success();
    env.ok(["check", "--digests"]);
}

#[test]
fn settings_of_older_and_newer_tools_stop_no_verb() {
    let env = TestEnv::new();
    let text = "[storage]\ndriver_priority = [\"btrfs\", \"vfs\"]\nnot_yet = 1\n[storage.options]\nremap-user = \"containers\"\n\
                remap-group = \"containers\"\n[storage.options.overlay]\nnot_yet = \"x\"\n";
    let conf = env.write_home(".config/containers/storage.conf", text);
    assert_eq!(env.ok(["info", "--format", "{{.coracle.driver}}"]), "vfs");
    env.ok(["from", "scratch"]);
    env.write_home(
        ".config/containers/storage.conf",
        "[storage]\n\n[storage.options.overlay]\nmountopt = 7\nsize = true\nsync = []\n",
    );
    let refused = env.run(["--storage-driver", "overlay", "images"]).failure(125);
    assert!(refused.contains(&format!("{conf:?}: line 6: sync must be a string")), "{refused}");
}

/// What `user.containers.override_stat`, or the attribute `name`, says of a file.
fn attribute(path: &std::path::Path, name: &str) -> String {
    let mut value = [0u8; 256];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).expect("the attribute");
    String::from_utf8_lossy(&value[..length]).into_owned()
}

#[test]
fn a_forced_mask_keeps_owners_and_modes_in_attributes() {
    if skip_without(&["fuse-overlayfs", "buildah", "skopeo"]) {
        return;
    }
    let env = TestEnv::new();
    // The same image in a plain store, with a file that is not everybody's.
    let plain = |words: &[&str]| {
        let root = env.path("home/plain").to_string_lossy().into_owned();
        env.ok(["--root", &root, "--storage-driver", "overlay"].iter().chain(words))
    };
    env.write("f", "content\n");
    let container = plain(&["from", "scratch"]);
    let busybox = crate::harness::busybox_tar().to_string_lossy().into_owned();
    plain(&["add", "-q", &container, &busybox, "/"]);
    // A directory of root's: fuse-overlayfs 1.10 forgets whose another one was when something below it changes.
    plain(&["copy", "-q", &container, "f", "/d/other"]);
    plain(&["copy", "-q", "--chown", "33:34", "--chmod", "4750", &container, "f", "/d/f"]);
    plain(&["config", "--cmd", "/bin/sh", &container]);
    let image = plain(&["commit", "-q", "--rm", &container, "localhost/base:1"]);
    plain(&["push", "-q", "localhost/base:1", "oci:in:base"]);

    let text = "[storage]\ndriver = \"overlay\"\n[storage.options.overlay]\nmount_program = \"/usr/bin/fuse-overlayfs\"\nforce_mask = \"private\"\n";
    env.write_home(".config/containers/storage.conf", text);
    assert_eq!(env.ok(["pull", "-q", "oci:in:base"]), image);
    let layer = |image: &str| {
        let table = std::fs::read_to_string(env.graph_root().join("overlay-images/images.json")).expect("the table of images");
        let images: Vec<serde_json::Value> = serde_json::from_str(&table).expect("a table");
        let found = images.iter().find(|record| record["id"] == image).and_then(|record| record["layer"].as_str());
        env.graph_root().join("overlay").join(found.expect("its layer")).join("diff")
    };
    let diff = layer(&image);
    for (path, wanted) in
        [("", "0:0:0555:dir"), ("d", "0:0:0755:dir"), ("d/f", "33:34:4750:file"), ("bin/busybox", "0:0:0755:file")]
    {
        let path = diff.join(path);
        let stat = std::fs::metadata(&path).expect("the file");
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&stat.permissions()) & 0o7777, 0o700, "{path:?}");
        let (name, said) = (wanted, attribute(&path, "user.containers.override_stat"));
        assert_eq!(said, name, "{path:?}");
    }
    let output = env.run(["from", &image]);
    let container = output.success();
    let warning = "warning: force_mask: with /usr/bin/fuse-overlayfs a chmod in this container may forget the file's owner";
    assert_eq!(output.err().matches(warning).count(), 1, "{output}");
    let look = "stat -c '%a %u:%g' / /d /d/f /bin/busybox";
    assert_eq!(env.ok(["run", &container, "--", "sh", "-c", look]), "555 0:0\n755 0:0\n4750 33:34\n755 0:0");
    env.ok(["copy", "-q", &container, "f", "/new"]);
    env.ok(["run", &container, "--", "sh", "-c", "rm /etc/group; chown 5:6 /d/f"]);
    let changes = env.ok(["diff", &container]);
    let paths: Vec<&str> = changes.lines().filter_map(|line| line.split(' ').next_back()).collect();
    assert_eq!(paths, ["/d/f", "/etc/group", "/new"], "{changes}");
    let copied = env.ok(["commit", "-q", &container, "localhost/copied:1"]);
    env.ok(["commit", "-q", "--rm", &container, "localhost/frozen:1"]);
    assert!(attribute(&layer(&copied).join("d/f"), "user.containers.override_stat").starts_with("5:6:"));
    assert_eq!(env.ok(["check", "--digests"]), "");
    for name in ["copied", "frozen"] {
        let name = format!("localhost/{name}:1");
        let container = env.ok(["from", &name]);
        let seen =
            env.ok(["run", &container, "--", "sh", "-c", "stat -c '%u:%g' /d/f /bin/busybox; cat /new; test ! -e /etc/group"]);
        assert_eq!(seen, "5:6\n0:0\ncontent", "{name}");
    }
    // The mask is no part of an image: the base's layer leaves the store as it came.
    env.ok(["push", "-q", "localhost/copied:1", "oci:out:copied"]);
    let id = plain(&["pull", "-q", "oci:out:copied"]);
    assert_eq!(plain(&["run", &plain(&["from", &id]), "--", "stat", "-c", "%u:%g %a", "/bin/busybox"]), "0:0 755");
    let theirs = env.tool("buildah", ["from", "localhost/copied:1"]).success();
    let script = format!("stat -c '%u:%g' $(buildah mount {theirs})/d/f");
    assert_eq!(env.tool("buildah", ["unshare", "sh", "-euc", &script]).success(), "5:6");
    env.tool("buildah", ["rm", &theirs]).success();
}

#[test]
fn a_forced_mask_wants_a_mount_program_for_containers() {
    let env = TestEnv::new();
    env.busybox("localhost/base:1");
    env.ok(["push", "-q", "localhost/base:1", "oci:in:base"]);
    let root = env.path("home/masked").to_string_lossy().into_owned();
    let masked = ["--root", &root, "--storage-driver", "overlay", "--storage-opt", "overlay.force_mask=shared"];
    let image = env.ok(masked.iter().chain(&["pull", "-q", "oci:in:base"]));
    let refused = env.run(masked.iter().chain(&["from", &image])).failure(125);
    assert!(refused.contains("force_mask option for writeable layers is only supported with a mount_program"), "{refused}");
    env.ok(masked.iter().chain(&["push", "-q", &image, "oci:out:base"]));
    assert_eq!(env.ok(["pull", "-q", "oci:out:base"]), image);
}
