//! The EXAMPLES of the man pages, run as an unprivileged user: a block after the comment `.\" runs` is a session. What follows `$ ` is
//! typed, the rest is what it prints. A line that begins with `Error:`, and those after it, are on stderr, and the command fails.
//! IDs may be any IDs; `…` stands for anything.
//!
//! Each page has its own store with the image `localhost/busybox`; its blocks follow each other in one shell.
//! `CORACLE_BLESS=1` writes what is printed into the pages.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use coracle::commands::{Group, VERBS};

use crate::harness::TestEnv;

const MARK: &str = ".\\\" runs\n.nf\n";
const END: &str = ".fi\n";

/// What begins and ends a step on stdout and stderr: no command prints it.
const BEGIN_STEP: &str = "\u{1}begin";
const END_STEP: &str = "\u{1}end";

/// A command as typed and the lines that the page shows after it.
#[derive(Default, Clone)]
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The name of a verb's page: `coracle-manifest-add.1`.
fn page_of(verb: &str) -> String {
    format!("coracle-{}.1", verb.replace(' ', "-"))
}

fn path_of(page: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("man").join(page)
}

/// Text of roff as a reader sees it, as far as examples need it.
fn plain(line: &str) -> String {
    line.trim_start_matches("\\&").replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\")
}

fn roff(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

/// The runnable blocks of a page, in order.
fn blocks(text: &str) -> Vec<Vec<Step>> {
    let bodies = text.split(MARK).skip(1).filter_map(|rest| rest.split(END).next());
    bodies
        .map(|body| {
            let mut steps: Vec<Step> = Vec::new();
            for line in body.lines().map(plain) {
                match line.strip_prefix("$ ") {
                    Some(command) => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
                    None => steps.last_mut().expect("a command before its output").shown.push(line),
                }
            }
            steps
        })
        .collect()
}

/// What each command printed on stdout and stderr, and its status.
fn run(steps: &[Step]) -> Vec<(Vec<String>, Vec<String>, String)> {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let mut script = String::from("set +e\n");
    for Step { command, .. } in steps {
        let _ = writeln!(script, "echo '{BEGIN_STEP}'; echo '{BEGIN_STEP}' >&2\n{command}\necho \"{END_STEP}$?\"");
    }
    let output = env.shell(&script);
    let (out, err) = (output.out(), output.err());
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let begin = format!("{BEGIN_STEP}\n");
    let told = err.split(&begin).skip(1).map(lines);
    out.split(&begin)
        .skip(1)
        .zip(told)
        .map(|(out, err)| {
            let (out, status) = out.split_once(END_STEP).unwrap_or((out, "none"));
            (lines(out), err, status.trim().to_owned())
        })
        .collect()
}

/// A line with each ID as one sign.
fn without_ids(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        let is_id = [12, 64].contains(&digits.len());
        out.push_str(if is_id { "ID" } else { digits });
        out.push_str(&word[digits.len()..]);
    }
    out
}

/// Whether a line is as the page shows it.
fn fits(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (without_ids(shown.trim_end()), without_ids(printed.trim_end()));
    match shown.split_once('…') {
        None => shown == printed,
        Some((start, end)) => printed.len() >= start.len() + end.len() && printed.starts_with(start) && printed.ends_with(end),
    }
}

/// What a terminal would have shown: stdout, and stderr from the error on.
fn visible(out: &[String], err: &[String]) -> Vec<String> {
    let told = err.iter().skip_while(|line| !line.starts_with("Error: ")).filter(|line| !line.is_empty());
    out.iter().chain(told).cloned().collect()
}

/// The differences between a page and what its commands do; with `CORACLE_BLESS` the page is rewritten instead.
fn check(page: &str) -> Vec<String> {
    let text = fs::read_to_string(path_of(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let blocks = blocks(&text);
    let steps: Vec<Step> = blocks.iter().flatten().cloned().collect();
    let answers = run(&steps);
    let mut wrong = Vec::new();
    if answers.len() != steps.len() {
        wrong.push(format!("{page}: {} of {} commands were run", answers.len(), steps.len()));
    }
    let mut bodies: Vec<String> = Vec::new();
    let mut rest = steps.iter().zip(&answers);
    for block in &blocks {
        let mut body = String::new();
        for (step, (out, err, status)) in rest.by_ref().take(block.len()) {
            let printed = visible(out, err);
            let fails = step.shown.iter().any(|line| line.starts_with("Error: "));
            let alike = printed.len() == step.shown.len() && step.shown.iter().zip(&printed).all(|(a, b)| fits(a, b));
            if !alike || fails == (status == "0") {
                wrong.push(format!(
                    "{page}: $ {}\n--- shown\n{}\n--- printed, status {status}\n{}\n{}",
                    step.command,
                    step.shown.join("\n"),
                    out.join("\n"),
                    err.join("\n")
                ));
            }
            let lines = if alike { &step.shown } else { &printed };
            let _ = writeln!(body, "$ {}", roff(&step.command));
            lines.iter().for_each(|line| body.push_str(&format!("{}\n", roff(line.trim_end()))));
        }
        bodies.push(body);
    }
    if !wrong.is_empty() && std::env::var_os("CORACLE_BLESS").is_some() {
        let mut parts = text.split(MARK);
        let mut fresh = parts.next().unwrap_or_default().to_owned();
        for (part, body) in parts.zip(bodies) {
            let after = part.split_once(END).map_or("", |(_, after)| after);
            let _ = write!(fresh, "{MARK}{body}{END}{after}");
        }
        fs::write(path_of(page), fresh).expect("the page");
    }
    wrong
}

/// Checks the pages of the verbs of some groups, two at a time.
#[track_caller]
fn assert_pages(groups: &[Group]) {
    let verbs = VERBS.iter().filter(|verb| groups.contains(&verb.group));
    let pages: Vec<String> = verbs.map(|verb| page_of(verb.name)).collect();
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        let (one, two) = pages.split_at(pages.len() / 2);
        let workers = [one, two].map(|pages| scope.spawn(|| pages.iter().flat_map(|page| check(page)).collect::<Vec<_>>()));
        wrong.extend(workers.into_iter().flat_map(|worker| worker.join().expect("a worker")));
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn examples_on_images_print_what_they_show() {
    assert_pages(&[Group::Image]);
}

#[test]
fn examples_on_containers_print_what_they_show() {
    assert_pages(&[Group::Container]);
}

#[test]
fn the_other_examples_print_what_they_show() {
    assert_pages(&[Group::System, Group::Additional]);
    for page in ["coracle.1", "coracle-format.7"] {
        assert_eq!(check(page), Vec::<String>::new());
    }
}

#[test]
fn every_verb_has_an_example_that_runs() {
    // What these do is done to a shell's own start-up, or to a registry.
    const EXCEPT: [&str; 3] = ["completion", "login", "logout"];
    for verb in VERBS.iter().filter(|verb| !EXCEPT.contains(&verb.name)) {
        let text = fs::read_to_string(path_of(&page_of(verb.name))).expect("a page");
        let called = |step: &Step| step.command.contains(&format!("coracle {}", verb.name));
        assert!(blocks(&text).iter().flatten().any(called), "{} has no example that runs the verb", page_of(verb.name));
    }
}
