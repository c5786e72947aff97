//! Encrypted layers: for whom, with skopeo at the other end, and what is said to who cannot read them.

use std::fs;

use crate::harness::{TestEnv, skip_without};

/// Keys by openssl, the image `box` of two layers, and `$S`.
const WORLD: &str = r#"
S='skopeo --insecure-policy copy -q'
openssl genrsa -out rsa.pem 2048 2>/dev/null; openssl pkey -in rsa.pem -pubout -out rsa.pub
for c in prime256v1 secp384r1 secp521r1; do openssl ecparam -name $c -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out $c.pem; openssl pkey -in $c.pem -pubout -out $c.pub; done
head -c 300000 /dev/urandom >f
c=$(coracle from scratch); coracle copy -q $c f /f; coracle commit -q --rm $c one >/dev/null
c=$(coracle from one); coracle copy -q $c rsa.pub /g; coracle commit -q --rm $c box >/dev/null
coracle push -q box oci:plain:x
manifest() { cat $1/blobs/sha256/$(sed 's/.*"manifests":\[{[^]]*"digest":"sha256:\([0-9a-f]*\)".*/\1/' $1/index.json); }
"#;

fn world() -> Option<TestEnv> {
    if skip_without(&["skopeo", "openssl"]) {
        return None;
    }
    let env = TestEnv::new();
    env.shell(WORLD).success();
    Some(env)
}

/// `script` in a world whose images are there; `$S` and `manifest` are defined.
fn script(env: &TestEnv, script: &str) -> String {
    let functions: String = WORLD
        .lines()
        .filter(|line| line.starts_with("S=") || line.starts_with("manifest()"))
        .map(|line| format!("{line}\n"))
        .collect();
    env.shell(&format!("set -e\n{functions}{script}")).success()
}

#[test]
fn what_is_encrypted_here_skopeo_reads_and_the_other_way() {
    let Some(env) = world() else { return };
    for key in ["rsa", "prime256v1", "secp384r1", "secp521r1"] {
        script(
            &env,
            &format!(
                "coracle push -q --encryption-key jwe:{key}.pub box oci:ours-{key}:x
                 $S --decryption-key {key}.pem oci:ours-{key}:x oci:back-{key}:x
                 [ \"$(manifest plain | grep -o '\"layers\".*')\" = \"$(manifest back-{key} | grep -o '\"layers\".*')\" ]
                 $S --encryption-key jwe:{key}.pub oci:plain:x oci:theirs-{key}:x
                 id=$(coracle images -q --no-trunc box); coracle rmi -fa >/dev/null
                 [ $(coracle pull -q --decryption-key {key}.pem oci:theirs-{key}:x) = ${{id#sha256:}} ]
                 [ -z \"$(coracle images --format '{{{{.Digest}}}}' | grep -v sha256)\" ]
                 coracle tag ${{id#sha256:}} box; coracle push -q box oci:again-{key}:x
                 [ \"$(manifest plain | grep -o '\"layers\".*')\" = \"$(manifest again-{key} | grep -o '\"layers\".*')\" ]"
            ),
        );
    }
    env.assert_store_is_clean();
}

/// podman 4.3.1 has no flags for keys.
#[test]
fn each_of_two_recipients_reads_by_buildah_what_is_encrypted_here_and_the_other_way() {
    let Some(env) = world() else { return };
    if skip_without(&["buildah"]) {
        return;
    }
    script(
        &env,
        "id=$(coracle images -q --no-trunc box); id=${id#sha256:}
         theirs() { buildah --root $PWD/theirs --runroot $PWD/run-theirs \"$@\"; }
         coracle push -q --encryption-key jwe:rsa.pub --encryption-key jwe:secp384r1.pub box oci:ours:x
         for key in rsa secp384r1; do
             theirs rmi -af >/dev/null; [ $(theirs pull -q --decryption-key $key.pem oci:ours:x) = $id ]
         done
         ! theirs pull -q --decryption-key prime256v1.pem oci:ours:x 2>/dev/null
         theirs push -q --encryption-key jwe:rsa.pub --encryption-key jwe:secp384r1.pub $id oci:theirs-two:x
         for key in rsa secp384r1; do
             coracle rmi -fa >/dev/null; [ $(coracle pull -q --decryption-key $key.pem oci:theirs-two:x) = $id ]
         done
         theirs rmi -af >/dev/null",
    );
}

#[test]
fn every_recipient_can_read_it_and_only_named_layers_are_encrypted() {
    let Some(env) = world() else { return };
    let types = "grep -o '\"mediaType\":\"[^\"]*layer[^\"]*\"' | sed 's/.*v1.//; s/\"//'";
    let said = script(
        &env,
        &format!(
            "coracle push -q --encryption-key jwe:rsa.pub,jwe:secp384r1.pub --encrypt-layer -1 --format v2s2 box oci:two:x
             manifest two | {types}
             $S --decryption-key rsa.pem oci:two:x oci:by-rsa:x; $S --decryption-key secp384r1.pem oci:two:x oci:by-ec:x
             cmp $(ls by-rsa/index.json) by-ec/index.json
             coracle rmi -fa >/dev/null; coracle pull -q --decryption-key secp384r1.pem oci:two:x >/dev/null
             c=$(coracle from scratch); coracle commit -q --encryption-key jwe:rsa.pub $c oci:made:x >/dev/null; manifest made | {types}
             coracle from --name decrypted --decryption-key rsa.pem oci:made:x
             coracle copy -q --decryption-key rsa.pem --from oci:two:x decrypted /g /h; coracle run decrypted true 2>/dev/null || coracle diff decrypted"
        ),
    );
    assert!(said.starts_with("tar+gzip\ntar+gzip+encrypted\n"), "{said}");
    assert!(said.contains("tar+encrypted\ndecrypted\n") && said.contains("/h"), "{said}");
}

#[test]
fn who_lacks_the_key_gets_one_line_and_no_layer() {
    let Some(env) = world() else { return };
    let said = script(
        &env,
        "coracle push -q --encryption-key jwe:rsa.pub box oci:sealed:x
         coracle push -q --encryption-key jwe:rsa.pub --encrypt-layer 0 box oci:half:x
         chmod 0 secp521r1.pem; openssl pkey -in rsa.pem -aes256 -passout pass:x -out locked.pem",
    );
    assert_eq!(said, "");
    for (words, cause) in [
        (&["pull", "oci:sealed:x"][..], "missing private key needed for decryption"),
        (&["pull", "oci:half:x"], "missing private key needed for decryption"),
        (&["from", "oci:sealed:x"], "missing private key needed for decryption"),
        (
            &["pull", "--decryption-key", "secp384r1.pem", "oci:sealed:x"],
            "none of the private keys could be used for decryption",
        ),
        (&["pull", "--decryption-key", "rsa.pub", "oci:sealed:x"], "unidentified private key in file: \"rsa.pub\""),
        (&["pull", "--decryption-key", "nosuch", "oci:sealed:x"], "Unable to read file: open \"nosuch\": no such file"),
        (&["pull", "--decryption-key", "secp521r1.pem", "oci:sealed:x"], "\"secp521r1.pem\": permission denied"),
        (&["pull", "--decryption-key", "locked.pem", "oci:sealed:x"], "under a passphrase"),
        (&["push", "--encryption-key", "jwe:rsa.pem", "box", "oci:n:x"], "File provided is not a public key"),
        (&["push", "--encryption-key", "pkcs7:c.pem", "box", "oci:n:x"], "pkcs7 is not supported"),
        (&["push", "--encryption-key", "zz:c.pem", "box", "oci:n:x"], "Provided protocol not recognized"),
        (
            &["push", "--encryption-key", "jwe:rsa.pub", "--encrypt-layer", "2", "box", "oci:n:x"],
            "there is no layer 2 to encrypt",
        ),
        (&["push", "--encrypt-layer", "0", "box", "oci:n:x"], "--encrypt-layer needs --encryption-key"),
        (&["push", "--encryption-key", "jwe:rsa.pub", "box", "docker-archive:n"], "cannot hold encrypted ones"),
    ] {
        let output = env.run(words);
        let error = output.failure(125);
        assert!(
            error.contains(cause) && error.lines().filter(|line| line.starts_with("Error: ")).count() == 1,
            "{words:?}: {output}"
        );
    }
    let container = env.ok(["from", "box"]);
    let refused = env.run(["commit", "--encryption-key", "jwe:rsa.pub", container.trim(), "name"]).failure(125);
    assert!(refused.contains("images of the store are not encrypted"), "{refused}");
    assert!(!env.work().join("n").exists());
}

#[test]
fn a_damaged_hmac_is_noticed_before_anything_is_visible() {
    let Some(env) = world() else { return };
    script(&env, "coracle push -q --encryption-key jwe:rsa.pub box dir:sealed; coracle rmi -fa >/dev/null");
    let path = env.work().join("sealed/manifest.json");
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a manifest")).expect("JSON");
    let annotations = &mut document["layers"][1]["annotations"];
    // The cipher and an HMAC of zeros.
    let zeros =
        r#"{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","cipheroptions":{}}"#;
    env.write("options", zeros);
    annotations["org.opencontainers.image.enc.pubopts"] = env.shell("base64 -w0 options").success().trim().into();
    fs::write(&path, document.to_string()).expect("the manifest is written");
    let error = env.run(["pull", "--decryption-key", "rsa.pem", "dir:sealed"]).failure(125);
    assert!(error.contains("could not properly decrypt the layer"), "{error}");
    assert_eq!(env.ok(["images", "-aq"]), "");
    document["layers"][1]["annotations"]["org.opencontainers.image.enc.pubopts"] = "e30=".into();
    fs::write(&path, document.to_string()).expect("the manifest is written");
    assert!(env.run(["pull", "--decryption-key", "rsa.pem", "dir:sealed"]).failure(125).contains("do not say how"));
    env.assert_store_is_clean();
}

#[test]
fn keys_of_gpg_work_in_both_directions() {
    if skip_without(&["gpg", "openssl", "skopeo"]) {
        return;
    }
    let Some(env) = world() else { return };
    script(
        &env,
        "export GNUPGHOME=$PWD/g; mkdir -m 700 g; trap 'gpgconf --kill all' EXIT
         gpg --batch --quiet --passphrase '' --quick-generate-key a@test rsa2048 encr never 2>/dev/null
         gpg --batch --quiet --export-secret-keys a@test >a.secret
         coracle push -q --encryption-key pgp:a@test box oci:sealed:x
         coracle rmi -fa >/dev/null; coracle pull -q --decryption-key a.secret oci:sealed:x >/dev/null
         ! coracle push -q --encryption-key pgp:nobody@test one oci:n:x 2>/dev/null",
    );
    assert_eq!(env.ok(["images", "-q"]).lines().count(), 1);
}
