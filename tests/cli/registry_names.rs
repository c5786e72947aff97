//! Names, with two real registries: short names that several may have, the person who chooses, aliases that are remembered, and where
//! registries.conf and `BUILD_REGISTRY_SOURCES` send a name.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use crate::harness::registry::{Answer, PROGRAM, Proxy, Registry, status};
use crate::harness::{TestEnv, skip_without};

const INSECURE: &str = "--tls-verify=false";

/// Two registries. `box` is at both, `second` at the second only.
struct Two {
    env: TestEnv,
    first: Registry,
    second: Registry,
    id: String,
}

impl Two {
    fn new() -> Option<Self> {
        if skip_without(&[PROGRAM]) {
            return None;
        }
        let (env, first, second) = (TestEnv::new(), Registry::plain(), Registry::plain());
        let id = env.busybox("made");
        for name in [first.name("box"), second.name("box"), second.name("second")] {
            env.ok(["push", "-q", INSECURE, "made", &name]);
        }
        env.ok(["rmi", "-af"]);
        let two = Self { env, first, second, id };
        two.settings("");
        Some(two)
    }

    /// Both registries are searched, without TLS.
    fn settings(&self, more: &str) {
        let (first, second) = (self.first.host(), self.second.host());
        let text = format!(
            "unqualified-search-registries = ['{first}', '{second}']\n{more}\n\
             [[registry]]\nlocation = '{first}'\ninsecure = true\n[[registry]]\nlocation = '{second}'\ninsecure = true\n"
        );
        self.env.write_home(".config/containers/registries.conf", text);
    }

    /// The names that the pulled image has; it is removed.
    fn pulled(&self, arguments: &[&str]) -> String {
        let output = self.env.run(["pull", "-q"].iter().chain(arguments));
        assert_eq!(output.success(), self.id, "{arguments:?}: {output}");
        let names = self.env.ok(["images", "--noheading", "--format", "{{.Name}}:{{.Tag}}"]);
        self.env.ok(["rmi", "-af"]);
        names
    }

    fn remembered(&self) -> String {
        std::fs::read_to_string(self.env.path("home/.cache/containers/short-name-aliases.conf")).unwrap_or_default()
    }

    /// What the program says on a terminal where somebody types `keys` after the question.
    fn on_a_terminal(&self, arguments: &[&str], keys: &str) -> (String, Option<i32>) {
        let pty = nix::pty::openpty(None, None).expect("a terminal");
        let mut command = self.env.command("coracle");
        command.args(arguments).env("TERM", "xterm");
        let end = || pty.slave.try_clone().expect("a descriptor");
        let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("coracle");
        drop((command, pty.slave));
        let mut terminal = std::fs::File::from(pty.master);
        let (mut said, mut piece, mut typed) = (Vec::new(), [0; 4096], false);
        let until = Instant::now() + Duration::from_secs(20);
        // Reading fails when the program has ended.
        while let Ok(count @ 1..) = terminal.read(&mut piece) {
            said.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&said);
            if !typed && text.matches(":latest").count() >= 2 && text.contains("Please select") {
                terminal.write_all(keys.as_bytes()).expect("the keys");
                typed = true;
            }
            assert!(Instant::now() < until, "{text}");
        }
        let status = child.wait().expect("its end").code();
        (String::from_utf8_lossy(&said).into_owned(), status)
    }
}

#[test]
fn without_a_terminal_the_mode_decides() {
    let Some(two) = Two::new() else { return };
    let (first, second) = (two.first.host(), two.second.host());
    for mode in ["", "short-name-mode = 'permissive'", "short-name-mode = 'disabled'"] {
        two.settings(mode);
        assert_eq!(two.pulled(&["box"]), format!("{first}/box:latest"), "{mode}");
        assert_eq!(two.pulled(&["second"]), format!("{second}/second:latest"), "{mode}");
        // Each registry's answer is shown.
        let error = two.env.run(["pull", "nosuch"]).failure(125);
        for words in [
            "nosuch: image not known: 2 errors occurred while pulling:\n",
            &format!(
                " * initializing source docker://{first}/nosuch:latest: reading manifest latest in {first}/nosuch: manifest unknown"
            ),
            &format!(" * initializing source docker://{second}/nosuch:latest: "),
        ] {
            assert!(error.contains(words), "{words}: {error}");
        }
    }
    two.settings("short-name-mode = 'enforcing'");
    let error = two.env.run(["pull", "box"]).failure(125);
    assert!(error.contains("short-name resolution enforced but cannot prompt without a TTY"), "{error}");
    assert!(error.contains(&format!("{first}, {second}")), "{error}");
    // What is in the store needs no registry, and what has a registry no choice.
    two.env.busybox("mine");
    two.env.ok(["from", "mine"]);
    two.env.ok(["pull", "-q", &two.second.name("box")]);
    assert_eq!(two.remembered(), "");
}

#[test]
fn on_a_terminal_a_person_chooses_and_it_is_remembered() {
    let Some(two) = Two::new() else { return };
    two.settings("short-name-mode = 'enforcing'");
    let (first, second) = (two.first.host(), two.second.host());
    let (said, status) = two.on_a_terminal(&["pull", "-q", "box"], "\x03");
    assert!(said.contains(&format!("> {first}/box:latest")) && said.contains("no image was selected"), "{said}");
    assert_eq!((status, two.remembered()), (Some(125), String::new()));
    // What is not there is not remembered either.
    let (said, status) = two.on_a_terminal(&["pull", "-q", "nosuch"], "\r");
    assert!(said.contains("manifest unknown"), "{said}");
    assert_eq!((status, two.remembered()), (Some(125), String::new()));
    let (said, status) = two.on_a_terminal(&["from", "box"], "\x1b[B\r");
    assert!(said.contains("box-working-container"), "{said}");
    assert_eq!((status, two.remembered()), (Some(0), format!("\n[aliases]\n  box = \"{second}/box\"\n")));
    two.env.ok(["rm", "-a"]);
    two.env.ok(["rmi", "-af"]);
    // From now on nobody is asked, also where nobody could be.
    assert_eq!(two.pulled(&["box"]), format!("{second}/box:latest"));
    two.settings("short-name-mode = 'disabled'\n[aliases]\nbox = ''");
    assert_eq!(two.pulled(&["box"]), format!("{second}/box:latest"), "what was chosen wins");
    let other = two.env.path("work/mine.conf").to_string_lossy().into_owned();
    two.settings("short-name-mode = 'permissive'");
    let (_, status) = two.on_a_terminal(&["--short-name-alias-conf", &other, "pull", "-q", "box"], "2\r");
    assert_eq!((status, std::fs::read_to_string(&other).ok()), (Some(0), Some(two.remembered())));
}

#[test]
fn for_a_manifest_list_a_person_chooses_too() {
    let Some(two) = Two::new() else { return };
    two.settings("short-name-mode = 'enforcing'");
    let (first, second) = (two.first.host(), two.second.host());
    for words in [&["manifest", "create", "list", "box"][..], &["manifest", "inspect", "box"]] {
        let error = two.env.run(words).failure(125);
        assert!(error.contains("short-name resolution enforced but cannot prompt without a TTY"), "{words:?}: {error}");
        let (said, status) = two.on_a_terminal(words, "\x03");
        assert!(said.contains(&format!("> {first}/box:latest")) && said.contains("no image was selected"), "{words:?}: {said}");
        assert_eq!((status, two.remembered()), (Some(125), String::new()), "{words:?}");
    }
    two.env.ok(["manifest", "create", "list"]);
    let (said, status) = two.on_a_terminal(&["manifest", "add", "list", "box"], "\x1b[B\r");
    assert!(said.contains(": sha256:"), "{said}");
    assert_eq!((status, two.remembered()), (Some(0), format!("\n[aliases]\n  box = \"{second}/box\"\n")));
    // From now on nobody is asked.
    two.env.ok(["manifest", "create", "other", "box"]);
}

#[test]
fn files_are_read_in_the_order_of_the_other_tools() {
    let Some(mut two) = Two::new() else { return };
    let second = two.second.host();
    two.env.write_home(
        ".config/containers/registries.conf.d/10.conf",
        format!("[aliases]\nal = '{second}/second'\nother = '{second}/box'\n"),
    );
    two.env.write_home(".config/containers/registries.conf.d/20.conf", format!("[aliases]\nal = '{second}/box'\nother = ''\n"));
    assert_eq!(two.pulled(&["al"]), format!("{second}/box:latest"));
    let error = two.env.run(["pull", "other"]).failure(125);
    assert!(error.contains("2 errors occurred"), "an alias for nothing is none: {error}");
    // A file that is named stands for the main file only.
    let named = two.env.write(
        "named.conf",
        format!("unqualified-search-registries = ['{second}']\n[[registry]]\nlocation = '{second}'\ninsecure = true\n"),
    );
    let named = named.to_string_lossy().into_owned();
    let with_flag = two.env.run(["--registries-conf", &named, "pull", "-q", "second"]);
    assert_eq!(with_flag.success(), two.id);
    two.env.ok(["rmi", "-af"]);
    two.env.set("CONTAINERS_REGISTRIES_CONF", &named);
    let output = two.env.run(["pull", "box"]);
    assert!(output.err().contains(&format!("Trying to pull {second}/box:latest...")), "{output}");
    assert!(output.err().contains(&format!("Resolving \"box\" using unqualified-search registries ({named})")), "{output}");
    assert_eq!(two.pulled(&["--policy", "always", "al"]), format!("{second}/box:latest"));
    // An empty list is no list that is missing.
    two.env.set(
        "CONTAINERS_REGISTRIES_CONF",
        &two.env.write("none.conf", "unqualified-search-registries = []\n").to_string_lossy(),
    );
    let error = two.env.run(["pull", "box"]).failure(125);
    assert!(
        error.contains("short-name \"box\" did not resolve to an alias and no unqualified-search registries are defined in"),
        "{error}"
    );
}

#[test]
fn a_refusal_is_not_hidden_by_another_registrys_not_found() {
    let Some(two) = Two::new() else { return };
    let locked = Registry::with_login();
    let limited = Proxy::start(None, |_, _| status("429 Too Many Requests", "Retry-After: 0\r\n"));
    let (second, first) = (two.second.host(), two.first.host());
    for (host, words) in [(locked.host(), "unauthorized: authentication required"), (limited.host(), "toomanyrequests")] {
        let settings = |order: [&str; 2]| {
            let text = format!(
                "unqualified-search-registries = ['{}', '{}']\n[[registry]]\nlocation = '{host}'\ninsecure = true\n\
                 [[registry]]\nlocation = '{first}'\ninsecure = true\n[[registry]]\nlocation = '{second}'\ninsecure = true\n",
                order[0], order[1]
            );
            two.env.write_home(".config/containers/registries.conf", text);
        };
        settings([&first, &host]);
        let error = two.env.run(["pull", "--retry", "0", "second"]).failure(125);
        assert!(error.contains("2 errors occurred") && error.contains("manifest unknown") && error.contains(words), "{error}");
        assert!(!error.contains("image not known"), "{error}");
        // The next one's image of that name may be a stranger's (known attacks A108).
        settings([&host, &second]);
        let error = two.env.run(["pull", "--retry", "0", "second"]).failure(125);
        assert!(error.contains(words) && error.contains("1 more of the registries were not asked"), "{error}");
    }
}

#[test]
fn build_registry_sources_says_which_registries_may_be_used() {
    let Some(mut two) = Two::new() else { return };
    let (first, second) = (two.first.host(), two.second.host());
    two.env.ok(["pull", "-q", &two.first.name("box")]);
    let (here, there) = (two.first.name("box"), two.second.name("new"));
    for (sources, words) in [
        (format!("{{\"blockedRegistries\":[\"{second}\"]}}"), "denied by policy: it is in the blocked registries list ("),
        (format!("{{\"allowedRegistries\":[\"{first}\"]}}"), "denied by policy: not in allowed registries list ("),
        ("x".to_owned(), "parsing $BUILD_REGISTRY_SOURCES (\"x\") as JSON: "),
    ] {
        two.env.set("BUILD_REGISTRY_SOURCES", &sources);
        for arguments in
            [&["pull", &two.second.name("second")][..], &["from", &two.second.name("second")], &["push", &here, &there]]
        {
            let error = two.env.run(arguments).failure(125);
            assert!(error.contains(words), "{arguments:?}: {error}");
        }
    }
    two.env.write_home(".config/containers/registries.conf", "");
    two.env.set("BUILD_REGISTRY_SOURCES", "");
    assert!(two.env.run(["push", &here, &there]).failure(125).contains("HTTP response to HTTPS client"));
    two.env.set("BUILD_REGISTRY_SOURCES", &format!("{{\"insecureRegistries\":[\"{second}\"]}}"));
    two.env.ok(["push", "-q", &here, &there]);
    let error = two.env.run(["push", "-q", "--tls-verify=true", &here, &there]).failure(125);
    assert!(error.contains("can't require tls verification on an insecured registry"), "{error}");
}

#[test]
fn mirrors_come_first_as_far_as_they_are_meant_and_reached() {
    let Some(two) = Two::new() else { return };
    let count = |path: &'static str| move |proxy: &Proxy| proxy.count(&["GET /v2/", path]);
    let mirror = Proxy::start(Some(&two.second), |_, _| Answer::Pass);
    let origin = Proxy::start(Some(&two.first), |_, _| Answer::Pass);
    two.env.ok(["pull", "-q", &two.first.name("box")]);
    let digest = two.env.ok(["images", "--format", "{{.Digest}}"]);
    two.env.ok(["rmi", "-af"]);
    let (by_tag, by_digest) = ("r.example/box".to_owned(), format!("r.example/box@{digest}"));
    let settings = |of_registry: &str, of_mirror: &str| {
        let text = format!(
            "[[registry]]\nprefix = 'r.example'\nlocation = '{}'\ninsecure = true\n{of_registry}\n\
             [[registry.mirror]]\nlocation = 'localhost:1/down'\n{of_mirror}\n\
             [[registry.mirror]]\nlocation = '{}'\ninsecure = true\n{of_mirror}\n",
            origin.host(),
            mirror.host()
        );
        two.env.write_home(".config/containers/registries.conf", text);
    };
    let manifests = count("/box/manifests/");
    for (of_registry, of_mirror, tag_by_mirror, digest_by_mirror) in [
        ("", "", true, true),
        ("", "pull-from-mirror = 'all'", true, true),
        ("", "pull-from-mirror = 'digest-only'", false, true),
        ("", "pull-from-mirror = 'tag-only'", true, false),
        ("mirror-by-digest-only = true", "", false, true),
    ] {
        settings(of_registry, of_mirror);
        for (name, by_mirror) in [(&by_tag, tag_by_mirror), (&by_digest, digest_by_mirror)] {
            let before = (manifests(&mirror), manifests(&origin));
            two.env.ok(["pull", "-q", name]);
            two.env.ok(["rmi", "-af"]);
            let asked = (manifests(&mirror) > before.0, manifests(&origin) > before.1);
            assert_eq!(asked, (by_mirror, !by_mirror), "{of_registry} {of_mirror} {name}");
        }
    }
    // What the mirrors lack is asked of the registry itself; `second` is at the mirror only.
    settings("", "");
    two.env.ok([
        "push",
        "-q",
        INSECURE,
        &{
            two.env.ok(["pull", "-q", &by_tag]);
            by_tag.clone()
        },
        &two.first.name("origin-only"),
    ]);
    two.env.ok(["pull", "-q", "r.example/origin-only"]);
    two.env.ok(["pull", "-q", "r.example/second"]);
    let error = two.env.run(["pull", "r.example/nowhere"]).failure(125);
    assert!(error.contains("initializing source docker://r.example/nowhere:latest"), "{error}");
    // What the registry itself says is what counts, and each mirror is told of.
    let others = format!(
        "(Mirrors also failed: [localhost:1/down/nowhere: connecting to https://localhost:1: connection refused] \
         [{}/nowhere: manifest unknown]): reading manifest latest in {}/nowhere: manifest unknown",
        mirror.host(),
        origin.host()
    );
    assert!(error.contains(&others), "{error}");
    // A refusal of a mirror is not hidden behind "not there".
    let denying = Proxy::start(None, |_, _| status("403 Forbidden", ""));
    let text = format!(
        "[[registry]]\nprefix = 'r.example'\nlocation = '{}'\ninsecure = true\n\
         [[registry.mirror]]\nlocation = '{}'\ninsecure = true\n",
        origin.host(),
        denying.host()
    );
    two.env.write_home(".config/containers/registries.conf", text);
    let error = two.env.run(["pull", "r.example/nowhere"]).failure(125);
    let others = format!("(Others also failed: [{}/nowhere: manifest unknown]): ", origin.host());
    assert!(error.contains(&others) && error.contains("denied: requested access"), "{error}");
}

#[test]
fn prefixes_rewrite_block_and_match_subdomains() {
    let Some(two) = Two::new() else { return };
    let host = two.second.host();
    let text = format!(
        "[[registry]]\nprefix = '*.example.com'\nlocation = '{host}'\ninsecure = true\n\
         [[registry]]\nprefix = 'bad.example.com'\nlocation = 'bad.example.com'\nblocked = true\n\
         [[registry]]\nprefix = 'r.example:5000/old'\nlocation = '{host}/second'\ninsecure = true\n"
    );
    two.env.write_home(".config/containers/registries.conf", text);
    assert_eq!(two.pulled(&["a.b.example.com/box"]), "a.b.example.com/box:latest");
    assert_eq!(two.pulled(&["r.example:5000/old"]), "r.example:5000/old:latest");
    for verb in ["pull", "from"] {
        let error = two.env.run([verb, "bad.example.com/box"]).failure(125);
        assert!(error.contains("registry bad.example.com is blocked in registries.conf"), "{error}");
    }
    // Tag and digest together: the digest counts.
    two.env.ok(["pull", "-q", "a.example.com/box"]);
    let digest = two.env.ok(["images", "--format", "{{.Digest}}"]);
    two.env.ok(["rmi", "-af"]);
    assert_eq!(two.env.ok(["pull", "-q", &format!("a.example.com/box:nosuch@{digest}")]), two.id);
    let other = format!("a.example.com/box@sha512:{}", "0".repeat(128));
    assert!(two.env.run(["pull", "-q", &other]).failure(125).contains("manifest unknown"));
    for (name, words) in [
        ("a.example.com/Box", "repository name must be lowercase"),
        ("Box", "repository name must be lowercase"),
        ("a.example.com/box:", "invalid reference format"),
        ("a.example.com/box@md5:00", "invalid reference format"),
    ] {
        for verb in ["pull", "from"] {
            assert!(two.env.run([verb, name]).failure(125).contains(words), "{verb} {name}");
        }
    }
}

#[test]
fn files_of_the_old_format_are_read_alone() {
    let Some(two) = Two::new() else { return };
    let second = two.second.host();
    let file = |text: &str| two.env.write_home(".config/containers/registries.conf", text);
    let lists = format!("[registries.search]\nregistries = ['{second}']\n[registries.insecure]\nregistries = ['{second}']\n");
    file(&lists);
    assert_eq!(two.pulled(&["second"]), format!("{second}/second:latest"));
    file(&format!("[registries.block]\nregistries = ['{second}']\n"));
    assert!(two.env.run(["pull", &two.second.name("second")]).failure(125).contains("is blocked in registries.conf"));
    file(&format!("short-name-mode = 'disabled'\n{lists}"));
    assert!(two.env.run(["pull", "second"]).failure(125).contains("mixing sysregistry v1/v2 is not supported"));
}

#[test]
fn transports_that_are_not_supported_are_refused_by_name() {
    let env = TestEnv::new();
    env.busybox("box");
    env.ok(["from", "--name", "c", "box"]);
    for (place, words) in [
        ("docker-daemon:box:latest", "docker save"),
        ("sif:box.sif", "singularity"),
        ("ostree:box@/repo", "oci:DIRECTORY"),
        ("http://q.example/box", "docker://HOST/NAME"),
        ("https://q.example/box", "docker://HOST/NAME"),
    ] {
        for arguments in [
            &["pull", place][..],
            &["from", place],
            &["push", "box", place],
            &["manifest", "create", "list", place],
            &["copy", "--from", place, "c", "/x", "/"],
        ] {
            let error = env.run(arguments).failure(125);
            assert!(error.contains(words), "{arguments:?}: {error}");
        }
    }
}
