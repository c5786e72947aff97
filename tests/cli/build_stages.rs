//! `build`: what stages leave in the store.

use crate::harness::TestEnv;

#[test]
fn stages_that_others_stand_on_leave_neither_images_nor_containers() {
    let env = TestEnv::new();
    env.write("ctx/file", "content\n");
    env.write(
        "ctx/Dockerfile",
        "FROM scratch AS base\nCOPY file /a\nFROM base AS side\nCOPY file /b\nFROM base\nCOPY --from=side /b /c\n",
    );
    env.ok(["build", "-t", "app", "ctx"]);
    assert_eq!(env.ok(["images", "--all", "--format", "{{.Name}}"]), "localhost/app");
    assert_eq!(env.ok(["containers", "--quiet", "--all"]), "");
    assert_eq!(env.ok(["check"]), "");
}
