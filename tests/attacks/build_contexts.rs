//! Build contexts (known attacks A04 to A07, A14, A20, A21, A91, A113): what lies in one, or in the address of one, leads nowhere else.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::harness::{TestEnv, binary};
use crate::paths::{Canary, SECRET};

/// What a build of `arguments` says, which must fail soon and tell nothing of the canary.
#[track_caller]
fn refusal(env: &TestEnv, arguments: &[&str], input: &[u8]) -> String {
    let begun = Instant::now();
    let mut command = env.command(&binary().to_string_lossy());
    command.arg("build").args(arguments);
    let output = env.output(command, input);
    let said = output.failure(125);
    assert!(begun.elapsed() < Duration::from_secs(30), "{arguments:?} took {:?}", begun.elapsed());
    assert!(!output.out().contains(SECRET) && !said.contains(SECRET), "{output}");
    said
}

/// An archive with members that `script` makes.
fn archive(env: &TestEnv, script: &str) -> Vec<u8> {
    let _ = fs::remove_dir_all(env.work().join("made"));
    env.shell(&format!("mkdir made && cd made && {script} && tar cf ../made.tar .")).success();
    fs::read(env.work().join("made.tar")).expect("the archive")
}

/// A04, A06: CVE-2026-44517.
#[test]
fn a_dockerfile_that_is_a_link_out_of_its_context_is_not_read() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    env.write("canary-dockerfile", format!("FROM scratch\n{SECRET}\n"));
    let target = env.work().join("canary-dockerfile").display().to_string();
    for link in [target.as_str(), "../canary-dockerfile", "../../../../../../../../etc/passwd", "/proc/self/environ"] {
        let bytes = archive(&env, &format!("ln -s {link} Dockerfile"));
        let said = refusal(&env, &["-"], &bytes);
        assert!(said.contains("leads out of the context"), "{link}: {said}");
        let said = refusal(&env, &["-f", "Dockerfile", "-"], &bytes);
        assert!(said.contains("leads out of the context"), "{link}: {said}");
        let directory = env.work().join("local");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).expect("a directory");
        symlink(link, directory.join("Dockerfile")).expect("a link");
        let said = refusal(&env, &["local"], b"");
        assert!(said.contains("leads out of the context"), "{link}: {said}");
    }
    // Names that climb.
    let bytes = archive(&env, "printf 'FROM scratch\\n' >Dockerfile");
    for name in ["../nosuch", "a/../../nosuch"] {
        let said = refusal(&env, &["-f", name, "-"], &bytes);
        assert!(said.contains("is not below the context"), "{name}: {said}");
    }
    canary.assert_untouched();
}

/// A06: what COPY takes of a context is what lies in it.
#[test]
fn a_link_out_of_a_context_brings_nothing_in() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    let secret = canary.path.join("secret").display().to_string();
    let dockerfile = "printf 'FROM scratch\\nCOPY . /\\n' >Dockerfile";
    let bytes = archive(&env, &format!("{dockerfile} && ln -s {secret} key"));
    let mut command = env.command(&binary().to_string_lossy());
    command.args(["build", "-q", "-o", "out", "-"]);
    env.output(command, &bytes).success();
    assert_eq!(fs::read_link(env.work().join("out/key")).expect("a link").display().to_string(), secret);
    for source in ["key", "dir/secret", "../canary/secret"] {
        let script = format!(
            "printf 'FROM scratch\\nCOPY {source} /k\\n' >Dockerfile && ln -s {secret} key && ln -s {} dir",
            canary.path.display()
        );
        refusal(&env, &["-"], &archive(&env, &script));
    }
    canary.assert_untouched();
}

/// A07: CVE-2022-4122.
#[test]
fn an_ignore_file_that_leads_out_is_refused_without_its_content() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    let secret = canary.path.join("secret").display().to_string();
    for name in [".containerignore", ".dockerignore", "Dockerfile.dockerignore"] {
        for target in [secret.as_str(), "../canary/secret", "/nosuch"] {
            let bytes = archive(&env, &format!("printf 'FROM scratch\\n' >Dockerfile && ln -s {target} {name}"));
            let said = refusal(&env, &["-"], &bytes);
            assert!(said.contains("reading ignore file") && said.contains(name), "{name} -> {target}: {said}");
            assert!(!said.contains("/var/tmp"), "{said}");
        }
    }
    canary.assert_untouched();
}

/// A14: nothing waits for the other end of a FIFO.
#[test]
fn what_is_no_regular_file_is_not_opened() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    for name in [".dockerignore", "Dockerfile.containerignore"] {
        env.shell(&format!("mkfifo ctx/{name}")).success();
        let said = refusal(&env, &["ctx"], b"");
        assert!(said.contains(name) && said.contains("not a regular file"), "{name}: {said}");
        fs::remove_file(env.work().join("ctx").join(name)).expect("the FIFO");
    }
    env.shell("mkfifo fifo ctx/Other").success();
    for arguments in
        [["--ignorefile", "fifo", "ctx"], ["-f", "fifo", "ctx"], ["-f", "Other", "ctx"], ["--secret", "id=a,src=fifo", "fifo"]]
    {
        refusal(&env, &arguments, b"");
    }
    for device in ["/dev/zero", "/dev/full"] {
        assert!(refusal(&env, &["-f", device, "ctx"], b"").contains("is not a regular file"), "{device}");
    }
}

/// A21, A14: hostile archives, whose members would be elsewhere, or take the place of what is ours.
#[test]
fn an_archive_whose_members_are_elsewhere_is_refused() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    env.shell("mkdir sub && printf 'FROM scratch\\n' >sub/Dockerfile && echo x >sub/x").success();
    for name in ["../canary/new", "a/../../canary/new", "../../../../../../tmp/coracle-new"] {
        env.shell(&format!("tar cPf evil.tar --transform 's,^sub/x,{name},' sub/x sub/Dockerfile")).success();
        let bytes = fs::read(env.work().join("evil.tar")).expect("the archive");
        let said = refusal(&env, &["-"], &bytes);
        assert!(said.contains("unpacking the context \"-\""), "{name}: {said}");
    }
    // Through a link of its own.
    env.shell(
        "ln -s ../canary sub/link && tar cPf evil.tar -C sub link && tar rPf evil.tar --transform 's,^sub/x,link/new,' sub/x",
    )
    .success();
    refusal(&env, &["evil.tar"], b"");
    assert!(!canary.path.join("new").exists());
    let truncated = &fs::read(env.work().join("evil.tar")).expect("the archive")[..700];
    refusal(&env, &["-"], truncated);
    canary.assert_untouched();
    assert_eq!(fs::read_dir(env.path("tmp")).expect("the directory").count(), 0, "something was left");
}

/// A05, A113, A116: addresses of repositories carry no options, commands or headers.
#[test]
fn addresses_of_repositories_are_no_options() {
    let env = TestEnv::new();
    for operand in [
        "https://h/a.git#--upload-pack=touch${IFS}pwned",
        "https://h/a.git#-x",
        "https://h/a.git#main:../..",
        "https://h/a.git#:/etc",
        "https://h/a.git?ref=--upload-pack%3Dx",
        "https://h/a.git?subdir=..%2F..",
        "https://h%0ahost=evil/a.git",
        "https://-oProxyCommand=x/a.git",
        "ssh://-oProxyCommand=touch%20pwned/a.git",
        "git://-oProxyCommand=x/a.git",
        "git@-oProxyCommand=x:a.git",
        "github.com/a/b#--upload-pack=x",
    ] {
        refusal(&env, &[operand], b"");
        refusal(&env, &["--build-context", &format!("x={operand}"), "."], b"");
    }
    assert!(!env.work().join("pwned").exists());
}

/// A91: what is secret in an address is in nothing that is printed.
#[test]
fn an_address_is_shown_without_what_is_secret_in_it() {
    let env = TestEnv::new();
    for operand in ["http://user:hunter2@127.0.0.1:1/x.tgz?token=hunter2", "http://user:hunter2@127.0.0.1:1/a.git#main"] {
        let said = refusal(&env, &["--retry", "0", operand], b"");
        assert!(!said.contains("hunter2") && said.contains("127.0.0.1:1"), "{said}");
    }
}

/// A20: a Dockerfile from elsewhere reads nothing of this machine.
#[test]
fn a_foreign_dockerfile_names_no_places_of_this_machine() {
    let env = TestEnv::new();
    let canary = Canary::new(&env);
    let include =
        archive(&env, &format!("printf 'FROM scratch\\n#include \"{}/secret\"\\n' >Dockerfile.in", canary.path.display()));
    assert!(refusal(&env, &["-f", "Dockerfile.in", "-"], &include).contains("it came from elsewhere"));
    env.busybox("busybox");
    env.ok(["push", "-q", "busybox", "oci:layout:1"]);
    let layout = env.work().join("layout").display().to_string();
    for (dockerfile, what) in [
        (format!("FROM oci:{layout}:1"), "FROM"),
        (format!("FROM dir:{layout}"), "FROM"),
        (format!("FROM docker-archive:{layout}"), "FROM"),
        ("FROM containers-storage:localhost/busybox".to_owned(), "FROM"),
        (format!("FROM scratch\\nCOPY --from=oci:{layout}:1 / /"), "COPY"),
    ] {
        let said = refusal(&env, &["-"], &archive(&env, &format!("printf '{dockerfile}\\n' >Dockerfile")));
        assert!(said.contains("only a Dockerfile of this machine may name"), "{what}: {said}");
    }
    canary.assert_untouched();
}
