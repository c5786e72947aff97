//! Signatures of images at a registry: beside it (lookaside) and in it (sigstore attachments); skopeo and podman with ours, we with theirs.

use crate::harness::registry::{PROGRAM, Proxy, Registry, body, status};
use crate::harness::{SIGNER, TestEnv, skip_without};

/// After `SIGNER`: a registry `R` whose signatures are in `$PWD/look`, and the image `one`. `policy REQUIREMENTS` writes policy.json; `cosign`
/// puts a signature of the image in a `dir:` beside it.
const WORLD: &str = r#"
tls=--tls-verify=false
conf=$HOME/.config/containers
settings() { mkdir -p $conf/registries.d; printf 'docker:\n  %s: {%s}\n' $R "$1" >$conf/registries.d/test.yaml; }
[ -e $conf/registries.d ] || settings "lookaside: 'file://$PWD/look'"
policy() { printf '{"default":[{"type":"reject"}],"transports":{"docker":{"":[%s]},"dir":{"":[{"type":"insecureAcceptAnything"}]}}}' "$1" >policy.json; }
by_a="{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\",\"keyPath\":\"$PWD/a.gpg\"}"
digest() { skopeo inspect $tls --format '{{.Digest}}' docker://$R/$1; }
signatures() { ls "$1/$2@sha256=$(digest $2:$3 | cut -d: -f2)"; }
theirs() { skopeo --policy policy.json copy -q --src-tls-verify=false docker://$R/$1 dir:theirs 2>/dev/null && echo accepted || echo refused; rm -rf theirs; }
ours() { coracle --signature-policy policy.json pull -q $tls $R/$1 >/dev/null 2>error && echo accepted || tail -1 error; coracle rmi -f $R/$1 >/dev/null 2>&1 || true; }
new_key() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key 2>/dev/null; openssl ec -in $1.key -pubout -out $1.pub 2>/dev/null; }
cosign() { # DIRECTORY KEY NAME
    printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"sha256:%s"},"type":"cosign container image signature"},"optional":null}' \
        "$3" "$(sha256sum $1/manifest.json | cut -d' ' -f1)" >payload
    printf '\0sigstore-json\n{"mimeType":"application/vnd.dev.cosign.simplesigning.v1+json","payload":"%s","annotations":{"dev.cosignproject.cosign/signature":"%s"}}' \
        "$(base64 -w0 payload)" "$(openssl dgst -sha256 -sign $2.key payload | base64 -w0)" >$1/signature-1
}
"#;

fn world() -> Option<(TestEnv, Registry)> {
    if skip_without(&[PROGRAM, "skopeo", "podman", "gpg", "gpgv", "jq"]) {
        return None;
    }
    let env = TestEnv::new();
    env.small_image();
    Some((env, Registry::plain()))
}

fn script(env: &TestEnv, host: &str, text: &str) -> String {
    env.shell(&format!("R={host}\n{SIGNER}\n{WORLD}\n{text}")).success()
}

#[test]
fn skopeo_and_podman_verify_what_push_signed_and_we_what_skopeo_signed() {
    let Some((env, registry)) = world() else { return };
    let said = script(
        &env,
        &registry.host(),
        r#"coracle push -q $tls --sign-by $fingerprint one docker://$R/ns/ours:1
        coracle push -q $tls one docker://$R/plain:1
        skopeo --insecure-policy copy -q --dest-tls-verify=false --sign-by $fingerprint dir:$(coracle push -q one dir:d; echo d) docker://$R/theirs:1
        signatures look ns/ours 1
        policy "$by_a"
        for image in ns/ours:1 plain:1 theirs:1; do theirs $image; ours $image; done
        podman --root pg --runroot pr --storage-driver vfs pull -q $tls --signature-policy policy.json $R/ns/ours:1 | wc -c
        podman --root pg --runroot pr --storage-driver vfs pull -q $tls --signature-policy policy.json $R/plain:1 2>/dev/null || echo podman refused
        # By digest, and as what from, copy --from and manifest add read.
        ours ns/ours@$(digest ns/ours:1); ours plain@$(digest plain:1)
        coracle --signature-policy policy.json from -q $tls $R/ns/ours:1
        coracle --signature-policy policy.json from -q $tls $R/plain:1 2>/dev/null || echo from refused
        c=$(coracle from scratch)
        coracle --signature-policy policy.json copy -q $tls --from $R/plain:1 $c /f /g 2>/dev/null || echo copy refused
        coracle --signature-policy policy.json copy -q $tls --from $R/ns/ours:1 $c /f /g >/dev/null && echo copied
        coracle manifest create l >/dev/null; coracle --signature-policy policy.json manifest add $tls l docker://$R/plain:1 2>/dev/null || echo add refused
        coracle --signature-policy policy.json manifest add $tls l docker://$R/ns/ours:1 >/dev/null && echo added"#,
    );
    let want = "signature-1\naccepted\naccepted\nrefused\nError: *\naccepted\naccepted\n65\npodman refused\naccepted\nError: *\n\
                ours-working-container\nfrom refused\ncopy refused\ncopied\nadd refused\nadded";
    let lines: Vec<&str> =
        said.lines().map(|line| if line.contains("no signature exists") { "Error: *" } else { line }).collect();
    assert_eq!(lines.join("\n"), want);
}

#[test]
fn signatures_go_along_to_every_place_that_can_hold_them() {
    let Some((env, registry)) = world() else { return };
    let said = script(
        &env,
        &registry.host(),
        r#"coracle push -q $tls --sign-by a@test one docker://$R/app:1
        first="look/app@sha256=$(digest app:1 | cut -d: -f2)/signature-1"
        coracle rmi -af >/dev/null; coracle pull -q $tls $R/app:1 >/dev/null
        coracle push -q $tls $R/app:1 docker://$R/copy:1; cmp "$first" "look/copy@sha256=$(digest copy:1 | cut -d: -f2)/signature-1"
        coracle push -q $tls $R/app:1 dir:d; cmp "$first" d/signature-1
        coracle push -q $tls --remove-signatures $R/app:1 docker://$R/without:1; ls look | grep -c without || true
        coracle push -q $tls $R/app:1 oci:o:x 2>&1 | grep -c remove-signatures
        coracle push -q $tls --sign-by a@test $R/app:1 docker://$R/app:1; signatures look app 1
        coracle rmi -af >/dev/null; coracle pull -q $tls --remove-signatures $R/app:1 >/dev/null; coracle push -q $R/app:1 dir:n; ls n | grep -c signature || true
        # A list: its own signature and one for each image.
        coracle manifest create l docker://$R/app:1 $tls >/dev/null; c=$(coracle from scratch); coracle config --arch arm64 $c; coracle commit -q --rm $c two >/dev/null
        coracle manifest add l two >/dev/null
        coracle manifest push -q $tls --all --remove-signatures --sign-by a@test l docker://$R/list:1; ls look | grep -c ^list@
        policy "$by_a"; ours list:1; coracle rmi -af >/dev/null
        skopeo --policy policy.json copy -q --all --src-tls-verify=false docker://$R/list:1 dir:all; ls all | grep -c signature-1
        coracle manifest create m >/dev/null; coracle --signature-policy policy.json manifest add $tls --all m docker://$R/list:1 >/dev/null && echo added"#,
    );
    assert_eq!(said, "0\n1\nsignature-1\nsignature-2\n0\n3\naccepted\n3\nadded");
    env.assert_store_is_clean();
}

#[test]
fn registries_d_says_where_signatures_are_read_and_written() {
    let Some((env, registry)) = world() else { return };
    let said = script(
        &env,
        &registry.host(),
        r#"settings "lookaside: 'file://$PWD/read', lookaside-staging: 'file://$PWD/staged'"
        coracle push -q $tls --sign-by a@test one docker://$R/app:1; signatures staged app 1
        policy "$by_a"; ours app:1; mv staged read; ours app:1; theirs app:1
        settings "sigstore: 'file://$PWD/read', use-sigstore-attachments: no"; ours app:1
        # Without settings signatures are below the home.
        rm $conf/registries.d/*; coracle push -q $tls --remove-signatures --sign-by a@test one docker://$R/app:2; signatures $HOME/.local/share/containers/sigstore app 2; ours app:2; theirs app:2
        mkdir other; printf 'default-docker: {lookaside: "file://%s/read"}' $PWD >other/x.yaml
        ours app:1; coracle --registries-conf-dir other --signature-policy policy.json pull -q $tls $R/app:1 | wc -c
        settings 'lookaside: "http://127.0.0.1:1/"'; coracle push -q $tls --remove-signatures --sign-by a@test one docker://$R/app:3 2>&1 | grep -c 'written to files only'
        skopeo inspect $tls docker://$R/app:3 >/dev/null 2>&1 || echo nothing was pushed
        settings "lookaside: 'file:///a', lookaside: 'file:///b'"; coracle pull -q $tls $R/app:2 2>&1 | grep -c 'stands there twice'"#,
    );
    let refused = |line: &str| line.contains("no signature exists") || line.contains("is not accepted");
    let lines: Vec<&str> = said.lines().map(|line| if refused(line) { "none" } else { line }).collect();
    let want = "signature-1 none accepted accepted accepted signature-1 accepted accepted none 65 1 nothing was pushed 1";
    assert_eq!(lines.join(" "), want);
}

#[test]
fn sigstore_signatures_are_at_the_registry_itself() {
    if skip_without(&["openssl"]) {
        return;
    }
    let Some((env, registry)) = world() else { return };
    let said = script(
        &env,
        &registry.host(),
        r#"new_key ec; new_key other
        coracle push -q one dir:d; cosign d ec $R/app:1; policy "{\"type\":\"sigstoreSigned\",\"keyPath\":\"$PWD/ec.pub\"}"
        coracle rmi -af >/dev/null; coracle pull -q dir:d >id; coracle tag $(cat id) signed
        coracle push -q $tls signed docker://$R/app:1 2>&1 | grep -c 'disabled by configuration'
        settings "use-sigstore-attachments: true"
        coracle push -q $tls signed docker://$R/app:1
        tag=sha256-$(digest app:1 | cut -d: -f2).sig
        skopeo inspect $tls --raw docker://$R/app:$tag | jq -c '[.layers[] | [.mediaType, (.annotations | keys)]]'
        ours app:1; ours app@$(digest app:1)
        # A second signature stands beside the first; the same one again changes nothing.
        rm -rf e; cp -r d e; cosign e other $R/app:1; coracle rmi -af >/dev/null; coracle pull -q dir:e >id; coracle push -q $tls $(cat id) docker://$R/app:1
        coracle push -q $tls $(cat id) docker://$R/app:1; skopeo inspect $tls --raw docker://$R/app:$tag | jq '.layers | length'
        ours app:1; policy "{\"type\":\"sigstoreSigned\",\"keyPath\":\"$PWD/other.pub\"}"; ours app:1
        coracle pull -q $tls $R/app:1 >/dev/null; coracle push -q $R/app:1 dir:both; ls both | grep -c signature-
        cosign d other $R/another:1; coracle rmi -af >/dev/null; coracle pull -q dir:d >id; coracle push -q $tls $(cat id) docker://$R/wrong:1; ours wrong:1
        settings "use-sigstore-attachments: false"; ours app:1"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    let annotated = "[[\"application/vnd.dev.cosign.simplesigning.v1+json\",[\"dev.cosignproject.cosign/signature\"]]]";
    assert_eq!(lines[..9], ["1", annotated, "accepted", "accepted", "2", "accepted", "accepted", "2", lines[8]], "{said}");
    assert!(lines[8].contains("Signature for identity") && lines[8].contains("is not accepted"), "{said}");
    assert!(lines[9].contains("no signature exists"), "{said}");
}

/// What cosign verifies with a public key, by hand: the tag, the kind of layer, the payload's bytes under the signature in the
/// annotation, and what the payload says. The crate `sigstore` 0.15 came to the same for what push wrote.
#[test]
fn sigstore_signatures_at_the_registry_are_what_cosign_looks_for() {
    if skip_without(&["openssl"]) {
        return;
    }
    let Some((env, registry)) = world() else { return };
    let said = script(
        &env,
        &registry.host(),
        r#"settings "use-sigstore-attachments: true"
        new_key ec
        coracle push -q one dir:d; cosign d ec $R/app:1
        coracle rmi -af >/dev/null; coracle pull -q dir:d >id; coracle push -q $tls $(cat id) docker://$R/app:1
        # From here on without us.
        skopeo --insecure-policy copy -q --src-tls-verify=false docker://$R/app:sha256-$(digest app:1 | cut -d: -f2).sig dir:sig
        jq -c '[.mediaType, (.layers | length), .layers[0].mediaType, .config.mediaType]' sig/manifest.json
        blob=sig/$(jq -r '.layers[0].digest' sig/manifest.json | cut -d: -f2)
        jq -r '.layers[0].annotations["dev.cosignproject.cosign/signature"]' sig/manifest.json | base64 -d >signature
        openssl dgst -sha256 -verify ec.pub -signature signature $blob
        cmp payload $blob; test $(jq -r '.critical.image["docker-manifest-digest"]' $blob) = $(digest app:1) && echo of this image
        echo >>$blob; openssl dgst -sha256 -verify ec.pub -signature signature $blob || echo and of no other bytes"#,
    );
    let manifest = "[\"application/vnd.oci.image.manifest.v1+json\",1,\"application/vnd.dev.cosign.simplesigning.v1+json\",\
         \"application/vnd.oci.image.config.v1+json\"]";
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], [manifest, "Verified OK", "of this image"], "{said}");
    // OpenSSL 1 and 3 use other letters.
    assert!(lines[3].eq_ignore_ascii_case("verification failure") && lines.contains(&"and of no other bytes"), "{said}");
}

/// A server of signatures gets no credentials of the registry, and its answers have limits (A97, A110).
#[test]
fn signatures_come_from_a_server_too() {
    let Some((env, registry)) = world() else { return };
    script(&env, &registry.host(), "coracle push -q $tls --sign-by a@test one docker://$R/app:1");
    let look = env.work().join("look");
    let directory = std::fs::read_dir(&look).expect("signatures").next().expect("one").expect("a directory");
    let signature = std::fs::read(directory.path().join("signature-1")).expect("a signature");
    let manifest = directory.file_name().to_string_lossy().into_owned();
    // The proxy speaks text: a server of its own gives the bytes.
    let files = Files::start(signature);
    let policy = "policy \"$by_a\"; ";
    let settings = |base: &str| format!("settings \"lookaside: '{base}'\"; {policy}");
    let said = script(&env, &registry.host(), &format!("{} ours app:1", settings(&format!("http://{}/look/", files.host()))));
    assert_eq!(said, "accepted");
    assert_eq!(files.paths(), [format!("/look/{manifest}/signature-1"), format!("/look/{manifest}/signature-2")]);

    let evil = Proxy::evil();
    let elsewhere = evil.host();
    let redirecting = Proxy::start(None, move |_, _| status("302 Found", &format!("Location: http://{elsewhere}/s\r\n")));
    let endless = Proxy::start(None, |_, _| body("", &"x".repeat(5 << 20)));
    let broken = Proxy::start(None, |_, _| status("403 Forbidden", ""));
    let missing = Proxy::start(None, |_, _| status("404 Not Found", ""));
    for (server, words) in
        [(&redirecting, "no signature exists"), (&endless, "more than"), (&broken, "denied"), (&missing, "no signature exists")]
    {
        let text = format!(
            "{} coracle --signature-policy policy.json pull -q $tls --retry 0 --creds user:canary $R/app:1 2>&1 | grep ^Error",
            settings(&format!("http://{}", server.host()))
        );
        let said = script(&env, &registry.host(), &text);
        assert!(said.contains(words), "{words}: {said}");
        assert!(!server.saw_credentials(), "{:?}", server.seen());
    }
    assert!(!evil.seen().is_empty() && !evil.saw_credentials(), "{:?}", evil.seen());
    let listed = format!("settings \"lookaside: 'ftp://x/'\"; {policy} ours app:1");
    assert!(script(&env, &registry.host(), &listed).contains("want file://, http:// or https://"));
}

/// A server with one file, `signature-1`.
struct Files {
    port: u16,
    seen: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Files {
    fn start(content: Vec<u8>) -> Self {
        use std::io::{BufRead as _, BufReader, Write as _};
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its port").port();
        let seen: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::default();
        let paths = std::sync::Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let head: Vec<String> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
                let there = path.ends_with("/signature-1");
                paths.lock().expect("the paths").push(path);
                let (line, content) = if there { ("200 OK", content.as_slice()) } else { ("404 Not Found", &[][..]) };
                let _ = write!(stream, "HTTP/1.1 {line}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
                let _ = stream.write_all(content);
            }
        });
        Self { port, seen }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn paths(&self) -> Vec<String> {
        self.seen.lock().expect("the paths").clone()
    }
}

/// The agent that signing starts does not stay; one that ran before does.
#[test]
fn no_agent_of_gpg_outlives_the_verb() {
    let Some((env, registry)) = world() else { return };
    let said = script(
        &env,
        &registry.host(),
        r#"agent() { gpg-connect-agent --no-autostart 'GETINFO pid' /bye 2>/dev/null | grep -q ^D && echo runs || echo none; }
        gpgconf --kill all; agent
        coracle push -q $tls --sign-by a@test one docker://$R/app:1; agent
        coracle push -q --sign-by a@test one containers-storage:localhost/signed; agent
        coracle push -q --sign-by nobody@test one containers-storage:localhost/unsigned 2>/dev/null || agent
        gpg-connect-agent /bye 2>/dev/null; agent
        coracle push -q $tls --sign-by a@test one docker://$R/app:2; agent"#,
    );
    assert_eq!(said, "none\nnone\nnone\nnone\nruns\nruns");
}
