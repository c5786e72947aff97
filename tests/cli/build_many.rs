//! `build`, `copy`: one instruction may name more files than a process may have open.

use crate::harness::TestEnv;

/// More than the limit, which is less than what is there by default, so that the test need not make as many files.
const FILES: usize = 1_500;
const LIMIT: &str = "ulimit -Sn 256";

fn files(env: &TestEnv) -> String {
    let write = |at| {
        env.write(&format!("ctx/d/f{at}"), format!("{at}\n"));
        format!(" d/f{at}")
    };
    (0..FILES).map(write).collect()
}

#[test]
fn a_pattern_matches_more_files_than_a_process_may_have_open() {
    let env = TestEnv::new();
    let names = files(&env);
    let words: String = (0..FILES).map(|at| format!(" <<h{at}")).collect();
    let documents: String = (0..FILES).map(|at| format!("{at}\nh{at}\n")).collect();
    let inline = format!("COPY{words} /inline/\n{documents}");
    let text = format!(
        "FROM scratch AS one\nCOPY d/f* /pattern/\nADD d/f* /added/\nCOPY --parents **/f* /parents/\nCOPY {names} /listed/\n{inline}\
         FROM scratch\nCOPY --from=one /pattern/f* /from/\n"
    );
    env.write("ctx/Dockerfile", text);
    let build = format!("{LIMIT}; coracle build --layers -q");
    env.shell(&format!("{build} --target one -t one ctx; {build} -t app ctx")).success();
    // What is cached is found under the same limit.
    let again = env.shell(&format!("{LIMIT}; coracle build --layers --progress plain -t app ctx")).success();
    assert_eq!(again.matches("Using cache").count(), 6, "{again}");
    for (image, places) in [("one", &["pattern", "added", "parents/d", "listed", "inline"][..]), ("app", &["from"])] {
        let container = env.ok(["from", image]);
        let listed = env.shell(&format!(
            "coracle unshare sh -euc 'm=$(coracle mount {container}); cd $m; for p in {}; do ls $p | wc -l; cat $p/?1499; done'",
            places.join(" ")
        ));
        assert_eq!(listed.success(), vec!["1500\n1499"; places.len()].join("\n"));
    }
}

#[test]
fn a_pattern_of_copy_does_too() {
    let env = TestEnv::new();
    files(&env);
    let container = env.ok(["from", "scratch"]);
    let copied = env.shell(&format!("{LIMIT}; coracle copy -q {container} 'ctx/d/f*' /x/")).success();
    assert_eq!(copied, "");
    let script = format!("coracle unshare sh -euc 'ls $(coracle mount {container})/x | wc -l'");
    assert_eq!(env.shell(&script).success(), "1500");
}

/// The process needs more files at a time then; the command has the limits that it has anyway.
#[test]
fn a_command_may_be_shown_hundreds_of_files() {
    const MOUNTS: usize = 400;
    let env = TestEnv::new();
    env.busybox("base");
    let mount = |at: usize| {
        env.write(&format!("ctx/d/f{at}"), format!("{at}\n"));
        format!(" --mount=type=bind,source=d/f{at},target=/m/f{at}")
    };
    let mounts: String = (0..MOUNTS).map(mount).collect();
    env.write("ctx/Dockerfile", format!("FROM base\nRUN ulimit -n\nRUN{mounts} ulimit -n; ls /m | wc -l; cat /m/f399\n"));
    let said = env.shell(&format!("{LIMIT}; coracle build --network host -t app ctx")).success();
    let numbers: Vec<&str> = said.lines().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit())).collect();
    let [first, second, rest @ ..] = numbers.as_slice() else { panic!("{said}") };
    assert_eq!((first, rest), (second, &["400", "399"][..]), "{said}");
}
