//! `--tls-details`: what every connection of the program obeys, and what is wrong with a file. Servers are openssl's `s_server`, whose
//! page says what was negotiated, and Debian's registry.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::registry::{self, Registry};
use crate::harness::{SIGNER, TestEnv, skip_without};

/// A server of TLS whose page at any address shows the connection. Ends with this value.
struct Page {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Page {
    /// One with these flags of `openssl s_server`.
    fn start(flags: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("coracle-tls").tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
        let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out ca.crt";
        let made = Command::new("sh").args(["-ec", script]).current_dir(dir.path()).stderr(Stdio::null()).status();
        assert!(made.expect("sh").success(), "no certificate");
        // Whoever takes the port between here and the start makes the server end, and another port is tried.
        for _ in 0..5 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
            let port = free.expect("a free port").port();
            let mut command = Command::new("openssl");
            command.args(["s_server", "-www", "-cert", "ca.crt", "-key", "key.pem", "-accept", &format!("127.0.0.1:{port}")]);
            command.args(flags).current_dir(dir.path());
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("openssl");
            let end = Instant::now() + Duration::from_secs(10);
            while Instant::now() < end && child.try_wait().expect("its state").is_none() {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Self { child, dir, port };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("openssl s_server does not start");
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn url(&self) -> String {
        format!("https://{}/", self.host())
    }

    /// The directory with its certificate, for `--cert-dir`.
    fn certs(&self, env: &TestEnv) -> String {
        let certs = env.work().join(format!("certs-{}", self.port));
        fs::create_dir_all(&certs).expect("a directory");
        fs::copy(self.dir.path().join("ca.crt"), certs.join("ca.crt")).expect("copied");
        certs.to_string_lossy().into_owned()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The words of a server that is too old, and of one that lacks a name.
const TOO_OLD: &str = "tls: the server speaks no version of TLS that is allowed here: 1.3 (";
const LACKS: &str = "tls: the server may lack what is allowed here: ";

/// What a file says, and a part of the page or of the error.
type Negotiated = (&'static str, Result<&'static str, String>);

#[test]
fn what_is_negotiated_is_what_the_file_allows() {
    if skip_without(&["openssl"]) {
        return;
    }
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    let mut at = 0;
    // The flags of the server, and what comes of files.
    let cases: &[(&[&str], &[Negotiated])] = &[
        (
            &[],
            &[
                ("", Ok("New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384")),
                ("minVersion: '1.0'", Ok("New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384")),
                ("cipherSuites: [TLS_AES_128_GCM_SHA256]", Ok("New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256")),
                (
                    "minVersion: 1.2\ncipherSuites:\n- TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                    Ok("New, TLSv1.2, Cipher is ECDHE-ECDSA-CHACHA20-POLY1305"),
                ),
                // What this program does not have is passed over where something is left.
                ("namedGroups: [secp521r1, secp384r1, X25519MLKEM768]", Ok("\nSupported groups: secp384r1\n")),
                ("namedGroups: [x25519, secp256r1]", Ok("\nSupported groups: x25519:secp256r1\n")),
                ("namedGroups: []", Ok("\nSupported groups: x25519:secp256r1:secp384r1\n")),
            ],
        ),
        (
            &["-tls1_2"],
            &[
                ("minVersion: 1.2", Ok("New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384")),
                ("minVersion: \"1.3\"", Err(TOO_OLD.into())),
                // Names of TLS 1.3 alone leave no older version.
                ("cipherSuites: [TLS_AES_128_GCM_SHA256]", Err(TOO_OLD.into())),
            ],
        ),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256", "-groups", "X25519:P-256"],
            &[
                ("cipherSuites: [TLS_CHACHA20_POLY1305_SHA256]", {
                    Ok("New, TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256")
                }),
                ("cipherSuites: [TLS_AES_128_GCM_SHA256]", Err(format!("{LACKS}cipher suites TLS_AES_128_GCM_SHA256 ("))),
                ("namedGroups: [secp256r1]", Ok("\nShared groups: secp256r1\n")),
                ("namedGroups: [secp384r1]", Err(format!("{LACKS}groups secp384r1 ("))),
                (
                    "cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]",
                    Err("speaks no version of TLS that is allowed here: 1.2 (".into()),
                ),
            ],
        ),
    ];
    for (flags, files) in cases {
        let server = Page::start(flags);
        let certs = server.certs(&env);
        for (text, want) in *files {
            env.write("t.yaml", text);
            for trust in [&["--cert-dir", certs.as_str()][..], &["--tls-verify=false"]] {
                at += 1;
                let (url, to) = (server.url(), format!("/page{at}"));
                let words = ["--tls-details", "t.yaml", "add", "-q"].iter().chain(trust);
                let output = env.run(words.chain(&[container.as_str(), &url, &to]));
                match want {
                    Ok(said) => {
                        output.success();
                        let script = format!("coracle unshare sh -c 'cat $(coracle mount {container}){to}'");
                        let page = env.shell(&script).success();
                        assert!(page.contains(said), "{flags:?}, {text}, {trust:?}: {page}");
                    }
                    Err(said) => {
                        let error = output.failure(125);
                        assert!(error.contains(said.as_str()), "{flags:?}, {text}, {trust:?}: {error}");
                        assert!(!error.contains("--cert-dir"), "no certificate is to blame: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn registries_are_asked_as_the_file_allows() {
    if skip_without(&[registry::PROGRAM, "openssl"]) {
        return;
    }
    let env = TestEnv::new();
    let registry = Registry::with_tls();
    let name = registry.name("box:1");
    let at = format!("docker://{name}");
    let certs = env.work().join("certs");
    fs::create_dir(&certs).expect("a directory");
    fs::copy(registry.authority(), certs.join("ca.crt")).expect("copied");
    let certs = certs.to_string_lossy().into_owned();
    env.small_image();
    // The registry's key is none of RSA.
    env.write("rsa.yaml", "minVersion: 1.2\ncipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n");
    env.write("fine.yaml", "minVersion: 1.3\ncipherSuites: [TLS_AES_128_GCM_SHA256]\nnamedGroups: [secp256r1]\n");
    let verbs: &[&[&str]] = &[
        &["push", "-q", "--retry", "0", "one", &name],
        &["pull", "-q", "--policy", "always", "--retry", "0", &name],
        &["from", "--pull-always", "--retry", "0", &name],
        &["manifest", "create", "--amend", "list", &at],
        &["login", "-u", "u", "-p", "p", &registry.host()],
        &["build", "-q", "--pull=always", "--retry", "0", "context"],
    ];
    fs::create_dir(env.work().join("context")).expect("a directory");
    env.write("context/Dockerfile", format!("FROM {name}\nLABEL a=b\n"));
    for trust in [&["--cert-dir", certs.as_str()][..], &["--tls-verify=false"]] {
        for words in verbs {
            let (verb, rest) = words.split_at(if words[0] == "manifest" { 2 } else { 1 });
            let refused = env.run(verb.iter().chain(trust).chain(&["--tls-details", "rsa.yaml"]).chain(rest));
            let error = refused.failure(125);
            let said = format!("https://{}: {LACKS}cipher suites TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 (", registry.host());
            assert!(error.contains(&said), "{words:?}, {trust:?}: {error}");
            env.run(verb.iter().chain(trust).chain(&["--tls-details=fine.yaml"]).chain(rest)).success();
        }
    }
}

#[test]
fn proxies_and_servers_of_signatures_obey_too() {
    if skip_without(&[registry::PROGRAM, "openssl", "gpg", "gpgv"]) {
        return;
    }
    let mut env = TestEnv::new();
    let (registry, old) = (Registry::plain(), Page::start(&["-tls1_2"]));
    env.small_image();
    env.write("t.yaml", "minVersion: 1.3\n");
    let host = registry.host();
    fs::create_dir(env.work().join("d")).expect("a directory");
    env.write("d/x.yaml", format!("docker: {{'{host}': {{lookaside: '{}s'}}}}\n", old.url()));
    let policy = r#"{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"a.gpg"}]}"#;
    env.write("policy.json", policy.replace("a.gpg", &env.work().join("a.gpg").to_string_lossy()));
    env.shell(&format!("{SIGNER}\ncoracle push -q --tls-verify=false one {host}/one")).success();
    let pull = |details: &[&str]| {
        let flags = ["--registries-conf-dir", "d", "--signature-policy", "policy.json"];
        let words = ["pull", "-q", "--policy", "always", "--retry", "0", "--tls-verify=false"];
        let image = format!("{host}/one");
        env.run(flags.iter().chain(details).chain(&words).chain(&[image.as_str()])).failure(125)
    };
    let error = pull(&["--tls-details", "t.yaml"]);
    assert!(error.contains(TOO_OLD) && error.contains(&old.host()), "{error}");
    let error = pull(&[]);
    assert!(!error.contains(TOO_OLD), "{error}");

    let (url, file) = (old.url(), format!("FROM scratch\nADD {} /\n", old.url()));
    fs::create_dir(env.work().join("context")).expect("a directory");
    env.write("context/Dockerfile", file);
    for context in [url.as_str(), "context"] {
        let error = env.run(["--tls-details", "t.yaml", "build", "-q", context]).failure(125);
        assert!(error.contains(TOO_OLD), "{context}: {error}");
    }

    for (variable, url) in [("HTTPS_PROXY", "https://server.invalid/x"), ("HTTP_PROXY", "http://server.invalid/x")] {
        env.set(variable, &old.url());
        let container = env.ok(["from", "scratch"]);
        let error = env.run(["--tls-details", "t.yaml", "add", "-q", &container, url, "/"]).failure(125);
        assert!(error.contains(TOO_OLD), "{variable}: {error}");
        let error = env.run(["add", "-q", &container, url, "/"]).failure(125);
        assert!(error.contains("failed to verify certificate"), "{variable}: {error}");
    }
}

#[test]
fn a_wrong_file_is_one_line_and_nothing_is_done() {
    let env = TestEnv::new();
    let path = env.work().join("t.yaml");
    let named = format!("{path:?}");
    let flag = format!("--tls-details={}", path.display());
    let line_of = |words: &[&str]| {
        let output = env.run(words);
        let error = output.failure(125);
        assert_eq!(error.trim_end().lines().count(), 1, "{words:?}: {error}");
        error.trim_end().to_owned()
    };
    assert_eq!(line_of(&[&flag, "images"]), format!("Error: reading {named}: no such file or directory"));
    let cases = [
        ("tlsVersion: 1.2", ": line 1: tlsVersion: no such member: there are minVersion, cipherSuites and namedGroups"),
        ("minVersion: 2", ": line 1: minVersion: unrecognized TLS minimum version \"2\": want one of 1.0, 1.1, 1.2, 1.3"),
        ("cipherSuites:\n- TLS_NULL", ": line 2: cipherSuites: unrecognized TLS cipher suite \"TLS_NULL\""),
        ("namedGroups: [P-256]", ": line 1: namedGroups: unrecognized TLS named group \"P-256\""),
        ("\n\nnamedGroups: x25519", ": line 3: namedGroups: want a list of texts"),
        ("hello", ": line 1: want keys with values"),
        (
            "minVersion: 1.3\ncipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]",
            ": cipherSuites: nothing is left to connect with: with TLS 1.3 this program has TLS_AES_256_GCM_SHA384, \
             TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256",
        ),
        (
            "namedGroups: [secp521r1]",
            ": namedGroups: nothing is left to connect with: this program has x25519, secp256r1, secp384r1",
        ),
    ];
    for (text, said) in cases {
        env.write("t.yaml", text);
        // Also by verbs that connect to nobody.
        for words in [&[&flag, "images"][..], &["images", &flag], &["from", &flag, "scratch"]] {
            let error = line_of(words);
            assert!(error.starts_with("Error: ") && error.ends_with(&format!("{named}{said}")), "{text}: {error}");
        }
    }
    env.write("t.yaml", "cipherSuites: []");
    assert!(line_of(&[&flag, "images"]).contains("cipherSuites: nothing is left to connect with: this program has TLS_AES_"));
    env.write("t.yaml", "minVersion: 1.2\nx: y: z");
    assert!(line_of(&[&flag, "images"]).starts_with(&format!("Error: parsing {named}: line 2: ")));
    env.write("t.yaml", "#".repeat((1 << 20) + 1));
    assert_eq!(line_of(&[&flag, "images"]), format!("Error: parsing {named}: the file is larger than 1048576 bytes"));
    assert_eq!(env.ok(["containers", "--quiet"]), "");
    // No file at all, and one that says nothing.
    env.ok(["--tls-details", "", "images"]);
    env.write("t.yaml", "");
    env.ok(["images", &flag]);
}
