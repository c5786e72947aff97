//! containers.conf, mounts.conf and the environment: what they change, and what is said of a broken one.

use crate::harness::{CommandOutput, TestEnv, am_root, test_user};

/// A working container on busybox.
fn running(env: &TestEnv) -> String {
    env.busybox("localhost/busybox:latest");
    env.ok(["from", "busybox"])
}

fn sh(env: &TestEnv, container: &str, script: &str) -> String {
    env.ok(["run", container, "--", "sh", "-c", script])
}

/// Writes the user's containers.conf.
fn configure(env: &TestEnv, text: &str) {
    env.write_home(".config/containers/containers.conf", text);
}

#[test]
fn a_service_without_home_has_the_settings_of_its_user() {
    if !am_root() {
        return; // giving the user another home needs root
    }
    let (env, user) = (TestEnv::new(), test_user());
    let (home, graph_root) = (env.path("home"), env.path("home/own"));
    let users = format!("root:x:0:0::/root:/bin/sh\n{}:x:{}:{}::{}:/bin/sh\n", user.name, user.uid, user.gid, home.display());
    let mounts = format!("mount --bind {:?} /etc/passwd", env.write("passwd", users));
    env.write_home(
        ".config/containers/storage.conf",
        format!("[storage]\ndriver = \"vfs\"\ngraphroot = {graph_root:?}\nrunroot = {:?}\n", env.path("run/own")),
    );
    let ask = "coracle info --format '{{.store.GraphRoot}}'";
    for without in ["unset HOME", "export HOME="] {
        let told = env.with_mounts(&mounts, &format!("{without}; {ask}")).success();
        assert_eq!(told, graph_root.to_string_lossy(), "{without}");
    }
    configure(&env, "[containers]\nshm_size = [\n");
    let refused = env.with_mounts(&mounts, &format!("unset HOME; {ask}")).failure(125);
    assert!(refused.contains(".config/containers/containers.conf"), "{refused}");
}

#[test]
fn from_keeps_what_containers_conf_says_then() {
    let env = TestEnv::new();
    let file = env.write("shared/file", "shared");
    let directory = file.parent().unwrap().display().to_string();
    configure(
        &env,
        &format!(
            "[containers]\ndefault_capabilities=['CHOWN','KILL']\ndefault_ulimits=['nofile=77:88']\nshm_size='1m'\n\
             volumes=['{directory}:/in:ro']\ndevices=['/dev/null:/dev/mynull:rw']\ncgroupns='private'\nipcns='host'\n"
        ),
    );
    let container = running(&env);
    configure(&env, "");
    let seen = sh(&env, &container, "cat /in/file; echo; ulimit -n; grep CapEff /proc/self/status; ls /dev/mynull");
    assert_eq!(seen, "shared\n77\nCapEff:\t0000000000000021\n/dev/mynull");
    assert!(env.run(["run", &container, "--", "touch", "/in/new"]).failure(1).contains("Read-only"));
    let namespaces = env.ok(["inspect", "--format", "{{range .NamespaceOptions}}{{.Name}}={{.Host}} {{end}}", &container]);
    assert!(namespaces.starts_with("cgroup=false ipc=true mount=false"), "{namespaces}");
}

#[test]
fn run_obeys_what_containers_conf_says_now() {
    let env = TestEnv::new();
    let container = running(&env);
    configure(
        &env,
        "[containers]\ndns_servers=['192.0.2.5']\ndns_searches=['a.example','b.example']\ndns_options=['ndots:3']\n\
         base_hosts_file='none'\nhost_containers_internal_ip='192.0.2.9'\ncontainer_name_as_hostname=true\n",
    );
    let seen = sh(&env, &container, "cat /etc/resolv.conf; hostname; grep -c . /etc/hosts; grep internal /etc/hosts");
    assert_eq!(
        seen,
        "search a.example b.example\nnameserver 192.0.2.5\noptions ndots:3\nbusybox-working-container\n4\n\
         192.0.2.9\thost.containers.internal host.docker.internal"
    );
    configure(&env, "[containers]\nno_hosts=true\ndns_servers=['none']\n");
    assert_eq!(sh(&env, &container, "ls /etc/hosts /etc/resolv.conf 2>/dev/null; echo done"), "done");
    configure(&env, "[containers]\nbase_hosts_file='image'\nhost_containers_internal_ip='none'\n");
    sh(&env, &container, "true");
    env.ok(["copy", "-q", &container, &env.write("hosts", "192.0.2.8 of-the-image\n").to_string_lossy(), "/etc/hosts"]);
    let hosts = sh(&env, &container, "cat /etc/hosts");
    assert!(hosts.starts_with("192.0.2.8\tof-the-image\n127.0.0.1\tlocalhost\n") && !hosts.contains("internal"), "{hosts}");
}

#[test]
fn settings_without_effect_on_builders_have_none() {
    let env = TestEnv::new();
    configure(
        &env,
        "[containers]\nenv=['FOO=bar']\nenv_host=true\numask='0077'\ntz='Asia/Tokyo'\nmounts=['type=tmpfs,dst=/mm']\n",
    );
    let container = running(&env);
    assert_eq!(sh(&env, &container, "echo ${FOO:-unset}; umask; test -e /mm || echo absent"), "unset\n0022\nabsent");
}

#[test]
fn variables_name_the_only_and_the_last_file_and_lists_append() {
    let mut env = TestEnv::new();
    configure(&env, "[containers]\ndefault_ulimits=['sigpending=11']\nshm_size='3m'\n");
    let only = env.write("only.conf", "[containers]\ndefault_ulimits=['sigpending=22']\n");
    let last = env.write("last.conf", "[containers]\ndefault_ulimits=['nofile=70',{append=true}]\n");
    env.set("CONTAINERS_CONF", &only.to_string_lossy());
    env.set("CONTAINERS_CONF_OVERRIDE", &last.to_string_lossy());
    let container = running(&env);
    let seen = sh(&env, &container, "grep pending /proc/self/limits; ulimit -n; df -k /dev/shm | tail -1");
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!((words[3], words[6], words[8]), ("22", "70", "65536"), "{seen}");
}

#[track_caller]
fn one_error(output: &CommandOutput, words: &[&str]) {
    let text = output.failure(125);
    assert_eq!(text.lines().filter(|line| line.contains("Error:")).count(), 1, "{output}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {output}");
}

#[test]
fn a_broken_file_is_one_error_with_its_line_and_no_matter_for_who_does_not_read_it() {
    let mut env = TestEnv::new();
    configure(&env, "[containers]\n\nshm_size = 5\n");
    one_error(&env.run(["from", "scratch"]), &["containers.conf\": line 3: containers.shm_size: expected a string"]);
    configure(&env, "[containers]\nx = [\n");
    one_error(&env.run(["from", "scratch"]), &["containers.conf", "line 2"]);
    env.ok(["containers"]);
    env.ok(["images"]);
    env.set("CONTAINERS_CONF", "/nonexistent/containers.conf");
    one_error(&env.run(["from", "scratch"]), &["/nonexistent/containers.conf", "o such file"]);
    env.set("CONTAINERS_CONF", "/dev/null");
    assert_eq!(env.ok(["from", "scratch"]), "working-container");
}

#[test]
fn engine_env_counts_where_a_variable_is_not_set() {
    let mut env = TestEnv::new();
    configure(&env, "[engine]\nenv=['http_proxy=http://conf','https_proxy=http://conf']\n");
    env.set("https_proxy", "http://caller");
    let container = running(&env);
    assert_eq!(sh(&env, &container, "echo $http_proxy $https_proxy"), "http://conf http://caller");
    let without = env.ok(["from", "--http-proxy=false", "busybox"]);
    assert_eq!(sh(&env, &without, "echo $http_proxy $https_proxy"), "");
}

#[test]
fn caches_are_where_temporary_files_are() {
    let mut env = TestEnv::new();
    let container = running(&env);
    let cache = ["run", "--mount", "type=cache,dst=/c", &container, "touch", "/c/f"];
    let made = |directory: &std::path::Path| {
        let entries = std::fs::read_dir(directory).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("buildah-cache-")).count()
    };
    let (one, two) = (env.write("one/f", ""), env.write("two/f", ""));
    let (one, two) = (one.parent().unwrap(), two.parent().unwrap());
    configure(&env, &format!("[engine]\nimage_copy_tmp_dir='{}'\n", one.display()));
    env.set("TMPDIR", "");
    env.ok(cache);
    assert_eq!((made(one), made(two)), (1, 0));
    env.set("TMPDIR", &two.to_string_lossy());
    env.ok(cache);
    assert_eq!((made(one), made(two)), (1, 1));
    assert_eq!(env.ok(["run", "--mount", "type=cache,dst=/c", &container, "ls", "/c"]), "f");
    env.ok(["prune"]);
    assert_eq!(env.ok(["run", "--mount", "type=cache,dst=/c", &container, "ls", "/c"]), "");
    env.set("TMPDIR", "/nonexistent");
    one_error(&env.run(["run", &container, "true"]), &["stat /nonexistent: no such file or directory"]);
}

#[test]
fn mounts_conf_gives_every_command_a_copy() {
    let env = TestEnv::new();
    let container = running(&env);
    let file = env.write("entitlement/sub/key", "secret");
    let directory = env.work().join("entitlement").display().to_string();
    let list = format!("# comment\n{directory}:/run/secrets/e\n{}:/etc/one\n/nonexistent/x\n", file.display());
    env.write_home(".config/containers/mounts.conf", &list);
    let output = env.run([
        "run",
        &container,
        "--",
        "sh",
        "-c",
        "cat /run/secrets/e/sub/key /etc/one; echo x >/etc/one; stat -c %u /etc/one",
    ]);
    assert_eq!(output.out().trim_end(), "secretsecret0", "{output}");
    assert!(output.err().contains("\"/nonexistent/x\"") && output.err().contains("doesn't exist, skipping"), "{output}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "secret");
    env.write_home(".config/containers/mounts.conf", "");
    assert_eq!(sh(&env, &container, "ls -d /run/secrets /etc/one 2>/dev/null; echo done"), "done", "a copy stays");
    let other = env.write("other.conf", format!("{}:/given\n", file.display()));
    assert_eq!(env.ok(["--default-mounts-file", &other.to_string_lossy(), "run", &container, "cat", "/given"]), "secret");
}
