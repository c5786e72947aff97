//! Signatures: which are wanted, kept, made and taken away. Which are accepted is compared with skopeo in `tests/compat/trust.rs`.

use std::fs;

use crate::harness::{SIGNER, TestEnv, skip_without};

/// An environment with the image `one`.
fn world() -> Option<TestEnv> {
    if skip_without(&["skopeo", "gpg", "gpgv"]) {
        return None;
    }
    let env = TestEnv::new();
    env.small_image();
    Some(env)
}

/// A policy for `dir:` that wants a signature by `a@test` for `name`.
fn policy(env: &TestEnv, name: &str) {
    let key = env.work().join("a.gpg");
    env.write(
        "policy.json",
        format!(
            r#"{{"default":[{{"type":"insecureAcceptAnything"}}],"transports":{{"dir":{{"":[{{"type":"signedBy","keyType":"GPGKeys","keyPath":{key:?},"signedIdentity":{{"type":"exactReference","dockerReference":"{name}"}}}}]}}}}}}"#
        ),
    );
}

#[test]
fn what_lacks_a_signature_is_refused_with_the_reason() {
    let Some(env) = world() else { return };
    policy(&env, "q.example/one:1");
    let script = |rest: &str| env.shell(&format!("{SIGNER}\n{rest}"));
    script("coracle push -q -D one dir:d").success();
    let pull = ["--signature-policy", "policy.json", "pull", "-q", "dir:d"];
    insta::assert_snapshot!(env.run(pull), @r#"
    ------- stderr -------
    Error: pulling "dir:d": Source image rejected: A signature was required, but no signature exists
    [exit status: 125]
    "#);
    script("skopeo standalone-sign d/manifest.json q.example/other:1 $fingerprint -o d/signature-1 >/dev/null").success();
    insta::assert_snapshot!(env.run(pull), @r#"
    ------- stderr -------
    Error: pulling "dir:d": Source image rejected: Signature for identity "q.example/other:1" is not accepted
    [exit status: 125]
    "#);
    let from = env.run(["--signature-policy", "policy.json", "from", "dir:d"]);
    assert!(from.failure(125).contains("Source image rejected"), "{from}");
    let list = env.shell("coracle manifest create l >/dev/null; coracle --signature-policy policy.json manifest add l dir:d");
    assert!(list.failure(125).contains("Source image rejected"), "{list}");
    assert_eq!(env.ok(["containers", "--quiet"]), "", "no container of what is refused");
    env.write("policy.json", r#"{"default":[{"type":"signedBy2","x":1}]}"#);
    assert!(env.run(pull).failure(125).contains("Unknown policy requirement type \"signedBy2\""));
    env.write("policy.json", r#"{"default":[{"type":"signedBaseLayer","baseLayerIdentity":{}}]}"#);
    assert!(env.run(pull).failure(125).contains("a requirement of the policy cannot be checked"));
    env.write("policy.json", r#"{"default":[{"type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyPath":"/r"}]}"#);
    assert!(env.run(pull).failure(125).contains("transparency log"));
}

#[test]
fn signatures_are_kept_in_the_store_and_copied_on() {
    let Some(env) = world() else { return };
    policy(&env, "q.example/one:1");
    let output = env.shell(&format!(
        "{SIGNER}
         coracle push -q -D one dir:d; skopeo standalone-sign d/manifest.json q.example/one:1 $fingerprint -o d/signature-1 >/dev/null
         coracle rmi one >/dev/null; coracle --signature-policy policy.json pull -q dir:d >id; coracle tag $(cat id) kept
         coracle push -q kept dir:again; cmp d/signature-1 again/signature-1; cmp d/manifest.json again/manifest.json
         skopeo --insecure-policy copy -q containers-storage:localhost/kept:latest dir:by-skopeo; cmp d/signature-1 by-skopeo/signature-1
         coracle push -q --remove-signatures kept dir:without; ls without | grep -c signature || true
         skopeo --insecure-policy copy -q dir:d containers-storage:localhost/theirs:latest
         coracle push -q theirs dir:theirs; cmp d/signature-1 theirs/signature-1
         coracle rmi -f $(cat id) >/dev/null 2>&1; coracle pull -q --remove-signatures dir:d >id; coracle push -q $(cat id) dir:none; ls none | grep -c signature || true"
    ));
    assert_eq!(output.success(), "0\n0", "{output}");
    env.assert_store_is_clean();
}

#[test]
fn a_signed_image_does_not_change_on_its_way() {
    let Some(env) = world() else { return };
    env.shell(&format!(
        "{SIGNER}
         coracle push -q -D one dir:d; skopeo standalone-sign d/manifest.json q.example/one:1 $fingerprint -o d/signature-1 >/dev/null
         coracle pull -q dir:d >id; coracle tag $(cat id) signed"
    ))
    .success();
    for (words, said) in [
        (&["signed", "oci:out:x"][..], "use --remove-signatures"),
        (&["signed", "docker-archive:out.tar:x"], "--remove-signatures"),
        (&["--format", "v2s2", "signed", "dir:out"], "would invalidate signatures"),
    ] {
        let output = env.run(["push", "-q"].iter().chain(words));
        assert!(output.failure(125).contains(said), "{words:?}: {output}");
    }
    for path in ["out", "out.tar"] {
        assert!(!env.work().join(path).exists(), "{path} was left");
    }
    env.ok(["push", "-q", "--remove-signatures", "--format", "v2s2", "signed", "dir:out"]);
    // What asks for other layers only is overruled: they stay as they were signed.
    env.ok(["push", "-q", "--compression-format", "zstd", "--force-compression", "signed", "dir:same"]);
    let manifest = |dir: &str| fs::read(env.work().join(dir).join("manifest.json")).expect("a manifest");
    assert_eq!(manifest("d"), manifest("same"));
}

#[test]
fn other_tools_verify_what_sign_by_makes() {
    let Some(env) = world() else { return };
    let output = env.shell(&format!(
        "{SIGNER}
         c=$(coracle from one); coracle config --label a=b $c; coracle commit -q --sign-by a@test $c signed:1 >/dev/null
         skopeo --insecure-policy copy -q containers-storage:localhost/signed:1 dir:d
         skopeo standalone-verify d/manifest.json localhost/signed:1 $fingerprint d/signature-1 | cut -d, -f1
         coracle push -q --sign-by $fingerprint signed:1 containers-storage:q.example/again:2
         coracle push -q q.example/again:2 dir:e
         skopeo standalone-verify e/manifest.json localhost/signed:1 $fingerprint e/signature-1 | cut -d, -f1
         skopeo standalone-verify e/manifest.json q.example/again:2 $fingerprint e/signature-2 | cut -d, -f1
         coracle push -q -D --sign-by a@test one \"containers-storage:[overlay@$PWD/g+$PWD/r]q.example/there:3\"
         skopeo --insecure-policy copy -q \"containers-storage:[overlay@$PWD/g+$PWD/r]q.example/there:3\" dir:third
         skopeo standalone-verify third/manifest.json q.example/there:3 $fingerprint third/signature-1 | cut -d, -f1"
    ));
    let verified = "Signature verified\n".repeat(4);
    assert_eq!(output.success().lines().filter(|line| line.starts_with("Signature")).count(), 4, "{verified}{output}");
    env.assert_store_is_clean();
}

#[test]
fn a_signature_that_cannot_be_made_is_said() {
    let Some(env) = world() else { return };
    let script = |rest: &str| env.shell(&format!("{SIGNER}\n{rest}"));
    let unknown = script("coracle push -q --sign-by nobody@test one containers-storage:two");
    assert!(unknown.failure(125).contains("signing the image with the key \"nobody@test\""), "{unknown}");
    let nameless = script("coracle push -q --sign-by a@test one dir:out");
    assert!(nameless.failure(125).contains("Cannot determine canonical Docker reference for destination dir:"), "{nameless}");
    assert!(!env.work().join("out").exists());
    let unnamed = script("c=$(coracle from one); coracle commit -q --sign-by a@test $c");
    assert!(unnamed.failure(125).contains("without a name"), "{unnamed}");
    let option = script("coracle push -q --sign-by=--version one containers-storage:two");
    assert!(option.failure(125).contains("signing the image"), "{option}");
}

#[test]
fn an_image_that_cannot_be_signed_is_not_made() {
    let Some(env) = world() else { return };
    let script = |rest: &str| env.shell(&format!("{SIGNER}\n{rest}"));
    env.ok(["from", "--name", "c", "one"]);
    env.write("g", "more\n");
    env.ok(["copy", "-q", "c", "g", "/g"]);
    for flags in ["", "--rm", "--squash"] {
        let refused = script(&format!("coracle commit -q {flags} --sign-by nobody@test c signed:1"));
        assert!(refused.failure(125).contains("signing the image with the key \"nobody@test\""), "{refused}");
        assert_eq!(env.ok(["images", "--format", "{{.Name}}"]), "localhost/one", "{flags}");
        assert_eq!(env.ok(["containers", "--format", "{{.ContainerName}}"]), "c", "it can be tried again");
    }
    script("coracle push -q --sign-by nobody@test one containers-storage:again").failure(125);
    script("coracle push -q --sign-by nobody@test one \"containers-storage:[overlay@$PWD/g2+$PWD/r2]q.example/there:3\"")
        .failure(125);
    assert_eq!(env.ok(["images", "--format", "{{.Name}}"]), "localhost/one");
    let there = env.shell("coracle --root $PWD/g2 --runroot $PWD/r2 images -q");
    assert_eq!(there.success(), "", "nor in another store");
    script("coracle commit -q --rm --sign-by a@test c signed:1 >/dev/null; coracle push -q signed:1 dir:d; ls d | grep -c signature").success();
    env.assert_store_is_clean();
}

#[test]
fn sigstore_signatures_are_verified_with_a_public_key() {
    if skip_without(&["openssl"]) {
        return;
    }
    let Some(env) = world() else { return };
    let script = r#"
        for key in ec other; do
            openssl ecparam -name prime256v1 -genkey -noout -out $key.key 2>/dev/null; openssl ec -in $key.key -pubout -out $key.pub 2>/dev/null
        done
        openssl genrsa -out rsa.key 2048 2>/dev/null; openssl rsa -in rsa.key -pubout -out rsa.pub 2>/dev/null
        coracle push -q -D one dir:plain
        digest=sha256:$(sha256sum plain/manifest.json | cut -d' ' -f1)
        sign() { # IMAGE KEY NAME DIGEST TYPE
            cp -r plain $1
            printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"%s"},"optional":null}' "$3" "$4" "$5" >payload
            printf '\0sigstore-json\n{"mimeType":"application/vnd.dev.cosign.simplesigning.v1+json","payload":"%s","annotations":{"dev.cosignproject.cosign/signature":"%s"}}' \
                "$(base64 -w0 payload)" "$(openssl dgst -sha256 -sign $2.key payload | base64 -w0)" >$1/signature-1
        }
        sign good ec q.example/one:1 $digest 'cosign container image signature'
        sign by-other other q.example/one:1 $digest 'cosign container image signature'
        sign type ec q.example/one:1 $digest 'atomic container signature'
        sign digest ec q.example/one:1 sha256:$(printf '%064d' 0) 'cosign container image signature'
        sign name ec q.example/two:1 $digest 'cosign container image signature'
        cp -r good cut; head -c 200 good/signature-1 >cut/signature-1"#;
    env.shell(script).success();
    let policy = |key: &str| {
        let key = env.work().join(key);
        let text = format!(
            r#"{{"default":[{{"type":"sigstoreSigned","keyPath":{key:?},"signedIdentity":{{"type":"exactReference","dockerReference":"q.example/one:1"}}}}]}}"#
        );
        env.write("policy.json", text);
    };
    policy("ec.pub");
    for (image, said) in [
        ("good", ""),
        ("plain", "no signature exists"),
        ("by-other", "cryptographic signature verification failed"),
        ("type", "of the type \"atomic container signature\""),
        ("digest", "the signature is for the manifest"),
        ("name", "Signature for identity \"q.example/two:1\" is not accepted"),
        ("cut", "no signature exists"),
    ] {
        let output = env.run(["--signature-policy", "policy.json", "pull", "-q", &format!("dir:{image}")]);
        assert_eq!(output.code, Some(if said.is_empty() { 0 } else { 125 }), "{image}: {output}");
        assert!(output.err().contains(said), "{image}: {output}");
    }
    for (key, said) in
        [("other.pub", "verification failed"), ("rsa.pub", "verification failed"), ("ec.key", "P-256"), ("nosuch", "nosuch")]
    {
        policy(key);
        let output = env.run(["--signature-policy", "policy.json", "pull", "-q", "dir:good"]);
        assert!(output.failure(125).contains(said), "{key}: {output}");
    }
}
