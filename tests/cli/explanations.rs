//! What the program says of itself: hints that fit, warnings that can be silenced, and what it read and chose.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::TestEnv;
use crate::harness::registry::{PASSWORD, PROGRAM, Registry, USER};
use crate::harness::skip_without;

#[test]
fn a_missing_directory_for_temporary_files_is_known_by_its_variable() {
    let mut env = TestEnv::new();
    env.small_image();
    env.set("TMPDIR", "/nonexistent");
    env.write("ctx/Dockerfile", "FROM one\nLABEL a=b\n");
    let said = env.run(["build", "-q", "ctx"]).failure(125);
    assert!(said.contains("stat /nonexistent: no such file or directory"), "{said}");
    assert!(said.contains("hint: TMPDIR says \"/nonexistent\", which is no directory"), "{said}");
    let said = env.run(["from", "nosuch"]).failure(125);
    assert!(!said.contains("TMPDIR"), "it is not to blame here: {said}");
}

#[test]
fn nobody_is_asked_whether_the_image_was_meant_that_was_named() {
    let env = TestEnv::new();
    env.small_image();
    for name in ["localhost/one", "localhost/one:latest"] {
        let said = env.run(["from", "--pull-always", name]).failure(125);
        assert!(said.contains("localhost/one:latest") && !said.contains("did you mean"), "{said}");
    }
    let said = env.run(["from", "localhost/ona"]).failure(125);
    assert!(said.contains("did you mean the image \"localhost/one:latest\"?"), "{said}");
}

#[test]
fn a_login_that_cannot_be_kept_names_the_way_to_another_file() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (mut env, registry) = (TestEnv::new(), Registry::with_login());
    env.shell("mkdir kept").success();
    let kept = env.work().join("kept");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o500)).expect("its mode");
    env.set("REGISTRY_AUTH_FILE", &kept.join("auth.json").to_string_lossy());
    let host = registry.host();
    let said = env.run(["login", "--tls-verify=false", "-u", USER, "-p", PASSWORD, host.as_str()]).failure(125);
    assert!(said.contains("auth.json") && said.contains("permission denied"), "{said}");
    assert!(said.contains("hint: --authfile FILE, or $REGISTRY_AUTH_FILE"), "{said}");
}

#[test]
fn warnings_have_one_form_and_go_with_the_level() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let shell = ["config", "--shell", "/bin/x", container.as_str()];
    assert!(env.run(shell).err().starts_with("warning: SHELL is not supported"));
    let quiet = env.run(["--log-level", "error"].into_iter().chain(shell));
    assert_eq!((quiet.code, quiet.err().as_str()), (Some(0), ""));
}

#[test]
fn debug_says_what_was_read_and_chosen() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let is_debug = |line: &&str| line.starts_with("time=\"") && line.contains(" level=debug msg=");
    let from = env.run(["--log-level", "debug", "from", "--name", "c", "busybox"]);
    assert_eq!(from.success(), "c");
    let run = env.run(["--debug", "run", "--network", "none", "-v", "/etc:/x:ro", "c", "--", "true"]);
    run.success();
    let said = from.err() + &run.err();
    assert!(said.lines().all(|line| is_debug(&line)), "{said}");
    let home = env.path("home/.config/containers");
    for part in [
        format!("msg=\"read {}\"", home.join("storage.conf").display()),
        format!("msg=\"read {}\"", home.join("registries.conf").display()),
        format!("store: graph root {}, run root ", env.graph_root().display()),
        "driver overlay".to_owned(),
        "looking for localhost/busybox:latest in the store".to_owned(),
        "busybox is the image ".to_owned(),
        "isolation: the built-in runtime".to_owned(),
        "mount /etc on /x: bind ".to_owned(),
        "network: none".to_owned(),
    ] {
        assert!(said.contains(&part), "{part} is missing in\n{said}");
    }
    let plain = env.run(["from", "busybox"]);
    assert_eq!(plain.err(), "");
}

/// Where the store has room, nothing of it has to go.
#[test]
fn an_output_directory_that_is_full_is_not_the_store() {
    let env = TestEnv::new();
    env.shell("mkdir small context; printf 'FROM scratch\\nCOPY large /\\n' >context/Dockerfile; head -c 3000000 /dev/urandom >context/large").success();
    let script =
        "mount -t tmpfs -o size=1m tmpfs small; coracle --root $PWD/root --runroot $PWD/run build -q -o small/out context";
    let said = env.shell(&format!("unshare -Urm --map-auto sh -euc '{script}'")).failure(125);
    assert!(said.contains("no space left on device") && said.contains("hint: it is the place of --output"), "{said}");
    assert!(!said.contains("prune") && !said.contains("graph root"), "{said}");
}

#[test]
fn what_was_meant_by_a_word_of_a_dockerfile_is_said() {
    let env = TestEnv::new();
    env.small_image();
    env.write("ctx/ignored", "");
    env.write("ctx/.dockerignore", "ignored\n");
    env.write("outside", "");
    for (file, flags, want) in [
        ("FROM one AS builder\nFROM one\nCOPY --from=bulider /x /x\n", &[][..], "hint: did you mean the stage \"builder\"?"),
        ("FROM one AS builder\nFROM bulider\n", &[], "hint: did you mean the stage \"builder\"?"),
        ("FROM one AS builder\n", &["--target", "bilder"], "hint: did you mean the stage \"builder\"?"),
        ("FROM one\nCOPY --chwon=1 . /\n", &[], "hint: did you mean --chown?"),
        ("FROM one\nCOPY ../outside /\n", &[], "hint: \"..\" does not lead out of the context"),
        ("FROM one\nCOPY ignored /\n", &[], "(1 filtered out using .dockerignore)"),
    ] {
        env.write("ctx/Dockerfile", file);
        let words = ["build", "-q", "--retry", "0", "--pull=never"].into_iter().chain(flags.iter().copied()).chain(["ctx"]);
        let said = env.run(words).failure(125);
        assert!(said.contains(want), "{file}: {said}");
    }
}

#[test]
fn a_trigger_that_fails_has_the_place_of_its_from() {
    let env = TestEnv::new();
    env.busybox("localhost/base:latest");
    let build = |text: &str, name: &str| {
        env.write("ctx/Dockerfile", text);
        env.run(["build", "--format", "docker", "-t", name, "ctx"])
    };
    build("FROM base\nONBUILD RUN exit 7\nONBUILD STOPSIGNAL $SIGNAL\n", "first").success();
    build("FROM base\nENV SIGNAL=nope\nONBUILD STOPSIGNAL $SIGNAL\n", "second").success();
    let origin = "hint: the instruction is a trigger (ONBUILD) of what this FROM names";
    let said = build("FROM base AS other\nRUN true\nFROM first\nCOPY --from=other / /\n", "app").failure(7);
    assert!(
        said.contains("\"RUN exit 7\"") && said.contains("Dockerfile:3\n  3 | FROM first\n") && said.contains(origin),
        "{said}"
    );
    let said = build("FROM second\n", "app").failure(125);
    assert!(said.contains("Invalid signal: nope") && said.contains("Dockerfile:1\n  1 | FROM second\n"), "{said}");
    assert!(said.contains(origin), "{said}");
}

#[test]
fn what_needs_no_step_is_found_before_the_first() {
    let env = TestEnv::new();
    env.busybox("localhost/base:latest");
    env.write("ctx/good", "");
    let step = "FROM base\nRUN touch /seen\n";
    for (line, ignore, parts) in [
        ("RUN --mount=type=cachee,target=/c true", "", &["did you mean cache?", "3 | RUN --mount=type=cachee"][..]),
        ("RUN --mount=type=cache,target=/c,sharing=lock true", "", &["did you mean locked?", "Dockerfile:3"]),
        ("RUN --mount=type=secret,env=A true", "", &["secret should have syntax id=id[,", "gid=uint]\n"]),
        ("RUN --mount= true", "", &["a mount needs options", "Dockerfile:3"]),
        ("COPY <<E /\nx\ny ${z\nE", "", &["COPY E: unsupported modifier (\\n)", "5 | y ${z\n    |   ^^^\n"]),
        ("ONBUILD RUNN x", "", &["Unknown instruction: \"RUNN\"", "did you mean RUN?"]),
        ("ONBUILD FROMM x", "", &["Unknown instruction: \"FROMM\""]),
        ("COPY good /", "good\n\n[\n", &["ignore file \".dockerignore\", line 3: syntax error in pattern"]),
        ("LABEL a=b", "!\n", &["ignore file \".dockerignore\", line 1: there is nothing behind the exclamation mark"]),
    ] {
        env.write("ctx/Dockerfile", format!("{step}{line}\n"));
        env.write("ctx/.dockerignore", ignore);
        let output = env.run(["build", "ctx"]);
        let said = output.failure(125);
        assert!(parts.iter().all(|part| said.contains(part)) && !said.contains("did you mean FROM"), "{line}: {said}");
        assert!(!output.out().contains("RUN touch"), "{line}: {output}");
    }
    // What a variable decides is found when the step is reached.
    env.write("ctx/Dockerfile", format!("{step}ARG KIND=cachee\nRUN --mount=type=$KIND,target=/c true\n"));
    env.write("ctx/.dockerignore", "");
    let output = env.run(["build", "ctx"]);
    assert!(output.failure(125).contains("did you mean cache?") && output.out().contains("RUN touch"), "{output}");
    env.write("ctx/Dockerfile", "FROM base\nCOPY --chmod=u+z good /\n");
    let said = env.run(["build", "ctx"]).failure(125);
    assert!(said.contains("parsing chmod \"u+z\": neither an octal mode of at most 7777 nor changes like u+x,go-w"), "{said}");
}
