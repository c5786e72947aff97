//! policy.json and simple signatures: skopeo, which has the other tools' library, and we accept and refuse the same images. Debian's
//! skopeo was built without sigstore, so that those signatures are tested in `tests/cli/trust.rs`.

use crate::harness::registry::{PROGRAM, Registry};
use crate::harness::{TestEnv, skip_without};

/// Two keys of gpg, and `dir:` images: `plain` without a signature, `signed` by `a@test` as q.example/one:1, and others.
const WORLD: &str = r#"
export GNUPGHOME=$PWD/gnupg; mkdir -m 700 gnupg
trap 'gpgconf --kill all' EXIT
for key in a b; do
    gpg --batch --quiet --passphrase '' --quick-generate-key $key@test ed25519 sign never 2>/dev/null
    gpg --armor --export $key@test >$key.asc
    gpg --export $key@test >$key.gpg
done
coracle push -q one dir:plain
digest=sha256:$(sha256sum plain/manifest.json | cut -d' ' -f1)
fingerprint() { gpg --batch --with-colons --list-keys $1@test 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }'; }
copy() { cp -r plain $1; }
text() { printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"%s"},"optional":null}' "$@"; }
gpgsign() { gpg --batch --quiet --local-user $1 --sign --output -; }
copy signed; skopeo standalone-sign signed/manifest.json q.example/one:1 $(fingerprint a) -o signed/signature-1 >/dev/null
copy second; cp signed/signature-1 second/signature-2; printf '\243nonsense' >second/signature-1
copy by-b; skopeo standalone-sign by-b/manifest.json q.example/one:1 $(fingerprint b) -o by-b/signature-1 >/dev/null
copy of-other; text q.example/one:1 sha256:$(printf '%064d' 0) 'atomic container signature' | gpgsign a@test >of-other/signature-1
copy other-type; text q.example/one:1 $digest 'other' | gpgsign a@test >other-type/signature-1
copy not-json; echo hello | gpgsign a@test >not-json/signature-1
copy more; text q.example/one:1 $digest 'atomic container signature' | sed 's/"optional"/"x":1,"optional"/' | gpgsign a@test >more/signature-1
copy clear; text q.example/one:1 $digest 'atomic container signature' | gpg --batch --quiet --local-user a@test --clear-sign --output - >clear/signature-1
copy detached; text q.example/one:1 $digest 'atomic container signature' | gpg --batch --quiet --local-user a@test --detach-sign --output - >detached/signature-1
copy cut; head -c 100 signed/signature-1 >cut/signature-1
copy unsigned-text; text q.example/one:1 $digest 'atomic container signature' | gpg --batch --quiet --store --output - >unsigned-text/signature-1
copy twice; text q.example/one:1 $digest 'atomic container signature' | gpg --batch --quiet --local-user a@test --local-user b@test --sign --output - >twice/signature-1
copy changed; cp signed/signature-1 changed; printf ' ' >>changed/manifest.json
"#;

const IMAGES: &str =
    "plain signed second by-b of-other other-type not-json more clear detached cut unsigned-text twice changed";

fn exact(name: &str) -> String {
    format!(r#""signedIdentity":{{"type":"exactReference","dockerReference":"{name}"}}"#)
}

/// Requirements of the transport `dir`, in which PWD is the working directory.
fn policies() -> Vec<String> {
    let (right, wrong) = (exact("q.example/one:1"), exact("q.example/one:2"));
    let repository = r#""signedIdentity":{"type":"exactRepository","dockerRepository":"q.example/one"}"#;
    vec![
        format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"PWD/a.asc",{right}}}]"#),
        format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"PWD/b.gpg",{right}}}]"#),
        format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"PWD/a.gpg",{wrong}}}]"#),
        format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"PWD/a.gpg",{repository}}}]"#),
        r#"[{"type":"signedBy","keyType":"GPGKeys","keyPath":"PWD/a.gpg"}]"#.to_owned(),
        r#"[{"type":"signedBy","keyType":"GPGKeys","keyPath":"PWD/a.gpg","signedIdentity":{"type":"matchRepository"}}]"#
            .to_owned(),
        format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyData":"KEYDATA",{right}}}]"#),
        format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"PWD/nosuch",{right}}}]"#),
        format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"PWD/a.asc",{right}}},{{"type":"reject"}}]"#),
        r#"[{"type":"insecureAcceptAnything"}]"#.to_owned(),
        r#"[{"type":"reject"}]"#.to_owned(),
        r#"[{"type":"notKnown"}]"#.to_owned(),
    ]
}

#[test]
fn the_same_images_are_trusted() {
    if skip_without(&["skopeo", "gpg", "gpgv"]) {
        return;
    }
    let env = TestEnv::new();
    env.small_image();
    for (at, policy) in policies().iter().enumerate() {
        let text = format!(r#"{{"default":[{{"type":"reject"}}],"transports":{{"dir":{{"":{policy}}}}}}}"#);
        env.write(&format!("policy{at}"), text.replace("PWD", &env.work().display().to_string()));
    }
    let script = format!(
        r#"{WORLD}
        sed -i "s,KEYDATA,$(base64 -w0 a.gpg)," policy6
        answers() {{
            for policy in policy?  policy??; do
                for image in {IMAGES}; do
                    rm -rf out.$1; if $1 $policy $image >/dev/null 2>>errors.$1; then echo "$policy $image accepted"; else echo "$policy $image refused"; fi
                done
            done
        }}
        theirs() {{ skopeo --policy $1 copy -q --remove-signatures dir:$2 dir:out.theirs; }}
        ours() {{ coracle --signature-policy $1 pull -q --remove-signatures dir:$2; }}
        answers theirs >theirs & answers ours >ours; wait
        grep -c accepted theirs; grep -c refused ours
        diff theirs ours"#
    );
    let output = env.shell(&script);
    assert_eq!(output.code, Some(0), "{output}");
    let counts: Vec<usize> = output.out().split_whitespace().map(|count| count.parse().expect("a count")).collect();
    assert!(counts[0] > 15 && counts[1] > 100, "both answers occur: {output}");
}

/// Images at a registry `R`, whose signatures are in `$PWD/look`: none, by `a@test`, by `b@test`, by both, and by `a@test` for other names.
const REGISTRY: &str = r#"
mkdir -p $HOME/.config/containers/registries.d
printf 'default-docker:\n  lookaside: file://%s/look\n' $PWD >$HOME/.config/containers/registries.d/look.yaml
copy() { skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false "$@"; }
copy dir:plain docker://$R/ns/plain:1
copy --sign-by $(fingerprint a) dir:plain docker://$R/ns/signed:1
copy --sign-by $(fingerprint b) dir:plain docker://$R/ns/by-b:1
copy --sign-by $(fingerprint a) --sign-identity $R/ns/tag:2 dir:plain docker://$R/ns/tag:1
copy --sign-by $(fingerprint a) --sign-identity q.example/other/remapped:1 dir:plain docker://$R/ns/remapped:1
copy --sign-by $(fingerprint a) dir:plain docker://$R/ns/both:1; copy --sign-by $(fingerprint b) docker://$R/ns/both:1 docker://$R/ns/both:1
"#;

/// What is said for the transport `docker`.
fn registry_policies() -> Vec<String> {
    let by = |key: &str, identity: &str| {
        let identity = if identity.is_empty() { String::new() } else { format!(r#","signedIdentity":{identity}"#) };
        format!(r#"{{"type":"signedBy","keyType":"GPGKeys","keyPath":"PWD/{key}.gpg"{identity}}}"#)
    };
    let all = |requirements: &str| format!(r#"{{"":[{requirements}]}}"#);
    vec![
        all(&by("a", "")),
        all(&by("b", "")),
        all(&format!("{},{}", by("a", ""), by("b", ""))),
        all(&by("a", r#"{"type":"matchExact"}"#)),
        all(&by("a", r#"{"type":"matchRepository"}"#)),
        all(&by("a", r#"{"type":"exactReference","dockerReference":"REG/ns/tag:2"}"#)),
        all(&by("a", r#"{"type":"exactRepository","dockerRepository":"REG/ns/signed"}"#)),
        all(&by("a", r#"{"type":"remapIdentity","prefix":"REG/ns","signedPrefix":"q.example/other"}"#)),
        format!(
            r#"{{"REG/ns/plain":[{{"type":"insecureAcceptAnything"}}],"REG/ns":[{}],"":[{{"type":"reject"}}]}}"#,
            by("b", "")
        ),
    ]
}

#[test]
fn the_same_images_of_a_registry_are_trusted() {
    if skip_without(&[PROGRAM, "skopeo", "gpg", "gpgv"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    env.small_image();
    for (at, policy) in registry_policies().iter().enumerate() {
        let text = format!(r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker":{policy}}}}}"#);
        let text = text.replace("PWD", &env.work().display().to_string()).replace("REG", &registry.host());
        env.write(&format!("policy{at}"), text);
    }
    let script = format!(
        r#"R={}
        {WORLD}
        {REGISTRY}
        digest=$(skopeo inspect --tls-verify=false --format '{{{{.Digest}}}}' docker://$R/ns/plain:1)
        answers() {{
            for policy in policy?; do
                for image in plain:1 signed:1 by-b:1 tag:1 remapped:1 both:1 signed@$digest tag@$digest; do
                    if $1 $policy $R/ns/$image >/dev/null 2>>errors.$1; then echo "$policy $image accepted"; else echo "$policy $image refused"; fi
                done
            done
        }}
        theirs() {{ rm -rf out.theirs; skopeo --policy $1 copy -q --src-tls-verify=false --remove-signatures docker://$2 dir:out.theirs; }}
        # What the store has was judged when it came there.
        ours() {{ coracle rmi -af >/dev/null 2>&1 || true; coracle --signature-policy $1 pull -q --tls-verify=false --remove-signatures docker://$2; }}
        answers theirs >theirs & answers ours >ours; wait
        grep -c accepted theirs; grep -c refused ours
        diff theirs ours"#,
        registry.host()
    );
    let output = env.shell(&script);
    assert_eq!(output.code, Some(0), "{output}");
    let counts: Vec<usize> = output.out().split_whitespace().map(|count| count.parse().expect("a count")).collect();
    assert!(counts[0] > 10 && counts[1] > 30, "both answers occur: {output}");
}
