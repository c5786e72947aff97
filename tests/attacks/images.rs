//! What an image brings along and must stay data (known attacks A15, A46, A55, A64, A83, A124): programs, libraries, labels,
//! annotations, volumes, and links in odd places.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::TestEnv;
use crate::paths::{Canary, SECRET};
use crate::probe::Probed;

/// Programs that builders have run out of an image, or found through the caller's `PATH`.
const PLANTED: &[&str] = &[
    "tar",
    "xz",
    "gzip",
    "zstd",
    "pigz",
    "bzip2",
    "nsenter",
    "git",
    "newuidmap",
    "newgidmap",
    "getsubids",
    "fuse-overlayfs",
    "fusermount",
    "pasta",
    "slirp4netns",
    "netavark",
    "crun",
    "runc",
    "mount",
    "umount",
    "getent",
    "catatonit",
    "ldconfig",
];

/// A library that says so when a process loads it, and the file in which it does.
fn trap_library(env: &TestEnv, mark: &Path) -> std::path::PathBuf {
    let source = format!(
        "#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void trap(void) {{ \
         close(open(\"{}\", O_CREAT | O_WRONLY, 0666)); }}\n",
        mark.display()
    );
    let source = env.write("trap.c", source);
    let library = env.write("trap.so", "");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(built.expect("a C compiler").success());
    fs::set_permissions(&library, fs::Permissions::from_mode(0o755)).expect("its mode");
    library
}

/// A46, CVE-2026-41567, CVE-2019-14271, A35, and A124, CVE-2026-84042: nothing of an image, of the working directory or of the
/// first entry of `PATH` is run or loaded by a verb.
#[test]
fn planted_programs_and_libraries_are_not_run() {
    let mut env = TestEnv::new();
    let mark = env.work().join("pwned");
    let script = format!("#!/bin/sh\n: >{}\nexit 0\n", mark.display());
    for name in PLANTED {
        for place in ["fake", "rootfs/bin", "rootfs/usr/bin", "."] {
            let path = env.write(&format!("{place}/{name}"), &script);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        }
    }
    let library = trap_library(&env, &mark);
    let bytes = fs::read(&library).expect("the library");
    for name in ["lib/libnss_files.so.2", "lib/x86_64-linux-gnu/libnss_files.so.2", "usr/lib/gconv/UTF-16.so", "lib/libc.so.6"]
    {
        env.write(&format!("rootfs/{name}"), &bytes);
    }
    env.write("rootfs/lib/trap.so", &bytes);
    env.write("rootfs/etc/ld.so.preload", "/lib/trap.so\n");
    env.write("rootfs/etc/nsswitch.conf", "passwd: files\n");
    env.write("rootfs/etc/passwd", "bob:x:7:8::/:/bin/sh\n");
    // The controls: each of the traps does what it is for.
    for control in [format!("{}/fake/tar", env.work().display()), format!("LD_PRELOAD={} /bin/true", library.display())] {
        env.shell(&control).success();
        assert!(mark.exists(), "the trap {control} does nothing");
        fs::remove_file(&mark).expect("the mark");
    }
    let archive = env.work().join("a.tar.xz");
    env.shell("/bin/tar -cJf a.tar.xz trap.c").success();
    assert!(archive.exists() && !mark.exists());
    let bin = crate::harness::binary().parent().expect("a directory");
    let path = format!("{0}/fake:{0}:{1}:/usr/bin:/bin:/usr/sbin:/sbin", env.work().display(), bin.display());
    env.set("PATH", &path);
    env.busybox("busybox");
    let container = env.ok(["from", "--pull-never", "busybox"]);
    env.ok(["copy", "-q", &container, "rootfs", "/"]);
    for words in [
        &["copy", "--chown", "bob", &container, "trap.c", "/f"][..],
        &["add", &container, "a.tar.xz", "/unpacked/"],
        &["add", "--chown", "bob", &container, "trap.c", "/g"],
        &["config", "--user", "bob", &container],
        &["run", "--network", "none", &container, "/bin/busybox", "true"],
        &["run", "--network", "host", "--user", "bob", &container, "/bin/busybox", "id"],
        &["run", &container, "/bin/busybox", "true"],
        &["diff", &container],
        &["unshare", "/bin/sh", "-c", "coracle mount $0 >/dev/null; coracle umount $0", &container],
        &["commit", "-q", &container, "planted"],
        &["from", "--name", "again", "planted"],
        &["inspect", "planted"],
        &["images"],
        &["containers"],
        &["info"],
        &["check"],
        &["rename", "again", "third"],
        &["rm", "third"],
        &["rm", &container],
        &["rmi", "planted"],
        &["prune", "--force"],
    ] {
        let output = env.run(words);
        assert!(!mark.exists(), "{words:?} ran a trap: {output}");
        assert!(matches!(words[0], "run" | "prune") || output.code == Some(0), "{words:?}: {output}");
    }
}

/// A55, CVE-2026-94603, CVE-2026-121885, CVE-2022-0811: no label or annotation steers anything.
#[test]
fn labels_and_annotations_steer_nothing() {
    let probed = Probed::new();
    let plain = |report: &Value| {
        let mut report = report.clone();
        if let Some(fields) = report.as_object_mut() {
            fields.remove("env");
        }
        report
    };
    let (before, calls) = (plain(&probed.ask(&[], &[])), probed.ask(&[], &["calls"]));
    let mut words = vec!["config".to_owned()];
    for entry in [
        "run.oci.handler=krun",
        "run.oci.keep_original_groups=1",
        "run.oci.seccomp_fail_unknown_syscall=0",
        "run.oci.seccomp.receiver=/run/x",
        "run.oci.hooks.stdout=/out",
        "run.oci.mount_context_type=context",
        "run.oci.systemd.subgroup=x",
        "run.oci.pidfd_receiver=/run/x",
        "org.systemd.property.ExecStart=/bin/touch",
        "io.podman.annotations.privileged=TRUE",
        "io.podman.annotations.seccomp=unconfined",
        "io.podman.annotations.label=disable",
        "io.podman.annotations.apparmor=unconfined",
        "io.podman.annotations.init=TRUE",
        "io.podman.annotations.userns=host",
        "io.containers.capabilities=SYS_ADMIN",
        "io.containers.seccomp.profile=eyJkZWZhdWx0QWN0aW9uIjoiU0NNUF9BQ1RfQUxMT1cifQ==",
        "io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel=true",
        "io.kubernetes.cri-o.userns-mode=host",
        "io.kubernetes.cri-o.UnifiedCgroup.c=memory.max=max",
        "io.kubernetes.cri-o.seccompNotifierAction=stop",
        "org.criu.config=/etc/criu.conf",
        "module.wasm.image/variant=compat",
        "io.buildah.version=99\nSeccomp: 0",
        "PODMAN_SYSTEMD_UNIT=x.service\nExecStart=/bin/sh",
        "RUN=/bin/sh -c true",
    ] {
        words.extend(["--annotation".to_owned(), entry.to_owned(), "--label".to_owned(), entry.to_owned()]);
    }
    words.push(probed.container.clone());
    probed.env.ok(&words);
    assert_eq!(plain(&probed.ask(&[], &[])), before);
    assert_eq!(probed.ask(&[], &["calls"]), calls);
    probed.env.ok(["commit", "-q", "--rm", &probed.container, "steered"]);
    probed.env.ok(["from", "--pull-never", "--name", &probed.container, "steered"]);
    assert_eq!(plain(&probed.ask(&[], &[])), before, "from the image");
    assert_eq!(probed.ask(&[], &["calls"]), calls, "from the image");
}

/// A83, CVE-2022-23648: the volumes of an image are names in it, whatever links they lead through.
#[test]
fn volumes_of_an_image_show_nothing_of_the_host() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let out = canary.path.display();
    probed.change(&format!(
        "ln -s {out} v; ln -s {out}/secret f; ln -s ../../../../../..{out} up; mkdir data; echo kept >data/file"
    ));
    let script = "cat /v/secret /f /up/file /v/sub/file 2>/dev/null; for d in /v /up /x; do echo x >$d/new; done 2>/dev/null; \
         cat /data/file";
    let mut ran = Vec::new();
    for volume in ["/v", "/v/sub", "/v/..", "/../x", "/f", "/up", "/up/new", "/data", "relative", "/etc", "/a\nb"] {
        probed.env.ok(["config", "--volume", "-", &probed.container]);
        probed.env.ok(["config", "--volume", volume, &probed.container]);
        let first = probed.shell(&[], script);
        let image = format!("volumes-{}", ran.len());
        probed.env.ok(["commit", "-q", &probed.container, &image]);
        let other = probed.env.ok(["from", "--pull-never", &image]);
        let second = probed.env.run(["run", "--network", "host", &other, "sh", "-c", script]);
        for output in [first, second] {
            assert!(!output.out().contains(SECRET), "{volume}: {output}");
            // A link to nothing inside is refused; what is run finds the other files as they were.
            assert!(output.code == Some(125) || output.out() == "kept\n", "{volume}: {output}");
            ran.extend((output.code == Some(0)).then_some(volume));
        }
        canary.assert_untouched();
    }
    assert!(ran.contains(&"/data") && ran.contains(&"/../x"), "{ran:?}");
}

/// A15: the corner cases of the resolver, by way of a verb. `rooted`'s own tables have them all, with and without `openat2`.
#[test]
fn odd_spellings_of_a_link_lead_inside_or_nowhere() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    env.write("f", "content");
    env.write("tree/real/file", "");
    for at in 1..=41 {
        let next = if at == 41 { canary.path.display().to_string() } else { format!("l{}", at + 1) };
        symlink(next, env.work().join(format!("tree/l{at}"))).expect("linked");
    }
    symlink(&canary.path, env.work().join("tree/out")).expect("linked");
    symlink("loop", env.work().join("tree/loop")).expect("linked");
    symlink("/proc/self/fd/3", env.work().join("tree/magic")).expect("linked");
    symlink("/proc/self/root", env.work().join("tree/root")).expect("linked");
    let container = env.ok(["from", "scratch"]);
    env.ok(["copy", "-q", &container, "tree", "/"]);
    let absolute = format!("/root{}", canary.path.display());
    for place in [
        "/out/",
        "/out/.",
        "/out//",
        "/out/..",
        "/out/../secret",
        "/real/../../out/x",
        "/l1/x",
        "/loop/x",
        "/magic/x",
        &absolute,
    ] {
        let started = Instant::now();
        env.run(["copy", "-q", "--chown", "5:6", &container, "f", place]);
        let stolen = env.run(["copy", "-q", "--from", &container, &container, &format!("{place}/secret"), "/stolen"]);
        assert_ne!(stolen.code, Some(0), "{place}: {stolen}");
        assert!(started.elapsed() < Duration::from_secs(30), "{place}");
        canary.assert_untouched();
    }
    for refused in ["/loop/x", "/l1/x"] {
        assert_eq!(env.run(["copy", &container, "f", refused]).code, Some(125), "{refused}");
    }
}

/// A64, CVE-2018-10906: no foreign option reaches a mount, and no program is asked to mount.
#[test]
fn mount_options_and_programs_of_a_setting_are_refused() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    for (setting, hint) in [
        ("mountopt = \"nodev,upperdir=/etc\"", "upperdir"),
        ("mountopt = \"lowerdir=/etc\"", "lowerdir"),
        ("mount_program = \"fuse-overlayfs\"", "mount_program"),
        ("mount_program = \"/nonexistent\"", "mount_program"),
    ] {
        let text = format!("[storage]\ndriver = \"overlay\"\n[storage.options.overlay]\n{setting}\n");
        env.write_home(".config/containers/storage.conf", text);
        let output = env.run(["unshare", "coracle", "mount", &container]);
        assert!(output.failure(125).contains(hint), "{setting}: {output}");
    }
}
