//! `add` and `copy` of addresses: files over http and https, and git repositories.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::harness::registry::{Answer, PROGRAM, Proxy, Registry, body, status};
use crate::harness::{TestEnv, skip_without};

const DATE: &str = "Last-Modified: Thu, 06 May 2021 07:08:09 GMT\r\n";

fn server() -> Proxy {
    Proxy::start(None, |head, _| match head.split(' ').nth(1).unwrap_or_default() {
        "/hello.txt" => body(DATE, "hello\n"),
        "/two" => body(DATE, "two"),
        "/undated" | "/" | "/dir/" => body("", "hi"),
        "/a%20b" => body("", "blank"),
        "/soon" => body("Last-Modified: soon\r\n", "hi"),
        "/zipped" => body("Content-Encoding: gzip\r\n", "hi"),
        "/away" => status("302 Found", "Location: /hello.txt\r\n"),
        "/file" => status("302 Found", "Location: file:///etc/passwd\r\n"),
        "/loop" => status("302 Found", "Location: /loop\r\n"),
        _ => status("404 Not Found", ""),
    })
}

/// Mode, owner, time and size of a file of the container.
fn stat(env: &TestEnv, container: &str, path: &str) -> String {
    let script = format!("m=$(coracle mount {container}); stat -c '%a %u:%g %Y %s' \"$m/{path}\"");
    env.ok(["unshare", "sh", "-euc", &script])
}

#[test]
fn a_file_at_an_address_is_roots_and_has_the_servers_time() {
    let (env, server) = (TestEnv::new(), server());
    let container = env.ok(["from", "scratch"]);
    let url = |path: &str| format!("http://{}{path}", server.host());
    // The digests are those of Buildah 1.28.2.
    let digest = "e298c5826d1b0e779aae8cd7a20e29af138a638fcaae747aca8e18fd009eb75f";
    assert_eq!(env.ok(["add", &container, &url("/hello.txt"), "/"]), digest);
    assert_eq!(env.ok(["add", &container, &url("/away"), "/renamed"]).len(), 64);
    assert_eq!(
        env.ok(["copy", &container, &url("/hello.txt"), "/copied"]),
        "6e9302cf07530ec068b5f49b4ac58008b76b695d3e217c3ddf381d9698c8968b"
    );
    let hello = url("/hello.txt");
    let owned = ["add", "--chown", "5:6", "--chmod", "751", "--add-history", &container, &hello, "/own/"];
    let digest = "514aa32f027bc4e3e2b0fc902d804eba3434cd907158225422cc60924476b0a4";
    assert_eq!(env.ok(owned), digest);
    let several = "cd7f67c1197b52302418aab968a08efa53d439567a462afe39e5f9694894e62f";
    assert_eq!(env.ok(["add", "--add-history", &container, &url("/hello.txt"), &url("/two"), "/two/"]), several);
    let history = env.ok(["inspect", "--format", "{{range .History}}{{.CreatedBy}};{{end}}", &container]);
    assert_eq!(history, format!("/bin/sh -c #(nop) ADD {digest};/bin/sh -c #(nop) ADD multi:{several};"));

    assert_eq!(stat(&env, &container, "hello.txt"), "600 0:0 1620284889 6");
    assert_eq!(stat(&env, &container, "own/hello.txt"), "751 5:6 1620284889 6");
    env.ok(["add", "-q", &container, &url("/undated"), &url("/dir/"), &url("/a b"), "/u/"]);
    assert_eq!(stat(&env, &container, "u/undated"), "600 0:0 0 2");
    assert_eq!(stat(&env, &container, "u/dir"), "600 0:0 0 2");
    assert_eq!(stat(&env, &container, "u/a b"), "600 0:0 0 5");
    env.ok(["add", "-q", "--timestamp", "77", &container, &url("/two"), "/t"]);
    assert_eq!(stat(&env, &container, "t"), "600 0:0 77 3");
    let file = env.write("local", "x");
    env.ok(["add", "-q", &container, &file.to_string_lossy(), &url("/two"), "/mixed/"]);
    assert_eq!(stat(&env, &container, "mixed/two"), "600 0:0 1620284889 3");
    env.ok(["add", "-q", "--link", &container, &url("/two"), "/linked/"]);
    env.ok(["commit", "-q", &container, "x"]);
    env.assert_store_is_clean();
}

#[test]
fn what_cannot_be_had_is_said_in_a_line_and_copies_nothing() {
    let (env, server) = (TestEnv::new(), server());
    let container = env.ok(["from", "scratch"]);
    let cases = [
        ("/missing", "invalid response status 404"),
        ("/", "the address has no name for a file"),
        ("/soon", "parsing last-modified time"),
        ("/zipped", "encoded as \"gzip\""),
        ("/file", "only http and https"),
        ("/loop", "too many redirects"),
    ];
    for (path, words) in cases {
        let url = format!("http://{}{path}", server.host());
        let good = format!("http://{}/two", server.host());
        let error = env.run(["add", "--retry", "0", &container, &good, &url, "/x/"]).failure(125);
        assert!(error.starts_with("Error: adding content to container \"working-container\": "), "{error}");
        assert!(error.contains(words) && error.lines().count() == 1, "{path}: {error}");
    }
    let error = env.run(["add", &container, "http://user:canary@127.0.0.1:1/x", "/x"]).failure(125);
    assert!(error.contains("connection refused") && !error.contains("canary"), "{error}");
    assert_eq!(env.ok(["diff", &container]), "");
    assert_eq!(fs::read_dir(env.path("tmp")).expect("a directory").count(), 0);
}

/// A112.
#[test]
fn a_checksum_decides_before_anything_is_copied() {
    let (env, server) = (TestEnv::new(), server());
    let container = env.ok(["from", "scratch"]);
    let url = format!("http://{}/hello.txt", server.host());
    let right = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let wrong = right.replace("5891", "5892");
    let error = env.run(["add", "--checksum", &wrong, &container, &url, "/x"]).failure(125);
    assert!(error.contains(&format!("unexpected response digest for \"{url}\": {right}, want {wrong}")), "{error}");
    for short in ["sha256:58", "md5:5891b5b522d5df086d0ff0b110fbd9d2", "5891"] {
        let error = env.run(["add", "--checksum", short, &container, &url, "/x"]).failure(125);
        assert!(error.contains("invalid checksum flag"), "{error}");
    }
    let file = env.write("local", "x");
    let error = env.run(["copy", "--checksum", right, &container, &url, &file.to_string_lossy(), "/x/"]).failure(125);
    assert!(error.contains("checksum flag is not supported for local sources"), "{error}");
    assert_eq!(env.ok(["diff", &container]), "");
    env.ok(["add", "-q", "--checksum", right, &container, &url, "/x"]);
    assert_eq!(stat(&env, &container, "x"), "600 0:0 1620284889 6");
}

/// A100, A112.
#[test]
fn credentials_stay_with_the_address_they_are_in() {
    let env = TestEnv::new();
    let evil = Proxy::start(None, |_, _| body("", "x"));
    let away = evil.host();
    let server = Proxy::start(None, move |_, _| status("302 Found", &format!("Location: http://{away}/x\r\n")));
    let login = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"dTpw\"}}}}}}", server.host());
    let file = env.write("auth.json", login);
    let container = env.ok(["from", "scratch"]);
    let (plain, with) = (format!("http://{}/x", server.host()), format!("http://u:secret@{}/x", server.host()));
    env.ok(["add", "-q", "--authfile", &file.to_string_lossy(), "--creds", "u:p", &container, &plain, "/x"]);
    assert!(!server.saw_credentials(), "credentials of registries: {:?}", server.seen());
    env.ok(["add", "-q", &container, &with, "/y"]);
    assert_eq!(server.count(&["authorization: Basic dTpzZWNyZXQ="]) + server.count(&["Authorization: Basic dTpzZWNyZXQ="]), 1);
    assert!(!evil.saw_credentials(), "{:?}", evil.seen());
}

#[test]
fn a_transfer_that_broke_off_goes_on_where_it_stopped() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let server = Proxy::start(None, |head, before| {
        let range = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: ").map(str::to_owned));
        let unlucky = "Accept-Ranges: bytes\r\nETag: \"1\"\r\n";
        match (head.split(' ').nth(1).unwrap_or_default(), before, range.as_deref()) {
            ("/resumed", 0, None) => Answer::Say(format!("HTTP/1.1 200 OK\r\n{unlucky}Content-Length: 10\r\n\r\nabcd")),
            ("/resumed", _, Some("bytes=4-")) if head.to_lowercase().contains("if-range: \"1\"") => {
                Answer::Say("HTTP/1.1 206 Part\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\nefghij".to_owned())
            }
            ("/changed", 0, None) => Answer::Say(format!("HTTP/1.1 200 OK\r\n{unlucky}Content-Length: 10\r\n\r\nabcd")),
            ("/changed", _, Some(_)) => body("", "new"),
            ("/without", 0, None) => Answer::Say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd".to_owned()),
            ("/without", _, None) => body("", "whole"),
            ("/busy", 0, None) => status("503 Busy", "Retry-After: 0\r\n"),
            ("/busy", _, None) => body("", "idle"),
            ("/never", _, _) => Answer::Say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd".to_owned()),
            ("/chunks", ..) => Answer::Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned()),
            _ => status("400 What", ""),
        }
    });
    for (name, size) in [("resumed", 10), ("changed", 3), ("without", 5), ("busy", 4)] {
        let url = format!("http://{}/{name}", server.host());
        env.ok(["add", "-q", "--retry-delay", "10ms", &container, &url, "/"]);
        assert_eq!(stat(&env, &container, name), format!("600 0:0 0 {size}"), "{name}");
    }
    for name in ["never", "chunks"] {
        let url = format!("http://{}/{name}", server.host());
        let error = env.run(["add", "--retry", "2", "--retry-delay", "10ms", &container, &url, "/n/"]).failure(125);
        assert!(error.contains(&format!("reading \"{url}\": ")) && error.lines().count() == 1, "{error}");
    }
    assert_eq!(server.count(&["GET /never "]), 3);
    assert!(!env.ok(["diff", &container]).contains("/n"));
}

#[test]
fn a_server_of_ones_own_authority_is_trusted_where_that_is_said() {
    if skip_without(&[PROGRAM, "openssl"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::with_tls());
    let container = env.ok(["from", "scratch"]);
    let url = format!("https://{}/v2/", registry.host());
    let error = env.run(["add", "--retry", "0", &container, &url, "/x"]).failure(125);
    assert!(error.contains("certificate signed by unknown authority"), "{error}");
    let certs = env.work().join("certs");
    fs::create_dir(&certs).expect("a directory");
    fs::copy(registry.authority(), certs.join("ca.crt")).expect("copied");
    env.ok(["add", "-q", "--cert-dir", &certs.to_string_lossy(), &container, &url, "/verified"]);
    env.ok(["add", "-q", "--tls-verify=false", &container, &url, "/unverified"]);
    assert_eq!(stat(&env, &container, "verified"), stat(&env, &container, "unverified"));
}

/// Python's web server on the working directory, with git's own program behind `/cgi-bin/git` for what is in `repos`.
pub(super) struct Git {
    child: Child,
    pub(super) port: u16,
}

impl Git {
    pub(super) fn start(env: &TestEnv) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its port").port();
        drop(listener);
        let root = env.work();
        let script = format!(
            "#!/bin/sh\nexport GIT_PROJECT_ROOT={0}/repos GIT_HTTP_EXPORT_ALL=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory \
             GIT_CONFIG_VALUE_0='*'\nexec git http-backend\n",
            root.display()
        );
        fs::create_dir_all(root.join("cgi-bin")).expect("a directory");
        fs::write(root.join("cgi-bin/git"), script).expect("a script");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(root.join("cgi-bin/git"), executable).expect("its mode");
        let mut command = env.command("python3");
        command.args(["-m", "http.server", "--cgi", "--bind", "127.0.0.1", &port.to_string()]).current_dir(&root);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("python3");
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end && std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, port }
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A04, A05, A113, A114.
#[test]
fn a_repository_is_fetched_without_what_it_would_start() {
    if skip_without(&["git", "python3"]) {
        return;
    }
    let env = TestEnv::new();
    let script = "mkdir -p repos src && cd src && git init -q -b main . && git config user.name n && git config user.email e@x
        mkdir -p sub/deep && echo top >top && echo deep >sub/deep/file && ln -s /etc out && ln -s sub inside
        printf '* filter=evil\n' >.gitattributes
        printf '[submodule \"x\"]\n\tpath = x\n\turl = ../x\n' >.gitmodules
        git add -A && git commit -qm one && git tag v1 && echo more >top && git commit -qam two && git rev-parse v1
        git clone -q --bare . ../repos/r.git && printf '\tupdate = !touch pwned\n' >>.gitmodules && git commit -qam three && git tag evil
        git push -q ../repos/r.git evil && git -C ../repos/r.git config uploadpack.allowAnySHA1InWant true";
    let commit = env.shell(script).success();
    let git = Git::start(&env);
    let url = |rest: &str| format!("http://127.0.0.1:{}/cgi-bin/git/r.git{rest}", git.port);
    let container = env.ok(["from", "scratch"]);
    env.ok(["add", "-q", "--keep-git-dir", &container, &url(""), "/head"]);
    env.ok(["add", "-q", &container, &url("#v1"), "/v1/"]);
    env.ok(["add", "-q", &container, &url(&format!("#{commit}:sub")), "/sub"]);
    env.ok(["add", "-q", "--chown", "5:6", &container, &url("#main:inside"), "/inside"]);
    for (path, size) in [("head/top", 5), ("v1/top", 4), ("sub/deep/file", 5), ("inside/deep/file", 5), ("head/.git/HEAD", 41)]
    {
        let found = stat(&env, &container, path);
        assert!(found.ends_with(&format!(" {size}")), "{path}: {found}");
    }
    assert!(stat(&env, &container, "inside/deep/file").contains(" 5:6 "));
    assert_eq!(env.ok(["diff", &container]).lines().filter(|line| line.ends_with("/v1/.git")).count(), 0);
    let other = "0".repeat(40);
    for (checksum, status) in [(&commit, 0), (&commit[..12].to_owned(), 0), (&other, 125), (&format!("sha256:{other}"), 125)] {
        let output = env.run(["add", "-q", "--checksum", checksum, &container, &url("#v1"), "/checked/"]);
        if status == 0 {
            output.success()
        } else {
            output.failure(status)
        };
    }
    for (rest, words) in [
        ("#main:../..", "below the top"),
        ("#main:/etc", "below the top"),
        ("#--upload-pack=x", "no branch, tag or commit"),
        ("#main:out", "the directory \"out\""),
        ("#nosuch", "cloning "),
        ("#evil", "disallowed submodule update"),
    ] {
        let error = env.run(["add", &container, &url(rest), "/no"]).failure(125);
        assert!(error.contains(words) && error.lines().count() == 1, "{rest}: {error}");
    }
    assert_eq!(fs::read_dir(env.path("tmp")).expect("a directory").count(), 0, "nothing is left behind");
    assert!(!env.work().join("pwned").exists());
}

/// A116, A118, A119: credentials go nowhere else, the caller's settings of git do not count, and a branch is no commit.
#[test]
fn a_repository_is_asked_at_its_own_address_by_our_settings_alone() {
    if skip_without(&["git", "python3"]) {
        return;
    }
    let mut env = TestEnv::new();
    let script = "mkdir -p repos src && cd src && git init -q -b main . && git config user.name n && git config user.email e@x
        echo one >file && git add file && git commit -qm one && git rev-parse HEAD && echo second >file && git commit -qam two
        git clone -q --bare . ../repos/r.git && cd ../repos/r.git && git config uploadpack.allowAnySHA1InWant true
        git rev-parse main >refs/heads/$(git rev-parse main~); git rev-parse main >refs/heads/$(printf %040d 7)";
    let commit = env.shell(script).success();
    let git = Git::start(&env);
    let url = |rest: &str| format!("http://127.0.0.1:{}/cgi-bin/git/r.git{rest}", git.port);
    let (evil, trace) = (Proxy::evil(), env.work().join("trace"));
    let settings = format!(
        "[url \"http://{}/\"]\n\tinsteadOf = http://127.0.0.1:{}/\n[core]\n\tfsmonitor = touch pwned\n",
        evil.host(),
        git.port
    );
    env.write_home(".gitconfig", settings);
    for (name, value) in [
        ("GIT_DIR", "/nowhere"),
        ("GIT_TRACE", &*trace.to_string_lossy()),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "core.sshCommand"),
        ("GIT_CONFIG_VALUE_0", "touch pwned"),
        ("GIT_PROXY_COMMAND", "touch pwned"),
    ] {
        env.set(name, value);
    }
    let container = env.ok(["from", "scratch"]);
    env.ok(["add", "-q", &container, &url(""), "/head"]);
    env.ok(["add", "-q", &container, &url(&format!("#{commit}")), "/commit"]);
    assert!(stat(&env, &container, "head/file").ends_with(" 7") && stat(&env, &container, "commit/file").ends_with(" 4"));
    let error = env.run(["add", &container, &url(&format!("#{:040}", 7)), "/no"]).failure(125);
    assert!(error.lines().count() == 1, "{error}");
    assert!(evil.seen().is_empty() && !trace.exists() && !env.work().join("pwned").exists());

    let away = evil.host();
    let server = Proxy::start(None, move |_, _| status("302 Found", &format!("Location: http://{away}/r.git/info/refs\r\n")));
    let error = env.run(["add", &container, &format!("http://u:canary@{}/r.git", server.host()), "/no"]).failure(125);
    assert!(!error.contains("canary") && error.lines().count() == 1, "{error}");
    assert!(server.saw_credentials() && evil.seen().is_empty(), "{:?}", evil.seen());
    for url in ["http://h%0ahost=evil/r.git", "http://h%0d/r.git", "http://h%00/r.git"] {
        env.run(["add", &container, url, "/no"]).failure(125);
    }
}
