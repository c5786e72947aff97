//! A machine that allows nothing: no user namespace, no mount, an ordinary user. Images are made all the same, of files of one owner.

use crate::harness::{CommandOutput, TestEnv, am_root, test_user};

/// Runs the script as the test's user, without a capability and with no user namespace allowed. The graph root is `home/least`, the
/// driver vfs.
fn least(env: &TestEnv, script: &str) -> CommandOutput {
    let conf = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
        env.path("home/least"),
        env.path("run/least")
    );
    let conf = env.write("least.conf", conf);
    let outer = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && export CONTAINERS_STORAGE_CONF={conf:?} && \
         exec setpriv --ambient-caps=-all --inh-caps=-all --bounding-set=-all sh -euc \"$0\""
    );
    env.tool("unshare", ["--user", "--map-current-user", "--keep-caps", "sh", "-euc", &outer, script])
}

#[test]
fn an_image_is_made_and_copied_without_any_namespace() {
    if am_root() && test_user().uid == 0 {
        return;
    }
    let env = TestEnv::new();
    let base = env.busybox("localhost/base:1");
    env.ok(["push", "-q", "localhost/base:1", "oci:in:base"]);
    env.write("f", "content\n");
    env.shell("chmod 640 f; mkdir -p tree/d; echo s > tree/d/s; chmod 4755 tree/d/s; ln -s s tree/d/l").success();

    let from = least(&env, "coracle from --name c oci:in:base");
    assert_eq!(from.success(), "c");
    assert_eq!(from.err().lines().filter(|line| line.contains("files can have one owner only")).count(), 1, "{from}");
    assert!(from.err().contains("no user namespace can be entered"), "{from}");
    least(&env, "coracle copy -q --chown 33:34 c f /etc/f; coracle copy -q c tree /tree; coracle config --env A=1 c").success();
    let refused = least(&env, "coracle run c -- true").failure(125);
    assert!(refused.contains("creating a user namespace"), "{refused}");
    let changes = least(&env, "coracle diff c").success();
    assert!(changes.contains("/etc/f") && changes.contains("/tree/d/s"), "{changes}");
    let made =
        least(&env, "coracle commit -q c localhost/made:1; coracle from --name d localhost/made:1; coracle rm d").success();
    let made = made.lines().next().unwrap_or_default().to_owned();
    least(&env, "coracle commit -q --squash c localhost/one:1; coracle commit -q --rm c localhost/last:1").success();
    least(&env, "coracle push -q localhost/made:1 oci:out:made; coracle push -q localhost/one:1 docker-archive:one.tar")
        .success();
    assert_eq!(least(&env, "coracle check --digests").success(), "");
    least(&env, "coracle rmi --all --force; coracle prune --all --force").success();
    assert_eq!(least(&env, "coracle check; coracle images -q; coracle containers -q").success(), "");

    // Elsewhere the image is what it should be: all that was added is root's, and what lies below is untouched.
    assert_eq!(env.ok(["pull", "-q", "oci:out:made"]), made);
    let layers = |image: &str| env.ok(["inspect", "-t", "image", "--format", "{{json .OCIv1.RootFS.DiffIDs}}", image]);
    assert!(layers(&made).starts_with(layers(&base).trim_end_matches(']')), "the base's layers stay, byte for byte");
    let container = env.ok(["from", &made]);
    let seen = env.ok([
        "run",
        &container,
        "--",
        "sh",
        "-c",
        "stat -c '%a %u:%g' /etc/f /tree/d/s /tree /bin/busybox; cat /tree/d/l; echo $A",
    ]);
    assert_eq!(seen, "640 0:0\n4755 0:0\n755 0:0\n755 0:0\ns\n1");
    let one = env.ok(["pull", "-q", "docker-archive:one.tar"]);
    assert_eq!(env.ok(["run", &env.ok(["from", &one]), "--", "cat", "/etc/f"]), "content");
}

#[test]
fn an_overlay_store_says_what_would_work() {
    if am_root() && test_user().uid == 0 {
        return;
    }
    let env = TestEnv::new();
    let output =
        least(&env, "c=$(coracle --storage-driver overlay from scratch); coracle --storage-driver overlay copy $c f /f");
    assert_eq!(output.code, Some(125), "{output}");
    assert!(output.err().contains("--storage-driver vfs"), "{output}");
}

#[test]
fn a_namespace_too_many_is_no_full_disk() {
    if am_root() && test_user().uid == 0 {
        return;
    }
    let env = TestEnv::new();
    let made = env.ok(["from", "scratch"]);
    for words in [format!("run {made} -- true"), "unshare true".to_owned()] {
        let inner = format!(
            "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --ambient-caps=-all --inh-caps=-all --bounding-set=-all coracle {words}"
        );
        let refused = env.tool("unshare", ["--user", "--map-current-user", "--keep-caps", "sh", "-euc", &inner]).failure(125);
        assert!(refused.contains("user.max_user_namespaces"), "{words}: {refused}");
        assert!(!refused.contains("prune") && !refused.contains("graph root"), "{words}: {refused}");
    }
}
