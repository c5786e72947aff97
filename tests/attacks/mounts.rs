//! Mounts (known attacks A66 to A85, A11, A13): what is mounted for a command lands inside, holds, and is gone afterwards.

use std::fs;

use serde_json::Value;

use crate::paths::Canary;
use crate::probe::Probed;

/// Everything that `run` puts into a container.
const PROVIDED: &[&str] = &["/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv"];

/// A13, CVE-2024-9341, A66, CVE-2015-1335, and A68, CVE-2024-45310.
#[test]
fn links_in_the_place_of_mount_points_lead_inside_only() {
    let outside = crate::harness::TestEnv::new();
    let canary = Canary::new(&outside);
    let out = canary.path.display();
    for script in [
        format!("for f in {}; do mkdir -p .${{f%/*}}; ln -sf {out}/new$f .$f; done", PROVIDED.join(" ")),
        format!("rm -rf etc run; ln -s {out} etc; ln -s {out}/sub run"),
        "rm -rf etc run; ln -s ../../../.. etc; ln -s /proc/1/root run".to_owned(),
    ] {
        let probed = Probed::new();
        probed.change(&script);
        // It may be refused, as a link in a circle is; it must not reach out.
        let _ = probed.shell(&["--add-host", "a:192.0.2.1"], "true");
        let _ = probed.env.run(["run", "--network", "none", &probed.container, "true"]);
    }
    canary.assert_untouched();
}

/// A66 for volumes: the target's link decides where inside, and the host's mounts stay as they are (A85).
#[test]
fn volumes_land_inside_and_do_not_reach_the_host() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let volume = probed.env.write("vol/file", "from the volume").parent().expect("a directory").to_path_buf();
    let before = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    probed.shell(&[], &format!("ln -s {} /link; ln -s ../../../../../../x/y /up", canary.path.display())).success();
    for target in ["/link", "/up", "/link/deep/er"] {
        let output = probed.shell(&["--volume", &format!("{}:{target}:ro", volume.display())], &format!("cat {target}/file"));
        assert_eq!(output.success(), "from the volume", "{target}");
    }
    canary.assert_untouched();
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").expect("mountinfo"), before);
}

/// A69, CVE-2019-19921, A70, CVE-2025-52881, and A73, CVE-2026-41579.
#[test]
fn the_kernels_trees_are_mounted_on_directories_only() {
    for name in ["proc", "sys", "dev"] {
        let probed = Probed::new();
        let canary = Canary::new(&probed.env);
        probed.change(&format!("rm -rf ./{name}; ln -s {} ./{name}", canary.path.display()));
        let refusal = probed.shell(&[], "true").failure(125);
        assert!(refusal.contains(&format!("/{name} of the image is a link")), "{refusal}");
        canary.assert_untouched();
    }
    let probed = Probed::new();
    for target in ["/proc", "/proc/self", "/x/../proc/sys", "/sys/fs"] {
        let volume = format!("{}:{target}", probed.env.work().display());
        probed.env.run(["run", "--volume", &volume, &probed.container, "true"]).failure(125);
    }
    for target in ["/proc/attr", "/proc/self/attr", "/sys/kernel"] {
        let mount = format!("type=tmpfs,dst={target}");
        probed.env.run(["run", "--mount", &mount, &probed.container, "true"]).failure(125);
    }
}

/// A71, CVE-2025-31133, and A75: masks are there, made of the real `/dev/null`, whatever the image has in its place.
#[test]
fn masks_hold_whatever_the_image_calls_dev_null() {
    let probed = Probed::new();
    probed.change("mkdir -p dev; echo trap >dev/null; ln -s /etc dev/full");
    let report =
        probed.ask(&[], &["files", "/dev/null", "/dev/full", "/proc/kcore", "/proc/timer_list", "/proc/keys", "/proc/acpi"]);
    assert_eq!(report["/dev/null"]["device"], Value::from("1:3"), "{report}");
    assert_eq!(report["/dev/full"]["device"], Value::from("1:7"), "{report}");
    for path in ["/proc/kcore", "/proc/timer_list", "/proc/keys"] {
        let file = &report[path];
        assert!(file.is_null() || file["device"] == "1:3", "{path}: {report}");
    }
    let written = probed
        .shell(&[], "echo x >/proc/timer_list; echo x >/dev/null; ls -A /proc/acpi /sys/firmware 2>/dev/null | grep -v :");
    assert_eq!(written.out().trim(), "", "{written}");
}

/// A72, CVE-2025-52565.
#[test]
fn the_terminal_is_bound_by_handle() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let out = canary.path.display();
    probed.change(&format!("mkdir -p dev; ln -s {out}/new dev/console; ln -s {out} dev/pts; ln -s {out}/secret dev/ptmx"));
    let output = probed.shell(&["-t"], "tty; stat -c %t /dev/console");
    assert_eq!(output.success().replace('\r', ""), "/dev/pts/0\n88");
    canary.assert_untouched();
}

/// A74, CVE-2026-115521: read-only holds for what is mounted below, and cannot be lifted.
#[test]
fn read_only_volumes_stay_read_only() {
    let probed = Probed::new();
    let volume = probed.env.write("vol/file", "kept").parent().expect("a directory").to_path_buf();
    let flag = format!("{}:/v:ro", volume.display());
    let script = "echo x >/v/file; echo x >/v/new; mount -o remount,rw /v; mount --bind /v /tmp; echo x >/tmp/new; chmod 777 /v; rm -f /v/file";
    let output = probed.shell(&["--volume", &flag], &format!("{script}; true"));
    output.success();
    assert_eq!(fs::read_to_string(volume.join("file")).expect("the file"), "kept");
    assert_eq!(fs::read_dir(&volume).expect("the volume").count(), 1);
}

/// A75, CVE-2018-10892, and A76, CVE-2023-25809: the list of what can be opened for writing. A new entry has to be judged.
#[test]
fn nothing_of_the_machine_can_be_written() {
    let probed = Probed::new();
    for flags in [["--network", "host"], ["--network", "none"], ["--cgroupns", "host"]] {
        let output = probed.env.run(probed.arguments(&flags, &["/probe", "writable"]));
        let report: Value = serde_json::from_str(&output.success()).expect("JSON");
        for path in report["writable"].as_array().expect("a list").iter().filter_map(Value::as_str) {
            // Writing there asks for a notification, about the machine's load, for the writer.
            assert!(path.starts_with("/proc/pressure/"), "{flags:?}: {path} can be opened for writing");
        }
    }
}

/// A79, CVE-2024-9407.
#[test]
fn mount_options_ride_on_no_other() {
    let probed = Probed::new();
    let source = probed.env.work();
    let source = source.display();
    for mount in [
        format!("type=bind,src={source},dst=/m,bind-propagation=rw,suid"),
        format!("type=bind,src={source},dst=/m,ro=x"),
        format!("type=bind,src={source},dst=/m,upperdir=/x"),
        format!("type=bind,src={source},dst=/m,dst=/n"),
        "type=tmpfs,dst=/m,tmpfs-mode=0777:suid".to_owned(),
    ] {
        probed.env.run(["run", "--mount", &mount, &probed.container, "touch", "/ran"]).failure(125);
    }
    let odd = probed.env.write("a:b,c\\d/file", "odd").parent().expect("a directory").to_path_buf();
    let target = probed.env.path("work/plain");
    std::os::unix::fs::symlink(&odd, &target).expect("a link");
    let output = probed.shell(&["--volume", &format!("{}:/o:O", target.display())], "echo x >/o/new; cat /o/file");
    assert_eq!(output.success(), "odd");
    assert_eq!(fs::read_dir(&odd).expect("the directory").count(), 1, "a discarded write arrived");
}

/// A79: nothing is joined to an option string, so a store may lie below a name that has the separators of one.
#[test]
fn a_store_below_an_odd_name_works() {
    let env = crate::harness::TestEnv::new();
    let root = env.work().join("a:b,c\\d/root").display().to_string();
    let run_root = env.work().join("r:s,t").display().to_string();
    let with = |words: &[&str]| env.ok([&["--root", root.as_str(), "--runroot", run_root.as_str()], words].concat());
    env.write("f", "content");
    let container = with(&["from", "scratch"]);
    with(&["copy", "-q", &container, "f", "/f"]);
    with(&["commit", "-q", "--rm", &container, "image"]);
    let container = with(&["from", "--pull-never", "image"]);
    with(&["add", "-q", &container, &crate::harness::busybox_tar().display().to_string(), "/"]);
    assert_eq!(with(&["run", "--network", "host", &container, "/bin/cat", "/f"]), "content");
}

/// A81, CVE-2024-23652: what was made for mounts is removed by handle; what the user made of it stays.
#[test]
fn mount_points_are_gone_and_the_users_files_stay() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    probed.shell(&[], "rm -rf /etc/hosts /etc/hostname /etc/resolv.conf /run /proc /sys /dev 2>/dev/null; true").success();
    let before = probed.layer();
    let volume = format!("{}:/made/for/volume", probed.env.work().display());
    probed.shell(&["--volume", &volume], "true").success();
    assert_eq!(probed.layer(), before, "stubs are left");
    let script = format!("rm -rf /made2; mv /stub /moved 2>/dev/null; ln -s {} /d; echo mine >/kept", canary.path.display());
    probed.shell(&["--volume", &volume], &script).success();
    assert!(probed.layer().contains(&"./kept".to_owned()));
    canary.assert_untouched();
}

/// A84: what a command writes to the generated files reaches neither the host nor the layer.
#[test]
fn edits_of_generated_files_vanish() {
    let probed = Probed::new();
    let hosts = fs::read("/etc/hosts").expect("the host's file");
    let resolv = fs::read("/etc/resolv.conf").ok();
    for network in ["host", "none"] {
        let script =
            "for f in /etc/hosts /etc/resolv.conf /etc/hostname; do if [ -e $f ]; then echo 192.0.2.9 evil >>$f; fi; done";
        let output = probed.env.run(["run", "--network", network, &probed.container, "sh", "-c", script]);
        output.success();
    }
    assert_eq!(fs::read("/etc/hosts").expect("the host's file"), hosts);
    assert_eq!(fs::read("/etc/resolv.conf").ok(), resolv);
    assert!(!probed.shell(&[], "cat /etc/hosts /etc/hostname").success().contains("evil"));
}

/// A11, CVE-2026-55686: a working directory's missing parts are made inside.
#[test]
fn a_missing_working_directory_is_made_inside() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let inside = format!("/{}", canary.path.display().to_string().trim_start_matches('/'));
    probed.shell(&[], &format!("mkdir -p {inside}; ln -s {inside} /w")).success();
    let output = probed.shell(&["--workingdir", "/w/new/x", "--user", "1000"], "touch mine; stat -c %u .");
    assert_eq!(output.success(), "1000");
    assert!(!canary.path.join("new").exists());
    canary.assert_untouched();
}
