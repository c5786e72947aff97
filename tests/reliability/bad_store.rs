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

/// Runs a script where `$STORE` is a tmpfs of 12 MiB with a store in it: an image `base`, `top` made upon it, a container of `top`. `full`
/// fills it to the last byte, `c` is `coracle` on that store.
fn on_a_small_disk(env: &mut TestEnv, script: &str) -> String {
    env.write("one", vec![b'1'; 1 << 20]);
    env.write("two", vec![b'2'; 1 << 20]);
    env.set("STORE", &env.work().join("small").display().to_string());
    env.write(
        "full.sh",
        r#"mount -t tmpfs -o size=12m tmpfs "$STORE"
        c() { coracle --root "$STORE/root" --runroot "$PWD/run" "$@"; }
        full() {
            dd if=/dev/zero of="$STORE/fill" bs=64k 2>/dev/null || true
            dd if=/dev/zero of="$STORE/rest" bs=1 count=1 2>/dev/null && { echo "the disk is not full"; exit 1; } || true
        }
        ctr=$(c from scratch); c copy -q "$ctr" one /one; c commit -q --rm "$ctr" base > /dev/null
        ctr=$(c from base); c copy -q "$ctr" two /two; c commit -q --rm "$ctr" top > /dev/null
        ctr=$(c from top); c copy -q "$ctr" one /one
        "#,
    );
    let inner = format!("mkdir -p \"$STORE\" run; unshare -Urm --map-auto sh -euc '. ./full.sh\n{script}'");
    env.shell(&inner).success()
}

#[test]
fn on_a_full_disk_containers_and_images_can_be_removed() {
    let mut env = TestEnv::new();
    let out = on_a_small_disk(
        &mut env,
        r#"full
        c rm "$ctr" > /dev/null; c check
        full
        c rmi top > /dev/null; c check
        full
        c rmi base > /dev/null; c check
        c images -q; c containers -q
        cd "$STORE/root"; ls -d overlay/*/diff overlay-layers/*.gz overlay-images/*/ overlay-containers/*/ 2>/dev/null || true"#,
    );
    assert_eq!(out, "", "something is left");
}

#[test]
fn on_a_full_disk_everything_can_be_pruned_at_once() {
    let mut env = TestEnv::new();
    let script = "c tag top other; full; c rmi other > /dev/null; full
        c prune -a -f > /dev/null; c images -q; c containers -q; c check";
    assert_eq!(on_a_small_disk(&mut env, script), "", "something is left");
}

#[test]
fn on_a_full_disk_a_build_ends_in_one_error_and_the_next_one_goes_through() {
    let mut env = TestEnv::new();
    env.write("context/big", vec![b'x'; 11 << 20]);
    env.write("context/Dockerfile", "FROM top\nLABEL a=b\nCOPY big /big\n");
    let out = on_a_small_disk(
        &mut env,
        r#"for mode in --layers --layers=false; do
            c rm -a > /dev/null
            if c build -q $mode -t built context 2> error; then echo "the build went through"; exit 1; fi
            cat error; c check; c containers -q
        done
        c rmi --prune > /dev/null; : > context/big
        c build -q -t built context > /dev/null; c check"#,
    );
    assert_eq!(out.lines().filter(|line| line.starts_with("Error: ")).count(), 2, "{out}");
    assert!(out.lines().all(|line| line.starts_with("Error: ") == line.contains("o space left on device")), "{out}");
}

#[test]
fn without_a_reserve_a_full_disk_still_lets_a_container_go() {
    let mut env = TestEnv::new();
    let out = on_a_small_disk(
        &mut env,
        r#"rm "$STORE/root/coracle/reserve"; full
        c rmi top 2> error && exit 1; grep -q "image is in use" error
        c rm "$ctr" > /dev/null; c rmi -a > /dev/null; c check; c images -q"#,
    );
    assert_eq!(out, "");
}

/// Without a reserve, and with nothing that could be built again, an image cannot go: the error says how little would help, and it does.
#[test]
fn without_room_for_a_note_the_error_of_a_removal_says_what_to_do() {
    let mut env = TestEnv::new();
    let out = on_a_small_disk(
        &mut env,
        r#"c rm "$ctr" > /dev/null; head -c 16384 /dev/zero > "$STORE/small"
        full; rm -rf "$STORE/root/coracle/reserve" "$STORE/root/coracle/blobs" "$STORE/root/coracle/stacks" "$STORE/root/coracle/lineages"; full; full
        for verb in "rmi top" "prune -a" "rmi -a"; do c $verb 2> error && { echo "$verb went through"; exit 1; }; grep "^hint: a removal" error; done
        c images -q | wc -l; c check; rm "$STORE/small"; c rmi -a > /dev/null; c images -q; c check"#,
    );
    let hint = "hint: a removal notes what it is about to do before it frees anything, and there was no room for that: \
                delete some other file (16 KiB are enough) on the same file system, then try again";
    assert_eq!(out, format!("{hint}\n{hint}\n{hint}\n2"));
}
