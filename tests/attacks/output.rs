//! A143 to A146: text from outside that moves the cursor, hides, speaks to a CI system, or breaks a table.
//!
//! The names lie in the store's own tables, where any tool may have written them.

use std::fs;

use crate::harness::{TestEnv, skip_without};

/// Texts that do something where they are printed as they are.
const HOSTILE: &[&str] = &[
    "esc\u{1b}]0;owned\u{7}",
    "osc8\u{1b}]8;;http://x\u{1b}\\click",
    "clip\u{1b}]52;c;eA==\u{7}",
    "c1\u{9b}31m",
    "back\r\u{8}\u{7f}",
    "line\n::set-output name=a::b",
    "pipe\n##vso[task.setvariable]x",
    "bidi\u{202e}gpj.exe\u{2066}",
    "zero\u{200b}\u{feff}",
    "tab\tcell\tcell",
    "tpl{{.ID}}\"",
];

/// A store with one image and one container for each hostile name.
fn hostile_store() -> TestEnv {
    let env = TestEnv::new();
    for (at, name) in HOSTILE.iter().enumerate() {
        let container = env.ok(["from", "--name", &format!("name-{at}"), "scratch"]);
        env.ok(["config", "--label", &format!("label={name}"), &container]);
        env.ok(["commit", "-q", &container, &format!("image-{at}")]);
    }
    let quoted = |text: &str| {
        let json = serde_json::to_string(text).expect("JSON");
        json[1..json.len() - 1].to_owned()
    };
    for table in ["overlay-images/images.json", "overlay-containers/containers.json"] {
        let path = env.graph_root().join(table);
        let mut text = fs::read_to_string(&path).expect("a table");
        for (at, name) in HOSTILE.iter().enumerate() {
            text = text.replace(&format!("localhost/image-{at}:latest"), &quoted(name));
            text = text.replace(&format!("\"name-{at}\""), &format!("\"{}\"", quoted(name)));
        }
        fs::write(&path, text).expect("the table");
    }
    for id in env.ok(["containers", "-q"]).lines() {
        let path = env.graph_root().join("overlay-containers").join(id).join("userdata/buildah.json");
        let mut text = fs::read_to_string(&path).expect("a state file");
        for (at, name) in HOSTILE.iter().enumerate() {
            text = text.replace(&format!("\"name-{at}\""), &format!("\"{}\"", quoted(name)));
        }
        fs::write(&path, text).expect("the state file");
    }
    env
}

/// Nothing in `text` but printable letters and line ends.
#[track_caller]
fn assert_plain(words: &[&str], text: &str) {
    let bad = |letter: char| {
        (letter.is_control() && letter != '\n')
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!text.chars().any(bad), "{words:?}: {text:?}");
    for line in text.lines() {
        assert!(!line.starts_with("::") && !line.starts_with("##"), "{words:?}: a line is a CI command: {line:?}");
    }
}

#[test]
fn tables_show_one_plain_line_for_each_record() {
    let env = hostile_store();
    for words in [
        &["images", "--noheading"][..],
        &["images", "--noheading", "--history", "--digests"],
        &["images", "--format", "{{.Name}} {{.Tag}} {{.History}}"],
        &["containers", "--noheading"],
        &["containers", "--noheading", "--notruncate"],
        &["containers", "--format", "{{.ContainerName}} {{.ImageName}}"],
    ] {
        let text = env.ok(words);
        assert_plain(words, &text);
        assert_eq!(text.lines().count(), HOSTILE.len(), "{words:?}: {text}");
    }
}

#[test]
fn a_template_is_not_expanded_twice() {
    let env = hostile_store();
    assert!(env.ok(["images", "--format", "{{.Name}}"]).contains("tpl{{.ID}}\""));
    assert!(env.ok(["containers", "--format", "{{.ContainerName}}"]).contains("tpl{{.ID}}\""));
}

#[test]
fn json_stays_valid_and_exact() {
    let env = hostile_store();
    let images: serde_json::Value = serde_json::from_str(&env.ok(["images", "--json"])).expect("JSON");
    let names: Vec<&str> = images.as_array().expect("a list").iter().filter_map(|image| image["names"][0].as_str()).collect();
    for name in HOSTILE {
        assert!(names.contains(name), "{name:?} in {names:?}");
    }
    let containers: serde_json::Value = serde_json::from_str(&env.ok(["containers", "--json"])).expect("JSON");
    assert_eq!(containers.as_array().map(Vec::len), Some(HOSTILE.len()));
    for (at, id) in env.ok(["containers", "-q"]).lines().enumerate() {
        let text = env.ok(["inspect", id]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let label = json["OCIv1"]["config"]["Labels"]["label"].as_str().expect("the label");
        assert!(HOSTILE.contains(&label), "container {at}: {label:?}");
    }
}

#[test]
fn removals_and_errors_are_plain() {
    let env = hostile_store();
    for name in HOSTILE {
        for words in [["inspect", name], ["rmi", name], ["diff", name], ["rm", name]] {
            let output = env.run(words);
            // The bullets of rmi's list of failures are ours.
            assert_plain(&words, &output.err().replace("\n\t* ", "\n"));
            // JSON for a program is exact.
            if words[0] != "inspect" {
                assert_plain(&words, &output.out());
            }
            assert!(output.err().len() < 2000, "{words:?}: an error must be readable");
        }
    }
    let output = env.run(["rmi", "--all", "--force"]);
    assert_plain(&["rmi"], &output.out());
    assert_plain(&["rmi"], &output.err());
}

/// What `inspect` shows to a person, where `script` is the terminal: JSON escapes, or the escapes of a text. The line ends of a text
/// stay: they may as well be the template's.
#[test]
fn a_terminal_is_shown_escapes() {
    if skip_without(&["script"]) {
        return;
    }
    let env = hostile_store();
    let shown = |words: &str| {
        let output = env.shell(&format!("script -qec 'coracle {words}' /dev/null < /dev/null"));
        output.success();
        output.out().replace("\r\n", "\n")
    };
    for id in env.ok(["containers", "-q"]).lines() {
        assert_plain(&["inspect"], &shown(&format!("inspect {id}")));
        let label = shown(&format!("inspect --format {{{{.OCIv1.Config.Labels.label}}}} {id}"));
        assert_plain(&["inspect", "--format"], &label.replace('\n', " "));
    }
}

/// Names of files come from images too.
#[test]
fn file_names_are_plain() {
    let env = TestEnv::new();
    let names: Vec<&&str> = HOSTILE.iter().filter(|name| !name.contains('/')).collect();
    names.iter().for_each(|name| drop(env.write(&format!("tree/{name}"), "x")));
    let container = env.ok(["from", "scratch"]);
    env.ok(["copy", "-q", &container, "tree", "/"]);
    let output = env.run(["diff", &container]);
    assert_plain(&["diff"], &output.success());
    assert_eq!(output.out().lines().count(), names.len(), "one line for each file:\n{output}");
    let json: serde_json::Value = serde_json::from_str(&env.ok(["diff", "--json", &container])).expect("JSON");
    let paths: Vec<&str> = json.as_array().expect("a list").iter().filter_map(|change| change["path"].as_str()).collect();
    for name in names {
        assert!(paths.contains(&format!("/{name}").as_str()), "{name:?} in {paths:?}");
        for words in [
            vec!["copy", &container, &format!("no{name}"), "/"],
            vec!["--log-level", "debug", "run", "--network", "none", &container, &format!("/{name}")],
            vec!["--log-level", "debug", "commit", &container, name],
            vec!["config", "--onbuild", name, &container],
            vec!["config", "--healthcheck-interval", name, &container],
            vec!["push", name],
            vec!["pull", &format!("oci:{name}")],
            vec!["completion", name],
            vec!["from", "--name", name, "scratch"],
        ] {
            let output = env.run(&words);
            assert_plain(&words, &output.err().replace("\n\t* ", "\n"));
        }
    }
}
