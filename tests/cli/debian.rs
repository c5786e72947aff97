//! A real Debian: debootstrap's root file system, apt-get inside, a web server that answers, and the other tools on the result.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{TestEnv, skip_without};

/// The tar that `contrib/test` makes with debootstrap; none where the package source could not be reached.
fn debian_tar() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CORACLE_TEST_DEBIAN_TAR")?);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {path:?} does not exist");
    None
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_debian_web_server_from_apt_is_built_shared_and_answers() {
    let Some(tar) = debian_tar() else { return };
    if skip_without(&["podman", "buildah", "skopeo"]) {
        return;
    }
    let env = TestEnv::new();
    let port = free_port();
    env.write("index.html", "hello from nginx\n");

    let container = env.ok(["from", "scratch"]);
    env.ok(["add", "-q", &container, &tar.to_string_lossy(), "/"]);
    env.ok(["config", "--cmd", "/bin/bash", &container]);
    env.ok(["commit", "-q", "--rm", &container, "debian"]);

    let container = env.ok(["from", "debian"]);
    let install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light";
    env.ok(["run", &container, "--", "sh", "-c", install]);
    let set_port =
        format!("sed -i -e 's/listen 80 /listen {port} /' -e '/listen \\[::\\]/d' /etc/nginx/sites-available/default");
    env.ok(["run", &container, "--", "sh", "-c", &set_port]);
    env.ok(["copy", "-q", &container, "index.html", "/var/www/html/index.html"]);
    env.ok([
        "config",
        "--entrypoint",
        r#"["nginx","-g","daemon off;"]"#,
        "--port",
        &port.to_string(),
        "--label",
        "web=yes",
        &container,
    ]);
    let id = env.ok(["commit", "-q", &container, "web"]);

    // The server answers on loopback from `run`.
    let mut command = env.command("coracle");
    command.args(["run", "--network", "host", &container, "--", "nginx", "-g", "daemon off;"]);
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("coracle run");
    let deadline = Instant::now() + Duration::from_secs(20);
    let answer = loop {
        match get(port) {
            Some(answer) if !answer.is_empty() => break answer,
            _ if Instant::now() > deadline => break String::new(),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    // A second verb works on the container while the server runs in it.
    let beside = env.ok(["run", &container, "--", "cat", "/var/www/html/index.html"]);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(server.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("SIGTERM");
    server.wait().expect("the end of the server");
    assert!(answer.contains("hello from nginx"), "{answer:?}");
    assert_eq!(beside, "hello from nginx");
    assert!(get(port).is_none(), "nginx outlived its run");

    // The other tools see the same image.
    let listed = env.tool("podman", ["images", "--no-trunc", "-q"]).success();
    assert!(listed.contains(&id), "{listed}");
    let inspected = env.tool("skopeo", ["inspect", "--config", "containers-storage:localhost/web:latest"]).success();
    assert!(inspected.contains("\"web\":\"yes\"") || inspected.contains("\"web\": \"yes\""), "{inspected}");
    let theirs = env.tool("buildah", ["from", "localhost/web:latest"]).success();
    let version = env.tool("buildah", ["run", "--isolation", "chroot", &theirs, "nginx", "-v"]);
    assert_eq!(version.code, Some(0), "{version}");
    let target = format!("dir:{}", env.work().join("out").display());
    env.tool("skopeo", ["copy", "-q", "containers-storage:localhost/web:latest", &target]).success();
    let digests =
        env.shell("cd out; for f in [0-9a-f]*; do echo \"$f  $f\"; done | sha256sum --quiet -c -; echo good").success();
    assert_eq!(digests, "good");
    env.ok(["rm", "-a"]);
    env.assert_store_is_clean();
}
