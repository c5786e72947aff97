//! Texts made to be slow: each is read, or refused, in a time that would be minutes if anything took more than linear time.

use std::fs;
use std::time::Duration;

use super::{Instruction, MAX_FILE, parse, render};

/// What each may take at most, in a program that is not optimised.
const LIMIT: Duration = Duration::from_secs(4);

/// The time that this thread has run, whatever else the machine does (proc(5), schedstat).
fn now() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("/proc/thread-self/schedstat");
    Duration::from_nanos(text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).expect("nanoseconds"))
}

/// Reads `text` and every step of it with `value` for each variable. Gives how many steps could be read.
fn read(text: &str, value: &str) -> usize {
    match parse(text) {
        Ok(file) => {
            let steps = file.stages.iter().flat_map(|stage| &stage.steps);
            steps.filter(|step| step.instruction(&|_| Some(value.to_owned())).is_ok()).count()
        }
        Err(error) => {
            assert_eq!(render::render("Dockerfile", text, error.span).lines().count(), 3);
            0
        }
    }
}

#[test]
fn hostile_texts_take_linear_time() {
    const MIB: usize = 1 << 20;
    let line = |text: String| format!("FROM a\n{text}\n");
    let heredocs = 100_000;
    let names: String = (0..heredocs).map(|n| format!(" <<{n}")).collect();
    let bodies: String = (0..heredocs).map(|n| format!("{n}\n")).collect();
    let stages: String = (0..20_000).map(|n| format!("FROM a AS s{n}\n")).collect();
    let cases = [
        ("lines of 10 MiB", line("RUN a short line with not much on it\n".repeat(10 * MIB / 37)), "", 10 * MIB / 37),
        ("comments", line("# x\n".repeat(MIB)), "", 0),
        ("a line continued often", line(format!("RUN {}", "x\\\n".repeat(MIB / 2))), "", 1),
        ("a continuation of comments", line(format!("RUN x \\\n{}", "#\n".repeat(MIB))), "", 1),
        ("dollars", line(format!("ENV a={}", "$".repeat(MIB))), "", 1),
        ("braces in braces", line(format!("ENV a={}", "${a:-".repeat(MIB / 5))), "", 0),
        ("backslashes", line(format!("ENV a={}", "\\".repeat(MIB))), "", 1),
        ("quotes", line(format!("ENV a={}", "\"'\"".repeat(MIB / 4))), "", 1),
        ("an open quote", line(format!("ENV a=\"{}", "$b ".repeat(MIB / 4))), "", 0),
        ("words", line(format!("ENV {}", "a=b ".repeat(MIB / 4))), "", 1),
        ("here-documents on one line", line(format!("RUN x{names}\n{bodies}")), "", 1),
        ("here-documents to copy", line(format!("COPY{names} /\n{bodies}")), "", 1),
        ("here-documents without an end", line(format!("RUN x{names}\n")), "", 0),
        ("a long here-document", line(format!("COPY <<E /\n{}E\n", "$a\\n\n".repeat(MIB / 4))), "", 1),
        ("stages", stages, "", 0),
        ("JSON in JSON", line(format!("RUN {}", "[".repeat(MIB))), "", 1),
        ("a long array", line(format!("CMD [{}\"\"]", "\"\",".repeat(MIB / 3))), "", 1),
        ("flags", line(format!("RUN {}x", "--mount=a ".repeat(MIB / 10))), "", 1),
        ("flags that are none", line(format!("RUN {}x", "--a".repeat(MIB / 3))), "", 0),
        ("options", line(format!("RUN --mount={} x", "a,".repeat(MIB / 2))), "", 1),
        ("a keyword that is none", line("X".repeat(MIB)), "", 0),
    ];
    for (name, text, value, steps) in cases {
        assert!(text.len() <= MAX_FILE, "{name}");
        let start = now();
        assert_eq!(read(&text, value), steps, "{name}");
        let taken = now() - start;
        assert!(taken < LIMIT, "{name}: {taken:?}");
    }
}

#[test]
fn hostile_values_and_patterns_take_bounded_time() {
    let (short, long) = ("a".repeat(4096), "a".repeat(1 << 20));
    let stars = "*a".repeat(1000);
    let cases = [
        ("stars on a long value", format!("${{v##{stars}b}}"), &long),
        ("stars on a short value", format!("${{v##{stars}b}}"), &short),
        ("stars from the end", format!("${{v%%b{stars}}}"), &long),
        ("stars to replace", format!("${{v//{stars}b/x}}"), &short),
        ("a question mark to replace", format!("${{v//{}?b/x}}", "a".repeat(1000)), &long),
        ("text to replace", "${v//aab/x}".to_owned(), &long),
        ("each character to replace", "${v//a/xxxxxxxx}".to_owned(), &long),
        ("values that are dropped", "${v:+}".repeat(100_000), &long),
        ("values that are kept", "$v".repeat(100_000), &long),
        ("a value as a pattern", "${v#$v$v}".to_owned(), &long),
    ];
    for (name, word, value) in cases {
        let file = parse(&format!("FROM a\nENV x={word}\n")).expect("a file");
        let start = now();
        let read = file.stages[0].steps[0].instruction(&|_| Some(value.clone()));
        let taken = now() - start;
        assert!(taken < LIMIT, "{name}: {taken:?}");
        assert!(matches!(read, Ok(Instruction::Metadata(_)) | Err(_)));
    }
}
