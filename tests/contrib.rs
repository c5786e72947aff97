//! How the scripts in `contrib` are called: `--help` says it, and a word that they do not know starts nothing.

use std::path::Path;
use std::process::Command;

/// Status, stdout and stderr of a script of `contrib`. `PATH` has no cargo, so that one which starts its work all the same fails soon.
fn run(script: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(script);
    let output = Command::new(path).args(words).env("PATH", "/usr/bin:/bin").output().expect("a script");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_says_how_a_script_is_called_and_what_it_does() {
    for script in ["bench", "quickstart", "stress", "test"] {
        for flag in ["-h", "--help"] {
            let (status, stdout, stderr) = run(script, &[flag]);
            assert_eq!((status, stderr.as_str()), (Some(0), ""), "{script}");
            assert!(stdout.starts_with(&format!("usage: contrib/{script}")), "{stdout}");
            assert!(stdout.lines().count() > 3 && !stdout.contains("setup.sh"), "{stdout}");
        }
    }
}

#[test]
fn unknown_words_are_refused() {
    let cases: [(&str, &[&str], &str); 9] = [
        ("bench", &["qick"], "qick"),
        ("bench", &["quick", "full"], "full"),
        ("quickstart", &["now"], "now"),
        ("stress", &["10s"], "10s"),
        ("stress", &["10", "20"], "20"),
        ("stress", &["10", "fuzz", "fuzzing"], "fuzzing"),
        ("stress", &["10", "buildkit", "buildkits"], "buildkits"),
        ("bench", &["build", "bigger"], "bigger"),
        ("bench", &["buildkit", "bigger"], "bigger"),
    ];
    for (script, words, word) in cases {
        let (status, stdout, stderr) = run(script, words);
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{script} {words:?}");
        assert!(stderr.contains(&format!("unknown argument \"{word}\"\nhint: usage: contrib/{script}")), "{stderr}");
    }
}
