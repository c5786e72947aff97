//! `--network slirp4netns:OPTIONS` and the settings of containers.conf about network programs, with Debian's slirp4netns.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::harness::{TestEnv, skip_without};

/// A container on busybox, and the environment it is in.
fn container(env: &TestEnv) -> String {
    env.busybox("busybox");
    env.ok(["from", "--pull-never", "busybox"])
}

/// A server on this machine's loopback that answers every request with `reached`, and its port.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && (&stream).take(1).read_to_end(&mut request).is_ok_and(|read| read == 1) {}
            drop(stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nreached\n"));
            // A connection that is closed with something unread is reset, and the answer lost.
            drop(stream.shutdown(std::net::Shutdown::Write));
            drop(stream.read_to_end(&mut request));
        }
    });
    port
}

#[test]
fn options_of_slirp4netns_shape_the_network() {
    if skip_without(&["slirp4netns"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    let show = "ip -4 addr show tap0; cat /etc/resolv.conf; cat /sys/class/net/tap0/mtu; cat /etc/hosts";
    let said =
        env.ok(["run", "--network", "slirp4netns:cidr=10.77.0.0/24,mtu=1400,enable_ipv6=false", &name, "sh", "-c", show]);
    for words in ["inet 10.77.0.100/24", "nameserver 10.77.0.3", "\n1400\n", "\n10.77.0.100\t"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let said = env.ok(["run", "--network", "slirp4netns", &name, "sh", "-c", show]);
    assert!(said.contains("inet 10.0.2.100/24") && said.contains("\n65520\n"), "{said}");
}

#[test]
fn the_loopback_of_the_machine_is_reached_only_where_that_was_allowed() {
    if skip_without(&["slirp4netns"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    let url = format!("http://10.0.2.2:{}/", server());
    let ask = |network: &str| env.run(["run", "--network", network, &name, "wget", "-q", "-O", "-", &url]);
    let refused = ask("slirp4netns");
    assert!(refused.code != Some(0) && refused.out().is_empty(), "{refused}");
    assert_eq!(ask("slirp4netns:allow_host_loopback=true").success(), "reached");
    // What from kept counts as well, and so do the settings; the command line has the last word.
    let kept = env.ok(["from", "--pull-never", "--network", "slirp4netns:allow_host_loopback=true", "busybox"]);
    assert_eq!(env.ok(["run", &kept, "wget", "-q", "-O", "-", &url]), "reached");
    env.write_home(".config/containers/containers.conf", "[engine]\nnetwork_cmd_options = [\"allow_host_loopback=true\"]\n");
    assert_eq!(ask("private").success(), "reached");
    assert_ne!(ask("slirp4netns:allow_host_loopback=false").code, Some(0));
}

#[test]
fn wrong_options_are_found_before_anything_runs() {
    let env = TestEnv::new();
    let name = env.ok(["from", "scratch"]);
    for (network, words) in [
        ("slirp4netns:speed=9", "unknown option for slirp4netns: \"speed=9\""),
        ("slirp4netns:mtu=1", "invalid mtu \"1\""),
        ("slirp4netns:cidr=fd00::/64", "invalid cidr \"fd00::/64\""),
        ("slirp4netns:port_handler=own", "unknown port_handler for slirp4netns: \"own\""),
        ("slirp4netns:outbound_addr6=::1,enable_ipv6=false", "enable_ipv6=true is required for outbound_addr6"),
        ("host:mtu=9", "configured networks are not supported"),
    ] {
        assert!(env.run(["run", "--network", network, &name, "true"]).failure(125).contains(words), "{network}");
        assert!(env.run(["from", "--network", network, "scratch"]).failure(125).contains(words), "{network}");
    }
}

#[test]
fn settings_name_the_program_and_its_options() {
    let env = TestEnv::new();
    let name = container(&env);
    let program = env.write("network-program", "#!/bin/sh\necho \"$@\" >\"$0.words\"\nexit 9\n");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    let conf = |text: &str| env.write_home(".config/containers/containers.conf", text);
    let words = || std::fs::read_to_string(env.work().join("network-program.words")).expect("what the program was told");
    conf(&format!("[engine]\nnetwork_cmd_path = {program:?}\nnetwork_cmd_options = [\"mtu=1234\"]\n"));
    let output = env.run(["run", "--network", "private", &name, "true"]);
    assert!(output.failure(125).contains("ended with status 9"), "{output}");
    assert!(words().contains("--mtu=1234") && words().contains("--disable-host-loopback"), "{}", words());

    env.shell("mkdir bin && ln -s ../network-program bin/pasta").success();
    let directory = env.work().join("bin");
    conf(&format!(
        "[engine]\nhelper_binaries_dir = [{directory:?}]\n[network]\ndefault_rootless_network_cmd = \"pasta\"\npasta_options = [\"--map-gw\", \"-4\"]\n"
    ));
    assert_eq!(env.run(["run", &name, "true"]).code, Some(125));
    let told = std::fs::read_to_string(directory.join("pasta.words")).expect("what pasta was told");
    assert!(told.contains("--config-net --quiet -4 --dns-forward") && !told.contains("map-gw"), "{told}");

    conf("[network]\ndefault_rootless_network_cmd = \"bridge\"\n");
    let output = env.run(["run", &name, "true"]);
    assert!(output.failure(125).contains("invalid default_rootless_network_cmd option \"bridge\""), "{output}");
    conf("[engine]\nnetwork_cmd_options = [\"mtu=1\"]\n[network]\ndefault_rootless_network_cmd = \"slirp4netns\"\n");
    let output = env.run(["run", "--network", "private", &name, "true"]);
    assert!(output.failure(125).contains("invalid mtu \"1\""), "{output}");
}

/// Debian's pasta gives up capabilities before it opens the namespace that it is to connect.
#[test]
fn pasta_connects_the_containers_of_an_ordinary_user() {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    if !routes.lines().any(|route| route.split_whitespace().nth(1) == Some("00000000")) {
        eprintln!("skipped: pasta copies the default route, and this machine has none");
        return;
    }
    if skip_without(&["pasta"]) {
        return;
    }
    let env = TestEnv::new();
    let name = container(&env);
    let said = env.ok(["run", "--network", "pasta", &name, "sh", "-c", "ip -4 addr; ip -4 route; cat /etc/resolv.conf"]);
    assert!(said.matches("inet ").count() >= 2 && said.contains("default via"), "{said}");
    assert!(said.contains("nameserver 169.254.1.1"), "{said}");
    let output = env.run(["run", "--network", "pasta:--no-such-word", &name, "true"]);
    assert!(output.failure(125).contains("no-such-word"), "{output}");
}
