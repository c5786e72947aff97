//! `build`: flags of ADD, COPY and RUN that need a repository, a server or a device.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::build_mounts::{build, env};
use crate::harness::{TestEnv, skip_without};
use crate::urls::Git;

/// What a script prints in a container of the image.
#[track_caller]
fn inside(env: &TestEnv, script: &str) -> String {
    let container = env.ok(["from", "--pull-never", "app"]);
    let said = env.inside(&container, script);
    env.ok(["rm", &container]);
    said
}

#[test]
fn a_repository_comes_with_its_history_only_when_asked_for() {
    if skip_without(&["git", "python3"]) {
        return;
    }
    let env = env();
    let script = "mkdir -p repos src; cd src; git init -q -b main .; git config user.name n; git config user.email e@x
        mkdir sub; echo top >top; echo deep >sub/f; git add -A; git commit -qm one; git tag v1; git clone -q --bare . ../repos/r.git
        git rev-parse HEAD";
    let commit = env.shell(script).success();
    let git = Git::start(&env);
    let url = format!("http://127.0.0.1:{}/cgi-bin/git/r.git", git.port);
    let lines = format!(
        "ADD {url} /plain\nADD --keep-git-dir {url}#v1 /kept\nADD --keep-git-dir=false {url}#main:sub /below\n\
         ADD --checksum={commit} --chown=5:6 --chmod=go=u-w {url}#v1 /checked\n"
    );
    for kind in ["--layers=false", "--layers"] {
        build(&env, &[kind], &lines).success();
        let said =
            inside(&env, "ls -A /plain /below; cat /kept/.git/HEAD /kept/top; stat -c '%a %u:%g' /checked/top /checked/sub");
        let expected = format!("/below:\nf\n\n/plain:\nsub\ntop\n{commit}\ntop\n644 5:6\n755 5:6");
        assert_eq!(said, expected, "{kind}");
    }
    // Only what a checksum names is known to be the same.
    let checked = format!("ADD --checksum={commit} {url}#v1 /checked\n");
    build(&env, &["--layers"], &checked).success();
    let again = build(&env, &["--layers"], &format!("{checked}ADD {url} /plain\n")).success();
    assert_eq!(again.matches("--> Using cache ").count(), 1, "{again}");
    let wrong = format!("ADD --checksum={} {url}#v1 /x", "0".repeat(40));
    let said = build(&env, &[], &wrong).failure(125);
    assert!(said.contains("Dockerfile:2") && said.contains(&commit), "{said}");
    env.assert_store_is_clean();
}

#[test]
fn a_repository_is_had_at_a_commit_and_with_its_time() {
    if skip_without(&["git", "python3"]) {
        return;
    }
    let env = env();
    let script = "mkdir -p repos src; cd src; git init -q -b main .; git config user.name n; git config user.email e@x
        mkdir sub; echo one >top; echo one >sub/f; ln -s top link; git add -A
        GIT_COMMITTER_DATE='1600000000 +0000' git commit -qm one; git rev-parse HEAD
        echo two >top; git commit -qam two; git clone -q --bare . ../repos/r.git";
    let first = env.shell(script).success();
    let git = Git::start(&env);
    let url = format!("http://127.0.0.1:{}/cgi-bin/git/r.git", git.port);
    let lines = format!(
        "ADD {url}?mtime=checkout /now\nADD {url}?checksum={first} /first\nADD {url}?commit={}&mtime=commit /dated\n\
         ADD --keep-git-dir {url}?branch=refs/heads/main&commit={first}&fetch-by-commit=true /by-commit\n",
        &first[..10],
    );
    build(&env, &[], &lines).success();
    let said = inside(
        &env,
        "cat /now/top /first/top /dated/top /by-commit/top; cat /by-commit/.git/HEAD; cd /dated; stat -c %Y top sub sub/f link",
    );
    assert_eq!(said, format!("two\none\none\none\n{first}{}", "\n1600000000".repeat(4)));
    for (query, words) in [
        (format!("branch=main&commit={first}"), "want"),
        ("fetch-by-commit=true".to_owned(), "fetch-by-commit needs the commit"),
        ("mtime=now".to_owned(), "mtime is checkout or commit"),
        ("depth=1".to_owned(), "its query may have"),
    ] {
        let said = build(&env, &[], &format!("ADD {url}?{query} /x")).failure(125);
        assert!(said.contains(words), "{query}: {said}");
    }
}

/// A server of the directory `site`.
struct Site(Child, u16);

impl Site {
    fn start(env: &TestEnv) -> Self {
        let mut command = env.command("python3");
        command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "--directory", "site"]);
        let child = command.stdout(std::fs::File::create(env.work().join("log")).expect("a log")).stderr(Stdio::null());
        let mut site = Self(child.spawn().expect("python3"), 0);
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let log = std::fs::read_to_string(env.work().join("log")).unwrap_or_default();
            if let Some(port) = log.split("port ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()) {
                site.1 = port;
                return site;
            }
            assert!(Instant::now() < end, "no server: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_server_gives_is_unpacked_checked_and_owned_as_the_flags_say() {
    if skip_without(&["python3"]) {
        return;
    }
    let env = env();
    env.write("site/f", "from the server\n");
    env.shell("mkdir t; echo in >t/in; tar -C t --owner=7 --group=8 -czf site/a.tar.gz in; cp site/a.tar.gz ctx-a.tar.gz")
        .success();
    let digest = |name: &str| env.shell(&format!("sha256sum {name} | cut -d' ' -f1")).success();
    let site = Site::start(&env);
    let at = format!("http://127.0.0.1:{}", site.1);
    let (file, archive) = (digest("site/f"), digest("site/a.tar.gz"));
    let lines = format!(
        "ADD --checksum=sha256:{file} {at}/f /f\nADD {at}/a.tar.gz /packed/\nADD --unpack {at}/a.tar.gz /unpacked/\n\
         ADD --unpack=true --checksum=sha256:{archive} --chown=1:2 {at}/a.tar.gz /owned/\nADD --chmod=u=rwx,go= {at}/f /mode\n"
    );
    for kind in ["--layers=false", "--layers"] {
        build(&env, &[kind], &lines).success();
        let said = inside(
            &env,
            "cat /f /unpacked/in; ls /packed; stat -c '%a %u:%g' /f /unpacked/in /owned/in /mode; cmp /mode /f && echo same",
        );
        let expected = "from the server\nin\na.tar.gz\n600 0:0\n644 7:8\n644 1:2\n700 0:0\nsame";
        assert_eq!(said, expected, "{kind}");
    }
    let wrong = format!("ADD --checksum=sha256:{archive} {at}/f /f");
    let said = build(&env, &[], &wrong).failure(125);
    assert!(said.contains("Dockerfile:2") && said.contains(&file) && said.contains(&archive), "{said}");
    // Only what a checksum names is known to be the same; everything else is fetched again.
    let lines = format!("ADD --checksum=sha256:{file} {at}/f /f\nADD {at}/f /g\nRUN cat /g\n");
    build(&env, &["--layers"], &lines).success();
    env.write("site/f", "changed\n");
    let said = build(&env, &["--layers"], &lines).success();
    assert!(said.matches("--> Using cache ").count() == 1 && said.contains("\nchanged\n"), "{said}");
    env.assert_store_is_clean();
}

/// BuildKit's devices are names of the CDI; ours are files of the machine.
#[test]
fn a_device_is_there_for_its_command_only() {
    let env = env();
    let lines = "RUN --device=/dev/zero:/dev/mine:r head -c 3 /dev/mine | wc -c; test -c /dev/mine\n\
                 RUN test ! -e /dev/mine && echo gone\n";
    for kind in ["--layers=false", "--layers"] {
        let said = build(&env, &[kind], lines).success();
        assert!(said.contains("\n3\n") && said.contains("\ngone\n"), "{said}");
    }
    let cdi = "CDI device \"vendor.com/class=x\" is not part of coracle";
    for (flag, words) in [("--device=/dev/nosuch", "/dev/nosuch"), ("--device=vendor.com/class=x", cdi)] {
        let said = build(&env, &[], &format!("RUN {flag} true")).failure(125);
        assert!(said.contains(words) && said.contains("Dockerfile:2"), "{flag}: {said}");
    }
    env.assert_store_is_clean();
}

/// What the build says for all commands, and what a command says for itself.
#[test]
fn a_command_has_the_network_that_it_asks_for() {
    let env = env();
    let links = "ls /sys/class/net | tr '\\n' ' '";
    let here = env.shell(links).success();
    let lines = format!(
        "RUN echo \"a: $({links})\"\nRUN --network=none echo \"b: $({links})\"\nRUN --network=host echo \"c: $({links})\"\n\
         RUN --network=default echo \"d: $({links})\""
    );
    let said = build(&env, &[], &lines).success();
    for expected in [format!("a: {here}"), "b: lo ".to_owned(), format!("c: {here}"), format!("d: {here}")] {
        assert!(said.contains(&format!("\n{expected}\n")), "{expected}: {said}");
    }
    let said = build(&env, &["--network", "none"], &lines).success();
    for expected in ["a: lo ".to_owned(), "b: lo ".to_owned(), format!("c: {here}"), "d: lo ".to_owned()] {
        assert!(said.contains(&format!("\n{expected}\n")), "{expected}: {said}");
    }
}
