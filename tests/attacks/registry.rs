//! Registries that want credentials for others, lead elsewhere, or send what was not asked for (known attacks, registry and network group).

use std::time::{Duration, Instant};

use crate::harness::TestEnv;
use crate::harness::registry::{Answer, Proxy, body, status};

const INSECURE: &str = "--tls-verify=false";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Asks for an image with a password, which must fail; the error.
#[track_caller]
fn pull(env: &TestEnv, name: &str) -> String {
    env.run(["pull", "-q", INSECURE, "--retry", "0", "--creds", "user:canary", name]).failure(125)
}

fn manifest(layers: &str) -> String {
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\
         \"digest\":\"{DIGEST}\",\"size\":2}},\"layers\":[{layers}]}}"
    )
}

fn document(text: &str) -> Answer {
    body(&format!("Content-Type: {MANIFEST}\r\n"), text)
}

/// A97, CVE-2026-48978; A98, CVE-2019-10214.
#[test]
fn no_realm_gets_a_password_that_is_not_the_registrys() {
    let env = TestEnv::new();
    let evil = Proxy::evil();
    for realm in [
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://evil.example/token".to_owned(),
        format!("http://localhost:{}/token", evil.host().rsplit(':').next().expect("a port")),
        "file:///etc/passwd".to_owned(),
        "unix:///run/x.sock".to_owned(),
        "https://user:x@127.0.0.1/".to_owned(),
        String::new(),
    ] {
        let header = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"x\"\r\n");
        let registry = Proxy::start(None, move |_, _| status("401 Unauthorized", &header));
        let error = pull(&env, &registry.name("x"));
        assert!(error.contains("wants the credentials to be sent to"), "{realm}: {error}");
        assert!(!error.contains("canary"), "{error}");
        assert!(!registry.saw_credentials(), "{realm}");
    }
    assert_eq!(evil.seen().len(), 0);
}

/// A97: the registry's own host, at another port, is the registry's own; its token goes back to it alone.
#[test]
fn the_registrys_own_token_server_gets_the_password_and_nobody_else_the_token() {
    let env = TestEnv::new();
    let tokens = Proxy::start(None, |_, _| body("", "{\"token\":\"canary-token\"}"));
    let evil = Proxy::evil();
    let (realm, away) = (tokens.host(), evil.host());
    let registry = Proxy::start(None, move |head, _| {
        let authorized = head.contains("Bearer canary-token");
        match authorized {
            false => status(
                "401 Unauthorized",
                &format!("WWW-Authenticate: Bearer realm=\"http://{realm}/token\",service=\"s\"\r\n"),
            ),
            true if head.contains("/manifests/") => document(&manifest("")),
            true => status("307 Temporary Redirect", &format!("Location: http://{away}/blob\r\n")),
        }
    });
    pull(&env, &registry.name("x"));
    let asked = tokens.seen();
    assert!(asked[0].starts_with("GET /token?service=s&scope=repository%3Ax%3Apull&account=user "), "{asked:?}");
    assert!(asked[0].to_lowercase().contains("authorization: basic"), "{asked:?}");
    assert_eq!(evil.count(&["GET /blob"]), 1);
    assert!(!evil.saw_credentials(), "{:?}", evil.seen());
}

/// A99, CVE-2020-15157.
#[test]
fn a_layers_own_addresses_are_not_asked() {
    let env = TestEnv::new();
    let evil = Proxy::evil();
    let config = "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"]}}";
    let digest = containers_storage::Digest::of(config.as_bytes());
    for (media_type, words) in [
        ("application/vnd.oci.image.layer.v1.tar+gzip", "not found"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign layer"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "foreign layer"),
    ] {
        let layer = format!(
            "{{\"mediaType\":\"{media_type}\",\"digest\":\"{DIGEST}\",\"size\":5,\"urls\":[\"http://{}/layer\",\"file:///canary\"]}}",
            evil.host()
        );
        let text = manifest(&layer).replacen(DIGEST, digest.as_str(), 1).replacen(
            "\"size\":2",
            &format!("\"size\":{}", config.len()),
            1,
        );
        let digest = digest.clone();
        let registry = Proxy::start(None, move |head, _| match head {
            head if head.contains("/manifests/") => document(&text),
            head if head.contains(digest.as_str()) => body("", config),
            _ => status("404 Not Found", ""),
        });
        let error = pull(&env, &registry.name("x"));
        assert!(error.contains(words), "{media_type}: {error}");
    }
    assert_eq!(evil.seen().len(), 0);
}

/// A101.
#[test]
fn an_upload_elsewhere_gets_no_credentials() {
    let env = TestEnv::new();
    env.busybox("box");
    let evil = Proxy::evil();
    for location in [
        format!("http://{}/u", evil.host()),
        format!("//{}/u", evil.host()),
        "file:///canary".to_owned(),
        "http://u:p@h/".to_owned(),
    ] {
        let shown = location.clone();
        let registry = Proxy::start(None, move |head, _| {
            let authorized = head.to_lowercase().contains("authorization: basic");
            match head.split(' ').next() {
                _ if !authorized => status("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n"),
                Some("POST") => status("202 Accepted", &format!("Location: {location}\r\n")),
                _ => status("404 Not Found", ""),
            }
        });
        let words = ["push", "-q", INSECURE, "--retry", "0", "--creds", "user:canary", "box", &registry.name("x")];
        let error = env.run(words).failure(125);
        assert!(!error.contains("canary:") && error.lines().count() <= 2, "{shown}: {error}");
    }
    assert!(!evil.seen().is_empty(), "an upload may be elsewhere");
    assert!(!evil.saw_credentials(), "{:?}", evil.seen());
}

/// A102.
#[test]
fn pages_of_tags_stay_where_they_are() {
    let env = TestEnv::new();
    let evil = Proxy::evil();
    let links = [
        format!("<http://{}/v2/x/tags/list>; rel=\"next\"", evil.host()),
        "</v2/x/tags/list?n=1>; rel=\"next\"".to_owned(),
        "</v2/secret/tags/list>; rel=\"next\"".to_owned(),
    ];
    for (link, words) in links.into_iter().zip(["somewhere else", "circle", "somewhere else"]) {
        let registry = Proxy::start(None, move |_, _| body(&format!("Link: {link}\r\n"), "{\"tags\":[\"a\"]}"));
        let name = registry.name("x");
        let error =
            env.run(["pull", "-q", INSECURE, "--retry", "0", "--creds", "user:canary", "--all-tags", &name]).failure(125);
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(evil.seen().len(), 0);
}

/// A105, A106, A107.
#[test]
fn documents_are_what_was_asked_for_and_say_one_thing() {
    let env = TestEnv::new();
    let good = manifest("");
    let other = format!("@{DIGEST}");
    let header = format!("Content-Type: {MANIFEST}\r\nDocker-Content-Digest: {DIGEST}\r\n");
    let cases = [
        (other.as_str(), header.clone(), good.clone(), "instead of"),
        ("", header.clone(), format!("{good}{{}}"), "trailing"),
        ("", "Content-Type: application/vnd.oci.image.index.v1+json\r\n".to_owned(), good.clone(), "media type"),
        ("", header.clone(), good.replacen('{', "{\"manifests\":[],", 1), "ambiguous"),
        ("", header.clone(), good.replacen('{', "{\"Layers\":[],", 1), "ambiguous"),
        ("", header.clone(), good.replace(DIGEST, "sha256:../../../etc/passwd"), "digest"),
        ("", header.clone(), good.replace(DIGEST, &DIGEST.to_uppercase()), "digest"),
        (
            "",
            "Content-Type: application/vnd.docker.distribution.manifest.v1+json\r\n".to_owned(),
            "{\"schemaVersion\":1}".to_owned(),
            "manifest",
        ),
    ];
    for (selector, headers, text, words) in cases {
        let answered = text.clone();
        let registry = Proxy::start(None, move |_, _| body(&headers, &answered));
        let error = pull(&env, &format!("{}{selector}", registry.name("x")));
        assert!(error.to_lowercase().contains(words), "{words}: {text}: {error}");
    }
    env.assert_store_is_clean();
}

/// A110: an answer without end is given up at its limit, and not kept in memory.
#[test]
fn endless_answers_are_bounded() {
    let env = TestEnv::new();
    let endless = "x".repeat(6 << 20);
    let documents = endless.clone();
    type Answers = Box<dyn Fn(&str, usize) -> Answer + Send + Sync>;
    let cases: [(&str, Answers); 4] = [
        ("more than", Box::new(move |_, _| document(&documents))),
        ("registry", Box::new(move |_, _| Answer::Say(format!("HTTP/1.1 500 No\r\nConnection: close\r\n\r\n{endless}")))),
        ("HTTP", Box::new(|_, _| Answer::Say(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Y: z\r\n".repeat(200_000))))),
        ("redirects", Box::new(|_, _| status("302 Found", "Location: /again\r\n"))),
    ];
    for (words, answer) in cases {
        let registry = Proxy::start(None, answer);
        let begun = Instant::now();
        let error = pull(&env, &registry.name("x"));
        assert!(error.contains(words) && error.len() < 2000, "{words}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{words}: {:?}", begun.elapsed());
    }
}

/// A110, with a body of a gigabyte that the head announces: no more of it is read than is shown, and none of it is kept.
#[test]
fn a_gigabyte_of_words_with_an_error_is_not_read() {
    let env = TestEnv::new();
    for code in ["500 No", "401 Unauthorized", "429 Too Many Requests", "200 OK"] {
        let length = 1_u64 << 30;
        let head = format!(
            "HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let registry = Proxy::start(None, move |_, _| Answer::Pour(head.clone(), length));
        let begun = Instant::now();
        let (said, peak) =
            env.peak_of(&format!("coracle pull -q --retry 0 --tls-verify=false --creds u:secret {}", registry.name("x")));
        let error = said.failure(125);
        assert!(error.len() < 2000, "{code}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{code}: {:?}", begun.elapsed());
        assert!(peak < 100 << 20, "{code}: {peak}");
    }
}
