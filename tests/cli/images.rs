//! `images`, `tag`, `rmi`, `prune`: names, rows, filters, and what goes when.

use crate::harness::TestEnv;

/// Commits an image on `base` with one label. Returns its ID.
#[track_caller]
fn image(env: &TestEnv, base: &str, name: &str, label: &str) -> String {
    let container = env.ok(["from", base]);
    env.ok(["config", "--label", label, "--created-by", name, &container]);
    let words: &[&str] = if name.is_empty() { &[] } else { &[name] };
    env.ok(["commit", "-q", "--rm", &container].iter().chain(words))
}

/// Three images on top of each other: a, b, c.
fn line(env: &TestEnv) -> [String; 3] {
    [image(env, "scratch", "a", "step=1"), image(env, "a", "b", "step=2"), image(env, "b", "c", "step=3")]
}

fn rows(env: &TestEnv, words: &[&str]) -> Vec<String> {
    let mut all = vec!["images", "--noheading", "--format", "{{.Name}}:{{.Tag}}"];
    all.extend(words);
    let mut rows: Vec<String> = env.ok(&all).lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

#[test]
fn an_empty_store_has_a_heading_and_an_empty_list() {
    let env = TestEnv::new();
    assert_eq!(env.ok(["images"]), "REPOSITORY   TAG   IMAGE ID   CREATED   SIZE");
    assert_eq!(env.ok(["images", "-n"]), "");
    assert_eq!(env.ok(["images", "--json"]), "[]");
    assert_eq!(env.ok(["images", "-q"]), "");
}

#[test]
fn each_name_has_a_row_and_each_image_one_id() {
    let env = TestEnv::new();
    let id = image(&env, "scratch", "a:1", "x=y");
    env.ok(["tag", "a:1", "b", "registry.example/team/c:2"]);
    assert_eq!(rows(&env, &[]), ["localhost/a:1", "localhost/b:latest", "registry.example/team/c:2"]);
    let names = env.ok(["images", "--noheading", "--format", "{{.Name}}"]);
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(names, ["registry.example/team/c", "localhost/b", "localhost/a"], "the newest name comes first");
    assert_eq!(env.ok(["images", "-q"]), id[..12]);
    assert_eq!(env.ok(["images", "-q", "--no-trunc"]), format!("sha256:{id}"));
    let table = env.ok(["images", "--digests"]);
    let heading: Vec<&str> = table.lines().next().expect("a heading").split_whitespace().collect();
    assert_eq!(heading, ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]);
    let json: serde_json::Value = serde_json::from_str(&env.ok(["images", "--json"])).expect("JSON");
    assert_eq!(json[0]["id"], id[..12]);
    assert_eq!(json[0]["names"].as_array().map(Vec::len), Some(3));
    assert_eq!(json[0]["history"], serde_json::Value::Null);
}

#[test]
fn blanks_of_a_template_become_columns() {
    let env = TestEnv::new();
    image(&env, "scratch", "a", "x=y");
    image(&env, "scratch", "longer", "x=z");
    let text = env.ok(["images", "--format", "table {{.Name}} {{.Tag}}"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "REPOSITORY         TAG");
    assert!(lines.contains(&"localhost/a        latest") && lines.contains(&"localhost/longer   latest"), "{text}");
    assert_eq!(env.ok(["images", "--format", r"{{.Name}}\t{{.ReadOnly}}", "a"]), "localhost/a   false");
}

#[test]
fn filters_choose() {
    let env = TestEnv::new();
    let [a, ..] = line(&env);
    env.ok(["tag", "c", "other/c:2"]);
    let all = ["localhost/a:latest", "localhost/b:latest", "localhost/c:latest", "localhost/other/c:2"];
    let cases: &[(&[&str], &[&str])] = &[
        (&["label=step"], &all),
        (&["label=step=1"], &all[..1]),
        (&["label!=step=1"], &all[1..]),
        (&["label=st*"], &all),
        (&["reference=a"], &all[..1]),
        (&["reference=a,reference=b"], &all[..2]),
        (&["reference=*/c"], &all[2..]),
        (&["reference=localhost*"], &[]),
        (&["reference!=a"], &all[1..]),
        (&["since=a"], &all[1..]),
        (&["before=b"], &all[..1]),
        (&["after=a", "before=c"], &all[1..2]),
        (&["until=1h"], &[]),
        (&["until=2000-01-01"], &[]),
        (&["containers=true"], &[]),
        (&["containers=false"], &all),
        (&["dangling=true"], &[]),
        (&["readonly=true"], &[]),
        (&["manifest=false"], &all),
        (&["intermediate=true"], &[]),
    ];
    for (filters, want) in cases {
        let words: Vec<&str> = filters.iter().flat_map(|filter| ["-f", filter]).collect();
        assert_eq!(rows(&env, &words), *want, "{filters:?}");
    }
    assert_eq!(rows(&env, &["-f", &format!("id={}", &a[..20])]), all[..1]);
    for (bad, part) in [
        ("x=y", "unsupported image filter"),
        ("x", "must be in the format"),
        ("dangling=perhaps", "non-boolean"),
        ("since=nosuch", "image not known"),
    ] {
        let error = env.run(["images", "-f", bad]).failure(125);
        assert!(error.contains(part), "{bad}: {error}");
    }
}

/// An image `app` of that many steps; the images of all but the last one have no name.
fn long_line(env: &TestEnv, steps: usize) {
    let labels: String = (1..steps).map(|step| format!("LABEL step={step}\n")).collect();
    env.write("ctx/file", "content\n");
    env.write("ctx/Dockerfile", format!("FROM scratch\nCOPY file /\n{labels}"));
    env.ok(["build", "--layers", "-q", "-t", "app", "ctx"]);
    assert_eq!(env.ok(["images", "--all", "-q"]).lines().count(), steps);
}

#[test]
fn lists_remember_which_images_are_steps() {
    let env = TestEnv::new();
    long_line(&env, 24);
    let only = ["localhost/app:latest"];
    assert_eq!(rows(&env, &[]), only);
    let memo = env.graph_root().join("coracle/lineages");
    let kept = std::fs::read(&memo).expect("a memo");

    // With it no config is read: they could as well be away.
    let images = env.graph_root().join("overlay-images").display().to_string();
    let moved =
        |from: &str, to: &str| format!("cd {images}; for d in *{from}; do [ ! -d $d ] || mv $d ${{d%{from}}}{to}; done");
    env.shell(&moved("", ".away")).success();
    assert_eq!(rows(&env, &[]), only);
    std::fs::remove_file(&memo).expect("to delete the memo");
    assert_eq!(rows(&env, &[]).len(), 24, "there is no other way to know it");
    assert!(!memo.exists(), "what could not be read is not kept");
    env.shell(&moved(".away", "")).success();

    let halves = kept.split_at(kept.len() / 2);
    for damaged in [halves.0.to_vec(), [halves.0, &[7], halves.1].concat(), Vec::new(), b"coracle lineages 1\n".to_vec()] {
        std::fs::write(&memo, damaged).expect("to damage the memo");
        assert_eq!(rows(&env, &[]), only);
        assert_eq!(std::fs::read(&memo).expect("a memo").len(), kept.len(), "made anew");
    }
    std::fs::remove_file(&memo).expect("to delete the memo");
    std::fs::create_dir(&memo).expect("to be in the memo's way");
    assert_eq!(rows(&env, &[]), only, "that nothing can be kept is no failure");
    std::fs::remove_dir(&memo).expect("to go away again");
}

#[test]
fn what_is_remembered_of_images_is_right_after_others_come_and_go() {
    let env = TestEnv::new();
    long_line(&env, 20);
    assert_eq!(rows(&env, &[]).len(), 1);
    // The last image of the line goes alone: the one below it is nobody's step any more.
    let last = image(&env, "app", "later", "x=y");
    env.ok(["tag", "app", "kept"]);
    env.ok(["rmi", "app"]);
    assert_eq!(rows(&env, &[]), ["localhost/kept:latest", "localhost/later:latest"]);
    assert_eq!(env.ok(["rmi", "kept"]), "untagged: localhost/kept:latest");
    assert_eq!(rows(&env, &["--all"]).len(), 20, "the last of the line is gone, its steps are now the other's");
    assert_eq!(rows(&env, &[]), ["localhost/later:latest"]);
    let gone = env.ok(["rmi", "later"]);
    assert_eq!(gone.lines().filter(|line| line.len() == 64).count(), 20, "{gone}");
    assert!(gone.contains(&last) && rows(&env, &["--all"]).is_empty());
    // The same again, from what is remembered of images that were gone meanwhile.
    long_line(&env, 20);
    assert_eq!(rows(&env, &[]), ["localhost/app:latest"]);
}

#[test]
fn a_name_moves_to_the_image_it_is_given_to() {
    let env = TestEnv::new();
    let first = image(&env, "scratch", "a", "x=1");
    let second = image(&env, "scratch", "b", "x=2");
    env.ok(["tag", "b", "a"]);
    assert_eq!(env.ok(["images", "-q", "--no-trunc", "a"]), format!("sha256:{second}"));
    assert_eq!(rows(&env, &["-f", "dangling=true"]), ["<none>:<none>"]);
    assert_eq!(env.ok(["rmi", "--prune"]), first);
    let error = env.run(["tag", "a", "Upper"]).failure(125);
    assert!(error.contains("repository name must be lowercase"), "{error}");
    assert!(env.run(["tag", "nosuch", "x"]).failure(125).contains("nosuch: image not known"));
}

#[test]
fn a_name_goes_before_the_image() {
    let env = TestEnv::new();
    let id = image(&env, "scratch", "a", "x=1");
    env.ok(["tag", "a", "b"]);
    assert_eq!(env.ok(["rmi", "a"]), "untagged: localhost/a:latest");
    env.ok(["tag", "b", "a"]);
    let error = env.run(["rmi", &id]).failure(125);
    assert!(error.contains("by ID with more than one tag"), "{error}");
    let removed = env.ok(["rmi", "--force", &id]);
    let mut lines: Vec<&str> = removed.lines().collect();
    assert_eq!(lines.pop(), Some(id.as_str()));
    lines.sort_unstable();
    assert_eq!(lines, ["untagged: localhost/a:latest", "untagged: localhost/b:latest"]);
    env.assert_store_is_clean();
}

#[test]
fn an_image_with_children_goes_and_its_layers_stay() {
    let env = TestEnv::new();
    let [a, b, c] = line(&env);
    assert_eq!(env.ok(["rmi", "b"]), "untagged: localhost/b:latest");
    assert_eq!(rows(&env, &["--all"]), ["localhost/a:latest", "localhost/c:latest"]);
    assert!(env.run(["rmi", &b]).failure(125).contains("image not known"));
    assert_eq!(env.ok(["rmi", "a"]), format!("untagged: localhost/a:latest\n{a}"));
    assert_eq!(env.ok(["rmi", "--prune"]), "");
    env.ok(["from", "--name", "above", "c"]);
    env.ok(["rm", "above"]);
    assert_eq!(env.ok(["rmi", "c"]), format!("untagged: localhost/c:latest\n{c}"));
    assert_eq!(rows(&env, &["--all"]), Vec::<String>::new());
    env.assert_store_is_clean();
}

#[test]
fn a_parent_with_a_name_or_another_child_stays() {
    let env = TestEnv::new();
    let [_, b, c] = line(&env);
    let d = image(&env, "b", "d", "step=4");
    env.ok(["tag", "c", "b"]);
    env.ok(["rmi", "b"]);
    assert_eq!(env.ok(["rmi", "c"]), format!("untagged: localhost/c:latest\n{c}"));
    assert_eq!(env.ok(["rmi", "d"]), format!("untagged: localhost/d:latest\n{d}\n{b}"), "d, and b below it");
    assert_eq!(rows(&env, &["--all"]), ["localhost/a:latest"]);
    env.assert_store_is_clean();
}

#[test]
fn containers_keep_their_image_unless_forced() {
    let env = TestEnv::new();
    let id = image(&env, "scratch", "a", "x=1");
    env.ok(["from", "a"]);
    let container = env.ok(["containers", "-q"]);
    for words in [vec!["rmi", "a"], vec!["rmi", "-a"]] {
        let error = env.run(&words).failure(125);
        assert!(error.contains(&format!("image used by {container}: image is in use by a container")), "{error}");
        assert!(error.contains("hint: "), "{error}");
    }
    assert_eq!(env.ok(["prune", "--all"]), "");
    assert_eq!(env.ok(["rmi", "--force", "a"]), format!("untagged: localhost/a:latest\n{id}"));
    assert_eq!(env.ok(["containers", "-q"]), "");
    env.assert_store_is_clean();
}

#[test]
fn failures_are_gathered_and_the_rest_is_done() {
    let env = TestEnv::new();
    image(&env, "scratch", "a", "x=1");
    let output = env.run(["rmi", "nosuch", "a", "neither"]);
    assert_eq!(
        output.failure(125),
        "Error: 2 errors occurred:\n\t* nosuch: image not known\n\t* neither: image not known\n\n\n"
    );
    assert!(output.out().starts_with("untagged: localhost/a:latest\n"));
}

#[test]
fn prune_removes_what_has_no_name() {
    let env = TestEnv::new();
    let unnamed = image(&env, "scratch", "", "x=1");
    let kept = image(&env, "scratch", "", "x=2");
    image(&env, "scratch", "named", "x=3");
    env.ok(["from", &kept]);
    assert_eq!(env.ok(["prune"]), unnamed);
    assert_eq!(env.ok(["prune", "--all"]).lines().next(), Some("untagged: localhost/named:latest"));
    assert_eq!(env.ok(["images", "-q", "--all", "--no-trunc"]), format!("sha256:{kept}"));
    assert_eq!(env.ok(["prune", "--all", "--force"]), kept);
    assert_eq!(env.ok(["containers", "-q"]), "");
    env.assert_store_is_clean();
}

#[test]
fn everything_goes_with_all_and_force() {
    let env = TestEnv::new();
    line(&env);
    env.ok(["from", "b"]);
    let removed = env.ok(["rmi", "--all", "--force"]);
    assert_eq!(removed.lines().filter(|line| line.len() == 64).count(), 1, "{removed}");
    assert_eq!(env.ok(["images", "-aq"]), "");
    env.assert_store_is_clean();
}

#[test]
fn many_images_go_at_once_with_few_open_files() {
    let env = TestEnv::new();
    env.busybox("localhost/base:latest");
    let steps: String = (0..150).map(|number| format!("LABEL l{number}=x\n")).collect();
    env.write("ctx/Dockerfile", format!("FROM localhost/base\n{steps}"));
    env.ok(["build", "-q", "--layers", "-t", "app", "ctx"]);
    assert!(env.ok(["images", "-a", "-q"]).lines().count() > 150);
    env.shell("ulimit -n 128; coracle rmi app; coracle rmi -a -f").success();
    assert_eq!(env.ok(["images", "-a", "-q"]), "");
    env.assert_store_is_clean();
}
