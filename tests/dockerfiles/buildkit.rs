//! The cases of the corpus that BuildKit has the features for, beside ours with layers: config, history and files of the two images.
//!
//! The file `expected.buildkit` of a case has the lines in which they differ (`beside_buildkit.py` makes them, and says what is not
//! compared); a case that says `# buildkit: yes` has none. BuildKit is a part of Docker's daemon, which `DOCKER_HOST` names:
//! `contrib/stress buildkit` starts one. Ours builds as an unprivileged user, root calls the daemon. `CORACLE_BLESS=1` writes the files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::TestEnv;
use crate::{Case, MODES, Peer, Tool, build, cases_for, corpus, environment, lines_between};

/// Root's environment, in which `buildkit build` builds, with the base image of `ours` in the daemon.
fn daemon(ours: &TestEnv) -> TestEnv {
    let host = std::env::var("DOCKER_HOST").expect("DOCKER_HOST names the daemon: contrib/stress buildkit starts one");
    let mut env = TestEnv::of_root().expect("BuildKit's daemon is root's");
    env.set("DOCKER_HOST", &host);
    let program = env.write("tools/buildkit", include_str!("buildkit"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    env.put_in_path(program.parent().expect("a directory"));
    ours.ok(["push", "-q", "localhost/busybox", "docker-archive:busybox.tar:busybox:latest"]);
    env.tool("/usr/bin/docker", ["load", "-i", &ours.work().join("busybox.tar").to_string_lossy()]).success();
    env
}

/// Builds a case by both, and leaves BuildKit's image in a file for the comparison.
fn build_by_both(ours: &TestEnv, theirs: &TestEnv, case: &Case) -> Option<String> {
    let outputs =
        [build(ours, case, Tool::Coracle, MODES[1], ""), build(theirs, case, Tool::BuildKit, ("--no-cache", MODES[1].1), "")];
    if let Some(failed) = outputs.iter().find(|output| output.code != Some(0)) {
        return Some(format!("{}: {failed}", case.name));
    }
    let file = ours.work().join(format!("{}.tar", case.name));
    theirs.tool("/usr/bin/docker", ["save", "-o", &file.to_string_lossy(), &format!("{}{}", case.name, MODES[1].1)]).success();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its mode");
    None
}

/// Fails if a case of the group differs in other lines than it says.
#[track_caller]
pub fn check(group: &[&str]) {
    let cases = cases_for(Tool::BuildKit, group);
    let ours = environment(Tool::Coracle);
    ours.write("tools/beside_buildkit.py", include_str!("beside_buildkit.py"));
    let theirs = daemon(&ours);
    let mut wrong: Vec<String> = cases.iter().filter_map(|case| build_by_both(&ours, &theirs, case)).collect();
    let names = cases.iter().map(|case| case.name.as_str());
    let said = ours.tool("python3", ["tools/beside_buildkit.py", "busybox"].into_iter().chain(names)).success();
    let found: BTreeMap<String, String> = serde_json::from_str(&said).expect("the differences of all images");
    wrong.extend(cases.iter().filter_map(|case| difference(&ours, case, &found[&case.name])));
    assert!(wrong.is_empty(), "{} differences:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

fn difference(env: &TestEnv, case: &Case, found: &str) -> Option<String> {
    let path = corpus().join(&case.name).join("expected.buildkit");
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if found == expected && expected.is_empty() == (case.buildkit == Peer::Same) {
        return None;
    }
    if std::env::var_os("CORACLE_BLESS").is_some() && case.buildkit == Peer::Differs && !found.is_empty() {
        fs::write(&path, found).expect("the expectation is written");
        return None;
    }
    Some(lines_between(env, case, "expected.buildkit", (&expected, found)))
}
