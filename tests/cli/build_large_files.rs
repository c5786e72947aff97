//! `COPY` of files so large that their digest is in the making while the next thing is done: the copy is read once more for it.

use crate::harness::TestEnv;

/// Larger than what is committed at once, and no multiple of anything.
const LARGE: usize = (41 << 20) + 7;

fn env_on(driver: &str) -> TestEnv {
    let env = TestEnv::on(driver);
    env.busybox("busybox");
    env.write("ctx/tree/large", vec![b'x'; LARGE]);
    env.write("ctx/tree/small", "small\n");
    env.write("ctx/other", vec![b'y'; LARGE]);
    env
}

/// Builds `lines` on busybox; its steps' words in history are the answer.
#[track_caller]
fn words(env: &TestEnv, flags: &[&str], lines: &str) -> Vec<String> {
    env.write("ctx/Dockerfile", format!("FROM busybox\n{lines}\n"));
    env.run([&["build", "-q", "--network", "host", "-t", "app"], flags, &["ctx"]].concat()).success();
    history(env, "app")
}

#[track_caller]
fn history(env: &TestEnv, image: &str) -> Vec<String> {
    let documents = env.ok(["inspect", "--type", "image", image]);
    let documents: serde_json::Value = serde_json::from_str(&documents).expect("JSON");
    let history = documents["OCIv1"]["history"].as_array().expect("a history");
    history.iter().filter_map(|entry| entry["created_by"].as_str()).map(str::to_owned).collect()
}

/// What `copy` prints of it: it waits for the digest, which a file's name in the container is part of.
#[track_caller]
fn digest(env: &TestEnv, path: &str, destination: &str) -> String {
    let container = env.ok(["from", "--pull-never", "scratch"]);
    let digest = env.ok(["copy", &container, path, destination]);
    env.ok(["rm", &container]);
    digest
}

#[test]
fn their_digests_are_those_that_copy_prints_wherever_they_stand() {
    for driver in ["overlay", "vfs"] {
        let env = env_on(driver);
        let [large, tree, other] = [("ctx/tree/large", "/large"), ("ctx/tree", "/tree"), ("ctx/other", "/last")]
            .map(|(path, destination)| digest(&env, path, destination));
        let lines =
            "COPY tree/large /large\nCOPY tree /tree\nRUN echo more >>/large; rm -r /tree\nCOPY other /last\nENV a=b\nCMD x";
        let expected = [
            format!("COPY file:{large} in /large"),
            format!("COPY dir:{tree} in /tree"),
            format!("COPY file:{other} in /last"),
        ];
        let ways: [&[&str]; 4] =
            [&["--layers=false"], &["--layers"], &["--layers", "--no-cache"], &["--no-cache", "--rm=false"]];
        for flags in ways {
            let said = words(&env, flags, lines);
            let copies: Vec<&String> = said.iter().filter(|words| words.contains("COPY")).collect();
            assert_eq!(copies.len(), expected.len(), "{driver} {flags:?}: {said:?}");
            for (copy, expected) in copies.iter().zip(&expected) {
                assert!(copy.contains(expected.as_str()), "{driver} {flags:?}: {copy} for {expected}");
            }
        }
        env.ok(["rm", "-a"]);
        env.assert_store_is_clean();
    }
}

#[test]
fn what_was_copied_is_whole() {
    let env = env_on("overlay");
    let sum = env.shell("sha256sum ctx/tree/large").success();
    let sum = sum.split_whitespace().next().expect("a sum");
    for flags in [&["--layers=false"][..], &["--layers"], &["--squash"], &["--layers", "--squash"], &["--squash-all"]] {
        words(&env, flags, "COPY tree/large tree/small /d/");
        let container = env.ok(["from", "--pull-never", "app"]);
        let said = env.inside(&container, "sha256sum /d/large; wc -c </d/large; cat /d/small");
        assert_eq!(said, format!("{sum}  /d/large\n{LARGE}\nsmall"), "{flags:?}");
        env.ok(["rm", &container]);
        env.assert_store_is_clean();
    }
}

#[test]
fn a_failure_after_a_large_one_leaves_nothing() {
    let env = env_on("overlay");
    env.write("ctx/Dockerfile", "FROM busybox\nCOPY tree/large /large\nCOPY nosuch /nosuch\n");
    for flag in ["--layers=false", "--layers"] {
        let said = env.run(["build", "-q", "-t", "app", flag, "ctx"]).failure(125);
        assert!(said.contains("Dockerfile:3") && said.contains("nosuch"), "{said}");
        assert_eq!(env.ok(["containers", "-q", "-a"]), "");
        env.assert_store_is_clean();
    }
}
