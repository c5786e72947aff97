//! Images of many layers at a real registry: several layers on their way at once, and what becomes of the others when one fails.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use containers_storage::Digest;
use flate2::write::GzEncoder;

use crate::harness::registry::{Answer, PROGRAM, Proxy, Registry, body, status};
use crate::harness::{TestEnv, skip_without};

const INSECURE: &str = "--tls-verify=false";

/// Bytes that do not get shorter.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    });
    bytes.take(length).collect()
}

/// An image in a directory, with a layer for each of the seeds: one file of noise. Equal seeds make equal layers. Its layers' digests.
fn image(env: &TestEnv, name: &str, seeds: &[u64], length: usize) -> Vec<String> {
    let (mut layers, mut diffs) = (Vec::new(), Vec::new());
    for seed in seeds {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(length as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("file{seed}"), noise(*seed, length).as_slice()).expect("a member");
        let tar = tar.into_inner().expect("a tar");
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).expect("a blob");
        let blob = gzip.finish().expect("a blob");
        diffs.push(format!("\"{}\"", Digest::of(&tar)));
        layers.push((Digest::of(&blob), blob.len()));
        env.write(&format!("{name}/{}", Digest::of(&blob).hex()), blob);
    }
    let config =
        format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#, diffs.join(","));
    let described = |(digest, size): &(Digest, usize)| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{digest}","size":{size}}}"#)
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{}]}}"#,
        Digest::of(config.as_bytes()),
        config.len(),
        layers.iter().map(described).collect::<Vec<_>>().join(",")
    );
    env.write(&format!("{name}/{}", Digest::of(config.as_bytes()).hex()), config);
    env.write(&format!("{name}/manifest.json"), manifest);
    env.write(&format!("{name}/version"), "Directory Transport Version: 1.1\n");
    layers.iter().map(|(digest, _)| digest.to_string()).collect()
}

/// Brings such an image to the registry under the name `name`; the store is empty again.
fn at_registry(env: &TestEnv, registry: &Registry, name: &str, seeds: &[u64], length: usize) -> Vec<String> {
    let layers = image(env, name, seeds, length);
    let id = env.ok(["pull", "-q", &format!("dir:{name}")]);
    env.ok(["push", "-q", INSECURE, &id, &registry.name(name)]);
    env.ok(["rmi", "-af"]);
    layers
}

#[test]
fn whichever_layer_fails_ends_the_pull_soon_and_leaves_nothing() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let layers = at_registry(&env, &registry, "box", &[1, 2, 3, 4, 5, 6], 300_000);
    for fault in ["not there", "wrong bytes", "cut"] {
        for broken in [0, 3, 5] {
            let (wrong, waiting) = (layers[broken].clone(), layers[(broken + 1) % 6].clone());
            let length = usize::try_from(std::fs::metadata(registry.blob(&wrong)).expect("a blob").len()).expect("its length");
            // Another layer waits a minute for its next attempt meanwhile.
            let proxy = Proxy::start(Some(&registry), move |head, _| match () {
                () if head.contains(&wrong) => match fault {
                    "not there" => status("404 Not Found", ""),
                    "wrong bytes" => body("", &"x".repeat(length)),
                    _ => Answer::CutAfter(100_000),
                },
                () if head.contains(&waiting) => status("503 Service Unavailable", ""),
                () => Answer::Pass,
            });
            let begun = Instant::now();
            let retries = ["--retry", if fault == "cut" { "0" } else { "3" }, "--retry-delay", "60s"];
            let words = ["pull", "-q", INSECURE].into_iter().chain(retries);
            let failed = env.run(words.chain([proxy.name("box").as_str()])).failure(125);
            let context = format!("{fault} in layer {broken}: {failed}");
            assert!(failed.starts_with("Error: pulling ") && failed.lines().count() == 1, "{context}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{context}: {:?}", begun.elapsed());
            assert_eq!(env.ok(["images", "-aq"]), "", "{context}");
            env.assert_store_is_clean();
        }
    }
}

/// Nothing comes of one layer any more, and another is wrong: nobody waits for the first.
#[test]
fn a_layer_that_hangs_does_not_keep_the_error_of_another() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let layers = at_registry(&env, &registry, "box", &[1, 2, 3], 300_000);
    for (hangs, wrong) in [(0, 1), (2, 0)] {
        for before in [0, 100_000] {
            let (hanging, broken) = (layers[hangs].clone(), layers[wrong].clone());
            let hung = Arc::new(Mutex::new(false));
            let proxy = Proxy::start(Some(&registry), move |head, _| match () {
                () if head.contains(&hanging) => {
                    *hung.lock().expect("the word") = true;
                    Answer::HoldAfter(before)
                }
                () if head.contains(&broken) => {
                    while !*hung.lock().expect("the word") {
                        sleep(Duration::from_millis(10));
                    }
                    sleep(Duration::from_millis(300));
                    status("404 Not Found", "")
                }
                () => Answer::Pass,
            });
            let begun = Instant::now();
            let failed = env.run(["pull", "-q", INSECURE, &proxy.name("box")]).failure(125);
            assert!(failed.contains(&layers[wrong]) && failed.lines().count() == 1, "{failed}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{before}: {:?}: {failed}", begun.elapsed());
            assert_eq!(env.ok(["images", "-aq"]), "");
            env.assert_store_is_clean();
        }
    }
}

#[test]
fn each_layer_goes_on_where_it_broke_off() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let layers = at_registry(&env, &registry, "box", &[1, 2, 3, 4], 300_000);
    let proxy = Proxy::start(Some(&registry), |head, _| match head.starts_with("GET /v2/box/blobs/") {
        true => Answer::CutAfter(130_000),
        false => Answer::Pass,
    });
    env.ok(["pull", "-q", INSECURE, &proxy.name("box")]);
    for layer in layers {
        assert!(proxy.count(&[&layer, "bytes="]) >= 2, "{:?}", proxy.seen());
    }
    env.assert_store_is_clean();
}

#[test]
fn sixty_layers_come_whole_and_go_as_they_came() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let seeds: Vec<u64> = (0..60).map(|number| number % 57).collect();
    let layers = at_registry(&env, &registry, "box", &seeds, 2_000);
    let name = registry.name("box");
    env.ok(["pull", "-q", INSECURE, &name]);
    let container = env.ok(["from", "-q", &name]);
    let mounted = env.shell(&format!("coracle unshare sh -euc 'cat $(coracle mount {container})/file* | sha256sum'")).success();
    let mut names: Vec<u64> = (0..57).collect();
    names.sort_by_key(u64::to_string);
    let all: Vec<u8> = names.into_iter().flat_map(|seed| noise(seed, 2_000)).collect();
    assert_eq!(mounted.split(' ').next(), Some(Digest::of(&all).hex()));
    env.ok(["rm", &container]);
    let proxy = Proxy::start(Some(&registry), |_, _| Answer::Pass);
    env.ok(["push", "-q", INSECURE, &name, &proxy.name("elsewhere")]);
    for layer in &layers {
        assert!(registry.blob(layer).exists(), "{layer}");
    }
    assert_eq!(proxy.count(&["PATCH "]), 0, "nothing had to be compressed: {:?}", proxy.seen());
    env.assert_store_is_clean();
}

#[test]
fn settings_say_how_many_layers_come_at_a_time() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    at_registry(&env, &registry, "box", &[1, 2, 3, 4, 5, 6], 1_000);
    for (setting, want) in [("image_parallel_copies = 1", 1), ("image_parallel_copies = 2", 2), ("", 4)] {
        env.write_home(".config/containers/containers.conf", format!("[engine]\n{setting}\n"));
        // How many are answered now, and the most that ever were.
        let at_once: Arc<Mutex<(usize, usize)>> = Arc::default();
        let seen = Arc::clone(&at_once);
        let proxy = Proxy::start(Some(&registry), move |head, _| {
            if head.starts_with("GET /v2/box/blobs/") {
                let change = |by: isize| {
                    let mut now = seen.lock().expect("the counts");
                    now.0 = now.0.saturating_add_signed(by);
                    now.1 = now.1.max(now.0);
                };
                change(1);
                sleep(Duration::from_millis(500));
                change(-1);
            }
            Answer::Pass
        });
        env.ok(["pull", "-q", INSECURE, &proxy.name("box")]);
        env.ok(["rmi", "-af"]);
        assert_eq!(at_once.lock().expect("the counts").1, want, "{setting:?}");
    }
}

#[test]
fn pulls_of_images_that_share_layers_do_not_disturb_each_other() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    at_registry(&env, &registry, "one", &[1, 2, 3, 4, 5], 100_000);
    at_registry(&env, &registry, "other", &[1, 2, 3, 8, 9], 100_000);
    let podman = !skip_without(&["podman"]);
    for round in 0..3 {
        std::thread::scope(|scope| {
            for name in ["one", "one", "other"] {
                let name = registry.name(name);
                let env = &env;
                scope.spawn(move || env.ok(["pull", "-q", INSECURE, &name]));
            }
            if podman {
                let name = registry.name("other");
                let env = &env;
                scope.spawn(move || env.tool("podman", ["pull", "-q", INSECURE, &name]).success());
            }
        });
        let names = env.ok(["images", "--format", "{{.Name}}"]);
        assert_eq!(names.lines().filter(|line| !line.trim().is_empty()).count(), 2, "round {round}: {names}");
        for name in ["one", "other"] {
            let container = env.ok(["from", "-q", &registry.name(name)]);
            let script = format!("coracle unshare sh -euc 'ls $(coracle mount {container})'");
            let seeds = if name == "one" { ["1", "2", "3", "4", "5"] } else { ["1", "2", "3", "8", "9"] };
            assert_eq!(env.shell(&script).success(), seeds.map(|seed| format!("file{seed}")).join("\n"), "round {round}");
            env.ok(["rm", &container]);
        }
        env.assert_store_is_clean();
        env.ok(["rmi", "-af"]);
    }
}
