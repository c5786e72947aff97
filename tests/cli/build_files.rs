//! `build`: which files are its Dockerfiles and its ignore files.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::harness::{TestEnv, skip_without};

/// The labels of the image that `tool` builds.
#[track_caller]
fn labels_by(env: &TestEnv, tool: &str, arguments: &[&str]) -> String {
    let flags: &[&str] = if tool == "buildah" { &["bud", "--isolation", "chroot"] } else { &["build"] };
    let names = ["-q", "-t", "labelled", "--identity-label=false"];
    env.tool(tool, flags.iter().chain(&names).chain(arguments)).success();
    env.ok(["inspect", "--format", "{{range $k, $v := .OCIv1.Config.Labels}}{{$k}}={{$v}} {{end}}", "labelled"])
}

#[track_caller]
fn labels(env: &TestEnv, arguments: &[&str]) -> String {
    labels_by(env, "coracle", arguments)
}

#[track_caller]
fn refusal(env: &TestEnv, arguments: &[&str]) -> String {
    env.run(["build"].iter().chain(arguments)).failure(125)
}

fn dockerfile(name: &str) -> String {
    format!("FROM scratch\nLABEL {name}=1\n")
}

/// Each case with Debian's Buildah, too, where that is.
#[test]
fn containerfile_comes_first_and_files_are_looked_up_here_and_then_in_the_context() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", dockerfile("docker"));
    env.write("ctx/inside", dockerfile("inside"));
    env.write("both", dockerfile("here"));
    env.write("ctx/both", dockerfile("there"));
    env.write("second", "LABEL second=1\n");
    let absolute = env.work().join("ctx/inside");
    let cases = |containerfile: bool| -> Vec<(Vec<&str>, &str)> {
        let mut cases = vec![
            (vec!["-f", "inside", "ctx"], "inside=1 "),
            (vec!["-f", "both", "ctx"], "here=1 "),
            (vec!["-f", "ctx/both", "ctx"], "there=1 "),
            (vec!["-f", absolute.to_str().expect("a path"), "ctx"], "inside=1 "),
            (vec!["ctx/inside"], "inside=1 "),
        ];
        cases.push(if containerfile { (vec!["ctx"], "container=1 ") } else { (vec!["ctx"], "docker=1 ") });
        cases
    };
    let tools: &[&str] = if skip_without(&["buildah"]) { &["coracle"] } else { &["coracle", "buildah"] };
    for tool in tools {
        let _ = fs::remove_file(env.work().join("ctx/Containerfile"));
        for (arguments, want) in cases(false) {
            assert_eq!(labels_by(&env, tool, &arguments), want, "{tool} {arguments:?}");
        }
        env.write("ctx/Containerfile", dockerfile("container"));
        for (arguments, want) in cases(true) {
            assert_eq!(labels_by(&env, tool, &arguments), want, "{tool} {arguments:?}");
        }
    }
    // Several are one.
    assert_eq!(labels(&env, &["-f", "both", "-f", "second", "ctx"]), "here=1 second=1 ");
    assert_eq!(labels(&env, &["-f", "both,second", "ctx"]), "here=1 second=1 ");
}

#[test]
fn what_is_no_dockerfile_is_refused() {
    let env = TestEnv::new();
    env.write("ctx/empty", "");
    env.write("ctx/dir/x", "");
    env.write("outside", dockerfile("outside"));
    nix::unistd::mkfifo(&env.work().join("ctx/fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(env.work().join("ctx/socket")).expect("a socket");
    for (arguments, words) in [
        (["-f", "empty"], "no contents in"),
        (["-f", "dir"], "cannot be path to a directory"),
        (["-f", "ctx/dir"], "cannot be path to a directory"),
        (["-f", "fifo"], "is not a regular file"),
        (["-f", "ctx/fifo"], "is not a regular file"),
        (["-f", "socket"], "is not a regular file"),
        (["-f", "nosuch"], "ctx/nosuch: no such file or directory"),
        (["-f", "../nosuch"], "no such file or directory"),
    ] {
        let said = refusal(&env, &[arguments[0], arguments[1], "ctx"]);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    // A link out of the context is followed only where it is named.
    symlink("../outside", env.work().join("ctx/Dockerfile")).expect("a link");
    let said = refusal(&env, &["ctx"]);
    assert!(said.contains("leads out of the context") && said.contains("hint: a link is followed if it is named"), "{said}");
    assert_eq!(labels(&env, &["-f", "ctx/Dockerfile", "ctx"]), "outside=1 ");
    env.write("long", "#".repeat((16 << 20) + 1));
    assert!(refusal(&env, &["-f", "long", "ctx"]).contains("longer than 16777216 bytes"));
}

#[test]
fn names_and_texts_need_not_be_utf8() {
    let env = TestEnv::new();
    let name = OsStr::from_bytes(b"Docker\xfffile");
    fs::write(env.work().join(name), dockerfile("odd")).expect("a file");
    let arguments = [OsStr::new("build"), OsStr::new("-q"), OsStr::new("-f"), name, OsStr::new(".")];
    assert_eq!(env.run(arguments).success().len(), 64);
    env.write("latin", b"# caf\xe9\nFROM scratch\nLABEL a=caf\xe9\n");
    let output = env.run(["build", "-q", "-t", "latin", "-f", "latin", "."]);
    output.success();
    assert!(output.err().contains("latin:1: bytes that are not UTF-8"), "{output}");
}

#[test]
fn files_that_end_with_in_are_preprocessed() {
    let mut env = TestEnv::new();
    env.write("ctx/common", "LABEL common=1\n");
    env.write("ctx/Dockerfile.in", "FROM scratch\n#include \"common\"\n#ifdef X\nLABEL x=X\n#endif\nLABEL y=Y\n");
    if skip_without(&["cpp"]) {
        assert!(refusal(&env, &["-f", "Dockerfile.in", "ctx"]).contains("which is not installed"));
        return;
    }
    assert_eq!(labels(&env, &["-f", "Dockerfile.in", "ctx"]), "common=1 y=Y ");
    assert_eq!(labels(&env, &["-f", "Dockerfile.in", "--cpp-flag=-DX=2", "ctx"]), "common=1 x=2 y=Y ");
    env.set("BUILDAH_CPPFLAGS", "-DX='a b' -DY=3");
    assert_eq!(labels(&env, &["-f", "Dockerfile.in", "--cpp-flag", "-DX=4", "ctx"]), "common=1 x=4 y=3 ");
    env.set("CORACLE_CPPFLAGS", "-DY=5");
    assert_eq!(labels(&env, &["-f", "Dockerfile.in", "ctx"]), "common=1 y=5 ");
    env.write("ctx/broken.in", "FROM scratch\n#include \"nosuch\"\n");
    let said = refusal(&env, &["-f", "broken.in", "ctx"]);
    assert!(said.contains("preprocessing \"ctx/broken.in\": cpp: ") && said.contains("nosuch"), "{said}");
}

/// The names at the top of an image of all that `tool` takes.
#[track_caller]
fn taken(env: &TestEnv, tool: &str, arguments: &[&str]) -> String {
    let flags: &[&str] = if tool == "buildah" { &["bud", "--isolation", "chroot"] } else { &["build"] };
    let _ = fs::remove_dir_all(env.work().join("out"));
    env.tool(tool, flags.iter().chain(&["-q", "-o", "out"]).chain(arguments)).success();
    let names = fs::read_dir(env.work().join("out")).expect("the output");
    let mut names: Vec<_> = names.map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(" ")
}

/// Each case with Debian's Buildah, too, where that is.
#[test]
fn one_ignore_file_counts() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY . /\n");
    for name in ["a", "b", "c", "d", "e", "f"] {
        env.write(&format!("ctx/{name}"), "");
    }
    let tools: &[&str] = if skip_without(&["buildah"]) { &["coracle"] } else { &["coracle", "buildah"] };
    let both = |arguments: &[&str], want: &str| {
        for tool in tools {
            assert_eq!(taken(&env, tool, arguments), want, "{tool} {arguments:?}");
        }
    };
    let rest = |name: &str| format!("{name}\n.*\nDockerfile*\n");
    env.write("ctx/.dockerignore", rest("a"));
    both(&["ctx"], "b c d e f");
    env.write("ctx/.containerignore", rest("b"));
    both(&["ctx"], "a c d e f");
    env.write("ctx/Dockerfile.containerignore", rest("c"));
    both(&["ctx"], "a b d e f");
    env.write("ctx/Dockerfile.dockerignore", rest("d"));
    both(&["ctx"], "a b c e f");
    env.write("given", rest("e"));
    both(&["--ignorefile", "given", "ctx"], "a b c d f");
    // Beside a Dockerfile that is elsewhere.
    env.write("Other", "FROM scratch\nCOPY . /\n");
    env.write("Other.dockerignore", rest("f"));
    assert_eq!(taken(&env, "coracle", &["-f", "Other", "ctx"]), "a b c d e");
    let said = refusal(&env, &["--ignorefile", "nosuch", "ctx"]);
    assert!(said.contains("\"nosuch\"") && said.contains("no such file or directory"), "{said}");
}

#[test]
fn a_pattern_that_matches_files_and_a_directory_needs_a_directory_to_go_to() {
    let env = TestEnv::new();
    env.write("ctx/d/1", "one\n");
    env.write("ctx/d/sub/2", "two\n");
    let build = |line: &str| {
        env.write("ctx/Dockerfile", format!("FROM scratch\n{line}\n"));
        env.run(["build", "-q", "-o", "out", "ctx"])
    };
    let said = build("COPY d/* /x").failure(125);
    let words = "\"/d/*\" matches files and a directory: the destination \"/x\" must be a directory, with a slash at its end";
    assert!(said.contains(words) && said.contains("  2 | COPY d/* /x"), "{said}");
    build("COPY d/* /x/").success();
    assert!(env.work().join("out/x/1").is_file() && env.work().join("out/x/2").is_file());
}

#[test]
fn a_here_document_has_the_last_part_of_its_name() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY <<etc/app.conf <<plain /d/\nfirst\netc/app.conf\nsecond\nplain\n");
    env.ok(["build", "-q", "-o", "out", "ctx"]);
    let read = |name: &str| fs::read_to_string(env.work().join("out/d").join(name)).expect(name);
    assert_eq!((read("app.conf").as_str(), read("plain").as_str()), ("first\n", "second\n"));
}
