//! The client against a server of a few lines: what each hop of a redirect sees, limits, broken answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// Answers each request with what `answer` makes of its head, and keeps the heads.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (heads, answer) = (Arc::clone(&seen), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heads, answer) = (Arc::clone(&heads), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &heads, answer.as_ref()));
            }
        });
        Self { port, seen }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}{path}", self.port)).unwrap()
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().join("\n")
    }
}

fn serve(mut stream: TcpStream, heads: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            // No letter begins a request but that of a method: this is TLS.
            Ok(1) if head.is_empty() && !byte[0].is_ascii_uppercase() => break,
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    heads.lock().unwrap().push(head.clone());
    let _ = stream.write_all(answer(&head).as_bytes());
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn to(location: &str) -> String {
    format!("HTTP/1.1 307 Away\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn get(url: Url) -> Result<Response, Error> {
    get_within(url, Settings::default().stall)
}

fn get_within(url: Url, stall: Duration) -> Result<Response, Error> {
    let client =
        Client::new(Settings { user_agent: "test/1".to_owned(), proxies: Proxies::default(), stall, ..Settings::default() });
    client.send(Request {
        method: Method::Get,
        url,
        headers: Vec::new(),
        authorization: Some(&Authorization::basic("u", "secret")),
        trust: &Trust::system(),
        payload: Payload::None,
    })
}

/// A100.
#[test]
fn a_redirect_away_loses_the_credentials_for_good() {
    let home = Arc::new(Mutex::new(String::new()));
    let back = Arc::clone(&home);
    let evil = Server::start(move |_| to(&format!("{}/end", back.lock().unwrap())));
    let away = format!("http://127.0.0.1:{}/x", evil.port);
    let registry = Server::start(move |head| match head.split(' ').nth(1) {
        Some("/away") => to(&away),
        Some("/here") => to("/end"),
        _ => ok("end"),
    });
    *home.lock().unwrap() = format!("http://127.0.0.1:{}", registry.port);
    let secret = "Authorization: Basic dTpzZWNyZXQ=";

    assert_eq!(get(registry.url("/here")).unwrap().read_all(10).unwrap(), b"end");
    let seen = registry.seen();
    assert_eq!(seen.to_lowercase().matches(&secret.to_lowercase()).count(), 2, "{seen}");
    assert!(seen.contains("test/1"));

    assert_eq!(get(registry.url("/away")).unwrap().read_all(10).unwrap(), b"end");
    let back = registry.seen()[seen.len()..].to_lowercase();
    assert_eq!(back.matches("authorization").count(), 1, "only /away may have it: {back}");
    assert!(!evil.seen().to_lowercase().contains("authorization"), "{}", evil.seen());
}

/// What nothing comes of is ended from another thread; the client is of use afterwards.
#[test]
fn who_waits_for_a_server_can_be_interrupted() {
    let server = Server::start(|_| ok("here"));
    // It takes connections, and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let client = Client::new(Settings::default());
    let ask = |url: Url| {
        let (headers, payload) = (Vec::new(), Payload::None);
        client.send(Request { method: Method::Get, url, headers, authorization: None, trust: &Trust::system(), payload })
    };
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(address));
        let _held = listener.accept().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        client.interrupt();
        assert!(waiting.join().unwrap().is_err());
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(ask(server.url("/")).unwrap().read_all(10).unwrap(), b"here");
}

/// A100, A112.
#[test]
fn redirects_end_and_stay_on_the_web() {
    let registry = Server::start(|head| match head.split(' ').nth(1) {
        Some("/loop") => to("/loop"),
        Some("/file") => to("file:///etc/passwd"),
        Some("/user") => to("http://u:p@127.0.0.1/"),
        _ => ok(""),
    });
    for (path, words) in [("/loop", "too many redirects"), ("/file", "only http and https"), ("/user", "user name")] {
        let error = get(registry.url(path)).unwrap_err().to_string();
        assert!(error.contains(words), "{path}: {error}");
    }
}

/// A110.
#[test]
fn answers_have_limits() {
    let registry = Server::start(|head| match head.split(' ').nth(1) {
        Some("/large") => ok(&"x".repeat(1000)),
        Some("/headers") => format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X-A: b\r\n".repeat(100_000)),
        Some("/short") => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_owned(),
        Some("/garbage") => "\0\0\0".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
    });
    assert!(matches!(get(registry.url("/large")).unwrap().read_all(999), Err(Error::TooLarge { .. })));
    assert_eq!(get(registry.url("/large")).unwrap().read_all(1000).unwrap().len(), 1000);
    for path in ["/headers", "/garbage"] {
        assert!(get(registry.url(path)).is_err(), "{path}");
    }
    for path in ["/short", "/chunks"] {
        assert!(get(registry.url(path)).unwrap().read_all(1000).is_err(), "{path}");
    }
}

/// Writes `head`, then one letter after another until the other side has enough.
fn dripping(head: &'static str) -> Url {
    pouring(head, 1)
}

/// The same with so many letters at a time.
fn pouring(head: &'static str, letters: usize) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.write_all(head.as_bytes());
                while stream.write_all(&vec![b'x'; letters]).is_ok() {
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap()
}

/// A110: each letter comes in time, and all of them never would.
#[test]
fn a_server_that_trickles_is_given_up() {
    let stall = Duration::from_millis(300);
    for head in ["HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\nX-Endless: "] {
        let begun = Instant::now();
        let error = get_within(dripping(head), stall).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{head:?}: {error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{head:?}: {:?}", begun.elapsed());
    }
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n"] {
        let begun = Instant::now();
        let error = get_within(dripping(head), stall).unwrap().read_all(1 << 20).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{head:?}: {error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{head:?}: {:?}", begun.elapsed());
    }
    // Fast enough for a blob, and a document that would take a day.
    let begun = Instant::now();
    let error = get_within(pouring("HTTP/1.1 200 OK\r\n\r\n", 2048), stall).unwrap().read_all(64 << 20).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!((2..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    // Nobody accepts, or accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    assert!(matches!(get_within(url, stall).unwrap_err(), Error::Timeout { .. }));
}

/// A110: bodies that are not what their head says.
#[test]
fn a_body_ends_where_its_head_says() {
    let registry = Server::start(|head| match head.split(' ').nth(1) {
        Some("/long") => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef".to_owned(),
        Some("/both") => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        Some("/twice") => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 6\r\n\r\nabcdef".to_owned(),
        Some("/huge") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc".to_owned(),
    });
    assert_eq!(get(registry.url("/long")).unwrap().read_all(10).unwrap(), b"abc");
    for path in ["/both", "/twice", "/huge", "/negative"] {
        let read = get(registry.url(path)).and_then(|response| response.read_all(10));
        assert!(!read.is_ok_and(|bytes| bytes.len() > 6), "{path}");
    }
}

#[test]
fn who_does_not_answer_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = get(Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), format!("connecting to http://127.0.0.1:{port}"));
    assert!(!error.is_transient());
    let server = Server::start(|_| "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned());
    let error = get(Url::parse(&format!("https://127.0.0.1:{}/", server.port)).unwrap()).unwrap_err();
    assert!(error.is_without_tls(), "{error:?}");
    assert!(!format!("{:?}", Authorization::bearer("secret")).contains("secret"));
}
