//! `build`: where its context comes from. What a context has is seen in the files of the image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::harness::{TestEnv, skip_without};
use crate::urls::Git;

/// The files that a build with these arguments makes, each with what it says.
#[track_caller]
fn files(env: &TestEnv, arguments: &[&str]) -> String {
    files_of(env, arguments, b"")
}

/// The same with `input` on standard input.
#[track_caller]
fn files_of(env: &TestEnv, arguments: &[&str], input: &[u8]) -> String {
    let out = env.work().join("out");
    let mut command = env.command(&crate::harness::binary().to_string_lossy());
    command.args(["build", "-q", "-o", "out"]).args(arguments);
    env.output(command, input).success();
    let mut found = Vec::new();
    let mut waiting = vec![out.clone()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).expect("the output").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            let name = path.strip_prefix(&out).expect("a name").display().to_string();
            match entry.file_type().expect("its type") {
                kind if kind.is_dir() => waiting.push(path),
                kind if kind.is_symlink() => {
                    found.push(format!("{name} -> {}", fs::read_link(&path).expect("a link").display()))
                }
                _ => found.push(format!("{name}: {}", fs::read_to_string(&path).expect("a file").trim_end())),
            }
        }
    }
    fs::remove_dir_all(&out).expect("the output");
    found.sort();
    found.join(", ")
}

/// What a build says that must fail.
#[track_caller]
fn refusal(env: &TestEnv, arguments: &[&str]) -> String {
    env.run(["build"].iter().chain(arguments)).failure(125)
}

fn context(env: &TestEnv) -> PathBuf {
    env.write("ctx/Containerfile", "FROM scratch\nCOPY file sub /\n");
    env.write("ctx/file", "one\n");
    env.write("ctx/sub/deep/f", "two\n");
    env.work().join("ctx")
}

const BOTH: &str = "deep/f: two, file: one";

#[test]
fn a_directory_or_a_dockerfile_in_one_is_a_context() {
    let env = TestEnv::new();
    let directory = context(&env);
    assert_eq!(files(&env, &["ctx"]), BOTH);
    assert_eq!(files(&env, &[&directory.to_string_lossy()]), BOTH);
    symlink("ctx", env.work().join("link")).expect("a link");
    assert_eq!(files(&env, &["link/"]), BOTH);
    // The file is the Dockerfile, and what is beside it the context.
    env.write("ctx/Other", "FROM scratch\nCOPY sub /\n");
    assert_eq!(files(&env, &["ctx/Other"]), "deep/f: two");
    // Without an operand it is the working directory, wherever the file is.
    env.write("here", "h\n");
    env.write("ctx/Here", "FROM scratch\nCOPY here /\n");
    assert_eq!(files(&env, &["-f", "ctx/Here"]), "here: h");
}

#[test]
fn an_archive_is_a_context_however_it_is_compressed() {
    let env = TestEnv::new();
    context(&env);
    let script = "tar cf plain.tar -C ctx . && gzip -k plain.tar && bzip2 -k plain.tar && xz -k plain.tar && zstd -q plain.tar";
    env.shell(script).success();
    for name in ["plain.tar", "plain.tar.gz", "plain.tar.bz2", "plain.tar.xz", "plain.tar.zst"] {
        assert_eq!(files(&env, &[name]), BOTH, "{name}");
        let bytes = fs::read(env.work().join(name)).expect("the archive");
        assert_eq!(files_of(&env, &["-"], &bytes), BOTH, "{name} on standard input");
    }
    // What was unpacked is gone again.
    assert_eq!(fs::read_dir(env.path("tmp")).expect("the directory").count(), 0);
}

#[test]
fn a_dockerfile_on_standard_input_has_an_empty_context() {
    let env = TestEnv::new();
    context(&env);
    assert_eq!(files_of(&env, &["-"], b"FROM scratch\nCOPY <<x /\nhi\nx\n"), "x: hi");
    let failed = env.output(
        {
            let mut command = env.command(&crate::harness::binary().to_string_lossy());
            command.args(["build", "-"]);
            command
        },
        b"FROM scratch\nCOPY file /\n",
    );
    let said = failed.failure(125);
    assert!(said.contains("no such file or directory"), "{said}");
    // With -f - the context is that of the operand.
    assert_eq!(files_of(&env, &["-f", "-", "ctx"], b"FROM scratch\nCOPY file /\n"), "file: one");
    let both = refusal(&env, &["-f", "-", "-"]);
    assert!(both.contains("cannot both come over standard input"), "{both}");
}

#[test]
fn an_address_has_an_archive_or_a_dockerfile_or_a_repository() {
    if skip_without(&["git", "python3"]) {
        return;
    }
    let env = TestEnv::new();
    context(&env);
    env.write("remote", "FROM scratch\nLABEL a=b\n");
    let script = "mkdir repos && tar czf ctx.tgz -C ctx . && cd ctx && mkdir below && mv sub below/sub && cp Containerfile file below/ &&
        git init -q -b trunk . && git config user.name n && git config user.email e@x && git add -A && git commit -qm one && git tag v1 &&
        echo later >file && git commit -qam two && git rev-parse v1 && git clone -q --bare . ../repos/r.git";
    let commit = env.shell(script).success();
    let git = Git::start(&env);
    let at = |rest: &str| format!("http://127.0.0.1:{}/{rest}", git.port);
    assert_eq!(files(&env, &[&at("ctx.tgz")]), BOTH);
    assert_eq!(files(&env, &[&at("remote")]), "");
    // As a Dockerfile of another context, too.
    assert_eq!(files(&env, &["-f", &at("ctx/below/Containerfile"), &at("ctx.tgz")]), BOTH);
    let of = |rest: &str| at(&format!("cgi-bin/git/r.git{rest}"));
    assert_eq!(files(&env, &[&of("#v1:below")]), BOTH);
    assert_eq!(files(&env, &[&of("?ref=v1&subdir=below")]), BOTH);
    assert_eq!(files(&env, &[&of(&format!("?tag=v1&subdir=below&checksum={}", &commit[..12]))]), BOTH);
    // Its default branch, whatever that is called, with .git.
    let dockerfile = env.write("whole", "FROM scratch\nCOPY file .git/HEAD /\n");
    assert!(files(&env, &["-f", &dockerfile.to_string_lossy(), &of("")]).ends_with("file: later"));
    for (rest, words) in [
        ("#nosuch", "couldn't find remote ref"),
        ("#v1:nosuch", "No such file or directory"),
        ("?tag=v1&checksum=0123456789ab", "the server gave the commit"),
        ("?ref=v1&submodules=true", "submodules are not fetched"),
    ] {
        let said = refusal(&env, &[&of(rest)]);
        assert!(said.contains(words), "{rest}: {said}");
    }
    assert!(refusal(&env, &[&at("nosuch.tgz")]).contains("invalid response status 404"));
    assert_eq!(fs::read_dir(env.path("tmp")).expect("the directory").count(), 0);
}

#[test]
fn further_contexts_have_names() {
    let env = TestEnv::new();
    context(&env);
    env.write("other/hidden", "h\n");
    env.write("other/shown", "s\n");
    env.write("other/.dockerignore", "hidden\n.docker*\n");
    env.shell("tar czf other.tgz -C ctx sub").success();
    env.write("ctx/Containerfile", "FROM scratch\nCOPY --from=other . /\n");
    assert_eq!(files(&env, &["--build-context", "other=other", "ctx"]), "shown: s");
    assert_eq!(files(&env, &["--build-context", "other=other.tgz", "ctx"]), "sub/deep/f: two");
    // The last of a name holds.
    assert_eq!(files(&env, &["--build-context", "other=nosuch", "--build-context", "other=other", "ctx"]), "shown: s");
    env.ok(["build", "-q", "-t", "base", "--build-context", "other=other", "ctx"]);
    env.ok(["push", "-q", "base", "oci:layout:1"]);
    env.write("of/Containerfile", "FROM base\nCOPY --from=image shown /copy\n");
    let image = ["--build-context", "base=scratchless", "--build-context", "image=docker-image://localhost/base", "of"];
    assert!(refusal(&env, &image).contains("scratchless"), "a path that is not there");
    let digest = env.shell("sed 's/.*\"digest\":\"\\([^\"]*\\)\".*/\\1/' layout/index.json").success();
    for layout in
        ["oci-layout://layout:1".to_owned(), "oci-layout://layout".to_owned(), format!("oci-layout://layout@{digest}")]
    {
        let arguments = ["--build-context", &format!("image={layout}"), "of"];
        assert_eq!(files(&env, &arguments), "copy: s, shown: s", "{layout}");
    }
    for (value, words) in [
        ("x", "while parsing additional build context: [\"x\"], accepts value in the form of key=value"),
        ("=x", "accepts value in the form of key=value"),
        ("a=", "accepts value in the form of key=value"),
        ("a=ctx/file", "neither a directory nor an archive"),
        ("a=nosuch", "additional build context \"a\""),
        ("a=target:x", "bake files"),
        ("a=oci-layout://layout@sha256:00", "has no image"),
    ] {
        let said = refusal(&env, &["--build-context", value, "ctx"]);
        assert!(said.contains(words), "{value}: {said}");
    }
}

#[test]
fn what_is_no_context_is_refused_by_name() {
    let env = TestEnv::new();
    context(&env);
    env.write("empty/x", "");
    nix::unistd::mkfifo(&env.work().join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("a FIFO");
    let work = env.work();
    for (operand, words) in [
        ("nosuch", format!("discovering Containerfile: stat {}/nosuch: no such file or directory", work.display())),
        (
            "empty",
            format!("cannot find Containerfile or Dockerfile in context directory: stat {}/empty/Dockerfile", work.display()),
        ),
        ("fifo", "neither a directory nor a regular file".to_owned()),
        ("git://127.0.0.1/x.git", "no context comes by git://".to_owned()),
        ("git@localhost:x.git", "no context comes by git@".to_owned()),
    ] {
        let said = refusal(&env, &[operand]);
        assert!(said.to_lowercase().contains(&words.to_lowercase()), "{operand}: {said}");
    }
    assert!(refusal(&env, &["ctx", "empty"]).contains("accepts at most 1 arg(s), received 2"));
}
