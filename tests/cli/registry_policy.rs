//! policy.json and what the store has already: a registry is asked only under the policy, whatever its image is here.

use crate::harness::registry::{Answer, PROGRAM, Proxy, Registry};
use crate::harness::{TestEnv, skip_without};

const INSECURE: &str = "--tls-verify=false";

/// A policy that takes anything but from this place at registries.
fn policy(env: &TestEnv, refused: &str) -> String {
    let accept = "[{\"type\":\"insecureAcceptAnything\"}]";
    let scopes = format!("{{\"{refused}\":[{{\"type\":\"reject\"}}]}}");
    let text = format!("{{\"default\":{accept},\"transports\":{{\"docker\":{scopes}}}}}");
    env.write("policy.json", text).to_string_lossy().into_owned()
}

#[test]
fn an_image_that_is_here_is_asked_for_under_the_policy_of_the_place_and_by_the_digest() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = env.busybox("box");
    let (one, two) = (registry.name("one/box"), registry.name("two/box"));
    for name in [&one, &two] {
        env.ok(["push", "-q", INSECURE, "--digestfile", "digest", "box", name]);
    }
    let digest = std::fs::read_to_string(env.work().join("digest")).expect("a digest");
    let by_digest = |name: &str| format!("{name}@{digest}");
    let always = |policy: &str, name: &str| {
        let pulled = env.run(["--signature-policy", policy, "pull", "-q", INSECURE, "--policy", "always", name]);
        let from = env.run(["--signature-policy", policy, "from", "-q", INSECURE, "--pull-always", name]);
        assert_eq!(pulled.code, from.code, "{name}: {pulled} {from}");
        pulled
    };
    // Under its tag, and under its digest, is it in the store.
    for stored in [one.clone(), by_digest(&one)] {
        env.ok(["rmi", "-af"]);
        assert_eq!(env.ok(["pull", "-q", INSECURE, &stored]), id);
        for scope in [by_digest(&one), one.clone(), registry.name("one"), registry.host()] {
            let policy = policy(&env, &scope);
            let refused = always(&policy, &by_digest(&one)).failure(125);
            assert!(refused.contains("Source image rejected") && refused.contains(&digest), "{stored}, {scope}: {refused}");
            // What nobody is asked for was let in when it came.
            assert_eq!(env.ok(["--signature-policy", &policy, "pull", "-q", INSECURE, &by_digest(&one)]), id);
        }
        // The same image of another place is let in, or not, as that place is.
        let refused = always(&policy(&env, &two), &by_digest(&two)).failure(125);
        assert!(refused.contains("Source image rejected"), "{stored}: {refused}");
        let refused = env.run(["--signature-policy", "policy.json", "pull", "-q", INSECURE, &by_digest(&two)]).failure(125);
        assert!(refused.contains("Source image rejected"), "{stored}: {refused}");
        assert_eq!(always(&policy(&env, &one), &by_digest(&two)).success(), id);
        env.ok(["rm", "-a"]);
    }
}

#[test]
fn a_digest_is_asked_for_and_not_the_tag_that_the_store_knows_it_by() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    env.busybox("box");
    env.ok(["push", "-q", INSECURE, "--digestfile", "digest", "box", &registry.name("box")]);
    let digest = std::fs::read_to_string(env.work().join("digest")).expect("a digest");
    let proxy = Proxy::start(Some(&registry), |_, _| Answer::Pass);
    env.ok(["pull", "-q", INSECURE, &proxy.name("box")]);
    let before = proxy.count(&["/manifests/latest"]);
    env.ok(["pull", "-q", INSECURE, "--policy", "always", &format!("{}@{digest}", proxy.name("box"))]);
    assert_eq!(proxy.count(&["/manifests/latest"]), before);
    assert_eq!(proxy.count(&[&format!("GET /v2/box/manifests/{digest}")]), 1);
}

/// What has not changed is asked for under the policy as well: it may have become stricter.
#[test]
fn an_image_that_is_the_newest_is_still_let_in_by_the_policy_only() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = env.busybox("box");
    let name = registry.name("one/box");
    env.ok(["push", "-q", INSECURE, "box", &name]);
    env.ok(["rmi", "-af"]);
    let newer = |policy: &str| env.run(["--signature-policy", policy, "pull", "-q", INSECURE, "--policy", "newer", &name]);
    let accepts = policy(&env, "elsewhere.example");
    for _ in 0..2 {
        assert_eq!(newer(&accepts).success(), id);
    }
    let refused = newer(&policy(&env, &registry.host())).failure(125);
    assert!(refused.contains("Source image rejected"), "{refused}");
    let from = env.run(["--signature-policy", "policy.json", "from", "-q", INSECURE, "--pull=newer", &name]).failure(125);
    assert!(from.contains("Source image rejected"), "{from}");
    // Nobody is asked: what is here will do.
    assert_eq!(env.ok(["--signature-policy", "policy.json", "pull", "-q", INSECURE, &name]), id);
    drop(registry);
    assert_eq!(newer("policy.json").success(), id);
}
