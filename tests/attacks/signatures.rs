//! A105, A109, A110, A139: the decision about an image is made on the bytes that are unpacked, and nothing about signatures is read
//! without a limit.

use std::fs;

use crate::harness::{TestEnv, skip_without};

/// `index`, a `dir:` image with an index of one image; the policy wants signatures by `a@test` for q.example/x:1.
const WORLD: &str = r#"
export GNUPGHOME=$PWD/gnupg; mkdir -m 700 gnupg; trap 'gpgconf --kill all' EXIT
gpg --batch --quiet --passphrase '' --quick-generate-key a@test ed25519 sign never 2>/dev/null; gpg --export a@test >a.gpg
c=$(coracle from scratch); coracle copy -q $c f /f; coracle commit -q --rm $c one >/dev/null
coracle manifest create l one >/dev/null; coracle manifest push -q l dir:index
hex=$(cd index; echo *.manifest.json | cut -d. -f1)
sign() { # DIGEST
    printf '{"critical":{"identity":{"docker-reference":"q.example/x:1"},"image":{"docker-manifest-digest":"%s"},"type":"atomic container signature"},"optional":{}}' $1 |
        gpg --batch --quiet --local-user a@test --sign --output -
}
cat >policy.json <<X
{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"$PWD/a.gpg","signedIdentity":{"type":"exactReference","dockerReference":"q.example/x:1"}}]}
X
pull() { coracle --signature-policy policy.json pull -q dir:$1 >/dev/null 2>error && echo pulled || tail -1 error; }
"#;

fn world() -> Option<TestEnv> {
    if skip_without(&["gpg", "gpgv"]) {
        return None;
    }
    let env = TestEnv::new();
    env.write("f", "content\n");
    Some(env)
}

#[test]
fn a109_the_signature_must_be_that_of_the_image_which_is_unpacked() {
    let Some(env) = world() else { return };
    let output = env.shell(&format!(
        "{WORLD}
         cp -r index signed-index; sign sha256:$(sha256sum index/manifest.json | cut -d' ' -f1) >signed-index/signature-1
         cp -r signed-index both; sign sha256:$hex >both/$hex.signature-1
         cp -r index signed-instance; cp both/$hex.signature-1 signed-instance/$hex.signature-1
         cp -r index swapped; cp both/$hex.signature-1 swapped/signature-1; cp signed-index/signature-1 swapped/$hex.signature-1
         pull index; pull signed-index; pull swapped; pull signed-instance; pull both
         coracle manifest create m >/dev/null
         for image in signed-index signed-instance; do
             coracle --signature-policy policy.json manifest add --all m dir:$image >/dev/null 2>error && echo added || tail -1 error | cut -c1-60
         done"
    ));
    let lines: Vec<String> = output.success().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 7, "{output}");
    assert!(lines[0].contains("no signature exists") && lines[1].contains("no signature exists"), "{output}");
    assert!(lines[2].contains("the signature is for the manifest"), "{output}");
    assert_eq!((lines[3].as_str(), lines[4].as_str()), ("pulled", "pulled"), "{output}");
    assert!(lines[5].contains("Error: ") && lines[6] == "added", "{output}");
}

#[test]
fn a109_a_manifest_changed_after_it_was_signed_is_refused() {
    let Some(env) = world() else { return };
    let output = env.shell(&format!(
        "{WORLD}
         coracle push -q -D one dir:d; sign sha256:$(sha256sum d/manifest.json | cut -d' ' -f1) >d/signature-1; pull d
         cp -r d changed; sed -i 's/}}$/ }}/' changed/manifest.json; pull changed
         cp -r d layer; file=$(ls -S layer | head -1); printf x >>layer/$file; coracle rmi -a -f >/dev/null; pull layer"
    ));
    let out = output.success();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "pulled", "{output}");
    assert!(lines[1].contains("the signature is for the manifest"), "{output}");
    assert!(lines[2].starts_with("Error: "), "{output}");
    env.assert_store_is_clean();
}

#[test]
fn a110_signatures_have_limits() {
    let Some(env) = world() else { return };
    env.shell(&format!("{WORLD}\ncoracle push -q -D one dir:d")).success();
    let pull = || env.run(["--signature-policy", "policy.json", "pull", "-q", "dir:d"]).failure(125);
    let dir = env.work().join("d");
    // A sparse file of 1 GiB, a link out of the directory, and endlessly many.
    let file = fs::File::create(dir.join("signature-1")).expect("a file");
    file.set_len(1 << 30).expect("its length");
    assert!(pull().contains("limit"));
    fs::remove_file(dir.join("signature-1")).expect("the file");
    std::os::unix::fs::symlink("/dev/zero", dir.join("signature-1")).expect("a link");
    pull();
    fs::remove_file(dir.join("signature-1")).expect("the link");
    for number in 1..=1000 {
        fs::write(dir.join(format!("signature-{number}")), b"\0other\n").expect("a signature");
    }
    assert!(pull().contains("no signature exists"));
    // Text that is a thousand times as long as its message.
    env.shell("rm d/signature-*; export GNUPGHOME=$PWD/gnupg; head -c 20000000 /dev/zero | gpg --batch --quiet --local-user a@test --sign --output d/signature-1; gpgconf --kill all")
        .success();
    assert!(pull().contains("more than 4 MiB"));
    assert!(fs::read_dir(env.path("tmp")).expect("TMPDIR").next().is_none(), "nothing is left in TMPDIR");
}

#[test]
fn a105_a_digest_in_a_signature_is_no_path() {
    let Some(env) = world() else { return };
    let output = env.shell(&format!(
        "{WORLD}
         coracle push -q -D one dir:d
         for digest in sha256:../../x sha256: md5:abc SHA256:$(printf '%064d' 0); do sign $digest >d/signature-1; pull d; done"
    ));
    let out = output.success();
    assert_eq!(out.lines().filter(|line| line.contains("is not understood")).count(), 4, "{output}");
}
