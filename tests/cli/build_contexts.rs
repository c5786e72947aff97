//! `build`: where its context comes from. What a context has is seen in the files of the image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    // The beginning of a commit's name, too.
    assert_eq!(files(&env, &[&of(&format!("#{}:below", &commit[..9]))]), BOTH);
    // Its default branch, whatever that is called, with .git.
    let dockerfile = env.write("whole", "FROM scratch\nCOPY file .git/HEAD /\n");
    assert!(files(&env, &["-f", &dockerfile.to_string_lossy(), &of("")]).ends_with("file: later"));
    for (rest, words) in [
        ("#nosuch", "couldn't find remote ref"),
        ("#v1:nosuch", "o such file or directory"),
        ("?tag=v1&checksum=0123456789ab", "the server gave the commit"),
        ("?ref=v1&submodules=perhaps", "are true or false"),
        ("#0123456", "couldn't find remote ref 0123456"),
    ] {
        let said = refusal(&env, &[&of(rest)]);
        assert!(said.contains(words), "{rest}: {said}");
    }
    assert!(refusal(&env, &[&at("nosuch.tgz")]).contains("invalid response status 404"));
    assert_eq!(fs::read_dir(env.path("tmp")).expect("the directory").count(), 0);
}

/// `repos/outer.git` with `file` and the submodule `sub` (`repos/inner.git`, with `f` and a submodule of its own), all below `work`.
fn repositories(env: &TestEnv) {
    let script = "mkdir repos inner innermost outer && export GIT_CONFIG_COUNT=4 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always \
        GIT_CONFIG_KEY_1=user.name GIT_CONFIG_VALUE_1=n GIT_CONFIG_KEY_2=user.email GIT_CONFIG_VALUE_2=e@x \
        GIT_CONFIG_KEY_3=init.defaultBranch GIT_CONFIG_VALUE_3=trunk
        commit() { git add -A && git commit -qm \"$1\"; }
        (cd innermost && git init -q . && echo deep >g && commit one && git clone -q --bare . ../repos/innermost.git)
        (cd inner && git init -q . && echo inner >f && git submodule --quiet add ../repos/innermost.git deep &&
            git config -f .gitmodules submodule.deep.url ../innermost.git && commit one &&
            echo later >f && commit two && git reset -q --hard HEAD~ && git clone -q --bare . ../repos/inner.git)
        (cd outer && git init -q . && echo outer >file && printf 'FROM scratch\\nCOPY . /\\n' >Dockerfile &&
            git submodule --quiet add ../repos/inner.git sub && git config -f .gitmodules submodule.sub.url ../inner.git && commit one &&
            git tag v1 && echo later >file && commit two && git clone -q --bare . ../repos/outer.git)
        for r in repos/*; do git -C $r config uploadpack.allowAnySHA1InWant true; done; rm -rf inner innermost outer";
    env.shell(script).success();
}

/// What the image of `repos/outer.git` has but `.git` and its Dockerfile.
fn shown(env: &TestEnv, arguments: &[&str]) -> String {
    let all = files(env, arguments);
    let kept =
        |file: &&str| !file.contains(".git") && !file.contains("Dockerfile") && file.contains(": ") && !file.starts_with('#');
    all.split(", ").filter(kept).collect::<Vec<_>>().join(", ")
}

#[test]
fn submodules_of_a_repository_are_part_of_the_context() {
    if skip_without(&["git", "python3"]) {
        return;
    }
    let env = TestEnv::new();
    repositories(&env);
    let git = Git::start(&env);
    let of = |rest: &str| format!("http://127.0.0.1:{}/cgi-bin/git/outer.git{rest}", git.port);
    // Without .git, whose files are no text.
    assert_eq!(shown(&env, &[&of("?keep-git-dir=false")]), "file: later, sub/deep/g: deep, sub/f: inner");
    assert_eq!(shown(&env, &[&of("?ref=v1&keep-git-dir=0")]), "file: outer, sub/deep/g: deep, sub/f: inner");
    assert_eq!(shown(&env, &[&of("?submodules=false&keep-git-dir=false")]), "file: later");
    // ADD of a build takes them, too, and leaves .git out unless it is wanted.
    let add = |flags: &str| {
        let text = format!("FROM scratch\nADD {flags} {} /r/\n", of("#v1"));
        env.write("ctx/Dockerfile", text);
        shown(&env, &["ctx"])
    };
    assert_eq!(add(""), "r/file: outer, r/sub/deep/g: deep, r/sub/f: inner");
    let commit = env.shell("git -C repos/outer.git rev-parse v1").success();
    assert_eq!(add(&format!("--checksum={commit}")), "r/file: outer, r/sub/deep/g: deep, r/sub/f: inner");
    env.write("ctx/Dockerfile", format!("FROM scratch\nADD --checksum={} {} /r/\n", "0".repeat(40), of("#v1")));
    assert!(refusal(&env, &["ctx"]).contains("the server gave the commit"));
    env.write("ctx/Dockerfile", format!("FROM scratch\nADD --keep-git-dir {} /r/\nADD {} /s/\n", of(""), of("")));
    env.ok(["build", "-q", "-o", "kept", "ctx"]);
    let is_there = |path: &str| env.work().join("kept").join(path).exists();
    assert!(is_there("r/.git/HEAD") && is_there("r/sub/.git") && is_there("s/sub/deep/g"));
    assert!(!is_there("s/.git") && !is_there("s/sub/.git") && !is_there("s/sub/deep/.git"));
    assert_eq!(fs::read_dir(env.path("tmp")).expect("the directory").count(), 0);
}

/// A113, A114: a submodule is fetched by nothing but what its repository may be fetched by.
#[test]
fn an_argument_says_whether_a_repository_comes_with_its_history() {
    if skip_without(&["git", "python3"]) {
        return;
    }
    let env = TestEnv::new();
    repositories(&env);
    let git = Git::start(&env);
    let url = format!("http://127.0.0.1:{}/cgi-bin/git/outer.git", git.port);
    let has_history = |flags: &[&str], url: &str| {
        env.ok([&["build", "-q", "-o", "out"], flags, &[url]].concat());
        let out = env.work().join("out");
        let (is_there, has_file) = (out.join(".git/HEAD").exists(), out.join("file").exists());
        fs::remove_dir_all(&out).expect("the output");
        assert!(has_file);
        is_there
    };
    let argument = |value: &str| format!("--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR={value}");
    assert!(has_history(&[], &url));
    assert!(has_history(&[&argument("1")], &url));
    assert!(!has_history(&[&argument("0")], &url));
    // What the address says holds.
    assert!(has_history(&[&argument("0")], &format!("{url}?keep-git-dir=true")));
}

#[test]
fn a_submodule_at_a_place_of_this_machine_is_refused() {
    if skip_without(&["git", "python3"]) {
        return;
    }
    let env = TestEnv::new();
    repositories(&env);
    let git = Git::start(&env);
    let inner = env.work().join("repos/inner.git").display().to_string();
    for url in [inner.clone(), format!("file://{inner}"), "ext::sh -c touch% pwned".to_owned(), "ssh://localhost/x".to_owned()]
    {
        env.shell(&format!(
            "rm -rf evil repos/evil.git && git clone -q repos/outer.git evil && cd evil && git config -f .gitmodules submodule.sub.url '{url}' &&
             git -c user.name=n -c user.email=e@x commit -qam evil && git clone -q --bare . ../repos/evil.git"
        ))
        .success();
        let said = refusal(&env, &[&format!("http://127.0.0.1:{}/cgi-bin/git/evil.git", git.port)]);
        assert!(said.contains("not allowed") || said.contains("disallowed"), "{url}: {said}");
    }
    assert!(!env.work().join("pwned").exists());
    assert_eq!(fs::read_dir(env.path("tmp")).expect("the directory").count(), 0);
}

/// A server that ends with this value.
struct Server(Child);

impl Server {
    /// Starts it, and waits until it listens.
    fn start(mut command: Command, port: u16) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a server");
        let end = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

#[test]
fn a_repository_is_fetched_by_the_protocol_of_git() {
    if skip_without(&["git"]) {
        return;
    }
    let env = TestEnv::new();
    repositories(&env);
    let port = free_port();
    let mut command = env.command("git");
    let base = env.work().join("repos").display().to_string();
    command.args(["-c", "safe.directory=*", "daemon", "--export-all", "--listen=127.0.0.1", "--reuseaddr"]);
    let _server = Server::start(
        {
            command.args([&format!("--port={port}"), &format!("--base-path={base}")]);
            command
        },
        port,
    );
    let of = |rest: &str| format!("git://127.0.0.1:{port}/outer.git{rest}");
    assert_eq!(shown(&env, &[&of("?keep-git-dir=false")]), "file: later, sub/deep/g: deep, sub/f: inner");
    assert_eq!(shown(&env, &[&of("?tag=v1&keep-git-dir=false&submodules=0")]), "file: outer");
    // As a further context, and as a source of ADD.
    env.write("ctx/Dockerfile", format!("FROM scratch\nCOPY --from=r f /\nADD {} /added\n", of("#v1")));
    let inner = format!("r=git://127.0.0.1:{port}/inner.git");
    let want = "added/file: outer, added/sub/deep/g: deep, added/sub/f: inner, f: inner";
    assert_eq!(shown(&env, &["--build-context", &inner, "ctx"]), want);
    assert!(refusal(&env, &[&of("#nosuch")]).contains("couldn't find remote ref"));
}

/// A server that lets in whoever has `ssh/key`, and its port.
fn ssh_server(env: &TestEnv) -> (Server, u16) {
    let (port, work) = (free_port(), env.work().display().to_string());
    env.shell("mkdir -m 700 ssh ../home/.ssh && ssh-keygen -q -t ed25519 -N '' -f ssh/host && ssh-keygen -q -t ed25519 -N '' -f ssh/key").success();
    env.write(
        "ssh/config",
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {work}/ssh/host\nAuthorizedKeysFile {work}/ssh/key.pub\nStrictModes no\n\
             PidFile none\nPasswordAuthentication no\nUsePAM no\n"
        ),
    );
    let mut command = env.command("/usr/sbin/sshd");
    command.args(["-D", "-f", &format!("{work}/ssh/config")]);
    (Server::start(command, port), port)
}

/// The caller knows the server.
fn trust_ssh_server(env: &TestEnv, port: u16) {
    let script = format!("printf '[127.0.0.1]:{port} ' >../home/.ssh/known_hosts; cat ssh/host.pub >>../home/.ssh/known_hosts");
    env.shell(&script).success();
}

#[test]
fn a_repository_is_fetched_by_ssh_with_the_callers_keys_or_those_that_are_lent() {
    if skip_without(&["git", "ssh-keygen", "/usr/sbin/sshd"]) {
        return;
    }
    let env = TestEnv::new();
    repositories(&env);
    let (_server, port) = ssh_server(&env);
    let (user, work) = (env.shell("id -un").success(), env.work().display().to_string());
    let at = format!("ssh://{user}@127.0.0.1:{port}{work}/repos/outer.git");
    let context = format!("{at}?keep-git-dir=false");

    let said = refusal(&env, &[&context]);
    assert!(said.contains("Host key verification failed") && said.contains("hint: connect to the host once"), "{said}");
    trust_ssh_server(&env, port);
    let said = refusal(&env, &[&context]);
    assert!(said.contains("Permission denied (publickey"), "{said}");

    // A Dockerfile has no keys but those that the build lends.
    env.write("ctx/Dockerfile", format!("FROM scratch\nADD {at}#v1 /\n"));
    let said = refusal(&env, &["ctx"]);
    assert!(
        said.contains("only if the build lends them") && said.contains("hint: lend the agent's with --ssh default"),
        "{said}"
    );
    let want = "file: outer, sub/deep/g: deep, sub/f: inner";
    assert_eq!(shown(&env, &["--ssh", "default=ssh/key", "ctx"]), want);
    env.shell("cp ssh/key ../home/.ssh/id_ed25519").success();
    refusal(&env, &["ctx"]);
    assert_eq!(shown(&env, &[&context]), "file: later, sub/deep/g: deep, sub/f: inner");
    // With an alias of the caller's, as git takes it.
    env.write_home(".ssh/config", format!("Host alias\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n"));
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY --from=r . /\n");
    let named = format!("r=git@alias:{work}/repos/inner.git?keep-git-dir=0");
    let said = refusal(&env, &["--build-context", &named, "ctx"]);
    assert!(said.contains("Permission denied"), "there is no user git: {said}");
    let named = format!("r=ssh://alias{work}/repos/inner.git?keep-git-dir=0");
    assert_eq!(shown(&env, &["--build-context", &named, "ctx"]), "deep/g: deep, f: inner");
    assert_eq!(fs::read_dir(env.path("tmp")).expect("the directory").count(), 0);
}

#[test]
fn a_repository_is_added_with_the_keys_of_an_agent_that_is_lent() {
    if skip_without(&["git", "ssh-keygen", "ssh-agent", "ssh-add", "/usr/sbin/sshd"]) {
        return;
    }
    let mut env = TestEnv::new();
    repositories(&env);
    let (_server, port) = ssh_server(&env);
    trust_ssh_server(&env, port);
    let (user, work) = (env.shell("id -un").success(), env.work().display().to_string());
    let agent = |socket: &str| {
        let mut command = env.command("/usr/bin/ssh-agent");
        command.args(["-D", "-a", &format!("{work}/{socket}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("an agent");
        let end = Instant::now() + Duration::from_secs(10);
        while !env.work().join(socket).exists() {
            assert!(Instant::now() < end, "the agent does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Server(child)
    };
    let _agents = [agent("agent"), agent("empty")];
    env.shell("SSH_AUTH_SOCK=$PWD/agent ssh-add -q ssh/key && rm ssh/key").success();
    env.write("ctx/Dockerfile", format!("FROM scratch\nADD ssh://{user}@127.0.0.1:{port}{work}/repos/outer.git#v1 /\n"));
    let want = "file: outer, sub/deep/g: deep, sub/f: inner";
    let denied = "Permission denied (publickey";

    // What the caller's environment has is the build's only if the build says so.
    env.set("SSH_AUTH_SOCK", &format!("{work}/agent"));
    assert!(refusal(&env, &["ctx"]).contains("only if the build lends them"));
    assert!(refusal(&env, &["--ssh", "other=agent", "ctx"]).contains("only if the build lends them"));
    assert_eq!(shown(&env, &["--ssh", "default", "ctx"]), want);
    // One that is named counts, and no other.
    assert_eq!(shown(&env, &["--ssh", "default=agent", "ctx"]), want);
    assert!(refusal(&env, &["--ssh", "default=empty", "ctx"]).contains(denied));
    env.set("SSH_AUTH_SOCK", &format!("{work}/empty"));
    assert!(refusal(&env, &["--ssh", "default", "ctx"]).contains(denied));
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
fn a_stage_may_begin_with_the_files_of_a_further_context() {
    let env = TestEnv::new();
    context(&env);
    env.write("other/hidden", "h\n");
    env.write("other/shown", "s\n");
    env.write("other/.dockerignore", "hidden\n.docker*\n");
    env.shell("tar czf other.tgz -C ctx sub").success();
    env.write("of/file", "f\n");
    env.write("of/Containerfile", "FROM nctx AS one\nCOPY file /file\nFROM one\nLABEL a=b\n");
    for layers in ["--layers=false", "--layers", "--layers"] {
        let with = |context: &str| files(&env, &[layers, "--build-context", context, "of"]);
        assert_eq!(with("nctx=other"), "file: f, shown: s", "{layers}");
        assert_eq!(with("nctx=other.tgz"), "file: f, sub/deep/f: two", "{layers}");
    }
    // What changed there is seen.
    env.write("other/shown", "t\n");
    assert_eq!(files(&env, &["--layers", "--build-context", "nctx=other", "of"]), "file: f, shown: t");
    let told = env.ok(["build", "--layers", "--progress", "plain", "-t", "app", "--build-context", "nctx=other", "of"]);
    assert!(told.contains("STEP 1/3: FROM nctx AS one\n") && told.contains("STEP 2/3: COPY --from=nctx / /\n"), "{told}");
    assert_eq!(env.ok(["inspect", "--format", "{{.OCIv1.Config.Labels.a}}", "app"]), "b");
}

/// An image is the same however its name is completed.
#[test]
fn a_further_context_stands_for_an_image_by_any_form_of_its_name() {
    let env = TestEnv::new();
    env.write("ctx/f", "f\n");
    env.write("base/Containerfile", "FROM scratch\nCOPY f /from-context\n");
    env.write("base/f", "f\n");
    env.ok(["build", "-q", "-t", "base", "base"]);
    let forms = ["alpine", "alpine:latest", "library/alpine", "docker.io/library/alpine", "docker.io/alpine:latest"];
    for name in forms {
        for written in forms {
            env.write("of/Containerfile", format!("FROM {written}\nCOPY --from={written} / /copied\n"));
            let context = format!("{name}=docker-image://localhost/base");
            let arguments = ["--pull-never", "--build-context", &context, "of"];
            assert_eq!(files(&env, &arguments), "copied/from-context: f, from-context: f", "{name} {written}");
        }
    }
    // Another tag, another registry, and a name that is none of an image are others.
    for (name, written) in [("alpine", "alpine:3"), ("alpine", "localhost/alpine"), ("Alpine", "alpine")] {
        env.write("of/Containerfile", format!("FROM {written}\n"));
        let said = refusal(&env, &["--pull-never", "--build-context", &format!("{name}=docker-image://localhost/base"), "of"]);
        assert!(said.contains("image not known"), "{name} {written}: {said}");
    }
}

#[test]
fn an_image_of_a_layout_gets_no_name() {
    let env = TestEnv::new();
    env.write("ctx/file", "one\n");
    env.write("ctx/Containerfile", "FROM scratch\nCOPY file /\n");
    for archive in ["oci:layout:debian", "oci-archive:archive:debian", "docker-archive:saved:docker.io/library/debian:latest"] {
        env.ok(["build", "-q", "-t", archive, "ctx"]);
    }
    env.write("mine/Containerfile", "FROM scratch\nLABEL whose=mine\n");
    let mine = env.ok(["build", "-q", "-t", "docker.io/library/debian:latest", "mine"]);
    env.write("use/Containerfile", "FROM x\nCOPY --from=x file /f\nCOPY --from=x file /g\n");
    let image = |value: &str| {
        let built = env.run(["build", "--no-cache", "-t", "out", "--build-context", &format!("x={value}"), "use"]);
        built.success();
        let names = env.ok(["images", "--format", "{{.Name}}:{{.Tag}}"]);
        let mut names: Vec<&str> = names.lines().collect();
        names.sort();
        assert_eq!(names, ["docker.io/library/debian:latest", "localhost/out:latest"], "{value}");
        assert_eq!(
            env.ok(["images", "-q", "--no-trunc", "docker.io/library/debian:latest"]).trim_start_matches("sha256:"),
            mine
        );
        env.ok(["rmi", "out"]);
        built.err()
    };
    for value in [
        "oci-layout://layout:debian",
        "oci-layout://layout",
        "docker-image://oci-archive:archive",
        "docker-image://docker-archive:saved",
    ] {
        let said = image(value);
        // One copy is enough for three uses.
        assert_eq!(said.matches("Writing manifest to image destination").count(), 1, "{value}: {said}");
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
        ("file:///x", "no context comes by file://".to_owned()),
        ("git://127.0.0.1", "it names no repository".to_owned()),
        ("git@localhost:-x", "none of an address".to_owned()),
    ] {
        let said = refusal(&env, &[operand]);
        assert!(said.to_lowercase().contains(&words.to_lowercase()), "{operand}: {said}");
    }
    assert!(refusal(&env, &["ctx", "empty"]).contains("accepts at most 1 arg(s), received 2"));
}

/// Runs a script where `$SMALL` is a tmpfs of 4 MiB and 500 files, and `b CONTEXT…` a build that has its temporary files there: it must fail,
/// with one line that names the place and one that says what to do, and nothing stays there.
fn with_a_small_temp_dir(env: &mut TestEnv, script: &str) -> String {
    env.set("SMALL", &env.work().join("small").display().to_string());
    env.write(
        "small.sh",
        r#"mount -t tmpfs -o size=4m,nr_inodes=500 tmpfs "$SMALL"
        b() {
            if TMPDIR="$SMALL" coracle --root "$PWD/root" --runroot "$PWD/run" build -q "$@" >built 2>said; then echo "it went through: $*"; return; fi
            [ "$(grep -c ^Error: said)" = 1 ] && grep "^Error: .*\"$SMALL\"" said | grep -qi "no space left on device" &&
                grep -q "^hint: TMPDIR=DIRECTORY, .* than $SMALL" said && ! grep -q prune said || { echo "says for $*:"; cat said; }
            [ -z "$(ls -A "$SMALL")" ] || { echo "left by $*:"; ls -AR "$SMALL"; }
        }
        "#,
    );
    env.shell(&format!("mkdir \"$SMALL\"; unshare -Urm --map-auto sh -euc '. ./small.sh\n{script}'")).success()
}

#[test]
fn a_context_for_which_there_is_no_room_ends_in_one_error_and_leaves_nothing() {
    if skip_without(&["python3", "git"]) {
        return;
    }
    let mut env = TestEnv::new();
    context(&env);
    let git = Git::start(&env);
    // A small file that becomes large, one that has no end, and one of very many files.
    env.write(
        "endless.py",
        r#"import sys, tarfile, zlib
member = tarfile.TarInfo("big"); member.size = 1 << 40
squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
out = sys.stdout.buffer
out.write(squeeze.compress(member.tobuf()))
try:
    while True: out.write(squeeze.compress(bytes(1 << 20)))
except BrokenPipeError: sys.stderr.close()
"#,
    );
    env.shell(
        "truncate -s 64m ctx/big; tar czf bomb.tgz -C ctx .; rm ctx/big
        mkdir many; (cd many; seq 2000 | xargs touch); tar czf many.tgz -C ctx Containerfile -C ../many .
        mkdir repos && git init -q random && head -c 16m /dev/urandom >random/big && cd random && git add big &&
        git -c user.name=n -c user.email=e@x commit -qm one && git clone -q --bare . ../repos/random.git",
    )
    .success();
    let at = format!("http://127.0.0.1:{}", git.port);
    env.write("add/Dockerfile", format!("FROM scratch\nADD {at}/random/big /\n"));
    env.write("clone/Dockerfile", format!("FROM scratch\nADD {at}/cgi-bin/git/random.git /\n"));
    let script = format!(
        "b bomb.tgz; b - <bomb.tgz; b {at}/bomb.tgz; python3 endless.py | b -; b - <many.tgz; b --build-context x=bomb.tgz ctx
        b {at}/cgi-bin/git/random.git; b add; b clone; b --layers add"
    );
    assert_eq!(with_a_small_temp_dir(&mut env, &script), "");
}
