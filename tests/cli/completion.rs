//! Completion: what `__complete` answers, and that real shells make of it what they should.

use std::fs;

use clap::ArgAction;
use coracle::commands::VERBS;

use crate::harness::{TestEnv, skip_without};

/// A store with a container `web`, the images `app` and `quay.io/x/app:2`, and a file `file-one` beside.
fn filled() -> TestEnv {
    let env = TestEnv::new();
    env.ok(["from", "--name", "web", "scratch"]);
    env.ok(["commit", "-q", "web", "app"]);
    env.ok(["commit", "-q", "web", "quay.io/x/app:2"]);
    env.write("file-one", "");
    env.write("ctx/Dockerfile", "FROM scratch AS base\nFROM scratch AS builder\nFROM base AS $(evil)\nFROM base\n");
    env.write("ctx/other", "FROM scratch AS elsewhere\n");
    env
}

/// The words of an answer, without descriptions.
fn words(answer: &str) -> Vec<&str> {
    answer.lines().map(|line| line.split('\t').next().unwrap_or_default()).collect()
}

#[test]
fn answers_fit_the_place() {
    let env = filled();
    let cases: &[(&str, &[&str])] = &[
        ("word in", &["info", "inspect"]),
        ("word --ro", &["--root"]),
        ("next --log-level", &["debug", "error", "fatal", "info", "panic", "trace", "warn"]),
        ("next run --isolation", &["chroot", "default", "oci", "rootless"]),
        ("next build --isolation", &["chroot", "default", "oci", "rootless"]),
        ("word from --isolation=d", &["--isolation=default"]),
        ("word run --mount type=s", &[]),
        ("word build --mount type=s", &[":nospace", "type=secret,", "type=ssh,"]),
        ("word images --d", &["--digests"]),
        ("word from --pul", &["--pull", "--pull=", ":nospace"]),
        ("word from --pull=m", &["--pull=missing"]),
        ("word commit --format d", &["docker"]),
        ("word commit --format=o", &["--format=oci"]),
        ("word from --cap-add CHOWN,MK", &["CHOWN,MKNOD"]),
        ("word images -f dangling=t", &["dangling=true"]),
        ("next rm", &["web"]),
        ("next rm web", &["web"]),
        ("word from a", &["app"]),
        ("word from localhost/", &["localhost/app"]),
        ("word from quay.io/x/app:", &["quay.io/x/app:2"]),
        ("word from scr", &["scratch"]),
        ("word unshare -m M=w", &["M=web"]),
        ("word copy --from w", &["web"]),
        ("next copy web", &[":files"]),
        ("next --root", &[":dirs"]),
        ("next from --cidfile", &[":files"]),
        ("next completion", &["bash", "fish", "powershell", "zsh"]),
        ("next run web", &[]),
        ("next run web --", &[]),
        ("word help ver", &["version"]),
        ("word manifest a", &["add", "annotate"]),
        ("word manifest push --f", &["--force-compression", "--force-compression=", "--format", ":nospace"]),
        ("word manifest exists a", &["app"]),
        ("next build ctx --target", &["base", "builder"]),
        ("word build ctx --target bu", &["builder"]),
        ("word bud --target=b ctx", &[":files"]),
        ("word build ctx --target=b", &["--target=base", "--target=builder"]),
        ("next build -f ctx/other --target", &["elsewhere"]),
        ("next build --file other ctx --target", &["elsewhere"]),
        ("next build ctx/other --target", &["elsewhere"]),
        ("next build --target", &[]),
        ("next frobnicate", &[]),
        ("next rename web", &[]),
        ("", &words_of_verbs()),
    ];
    for (asked, want) in cases {
        let mut asked_words: Vec<&str> = asked.split(' ').filter(|word| !word.is_empty()).collect();
        asked_words.insert(0, "__complete");
        let output = env.run(&asked_words);
        assert_eq!((output.code, output.err().as_str()), (Some(0), ""), "{asked}");
        let mut found = words(&output.out()).into_iter().map(str::to_owned).collect::<Vec<_>>();
        found.sort();
        let mut want = want.to_vec();
        want.sort_unstable();
        assert_eq!(found, want, "{asked}");
    }
}

fn words_of_verbs() -> Vec<&'static str> {
    VERBS.iter().filter(|verb| verb.last_word() == verb.name).map(|verb| verb.name).collect()
}

#[test]
fn every_visible_flag_is_offered() {
    let env = TestEnv::new();
    for verb in VERBS {
        let before = ["__complete", "word"].into_iter().chain(verb.name.split(' '));
        let answer = env.ok(before.chain(["--"]));
        let offered = words(&answer);
        for flag in verb.parser().get_arguments().filter(|flag| !flag.is_positional() && !flag.is_hide_set()) {
            let Some(long) = flag.get_long() else { continue };
            assert!(offered.contains(&format!("--{long}").as_str()), "--{long} of {}", verb.name);
            let stands_alone = flag.is_require_equals_set() && matches!(flag.get_action(), ArgAction::Set | ArgAction::Append);
            assert_eq!(offered.contains(&format!("--{long}=").as_str()), stands_alone, "--{long}= of {}", verb.name);
        }
    }
    assert!(!env.graph_root().exists(), "completion made a store");
}

/// A name that a shell would expand, or a terminal obey, is offered as an ID (A143, A146).
#[test]
fn foreign_names_cannot_do_anything() {
    let env = filled();
    let hostile =
        ["$(touch pwned)", "`touch pwned`", "a;touch pwned", "x y", "-rf", "esc\u{1b}]0;t\u{7}", "tab\tx", "nl\nx", "'"];
    for table in ["overlay-images/images.json", "overlay-containers/containers.json"] {
        let path = env.graph_root().join(table);
        let text = fs::read_to_string(&path).expect("a table");
        for name in hostile {
            let name = serde_json::to_string(name).expect("JSON");
            fs::write(&path, text.replace("\"localhost/app:latest\"", &name).replace("\"web\"", &name)).expect("the table");
            for asked in
                [&["next", "inspect"][..], &["next", "rm"], &["next", "from"], &["word", "inspect", "$"], &["word", "rm", "-"]]
            {
                let answer = env.ok(std::iter::once("__complete").chain(asked.iter().copied()));
                for line in answer.lines().filter(|line| !line.starts_with(':')) {
                    let word = line.split('\t').next().unwrap_or_default();
                    let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@+-=,".contains(&byte));
                    assert!(plain && !line.chars().any(|c| c.is_control() && c != '\t'), "{name} {asked:?}: {line:?}");
                    assert!(!word.starts_with("-rf"), "{name}: {line:?}");
                }
            }
        }
        let ids = env.ok(["__complete", "next", if table.contains("images") { "rmi" } else { "rm" }]);
        assert!(words(&ids).iter().any(|word| word.len() == 12 && word.bytes().all(|b| b.is_ascii_hexdigit())), "{ids}");
        fs::write(&path, text).expect("the table");
    }
}

/// A shell must not hang because something works on the store, and a damaged store is no reason to print an error.
#[test]
fn nothing_is_waited_for_and_nothing_is_reported() {
    if skip_without(&["python3"]) {
        return;
    }
    let env = filled();
    let script = "
import fcntl, os, subprocess, sys
held = [open(os.path.join(sys.argv[1], name), 'r+') for name in ('overlay-images/images.lock', 'overlay-containers/containers.lock')]
for file in held:
    fcntl.lockf(file, fcntl.LOCK_EX)
print(subprocess.run(['coracle', '__complete', 'next', 'inspect'], timeout=5, capture_output=True, text=True).stdout, end='')
";
    let output = env.tool("python3", ["-c", script, &env.graph_root().to_string_lossy()]);
    assert_eq!(words(&output.success()), ["app", "quay.io/x/app:2", "web"], "{output}");
    fs::write(env.graph_root().join("overlay-images/images.json"), "{").expect("a damaged table");
    let output = env.run(["__complete", "next", "inspect"]);
    assert_eq!((output.code, output.err().as_str(), words(&output.out()).as_slice()), (Some(0), "", &["web"][..]));
    for argument in [&[][..], &["word"], &["next", "--root"], &["word", "--storage-opt=\"", "images", ""], &["word", "\u{1b}"]]
    {
        let output = env.run(std::iter::once("__complete").chain(argument.iter().copied()));
        assert_eq!((output.code, output.err().as_str()), (Some(0), ""), "{argument:?}");
    }
}

/// Lines typed into an interactive shell, and the words of the command that must come of each.
const TYPED: &[(&str, &str)] = &[
    ("coracle inspect a\t", "<inspect><app>"),
    ("coracle ver\t", "<version>"),
    ("coracle --log-level tr\tversion", "<--log-level><trace><version>"),
    ("coracle from --isolation=ch\tx", "<from><--isolation=chroot><x>"),
    ("coracle from --isolation ch\tx", "<from><--isolation><chroot><x>"),
    ("coracle inspect quay.io/x/app:\t", "<inspect><quay.io/x/app:2>"),
    ("coracle images --filter dangling=t\t", "<images><--filter><dangling=true>"),
    ("coracle copy web fi\t", "<copy><web><file-one>"),
    ("coracle run we\tls", "<run><web><ls>"),
    ("coracle rm \t", "<rm><web>"),
];

/// Types the lines into `shell`, in which `coracle` is a function that prints its arguments.
#[track_caller]
fn assert_typed(shell: &str, start: &str) {
    let env = filled();
    env.shell("for s in bash zsh fish; do coracle completion $s > c.$s; done").success();
    let mut input = format!("{start}\ncoracle() {{ printf '<%s>' \"$@\"; echo; }}\n");
    TYPED.iter().for_each(|(line, _)| input.push_str(&format!("{line}\n")));
    input.push_str("exit\n");
    env.write("input", input);
    let output = env.shell(&format!("TERM=dumb timeout 20 script -qec '{shell}' /dev/null < input"));
    for (line, want) in TYPED {
        assert!(
            output.out().lines().any(|shown| shown.trim() == *want),
            "{shell}: {line:?} should give {want}:\n{}",
            output.out()
        );
    }
}

#[test]
fn bash_completes() {
    if !skip_without(&["bash", "script"]) {
        assert_typed("bash --norc -i", "source ./c.bash");
    }
}

#[test]
fn zsh_completes() {
    if !skip_without(&["zsh", "script"]) {
        assert_typed("zsh -f -i", "autoload -Uz compinit && compinit -u -D\nsource ./c.zsh");
    }
}

#[test]
fn zsh_completes_from_its_function_path() {
    if skip_without(&["zsh", "script"]) {
        return;
    }
    let start = "mkdir -p fun && cp c.zsh fun/_coracle && fpath=($PWD/fun $fpath)\nautoload -Uz compinit && compinit -u -D";
    assert_typed("zsh -f -i", start);
}

#[test]
fn fish_completes() {
    if skip_without(&["fish"]) {
        return;
    }
    let env = filled();
    env.shell("coracle completion fish > c.fish").success();
    let cases = [
        ("coracle inspect a", "app"),
        ("coracle --log-level tr", "trace"),
        ("coracle from --isolation=ch", "--isolation=chroot"),
        ("coracle inspect quay.io/x/app:", "quay.io/x/app:2"),
        ("coracle copy web fi", "file-one"),
        ("coracle from --cidfile=fi", "--cidfile=file-one"),
        ("coracle rm ", "web"),
    ];
    for (line, want) in cases {
        let output = env.tool("fish", ["-c", &format!("source c.fish; complete -C {line:?}")]);
        assert_eq!(words(&output.success()), [want], "{line}");
    }
}

#[test]
fn every_script_asks_the_program() {
    let env = TestEnv::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(env.ok(["completion", shell]).contains("coracle __complete"), "{shell}");
    }
}
