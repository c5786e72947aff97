//! Stores that cannot be used as they are: corrupt tables, no space, no right to write. One clear error, and nothing is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::TestEnv;

#[test]
fn a_corrupt_table_is_named_and_left_alone() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let table = env.graph_root().join("overlay-images/images.json");
    let before = fs::read(&table).expect("images.json");
    fs::write(&table, &before[..before.len() / 2]).expect("half of images.json");
    let error = env.run(["images"]).failure(125);
    assert!(error.starts_with("Error: ") && error.contains("images.json"), "{error}");
    let error = env.run(["from", "busybox"]).failure(125);
    assert!(error.contains("images.json"), "{error}");
    assert_eq!(fs::read(&table).expect("images.json"), &before[..before.len() / 2], "the table was rewritten");
    fs::write(&table, &before).expect("the whole table");
    env.ok(["from", "busybox"]);
}

#[test]
fn a_read_only_store_can_be_listed_and_says_why_it_cannot_change() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let closed = ["overlay-images", "overlay-layers", "overlay-containers", "overlay", ""];
    for dir in closed {
        fs::set_permissions(env.graph_root().join(dir), fs::Permissions::from_mode(0o500)).expect("a closed directory");
    }
    assert!(env.ok(["images"]).contains("localhost/busybox"));
    let error = env.run(["from", "busybox"]).failure(125);
    for dir in closed.iter().rev() {
        fs::set_permissions(env.graph_root().join(dir), fs::Permissions::from_mode(0o700)).expect("an open directory");
    }
    assert!(error.starts_with("Error: "), "{error}");
    env.assert_store_is_clean();
    env.ok(["from", "busybox"]);
}

#[test]
fn a_full_disk_ends_a_copy_with_one_error_and_keeps_what_was_there() {
    let mut env = TestEnv::new();
    let store = env.work().join("small");
    env.write("big", vec![b'x'; 8 << 20]);
    let tar = env.write("one", "1");
    let _ = tar;
    // A tmpfs of 4 MiB in the user's own namespace holds the store for the length of one script.
    env.set("STORE", &store.display().to_string());
    let output = env.shell(
        r#"mkdir -p "$STORE"
        unshare -Urm --map-auto sh -euc '
            mount -t tmpfs -o size=4m tmpfs "$STORE"
            c() { coracle --root "$STORE/root" --runroot "$STORE/run" "$@"; }
            ctr=$(c from scratch)
            c copy -q "$ctr" one /one
            c commit -q "$ctr" before
            if c copy "$ctr" big /big 2> "$TMPDIR/error"; then echo "the copy went through"; exit 1; fi
            cat "$TMPDIR/error"
            c check
            c images --format "{{.Name}}"
            c commit -q "$ctr" after > /dev/null && c rm "$ctr" > /dev/null
            c check
        '"#,
    );
    let out = output.success();
    assert!(out.contains("Error: ") && out.contains("o space left on device"), "{out}");
    assert!(out.contains("localhost/before"), "{out}");
}
