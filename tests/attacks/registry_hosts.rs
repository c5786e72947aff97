//! A97, A98, A99, A100: who gets what authorizes us, when a registry, its mirror or whoever they lead to wants more than they should.

use crate::harness::registry::{PROGRAM, Proxy, Registry, body, status};
use crate::harness::{TestEnv, skip_without};

const INSECURE: &str = "--tls-verify=false";
const BASIC: &str = "WWW-Authenticate: Basic realm=\"x\"\r\n";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn manifest() -> String {
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{{\"mediaType\":\
         \"application/vnd.oci.image.config.v1+json\",\"digest\":\"{DIGEST}\",\"size\":2}},\"layers\":[]}}"
    )
}

fn is_authorized(head: &str) -> bool {
    head.to_lowercase().contains("authorization:")
}

/// A registry that wants a password for everything, and sends whoever asks for a blob to `location`.
fn registry(location: String) -> Proxy {
    Proxy::start(None, move |head, _| match head {
        head if head.starts_with("GET /back") => status("404 Not Found", ""),
        head if !is_authorized(head) => status("401 Unauthorized", BASIC),
        head if head.contains("/manifests/") => body("", &manifest()),
        _ => status("307 Temporary Redirect", &format!("Location: {location}\r\n")),
    })
}

#[track_caller]
fn pull(env: &TestEnv, name: &str) -> String {
    env.run(["pull", "-q", INSECURE, "--retry", "0", "--creds", "user:canary", name]).failure(125)
}

/// A97: the password of the command line is for the registry that was named.
#[test]
fn a_mirror_gets_no_credentials_of_the_registry_it_stands_for() {
    let env = TestEnv::new();
    let mirror = Proxy::start(None, |_, _| status("401 Unauthorized", BASIC));
    let registry = Proxy::start(None, |head, _| match is_authorized(head) {
        false => status("401 Unauthorized", BASIC),
        true => status("404 Not Found", ""),
    });
    env.write_home(
        ".config/containers/registries.conf",
        format!(
            "[[registry]]\nlocation = \"{}\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
            registry.host(),
            mirror.host()
        ),
    );
    env.run(["pull", "-q", "--retry", "0", "--creds", "user:canary", &registry.name("x")]).failure(125);
    assert!(!mirror.seen().is_empty() && !mirror.saw_credentials(), "{:?}", mirror.seen());
    assert!(registry.saw_credentials());
    // What a file has for the mirror is the mirror's.
    let auth = format!(
        "{{\"auths\":{{\"{}\":{{\"auth\":\"bTptaXJyb3I=\"}},\"{}\":{{\"auth\":\"cjpyZWdpc3RyeQ==\"}}}}}}",
        mirror.host(),
        registry.host()
    );
    let auth = env.write("auth.json", auth);
    env.run(["pull", "-q", "--retry", "0", "--authfile", &auth.to_string_lossy(), &registry.name("x")]).failure(125);
    assert!(mirror.count(&["bTptaXJyb3I="]) > 0 && mirror.count(&["cjpyZWdpc3RyeQ=="]) == 0, "{:?}", mirror.seen());
    assert!(registry.count(&["cjpyZWdpc3RyeQ=="]) > 0 && registry.count(&["bTptaXJyb3I="]) == 0);
}

/// A100, GHSA-vh4v-2xq2-g5cg, CVE-2024-45336: neither the host that a redirect leads to gets them, nor the hop back.
#[test]
fn a_redirect_loses_what_authorizes_for_good() {
    let env = TestEnv::new();
    // Where the way back leads is known only when the registry runs.
    let way_back = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let to = std::sync::Arc::clone(&way_back);
    let evil = Proxy::start(None, move |_, _| status("302 Found", &format!("Location: {}\r\n", to.lock().expect("the way"))));
    let registry = registry(format!("http://{}/blob", evil.host()));
    *way_back.lock().expect("the way") = format!("http://{}/back", registry.host());
    pull(&env, &registry.name("x"));
    assert_eq!(evil.count(&["GET /blob"]), 1);
    assert!(!evil.saw_credentials(), "{:?}", evil.seen());
    let back: Vec<String> = registry.seen().into_iter().filter(|head| head.starts_with("GET /back")).collect();
    assert!(back.len() == 1 && !is_authorized(&back[0]), "{back:?}");
}

/// A99, CVE-2020-15157: what the server of a blob wants to see is not the registry's wish.
#[test]
fn a_server_that_the_registry_leads_to_cannot_ask_for_credentials() {
    let env = TestEnv::new();
    let tokens = Proxy::start(None, |_, _| body("", "{\"token\":\"canary-token\"}"));
    for challenge in
        [BASIC.to_owned(), format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"s\"\r\n", tokens.host())]
    {
        let evil = Proxy::start(None, move |_, _| status("401 Unauthorized", &challenge));
        let registry = registry(format!("http://{}/blob", evil.host()));
        let error = pull(&env, &registry.name("x"));
        assert!(error.contains("unauthorized"), "{error}");
        assert_eq!(evil.count(&["GET /blob"]), 1, "it is not asked a second time");
        assert!(!evil.saw_credentials(), "{:?}", evil.seen());
    }
    assert_eq!(tokens.seen().len(), 0);
}

/// A100, A112: other schemes, and addresses with a user in them.
#[test]
fn a_redirect_leads_to_the_web_only() {
    let env = TestEnv::new();
    for location in
        ["file:///etc/passwd", "ftp://127.0.0.1/x", "unix:///run/x.sock", "http://user:pass@127.0.0.1/", "http://", "data:,x"]
    {
        let registry = registry(location.to_owned());
        let error = pull(&env, &registry.name("x"));
        assert!(error.contains("redirect"), "{location}: {error}");
        assert!(!error.contains("root:"), "{error}");
    }
}

/// A98, CVE-2019-10214: who speaks no TLS gets nothing, unless that was asked for.
#[test]
fn https_that_fails_does_not_become_http() {
    let env = TestEnv::new();
    env.busybox("box");
    let registry = Proxy::start(None, |_, _| body("", &manifest()));
    for words in [&["pull", "-q"][..], &["push", "-q", "box"], &["login", "-u", "user", "-p", "canary"]] {
        let name = if words[0] == "login" { registry.host() } else { registry.name("x") };
        let mut all: Vec<&str> = words.to_vec();
        if words[0] != "login" {
            all.splice(1..1, ["--retry", "0", "--creds", "user:canary"]);
        }
        all.push(&name);
        env.run(&all).failure(125);
    }
    assert_eq!(registry.seen().len(), 0, "{:?}", registry.seen());
    assert!(!env.path("run/containers/auth.json").exists());
}

/// A100, A101: nothing that began in TLS goes on without, neither the bytes of a layer nor the way to them, whatever --tls-verify says.
#[test]
fn nothing_goes_on_in_the_clear_that_began_in_tls() {
    if skip_without(&[PROGRAM, "openssl"]) {
        return;
    }
    let (env, plain, evil) = (TestEnv::new(), Registry::plain(), Proxy::evil());
    env.busybox("box");
    env.ok(["push", "-q", INSECURE, "box", &plain.name("box")]);
    let registry = Registry::leading_into_the_clear(&plain, &evil.host());
    let certificates = env.work().join("certs");
    std::fs::create_dir(&certificates).expect("a directory");
    std::fs::copy(registry.authority(), certificates.join("ca.crt")).expect("copied");
    let directory = format!("--cert-dir={}", certificates.display());
    for how in [INSECURE, directory.as_str()] {
        let (there, new) = (registry.name("box"), registry.name("new"));
        for words in [&["pull", "-q", "--policy", "always", &there][..], &["push", "-q", "box", &new]] {
            let all = [&words[..1], &[how, "--retry", "0", "--creds", "user:canary"], &words[1..]].concat();
            let error = env.run(&all).failure(125);
            assert!(error.contains("that would be in the clear") && !error.contains("canary"), "{all:?}: {error}");
        }
    }
    assert_eq!(evil.seen().len(), 0, "{:?}", evil.seen());
    env.assert_store_is_clean();
}

/// A111: HTTP/2, whose frames have sunk others, is not offered to a server.
#[test]
fn a_greeting_of_tls_offers_no_http_2() {
    use std::io::Read as _;
    let env = TestEnv::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its port").port();
    let greeting = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = [0; 5];
        stream.read_exact(&mut head).expect("the head of a record");
        let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        stream.read_exact(&mut record).expect("a record");
        (head[0], record)
    });
    env.run(["pull", "-q", "--retry", "0", &format!("localhost:{port}/x")]).failure(125);
    let (kind, record) = greeting.join().expect("a greeting");
    let offers = |words: &[u8]| record.windows(words.len()).any(|part| part == words);
    // The control: it is a ClientHello (RFC 8446, section 4.1.2), and names the server.
    assert!(kind == 22 && record[0] == 1 && offers(b"\0\tlocalhost"), "{record:?}");
    // The names of RFC 7301, with their lengths.
    assert!(!offers(b"\x02h2") && !offers(b"\x03h2c"), "{record:?}");
}

/// A97: without a password a token server elsewhere may be asked; it learns nothing, and its token goes to the registry alone.
#[test]
fn an_anonymous_token_of_another_host_needs_https_and_a_name() {
    let env = TestEnv::new();
    let evil = Proxy::evil();
    for realm in
        ["http://evil.example/token".to_owned(), "https://169.254.169.254/token".to_owned(), "https://[fd00::1]/t".to_owned()]
    {
        let header = format!(
            "WWW-Authenticate: Bearer realm=\"{realm}\",service=\"x\"\r\nWWW-Authenticate: {}",
            BASIC.split_once(' ').expect("a header").1
        );
        let registry = Proxy::start(None, move |_, _| status("401 Unauthorized", &header));
        let error = env.run(["pull", "-q", INSECURE, "--retry", "0", &registry.name("x")]).failure(125);
        assert!(error.contains("wants the credentials to be sent to"), "{realm}: {error}");
    }
    assert_eq!(evil.seen().len(), 0);
}

/// A108: of the registries that are searched the next one is asked only where the one before has no such image.
#[test]
fn an_error_is_no_reason_to_ask_a_stranger_for_the_name() {
    let env = TestEnv::new();
    let ask = |first: &str| {
        let stranger = Proxy::start(None, |_, _| status("404 Not Found", ""));
        let settings = format!(
            "unqualified-search-registries = ['{first}', '{0}']\n[[registry]]\nlocation = '{first}'\ninsecure = true\n[[registry]]\nlocation = '{0}'\ninsecure = true\n",
            stranger.host()
        );
        env.write_home(".config/containers/registries.conf", settings);
        for words in [&["pull", "-q", "--retry", "0", "base"][..], &["from", "-q", "--retry", "0", "base"]] {
            env.run(words).failure(125);
        }
        stranger.count(&["/v2/base/manifests/"])
    };
    for line in ["401 Unauthorized", "403 Forbidden", "429 Too Many Requests", "500 No", "503 No"] {
        let first = Proxy::start(None, move |_, _| status(line, ""));
        assert_eq!(ask(&first.host()), 0, "{line}");
    }
    assert_eq!(ask("127.0.0.1:1"), 0, "nobody answers there");
    let first = Proxy::start(None, |_, _| status("404 Not Found", ""));
    assert_eq!(ask(&first.host()), 2, "the control: it has none");
}
