//! A102, A105, A106, A110, A139, A143, A147: what a registry sends that lies, does not end, or is meant for the terminal.

use std::time::{Duration, Instant};

use containers_storage::Digest;

use crate::harness::TestEnv;
use crate::harness::registry::{Answer, Proxy, body, status};

const INSECURE: &str = "--tls-verify=false";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image with one layer, the tar of nothing: its config, its layer and its manifest.
pub(super) struct Image {
    config: String,
    pub(super) layer: String,
    pub(super) manifest: String,
}

impl Image {
    pub(super) fn new() -> Self {
        let layer = "\0".repeat(1024);
        let diff_id = Digest::of(layer.as_bytes());
        let config = format!(
            "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{diff_id}\"]}}}}"
        );
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\
             \"digest\":\"{}\",\"size\":{}}},\"layers\":[{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"{diff_id}\",\"size\":1024}}]}}",
            Digest::of(config.as_bytes()),
            config.len()
        );
        Self { config, layer, manifest }
    }

    /// A registry with this image, in which `other` answers some requests.
    pub(super) fn serve(&self, other: impl Fn(&str, usize) -> Option<Answer> + Send + Sync + 'static) -> Proxy {
        let (config, layer, manifest) = (self.config.clone(), self.layer.clone(), self.manifest.clone());
        let config_digest = Digest::of(config.as_bytes()).to_string();
        Proxy::start(None, move |head, before| match (other(head, before), head) {
            (Some(answer), _) => answer,
            (None, head) if head.contains("/manifests/") => body(&format!("Content-Type: {MANIFEST}\r\n"), &manifest),
            (None, head) if head.contains(&config_digest) => body("", &config),
            (None, head) if head.contains("/blobs/") => body("", &layer),
            _ => status("404 Not Found", ""),
        })
    }
}

#[track_caller]
pub(super) fn refused(env: &TestEnv, registry: &Proxy) -> String {
    let begun = Instant::now();
    let error = env.run(["pull", "-q", INSECURE, "--retry", "0", &registry.name("x:1")]).failure(125);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}: {error}", begun.elapsed());
    assert!(error.len() < 3000, "{error}");
    assert_eq!(env.ok(["images", "-q"]), "");
    error
}

/// The control: without a lie the image is taken, and its manifest is asked for once (A106, A109: what is verified is what is used).
#[test]
fn the_image_that_the_lies_are_about_is_a_good_one() {
    let (env, image) = (TestEnv::new(), Image::new());
    let registry = image.serve(|_, _| None);
    env.ok(["pull", "-q", INSECURE, &registry.name("x:1")]);
    assert_eq!(registry.count(&["/manifests/1"]), 1, "{:?}", registry.seen());
}

/// A105, A106: sizes and digests.
#[test]
fn blobs_that_are_not_what_named_them_are_refused() {
    let (env, image) = (TestEnv::new(), Image::new());
    let config = Digest::of(image.config.as_bytes()).to_string();
    let layer = Digest::of(image.layer.as_bytes()).to_string();
    let (length, said) = (image.config.len(), image.config.clone());
    let chunked = |text: &str| {
        Answer::Say(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
            text.len()
        ))
    };
    let lies: Vec<(&str, String, String)> = vec![
        ("config, other bytes", config.clone(), said.replace("amd64", "arm64")),
        ("config, more", config.clone(), format!("{said} ")),
        ("config, less", config.clone(), said[..length - 1].to_owned()),
        ("config, nothing", config, String::new()),
        ("layer, other bytes", layer.clone(), format!("{}x", "\0".repeat(1023))),
        ("layer, more", layer.clone(), "\0".repeat(1025)),
        ("layer, less", layer.clone(), "\0".repeat(512)),
        ("layer, nothing", layer, String::new()),
    ];
    for (what, digest, bytes) in lies {
        for with_length in [true, false] {
            let (digest, bytes) = (digest.clone(), bytes.clone());
            let registry = image.serve(move |head, _| {
                let wanted = head.contains(&digest);
                wanted.then(|| if with_length { body("", &bytes) } else { chunked(&bytes) })
            });
            let error = refused(&env, &registry);
            assert!(error.starts_with("Error: "), "{what}: {error}");
        }
    }
    env.assert_store_is_clean();
}

/// A110, A139: manifests without measure, deep or wide; schema 1.
#[test]
fn bombs_for_documents_are_refused() {
    let (env, image) = (TestEnv::new(), Image::new());
    let layer = image.manifest.split_once("\"layers\":[").expect("layers").1.trim_end_matches("]}").to_owned();
    let many = image.manifest.replacen(&layer, &vec![layer.clone(); 10_000].join(","), 1);
    let deep = image.manifest.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(100_000), "]".repeat(100_000)), 1);
    let instance = format!(
        "{{\"mediaType\":\"{MANIFEST}\",\"digest\":\"{}\",\"size\":2,\"platform\":{{\"architecture\":\"a\",\"os\":\"b\"}}}}",
        Digest::of(b"{}")
    );
    let index = |entries: &str| format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{entries}]}}");
    let wide = index(&vec![instance.clone(); 15_000].join(","));
    let annotated = image.manifest.replacen('{', &format!("{{\"annotations\":{{\"a\":\"{}\"}},", "x".repeat(5 << 20)), 1);
    let signed =
        "{\"schemaVersion\":1,\"name\":\"x\",\"tag\":\"1\",\"fsLayers\":[],\"history\":[],\"signatures\":[{}]}".to_owned();
    let prettyjws = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    for (what, kind, text, words) in [
        ("layers", MANIFEST, many, "limit 500"),
        ("depth", MANIFEST, deep, "nested more than 128 deep"),
        ("platforms", INDEX, wide, "limit"),
        ("annotations", MANIFEST, annotated, "more than"),
        ("schema 1", prettyjws, signed.clone(), "manifest"),
        ("schema 1, unsaid", "application/json", signed, "manifest"),
        ("nothing", MANIFEST, String::new(), "parsing manifest"),
        ("null", MANIFEST, "null".to_owned(), "manifest"),
        ("a list", INDEX, "[]".to_owned(), "manifest"),
    ] {
        let registry = Proxy::start(None, move |_, _| body(&format!("Content-Type: {kind}\r\n"), &text));
        let error = refused(&env, &registry);
        assert!(error.contains(words), "{what}: {error}");
    }
}

/// A139: an index that names indexes, each by its digest, deeper than anybody needs.
#[test]
fn indexes_in_indexes_end_at_a_depth() {
    let (env, image) = (TestEnv::new(), Image::new());
    let mut documents = vec![image.manifest.clone()];
    for _ in 0..50 {
        let below = documents.last().expect("a document");
        let kind = if documents.len() == 1 { MANIFEST } else { INDEX };
        documents.push(format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{{\"mediaType\":\"{kind}\",\"digest\":\"{}\",\"size\":{},\
             \"platform\":{{\"architecture\":\"amd64\",\"os\":\"linux\"}}}}]}}",
            Digest::of(below.as_bytes()),
            below.len()
        ));
    }
    let top = documents.last().expect("a document").clone();
    let by_digest: Vec<(String, String)> =
        documents.into_iter().map(|text| (Digest::of(text.as_bytes()).to_string(), text)).collect();
    let registry = image.serve(move |head, _| {
        let found = by_digest.iter().find(|(digest, _)| head.contains(&format!("/manifests/{digest}")));
        let text = found.map(|(_, text)| text).or_else(|| head.contains("/manifests/1").then_some(&top))?;
        let kind = if text.contains(INDEX) { INDEX } else { MANIFEST };
        Some(body(&format!("Content-Type: {kind}\r\n"), text))
    });
    let error = env.run(["pull", "-q", INSECURE, "--retry", "0", "--arch", "amd64", &registry.name("x:1")]).failure(125);
    assert!(error.contains("nested more than 4 deep"), "{error}");
    assert!(registry.seen().len() < 10, "{:?}", registry.seen().len());
}

/// A102: pages of tags that never repeat themselves and never end.
#[test]
fn tags_without_end_are_given_up() {
    let env = TestEnv::new();
    let registry = Proxy::start(None, |head, _| {
        let number: u64 = head.split(['=', ' ']).filter_map(|word| word.parse().ok()).next().unwrap_or(0);
        let next = format!("Link: </v2/x/tags/list?n={}>; rel=\"next\"\r\n", number + 1);
        body(&next, &format!("{{\"tags\":[\"t{number}\"]}}"))
    });
    let begun = Instant::now();
    let error = env.run(["pull", "-q", INSECURE, "--retry", "0", "--all-tags", &registry.name("x")]).failure(125);
    assert!(error.contains("list of tags has no end"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

/// A110: a pause that nobody would wait for is not made; the person is told.
#[test]
fn a_pause_of_a_million_seconds_is_not_made() {
    let env = TestEnv::new();
    for line in ["429 Too Many Requests", "503 Service Unavailable"] {
        for pause in ["1000000", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "-5", "soon"] {
            let header = format!("Retry-After: {pause}\r\n");
            let registry = Proxy::start(None, move |_, _| status(line, &header));
            let begun = Instant::now();
            let words = ["pull", "-q", INSECURE, "--retry", "1", "--retry-delay", "10ms", &registry.name("x")];
            env.run(words).failure(125);
            assert!(begun.elapsed() < Duration::from_secs(30), "{line} {pause}: {:?}", begun.elapsed());
        }
    }
}

/// A143, A144, A147, no id: c/image 8d4ff594c6: what a server says is shown as text, on our line, and not without end.
#[test]
fn words_of_a_server_are_no_commands_for_a_terminal() {
    let env = TestEnv::new();
    let bad = "\\u001b[2J\\u001b]52;c;eA==\\u0007\\u009b31m\\r\\n::set-output name=x::y\\n##vso[x]\\u202e\\u0008";
    let long = "x".repeat(50_000);
    for text in [
        format!("{{\"errors\":[{{\"code\":\"{bad}\",\"message\":\"{bad}{long}\"}}]}}"),
        format!("{{\"details\":\"{bad}{long}\"}}"),
        format!("{{\"message\":\"{bad}\"}}"),
        "\u{1b}[2J\r\n::set-output name=x::y".to_owned(),
    ] {
        for line in ["400 Bad Request", "404 Not Found", "401 Unauthorized", "429 Too Many Requests", "500 \u{1b}[2J"] {
            let said = text.clone();
            let registry = Proxy::start(None, move |_, _| {
                Answer::Say(format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}", said.len()))
            });
            let output = env.run(["pull", "-q", INSECURE, "--retry", "0", &registry.name("x")]);
            let error = output.failure(125);
            let foreign = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
            assert!(!error.contains(foreign), "{line}: {error:?}");
            let ours = |line: &str| ["Error: ", "hint: ", "warning: "].iter().any(|start| line.starts_with(start));
            assert!(error.lines().all(ours) && error.len() < 3000, "{line}: {error}");
        }
    }
}

/// A110: an encoding that nobody asked for. Digests are over what comes, and nothing is unpacked on the way to them.
#[test]
fn an_encoding_that_was_not_asked_for_is_not_undone() {
    let (env, image) = (TestEnv::new(), Image::new());
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).expect("bytes in memory");
        encoder.finish().expect("bytes in memory")
    };
    let answer = |kind: &str, bytes: &[u8]| {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n", bytes.len());
        Answer::SayBytes([head.as_bytes(), b"Connection: close\r\n\r\n", bytes].concat())
    };
    let blob = "application/octet-stream";
    let documents = [
        ("/manifests/", MANIFEST, image.manifest.clone()),
        ("/blobs/", blob, image.config.clone()),
        ("/blobs/", blob, image.layer.clone()),
    ];
    for (part, kind, text) in documents {
        let digest = Digest::of(text.as_bytes()).to_string();
        let packed = gzip(&text);
        let is_it = move |head: &str| head.contains(part) && (part == "/manifests/" || head.contains(&digest));
        let (its, bytes) = (is_it.clone(), packed.clone());
        let registry = image.serve(move |head, _| its(head).then(|| answer(kind, &bytes)));
        let error = refused(&env, &registry);
        assert!(error.starts_with("Error: "), "{part}: {error}");
        let asked = registry.seen().iter().any(|head| head.to_lowercase().contains("accept-encoding"));
        assert!(!asked, "{:?}", registry.seen());
        // What only claims to be encoded is what it is.
        let registry = image.serve(move |head, _| is_it(head).then(|| answer(kind, text.as_bytes())));
        env.ok(["pull", "-q", INSECURE, &registry.name("x:1")]);
        env.ok(["rmi", "-af"]);
    }
    env.assert_store_is_clean();
}
