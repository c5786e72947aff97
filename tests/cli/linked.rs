//! `copy --link` and `add --link`: layers of their own, and `commit --add-file`, which makes one as well.

use crate::harness::TestEnv;

/// The diff IDs of an image, lowest first.
fn diff_ids(env: &TestEnv, image: &str) -> Vec<String> {
    let text = env.ok(["inspect", "-t", "image", "--format", "{{json .OCIv1.RootFS.DiffIDs}}", image]);
    serde_json::from_str(&text).expect("a list of digests")
}

fn history(env: &TestEnv, image: &str) -> String {
    env.ok(["inspect", "-t", "image", "--format", "{{range .OCIv1.History}}{{.CreatedBy}}|{{.Comment}}\n{{end}}", image])
}

#[test]
fn linked_content_is_one_layer_for_each_call_above_the_containers_own() {
    let env = TestEnv::new();
    let container = env.busybox_container("base");
    env.write("d/file", "content\n");
    env.shell("touch -d @1000000000 d/file d").success();
    let tree = env.ok(["copy", "--link", &container, "d", "/srv/deep/"]);
    let file = env.ok(["add", "--link", "--chown", "5:6", &container, "d/file", "own"]);
    assert_eq!(tree, env.ok(["copy", &container, "d", "/plain"]), "the digest is that of any copy");
    let unseen = env.run(["run", &container, "--", "ls", "/srv"]);
    assert!(unseen.failure(1).contains("No such file"), "linked content is no part of the container:\n{unseen}");
    env.ok(["commit", "-q", &container, "app"]);
    assert_eq!(diff_ids(&env, "app").len(), 4);
    insta::assert_snapshot!(history(&env, "app").replace(&tree, "TREE").replace(&file, "FILE"), @r"
    /bin/sh|
    /bin/sh|FROM localhost/base:latest
    /bin/sh -c #(nop) COPY --link dir:TREE in /srv/deep/ |
    /bin/sh -c #(nop) ADD --link file:FILE in /own |
    ");
    let other = env.ok(["from", "app"]);
    insta::assert_snapshot!(env.run(["run", &other, "--", "ls", "-lan", "/srv/deep", "/own"]), @r"
    -rw-r--r--    1 5        6                8 Sep  9  2001 /own

    /srv/deep:
    total 12
    drwxr-xr-x    2 0        0             4096 Sep  9  2001 .
    drwxr-xr-x    3 0        0             4096 Sep  9  2001 ..
    -rw-r--r--    1 0        0                8 Sep  9  2001 file
    ");
    env.assert_store_is_clean();
}

#[test]
fn a_linked_layer_does_not_depend_on_the_base() {
    let env = TestEnv::new();
    env.busybox("base");
    env.write("file", "content\n");
    env.shell("touch -d @1000000000 file").success();
    let top = |base: &str, prepare: &[&str], name: &str| {
        let container = env.ok(["from", base]);
        if !prepare.is_empty() {
            env.ok([&["run", &container, "--"], prepare].concat());
        }
        env.ok(["copy", "-q", "--link", &container, "file", "/opt/dir/file"]);
        env.ok(["commit", "-q", "--rm", &container, name]);
        diff_ids(&env, name).pop().expect("a layer")
    };
    let plain = top("scratch", &[], "one");
    // Neither owner and mode of a directory that is there, nor a link in its place, are seen.
    assert_eq!(top("base", &["sh", "-c", "mkdir -p /opt/dir; chmod 700 /opt; chown 7:8 /opt/dir"], "two"), plain);
    assert_eq!(top("base", &["ln", "-s", "/tmp", "/opt"], "three"), plain);
    let container = env.ok(["from", "three"]);
    assert_eq!(env.ok(["run", &container, "--", "stat", "-c", "%F", "/opt"]), "directory");
    env.assert_store_is_clean();
}

#[test]
fn linked_content_stays_until_the_container_goes() {
    let env = TestEnv::new();
    let container = env.ok(["from", "--name", "c", "scratch"]);
    env.write("file", "content\n");
    env.shell("touch -d @1000000000 file").success();
    env.ok(["copy", "-q", "--link", &container, "file", "/a"]);
    env.ok(["config", "--label", "a=b", &container]);
    env.ok(["rename", &container, "d"]);
    let one = env.ok(["commit", "-q", "--timestamp", "0", "d", "one"]);
    assert_eq!(env.ok(["commit", "-q", "--timestamp", "0", "d", "two"]), one);
    assert_eq!(env.ok(["commit", "-q", "--timestamp", "0", "--rm", "d", "three"]), one);
    let left: Vec<_> = std::fs::read_dir(env.graph_root().join("overlay-containers"))
        .expect("the directory of containers")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.len() == 64)
        .collect();
    assert!(left.is_empty(), "{left:?}");
    env.assert_store_is_clean();
}

#[test]
fn squashing_lays_linked_content_over_the_rest() {
    let env = TestEnv::new();
    let container = env.busybox_container("base");
    env.write("file", "content\n");
    env.write("extra", "extra\n");
    env.ok(["run", &container, "--", "ln", "-s", "/tmp", "/link"]);
    env.ok(["copy", "-q", "--link", &container, "file", "/link/file"]);
    env.ok(["copy", "-q", "--link", &container, "file", "/etc/passwd"]);
    let add = ["commit", "-q", "--add-file", "extra:/link/extra"];
    env.ok([&add[..], &[&container, "layers"]].concat());
    env.ok([&add[..], &["--squash", &container, "flat"]].concat());
    assert_eq!((diff_ids(&env, "layers").len(), diff_ids(&env, "flat").len()), (5, 1));
    let listing = |image: &str| {
        let container = env.ok(["from", image]);
        env.inside(&container, "find /link /etc /tmp -exec stat -c '%n %F %a %u:%g' {} +; cat /etc/passwd")
    };
    assert_eq!(listing("layers"), listing("flat"));
    assert!(listing("flat").contains("/link directory"), "{}", listing("flat"));
    env.assert_store_is_clean();
}

#[test]
fn a_name_that_would_delete_files_is_refused_before_it_is_made() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.write(".wh.file", "");
    env.write("dir/.wh..wh..opq", "");
    env.write("plain", "");
    env.shell("tar cf names.tar plain dir").success();
    for (words, name) in [
        (&["copy", "--link", &container, ".wh.file", "/"][..], "\"/.wh.file\""),
        (&["copy", &container, "plain", "/.wh.plain"], "\"/.wh.plain\""),
        (&["copy", &container, "dir", "/d"], "\"/d/.wh..wh..opq\""),
        (&["add", &container, "names.tar", "/d"], "\"dir/.wh..wh..opq\""),
    ] {
        let said = env.run(words).failure(125);
        assert!(said.contains(name) && said.contains("the name begins with \".wh.\""), "{said}");
    }
    // In a build with the place, and not if it is left out.
    env.write("Dockerfile", "FROM scratch\nADD names.tar /\n");
    let said = env.run(["build", "."]).failure(125);
    assert!(said.contains("  2 | ADD names.tar /"), "{said}");
    env.ok(["copy", "-q", "--exclude", ".wh*", &container, "dir", "/d"]);
    env.ok(["commit", "-q", &container, "app"]);
}

#[test]
fn added_files_keep_the_directories_that_lead_to_them() {
    let env = TestEnv::new();
    let container = env.busybox_container("base");
    env.ok([
        "run",
        &container,
        "--",
        "sh",
        "-c",
        "mkdir -p /usr/lib /opt; chmod 2750 /opt; chown 7:8 /opt; ln -s usr/lib /lib",
    ]);
    env.write("extra", "extra\n");
    env.shell("chmod 700 extra").success();
    env.ok(["commit", "--rm", "--add-file", "extra:/lib/extra", "--add-file", "extra:/opt/new/extra", &container, "app"]);
    let container = env.ok(["from", "app"]);
    let script = "stat -c '%n %F %a %u:%g' /lib /usr/lib/extra /opt /opt/new /opt/new/extra";
    insta::assert_snapshot!(env.run(["run", &container, "--", "sh", "-c", script]), @r"
    /lib symbolic link 777 0:0
    /usr/lib/extra regular file 644 0:0
    /opt directory 2750 7:8
    /opt/new directory 755 0:0
    /opt/new/extra regular file 644 0:0
    ");
    let directory = env.run(["commit", "--add-file", ".:/x", &container, "app2"]);
    assert!(directory.failure(125).contains("is not a regular file"), "{directory}");
    env.assert_store_is_clean();
}

#[test]
fn a_list_of_changes_shows_what_the_next_commit_adds() {
    for driver in ["overlay", "vfs"] {
        let env = TestEnv::on(driver);
        env.busybox("base");
        let container = env.ok(["from", "base"]);
        env.write("file", "content\n");
        env.write("group", "root:x:0:\n");
        env.ok(["run", &container, "--", "sh", "-c", "rm /etc/group; echo own > /etc/own"]);
        env.ok(["copy", "-q", "--link", &container, "group", "/etc/group"]);
        env.ok(["copy", "-q", "--link", &container, "file", "/srv/file"]);
        env.ok(["copy", "-q", "--link", &container, "file", "/etc/own"]);
        env.ok(["copy", "-q", "--link", &container, "group", "/srv/file"]);
        insta::allow_duplicates! {
            insta::assert_snapshot!(env.ok(["diff", &container]), @r"
            C     10 B /etc/group
            A      8 B /etc/own
            A          /srv
            A     10 B /srv/file
            ");
        }
    }
}
