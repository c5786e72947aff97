//! The shortest whole story: an image from nothing, used by the other tools.

use crate::harness::{TestEnv, skip_without};

#[test]
fn an_image_from_nothing_runs() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let container = env.ok(["from", "busybox"]);
    assert_eq!(container, "busybox-working-container");
    assert_eq!(env.ok(["run", &container, "--", "echo", "hello"]), "hello");
    env.assert_store_is_clean();
}

#[test]
fn podman_and_skopeo_see_the_image() {
    if skip_without(&["podman", "skopeo"]) {
        return;
    }
    let env = TestEnv::new();
    let id = env.busybox("localhost/busybox:latest");
    let listed = env.tool("podman", ["images", "--no-trunc", "--format", "{{.Id}} {{.Repository}}:{{.Tag}}"]).success();
    assert!(listed.contains(&id), "podman images: {listed}");
    env.tool("skopeo", ["inspect", "containers-storage:localhost/busybox:latest"]).success();
    let target = format!("dir:{}", env.work().join("out").display());
    env.tool("skopeo", ["copy", "-q", "containers-storage:localhost/busybox:latest", &target]).success();
}
