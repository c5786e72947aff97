//! `pull`, `push`, `from`, `commit`, `login` and `logout` with a real registry, and the other tools beside us on it.

use std::fs;

use crate::harness::registry::{Answer, PASSWORD, PROGRAM, Proxy, Registry, USER};
use crate::harness::{TestEnv, skip_without};

const INSECURE: &str = "--tls-verify=false";

/// The digest that skopeo sees.
fn digest(env: &TestEnv, name: &str) -> String {
    let output = env.tool("skopeo", ["inspect", INSECURE, "--format", "{{.Digest}}", &format!("docker://{name}")]);
    output.success()
}

/// An image with two layers.
fn image(env: &TestEnv, name: &str) -> String {
    env.busybox("base");
    let container = env.ok(["from", "-q", "base"]);
    let file = env.write("file", vec![7; 300_000]);
    env.ok(["copy", "-q", &container, &file.to_string_lossy(), "/file"]);
    env.ok(["commit", "-q", "--rm", &container, name])
}

#[test]
fn an_image_goes_to_a_registry_and_comes_back() {
    if skip_without(&[PROGRAM, "skopeo"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = image(&env, "app");
    let name = registry.name("ns/app:1");
    let pushed = env.run(["push", INSECURE, "--digestfile", "digest", "app", &format!("docker://{name}")]);
    assert_eq!(pushed.success(), "");
    assert_eq!(pushed.err().matches("Copying blob sha256:").count(), 2, "{pushed}");
    let written = fs::read_to_string(env.work().join("digest")).unwrap();
    assert_eq!(written, digest(&env, &name));

    // Nothing is compressed a second time, for this registry or another name there.
    for name in [name.clone(), registry.name("ns/app:2")] {
        let again = env.run(["push", INSECURE, "app", &name]);
        assert_eq!(again.err().matches("skipped: already exists").count(), 2, "{again}");
        assert_eq!(written, digest(&env, &name));
    }

    env.ok(["rmi", "-af"]);
    let pulled = env.run(["pull", INSECURE, &name]);
    assert_eq!(pulled.success(), id);
    assert!(pulled.err().starts_with(&format!("Trying to pull {name}...\nGetting image source signatures\n")), "{pulled}");
    assert_eq!(env.ok(["images", "--format", "{{.Name}}:{{.Tag}}"]), name);
    assert_eq!(env.ok(["images", "--format", "{{.Digest}}"]), written);

    // What is there is not moved again, in either direction.
    let again = env.run(["push", INSECURE, &name]);
    assert_eq!(again.err().matches("skipped: already exists").count(), 2, "{again}");
    let again = env.run(["pull", INSECURE, "--policy", "always", &name]);
    assert_eq!(again.err().matches("skipped: already exists").count(), 2, "{again}");
    assert_eq!(digest(&env, &name), written);
    let looked_up = env.run(["pull", INSECURE, &name]);
    assert_eq!((looked_up.success(), looked_up.err()), (id.clone(), String::new()));

    // By digest, too.
    env.ok(["rmi", "-af"]);
    let by_digest = format!("{}@{written}", registry.name("ns/app"));
    assert_eq!(env.ok(["pull", "-q", INSECURE, &by_digest]), id);
    assert_eq!(env.ok(["from", "-q", &by_digest]), "app-working-container");
    env.assert_store_is_clean();
}

#[test]
fn podman_and_buildah_read_what_we_push_and_we_what_they_push() {
    if skip_without(&[PROGRAM, "skopeo", "podman", "buildah"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = image(&env, "app");
    for (name, format) in [("oci", "oci"), ("docker", "v2s2"), ("zstd", "oci")] {
        let name = registry.name(name);
        let compression = if name.ends_with("zstd") { "zstd" } else { "gzip" };
        env.ok(["push", "-q", INSECURE, "--format", format, "--compression-format", compression, "app", &name]);
        env.tool("podman", ["--root", "pg", "--runroot", "pr", "--storage-driver", "vfs", "pull", "-q", INSECURE, &name])
            .success();
        env.tool("buildah", ["--root", "bg", "--runroot", "br", "--storage-driver", "vfs", "from", "-q", INSECURE, &name])
            .success();
    }
    let theirs = registry.name("theirs");
    env.tool("podman", ["push", "-q", INSECURE, "localhost/app", &theirs]).success();
    let of_theirs = digest(&env, &theirs);
    env.ok(["rmi", "-af"]);
    assert_eq!(env.ok(["pull", "-q", INSECURE, &theirs]), id);
    // Their blobs are pushed again as they came: the image keeps its digest on every way.
    for (from, to) in [(&theirs, registry.name("again")), (&theirs, registry.name("other/again:2"))] {
        env.ok(["push", "-q", INSECURE, from, &to]);
        assert_eq!(digest(&env, &to), of_theirs);
    }
    env.ok(["push", "-q", &theirs, "oci:layout:x"]);
    env.ok(["rmi", "-af"]);
    env.ok(["pull", "-q", "oci:layout:x"]);
    env.ok(["push", "-q", INSECURE, "docker.io/library/x", &registry.name("third")]);
    assert_eq!(digest(&env, &registry.name("third")), of_theirs);
}

#[test]
fn a_base_layer_is_taken_over_from_the_repository_it_came_from() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let proxy = Proxy::start(Some(&registry), |_, _| Answer::Pass);
    env.busybox("base");
    env.ok(["push", "-q", INSECURE, "base", &proxy.name("base")]);
    env.ok(["rmi", "-af"]);
    let container = env.ok(["from", "-q", INSECURE, &proxy.name("base")]);
    assert_eq!(container, "base-working-container");
    env.ok(["config", "--label", "a=b", &container]);
    let before = proxy.seen().len();
    // Without a layer of its own, all layers are the base's.
    let commit = env.run(["commit", INSECURE, &container, &format!("docker://{}", proxy.name("team/app:1"))]);
    assert_eq!(commit.success().len(), 64, "{commit}");
    let seen = &proxy.seen()[before..];
    let mounted =
        |head: &&String| head.starts_with("POST /v2/team/app/blobs/uploads/?mount=sha256:") && head.contains("&from=base ");
    assert_eq!(seen.iter().filter(mounted).count(), 1, "{seen:#?}");
    assert!(env.run(["pull", "-q", INSECURE, &proxy.name("team/app:1")]).success().len() == 64);
    assert!(env.run(["images", "--format", "{{.Name}}"]).success().contains("team/app"));
}

#[test]
fn a_login_is_checked_kept_used_and_forgotten() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::with_login());
    env.busybox("box");
    let (host, name) = (registry.host(), registry.name("ns/box"));
    let denied = env.run(["push", "-q", INSECURE, "box", &name]).failure(125);
    assert!(denied.contains("unauthorized: authentication required") && denied.contains("hint: "), "{denied}");
    let wrong = env.run(["login", INSECURE, "-u", USER, "-p", "wrong", &host]).failure(125);
    assert_eq!(wrong, format!("Error: logging into \"{host}\": invalid username/password\n"));
    assert!(!env.path("run/containers/auth.json").exists());
    assert_eq!(env.run(["login", "--get-login", &host]).failure(125), format!("Error: not logged into {host}\n"));

    let mut command = env.command(&crate::harness::binary().to_string_lossy());
    command.args(["login", INSECURE, "-u", USER, "--password-stdin", "-v", &host]);
    let login = env.output(command, format!("{PASSWORD}\n").as_bytes());
    let file = env.path("run/containers/auth.json");
    assert_eq!(login.success(), format!("Used:  {}\nLogin Succeeded!", file.display()));
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
    assert_eq!(env.ok(["login", "--get-login", &host]), USER);
    let known = env.run(["login", INSECURE, &host]).success();
    let lines = [
        format!("Authenticating with existing credentials for {host}"),
        format!("Existing credentials are valid. Already logged in to {host}"),
    ];
    assert_eq!(known, lines.join("\n"));
    env.ok(["push", "-q", INSECURE, "box", &name]);
    // The other tools find it there.
    if crate::harness::have("skopeo") {
        env.tool("skopeo", ["inspect", INSECURE, &format!("docker://{name}")]).success();
    }
    let debug = env.run(["--log-level", "debug", "pull", "-q", INSECURE, "--policy", "always", &name]);
    assert!(debug.err().contains("auth.json"), "{debug}");
    assert!(!debug.err().contains(PASSWORD) && !debug.err().contains("dXNlcjpwYXNz"), "{debug}");

    assert_eq!(env.ok(["logout", &host]), format!("Removed login credentials for {host}"));
    assert_eq!(env.run(["logout", &host]).failure(125), format!("Error: not logged into {host}\n"));
    assert!(env.run(["pull", INSECURE, "--policy", "always", &name]).failure(125).contains("unauthorized"));
    let creds = format!("{USER}:{PASSWORD}");
    env.ok(["pull", "-q", INSECURE, "--policy", "always", "--creds", &creds, &name]);
    assert_eq!(
        env.ok(["login", INSECURE, "-u", USER, "-p", PASSWORD, "--authfile", "mine.json", &format!("{host}/ns")]),
        "Login Succeeded!"
    );
    env.ok(["pull", "-q", INSECURE, "--policy", "always", "--authfile", "mine.json", &name]);
    assert_eq!(env.ok(["logout", "--authfile", "mine.json", "--all"]), "Removed login credentials for all registries");
    for (words, text) in [
        (&["login"][..], "please specify a registry to login to"),
        (&["login", "-p", "x", "--password-stdin", "r.io"], "Can't specify both --password-stdin and --password"),
        (&["login", "--password-stdin", "r.io"], "Must provide --username with --password-stdin"),
        (&["login", "-p", "x", "r.io"], "getting username and password: reading username: EOF"),
        (&["login", "-u", "x", "r.io"], "--password-stdin reads the password"),
        (&["login", "r.io/x:1"], "contains tag or digest"),
        (&["logout"], "registry must be given"),
        (&["logout", "-a", "r.io"], "--all takes no arguments"),
    ] {
        let error = env.run(words).failure(125);
        assert!(error.contains(text), "{words:?}: {error}");
    }
}

/// As Go's programs have it: a certificate that is trusted itself needs no authority, and may be one.
#[test]
fn a_certificate_that_signed_itself_is_trusted_for_its_name_where_that_is_said() {
    if skip_without(&[PROGRAM, "openssl"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::with_own_certificate());
    env.busybox("box");
    let own = fs::read(registry.own_certificate()).unwrap();
    let host = format!("localhost:{}", registry.port());
    let name = format!("{host}/box");
    assert!(env.run(["push", "-q", "box", &name]).failure(125).contains("failed to verify certificate"));
    env.write_home(&format!(".config/containers/certs.d/{host}/ca.crt"), &own);
    env.ok(["push", "-q", "box", &name]);
    env.ok(["pull", "-q", "--policy", "always", &name]);
    env.write("certs/ca.crt", &own);
    let other_name = env.run(["pull", "-q", "--policy", "always", "--cert-dir", "certs", &registry.name("box")]);
    assert!(other_name.failure(125).contains("certificate not valid for name"), "{other_name}");
    env.write("others/ca.crt", fs::read(registry.authority()).unwrap());
    let untrusted = env.run(["pull", "-q", "--policy", "always", "--cert-dir", "others", &name]);
    assert!(untrusted.failure(125).contains("failed to verify certificate"), "{untrusted}");
}

#[test]
fn certificates_are_verified() {
    if skip_without(&[PROGRAM, "openssl"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::with_tls());
    env.busybox("box");
    let name = registry.name("box");
    let unknown = env.run(["push", "-q", "box", &name]).failure(125);
    assert!(unknown.contains("failed to verify certificate") && unknown.contains("--cert-dir"), "{unknown}");
    let authority = fs::read(registry.authority()).unwrap();
    env.write("certs/ca.crt", &authority);
    env.ok(["push", "-q", "--cert-dir", "certs", "box", &name]);
    env.ok(["pull", "-q", "--policy", "always", "--tls-verify=false", &name]);
    assert!(env.run(["pull", "-q", "--policy", "always", &name]).failure(125).contains("certificate"));
    env.write_home(&format!(".config/containers/certs.d/{}/ca.crt", registry.host()), &authority);
    env.ok(["pull", "-q", "--policy", "always", &name]);
    env.ok(["from", "-q", "--pull", &name]);
    env.write("bad/client.cert", "x");
    assert!(
        env.run(["pull", "--policy", "always", "--cert-dir", "bad", &name]).failure(125).contains("missing key client.key")
    );
    // The name of the other address of the same machine is in the certificate as well.
    let localhost = name.replace("127.0.0.1", "localhost");
    env.ok(["pull", "-q", "--cert-dir", "certs", &localhost]);
}

#[test]
fn registries_conf_says_where_names_lead() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = env.busybox("box");
    env.ok(["push", "-q", INSECURE, "box", &registry.name("mirror/ns/box")]);
    env.ok(["push", "-q", INSECURE, "box", &registry.name("box")]);
    env.ok(["rmi", "-af"]);
    let host = registry.host();
    env.write_home(
        ".config/containers/registries.conf",
        format!(
            "unqualified-search-registries = ['{host}']\n[aliases]\nal = '{host}/box'\n\
             [[registry]]\nlocation = '{host}'\ninsecure = true\n\
             [[registry]]\nprefix = 'r.example'\nlocation = 'localhost:1'\n\
             [[registry.mirror]]\nlocation = 'localhost:1/none'\n[[registry.mirror]]\nlocation = '{host}/mirror'\ninsecure = true\n\
             [[registry]]\nprefix = 'bad.example'\nlocation = 'bad.example'\nblocked = true\n"
        ),
    );
    // The image keeps the name that was asked for.
    for (operand, name) in
        [("r.example/ns/box", "r.example/ns/box"), ("box", &*format!("{host}/box")), ("al", &*format!("{host}/box"))]
    {
        let output = env.run(["pull", operand]);
        assert_eq!(output.success(), id, "{output}");
        assert_eq!(env.ok(["images", "--format", "{{.Name}}"]), name, "{operand}");
        env.ok(["rmi", "-af"]);
    }
    assert!(env.run(["pull", "al"]).err().contains("Resolved \"al\" as an alias ("));
    let blocked = env.run(["from", "bad.example/x"]).failure(125);
    assert!(blocked.contains("registry bad.example is blocked in registries.conf"), "{blocked}");
    assert!(env.run(["push", "-q", "al", "bad.example/x"]).failure(125).contains("is blocked"));
    // The flag wins over the settings.
    assert!(
        env.run(["pull", "--tls-verify", "--policy", "always", "al"]).failure(125).contains("HTTP response to HTTPS client")
    );
}

#[test]
fn all_tags_and_the_newest_image_come_when_asked_for() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    env.busybox("box");
    let repository = registry.name("many");
    for tag in ["1", "2", "3"] {
        env.ok(["push", "-q", INSECURE, "box", &format!("{repository}:{tag}")]);
    }
    env.ok(["rmi", "-af"]);
    env.ok(["pull", "-q", INSECURE, "--all-tags", &repository]);
    let mut tags: Vec<String> = env.ok(["images", "--format", "{{.Tag}}"]).lines().map(str::to_owned).collect();
    tags.sort();
    assert_eq!(tags, ["1", "2", "3"]);
    // A tag of its own does not matter, as with Buildah; an ID says nothing of where to ask.
    let id = env.ok(["pull", "-q", INSECURE, "-a", &format!("{repository}:1")]);
    let error = env.run(["pull", "--policy", "always", &id[..12]]).failure(125);
    assert!(error.contains("pull policy is always but image has been referred to by ID"), "{error}");
    assert_eq!(env.ok(["pull", "--policy", "newer", &id[..12]]), id);

    let first = format!("{repository}:1");
    let container = env.ok(["from", "-q", &first]);
    env.ok(["config", "--label", "new=1", &container]);
    env.ok(["commit", "-q", "--rm", &container, "newer"]);
    let newer = env.ok(["images", "-q", "--no-trunc", "newer"]).replace("sha256:", "");
    env.ok(["push", "-q", INSECURE, "newer", &first]);
    let old = env.ok(["pull", "-q", INSECURE, &first]);
    assert_ne!(old, newer);
    assert_eq!(env.ok(["pull", "-q", INSECURE, "--policy", "never", &first]), old);
    assert_eq!(env.ok(["pull", "-q", INSECURE, "--policy", "newer", &first]), newer);
    assert_eq!(env.ok(["pull", "-q", INSECURE, &first]), newer);
}

#[test]
fn of_a_list_the_image_for_the_platform_is_pulled() {
    if skip_without(&[PROGRAM, "skopeo"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let mut ids = Vec::new();
    for (architecture, variant) in [("amd64", ""), ("arm64", "v8"), ("s390x", "")] {
        let container = env.ok(["from", "-q", "scratch"]);
        let file = env.write(&format!("file-{architecture}"), architecture);
        env.ok(["copy", "-q", &container, &file.to_string_lossy(), "/arch"]);
        env.ok(["config", "--arch", architecture, "--variant", variant, &container]);
        ids.push(env.ok(["commit", "-q", "--rm", "--manifest", "list", &container]));
    }
    let name = registry.name("multi");
    env.ok(["push", "-q", INSECURE, "--all", "list", &format!("docker://{name}")]);
    let raw = env.tool("skopeo", ["inspect", "--raw", INSECURE, &format!("docker://{name}")]).success();
    assert_eq!(raw.matches("\"architecture\"").count(), 3, "{raw}");
    env.ok(["rmi", "-af"]);
    for (words, id) in [(&["--arch", "s390x"][..], &ids[2]), (&["--platform", "linux/arm64"], &ids[1])] {
        assert_eq!(&env.ok(["pull", "-q", INSECURE].iter().chain(words).chain(&[name.as_str()])), id);
    }
    // The record has the list's digest: it finds the image again, and says that there is nothing newer.
    let list = env.tool("skopeo", ["inspect", INSECURE, "--format", "{{.Digest}}", &format!("docker://{name}")]).success();
    assert_eq!(env.ok(["images", "--format", "{{.Digest}}", &name]), list);
    assert_eq!(&env.ok(["pull", "-q", "--policy", "never", &format!("{}@{list}", registry.name("multi"))]), &ids[1]);
    let again = env.run(["pull", INSECURE, "--platform", "linux/arm64", &name]);
    assert!(!again.err().contains("Writing manifest"), "{again}");
    env.ok(["commit", "-q", &env.ok(["from", "--name", "of-a-list", &ids[1]]), "localhost/derived"]);
    let base = env.ok(["inspect", "--format", "{{.FromImageDigest}}", "of-a-list"]);
    assert!(raw.contains(&base), "the digest of the image itself: {base}");
    let shown = env.ok(["manifest", "inspect", INSECURE, &name]);
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    assert_eq!(parsed(&shown), parsed(&raw), "the list at the registry, though the store has one image of that name");
    assert_eq!(parsed(&env.ok(["manifest", "inspect", INSECURE, &format!("docker://{name}")])), parsed(&raw));
    let missing = env.run(["pull", "-q", INSECURE, "--arch", "riscv64", &name]).failure(125);
    assert!(missing.contains("no image found in manifest list for architecture \"riscv64\""), "{missing}");
    // Skopeo sees each of them, too.
    let theirs = env.tool(
        "skopeo",
        ["--override-arch", "arm64", "inspect", INSECURE, "--format", "{{.Architecture}}", &format!("docker://{name}")],
    );
    assert_eq!(theirs.success(), "arm64");
}

#[test]
fn images_are_read_from_a_registry_wherever_they_are_named() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    env.busybox("box");
    let name = registry.name("box:2");
    env.ok(["push", "-q", INSECURE, "box", &name]);
    env.ok(["rmi", "-af"]);
    // As it would be after a pull, and nothing is pulled.
    env.write_home(
        ".config/containers/registries.conf",
        format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.host()),
    );
    let place = format!("docker://{name}");
    let shown = env.ok(["inspect", &place]);
    assert_eq!(env.ok(["images", "-aq"]), "");
    let id = env.ok(["pull", "-q", &name]);
    assert_eq!(shown, env.ok(["inspect", "--type", "image", &name]));
    assert_eq!(env.ok(["inspect", "--format", "{{.FromImageID}} {{.FromImage}}", &place]), format!("{id} {name}"));
    env.ok(["rmi", "-af"]);
    let unknown = format!("docker://{}", registry.name("nosuch"));
    let error = env.run(["inspect", &unknown]).failure(125);
    assert!(error.starts_with("Error: inspecting ") && error.trim_end().ends_with("manifest unknown"), "{error}");
    assert!(env.run(["inspect", "--type", "container", &place]).failure(125).contains("container not known"));
    let policy = env.write("policy.json", "{\"default\":[{\"type\":\"reject\"}]}");
    let refused = env.run(["--signature-policy", &policy.to_string_lossy(), "inspect", &place]).failure(125);
    assert!(refused.contains("rejected by policy"), "{refused}");
    let target = env.ok(["from", "scratch"]);
    assert_eq!(env.ok(["copy", "-q", INSECURE, "--from", &name, &target, "/bin/busybox", "/box"]), "");
    assert_eq!(env.ok(["images", "--format", "{{.Name}}:{{.Tag}}"]), name);
    env.ok(["rmi", &name]);
    assert_eq!(env.ok(["from", "-q", INSECURE, &format!("docker://{name}")]), "box-working-container");
    env.assert_store_is_clean();
}

#[test]
fn a_registry_may_have_an_ipv6_address_for_a_name() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::with_login());
    let Some(proxy) = Proxy::on_ipv6(&registry) else { return };
    let host = format!("[::1]:{}", proxy.port());
    let id = image(&env, "box");
    env.write_home(".config/containers/registries.conf", format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"));
    let name = format!("{host}/ns/box:1");
    assert!(env.run(["push", "-q", "box", &name]).failure(125).contains("unauthorized"));
    env.ok(["login", "-u", USER, "-p", PASSWORD, &host]);
    assert_eq!(env.ok(["login", "--get-login", &host]), USER);
    env.ok(["push", "-q", "box", &format!("docker://{name}")]);
    env.ok(["rmi", "-af"]);
    assert_eq!(env.ok(["pull", "-q", &name]), id);
    let container = env.ok(["from", &name]);
    assert_eq!(container, "box-working-container");
    let names = env.ok(["images", "--format", "{{.Name}}:{{.Tag}}"]);
    assert_eq!(names, name);
    assert!(proxy.count(&[&format!("ost: {host}\r\n")]) > 3, "{:?}", proxy.seen());
}
