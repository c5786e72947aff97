//! `build`: secrets that are credentials for what is fetched.

use crate::harness::registry::{Proxy, body, status};
use crate::harness::{TestEnv, skip_without};

/// What a server was told of who asks, each once.
fn told(server: &Proxy) -> Vec<String> {
    let lines = server.seen().join("\n").to_lowercase();
    let mut found: Vec<String> =
        lines.lines().filter_map(|line| line.split_once("authorization: ")).map(|(_, value)| value.trim().to_owned()).collect();
    found.dedup();
    found
}

#[test]
fn a_file_is_asked_for_with_the_secret_of_its_host() {
    let mut env = TestEnv::new();
    env.set("TOKEN", "hunter2secret");
    env.write("header", "Basic aHVudGVyMg==\n");
    let evil = Proxy::start(None, |_, _| body("", "elsewhere"));
    let away = evil.host();
    let server = Proxy::start(None, move |head, _| match head.contains("/away") {
        true => status("302 Found", &format!("Location: http://{away}/x\r\n")),
        false => body("", "content"),
    });
    let (plain, login) = (format!("http://{}/x", server.host()), format!("http://u:p@{}/x", server.host()));
    let build = |secret: &str, address: &str, layers: &str| {
        env.write("ctx/Dockerfile", format!("FROM scratch\nADD {address} /f\n"));
        env.run(["build", "--log-level", "debug", layers, "--secret", secret, "-t", "app", "ctx"])
    };
    let token = "id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOKEN";
    for (secret, address, want) in [
        ("id=HTTP_AUTH_TOKEN_other.example,env=TOKEN", &plain, vec![]),
        ("id=HTTP_AUTH_TOKEN_127.0.0.1,env=UNSET", &plain, vec![]),
        (token, &plain, vec!["bearer hunter2secret"]),
        (token, &login, vec!["bearer hunter2secret"]),
        ("id=HTTP_AUTH_HEADER_127.0.0.1,src=header", &plain, vec!["bearer hunter2secret", "basic ahvudgvymg=="]),
    ] {
        for layers in ["--layers=false", "--layers"] {
            let output = build(secret, address, layers);
            output.success();
            assert!(!output.err().contains("hunter2secret"), "{output}");
        }
        assert_eq!(told(&server), want, "{secret} {address}");
    }
    build(token, &format!("http://{}/away", server.host()), "--layers").success();
    assert!(!evil.saw_credentials(), "{:?}", evil.seen());
    // It is nowhere in the store, and thereby in no image, history or key.
    let root = env.graph_root();
    let found = env.shell(&format!("coracle unshare grep -rl hunter2secret {} || true", root.display()));
    assert_eq!(found.success(), "");
    env.write("two", "one\ntwo\n");
    let said = build("id=HTTP_AUTH_TOKEN_127.0.0.1,src=two", &plain, "--layers").failure(125);
    assert!(said.contains("reading the secret \"HTTP_AUTH_TOKEN_127.0.0.1\": it is no line of plain text"), "{said}");
}

#[test]
fn a_repository_is_asked_for_with_the_first_secret_for_it() {
    if skip_without(&["git"]) {
        return;
    }
    let mut env = TestEnv::new();
    env.set("ONE", "one");
    env.set("TWO", "Basic dHdv");
    // The user that hosts of repositories know tokens by.
    let one = "basic ec1hy2nlc3mtdg9rzw46b25l";
    for (ids, context, want) in [
        (vec!["GIT_AUTH_TOKEN,env=ONE"], false, one),
        (vec!["GIT_AUTH_TOKEN,env=ONE"], true, one),
        (vec!["GIT_AUTH_TOKEN,env=ONE", "GIT_AUTH_HEADER,env=TWO"], false, "basic dhdv"),
        (vec!["GIT_AUTH_TOKEN.HOST,env=ONE", "GIT_AUTH_HEADER,env=TWO"], false, one),
        (vec!["GIT_AUTH_TOKEN.other.example,env=ONE", "HTTP_AUTH_TOKEN_127.0.0.1,env=ONE"], false, ""),
    ] {
        let server = Proxy::start(None, |_, _| status("404 Not Found", ""));
        let address = format!("http://{}/r.git", server.host());
        env.write("ctx/Dockerfile", format!("FROM scratch\nADD {address} /r\n"));
        let secrets: Vec<String> = ids.iter().map(|id| format!("--secret=id={}", id.replace("HOST", &server.host()))).collect();
        let operand = if context { address.as_str() } else { "ctx" };
        env.run(["build"].into_iter().chain(secrets.iter().map(String::as_str)).chain([operand])).failure(125);
        assert!(!server.seen().is_empty(), "nobody asked");
        assert_eq!(told(&server).join(" "), want, "{ids:?}");
    }
}
