//! The corpus of Dockerfiles in `tests/dockerfiles`: each directory is built by Debian's Buildah, where it has the feature, and by us,
//! both without and with `--layers`, as an unprivileged user and offline. What is printed and what the images are (annotations, config,
//! history, files) must be what the file `expected` of the directory says.
//!
//! A directory holds the script `build` and the files that it works on: `$B` is the tool, `$MODE` the flag for layers, `$OUT` the image to
//! make; `busybox` is in the store. Its comments say what is shown and what Buildah makes of it: `# buildah: yes`, the same;
//! `# buildah: no, REASON`, nothing; `# buildah: differs, REASON`, what `expected.buildah` says. `# again: no, REASON` is for builds that a
//! second time make another image. `CORACLE_BLESS=1` writes what Buildah made into its file, and what ours made where that is another.
//!
//! `# buildkit: yes`, `# buildkit: differs, REASON` and `# buildkit: no, REASON` say the same of BuildKit: see `dockerfiles/buildkit.rs`.

#[path = "dockerfiles/buildkit.rs"]
mod buildkit;
#[path = "harness/mod.rs"]
mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use harness::{CommandOutput, TestEnv, skip_without};

/// Directories that are built in one store, by the beginnings of their names.
const GROUPS: [&[&str]; 6] = [
    &["parse-", "heredoc-", "file-", "ignore-"],
    &["expand-", "arg-", "from-", "stages", "target"],
    &["run-", "volume", "user-", "workdir-"],
    &["copy-", "add-"],
    &["env-", "expose", "stopsignal", "maintainer", "healthcheck", "onbuild", "format-", "flag-", "error-"],
    &["combo-"],
];

/// Everything of a directory that is not part of the context.
const OURS: [&str; 4] = ["build", "expected", "expected.buildah", "expected.buildkit"];

/// A directory of the corpus.
struct Case {
    name: String,
    script: String,
    buildah: Peer,
    buildkit: Peer,
}

/// What another builder makes of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// What we make.
    Same,
    /// Something else, for a reason that the case gives.
    Differs,
    /// It has not the feature.
    Nothing,
}

/// Who builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Buildah,
    BuildKit,
    Coracle,
}

/// How the script is run: `$MODE`, and what the name of the image ends with.
const MODES: [(&str, &str); 2] = [("--layers=false", ""), ("--layers --no-cache", "-layers")];

/// As with layers, and steps of the former build may be taken again.
const AGAIN: (&str, &str) = ("--layers", "-layers");

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfiles")
}

fn cases() -> Vec<Case> {
    let entries = fs::read_dir(corpus()).expect("the corpus").flatten().filter(|entry| entry.path().is_dir());
    let mut cases: Vec<Case> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let script = fs::read_to_string(entry.path().join("build")).unwrap_or_else(|error| panic!("{name}/build: {error}"));
            let [buildah, buildkit] = ["buildah", "buildkit"].map(|peer| {
                said_of(peer, &script).unwrap_or_else(|| panic!("{name}/build does not say what {peer} makes of it"))
            });
            Case { name, script, buildah, buildkit }
        })
        .collect();
    cases.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    cases
}

/// What the comments of a script say of a builder.
fn said_of(peer: &str, script: &str) -> Option<Peer> {
    match script.lines().find_map(|line| line.strip_prefix("# ")?.strip_prefix(peer)?.strip_prefix(": "))? {
        "yes" => Some(Peer::Same),
        reason if reason.starts_with("differs, ") => Some(Peer::Differs),
        reason if reason.starts_with("no, ") => Some(Peer::Nothing),
        _ => None,
    }
}

fn belongs(case: &Case, group: &[&str]) -> bool {
    group.iter().any(|prefix| case.name.starts_with(prefix))
}

/// A copy of the directory for one run: modes that do not depend on how the tree was checked out, and times that are long past.
fn prepare(env: &TestEnv, case: &Case, place: &str) {
    let source = corpus().join(&case.name);
    let mut rest = vec![source.clone()];
    env.write(&format!("{place}/.keep"), "");
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of a case").flatten() {
            let below = entry.path().strip_prefix(&source).expect("a path below").to_owned();
            if entry.path().is_dir() {
                rest.push(entry.path());
            } else if !OURS.iter().any(|name| below == Path::new(name)) {
                let copy =
                    env.write(&format!("{place}/{}", below.display()), fs::read(entry.path()).expect("a file of a case"));
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).expect("its mode");
            }
        }
    }
    let settle = "rm .keep; find . -type d -exec chmod 755 {} +; find . -exec touch -d @1600000000 {} +";
    env.shell(&format!("cd {place}; {settle}")).success();
}

/// Runs the script of a case in a fresh copy of its directory.
fn build(env: &TestEnv, case: &Case, tool: Tool, (mode, suffix): (&str, &str), round: &str) -> CommandOutput {
    let place = format!("{}{suffix}{round}", case.name);
    prepare(env, case, &place);
    let program = match tool {
        Tool::Buildah => "buildah",
        Tool::BuildKit => "buildkit",
        Tool::Coracle => "coracle",
    };
    let head = format!("cd {place}; B={program} MODE='{mode}' OUT={}{suffix}; umask 022", case.name);
    env.shell(&format!("{head}\n{}", case.script))
}

/// What a build printed, without what differs from run to run: IDs, and the name of the image.
///
/// Debian's Buildah begins stages before those that they need, and says of them which image their base has become. So lines about
/// stages are put into the order of the stages, and say nothing of bases and layers.
fn printed(case: &Case, output: &CommandOutput, suffix: &str) -> String {
    let out = output.out().replace(&format!("{}{suffix}", case.name), "OUT");
    let mut lines: Vec<String> =
        out.lines().map(|line| line.split(' ').map(without_id).collect::<Vec<_>>().join(" ")).collect();
    if lines.iter().any(|line| stage(line).is_some()) {
        lines.retain(|line| !line.starts_with("--> "));
        lines.sort_by_key(|line| stage(line).unwrap_or(usize::MAX));
        for line in lines.iter_mut().filter(|line| stage(line).is_some()) {
            if let Some((start, _)) = line.split_once(": FROM ") {
                *line = format!("{start}: FROM …");
            }
        }
    }
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    text + &match output.code {
        Some(0) => String::new(),
        status => format!("[status {status:?}]\n"),
    }
}

/// The number of the stage that a line begins with, unless it is the last word on it.
fn stage(line: &str) -> Option<usize> {
    let (number, rest) = line.strip_prefix('[')?.split_once('/')?;
    if rest.contains("] COMMIT ") { None } else { number.parse().ok() }
}

/// A word, or what stands for an ID of 64 digits or a short one, which has 11 digits with Debian's Buildah and 12 with newer ones.
fn without_id(word: &str) -> &str {
    match word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        true if word.len() == 64 => "[ID]",
        true if matches!(word.len(), 11 | 12) => "[SHORT]",
        _ => word,
    }
}

/// An environment with the base image, and what tells a tool how to run commands.
fn environment(tool: Tool) -> TestEnv {
    let mut env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    if tool == Tool::Buildah {
        env.set("BUILDAH_ISOLATION", "chroot");
    }
    env.write("tools/describe.py", include_str!("examples/describe.py"));
    env.write("tools/outline.py", include_str!("dockerfiles/outline.py"));
    env
}

/// What each case of a group printed and made, by name; `wrong` gets what went wrong on the way.
fn results(tool: Tool, cases: &[Case], wrong: &mut Vec<String>) -> BTreeMap<String, String> {
    let env = environment(tool);
    let mut found = BTreeMap::new();
    for case in cases {
        let outputs = MODES.map(|mode| build(&env, case, tool, mode, ""));
        let [one, other] = [0, 1].map(|at| printed(case, &outputs[at], MODES[at].1));
        let mut text = String::new();
        for (title, said) in [("--- without --layers\n", &one), ("--- with --layers\n", &other)] {
            text += title;
            text += said;
        }
        if let Some(failed) = outputs.iter().find(|output| output.code != Some(0)) {
            wrong.push(format!("{}: {failed}", case.name));
        } else if tool == Tool::Coracle {
            wrong.extend(build_again(&env, case));
        }
        found.insert(case.name.clone(), text);
    }
    let names = cases.iter().map(|case| case.name.as_str());
    let outlines = env.tool("python3", ["tools/outline.py", "busybox"].into_iter().chain(names)).success();
    let outlines: BTreeMap<String, String> = serde_json::from_str(&outlines).expect("the outlines of all images");
    for (name, outline) in outlines {
        found.entry(name).or_default().push_str(&outline);
    }
    if tool == Tool::Coracle {
        env.assert_store_is_clean();
    }
    found
}

/// With layers the same build makes the same image once more, and takes every step from the cache.
fn build_again(env: &TestEnv, case: &Case) -> Option<String> {
    if case.script.contains("# again: no, ") {
        return None;
    }
    let id = || env.run(["images", "-q", "--no-trunc", &format!("{}-layers", case.name)]).out();
    let before = id();
    let output = build(env, case, Tool::Coracle, AGAIN, "-again");
    let said = output.out();
    let steps = said.lines().filter(|line| line.contains("STEP ") && !line.contains(": FROM ")).count();
    let cached = said.lines().filter(|line| line.contains("--> Using cache ")).count();
    (output.code != Some(0) || id() != before || (said.contains("STEP 1") && cached == 0 && steps > 0))
        .then(|| format!("{}: built again: another image than {before}\n{output}", case.name))
}

/// The text without the digests of what was copied: those that Debian's Buildah tells of a build depend on the user who runs it.
/// (Those of its verb `copy` do not, and are compared in `tests/compat`.)
fn without_digests(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = ["file:", "dir:", "multi:"].iter().filter_map(|kind| Some(rest.find(kind)? + kind.len())).min() {
        let (before, after) = rest.split_at(at);
        kept.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        rest = if digits == 64 { &after[digits..] } else { after };
    }
    kept + rest
}

/// The lines that differ from the file `expected`, if any do; with `CORACLE_BLESS` the file is written instead.
fn difference(env: &TestEnv, case: &Case, found: &str, tool: Tool) -> Option<String> {
    let file = match (tool, case.buildah) {
        (Tool::Buildah, Peer::Differs) => "expected.buildah",
        _ => "expected",
    };
    let path = corpus().join(&case.name).join(file);
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let is_same = match tool {
        Tool::Buildah => without_digests(found) == without_digests(&expected),
        _ => found == expected,
    };
    if is_same {
        return None;
    }
    let is_judge = tool == Tool::Buildah || case.buildah != Peer::Same;
    if std::env::var_os("CORACLE_BLESS").is_some() && is_judge {
        fs::write(&path, found).expect("the expectation is written");
        return None;
    }
    Some(lines_between(env, case, file, (&expected, found)))
}

/// What stands in the file of a case, and what was found instead.
fn lines_between(env: &TestEnv, case: &Case, file: &str, (expected, found): (&str, &str)) -> String {
    env.write("expected", expected);
    env.write("found", found);
    let lines = env.shell("diff -U 3 expected found || true").out();
    format!("{}: not as tests/dockerfiles/{}/{file} says\n{lines}", case.name, case.name)
}

/// The cases of a group that a builder has the features for, or the one that `CORACLE_TEST_CASE` names.
fn cases_for(tool: Tool, group: &[&str]) -> Vec<Case> {
    let wanted = std::env::var("CORACLE_TEST_CASE").ok();
    let can = |case: &Case| match tool {
        Tool::Buildah => case.buildah != Peer::Nothing,
        Tool::BuildKit => case.buildkit != Peer::Nothing,
        Tool::Coracle => true,
    };
    let mut cases = cases();
    cases.retain(|case| belongs(case, group) && can(case) && wanted.as_ref().is_none_or(|name| *name == case.name));
    cases
}

#[track_caller]
fn check(tool: Tool, group: &[&str]) {
    if skip_without(&["buildah", "skopeo", "python3", "cpp"]) {
        return;
    }
    let cases = cases_for(tool, group);
    let mut wrong = Vec::new();
    let found = results(tool, &cases, &mut wrong);
    let env = TestEnv::new();
    wrong.extend(cases.iter().filter_map(|case| difference(&env, case, &found[&case.name], tool)));
    assert!(wrong.is_empty(), "{} differences of {tool:?}:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn every_case_is_in_one_group() {
    for case in cases() {
        assert_eq!(GROUPS.iter().filter(|group| belongs(&case, group)).count(), 1, "{}", case.name);
    }
}

/// One module for each group: what Buildah makes of it, what we make, and how that differs from what BuildKit makes.
///
/// What Buildah makes does not change from day to day, and asking it takes a second for each image: contrib/stress asks for all
/// groups, every run of the tests for one. BuildKit needs a daemon of root.
macro_rules! groups {
    ($($name:ident $number:literal $(#[$when:meta])*;)*) => { $(
        mod $name {
            use super::{GROUPS, Tool, check};

            #[test]
            $(#[$when])*
            fn is_expected_as_buildah_builds_it() {
                check(Tool::Buildah, GROUPS[$number]);
            }

            #[test]
            fn is_built_as_expected() {
                check(Tool::Coracle, GROUPS[$number]);
            }

            #[test]
            #[ignore = "run by contrib/stress, which starts the daemon of root that BuildKit is"]
            fn differs_from_buildkit_as_expected() {
                crate::buildkit::check(GROUPS[$number]);
            }
        }
    )* };
}

groups! {
    text 0 #[ignore = "run by contrib/stress"];
    stages 1 #[ignore = "run by contrib/stress"];
    commands 2 #[ignore = "run by contrib/stress"];
    files 3 #[ignore = "run by contrib/stress"];
    settings 4 #[ignore = "run by contrib/stress"];
    combinations 5;
}
