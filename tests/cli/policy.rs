//! policy.json on local transports: what it rejects does not come into the store and does not leave it; what cannot be checked is refused.

use crate::harness::{TestEnv, have};

const ACCEPT: &str = r#"[{"type":"insecureAcceptAnything"}]"#;
const REJECT: &str = r#"[{"type":"reject"}]"#;

/// A store with `localhost/base:1` and the same image at places of other transports.
fn world() -> TestEnv {
    let env = TestEnv::new();
    env.busybox("localhost/base:1");
    for place in ["oci:layout:base", "docker-archive:base.tar", "dir:dir", "oci-archive:base.oci"] {
        env.ok(["push", "-q", "localhost/base:1", place]);
    }
    env
}

fn policy(env: &TestEnv, default: &str, transports: &str) {
    let text = format!("{{\"default\":{default},\"transports\":{{{transports}}}}}");
    env.write_home(".config/containers/policy.json", text);
}

#[test]
fn a_policy_that_rejects_everything_lets_nothing_in() {
    let env = world();
    policy(&env, REJECT, "");
    let before = env.ok(["images", "-a", "-q", "--no-trunc"]);
    for place in ["oci:layout:base", "docker-archive:base.tar", "dir:dir", "oci-archive:base.oci"] {
        for verb in [&["pull", "-q"][..], &["from"]] {
            let refused = env.run(verb.iter().copied().chain([place])).failure(125);
            assert!(
                refused.contains("Source image rejected: Running image") && refused.contains("rejected by policy"),
                "{refused}"
            );
        }
    }
    // What is in the store passed the policy when it came, and may be copied out: Buildah's rule, not skopeo's.
    env.ok(["push", "-q", "localhost/base:1", "oci:out"]);
    let container = env.ok(["from", "localhost/base:1"]);
    for words in [&["commit", "-q", &container][..], &["commit", "-q", &container, "oci:out"]] {
        let refused = env.run(words).failure(125);
        assert!(refused.contains("rejected by policy"), "{refused}");
    }
    assert_eq!(env.ok(["images", "-a", "-q", "--no-trunc"]), before);
    env.assert_store_is_clean();
}

#[test]
fn a_requirement_that_nobody_knows_makes_the_whole_file_useless() {
    let env = world();
    policy(&env, ACCEPT, r#""docker":{"docker.io":[{"type":"future"}]}"#);
    for words in [&["pull", "-q", "dir:dir"][..], &["push", "-q", "localhost/base:1", "oci:out"], &["from", "oci:layout:base"]]
    {
        let refused = env.run(words).failure(125);
        assert!(refused.contains("Unknown policy requirement type \"future\""), "{refused}");
    }
}

/// Each policy, what is asked for, and whether it may be had.
fn cases(env: &TestEnv) -> Vec<(String, String, String, bool)> {
    let work = env.work().display().to_string();
    let root = env.graph_root().display().to_string();
    let of = |default: &str, transport: &str, scopes: &[(&str, &str)]| {
        let scopes: Vec<String> = scopes.iter().map(|(scope, list)| format!("{scope:?}:{list}")).collect();
        (default.to_owned(), format!("{transport:?}:{{{}}}", scopes.join(",")))
    };
    let layout = format!("{work}/layout");
    let store = format!("[overlay@{root}]");
    let image = format!("{store}localhost/base:1");
    let other = format!("{store}localhost/other:1");
    let table = [
        (of(REJECT, "oci", &[("", ACCEPT)]), "oci:layout:base", true),
        (of(REJECT, "oci", &[("", ACCEPT)]), "dir:dir", false),
        (of(REJECT, "oci", &[(&layout, ACCEPT)]), "oci:layout:base", true),
        (of(REJECT, "oci", &[(&work, ACCEPT)]), "oci:layout:base", true),
        (of(REJECT, "oci", &[(&work, ACCEPT), (&layout, REJECT)]), "oci:layout:base", false),
        (of(ACCEPT, "oci", &[("", REJECT)]), "oci:layout:base", false),
        (of(ACCEPT, "dir", &[(&work, REJECT)]), "dir:dir", false),
        (of(ACCEPT, "docker-archive", &[("", REJECT)]), "docker-archive:base.tar", false),
        (of(ACCEPT, "oci-archive", &[("", REJECT)]), "oci-archive:base.oci", false),
        (of(REJECT, "docker-daemon", &[("", ACCEPT)]), "docker-archive:base.tar", false),
        (of(REJECT, "containers-storage", &[("", ACCEPT)]), "STORE", true),
        (of(REJECT, "containers-storage", &[(&store, ACCEPT)]), "STORE", true),
        (of(REJECT, "containers-storage", &[(&image, ACCEPT)]), "STORE", true),
        (of(REJECT, "containers-storage", &[(&other, ACCEPT)]), "STORE", false),
        (of(ACCEPT, "containers-storage", &[(&image, REJECT)]), "STORE", false),
        (of(REJECT, "oci", &[("", r#"[{"type":"insecureAcceptAnything"},{"type":"reject"}]"#)]), "oci:layout:base", false),
    ];
    let stored = format!("containers-storage:[overlay@{root}+{}]localhost/base:1", env.path("run/containers").display());
    let place = |place: &str| if place == "STORE" { stored.clone() } else { place.to_owned() };
    table.into_iter().map(|((default, transports), at, had)| (default, transports, place(at), had)).collect()
}

#[test]
fn the_narrowest_scope_decides_as_with_the_other_tools() {
    let env = world();
    for (number, (default, transports, place, had)) in cases(&env).into_iter().enumerate() {
        policy(&env, &default, &transports);
        let context = format!("{default} {transports}: {place}");
        let other = env.path("home/other").to_string_lossy().into_owned();
        let words = ["--root", &other, "pull", "-q", &place];
        let done = env.run(words);
        assert_eq!(done.code, Some(if had { 0 } else { 125 }), "{context}\n{done}");
        if !had {
            assert!(done.err().contains("rejected by policy"), "{context}\n{done}");
        }
        if have("skopeo") && have("buildah") {
            let theirs = env.tool("buildah", ["unshare", "skopeo", "copy", "-q", &place, &format!("dir:theirs{number}")]);
            assert_eq!(theirs.code == Some(0), had, "skopeo: {context}\n{theirs}");
        }
    }
}

#[test]
fn a_requirement_that_cannot_be_checked_is_not_met() {
    let env = world();
    for requirement in
        [r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}"#, r#"{"type":"sigstoreSigned","keyPath":"/k"}"#]
    {
        policy(&env, ACCEPT, &format!("\"oci\":{{\"\":[{requirement}]}}"));
        let pulled = env.run(["pull", "-q", "oci:layout:base"]);
        assert_eq!(pulled.code, Some(125), "{requirement}\n{pulled}");
        env.ok(["pull", "-q", "dir:dir"]);
        policy(&env, &format!("[{requirement}]"), "");
        assert_eq!(env.run(["pull", "-q", "dir:dir"]).code, Some(125), "{requirement}");
    }
}

#[test]
fn a_flag_names_another_file() {
    let env = world();
    policy(&env, REJECT, "");
    env.write("mine.json", format!("{{\"default\":{ACCEPT}}}"));
    env.ok(["pull", "-q", "--signature-policy", "mine.json", "oci:layout:base"]);
    env.ok(["push", "-q", "--signature-policy", "mine.json", "localhost/base:1", "dir:out"]);
    env.write("mine.json", "{\"default\":[]}");
    assert_eq!(env.run(["pull", "-q", "--signature-policy", "mine.json", "oci:layout:base"]).code, Some(125));
    assert_eq!(env.run(["pull", "-q", "--signature-policy", "missing.json", "oci:layout:base"]).code, Some(125));
}
