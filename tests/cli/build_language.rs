//! `build`: what the Dockerfile reference says and Debian's Buildah does otherwise, so that no comparison with it shows it.

use std::time::{Duration, Instant};

use crate::harness::TestEnv;

/// Builds a Dockerfile as the image `app`; answers with what was printed.
#[track_caller]
fn build(env: &TestEnv, text: &str, flags: &[&str]) -> String {
    env.write("ctx/Dockerfile", text);
    let output = env.run(["build", "-t", "app"].iter().chain(flags).chain(&["ctx"]));
    output.success() + &output.err()
}

#[track_caller]
fn show(env: &TestEnv, template: &str) -> String {
    env.ok(["inspect", "--type", "image", "--format", template, "app"])
}

#[test]
fn a_zero_in_a_health_check_asks_for_the_default() {
    let env = TestEnv::new();
    let zeros = "--interval=0 --timeout=0s --start-period=0s --start-interval=0ms --retries=0";
    build(&env, &format!("FROM scratch\nHEALTHCHECK {zeros} CMD x\n"), &["--format", "docker"]);
    let check = show(&env, "{{json .Docker.Config.Healthcheck}}");
    assert_eq!(check, "{\"Test\":[\"CMD-SHELL\",\"x\"]}");
    env.write("ctx/Dockerfile", "FROM scratch\nHEALTHCHECK --timeout=-1s CMD x\n");
    let said = env.run(["build", "ctx"]).failure(125);
    assert!(said.contains("Interval \"timeout\" must not be negative"), "{said}");
}

#[test]
fn arguments_before_the_first_from_know_those_before_them_on_the_line() {
    let env = TestEnv::new();
    let text = "ARG a=1 b=${a}2 c=$b-$a d=${none:-$c}\nFROM scratch AS s$b\nARG d\nARG x=1 y=[$x]\nLABEL d=$d y=$y\nFROM s12\n";
    build(&env, text, &[]);
    assert_eq!(show(&env, "{{.OCIv1.Config.Labels.d}} {{.OCIv1.Config.Labels.y}}"), "12-1 []");
    build(&env, &text.replace("s12", "s72"), &["--build-arg", "a=7"]);
    assert_eq!(show(&env, "{{.OCIv1.Config.Labels.d}}"), "72-7");
}

#[test]
fn a_directive_is_given_once() {
    let env = TestEnv::new();
    for (name, value) in [("syntax", "docker/dockerfile:1"), ("check", "skip=all"), ("escape", "\\")] {
        env.write("ctx/Dockerfile", format!("# {name}={value}\n# {name}={value}\nFROM scratch\n"));
        let said = env.run(["build", "ctx"]).failure(125);
        assert!(said.contains(&format!("only one {name} parser directive can be used")), "{said}");
        assert!(said.contains("Dockerfile:2\n  2 | #"), "{said}");
    }
}

#[test]
fn a_proxy_that_no_arg_names_takes_no_step_again() {
    let env = TestEnv::new();
    env.busybox("base");
    let cached = |proxy: &str, arg: &str| {
        let text = format!("FROM base\n{arg}RUN echo \"$HTTP_PROXY $all_proxy\" > /seen\n");
        let flags = [&format!("HTTP_PROXY={proxy}"), &format!("all_proxy={proxy}")];
        build(&env, &text, &["--layers", "--build-arg", flags[0], "--build-arg", flags[1]]).matches("Using cache").count()
    };
    assert_eq!((cached("x", ""), cached("y", "")), (0, 1));
    let container = env.ok(["from", "app"]);
    assert_eq!(env.inside(&container, "cat /seen"), "x x");
    // One that is named is an argument like any other.
    assert_eq!((cached("x", "ARG HTTP_PROXY\n"), cached("x", "ARG HTTP_PROXY\n"), cached("y", "ARG HTTP_PROXY\n")), (0, 2, 0));
}

#[test]
fn tens_of_thousands_of_variables_in_one_instruction_are_set_at_once() {
    let env = TestEnv::new();
    let names: Vec<String> = (0..20_000).map(|number| format!("l{number}=x")).collect();
    let start = Instant::now();
    build(&env, &format!("FROM scratch\nENV {}\n", names.join(" ")), &[]);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    // PATH is there as well.
    assert_eq!(show(&env, "{{len .OCIv1.Config.Env}}"), "20001");
}
