//! `build`: what a person sees on a terminal, and what a program gets, while it goes on.
//!
//! The terminal is one of script(1).

use crate::harness::{TestEnv, skip_without};

const DOCKERFILE: &str = "FROM busybox AS first\nRUN echo begun; sleep 1.5; echo one-is-done > /one\n\
    FROM busybox AS second\nRUN echo other; sleep 0.4; echo two > /two\n\
    FROM busybox\nCOPY --from=first /one /\nCOPY --from=second /two /\nRUN echo last\n";

fn env(dockerfile: &str) -> TestEnv {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    env.write("ctx/Dockerfile", dockerfile);
    env
}

/// What a terminal of 60 columns is sent by a command, and its exit status.
fn on_terminal(env: &TestEnv, command: &str) -> (String, Option<i32>) {
    let script = format!("export TERM=xterm; stty cols 60 rows 20; {command}");
    let shown = env.tool("script", ["-qec", &script, "/dev/null"]);
    (String::from_utf8_lossy(&shown.stdout).replace("\r\r\n", "\n").replace("\r\n", "\n"), shown.code)
}

/// What is left on the screen: lines that were drawn over are gone.
fn left(shown: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    let mut rest = shown;
    while let Some(letter) = rest.chars().next() {
        if let Some(sequence) = rest.strip_prefix("\r\x1b[") {
            let (up, after) = sequence.split_once("A\x1b[J").expect("the only sequence");
            lines.truncate(lines.len() - 1 - up.parse::<usize>().expect("a number"));
            lines.push(String::new());
            rest = after;
            continue;
        }
        match letter {
            '\n' => lines.push(String::new()),
            '\r' => {}
            letter => lines.last_mut().expect("a line").push(letter),
        }
        rest = &rest[letter.len_utf8()..];
    }
    lines.retain(|line| !line.is_empty());
    lines
}

#[test]
fn a_terminal_shows_what_is_at_work_and_keeps_what_is_done() {
    if skip_without(&["script"]) {
        return;
    }
    let env = env(DOCKERFILE);
    let (shown, status) = on_terminal(&env, "coracle build --jobs 2 --network host ctx");
    assert_eq!(status, Some(0), "{shown}");
    // Both at work at one time, each with what it printed last and how long it has been at it.
    let drawn: Vec<_> = shown.split("\x1b[J").collect();
    let has = |drawing: &&str, words: &[&str]| words.iter().all(|word| drawing.contains(word));
    let both = ["[1/3] STEP 2/2: RUN echo begun", "\n  | begun\n[2/3] STEP 2/2: RUN echo other", "\n  | other\n"];
    assert!(drawn.iter().any(|drawing| has(drawing, &both)), "{shown:?}");
    assert!(drawn.iter().any(|drawing| has(drawing, &["s\n  | begun\n"])), "how long it takes: {shown:?}");
    let widest = drawn.iter().flat_map(|drawing| drawing.lines().filter(|line| line.ends_with("1s"))).map(str::len).max();
    assert!(widest.is_some_and(|widest| widest < 60), "{shown:?}");
    let left = left(&shown);
    assert!(!left.iter().any(|line| line.contains('\x1b')), "no colour, no hidden cursor: {shown:?}");
    let at =
        |text: &str| left.iter().position(|line| line.starts_with(text)).unwrap_or_else(|| panic!("no {text:?} in {left:#?}"));
    assert!(at("[2/3] STEP 2/2: RUN echo other") < at("[1/3] STEP 2/2: RUN echo begun"), "{left:#?}");
    assert!(at("[1/3] STEP 2/2: RUN echo begun") < at("[3/3] STEP 4/4: RUN echo last"), "{left:#?}");
    assert!(left[at("[1/3] STEP 2/2: RUN echo begun")].ends_with("s)"), "{left:#?}");
    assert!(!left.iter().any(|line| line.starts_with("  | ")), "{left:#?}");
    let last = left.last().expect("a line");
    assert!(last.len() == 64 && last.bytes().all(|byte| byte.is_ascii_hexdigit()), "{left:#?}");
}

#[test]
fn a_failure_on_a_terminal_shows_what_the_command_printed() {
    if skip_without(&["script"]) {
        return;
    }
    let env = env("FROM busybox\nRUN for i in $(seq 30); do echo line $i; done; exit 3\n");
    let (shown, status) = on_terminal(&env, "coracle build --network host ctx");
    let left = left(&shown);
    assert_eq!(status, Some(3));
    let tail: Vec<_> = left.iter().filter(|line| line.starts_with("  | ")).collect();
    assert_eq!((tail.len(), tail[0].as_str(), tail[19].as_str()), (20, "  | line 11", "  | line 30"), "{left:#?}");
    let at = left.iter().position(|line| line == "  | line 30").expect("the last line");
    assert!(left[at + 1].starts_with("Error: building at STEP"), "{left:#?}");
}

#[test]
fn a_terminal_is_left_in_order_by_ctrl_c() {
    if skip_without(&["script"]) {
        return;
    }
    let env = env("FROM busybox\nRUN echo begun; sleep 60\n");
    let command = "stty -a >before; timeout -s INT 2 coracle build --network host ctx; echo status $?; stty -a >after";
    let (shown, _) = on_terminal(&env, command);
    let left = left(&shown);
    assert!(shown.contains("  | begun\n"), "{shown:?}");
    assert!(!left.iter().any(|line| line.contains("| begun")), "what was drawn is taken away: {left:#?}");
    assert_eq!(left.last().map(String::as_str), Some("status 124"), "{left:#?}");
    let read = |name: &str| std::fs::read_to_string(env.work().join(name)).expect("the settings");
    assert_eq!(read("before"), read("after"));
    assert_eq!(env.ok(["containers", "-q"]), "");
}

#[test]
fn what_is_no_terminal_gets_lines_whatever_is_asked_for() {
    if skip_without(&["script"]) {
        return;
    }
    let env = env("FROM busybox\nRUN echo printed\n");
    let usual = env.run(["build", "--network", "host", "ctx"]);
    let asked = env.run(["build", "--network", "host", "--progress=tty", "ctx"]);
    let without_ids = |text: String| text.lines().filter(|line| line.contains(' ')).map(str::to_owned).collect::<Vec<_>>();
    let lines = without_ids(usual.success());
    assert_eq!(lines[..2], ["STEP 1/2: FROM busybox", "STEP 2/2: RUN echo printed"]);
    assert_eq!(without_ids(asked.success()).len(), lines.len());
    for command in ["TERM=dumb coracle build --network host ctx", "coracle build --progress=plain --network host ctx"] {
        let (shown, status) = on_terminal(&env, command);
        assert!(status == Some(0) && !shown.contains('\x1b') && shown.contains("\nprinted\n"), "{command}: {shown:?}");
    }
    let (shown, _) = on_terminal(&env, "coracle build --network host ctx 2>errors | cat");
    assert!(!shown.contains('\x1b') && shown.contains("\nprinted\n"), "{shown:?}");
}

#[test]
fn programs_are_told_of_a_failure_in_an_event() {
    let env = env("FROM busybox\nRUN exit 7\n");
    let last = |words: &[&str], status| {
        let output = env.run(["build", "--network", "host", "--progress=json"].iter().chain(words));
        assert_eq!((output.code, output.out().as_str()), (Some(status), ""), "{output}");
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("no JSON: {output}"));
        let events: Vec<_> = output.err().lines().map(read).collect();
        assert_eq!(events.iter().filter(|event| event["event"] == "error").count(), 1, "{output}");
        events.last().expect("an event").clone()
    };
    assert_eq!(last(&["-q", "ctx"], 7)["event"], "error");
    assert_eq!(last(&["-q", "--cache-from", "oci:nosuch", "--layers=false", "ctx"], 7)["status"], 7);
    let failed = last(&["ctx"], 7);
    assert_eq!((&failed["event"], &failed["status"]), (&"error".into(), &7.into()), "{failed}");
    assert!(failed["text"].as_str().is_some_and(|text| text.contains("exit 7")), "{failed}");
    assert!(failed["excerpt"].as_str().is_some_and(|text| text.contains("RUN exit 7\n")), "{failed}");
    let unknown = last(&["-f", "nosuch", "ctx"], 125);
    assert!(unknown["text"].as_str().is_some_and(|text| text.contains("nosuch")) && unknown["hints"].is_array(), "{unknown}");
}

#[test]
fn what_happens_to_a_step_is_told_with_its_stage() {
    let file = "FROM busybox AS a\nRUN sleep 2; touch /one\nFROM busybox AS b\nENV A=1\nRUN sleep 0.5; touch /two\n\
        FROM a\nCOPY --from=b /two /\n";
    let env = env(file);
    let flags = ["build", "--network", "host", "--layers", "--jobs=2", "--cache-to", "oci:cache", "ctx"];
    let output = env.run(flags.iter().chain(&["--progress=json"]));
    output.success();
    let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    let events: Vec<_> = output.err().lines().map(read).collect();
    let stages = |kind: &str| {
        let of_kind = events.iter().filter(|event| event["event"] == kind);
        let mut stages: Vec<_> = of_kind.map(|event| (event["stage"].as_u64(), event["stages"].as_u64())).collect();
        stages.sort();
        stages
    };
    let each = [1, 2, 2, 3].map(|stage| (Some(stage), Some(3)));
    for kind in ["missed", "image", "cache-push"] {
        assert_eq!(stages(kind), each, "{kind}: {output}");
    }
    // Of the lines for people those have the stage that Buildah has not, while another one is at work.
    let output = env.run(flags.iter().chain(&["--progress=plain", "--no-cache"]));
    let (said, explained) = (output.success(), output.err());
    assert_eq!(said.matches("] --> ").count(), 0, "{output}");
    assert!(explained.contains("[2/3] --> Not from the cache: ") && !explained.contains("[3/3] --> "), "{output}");
}

#[test]
fn programs_are_told_what_commands_print_and_when_stages_end() {
    let env = env("FROM busybox AS a\nRUN echo out; echo err >&2; touch /x\nFROM busybox\nCOPY --from=a /x /\n");
    for jobs in ["--jobs=1", "--jobs=2"] {
        let output = env.run(["build", "--network", "host", "--progress=json", jobs, "ctx"]);
        assert_eq!(output.success().len(), 64, "standard output has the ID alone: {output}");
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        let events: Vec<_> = output.err().lines().map(read).collect();
        let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
        let mut printed: Vec<_> =
            of("output").iter().map(|event| format!("{} {} {}", event["stage"], event["stream"], event["line"])).collect();
        printed.sort();
        assert_eq!(printed, ["1 \"stderr\" \"err\"", "1 \"stdout\" \"out\""]);
        let ended: Vec<_> = of("stage").iter().map(|event| (event["stage"].as_u64(), event["built"].as_bool())).collect();
        assert_eq!(ended, [(Some(1), Some(true)), (Some(2), Some(true))]);
    }
}
