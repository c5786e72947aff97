//! Ways out by way of a proxy: Debian's tinyproxy between us and servers that cannot be asked otherwise.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::registry::{Proxy, Registry, body};
use crate::harness::{TestEnv, skip_without};

const PROGRAM: &str = "tinyproxy";

/// A proxy that ends with this value.
struct Tinyproxy {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Tinyproxy {
    fn start(settings: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("coracle-proxy").tempdir_in("/var/tmp").expect("a directory");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a port").port();
        let log = dir.path().join("log");
        let text =
            format!("Port {port}\nListen 127.0.0.1\nTimeout 20\nLogFile \"{}\"\nLogLevel Connect\n{settings}", log.display());
        fs::write(dir.path().join("conf"), text).expect("a file");
        let mut command = Command::new(PROGRAM);
        command.args(["-d", "-c"]).arg(dir.path().join("conf")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect(PROGRAM);
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, dir, port }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A name that only the proxy could ask: it resolves nowhere, so that what the proxy says shows that it was asked.
const ELSEWHERE: &str = "nosuchhost.invalid";

#[test]
fn proxies_of_the_environment_are_used_in_both_spellings() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let proxy = Tinyproxy::start("");
    for (scheme, variable) in
        [("http", "http_proxy"), ("http", "HTTP_PROXY"), ("https", "https_proxy"), ("https", "HTTPS_PROXY")]
    {
        let mut env = TestEnv::new();
        env.set(variable, &format!("http://127.0.0.1:{}", proxy.port));
        let container = env.ok(["from", "scratch"]);
        let url = format!("{scheme}://{variable}.{ELSEWHERE}/x").replace('_', "-");
        let error = env.run(["add", "--retry", "0", &container, &url, "/x"]).failure(125);
        assert_eq!(error.lines().count(), 1, "{error}");
        let asked = format!("{variable}.{ELSEWHERE}").replace('_', "-").to_lowercase();
        assert!(proxy.log().contains(&asked), "{variable}: {error}{}", proxy.log());
        // Those that are excepted are asked directly, and are not found.
        env.set("NO_PROXY", "other.example, .invalid");
        let before = proxy.log().len();
        let error = env.run(["add", "--retry", "0", &container, &url, "/x"]).failure(125);
        assert!(error.contains("no such host"), "{error}");
        assert_eq!(proxy.log().len(), before, "{variable}");
    }
}

/// A way to `port` for whoever asks to be connected, whatever the name: what the proxy takes for the rest of the world.
fn way_to(port: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let own = listener.local_addr().expect("its port").port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|length| length == 1) {
                head.push(byte[0]);
            }
            let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            let _ = client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n");
            let (mut from, mut to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
            std::thread::spawn(move || drop(std::io::copy(&mut server, &mut client)));
        }
    });
    own
}

#[test]
fn an_image_comes_through_a_tunnel_and_its_registry_is_verified() {
    if skip_without(&[PROGRAM, crate::harness::registry::PROGRAM, "openssl"]) {
        return;
    }
    let (mut env, registry) = (TestEnv::new(), Registry::with_tls());
    let proxy = Tinyproxy::start(&format!("Upstream http 127.0.0.1:{} \".invalid\"\n", way_to(registry.port())));
    let certs = env.work().join("certs");
    fs::create_dir(&certs).expect("a directory");
    fs::copy(registry.authority(), certs.join("ca.crt")).expect("copied");
    let certs = certs.to_string_lossy().into_owned();
    env.busybox("box");
    env.set("HTTPS_PROXY", &format!("127.0.0.1:{}", proxy.port));
    env.ok(["push", "-q", "--cert-dir", &certs, "box", "registry.invalid/box"]);
    env.ok(["rmi", "-af"]);
    env.ok(["pull", "-q", "--cert-dir", &certs, "registry.invalid/box"]);
    assert!(proxy.log().contains("CONNECT registry.invalid:443"), "{}", proxy.log());
    let error = env.run(["pull", "--policy", "always", "--retry", "0", "registry.invalid/box"]).failure(125);
    assert!(error.contains("certificate signed by unknown authority"), "{error}");
}

#[test]
fn this_machine_is_asked_without_a_proxy() {
    let mut env = TestEnv::new();
    let evil = Proxy::evil();
    env.set("http_proxy", &format!("http://{}", evil.host()));
    let server = Proxy::start(None, |_, _| body("", "x"));
    let container = env.ok(["from", "scratch"]);
    env.ok(["add", "-q", &container, &format!("http://{}/x", server.host()), "/x"]);
    env.ok(["add", "-q", &container, &format!("http://{}/x", server.host().replace("127.0.0.1", "localhost")), "/y"]);
    assert!(evil.seen().is_empty(), "{:?}", evil.seen());
}

#[test]
fn a_proxy_gets_its_own_credentials_and_nobody_else_does() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let proxy = Tinyproxy::start("BasicAuth who canary\n");
    for scheme in ["http", "https"] {
        let mut env = TestEnv::new();
        let variable = format!("{scheme}_proxy");
        env.set(&variable, &format!("http://127.0.0.1:{}", proxy.port));
        let container = env.ok(["from", "scratch"]);
        let url = format!("{scheme}://{ELSEWHERE}/x");
        let refused = env.run(["add", "--retry", "0", &container, &url, "/x"]).failure(125);
        assert!(refused.contains("407") || refused.contains("proxy"), "{refused}");
        env.set(&variable, &format!("http://who:canary@127.0.0.1:{}", proxy.port));
        let asked = env.run(["add", "--retry", "0", &container, &url, "/x"]).failure(125);
        assert!(!asked.contains("407") && !asked.contains("canary"), "{asked}");
    }
}
