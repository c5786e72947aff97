//! `version`, `completion`, `info`: what the program says of itself and of the machine.

use crate::harness::TestEnv;

#[test]
fn the_text_has_its_values_in_one_column() {
    let env = TestEnv::new();
    let text = env.ok(["version"]);
    assert_eq!(text.lines().next(), Some(format!("Version:         {}", env!("CARGO_PKG_VERSION")).as_str()));
    for line in text.lines() {
        let (label, value) = line.split_at(17);
        assert!(label.trim_end().ends_with(':') && !value.starts_with(' '), "{line:?}");
    }
    let line = env.ok(["--version"]);
    assert!(line.starts_with("coracle version ") && line.contains("(image-spec "), "{line}");
    assert_eq!(env.ok(["-v"]), line);
}

#[test]
fn the_json_has_the_keys_that_scripts_know() {
    let env = TestEnv::new();
    let json: serde_json::Value = serde_json::from_str(&env.ok(["version", "--json"])).expect("JSON");
    for key in
        ["version", "goVersion", "imageSpec", "runtimeSpec", "imageVersion", "gitCommit", "built", "osArch", "buildPlatform"]
    {
        assert!(json[key].is_string(), "{key} in {json}");
    }
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn version_and_help_touch_no_store() {
    let mut env = TestEnv::new();
    env.set("CONTAINERS_STORAGE_CONF", "/nosuch/storage.conf");
    for words in [vec!["version"], vec!["--version"], vec!["help"], vec!["images", "--help"], vec!["completion", "zsh"]] {
        env.ok(&words);
    }
    assert!(!env.path("home/.local").exists());
}

#[test]
fn a_completion_script_is_valid_for_its_shell() {
    let env = TestEnv::new();
    env.shell("coracle completion bash > script; bash -n script").success();
    assert!(env.ok(["completion", "fish"]).contains("complete -c coracle"));
}

#[test]
fn info_describes_the_machine_and_the_store() {
    let env = TestEnv::new();
    let json: serde_json::Value = serde_json::from_str(&env.ok(["info"])).expect("JSON");
    let sections: Vec<&String> = json.as_object().expect("an object").keys().collect();
    assert_eq!(sections, ["coracle", "host", "store"]);
    assert_eq!(json["store"]["GraphDriverName"], "overlay");
    assert_eq!(json["store"]["GraphRoot"], env.graph_root().to_string_lossy().as_ref());
    assert_eq!(json["store"]["ImageStore"]["number"], 0);
    assert_eq!(json["host"]["os"], "linux");
    assert!(json["host"]["MemTotal"].as_i64() > Some(0));
    assert_eq!(env.ok(["info", "--format", "{{.store.ContainerStore.number}}"]), "0");
    assert!(env.ok(["info", "-d"]).contains("\"debug\""));
    assert!(env.ok(["info", "--debug"]).contains("\"debug\""));
}

#[test]
fn info_tries_the_machine_out_once() {
    let env = TestEnv::new();
    let first: serde_json::Value = serde_json::from_str(&env.ok(["info"])).expect("JSON");
    let rung = first["coracle"]["rung"].as_i64().expect("a rung");
    assert!((1..=5).contains(&rung), "{first}");
    assert_eq!(first["coracle"]["why"] == "", rung == 1, "a lower rung has a reason: {first}");
    let kept = env.graph_root().join("coracle/machine.json");
    let before = std::fs::metadata(&kept).and_then(|meta| meta.modified()).expect("the kept result");
    env.ok(["info"]);
    assert_eq!(std::fs::metadata(&kept).and_then(|meta| meta.modified()).expect("the kept result"), before);
    let left: Vec<_> =
        std::fs::read_dir(kept.parent().expect("a directory")).expect("it").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left, ["machine.json"], "the trial left something");
    env.assert_store_is_clean();
}
