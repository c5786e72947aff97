//! Dockerfiles of the usual projects in `tests/projects`, on a Debian root file system and with real package managers: each is built with
//! layers, its program runs, the same build again takes every step from the cache, and after one file has changed only what depends on it
//! is built anew.
//!
//! Packages come from where this machine's own configuration says. What takes minutes is run by `contrib/stress`.

#[path = "harness/mod.rs"]
mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::TestEnv;

/// A project, and what is to be seen of it.
struct Project {
    name: &'static str,
    /// The command that is run in the image, and what it prints.
    run: (&'static [&'static str], &'static str),
    /// A file of the context, its new content, and what the command prints then.
    change: (&'static str, &'static str, &'static str),
    /// How many steps are built anew after the change, of those that are not FROM.
    anew: usize,
    /// Steps that two stages have in common: the later one may find what the other has just made.
    in_common: usize,
}

/// The tar that `contrib/test` makes with debootstrap; none where the package source could not be reached.
fn debian_tar() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CORACLE_TEST_DEBIAN_TAR")?);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {path:?} does not exist");
    None
}

/// An environment with the image `debian` and the files of a project in `context`.
fn prepare(project: &Project, tar: &Path) -> TestEnv {
    let mut env = TestEnv::new();
    for name in ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        if let Ok(value) = std::env::var(name) {
            env.set(name, &value);
        }
    }
    let container = env.ok(["from", "scratch"]);
    env.ok(["add", "-q", &container, &tar.to_string_lossy(), "/"]);
    env.ok(["config", "--cmd", "/bin/bash", &container]);
    env.ok(["commit", "-q", "--rm", &container, "localhost/debian:latest"]);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/projects").join(project.name);
    let mut rest = vec![source.clone()];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of a project").flatten() {
            let below = entry.path().strip_prefix(&source).expect("a path below").to_owned();
            if entry.path().is_dir() {
                rest.push(entry.path());
            } else {
                env.write(&format!("context/{}", below.display()), fs::read(entry.path()).expect("a file of a project"));
            }
        }
    }
    // What package managers of this machine are told; the containers see it while they need it.
    let home = std::env::var("HOME").unwrap_or_default();
    let files = [
        ("certificates", "/etc/ssl/certs/ca-certificates.crt".to_owned()),
        ("pip.conf", "/etc/pip.conf".to_owned()),
        ("npmrc", format!("{home}/.npmrc")),
    ];
    for (name, path) in files {
        // The certificates' place in a container is another one.
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: String = text.lines().filter(|line| !line.contains("/etc/ssl/")).map(|line| format!("{line}\n")).collect();
        env.write(&format!("secrets/{name}"), lines);
    }
    env
}

/// Builds the project: the ID, how many steps there were, and how many of them came from the cache.
#[track_caller]
fn build(env: &TestEnv) -> (String, usize, usize) {
    let words = ["build", "--layers", "-t", "app", "--network", "host"];
    let secrets = ["certificates", "pip.conf", "npmrc"].map(|name| format!("--secret=id={name},src=secrets/{name}"));
    let output = env.run(words.into_iter().chain(secrets.iter().map(String::as_str)).chain(["context"]));
    let said = output.success();
    let steps = said.lines().filter(|line| line.contains("STEP ") && !line.contains(": FROM ")).count();
    let cached = said.lines().filter(|line| line.starts_with("--> Using cache ")).count();
    (said.lines().last().unwrap_or_default().to_owned(), steps, cached)
}

#[track_caller]
fn runs(env: &TestEnv, command: &[&str]) -> String {
    let container = env.ok(["from", "app"]);
    let words = ["run", "--network", "host", &container, "--"].into_iter().chain(command.iter().copied());
    let out = env.ok(words);
    env.ok(["rm", &container]);
    out
}

#[track_caller]
fn check(project: &Project) {
    let Some(tar) = debian_tar() else { return };
    let env = prepare(project, &tar);
    let begun = Instant::now();
    let (id, steps, cached) = build(&env);
    let first = begun.elapsed();
    assert!(cached <= project.in_common, "{cached} steps were taken from an empty cache");
    assert_eq!(runs(&env, project.run.0), project.run.1);

    let begun = Instant::now();
    assert_eq!(build(&env), (id.clone(), steps, steps), "the same build again");
    let again = begun.elapsed();

    let (path, content, expected) = project.change;
    // Layers keep whole seconds. What is changed in the second in which the compiler ended is older to cargo than what that made.
    std::thread::sleep(Duration::from_millis(1100));
    env.write(&format!("context/{path}"), content);
    let begun = Instant::now();
    let (changed, _, cached) = build(&env);
    eprintln!("{}: {first:.1?}, {steps} steps; again {again:.2?}; after a change {:.1?}", project.name, begun.elapsed());
    assert_ne!(changed, id);
    assert_eq!(steps - cached, project.anew, "steps that were built anew after {path} had changed");
    assert_eq!(runs(&env, project.run.0), expected);
    env.assert_store_is_clean();
}

#[test]
fn a_program_in_c_is_built_with_the_compiler_of_apt() {
    check(&Project {
        name: "c-program",
        run: (&["/usr/bin/greet", "image"], "hello, image (1)"),
        change: ("src/greeting.h", "#define GREETING \"good morning\"\n", "good morning, image (1)"),
        // COPY src, ARG, RUN make, and the four of the image.
        anew: 7,
        in_common: 0,
    });
}

#[test]
fn fourteen_stages_share_their_base() {
    check(&Project {
        name: "fourteen-stages",
        run: (&["cat", "/opt/all"], "a\nb\nc\na\nb\ndocs/guide.txt\ndocs/more/reference.txt"),
        change: ("docs/new.txt", "new", "a\nb\nc\na\nb\ndocs/guide.txt\ndocs/more/reference.txt\ndocs/new.txt"),
        anew: 6,
        in_common: 0,
    });
}

/// Starts the server, asks it for a page, and shows the lines of it that the template does not have.
const ASK_NGINX: &str = "nginx && exec 3<>/dev/tcp/127.0.0.1/28082 && printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' >&3
    tail -n 2 <&3 | head -n 1; nginx -s stop";

#[test]
#[ignore = "run by contrib/stress"]
fn a_site_is_made_and_served_by_nginx() {
    check(&Project {
        name: "nginx-site",
        run: (&["bash", "-c", ASK_NGINX], "welcome"),
        change: ("pages/index.txt", "changed\n", "changed"),
        // COPY pages, COPY template.html, RUN, and in the image COPY, EXPOSE, STOPSIGNAL, CMD.
        anew: 7,
        in_common: 0,
    });
}

#[test]
#[ignore = "run by contrib/stress"]
fn a_python_application_gets_its_packages_from_pip() {
    check(&Project {
        name: "python-pip",
        run: (&["/venv/bin/python3", "app.py"], "signed: text.YWyeKrZuL5bY0ckWsHkWtZ9YBUM"),
        change: ("app.py", "print('changed')\n", "changed"),
        anew: 4,
        in_common: 0,
    });
}

#[test]
#[ignore = "run by contrib/stress"]
fn a_program_for_node_gets_its_modules_from_npm() {
    check(&Project {
        name: "node-npm",
        run: (&["node", "index.js"], "two days: 172800000"),
        change: ("index.js", "console.log('changed');\n", "changed"),
        anew: 3,
        // WORKDIR.
        in_common: 1,
    });
}

#[test]
#[ignore = "run by contrib/stress"]
fn a_workspace_of_cargo_is_built_with_cache_mounts() {
    check(&Project {
        name: "rust-cargo",
        run: (&["app"], "built by cargo!"),
        change: (
            "words/src/lib.rs",
            "pub fn shout(text: &str) -> String { format!(\"{text}, again\") }\n",
            "built by cargo, again",
        ),
        anew: 4,
        in_common: 0,
    });
}
