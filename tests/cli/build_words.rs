//! `build`: what is said of a source that cannot be had: the word in its line, and what was probably meant.

use crate::harness::TestEnv;

/// The line of the excerpt with its marks, and the hints.
#[track_caller]
fn said(env: &TestEnv, flags: &[&str], lines: &str) -> (String, String) {
    env.write("ctx/Dockerfile", format!("FROM scratch AS one\nCOPY README.md /docs/\nFROM scratch\n{lines}\n"));
    let said = env.run(["build"].iter().chain(flags).chain(&["ctx"])).failure(125);
    let excerpt: Vec<&str> = said.lines().filter_map(|line| line.split_once(" | ")).map(|(_, text)| text).collect();
    let hints: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("hint: ")).collect();
    (excerpt.join("\n"), hints.join("\n"))
}

#[test]
fn the_source_that_is_not_there_is_marked_and_the_nearest_name_told() {
    let env = TestEnv::new();
    env.write("ctx/README.md", "text\n");
    env.write("ctx/sub/name", "text\n");
    env.write("ctx/arr[0].txt", "text\n");
    env.write("ctx/.dockerignore", "left-out\n");
    env.write("ctx/left-out", "text\n");
    for layers in ["--layers=false", "--layers"] {
        for (lines, marked, hint) in [
            ("COPY READMEE.md /x", "     ^^^^^^^^^^", "did you mean \"README.md\"?"),
            (
                "COPY --chmod=600 README.md ./sub/nmae /x/",
                "                           ^^^^^^^^^^",
                "did you mean \"sub/name\"?",
            ),
            ("ADD [\"README.md\",\"sub/nam\",\"/x/\"]", "                  ^^^^^^^", "did you mean \"sub/name\"?"),
            ("COPY nothing-like-it nothing-like-it", "     ^^^^^^^^^^^^^^^", ""),
            (
                "COPY arr[0].txt /x",
                "     ^^^^^^^^^^",
                "there is a file of that name, and \"arr[[]0].txt\" is the pattern for it alone",
            ),
            ("COPY none* /x", "     ^^^^^", ""),
            ("COPY left-out /x", "     ^^^^^^^^", ""),
            ("COPY --from=one /docs/READM.md /x", "                ^^^^^^^^^^^^^^", "did you mean \"docs/README.md\"?"),
        ] {
            let expected = (format!("{lines}\n{marked}"), hint.to_owned());
            assert_eq!(said(&env, &[layers], lines), expected, "{layers} {lines}");
        }
    }
    // Where stages are built by processes of their own, too.
    let (excerpt, hint) = said(&env, &["--jobs", "2"], "COPY READMEE.md /x");
    assert_eq!((excerpt.as_str(), hint.as_str()), ("COPY READMEE.md /x\n     ^^^^^^^^^^", "did you mean \"README.md\"?"));
    // What stands for the word is not in the file: all of the instruction is.
    let (excerpt, _) = said(&env, &[], "ARG N=READMEE\nCOPY $N.md /x");
    assert_eq!(excerpt, "COPY $N.md /x\n^^^^^^^^^^^^^");
}

#[test]
fn a_container_is_not_named_where_nobody_made_one() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nADD http://127.0.0.1:1/x /x\n");
    let said = env.run(["build", "--retry", "0", "ctx"]).failure(125);
    assert!(said.contains("/x\": reading \"http://127.0.0.1:1/x\": ") && !said.contains("container"), "{said}");
}

#[test]
fn the_verb_tells_the_nearest_name() {
    let env = TestEnv::new();
    env.write("ctx/README.md", "text\n");
    let container = env.ok(["from", "scratch"]);
    let said = env.run(["copy", "--contextdir", "ctx", &container, "READMEE.md", "/x"]).failure(125);
    assert!(said.contains("hint: did you mean \"README.md\"?"), "{said}");
}
