//! `build`: steps of earlier builds are found without another process; what takes more goes on in one as if it had begun there.

use crate::harness::{TestEnv, skip_without};

const STAGES: &str = "FROM base AS one\nARG A=1\nCOPY src /src\nRUN cat /src/a >/copied\nFROM one AS two\nLABEL a=b\nWORKDIR /made\n\
                      FROM base AS side\nCOPY other /other\nFROM two\nCOPY --from=side /other /other\nRUN cat /other /copied\n";

fn project() -> TestEnv {
    let env = TestEnv::new();
    env.busybox("base");
    env.write("ctx/src/a", "one\n");
    env.write("ctx/other", "two\n");
    env.write("ctx/Dockerfile", STAGES);
    env
}

const BUILD: [&str; 8] = ["build", "--layers", "--progress", "plain", "--jobs", "1", "-t", "app"];

/// The lines that say which steps there are and which are cached, without the images' ids.
#[track_caller]
fn steps(env: &TestEnv, flags: &[&str]) -> Vec<String> {
    let text = env.ok(BUILD.iter().chain(flags).chain(&["ctx"]));
    let told = text.lines().filter(|line| line.contains("STEP ") || line.contains("Using cache"));
    told.map(|line| if line.contains("Using cache") { "Using cache".to_owned() } else { line.to_owned() }).collect()
}

#[test]
fn a_build_of_earlier_steps_starts_no_process() {
    if skip_without(&["strace"]) {
        return;
    }
    let env = project();
    let first = steps(&env, &[]);
    for jobs in ["1", "4"] {
        let traced = "strace -f -qq -o calls -e trace=clone,clone3,fork,vfork,unshare coracle build --layers --progress plain";
        let text = env.shell(&format!("{traced} --jobs {jobs} -t app ctx")).success();
        assert_eq!(env.shell("cat calls").success(), "", "--jobs {jobs}");
        assert_eq!(text.matches("Using cache").count(), first.len() - 4, "all but the beginnings of stages: {text}");
        for step in &first {
            assert_eq!(text.matches(step.as_str()).count(), 1, "{step}");
        }
    }
    assert_eq!(env.ok(["check"]), "");
}

#[test]
fn a_stage_goes_on_where_looking_has_stopped() {
    let env = project();
    let first = steps(&env, &[]);
    assert!(first.iter().all(|line| line.contains("STEP ")), "{first:?}");
    // The place of the last step that is still the same, by what is changed.
    let changes = [("other", "STEP 2/3: COPY --from=side /other /other"), ("src/a", "STEP 3/4: COPY src /src")];
    for (file, step) in changes {
        assert_eq!(steps(&env, &[]).len(), 2 * first.len() - 4, "nothing is changed yet");
        env.write(&format!("ctx/{file}"), format!("changed {file}\n"));
        let again = steps(&env, &[]);
        let told: Vec<&String> = again.iter().filter(|line| line.contains("STEP ")).collect();
        assert_eq!(told, first.iter().collect::<Vec<_>>(), "each step is told once");
        let at = again.iter().position(|line| line.ends_with(step)).unwrap_or_else(|| panic!("{step}: {again:?}"));
        assert!(!again.get(at + 1).is_some_and(|line| line.contains("Using cache")), "{step}: {again:?}");
        assert!(again.last().is_some_and(|line| line.contains("RUN cat")), "{again:?}");
    }
    let container = env.ok(["from", "app"]);
    assert_eq!(env.inside(&container, "cat /other /copied"), "changed other\nchanged src/a");
    assert_eq!(env.ok(["containers", "-q", "--all"]).lines().count(), 1);
}

#[test]
fn what_is_long_to_read_and_new_is_found_all_the_same() {
    let env = TestEnv::new();
    env.write("ctx/large", vec![7; 20 << 20]);
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\nCOPY large /\nLABEL c=d\n");
    steps(&env, &[]);
    // The file is too young for its digest to be remembered.
    let again = steps(&env, &[]);
    assert_eq!(again.iter().filter(|line| line.contains("Using cache")).count(), 3, "{again:?}");
}

#[test]
fn errors_of_a_step_that_was_only_looked_at_are_those_of_the_step() {
    let env = project();
    env.write("ctx/Dockerfile", "FROM base\nLABEL a=b\nCOPY nothing /x\n");
    for flags in [["--layers=true"], ["--layers=false"]] {
        let output = env.run(["build", "-t", "app"].iter().chain(&flags).chain(&["ctx"]));
        output.failure(125);
        assert!(output.err().contains("building at STEP \"COPY nothing /x\""), "{output}");
        assert_eq!(output.err().matches("Error:").count(), 1, "{output}");
    }
    env.write("ctx/Dockerfile", "FROM base\nENV A=${B?unset}\n");
    let output = env.run(["build", "--layers", "ctx"]);
    output.failure(125);
    assert!(output.err().contains("ENV A=${B?unset}"), "{output}");
    env.write("ctx/Dockerfile", "FROM localhost/nothing\n");
    let output = env.run(["build", "--layers", "--pull-never", "ctx"]);
    output.failure(125);
    assert!(output.err().contains("image not known"), "{output}");
}
