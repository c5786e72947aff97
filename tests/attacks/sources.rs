//! The sources of `--mount` (known attacks A77, A78, A80, A82, A126): images, contexts and caches are not left, and binds change
//! nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::harness::{TestEnv, am_root};
use crate::paths::Canary;
use crate::probe::Probed;

/// A77, CVE-2024-1753: links of the image that the source is in lead to places in that image.
#[test]
fn a_link_in_an_image_does_not_lead_out_of_it() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let out = canary.path.display();
    probed.change(&format!(
        "ln -s / toroot; ln -s ../../../../.. up; ln -s /proc/self/root magic; ln -s {out} out; echo in >inside"
    ));
    probed.env.ok(["commit", "-q", &probed.container, "hostile"]);
    let container = probed.env.ok(["from", "busybox"]);
    for source in ["toroot", "up", "/toroot", "../../..", "up/up"] {
        let mount = format!("type=bind,from=hostile,src={source},dst=/m,rw");
        let output = probed.env.run([
            "run",
            "--network",
            "host",
            "--mount",
            &mount,
            &container,
            "--",
            "sh",
            "-c",
            "cat /m/inside; echo x >/m/new",
        ]);
        assert_eq!(output.success(), "in", "{source}");
    }
    for source in ["out", "magic/proc/1/root", "out/secret"] {
        let mount = format!("type=bind,from=hostile,src={source},dst=/m");
        let output = probed.env.run(["run", "--network", "host", "--mount", &mount, &container, "cat", "/m/secret"]);
        assert_ne!(output.code, Some(0), "{source}: {output}");
    }
    canary.assert_untouched();
}

/// A78, CVE-2024-23651, for a context: what is outside stays outside, whatever links there are.
#[test]
fn a_source_does_not_lead_out_of_the_context() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let context = probed.env.write("ctx/inside", "in").parent().expect("the context").to_path_buf();
    symlink(&canary.path, context.join("out")).expect("a link");
    symlink("../canary", context.join("beside")).expect("a link");
    for source in ["out", "beside", "../canary", &canary.path.display().to_string()] {
        let mount = format!("type=bind,src={source},dst=/m");
        let flags = ["run", "--network", "host", "--contextdir", &context.display().to_string(), "--mount", &mount];
        let output = probed.env.run(flags.into_iter().chain([probed.container.as_str(), "cat", "/m/secret"]));
        assert_ne!(output.code, Some(0), "{source}: {output}");
    }
    canary.assert_untouched();
}

/// A82, CVE-2025-4953: writes to a bind end with the command.
#[test]
fn a_writable_bind_changes_neither_its_source_nor_an_image() {
    let probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let script = "echo x >/m/new; echo x >>/m/secret; rm -r /m/sub";
    probed.shell(&["--mount", &format!("type=bind,src={},dst=/m,rw", canary.path.display())], script).success();
    canary.assert_untouched();
    probed.shell(&["--mount", "type=bind,from=busybox,dst=/m,rw"], "rm -r /m/bin; echo x >/m/new").success();
    probed.shell(&["--mount", "type=bind,from=busybox,dst=/m"], "test -e /m/bin/busybox && test ! -e /m/new").success();
    probed.env.assert_store_is_clean();
}

/// A80, CVE-2024-9675: names of caches are hashed, and what is in a cache does not lead out of it.
#[test]
fn a_cache_is_in_its_place_whatever_it_is_called() {
    let mut probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let temporary = probed.env.write("tmp/f", "").parent().expect("a directory").to_path_buf();
    probed.env.set("TMPDIR", &temporary.to_string_lossy());
    let long = "y".repeat(4096);
    for id in ["../../canary", "/etc", ".", "..", &canary.path.display().to_string(), &long, "a\nb"] {
        probed.shell(&["--mount", &format!("type=cache,id={id},dst=/c")], "ls /c; echo x >/c/new").success();
    }
    let caches =
        fs::read_dir(&temporary).expect("the directory").flatten().find(|entry| entry.path().is_dir()).expect("the caches");
    let names = fs::read_dir(caches.path()).expect("the caches").map(|entry| entry.expect("a cache").file_name());
    let names: Vec<_> = names.filter(|name| name != "buildah-cache-lockfiles").collect();
    assert_eq!(names.len(), 7, "{names:?}");
    assert!(names.iter().all(|name| name.len() == 16), "{names:?}");
    let mount = |source: &str| format!("type=cache,id=links,dst=/c,src={source}");
    let link = format!("ln -s {} /c/out; ln -s /../../.. /c/up", canary.path.display());
    probed.shell(&["--mount", "type=cache,id=links,dst=/c"], &link).success();
    assert_ne!(probed.shell(&["--mount", &mount("out")], "cat /c/secret").code, Some(0));
    assert_eq!(probed.shell(&["--mount", &mount("up")], "ls /c").success(), "out\nup");
    canary.assert_untouched();
}

/// A126: the directory of the caches is in a place where others may write.
#[test]
fn a_cache_directory_that_somebody_else_made_is_not_used() {
    if !am_root() {
        eprintln!("skipped: only root can be a second user");
        return;
    }
    let mut probed = Probed::new();
    let canary = Canary::new(&probed.env);
    let uid = crate::harness::test_user().uid;
    let shared = probed.env.path("shared-tmp");
    fs::create_dir(&shared).expect("a directory");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("its mode");
    probed.env.set("TMPDIR", &shared.to_string_lossy());
    let place = shared.join(format!("buildah-cache-{uid}"));
    let refused = |probed: &Probed| {
        let output = probed.shell(&["--mount", "type=cache,dst=/c"], "true");
        assert!(output.failure(125).contains("buildah-cache-"), "{output}");
    };
    fs::create_dir(&place).expect("root's directory");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).expect("its mode");
    refused(&probed);
    fs::remove_dir(&place).expect("removed");
    symlink(&canary.path, &place).expect("a link");
    refused(&probed);
    fs::remove_file(&place).expect("removed");
    fs::write(&place, "").expect("a file");
    refused(&probed);
    fs::remove_file(&place).expect("removed");
    probed.shell(&["--mount", "type=cache,dst=/c"], "true").success();
    assert_eq!(fs::metadata(&place).expect("the caches").permissions().mode() & 0o777, 0o700);
    canary.assert_untouched();
}

/// A13, CVE-2024-9341, for mounts.conf: a link of the image decides where inside a copy appears, and nothing else.
#[test]
fn a_subscription_lands_inside() {
    let probed = Probed::new();
    let outside = TestEnv::new();
    let canary = Canary::new(&outside);
    let file = probed.env.write("entitlement/key", "key");
    let list = format!("{}:/run/secrets/e\n{}:/etc/one\n", file.parent().expect("a directory").display(), file.display());
    probed.env.write_home(".config/containers/mounts.conf", list);
    probed.change(&format!(
        "mkdir -p run etc; ln -sfn {} run/secrets; ln -sf {}/new etc/one",
        canary.path.display(),
        canary.path.display()
    ));
    // It may be refused; it must not reach out.
    let _ = probed.shell(&[], "cat /etc/one");
    canary.assert_untouched();
    assert_eq!(fs::read_to_string(&file).expect("the key"), "key");
}
