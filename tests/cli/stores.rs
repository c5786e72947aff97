//! More than one store: images of read-only stores, and stores whose containers end with the next boot.

use std::fs;

use crate::harness::{TestEnv, have};

/// Words before the verb that make `image` of another store visible in the test's own.
fn with_shared_image(env: &TestEnv) -> Vec<String> {
    let (root, run) = (env.work().join("shared"), env.work().join("shared-run"));
    let shared = ["--root", &root.to_string_lossy(), "--runroot", &run.to_string_lossy()].map(str::to_owned);
    let ok = |words: &[&str]| env.ok(shared.iter().map(String::as_str).chain(words.iter().copied()));
    env.write("f", "shared\n");
    let container = ok(&["from", "scratch"]);
    ok(&["copy", "-q", &container, "f", "/f"]);
    ok(&["commit", "-q", "--rm", &container, "localhost/image:1"]);
    ["--storage-opt", &format!("additionalimagestore={}", root.display())].map(str::to_owned).into()
}

fn words<'a>(global: &'a [String], words: &[&'a str]) -> Vec<&'a str> {
    global.iter().map(String::as_str).chain(words.iter().copied()).collect()
}

#[test]
fn images_of_an_additional_store_are_used_and_stay_as_they_are() {
    let env = TestEnv::new();
    let global = with_shared_image(&env);
    let ok = |verb: &[&str]| env.ok(words(&global, verb));
    let table = env.work().join("shared/overlay-images/images.json");
    let before = fs::read(&table).expect("the other store's table");

    assert_eq!(ok(&["images", "--format", "{{.Name}}:{{.Tag}} {{.ReadOnly}}"]), "localhost/image:1   true");
    assert_eq!(ok(&["images", "-q", "--filter", "readonly=false"]), "");
    let id = ok(&["inspect", "--type", "image", "--format", "{{.FromImageID}}", "image:1"]);
    let container = ok(&["from", "image:1"]);
    env.write("g", "mine\n");
    ok(&["copy", "-q", &container, "g", "/g"]);
    assert_eq!(ok(&["diff", &container]), "A      5 B /g");
    ok(&["commit", "-q", "--rm", &container, "derived"]);
    let again = ok(&["from", "derived"]);
    ok(&["copy", "-q", "--from", "derived", &again, "/f", "/copy-of-f"]);
    ok(&["rm", &again]);
    if have("buildah") {
        let listed =
            env.tool("buildah", words(&global, &["images", "-q", "--no-trunc", "--filter", "readonly=true"])).success();
        assert_eq!(listed, format!("sha256:{id}"));
    }
    assert_eq!(ok(&["check"]), "");
    assert_eq!(fs::read(&table).expect("the other store's table"), before);
}

#[test]
fn an_image_of_an_additional_store_is_not_removed_but_can_get_names() {
    let env = TestEnv::new();
    let global = with_shared_image(&env);
    let run = |verb: &[&str]| env.run(words(&global, verb));
    insta::assert_snapshot!(run(&["rmi", "-f", "image:1"]), @r#"
    ------- stderr -------
    Error: 1 error occurred:
    	* cannot remove read-only image "[ID]"
    [exit status: 125]
    "#);
    assert_eq!(run(&["rmi", "-a", "-f"]).success(), "", "those of other stores do not count");
    run(&["tag", "image:1", "mine"]).success();
    let names = ["images", "--format", "{{.Name}}:{{.Tag}} {{.ReadOnly}}"];
    insta::assert_snapshot!(run(&names), @r"
    localhost/mine:latest   false
    localhost/image:1       false
    ");
    assert_eq!(run(&["rmi", "mine"]).success(), "untagged: localhost/mine:latest");
    run(&["rmi", "image:1"]).success();
    assert_eq!(run(&names).success(), "localhost/image:1   true", "the record of the other store shows again");
    assert_eq!(run(&["check"]).success(), "");
}

#[test]
fn containers_of_a_transient_store_end_with_the_run_root() {
    let env = TestEnv::new();
    env.busybox("localhost/base:1");
    let kept = env.ok(["from", "--name", "kept", "scratch"]);
    let transient = |verb: &[&str]| env.ok(words(&["--transient-store".to_owned()], verb));
    let container = transient(&["from", "--name", "passing", "base:1"]);
    transient(&["run", &container, "--", "sh", "-c", "echo x > /x"]);
    assert_eq!(transient(&["containers", "--noheading", "--format", "{{.ContainerName}}"]), "kept\npassing");
    assert_eq!(env.ok(["containers", "--noheading", "--format", "{{.ContainerName}}"]), "kept");
    // Who uses the store in the other way takes away nothing that the container needs.
    env.ok(["check", "--repair"]);
    assert_eq!(env.run(["rmi", "-f", "base:1"]).code, Some(125), "a container uses it");
    assert_eq!(transient(&["run", &container, "--", "cat", "/x"]), "x");

    transient(&["commit", "-q", &container, "made"]);
    let image = transient(&["commit", "-q", "--rm", &transient(&["from", "--name", "other", "base:1"]), "in-place"]);
    assert!(env.ok(["images", "-q", "--no-trunc"]).contains(&image), "images are for everybody");

    // As a reboot does it.
    fs::remove_dir_all(env.path("run/containers")).expect("the run root");
    assert_eq!(transient(&["containers", "-q"]).lines().count(), 1);
    transient(&["check", "--repair"]);
    assert_eq!(transient(&["check"]), "", "what the container left is collected");
    env.ok(["rm", &kept]);
    env.ok(["rmi", "-a"]);
    env.assert_store_is_clean();
}
