//! Ways out by way of a proxy: Debian's tinyproxy, or one for SOCKS, between us and servers that cannot be asked otherwise.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
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

/// A proxy for SOCKS (RFC 1928) that connects everybody with `port` of this machine, whatever the name, and keeps the names. With
/// `login` it asks for a user and password (RFC 1929).
fn socks(port: u16, login: Option<&'static str>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let own = listener.local_addr().expect("its port").port();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let names = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let names = Arc::clone(&names);
            std::thread::spawn(move || drop(serve_socks(client, port, login, &names)));
        }
    });
    (own, asked)
}

fn serve_socks(mut client: TcpStream, port: u16, login: Option<&str>, names: &Mutex<Vec<String>>) -> std::io::Result<()> {
    fn text(client: &mut TcpStream) -> std::io::Result<String> {
        let mut length = [0];
        client.read_exact(&mut length)?;
        let mut text = vec![0; length[0].into()];
        client.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
    let mut version = [0];
    client.read_exact(&mut version)?;
    let methods = text(&mut client)?;
    let method = if login.is_some() { 2 } else { 0 };
    if !methods.bytes().any(|offered| offered == method) {
        return client.write_all(&[5, 0xff]);
    }
    client.write_all(&[5, method])?;
    if let Some(login) = login {
        client.read_exact(&mut version)?;
        let given = format!("{}:{}", text(&mut client)?, text(&mut client)?);
        client.write_all(&[1, u8::from(given != login)])?;
    }
    let mut request = [0; 4];
    client.read_exact(&mut request)?;
    // Only names: who sends an address has asked somebody else for it.
    if request != [5, 1, 0, 3] {
        return client.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
    let name = text(&mut client)?;
    let mut at = [0; 2];
    client.read_exact(&mut at)?;
    let refused = name.starts_with("refused.");
    names.lock().expect("the names").push(format!("{name}:{}", u16::from_be_bytes(at)));
    client.write_all(&[5, if refused { 2 } else { 0 }, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
    std::io::copy(&mut server, &mut client).map(drop)
}

#[test]
fn a_socks_proxy_leads_out_and_looks_names_up() {
    let mut env = TestEnv::new();
    let server = Proxy::start(None, |_, _| body("", "x"));
    let container = env.ok(["from", "scratch"]);
    let url = format!("http://{ELSEWHERE}/x");
    let (port, asked) = socks(server.port(), None);
    for (number, scheme) in ["socks5", "socks5h", "SOCKS5"].into_iter().enumerate() {
        env.set("http_proxy", &format!("{scheme}://127.0.0.1:{port}"));
        env.ok(["add", "-q", "--retry", "0", &container, &url, "/x"]);
        assert_eq!(*asked.lock().unwrap(), vec![format!("{ELSEWHERE}:80"); number + 1]);
    }
    env.set("http_proxy", &format!("socks5://127.0.0.1:{port}"));
    let error = env.run(["add", "--retry", "0", &container, "http://refused.invalid/x", "/x"]).failure(125);
    assert!(error.contains("through the proxy of the environment: connection not allowed by ruleset"), "{error}");

    let (port, asked) = socks(server.port(), Some("who:can ary"));
    for (login, words) in [("", "proxy of the environment"), ("who:canary@", "password authentication failed")] {
        env.set("http_proxy", &format!("socks5://{login}127.0.0.1:{port}"));
        let error = env.run(["add", "--retry", "0", &container, &url, "/x"]).failure(125);
        assert!(error.contains(words) && !error.contains("canary") && error.lines().count() == 1, "{error}");
    }
    assert!(asked.lock().unwrap().is_empty());
    env.set("http_proxy", &format!("socks5://who:can%20ary@127.0.0.1:{port}"));
    env.ok(["add", "-q", "--retry", "0", &container, &url, "/x"]);
    assert!(!server.saw_credentials(), "{:?}", server.seen());

    env.set("http_proxy", &format!("socks4://127.0.0.1:{port}"));
    let error = env.run(["add", "--retry", "0", &container, &url, "/x"]).failure(125);
    assert!(error.contains("only those of http, https and socks5 are supported"), "{error}");
}

#[test]
fn a_registry_behind_a_socks_proxy_is_verified_like_any_other() {
    if skip_without(&[crate::harness::registry::PROGRAM, "openssl"]) {
        return;
    }
    let (mut env, registry) = (TestEnv::new(), Registry::with_tls());
    let (port, asked) = socks(registry.port(), None);
    let certs = env.work().join("certs");
    fs::create_dir(&certs).expect("a directory");
    fs::copy(registry.authority(), certs.join("ca.crt")).expect("copied");
    let certs = certs.to_string_lossy().into_owned();
    env.busybox("box");
    env.set("HTTPS_PROXY", &format!("socks5://127.0.0.1:{port}"));
    env.ok(["push", "-q", "--cert-dir", &certs, "box", "registry.invalid/box"]);
    env.ok(["rmi", "-af"]);
    env.ok(["pull", "-q", "--cert-dir", &certs, "registry.invalid/box"]);
    let error = env.run(["pull", "--policy", "always", "--retry", "0", "registry.invalid/box"]).failure(125);
    assert!(error.contains("certificate signed by unknown authority"), "{error}");
    env.ok(["pull", "-q", "--policy", "always", "--tls-verify=false", "registry.invalid/box"]);
    assert!(asked.lock().unwrap().iter().all(|name| name == "registry.invalid:443"), "{asked:?}");
}

/// Who has an old address in the environment looks for the fault at the registry otherwise.
#[test]
fn a_proxy_that_is_not_there_is_told_from_a_registry_that_is_not() {
    let mut env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    for (proxy, words) in [
        ("http://127.0.0.1:1", "connection refused"),
        ("socks5://127.0.0.1:1", "connection refused"),
        ("http://nosuchproxy.invalid:3128", "there is no host of its name"),
        ("socks5://nosuchproxy.invalid", "there is no host of its name"),
    ] {
        env.set("HTTP_PROXY", proxy);
        env.set("HTTPS_PROXY", proxy);
        let want =
            |scheme: &str| format!("connecting to {scheme}://{ELSEWHERE} through the proxy of the environment: {words}\n");
        for scheme in ["http", "https"] {
            let error = env.run(["add", "--retry", "0", &container, &format!("{scheme}://{ELSEWHERE}/x"), "/x"]).failure(125);
            assert!(error.ends_with(&want(scheme)), "{proxy}: {error}");
        }
        let error = env.run(["pull", "--retry", "0", &format!("{ELSEWHERE}/x")]).failure(125);
        assert!(error.ends_with(&want("https")), "{proxy}: {error}");
    }
}
