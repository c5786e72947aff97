//! A97, A102, A110, A111: answers of a registry that are no HTTP, break off, trickle or have no measure, whatever was asked for.

use std::time::{Duration, Instant};

use containers_storage::Digest;

use super::registry_bytes::{Image, refused};
use crate::harness::TestEnv;
use crate::harness::registry::{Answer, Proxy, body, status};

const INSECURE: &str = "--tls-verify=false";
const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// Answers around `text` that say it by halves, in two ways, or not at all.
fn broken(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (length, half) = (text.len(), &text[..text.len() / 2]);
    let said = |head: &str, rest: &str| format!("{OK}{head}\r\n\r\n{rest}").into_bytes();
    let chunked = |rest: String| format!("{CHUNKED}{rest}").into_bytes();
    vec![
        ("nothing", Vec::new()),
        ("no HTTP", b"hello\r\n\r\n".to_vec()),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        ("another version", format!("HTTP/9.9 200 OK\r\nContent-Length: {length}\r\n\r\n{text}").into_bytes()),
        ("HTTP 2", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80".to_vec()),
        ("TLS", b"\x15\x03\x03\0\x02\x02\x28".to_vec()),
        ("no status", format!("HTTP/1.1 abc OK\r\nContent-Length: {length}\r\n\r\n{text}").into_bytes()),
        ("a status of four", format!("HTTP/1.1 2000 OK\r\nContent-Length: {length}\r\n\r\n{text}").into_bytes()),
        ("half", said(&format!("Content-Length: {length}"), half)),
        ("a length below nothing", said("Content-Length: -1", text)),
        ("a length in words", said("Content-Length: many", text)),
        ("a length of 2^64", said("Content-Length: 18446744073709551616", text)),
        ("two lengths", said(&format!("Content-Length: {length}\r\nContent-Length: {}", length - 1), text)),
        ("a NUL in the head", said(&format!("X: \0\r\nContent-Length: {length}"), text)),
        ("half a chunk", chunked(format!("{length:x}\r\n{half}"))),
        ("no last chunk", chunked(format!("{length:x}\r\n{text}\r\n"))),
        ("no chunk", chunked(String::new())),
        ("a chunk in words", chunked(format!("zz\r\n{text}\r\n0\r\n\r\n"))),
        ("a chunk of 2^64", chunked(format!("10000000000000000\r\n{text}\r\n0\r\n\r\n"))),
        ("a chunk below nothing", chunked(format!("-5\r\n{text}\r\n0\r\n\r\n"))),
        ("a chunk without an end of line", chunked(format!("{length:x}\r\n{text}0\r\n\r\n"))),
        ("a chunk's extension without end", chunked(format!("5;{}", "x".repeat(8 << 20)))),
        ("an encoding that nobody knows", said("Transfer-Encoding: x-strange", text)),
        ("continue without end", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(300_000)),
        ("hints without end", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(300_000)),
        ("a line without end", vec![b'x'; 8 << 20]),
        ("another protocol", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n".to_vec()),
        ("no content", b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec()),
        ("not modified", b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_vec()),
        ("a part", format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-{0}/{length}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}", length - 1).into_bytes()),
        ("a choice", b"HTTP/1.1 300 Multiple Choices\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()),
    ]
}

/// A110, A111: of a manifest and of a layer.
#[test]
fn answers_that_are_said_by_halves_are_refused() {
    let (env, image) = (TestEnv::new(), Image::new());
    let layer = Digest::of(image.layer.as_bytes()).to_string();
    let mut taken = Vec::new();
    for (part, text) in [("/manifests/1".to_owned(), &image.manifest), (layer, &image.layer)] {
        for (what, answer) in broken(text) {
            let part = part.clone();
            let registry = image.serve(move |head, _| head.contains(&part).then(|| Answer::SayBytes(answer.clone())));
            let begun = Instant::now();
            let output = env.run(["pull", "-q", INSECURE, "--retry", "0", &registry.name("x:1")]);
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {:?}", begun.elapsed());
            if env.ok(["images", "-q"]).is_empty() {
                let error = output.failure(125);
                assert!(error.starts_with("Error: ") && error.len() < 3000, "{what}: {error}");
            } else {
                taken.push(what);
                env.ok(["rmi", "-af"]);
            }
        }
    }
    assert!(taken.is_empty(), "{taken:?}");
    env.assert_store_is_clean();
}

/// A110: what is endless is not kept.
#[test]
fn answers_without_end_take_no_memory() {
    let env = TestEnv::new();
    for head in [
        format!("{CHUNKED}5;"),
        format!("{CHUNKED}5\r\nhello\r\n0\r\nX: "),
        format!("{CHUNKED}7fffffffffffffff\r\n"),
        "HTTP/1.1 200 OK\r\nX: ".to_owned(),
        String::new(),
    ] {
        let said = head.clone();
        let registry = Proxy::start(None, move |_, _| Answer::Pour(said.clone(), 1 << 30));
        let begun = Instant::now();
        let command = format!("coracle pull -q --retry 0 --tls-verify=false {}", registry.name("x"));
        let (output, peak) = env.peak_of(&command);
        assert!(output.failure(125).len() < 2000, "{head}");
        assert!(peak < 100 << 20 && begun.elapsed() < Duration::from_secs(30), "{head}: {peak}, {:?}", begun.elapsed());
    }
}

/// A100: a `Location` that is none leads nowhere.
#[test]
fn a_redirect_to_no_address_ends_there() {
    let (env, evil) = (TestEnv::new(), Proxy::evil());
    let (long, away) = ("x".repeat(20_000), evil.host());
    for location in [
        "",
        "//",
        "http://",
        "http://[",
        "http:///x",
        "http://a b/",
        "http://\u{e9}/",
        "\\\\evil\\x",
        "http:evil",
        "data:,x",
        "http://%65vil/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:70000/",
        &long,
        &format!("http://user:x@{away}/"),
        &format!("http://x@{away}@{away}/"),
        &format!("http://{away}\t/"),
    ] {
        let header = format!("Location: {location}\r\n");
        let registry = Proxy::start(None, move |_, _| status("302 Found", &header));
        let error = refused(&env, &registry);
        assert!(error.starts_with("Error: "), "{location}: {error}");
    }
    assert!(evil.seen().is_empty(), "{:?}", evil.seen());
}

/// A97, A110: what a token server gives is a token, or it is said what is wrong with it.
#[test]
fn tokens_have_a_measure() {
    let (env, image) = (TestEnv::new(), Image::new());
    let (million, some) = ("x".repeat(1 << 20), "x".repeat(200_000));
    for (answer, words) in [
        (format!("{{\"token\":\"{million}\"}}"), "more than"),
        (format!("{{\"token\":\"{some}\"}}"), "too long"),
        ("{\"token\":\"a\\r\\nX-Evil: b\"}".to_owned(), "gave no token"),
        ("{\"token\":\"\",\"access_token\":null}".to_owned(), "gave no token"),
        (format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), "not JSON"),
        ("null".to_owned(), "not JSON"),
        (String::new(), "not JSON"),
        ("{\"token\":\"good\",\"expires_in\":18446744073709551615}".to_owned(), ""),
        ("{\"token\":null,\"access_token\":\"good\",\"expires_in\":null}".to_owned(), ""),
        ("{\"token\":\"good\",\"access_token\":null,\"issued_at\":7}".to_owned(), ""),
    ] {
        let tokens = Proxy::start(None, move |_, _| body("Content-Type: application/json\r\n", &answer));
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"s\"\r\n", tokens.host());
        let registry = image.serve(move |head, _| {
            let shown = head.to_lowercase().contains("authorization: bearer good\r\n");
            (!shown).then(|| status("401 Unauthorized", &challenge))
        });
        if words.is_empty() {
            env.ok(["pull", "-q", INSECURE, "--retry", "0", &registry.name("x:1")]);
            env.ok(["rmi", "-af"]);
        } else {
            let error = refused(&env, &registry);
            assert!(error.contains(words), "{words}: {error}");
            assert!(!error.contains("X-Evil"), "{error}");
        }
        assert_eq!(tokens.seen().len(), 1);
    }
}

/// A97: who is never content is asked twice, and no token is got a third time.
#[test]
fn a_registry_that_is_never_content_is_asked_twice() {
    let env = TestEnv::new();
    let tokens = Proxy::start(None, |_, before| body("", &format!("{{\"token\":\"t{before}\"}}")));
    for challenge in [
        format!("Bearer realm=\"http://{}/token\"", tokens.host()),
        "Basic realm=\"x\"".to_owned(),
        "Basic realm=\"x\", Negotiate".to_owned(),
        "Negotiate".to_owned(),
        "Bearer".to_owned(),
        String::new(),
        "Basic ".repeat(5000),
    ] {
        let header = format!("WWW-Authenticate: {challenge}\r\n");
        let registry = Proxy::start(None, move |_, _| status("401 Unauthorized", &header));
        let words =
            ["pull", "-q", INSECURE, "--retry", "3", "--retry-delay", "1ms", "--creds", "u:canary", &registry.name("x")];
        let error = env.run(words).failure(125);
        assert!(!error.contains("canary") && registry.seen().len() <= 2, "{challenge}: {error}{:?}", registry.seen());
    }
    assert!(tokens.seen().len() <= 2, "{:?}", tokens.seen());
}

/// A110: a server that ends each connection after a byte would never come to an end.
#[test]
fn a_byte_for_each_connection_is_no_progress() {
    let (env, image) = (TestEnv::new(), Image::new());
    let layer = Digest::of(image.layer.as_bytes()).to_string();
    let (wanted, length) = (layer.clone(), image.layer.len());
    let registry = image.serve(move |head, _| {
        if !head.contains(&wanted) {
            return None;
        }
        let lower = head.to_lowercase();
        let from = lower.split("bytes=").nth(1).and_then(|rest| rest.split('-').next()?.parse::<usize>().ok());
        let head = match from {
            Some(from) => format!("HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-{}/{length}\r\n", length - 1),
            None => "HTTP/1.1 200 OK\r\n".to_owned(),
        };
        let left = length - from.unwrap_or(0);
        Some(Answer::Say(format!("{head}Content-Length: {left}\r\nConnection: close\r\n\r\n\0")))
    });
    let words = ["pull", "-q", INSECURE, "--retry", "2", "--retry-delay", "1ms", &registry.name("x:1")];
    let error = env.run(words).failure(125);
    assert!(error.starts_with("Error: "), "{error}");
    assert_eq!(registry.count(&[&layer]), 3, "{:?}", registry.seen());
    env.assert_store_is_clean();
}

/// A105, A106: a part that is not the one that was asked for, or of other bytes, is no part of the layer.
#[test]
fn parts_of_another_blob_are_not_put_together() {
    let (env, image) = (TestEnv::new(), Image::new());
    let layer = Digest::of(image.layer.as_bytes()).to_string();
    let length = image.layer.len();
    for (what, range, rest) in [
        ("another part", format!("bytes 0-{}/{length}", length - 1), "\0".repeat(length - 512)),
        ("no part", String::new(), "\0".repeat(length - 512)),
        ("a part in words", "bytes half".to_owned(), "\0".repeat(length - 512)),
        ("more", format!("bytes 512-{}/{length}", length - 1), "\0".repeat(length)),
        ("less", format!("bytes 512-{}/{length}", length - 1), "\0".repeat(10)),
        ("changed since", format!("bytes 512-{}/{length}", length - 1), "x".repeat(length - 512)),
    ] {
        let wanted = layer.clone();
        let registry = image.serve(move |head, _| {
            let is_part = head.to_lowercase().contains("bytes=512-");
            head.contains(&wanted).then(|| {
                Answer::Say(if is_part {
                    let length = rest.len();
                    format!("HTTP/1.1 206 Part\r\nETag: \"2\"\r\nContent-Range: {range}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{rest}")
                } else {
                    format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{}", "\0".repeat(512))
                })
            })
        });
        let words = ["pull", "-q", INSECURE, "--retry", "1", "--retry-delay", "1ms", &registry.name("x:1")];
        let error = env.run(words).failure(125);
        assert!(error.starts_with("Error: ") && registry.count(&[&layer]) == 2, "{what}: {error}{:?}", registry.seen());
    }
    env.assert_store_is_clean();
}

/// A102, A110: a list of tags fits into memory.
#[test]
fn tags_without_measure_are_given_up() {
    let env = TestEnv::new();
    let few_and_long = format!("{{\"tags\":[\"{}\"]}}", "x".repeat(4_000_000));
    let many_and_short = format!("{{\"tags\":[{}\"a\"]}}", "\"a\",".repeat(900_000));
    for page in [few_and_long, many_and_short] {
        let registry = Proxy::start(None, move |head, _| {
            let number: u64 = head.split(['=', ' ']).filter_map(|word| word.parse().ok()).next().unwrap_or(0);
            body(&format!("Link: </v2/x/tags/list?n={}>; rel=\"next\"\r\n", number + 1), &page)
        });
        let command = format!("coracle pull -q --retry 0 --tls-verify=false --all-tags {}", registry.name("x"));
        let (output, peak) = env.peak_of(&command);
        let error = output.failure(125);
        assert!(error.contains("list of tags is too long") && error.len() < 2000, "{error}");
        assert!(peak < 200 << 20, "{peak}");
        assert!(registry.seen().len() < 12);
    }
}

/// A103, A105: names that mean something to a server and not to us, or the other way round, are no names.
#[test]
fn names_with_more_than_letters_ask_nobody() {
    let (env, registry) = (TestEnv::new(), Proxy::evil());
    let host = registry.host();
    for name in [
        format!("{host}/a%2fb"),
        format!("{host}/a%2e%2e/b"),
        format!("{host}/../b"),
        format!("{host}/a//b"),
        format!("{host}/Upper"),
        format!("{host}/a?x=1"),
        format!("{host}/a#b"),
        format!("{host}/a:t/../../x"),
        format!("{host}/a:{}", "t".repeat(129)),
        format!("{host}/a@sha256:{}", "A".repeat(64)),
        format!("{host}/a@sha256:../x"),
        format!("{host}/{}", "a/".repeat(200)),
        format!("user:canary@{host}/a"),
        format!("{host}\r\nX: y/a"),
        format!("{host}/a b"),
        format!("{host}/\u{e4}"),
    ] {
        for name in [name.clone(), format!("docker://{name}")] {
            let error = env.run(["pull", "-q", INSECURE, "--retry", "0", &name]).failure(125);
            assert!(error.starts_with("Error: "), "{name}: {error}");
        }
    }
    assert!(registry.seen().is_empty(), "{:?}", registry.seen());
}
