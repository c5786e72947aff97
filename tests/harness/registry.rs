//! Debian's `docker-registry` on a free port of this machine, and a proxy of a few lines before it that fails on purpose.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server holds a connection on which nothing comes: longer than a test, shorter than our own patience.
const HOLD: Duration = Duration::from_secs(45);

/// The program of the package docker-registry.
pub const PROGRAM: &str = "docker-registry";
/// The user and password of a registry with a login, and what htpasswd makes of them.
pub const USER: &str = "user";
pub const PASSWORD: &str = "pass";
const HTPASSWD: &str = "user:$2y$05$msjhp38g6IvWhSRT/k6xJ.I7DyxLUW72M4GhEpT79w1cA5IDUnR5m\n";

/// A registry that ends with this value.
pub struct Registry {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Registry {
    /// Without TLS and login.
    pub fn plain() -> Self {
        Self::start("", "")
    }

    /// Without TLS, for [`USER`] with [`PASSWORD`].
    pub fn with_login() -> Self {
        Self::start("", "auth: { htpasswd: { realm: test, path: htpasswd } }\n")
    }

    /// With TLS, by an authority of its own, whose certificate is [`Registry::authority`].
    pub fn with_tls() -> Self {
        Self::start("\n  tls: { certificate: server.crt, key: server.key }", "")
    }

    /// The same for those who show a certificate of that authority: `client.cert` and `client.key` beside it.
    pub fn with_client_certificates() -> Self {
        Self::start("\n  tls: { certificate: server.crt, key: server.key, clientcas: [ca.crt] }", "")
    }

    /// With TLS, and a certificate for the name `localhost` alone that signed itself: [`Registry::own_certificate`].
    pub fn with_own_certificate() -> Self {
        Self::start("\n  tls: { certificate: own.crt, key: own.key }", "")
    }

    /// With TLS and the images of `other`; whoever asks for a blob or begins an upload is sent to `host`, in the clear.
    pub fn leading_into_the_clear(other: &Self, host: &str) -> Self {
        let tls = format!("\n  tls: {{ certificate: server.crt, key: server.key }}\n  host: http://{host}");
        let away = format!("middleware: {{ storage: [ {{ name: redirect, options: {{ baseurl: 'http://{host}/' }} }} ] }}\n");
        Self::start_on(&other.dir.path().join("data"), &tls, &away)
    }

    fn start(tls: &str, auth: &str) -> Self {
        Self::start_on(Path::new("data"), tls, auth)
    }

    fn start_on(data: &Path, tls: &str, more: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("coracle-reg").tempdir_in("/var/tmp").expect("a directory");
        // Others must be able to read the certificate.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
        fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("a file");
        if !tls.is_empty() {
            make_certificates(dir.path());
        }
        // Whoever takes the port between here and the start makes the registry end, and another port is tried.
        for _ in 0..5 {
            let port = free_port();
            let settings = format!(
                "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ enabled: true }} }}\n\
                 http:\n  addr: 127.0.0.1:{port}{tls}\n{more}",
                data.display()
            );
            fs::write(dir.path().join("settings.yml"), settings).expect("a file");
            let mut command = Command::new(PROGRAM);
            command.args(["serve", "settings.yml"]).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().expect("docker-registry");
            let end = Instant::now() + Duration::from_secs(10);
            while Instant::now() < end && child.try_wait().expect("its state").is_none() {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Self { child, dir, port };
                }
                thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not start");
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The name of an image here.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority of a registry with TLS.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// What makes a registry with a certificate of its own one to trust: as plain `openssl req -x509` makes it, an authority's.
    pub fn own_certificate(&self) -> PathBuf {
        self.dir.path().join("own.crt")
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        self.dir.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn make_certificates(dir: &Path) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-ca \
        -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=127.0.0.1 -keyout server.key -out server.csr
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.invalid,IP:::1\nbasicConstraints=CA:FALSE\n' >ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.crt
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=client -keyout client.key -out client.csr
        printf 'extendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n' >client.ext
        openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile client.ext -out client.cert
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout own.key -out own.crt
        chmod 644 ca.crt own.crt client.cert client.key";
    let made = Command::new("sh").args(["-euc", script]).current_dir(dir).output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// What the proxy does with a request.
pub enum Answer {
    /// The registry answers.
    Pass,
    /// The registry answers, and after this many bytes the connection ends.
    CutAfter(usize),
    /// The registry answers, and after this many bytes nothing comes for longer than a test may take.
    HoldAfter(usize),
    /// This is the answer, head and body.
    Say(String),
    /// The same, where it is no text.
    SayBytes(Vec<u8>),
    /// This is the head of the answer, and so many bytes follow.
    Pour(String, u64),
}

/// An answer without a body.
pub fn status(line: &str, headers: &str) -> Answer {
    Answer::Say(format!("HTTP/1.1 {line}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"))
}

/// An answer with a body.
pub fn body(headers: &str, body: &str) -> Answer {
    Answer::Say(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
}

/// A server before a registry, or in its place.
pub struct Proxy {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Asks `answer` what to do with each request: its head, and how many had the same first line before.
    pub fn start(upstream: Option<&Registry>, answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"), upstream, answer)
    }

    /// The same before a registry at `[::1]`; none where this machine has no such address.
    pub fn on_ipv6(upstream: &Registry) -> Option<Self> {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok()?;
        Some(Self::on(listener, Some(upstream), |_, _| Answer::Pass))
    }

    /// The same at a port that was chosen before.
    pub fn on(
        listener: TcpListener,
        upstream: Option<&Registry>,
        answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().expect("its port").port();
        let upstream = upstream.map(|registry| registry.port);
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (heads, answer) = (Arc::clone(&seen), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heads, answer) = (Arc::clone(&heads), Arc::clone(&answer));
                thread::spawn(move || serve(stream, upstream, &heads, answer.as_ref()));
            }
        });
        Self { port, seen }
    }

    /// A server that gives every request an empty answer: whoever comes here was led astray.
    pub fn evil() -> Self {
        Self::start(None, |_, _| status("404 Not Found", ""))
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name of an image here.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// The heads of all requests.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("the requests").clone()
    }

    /// How many requests have all of these words in their heads.
    pub fn count(&self, words: &[&str]) -> usize {
        self.seen().iter().filter(|head| words.iter().all(|word| head.contains(word))).count()
    }

    /// Whether any request carried credentials or a token.
    pub fn saw_credentials(&self) -> bool {
        self.seen().iter().any(|head| head.to_lowercase().contains("authorization:"))
    }
}

/// Sends an answer, and `more` bytes that mean nothing, until the client has enough of it.
fn say(mut client: TcpStream, answer: &[u8], more: u64) {
    let _ = client.write_all(answer);
    let _ = std::io::copy(&mut std::io::repeat(b'x').take(more), &mut client);
    let _ = client.shutdown(Shutdown::Write);
    // What the client still sends must not make the system throw the answer away.
    let _ = client.set_read_timeout(Some(Duration::from_secs(2)));
    let _ = std::io::copy(&mut client, &mut std::io::sink());
}

fn serve(mut client: TcpStream, upstream: Option<u16>, heads: &Mutex<Vec<String>>, answer: &dyn Fn(&str, usize) -> Answer) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            // TLS, which nobody speaks here.
            Ok(1) if head.is_empty() && !byte[0].is_ascii_uppercase() => {
                let _ = client.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
                return;
            }
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let first = head.lines().next().unwrap_or_default().to_owned();
    let before = {
        let mut heads = heads.lock().expect("the requests");
        let before = heads.iter().filter(|head| head.starts_with(&first)).count();
        heads.push(head.clone());
        before
    };
    let answer = answer(&head, before);
    let most = match &answer {
        Answer::Say(text) => return say(client, text.as_bytes(), 0),
        Answer::SayBytes(bytes) => return say(client, bytes, 0),
        Answer::Pour(head, length) => return say(client, head.as_bytes(), *length),
        Answer::Pass => usize::MAX,
        Answer::CutAfter(most) | Answer::HoldAfter(most) => *most,
    };
    let Some(mut server) = upstream.and_then(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()) else { return };
    // One request for each connection keeps this simple.
    let _ = server.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes());
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { return };
    thread::spawn(move || drop(std::io::copy(&mut from_client, &mut to_server)));
    let mut sent = 0;
    let mut piece = [0; 16 << 10];
    while let Ok(length @ 1..) = server.read(&mut piece) {
        let length = length.min(most - sent);
        if client.write_all(&piece[..length]).is_err() {
            break;
        }
        sent += length;
        if sent == most {
            break;
        }
    }
    if matches!(answer, Answer::HoldAfter(_)) && sent == most {
        thread::sleep(HOLD);
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
