//! `containers`, `rename`, `inspect`, `diff`, `check`: what is shown of a working container.

use crate::harness::TestEnv;

#[test]
fn the_table_is_that_of_the_other_tools() {
    let env = TestEnv::new();
    let heading = "CONTAINER ID  BUILDER  IMAGE ID     IMAGE NAME                       CONTAINER NAME";
    assert_eq!(env.ok(["containers"]), heading);
    assert_eq!(env.ok(["containers", "--json"]), "null");
    env.ok(["from", "scratch"]);
    let id = env.ok(["containers", "-q"]);
    assert_eq!(id.len(), 64);
    for verb in ["containers", "ps", "ls", "list"] {
        let table = env.ok([verb]);
        let row = format!("{}     *                  scratch                          working-container", &id[..12]);
        assert_eq!(table, format!("{heading}\n{row}"));
    }
    assert!(env.ok(["containers", "--notruncate", "-n"]).starts_with(&id));
    let json: serde_json::Value = serde_json::from_str(&env.ok(["containers", "--json"])).expect("JSON");
    let keys: Vec<&String> = json[0].as_object().expect("an object").keys().collect();
    assert_eq!(keys.len(), 5);
    assert_eq!(json[0]["containername"], "working-container");
    assert_eq!(json[0]["builder"], true);
}

#[test]
fn filters_and_templates_choose() {
    let env = TestEnv::new();
    env.ok(["from", "scratch"]);
    env.ok(["from", "--name", "web", "scratch"]);
    let names = |filter: &str| env.ok(["containers", "--format", "{{.ContainerName}}", "--filter", filter]);
    assert_eq!(names("name=we"), "web");
    assert_eq!(names("name=we,ancestor=scratch"), "web");
    assert_eq!(names("ancestor=nosuch"), "");
    let id = env.ok(["containers", "-q", "--filter", "name=web"]);
    assert_eq!(names(&format!("id={}", &id[..10])), "web");
    assert_eq!(env.ok(["containers", "-f", "name=web", "--format", "{{.ContainerName}} {{.ImageName}}"]), "web   scratch");
}

#[test]
fn a_container_gets_another_name() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.ok(["from", "--name", "taken", "scratch"]);
    assert_eq!(env.ok(["rename", &container, "web"]), "");
    assert_eq!(env.ok(["inspect", "--format", "{{.Container}}", "web"]), "web");
    let taken = env.run(["rename", "web", "taken"]).failure(125);
    assert!(taken.contains("the container name \"taken\" is already in use by"), "{taken}");
    assert!(env.run(["rename", "web", "web"]).failure(125).contains("same name as its current name"));
    assert!(
        env.run(["rename", "nosuch", "x"]).failure(125).contains("reading build container \"nosuch\": container not known")
    );
    assert!(env.run(["rename", "web", "../x"]).failure(125).contains("../x"));
    assert_eq!(env.ok(["inspect", "--format", "{{.Container}}", "web"]), "web");
}

#[test]
fn inspect_shows_both_formats_by_their_go_names() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.ok(["config", "--label", "html=<b>&", "--env", "A=b", "--cmd", "x y", &container]);
    let show = |format: &str| env.ok(["inspect", "--format", format, &container]);
    assert_eq!(show("{{.OCIv1.Config.Env}} {{.Docker.Config.Cmd}}"), "[A=b] [x y]");
    assert_eq!(show("{{index .OCIv1.Config.Labels \"html\"}}"), "<b>&");
    assert_eq!(show("{{.Type}}|{{.OCIv1.Config.User}}|{{.FromImage}}"), "buildah 0.0.1||");
    assert_eq!(show("{{json .OCIv1.Config.Env}}"), "[\"A=b\"]");
    let output = env.run(["inspect", "--format", "{{.Container}}", &container]);
    assert_eq!(output.out(), container, "no newline at the end");
    let json = env.ok(["inspect", &container]);
    assert!(json.contains("\"html\": \"\\u003cb\\u003e\\u0026\""), "{json}");
    let bad = env.run(["inspect", "--format", "{{.Nosuch}}", &container]).failure(125);
    assert!(bad.contains("can't evaluate field Nosuch"), "{bad}");
    assert!(env.run(["inspect", "-t", "image", &container]).failure(125).contains("image not known"));
}

#[test]
fn the_nearest_name_is_offered() {
    let env = TestEnv::new();
    env.ok(["from", "--name", "webserver", "scratch"]);
    for words in
        [vec!["inspect", "webserve"], vec!["diff", "wbserver"], vec!["rename", "webservr", "x"], vec!["rm", "webserver2"]]
    {
        let error = env.run(&words).failure(125);
        assert!(error.contains("hint: did you mean the container \"webserver\"?"), "{words:?}: {error}");
    }
    assert!(!env.run(["inspect", "quite-different"]).failure(125).contains("did you mean"));
}

#[test]
fn diff_lists_what_was_added_changed_and_deleted() {
    let env = TestEnv::new();
    env.write("tree/keep", "1");
    env.write("tree/change", "12");
    env.write("tree/gone/x", "123");
    let base = env.ok(["from", "scratch"]);
    env.ok(["copy", "-q", &base, "tree", "/data"]);
    env.ok(["commit", "-q", "--rm", &base, "base"]);
    assert!(env.ok(["diff", "base"]).contains("A      2 B /data/change"));
    let container = env.ok(["from", "base"]);
    assert_eq!(env.ok(["diff", &container]), "");
    env.write("change", "1234");
    env.write("new\nline", "");
    env.ok(["copy", "-q", &container, "change", "/data/change"]);
    env.ok(["copy", "-q", &container, "new\nline", "/data/"]);
    env.shell(&format!(
        "coracle unshare sh -c 'm=$(coracle mount {container}); rm -r $m/data/gone; coracle umount {container}' >/dev/null"
    ))
    .success();
    let text = env.ok(["diff", &container]);
    let lines: Vec<&str> = text.lines().filter(|line| !line.ends_with(" /data")).collect();
    assert_eq!(lines, ["C      4 B /data/change", "D          /data/gone", "A      0 B /data/new\\nline"]);
    let json: serde_json::Value = serde_json::from_str(&env.ok(["diff", "--json", &container])).expect("JSON");
    assert!(json.as_array().expect("a list").iter().any(|row| row["path"] == "/data/new\nline" && row["kind"] == "A"));
}

#[test]
fn check_finds_damage_and_removes_garbage() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.ok(["commit", "-q", "--rm", &container, "a"]);
    assert_eq!(env.ok(["check"]), "");
    assert_eq!(env.ok(["check", "--digests"]), "");
    let orphan = env.graph_root().join("overlay").join("ab".repeat(32));
    std::fs::create_dir(&orphan).expect("an orphan");
    std::os::unix::fs::chown(
        &orphan,
        std::fs::metadata(env.graph_root()).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).ok(),
        None,
    )
    .ok();
    let found = env.ok(["check"]);
    assert!(found.contains(&"ab".repeat(32)), "garbage is listed, and no damage: {found}");
    env.ok(["check", "--repair"]);
    assert!(!orphan.exists());
    assert_eq!(env.ok(["check"]), "");
    let images = env.graph_root().join("overlay-images/images.json");
    let text = std::fs::read_to_string(&images).expect("the table");
    std::fs::write(&images, text.replace("\"layer\":\"", "\"layer\":\"00")).expect("the table");
    let output = env.run(["check"]);
    assert_ne!(output.code, Some(0), "damage is told by the exit status: {output}");
}
