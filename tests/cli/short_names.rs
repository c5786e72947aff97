//! Short names of images in the store: the alias, `localhost`, the registries of registries.conf, Docker Hub.

use crate::harness::TestEnv;

/// A store with an unlike image under each of `names`.
fn store_with(names: &[&str]) -> TestEnv {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    for name in names {
        env.ok(["config", "--label", &format!("name={name}"), &container]);
        env.ok(["commit", "-q", &container, name]);
    }
    env
}

/// The stored name that `operand` means.
#[track_caller]
fn meant(env: &TestEnv, words: &[&str], operand: &str) -> String {
    let mut all = words.to_vec();
    all.extend(["inspect", "--type", "image", "--format", "{{.FromImage}}", operand]);
    env.ok(&all)
}

#[test]
fn the_alias_is_before_localhost_that_before_the_registries_those_before_docker_hub() {
    let names = ["docker.io/library/x", "b.example/x", "a.example/x", "localhost/x", "q.example/other"];
    let env = store_with(&names);
    env.write_home(
        ".config/containers/registries.conf",
        "unqualified-search-registries = ['a.example', 'b.example']\n[aliases]\nx = 'q.example/other'\n",
    );
    for (gone, next) in [
        ("", "q.example/other:latest"),
        ("q.example/other", "localhost/x:latest"),
        ("localhost/x", "a.example/x:latest"),
        ("a.example/x", "b.example/x:latest"),
        ("b.example/x", "docker.io/library/x:latest"),
    ] {
        if !gone.is_empty() {
            env.ok(["rmi", gone]);
        }
        assert_eq!(meant(&env, &[], "x"), next);
    }
}

#[test]
fn an_alias_keeps_the_tag_that_was_typed_and_every_verb_knows_it() {
    let env = store_with(&["q.example/other:2", "q.example/other"]);
    let conf = env.write("names.conf", "[aliases]\nal = 'q.example/other'\n");
    let global = ["--registries-conf", conf.to_str().expect("a path in UTF-8")];
    assert_eq!(meant(&env, &global, "al"), "q.example/other:latest");
    assert_eq!(meant(&env, &global, "al:2"), "q.example/other:2");
    let with = |words: &[&str]| env.ok(global.iter().chain(words));
    with(&["from", "--name", "c", "al:2"]);
    assert_eq!(env.ok(["inspect", "--format", "{{.FromImage}}", "c"]), "q.example/other:2");
    with(&["tag", "al:2", "mine"]);
    assert_eq!(with(&["images", "-q", "al:2"]), env.ok(["images", "-q", "mine"]));
    env.ok(["rm", "c"]);
    assert_eq!(with(&["rmi", "al:2"]), "untagged: q.example/other:2");
}

#[test]
fn a_new_image_is_named_as_its_alias_says_and_a_tag_is_not() {
    let env = store_with(&["localhost/some"]);
    let conf = env.write("names.conf", "[aliases]\nal = 'q.example/other'\n");
    let with = |words: &[&str]| env.ok(["--registries-conf", conf.to_str().expect("a path in UTF-8")].iter().chain(words));
    with(&["from", "--name", "c", "some"]);
    for name in ["al", "al:2", "sub/al", "localhost/al"] {
        with(&["commit", "-q", "c", name]);
    }
    with(&["tag", "some", "al:3"]);
    let mut names: Vec<String> = env.ok(["images", "--format", "{{.Name}}:{{.Tag}}"]).lines().map(str::to_owned).collect();
    names.sort();
    let expected = [
        "localhost/al:3",
        "localhost/al:latest",
        "localhost/some:latest",
        "localhost/sub/al:latest",
        "q.example/other:2",
        "q.example/other:latest",
    ];
    assert_eq!(names, expected);
    with(&["manifest", "create", "al:list"]);
    assert!(env.ok(["images", "--format", "{{.Name}}:{{.Tag}}"]).contains("q.example/other:list"), "a list is named so, too");
}

#[test]
fn variables_flags_and_chosen_aliases_name_the_files() {
    let mut env = store_with(&["q.example/one", "q.example/two"]);
    env.write_home(".cache/containers/short-name-aliases.conf", "[aliases]\nal = 'q.example/one'\n");
    assert_eq!(meant(&env, &[], "al"), "q.example/one:latest");
    let chosen = env.write("chosen.conf", "[aliases]\nal = 'q.example/two'\n");
    let chosen = chosen.to_str().expect("a path in UTF-8");
    assert_eq!(meant(&env, &["--short-name-alias-conf", chosen], "al"), "q.example/two:latest");
    let named = env.write("named.conf", "[aliases]\nother = 'q.example/two'\n");
    env.set("CONTAINERS_REGISTRIES_CONF", named.to_str().expect("a path in UTF-8"));
    assert_eq!(meant(&env, &[], "other"), "q.example/two:latest");
}

#[test]
fn a_damaged_file_is_an_error_for_short_names_only() {
    let env = store_with(&["localhost/x"]);
    env.write_home(".config/containers/registries.conf", "unqualified-search-registries = 3\n");
    assert_eq!(meant(&env, &[], "localhost/x"), "localhost/x:latest");
    insta::assert_snapshot!(env.run(["tag", "x", "z"]), @r#"
    ------- stderr -------
    Error: completing the name "x": parsing "[TEST]/home/.config/containers/registries.conf": unqualified-search-registries: want a list of texts
    [exit status: 125]
    "#);
}
