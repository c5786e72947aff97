//! A network that fails: each fault is survived, or said in one line, and leaves nothing in the store.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use crate::harness::registry::{Answer, PROGRAM, Proxy, Registry, body, status};
use crate::harness::{TestEnv, skip_without};

const INSECURE: &str = "--tls-verify=false";

/// An image with a layer that does not get smaller, at the registry as `box`; the store is empty again. Its ID.
fn at_registry(env: &TestEnv, registry: &Registry) -> String {
    let container = env.ok(["from", "scratch"]);
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    });
    let file = env.write("noise", noise.take(700_000).collect::<Vec<u8>>());
    env.ok(["copy", "-q", &container, &file.to_string_lossy(), "/noise"]);
    let id = env.ok(["commit", "-q", "--rm", &container, "box"]);
    env.ok(["push", "-q", INSECURE, "box", &registry.name("box")]);
    env.ok(["rmi", "-af"]);
    id
}

fn is_layer(head: &str) -> bool {
    // The config is small and asked for first; both are blobs.
    head.starts_with("GET /v2/box/blobs/")
}

#[test]
fn a_push_waits_for_a_registry_that_is_not_up_yet() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    env.busybox("box");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let name = format!("127.0.0.1:{port}/box");
    let begun = Instant::now();
    let refused = env.run(["push", "-q", "--retry", "2", "--retry-delay", "300ms", INSECURE, "box", &name]);
    assert!(refused.failure(125).contains("connection refused"), "{refused}");
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(700));
            Proxy::on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap(), Some(&registry), |_, _| Answer::Pass)
        });
        env.ok(["push", "-q", INSECURE, "box", &name]);
    });
    env.ok(["pull", "-q", "--policy", "always", INSECURE, &registry.name("box")]);
}

#[test]
fn who_reads_waits_for_a_registry_whose_name_was_said() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    env.busybox("box");
    env.ok(["push", "-q", INSECURE, "box", &registry.name("box")]);
    env.ok(["rmi", "-af"]);
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let (name, place) = (format!("{host}/box"), format!("docker://{host}/box"));
    let settings = |search: &str| {
        let text = format!("unqualified-search-registries = [{search}]\n[[registry]]\nlocation = '{host}'\ninsecure = true\n");
        env.write_home(".config/containers/registries.conf", text);
    };
    settings(&format!("'{host}'"));
    // Nobody comes: as often as was said, and never for a name that is searched for.
    for (words, waits) in [
        (&["pull", "-q", "--retry", "1", "--retry-delay", "700ms", &name][..], true),
        (&["pull", "-q", "--retry", "1", "--retry-delay", "700ms", "--all-tags", &name], true),
        (&["from", "-q", "--retry", "1", "--retry-delay", "700ms", &place], true),
        (&["pull", "-q", "--retry", "0", &name], false),
        (&["pull", "-q", "--retry", "1", "--retry-delay", "60s", "box"], false),
        (&["from", "-q", "--retry", "1", "--retry-delay", "60s", "--pull=newer", &name], false),
    ] {
        let begun = Instant::now();
        let error = env.run(words.iter().copied()).failure(125);
        assert!(error.contains("connection refused"), "{words:?}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{words:?}: {:?}", begun.elapsed());
        assert!(!waits || begun.elapsed() >= Duration::from_millis(700), "{words:?}: {:?}", begun.elapsed());
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(700));
            Proxy::on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap(), Some(&registry), |_, _| Answer::Pass)
        });
        env.ok(["pull", "-q", &name]);
    });
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = at_registry(&env, &registry);
    let proxy = Proxy::start(Some(&registry), |head, _| if is_layer(head) { Answer::CutAfter(300_000) } else { Answer::Pass });
    assert_eq!(env.ok(["pull", "-q", INSECURE, &proxy.name("box")]), id);
    let ranges: Vec<String> = proxy
        .seen()
        .iter()
        .filter_map(|head| head.lines().find(|line| line.to_lowercase().starts_with("range: ")).map(str::to_lowercase))
        .collect();
    assert!(
        ranges.len() >= 2 && ranges.iter().all(|range| range.starts_with("range: bytes=") && range.ends_with('-')),
        "{ranges:?}"
    );
    assert!(!ranges.iter().any(|range| range.contains("bytes=0-")), "{ranges:?}");
    env.assert_store_is_clean();
}

#[test]
fn a_download_that_never_ends_well_leaves_nothing() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    at_registry(&env, &registry);
    let proxy = Proxy::start(Some(&registry), |head, _| if is_layer(head) { Answer::CutAfter(0) } else { Answer::Pass });
    let begun = Instant::now();
    let failed = env.run(["pull", "-q", INSECURE, "--retry", "2", "--retry-delay", "10ms", &proxy.name("box")]).failure(125);
    assert!(failed.starts_with("Error: pulling ") && failed.lines().count() == 1, "{failed}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(env.ok(["images", "-aq"]), "");
    env.assert_store_is_clean();
}

/// Manifests and lists of tags, too.
#[test]
fn a_document_that_breaks_off_is_asked_for_again() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = at_registry(&env, &registry);
    let proxy = Proxy::start(Some(&registry), |head, before| {
        let document = head.starts_with("GET /v2/box/manifests/") || head.starts_with("GET /v2/box/tags/");
        match before {
            0 | 1 if document => Answer::Say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"schemaVersion\":2,".to_owned()),
            _ => Answer::Pass,
        }
    });
    let retries = ["-q", INSECURE, "--retry", "2", "--retry-delay", "10ms"];
    assert_eq!(env.ok(["pull", "--all-tags"].iter().chain(&retries).chain(&[proxy.name("box").as_str()])), id);
    assert_eq!((proxy.count(&["GET /v2/box/manifests/"]), proxy.count(&["GET /v2/box/tags/list"])), (3, 3));
    let proxy = Proxy::start(None, |_, _| Answer::Say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{".to_owned()));
    let failed = env.run(["pull", "-q", INSECURE, "--retry", "1", "--retry-delay", "1ms", &proxy.name("box")]).failure(125);
    assert!(failed.starts_with("Error: pulling ") && failed.contains("Peer disconnected"), "{failed}");
    assert_eq!(proxy.count(&["GET /v2/box/manifests/"]), 2);
}

/// RFC 9110, section 15.5.17: a server that gives no part of the blob gives all of it.
#[test]
fn a_download_begins_anew_where_no_part_is_given() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = at_registry(&env, &registry);
    let proxy = Proxy::start(Some(&registry), |head, before| match before {
        _ if head.to_lowercase().contains("\r\nrange: ") => status("416 Range Not Satisfiable", ""),
        0 if is_layer(head) => Answer::CutAfter(300_000),
        _ => Answer::Pass,
    });
    assert_eq!(env.ok(["pull", "-q", INSECURE, &proxy.name("box")]), id);
    let ranges = proxy.seen().iter().filter(|head| head.to_lowercase().contains("\r\nrange: ")).count();
    assert_eq!(ranges, 1, "{:?}", proxy.seen());
    env.assert_store_is_clean();
}

#[test]
fn a_registry_that_cannot_say_what_it_has_is_sent_everything() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = at_registry(&env, &registry);
    env.ok(["pull", "-q", INSECURE, &registry.name("box")]);
    for refusal in ["405 Method Not Allowed", "501 Not Implemented"] {
        let proxy = Proxy::start(Some(&registry), move |head, _| match head.starts_with("HEAD ") {
            true => status(refusal, ""),
            false => Answer::Pass,
        });
        // The second time everything is there.
        for _ in 0..2 {
            env.ok(["push", "-q", INSECURE, &id, &proxy.name("sent")]);
        }
        assert!(proxy.count(&["HEAD "]) >= 4 && proxy.count(&["PUT /v2/sent/blobs/"]) >= 4, "{refusal}: {:?}", proxy.seen());
    }
    let proxy = Proxy::start(Some(&registry), |head, _| match head.starts_with("HEAD ") {
        true => status("403 Forbidden", ""),
        false => Answer::Pass,
    });
    assert!(env.run(["push", "-q", INSECURE, &id, &proxy.name("sent")]).failure(125).contains("denied: "));
    env.ok(["rmi", "-af"]);
    assert_eq!(env.ok(["pull", "-q", INSECURE, &registry.name("sent")]), id);
}

#[test]
fn a_busy_registry_is_asked_again_after_the_pause_it_wants() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = at_registry(&env, &registry);
    let proxy = Proxy::start(Some(&registry), |head, before| match before {
        0 if head.starts_with("GET /v2/box/manifests/") => status("429 Too Many Requests", "Retry-After: 1\r\n"),
        0 | 1 if is_layer(head) => status("503 Service Unavailable", ""),
        _ => Answer::Pass,
    });
    let begun = Instant::now();
    assert_eq!(env.ok(["pull", "-q", INSECURE, "--retry-delay", "10ms", &proxy.name("box")]), id);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(proxy.count(&["GET /v2/box/manifests/latest"]), 2);
}

/// Also by verbs that have no flag for it.
#[test]
fn containers_conf_says_how_often_a_registry_is_asked_again() {
    let mut env = TestEnv::new();
    let proxy = Proxy::start(None, |_, _| status("503 Service Unavailable", ""));
    let place = format!("docker://{}", proxy.name("box"));
    env.write("f", "content\n");
    let script =
        "c=$(coracle from --name c scratch); coracle copy -q c f /f; coracle commit -q c one; coracle manifest create l one";
    env.shell(script).success();
    let conf = env.write("containers.conf", "");
    env.set("CONTAINERS_CONF", &conf.to_string_lossy());
    let requests = |retries: u32, words: &[&str]| {
        env.write("containers.conf", format!("[engine]\nretry = {retries}\nretry_delay = \"1ms\"\n"));
        let before = proxy.seen().len();
        env.run(words.iter().copied()).failure(125);
        proxy.seen().len() - before
    };
    for words in [
        &["pull", "-q", INSECURE, &place][..],
        &["copy", "-q", INSECURE, "--from", &place, "c", "/f", "/g"],
        &["add", "-q", INSECURE, "--from", &place, "c", "/f", "/g"],
        &["commit", "-q", INSECURE, "c", &place],
        &["manifest", "add", INSECURE, "l", &place],
        &["manifest", "push", "-q", "--all", INSECURE, "l", &place],
    ] {
        let (once, thrice) = (requests(0, words), requests(2, words));
        assert!(once > 0 && thrice == 3 * once, "{words:?}: {once} and {thrice} requests");
    }
    env.assert_store_is_clean();
}

/// The request for a token, the request that it is for, and the copy that both are of are not each repeated.
#[test]
fn retries_are_not_multiplied() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    at_registry(&env, &registry);
    let retries = ["-q", INSECURE, "--retry", "2", "--retry-delay", "1ms"];
    // A blob: the registry breaks off after some bytes, and is busy from then on.
    let proxy = Proxy::start(Some(&registry), |head, before| match before {
        0 if is_layer(head) => Answer::CutAfter(200_000),
        _ if is_layer(head) => status("503 Service Unavailable", ""),
        _ => Answer::Pass,
    });
    env.run(["pull"].iter().chain(&retries).chain(&[proxy.name("box").as_str()])).failure(125);
    let broken = proxy.count(&["GET /v2/box/blobs/", "range: bytes="]) + proxy.count(&["GET /v2/box/blobs/", "Range: bytes="]);
    assert_eq!(broken, 2, "{:?}", proxy.seen());
    // A busy registry, and then one that breaks off each time before a byte came.
    let proxy = Proxy::start(Some(&registry), |head, before| match before {
        0 if is_layer(head) => status("503 Service Unavailable", ""),
        _ if is_layer(head) => Answer::CutAfter(0),
        _ => Answer::Pass,
    });
    env.run(["pull"].iter().chain(&retries).chain(&[proxy.name("box").as_str()])).failure(125);
    assert_eq!(proxy.count(&["GET /v2/box/blobs/"]), 3, "{:?}", proxy.seen());

    // An upload: what begins it, and its bytes.
    let id = env.busybox("up");
    for (request, statuses) in [("POST ", "503 Busy"), ("PATCH ", "502 Bad Gateway"), ("PUT /v2/up/manifests/", "500 Broken")] {
        let proxy = Proxy::start(Some(&registry), move |head, _| match head.starts_with(request) {
            true => status(statuses, ""),
            false => Answer::Pass,
        });
        env.run(["push"].iter().chain(&retries).chain(&[id.as_str(), &proxy.name("up")])).failure(125);
        assert_eq!(proxy.count(&[request]), 3, "{request}: {:?}", proxy.seen());
    }

    // A token.
    let tokens = Proxy::start(None, |_, _| status("503 Service Unavailable", ""));
    let realm = tokens.host();
    let wants = format!("WWW-Authenticate: Bearer realm=\"http://{realm}/token\",service=\"s\"\r\n");
    let proxy = Proxy::start(None, move |_, _| status("401 Unauthorized", &wants));
    env.run(["pull"].iter().chain(&retries).chain(&[proxy.name("box").as_str()])).failure(125);
    assert_eq!(tokens.count(&["GET /token"]), 3, "{:?}", tokens.seen());
    env.assert_store_is_clean();
}

#[test]
fn a_rate_limit_is_explained() {
    let env = TestEnv::new();
    let words = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let proxy = Proxy::start(None, move |_, _| {
        Answer::Say(format!(
            "HTTP/1.1 429 Too Many\r\nRetry-After: 3600\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{words}",
            words.len()
        ))
    });
    let begun = Instant::now();
    let limited = env.run(["from", "-q", INSECURE, &proxy.name("box")]).failure(125);
    assert!(limited.contains("toomanyrequests: ") && limited.contains("You have reached your pull rate limit."), "{limited}");
    assert!(limited.contains("hint: ") && limited.contains("coracle login"), "{limited}");
    // Nobody waits for an hour.
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// cri-o/packaging#301: of two registries that are searched, the refusal of one is not hidden behind the other's "not there".
#[test]
fn the_first_answer_that_tells_something_is_reported() {
    let env = TestEnv::new();
    let denied = Proxy::start(None, |_, _| status("403 Forbidden", ""));
    let without = Proxy::start(None, |_, _| status("404 Not Found", ""));
    let settings = format!("unqualified-search-registries = ['{}', '{}']\n", without.host(), denied.host());
    env.write_home(".config/containers/registries.conf", settings);
    let error = env.run(["from", "-q", INSECURE, "box"]).failure(125);
    assert!(error.contains("denied: requested access to the resource is denied"), "{error}");
    let settings = format!("unqualified-search-registries = ['{}', '{}']\n", denied.host(), without.host());
    env.write_home(".config/containers/registries.conf", &settings);
    let asked = without.seen().len();
    let error = env.run(["from", "-q", INSECURE, "box"]).failure(125);
    assert!(error.contains("denied: requested access"), "{error}");
    assert_eq!(without.seen().len(), asked, "a refusal is no reason to ask a stranger");
    // Whoever must be asked is.
    env.write_home(".config/containers/registries.conf", format!("short-name-mode = 'enforcing'\n{settings}"));
    let error = env.run(["from", "-q", INSECURE, "box"]).failure(125);
    assert!(error.contains("short-name resolution enforced but cannot prompt without a TTY"), "{error}");
}

#[test]
fn an_upload_that_broke_off_is_made_again() {
    if skip_without(&[PROGRAM, "skopeo"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    env.busybox("box");
    let proxy = Proxy::start(Some(&registry), |head, _| {
        // The first time only: each upload has an address of its own.
        static BROKEN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let is_upload = head.starts_with("PATCH ");
        match is_upload && BROKEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            true => status("502 Bad Gateway", ""),
            false => Answer::Pass,
        }
    });
    env.ok(["push", "-q", INSECURE, "--retry-delay", "10ms", "box", &proxy.name("box")]);
    assert_eq!(proxy.count(&["PATCH "]), 2);
    let name = format!("docker://{}", registry.name("box"));
    env.tool("skopeo", ["copy", "-q", "--src-tls-verify=false", &name, "oci:copied:x"]).success();
}

#[test]
fn wrong_bytes_are_refused_and_leave_nothing() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    at_registry(&env, &registry);
    let cases: [fn(&str) -> Answer; 3] = [
        |head| if is_layer(head) { body("", &"x".repeat(700_000)) } else { Answer::Pass },
        |head| if is_layer(head) { body("", "short") } else { Answer::Pass },
        |head| match head.starts_with("GET /v2/box/manifests/") {
            true => body("Content-Type: application/vnd.oci.image.manifest.v1+json\r\n", "{\"schemaVersion\":2}"),
            false => Answer::Pass,
        },
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let proxy = Proxy::start(Some(&registry), move |head, _| case(head));
        let failed = env.run(["pull", "-q", INSECURE, "--retry", "0", &proxy.name("box")]).failure(125);
        assert_eq!(failed.lines().count(), 1, "{number}: {failed}");
        assert_eq!(env.ok(["images", "-aq"]), "", "{number}");
        env.assert_store_is_clean();
    }
}
