//! Wrong words of `from` and `run`, and the settings of containers.conf: Debian's Buildah and we refuse and do the same.

use crate::harness::{TestEnv, skip_without};

/// One call each; `C` is a container on the image `base`. All are refused, in these very words.
const REFUSED: &[&str] = &[
    "from --dns none --dns 192.0.2.1 base",
    "from --dns none --dns-search x base",
    "from --dns none --dns-option x base",
    "from --add-host db base",
    "from --add-host db:x base",
    "from --shm-size x base",
    "from --shm-size -1 base",
    "from -v /nonexistent:/x base",
    "from -v rel:/x base",
    "from -v /tmp:rel base",
    "from -v /tmp base",
    "from -v /tmp:/x:bad base",
    "from -v /tmp:/x:ro,rw base",
    "from -v /tmp:/x:O,z base",
    "from -v /tmp:/x:U,U base",
    "from -v /tmp:/x:shared,slave base",
    "from --userns nonexistent base",
    "from --userns ns:nonexistent base",
    "from --userns autox base",
    "from --userns auto:foo base",
    "from --userns auto:foo=1 base",
    "from --userns auto:size=x base",
    "from --userns auto:uidmapping=x base",
    "from --userns auto:size=70000 base",
    "from --userns-uid-map 0:1:0 base",
    "from --userns-uid-map 5:1:10 base",
    "from --userns-uid-map 0:100:10,5:300:10 base",
    "from --userns-gid-map-group nobody base",
    "from --userns-gid-map 0:1:100 base",
    "from --userns-uid-map 0:1 base",
    "from --userns-uid-map x:y:z base",
    "from --userns-uid-map-user nobody base",
    "from --userns host --userns-uid-map 0:1:100 base",
    "from --device /nonexistent base",
    "from --device /dev/null:/dev/x:q base",
    "from --cap-add foo base",
    "from --cap-drop foo base",
    "from --cap-add net_admin --cap-drop NET_ADMIN base",
    "from --cgroupns /nonexistent base",
    "from --pull --pull-never base",
    "from --security-opt x base",
    "from --security-opt x=y base",
    "from --cidfile /nonexistent/x base",
    "run --mount type=secret,id=x C true",
    "run --mount type=ssh C true",
    "run --mount type=foo,dst=/x C true",
    "run --mount type=bind C true",
    "run --mount type=bind,dst=/x C true",
    "run --mount type=bind,src=/tmp C true",
    "run --mount type=bind,src=/tmp,dst=/x,foo C true",
    "run --mount type=tmpfs,dst=/x,foo C true",
    "run --mount type=cache,dst=/x,foo C true",
    "run -v /tmp:/x -v /tmp:/x C true",
    "run -v /tmp:/x --mount type=bind,src=/tmp,dst=/x C true",
    "run -v /nonexistent:/x C true",
    "run -v rel:/x C true",
    "run --user nobodyhere C true",
];

/// The last line that is no hint of ours.
fn answer(env: &TestEnv, tool: &str, container: &str, call: &str) -> (Option<i32>, String) {
    let isolation = if call.starts_with("run") { " --isolation chroot" } else { "" };
    let (verb, rest) = call.split_once(' ').unwrap();
    let line = format!("{tool} {verb}{isolation} {}", rest.replace(" C", &format!(" {container}")));
    let output = env.shell(&line);
    let error = output.err();
    let last = error.lines().rfind(|line| !line.starts_with("hint:")).unwrap_or_default().to_owned();
    (output.code, last)
}

#[test]
fn wrong_words_are_refused_in_the_same_words() {
    if skip_without(&["buildah"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    env.ok(["from", "--name", "c", "base"]);
    let mut different = Vec::new();
    for call in REFUSED {
        let (theirs, ours) = (answer(&env, "buildah", "c", call), answer(&env, "coracle", "c", call));
        assert_eq!(theirs.0, Some(125), "Buildah takes {call}: {}", theirs.1);
        if theirs != ours {
            different.push(format!("{call}\n  buildah: {theirs:?}\n  coracle: {ours:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn settings_have_the_same_effect() {
    if skip_without(&["buildah"]) {
        return;
    }
    let mut env = TestEnv::new();
    env.busybox("base");
    let shared = env.write("shared/f", "shared\n").parent().unwrap().display().to_string();
    let only = env.write(
        "only.conf",
        format!(
            "[containers]\nenv=['FOO=bar']\nenv_host=true\numask='0077'\nmounts=['type=tmpfs,destination=/mm']\n\
             volumes=['{shared}:/vv:ro']\ndefault_ulimits=['nofile=77:88']\ndns_servers=['192.0.2.5']\ndns_options=['ndots:3']\n\
             dns_searches=['a.example']\ndefault_capabilities=['CHOWN','KILL']\nhost_containers_internal_ip='192.0.2.9'\n\
             base_hosts_file='none'\nshm_size='1m'\n[engine]\nenv=['http_proxy=http://p']\n"
        ),
    );
    env.set("CONTAINERS_CONF", &only.to_string_lossy());
    let script = "echo ${FOO:-unset} $http_proxy; umask; ls -d /mm 2>/dev/null; cat /vv/f; touch /vv/x 2>/dev/null || echo read-only; \
        ulimit -n; grep Cap /proc/self/status; cat /etc/resolv.conf; sed 's/ host.docker.internal//' /etc/hosts | head -3";
    let seen = |tool: &str| {
        let name = format!("by-{tool}");
        env.tool(tool, ["from", "--name", &name, "--add-host", "db:192.0.2.1", "base"]).success();
        env.tool(tool, ["run", "--isolation", "chroot", &name, "--", "sh", "-c", script]).success()
    };
    let (theirs, ours) = (seen("buildah"), seen("coracle"));
    assert!(theirs.contains("unset http://p\n0022\nshared\nread-only\n77\n"), "{theirs}");
    assert_eq!(ours, theirs);
}

/// Where the newest tools' rule and Debian's agree, and where they do not (a main file and drop-ins of one key), Debian's.
#[test]
fn files_of_a_user_are_merged_alike() {
    if skip_without(&["buildah"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    let limit = |number: u32| format!("default_ulimits=['nofile={number}:{number}']");
    env.write_home(".config/containers/containers.conf", format!("[containers]\n{}\ndns_servers=['192.0.2.1']\n", limit(71)));
    let drop_ins = ".config/containers/containers.conf.d";
    env.write_home(&format!("{drop_ins}/20-last.conf"), format!("[containers]\n{}\n", limit(72)));
    env.write_home(&format!("{drop_ins}/10-first.conf"), format!("[containers]\n{}\ndns_options=['ndots:3']\n", limit(73)));
    env.write_home(&format!("{drop_ins}/99-other.txt"), format!("[containers]\n{}\n", limit(74)));
    env.write("outside.conf", format!("[containers]\n{}\ndns_searches=['linked.example']\n", limit(72)));
    let link = env.path("home").join(drop_ins).join("30-link.conf");
    std::os::unix::fs::symlink(env.work().join("outside.conf"), link).unwrap();
    let seen = |tool: &str| {
        let name = format!("by-{tool}");
        env.tool(tool, ["from", "--name", &name, "base"]).success();
        env.tool(tool, ["run", "--isolation", "chroot", &name, "--", "sh", "-c", "ulimit -n; cat /etc/resolv.conf"]).success()
    };
    let (theirs, ours) = (seen("buildah"), seen("coracle"));
    assert!(theirs.starts_with("72\n") && theirs.contains("192.0.2.1") && theirs.contains("ndots:3"), "{theirs}");
    assert_eq!(ours, theirs);
}

#[test]
fn what_from_was_told_is_read_by_both() {
    if skip_without(&["buildah"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    let shared = env.write("shared/f", "shared\n").parent().unwrap().display().to_string();
    let volume = format!("{shared}:/vv:ro");
    let flags = [
        "--add-host",
        "db:192.0.2.1",
        "--dns",
        "192.0.2.5",
        "--dns-search",
        "a.example",
        "--ulimit",
        "nofile=70:80",
        "-v",
        &volume,
    ];
    let script = "ulimit -n; cat /vv/f /etc/resolv.conf; grep -w db /etc/hosts";
    for (maker, runner) in [("coracle", "buildah"), ("buildah", "coracle")] {
        let words = ["from", "--name", maker].into_iter().chain(flags).chain(["--cap-drop", "chown", "base"]);
        env.tool(maker, words).success();
        let output = env.tool(runner, ["run", "--isolation", "chroot", maker, "--", "sh", "-c", script]).success();
        let want = "70\nshared\nsearch a.example\nnameserver 192.0.2.5\n192.0.2.1\tdb";
        assert_eq!(output, want, "made by {maker}");
        let chown = env.tool(runner, ["run", "--isolation", "chroot", maker, "chown", "1", "/bin/busybox"]);
        assert_ne!(chown.code, Some(0), "the capability was dropped: {chown}");
    }
}
