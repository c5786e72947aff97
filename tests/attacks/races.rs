//! Mounts and owners while somebody swaps directories (known attacks A02, A13, A17, A67, A68): what the container does with
//! names during the preparation of a `run` leads to nothing outside.
//!
//! Each race has a control: the racer waits until a program that opens by name was led astray.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::harness::TestEnv;
use crate::paths::{Canary, Racer};
use crate::probe::Probed;

const ROUNDS: usize = 12;

/// A02, A68, CVE-2024-45310: mount points that do not exist yet, of both kinds, below a directory of the container that is
/// swapped for a link.
#[test]
fn missing_mount_points_are_made_inside_during_a_race() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let file = probed.env.write("vol/file", "from the volume");
    let directory = file.parent().expect("a directory").display().to_string();
    let racer = Racer::start(&probed.env, &probed.container, &canary);
    let mut ran = 0;
    for round in 0..ROUNDS {
        let volumes = [format!("{directory}:/d/dir-{round}/deep"), format!("{}:/d/file-{round}:ro", file.display())];
        let flags = ["--volume", &volumes[0], "--volume", &volumes[1], "--workingdir", &format!("/d/work-{round}")];
        // Inside or refused; what counts is the canary.
        ran += usize::from(probed.shell(&flags, "true").code == Some(0));
        probed.env.run(["copy", &probed.container, "vol/file", &format!("/d/copied-{round}/file")]);
    }
    racer.stop();
    canary.assert_untouched();
    assert!(ran > 0, "no command ever got as far as to run: nothing was tried");
    assert_eq!(fs::read_dir(probed.env.work().join("vol")).expect("the volume").count(), 1);
}

/// A67, CVE-2021-30465: the directory that is swapped lies in a volume that others share, and a second mount goes below it.
#[test]
fn a_mount_below_a_shared_volume_stays_inside_during_a_race() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let shared = probed.env.write("shared/own", "").parent().expect("a directory").display().to_string();
    let inner = probed.env.write("inner/mark", "of the second mount").parent().expect("a directory").display().to_string();
    let before = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let racer = Racer::start_in(&probed.env, &shared, &canary);
    for round in 0..ROUNDS {
        let volumes = [format!("{shared}:/v"), format!("{inner}:/v/d/sub-{round}")];
        probed.shell(&["--volume", &volumes[0], "--volume", &volumes[1]], "true");
        // One that exists: the canary's own directory, were it resolved on the host.
        probed.shell(&["--volume", &volumes[0], "--volume", &format!("{inner}:/v/d/sub")], "echo x >/v/d/sub/mark");
    }
    racer.stop();
    canary.assert_untouched();
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").expect("mountinfo"), before);
}

/// A17, CVE-2018-6954: `:U` changes the owner of links, and of nothing that they name, also while they appear.
#[test]
fn owners_are_not_given_through_links() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let volume = probed.env.write("vol/sub/file", "").ancestors().nth(2).expect("the volume").to_path_buf();
    // By the user: what belongs to nobody inside could not be given to anybody.
    probed.env.shell(&format!("ln -s {0} vol/to-dir; ln -s {0}/secret vol/sub/to-file", canary.path.display())).success();
    let racer = Racer::start_in(&probed.env, &volume.display().to_string(), &canary);
    let flag = format!("{}:/v:U", volume.display());
    for _ in 0..ROUNDS {
        probed.shell(&["--user", "1000", "--volume", &flag], "true");
    }
    racer.stop();
    canary.assert_untouched();
    let output =
        probed.shell(&["--user", "1000", "--volume", &flag], "stat -c '%u %n' /v /v/sub/file /v/to-dir /v/sub/to-file");
    assert_eq!(output.success(), "1000 /v\n1000 /v/sub/file\n1000 /v/to-dir\n1000 /v/sub/to-file");
    canary.assert_untouched();
}

/// A17: what the system or the caller lives in is not given away.
#[test]
fn directories_of_the_system_are_not_given_away() {
    let probed = Probed::new();
    let home = probed.env.path("home");
    symlink(&home, probed.env.work().join("home-link")).expect("linked");
    let link = probed.env.work().join("home-link").display().to_string();
    let home = home.display().to_string();
    let owner = fs::metadata(&home).expect("the home").uid();
    for source in ["/", "/etc", "/etc/passwd", "/usr/share", "/tmp", "/proc/self/root", &home, &link] {
        let output = probed.shell(&["--user", "1000", "--volume", &format!("{source}:/v:U")], "touch /ran");
        assert!(output.failure(125).contains("is not changed"), "{source}: {output}");
    }
    assert_eq!(fs::metadata(&home).expect("the home").uid(), owner);
}

/// A13: every file that `run` provides, as a link in each way, with each kind of network.
#[test]
fn provided_files_are_written_inside_with_every_network() {
    let outside = TestEnv::new();
    let canary = Canary::new(&outside);
    let out = canary.path.display();
    let files =
        "etc/hosts etc/resolv.conf etc/hostname etc/passwd etc/group etc/mtab etc/localtime run/.containerenv run/secrets";
    for target in [format!("{out}/secret"), format!("{out}/new"), "../../../../../../..".to_owned() + &out.to_string()] {
        let probed = Probed::new();
        probed.change(&format!("mkdir -p etc run; for f in {files}; do rm -rf ./$f; ln -s {target} ./$f; done"));
        for network in ["host", "none", "private"] {
            let flags = ["run", "--network", network, "--add-host", "a:192.0.2.1", "--hostname", "h"];
            let script =
                "for f in /etc/hosts /etc/resolv.conf /etc/hostname; do echo x >>$f; done 2>/dev/null; cat /etc/passwd";
            let output = probed.env.run([&flags[..], &[&probed.container, "sh", "-c", script]].concat());
            assert!(!output.out().contains(crate::paths::SECRET), "{network} {target}: {output}");
        }
        canary.assert_untouched();
    }
}
