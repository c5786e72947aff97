//! Credentials from helpers, files and people, and certificates for clients, at real registries.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::harness::registry::{PASSWORD, PROGRAM, Proxy, Registry, USER, body, status};
use crate::harness::{TestEnv, skip_without};

const INSECURE: &str = "--tls-verify=false";

/// A helper that keeps its logins in a file each, and notes how it was called; the directory that it is in.
fn helper(env: &TestEnv, name: &str) -> PathBuf {
    let dir = env.work().join("helpers");
    fs::create_dir_all(&dir).expect("a directory");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("its mode");
    let script = format!(
        "#!/bin/sh\ncd {0}\ninput=$(cat)\nprintf '%s\\n' \"$1\" >>calls\ncase $1 in\n\
         get) test -f \"login-$(printf %s \"$input\" | tr '/:' __)\" || {{ echo 'credentials not found in native keychain'; exit 1; }}\n\
         cat \"login-$(printf %s \"$input\" | tr '/:' __)\" ;;\n\
         store) server=$(printf %s \"$input\" | sed 's/.*\"ServerURL\":\"\\([^\"]*\\)\".*/\\1/')\n\
         printf %s \"$input\" >\"login-$(printf %s \"$server\" | tr '/:' __)\" ;;\n\
         erase) rm \"login-$(printf %s \"$input\" | tr '/:' __)\" 2>/dev/null || \
         {{ echo 'credentials not found in native keychain'; exit 1; }} ;;\n\
         list) printf '{{'; separator=; for login in login-*; do test -f \"$login\" || continue\n\
         printf '%s\"%s\":\"user\"' \"$separator\" \"$(sed 's/.*\"ServerURL\":\"\\([^\"]*\\)\".*/\\1/' \"$login\")\"; separator=,; done; echo '}}' ;;\nesac\n",
        dir.display()
    );
    let path = dir.join(format!("docker-credential-{name}"));
    fs::write(&path, script).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    dir
}

/// The image `box`, a registry that wants a login, and the directory of the helper `x`.
fn world() -> Option<(TestEnv, Registry, PathBuf)> {
    if skip_without(&[PROGRAM]) {
        return None;
    }
    let (mut env, registry) = (TestEnv::new(), Registry::with_login());
    env.busybox("box");
    let dir = helper(&env, "x");
    env.put_in_path(&dir);
    Some((env, registry, dir))
}

#[test]
fn helpers_keep_give_and_forget_logins() {
    let Some((env, registry, dir)) = world() else { return };
    let (host, name) = (registry.host(), registry.name("ns/box"));
    let settings = format!("{{\"credHelpers\":{{\"{host}\":\"x\"}},\"other\":1}}");
    let file = env.write("auth.json", &settings).to_string_lossy().into_owned();
    let refused = env.run(["push", "-q", INSECURE, "--authfile", &file, "box", &name]).failure(125);
    assert!(refused.contains("unauthorized"), "{refused}");
    let login = env.ok(["login", INSECURE, "-v", "-u", USER, "-p", PASSWORD, "--authfile", &file, &host]);
    assert_eq!(login, "Used:  docker-credential-x\nLogin Succeeded!");
    assert_eq!(fs::read_to_string(&file).expect("the file"), settings, "the secret is the helper's alone");
    env.ok(["push", "-q", INSECURE, "--authfile", &file, "box", &name]);
    assert_eq!(env.ok(["login", "--get-login", "--authfile", &file, &host]), USER);
    env.ok(["logout", "--authfile", &file, &host]);
    assert!(env.run(["push", "-q", INSECURE, "--authfile", &file, "box", &name]).failure(125).contains("unauthorized"));

    // credsStore has what no entry has.
    let secret = format!("{{\"ServerURL\":\"{host}\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}");
    fs::write(dir.join(format!("login-{}", host.replace(':', "_"))), secret).expect("a login");
    env.write_home(".docker/config.json", "{\"credsStore\":\"x\"}");
    env.ok(["pull", "-q", INSECURE, "--policy", "always", &name]);
    // A helper that is not there is an error, and nothing is asked without it.
    env.write_home(".docker/config.json", "{\"credsStore\":\"nosuch\"}");
    let missing = env.run(["pull", "-q", INSECURE, "--policy", "always", &name]).failure(125);
    assert!(missing.contains("docker-credential-nosuch") && missing.lines().count() <= 2, "{missing}");
}

/// `credential-helpers` of registries.conf.
#[test]
fn registries_conf_says_who_has_logins_and_in_which_order() {
    let Some((env, registry, _)) = world() else { return };
    let (host, name) = (registry.host(), registry.name("ns/box"));
    let helpers =
        |list: &str| drop(env.write_home(".config/containers/registries.conf", format!("credential-helpers = [{list}]\n")));
    let login = |key: &str| env.ok(["login", INSECURE, "-v", "-u", USER, "-p", PASSWORD, key]);
    let allowed = || {
        let pushed = env.run(["push", "-q", INSECURE, "box", &name]);
        assert!(pushed.code == Some(0) || pushed.to_string().contains("unauthorized"), "{pushed}");
        pushed.code == Some(0)
    };

    // The first that keeps a login gets it, and the first that has one gives it.
    helpers("'x', 'containers-auth.json'");
    assert_eq!(login(&host), "Used:  docker-credential-x\nLogin Succeeded!");
    assert!(allowed());
    // One that fails is passed over.
    helpers("'nosuch', 'x', 'containers-auth.json'");
    assert!(allowed());
    assert_eq!(env.ok(["login", "--get-login", &host]), USER);
    helpers("'containers-auth.json'");
    assert!(!allowed());
    helpers("'containers-auth.json', 'x'");
    assert!(allowed());
    // Logging out is for all of them.
    assert!(login(&host).contains("auth.json\n"));
    env.ok(["logout", &host]);
    assert!(!allowed());
    let again = env.run(["logout", &host]).failure(125);
    assert!(again.contains("not logged into"), "{again}");

    // A program keeps whole registries only; and where it alone is listed, files do not count.
    helpers("'x', 'containers-auth.json'");
    assert!(login(&format!("{host}/ns")).contains("auth.json\n"));
    assert!(allowed());
    helpers("'x'");
    assert!(!allowed());
    let namespace = format!("{host}/ns");
    let refused = env.run(["login", INSECURE, "-u", USER, "-p", PASSWORD, &namespace]).failure(125);
    assert!(refused.contains("logins of whole registries"), "{refused}");
    login(&host);
    assert!(allowed());
    helpers("'x', 'containers-auth.json', 'nosuch'");
    env.ok(["logout", "--all"]);
    helpers("'x', 'containers-auth.json'");
    assert!(!allowed());
    // Nobody has anything, and one of them may only not have answered.
    helpers("'nosuch', 'containers-auth.json'");
    let missing = env.run(["push", "-q", INSECURE, "box", &name]).failure(125);
    assert!(missing.contains("docker-credential-nosuch"), "{missing}");
}

#[test]
fn the_narrowest_entry_counts() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::with_login());
    env.busybox("box");
    let host = registry.host();
    // user:pass and user:wrong
    let auths = format!(
        "{{\"auths\":{{\"{host}\":{{\"auth\":\"dXNlcjp3cm9uZw==\"}},\"{host}/team\":{{\"auth\":\"dXNlcjpwYXNz\"}},\
         \"{host}/team/bad\":{{\"auth\":\"dXNlcjp3cm9uZw==\"}}}}}}"
    );
    let file = env.write("auth.json", auths).to_string_lossy().into_owned();
    for (name, allowed) in
        [("team/box", true), ("team/sub/box", true), ("team/bad", false), ("teams/box", false), ("box", false)]
    {
        let pushed = env.run(["push", "-q", INSECURE, "--authfile", &file, "box", &registry.name(name)]);
        assert_eq!(pushed.code == Some(0), allowed, "{name}: {pushed}");
    }
}

/// The token of a login in place of a password is sent to the token server, as a form, and nowhere else.
#[test]
fn an_identity_token_gets_another_token() {
    let env = TestEnv::new();
    let tokens = Proxy::start(None, |_, _| body("", "{\"access_token\":\"canary-token\"}"));
    let realm = tokens.host();
    let registry = Proxy::start(None, move |head, _| match head.contains("Bearer canary-token") {
        false => {
            status("401 Unauthorized", &format!("WWW-Authenticate: Bearer realm=\"http://{realm}/token\",service=\"s\"\r\n"))
        }
        true => status("404 Not Found", ""),
    });
    let auths = format!("{{\"auths\":{{\"{}\":{{\"identitytoken\":\"canary-refresh\"}}}}}}", registry.host());
    let file = env.write("auth.json", auths).to_string_lossy().into_owned();
    let error = env.run(["pull", "-q", INSECURE, "--authfile", &file, &registry.name("x")]).failure(125);
    assert!(error.contains("not found") && !error.contains("canary"), "{error}");
    assert!(tokens.seen().iter().any(|head| head.starts_with("POST /token ")), "{:?}", tokens.seen());
    assert!(!registry.seen().concat().contains("canary-refresh") && !tokens.saw_credentials());
}

/// What a terminal is sent, with these lines typed a while after one another.
fn typed(env: &TestEnv, command: &str, lines: &[&str]) -> String {
    let typing: String = lines.iter().map(|line| format!("sleep 0.7; echo {line}; ")).collect();
    let shown = env.shell(&format!("({typing} sleep 0.7) | script -qec '{command}' /dev/null"));
    String::from_utf8_lossy(&shown.stdout).replace("\r\n", "\n")
}

#[test]
fn passwords_are_asked_for_and_not_shown() {
    if skip_without(&[PROGRAM, "script"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::with_login());
    let host = registry.host();
    let shown = typed(&env, &format!("coracle login {INSECURE} {host}"), &[USER, PASSWORD]);
    assert_eq!(shown, format!("Username: {USER}\nPassword: \nLogin Succeeded!\n"));
    env.ok(["logout", &host]);
    env.busybox("box");
    let push = format!("coracle push -q {INSECURE} --creds {USER} box {}", registry.name("box"));
    assert_eq!(typed(&env, &push, &[PASSWORD]), "Password: \n");
    let refused = typed(&env, &push, &["wrong"]);
    assert!(refused.starts_with("Password: \nError: ") && !refused.contains("wrong"), "{refused}");
    let without = env.run(["push", "-q", INSECURE, "--creds", USER, "box", &registry.name("box")]).failure(125);
    assert!(without.starts_with("Password: \nError: could not read password from terminal"), "{without}");
}

#[test]
fn a_registry_may_want_a_certificate_of_its_client() {
    if skip_without(&[PROGRAM, "openssl"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::with_client_certificates());
    env.busybox("box");
    let name = registry.name("box");
    let (from, certs) = (registry.authority(), env.work().join("certs"));
    fs::create_dir(&certs).expect("a directory");
    let add = |name: &str| {
        fs::copy(from.with_file_name(name), certs.join(name)).expect("copied");
    };
    let dir = certs.to_string_lossy().into_owned();
    let push = |words: &[&str]| env.run([&["push", "-q", "--retry", "0", "--cert-dir", &dir], words, &["box", &name]].concat());
    add("ca.crt");
    let refused = push(&[]).failure(125);
    assert!(
        refused.contains("does not take the client's certificate, or wants one") && refused.contains("client.key"),
        "{refused}"
    );
    add("client.cert");
    let half =
        "missing key client.key for client certificate client.cert. Note that CA certificates should use the extension .crt";
    assert!(push(&[]).failure(125).contains(half));
    add("client.key");
    push(&[]).success();
    fs::remove_file(certs.join("client.cert")).expect("removed");
    assert!(push(&[]).failure(125).contains("missing client certificate client.cert for key client.key"));
    add("client.cert");
    fs::remove_file(certs.join("ca.crt")).expect("removed");
    assert!(push(&[]).failure(125).contains("certificate signed by unknown authority"));
    push(&[INSECURE]).success();
}
