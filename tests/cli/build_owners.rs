//! `build`, `copy`, `run`: names of users in images that do not have them.

use crate::harness::TestEnv;

#[test]
fn root_is_known_without_a_file_that_says_so() {
    let env = TestEnv::new();
    env.busybox("base");
    env.write("ctx/f", "content\n");
    let bare = "FROM base AS base\nFROM scratch\nCOPY --from=base /bin /bin\n";
    env.write(
        "ctx/Dockerfile",
        format!(
            "{bare}COPY --chown=root:root f /one\nCOPY --link --chown=root f /two\nADD --chown=5:root f /three\nUSER root:root\n\
             RUN stat -c %u:%g /one /two /three; id -u; id -g; id -G\n"
        ),
    );
    for layers in ["--layers=false", "--layers"] {
        let said = env.ok(["build", layers, "-t", "app", "ctx"]);
        assert!(said.contains("\n0:0\n0:0\n5:0\n0\n0\n0\n"), "{layers}: {said}");
    }
    let container = env.ok(["from", "app"]);
    env.ok(["copy", "-q", "--chown", "root", &container, "ctx/f", "/four"]);
    assert_eq!(env.ok(["run", "--user", "root", &container, "stat", "-c", "%u:%g", "/four"]), "0:0");
    for (line, words) in [("COPY --chown=daemon f /x", "unknown user"), ("COPY --chown=root:wheel f /x", "unknown group")] {
        env.write("ctx/Dockerfile", format!("{bare}{line}\n"));
        let said = env.run(["build", "ctx"]).failure(125);
        assert!(said.contains(words), "{line}: {said}");
    }
}
