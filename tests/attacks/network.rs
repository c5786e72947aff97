//! The network of commands (known attacks A121, A122): what a program that connects them lets through, and what it may do itself.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{TestEnv, skip_without};

/// A container on busybox, and the environment it is in.
fn container() -> (TestEnv, String) {
    let env = TestEnv::new();
    env.busybox("busybox");
    let name = env.ok(["from", "--pull-never", "busybox"]);
    (env, name)
}

/// A server at `address` of this machine's loopback that counts who comes; none where there is no such address.
fn server(address: &str, reached: &Arc<AtomicUsize>) -> Option<u16> {
    let listener = TcpListener::bind((address, 0)).ok()?;
    let port = listener.local_addr().ok()?.port();
    let reached = Arc::clone(reached);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            reached.fetch_add(1, Ordering::Relaxed);
            drop(stream.read(&mut [0; 512]));
            drop(stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nreached\n"));
        }
    });
    Some(port)
}

/// A121, CVE-2021-20199: by no address of the network, not even the gateway's, is the machine's own loopback reached.
#[test]
fn the_machines_loopback_is_reached_by_no_address_of_the_network() {
    if skip_without(&["slirp4netns"]) {
        return;
    }
    let (env, name) = container();
    let reached = Arc::new(AtomicUsize::new(0));
    let ports = ["127.0.0.1", "::1"].map(|address| server(address, &reached));
    let mut places = String::new();
    for port in ports.into_iter().flatten() {
        for host in [
            "$gateway",
            "10.0.2.2",
            "10.0.2.3",
            "127.0.0.1",
            "169.254.1.1",
            "169.254.169.254",
            "[::1]",
            "[fd00::2]",
            "[fd00::3]",
        ] {
            places += &format!(" http://{host}:{port}/");
        }
    }
    let script = format!(
        "gateway=$(ip -4 route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'); echo \"gateway: $gateway\"
         for place in {places}; do timeout 3 wget -q -O - $place 2>/dev/null & done; wait"
    );
    let ask = |network: &str| env.run(["run", "--network", network, &name, "sh", "-c", &script]);
    // The control: whoever allows it gets there, so that the others could.
    let allowed = ask("slirp4netns:allow_host_loopback=true");
    assert!(allowed.out().contains("gateway: 10.0.2.2\n") && allowed.out().contains("reached"), "{allowed}");
    assert!(reached.swap(0, Ordering::Relaxed) > 0);
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let has_route = routes.lines().any(|route| route.split_whitespace().nth(1) == Some("00000000"));
    let has_pasta = !skip_without(&["pasta"]);
    for network in ["slirp4netns", "private", "pasta"] {
        // Pasta copies the machine's default route.
        if network == "pasta" && !(has_route && has_pasta) {
            continue;
        }
        let said = ask(network);
        assert!(said.out().starts_with("gateway: ") && !said.out().contains("reached"), "{network}: {said}");
        assert_eq!(reached.load(Ordering::Relaxed), 0, "{network}");
    }
}

/// A122: a fault of the program's own gives nobody the caller's rights: it has its own view of files, no privileges, and few calls.
#[test]
fn the_network_program_has_no_rights_of_the_caller() {
    if skip_without(&["slirp4netns", "pgrep"]) {
        return;
    }
    let (env, name) = container();
    let script = format!(
        r#"coracle run --network slirp4netns {name} sh -c 'echo up; sleep 2; exit 7' >up 2>error & run=$!
        until grep -q up up; do sleep 0.05; kill -0 $run; done
        helper=$(for p in $(pgrep -x slirp4netns); do grep -qs "^PPid:.$run\$" /proc/$p/status && echo $p; done; true)
        sed -n 's/^\(NoNewPrivs\|Seccomp\|CapPrm\|CapEff\):./\1 /p' /proc/$helper/status
        for kind in user mnt; do
            test "$(readlink /proc/$helper/ns/$kind)" != "$(readlink /proc/self/ns/$kind)" && echo own $kind
        done
        test "$(readlink /proc/$helper/ns/mnt)" != "$(readlink /proc/$run/ns/mnt)" && echo own mnt
        echo root: $(ls -A /proc/$helper/root/)
        echo environment: $(tr '\0' ' ' </proc/$helper/environ)
        for fd in /proc/$helper/fd/*; do readlink $fd | sed 's/\[.*//'; done | sort -u
        touch canary; test -e /proc/$helper/root$PWD/canary || echo no files of the caller
        kill -9 $helper; wait $run || echo ended with $?; cat error"#
    );
    let said = env.shell(&script).success();
    let lines: Vec<&str> = said.lines().collect();
    let want = [
        "CapPrm 0000000000000400",
        "CapEff 0000000000000400",
        "NoNewPrivs 1",
        "Seccomp 2",
        "own user",
        "own mnt",
        "own mnt",
        "root: etc run",
        "environment:",
        "/dev/net/tun",
        "/dev/null",
        "socket:",
        "no files of the caller",
        "ended with 7",
    ];
    assert!(lines.starts_with(&want), "{said}");
    env.assert_store_is_clean();
}
