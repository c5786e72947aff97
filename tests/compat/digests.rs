//! Digests after every way that an image can take: they are those that skopeo has for the same image.

use crate::harness::registry::{PROGRAM, Registry};
use crate::harness::{TestEnv, skip_without};

/// What stands before each script. `D` is the flag that leaves layers uncompressed, where they are.
const PRELUDE: &str = r#"
tls=--tls-verify=false
digest() { skopeo inspect $tls --format '{{.Digest}}' docker://$R/$1; }
layers() { skopeo inspect $tls --raw docker://$R/$1 | jq -c '[.layers[] | [.mediaType, .digest, .size]]'; }
skopeo_copy() { skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false "$@"; }
skopeo_oci() { skopeo_copy $PRESERVE docker://$R/start oci:by-skopeo:x; skopeo inspect --format '{{.Digest}}' oci:by-skopeo:x; }
same() { test "$1" = "$2" || { echo "$3: $1 is not $2"; exit 1; }; }
seq 99 3000 >file
"#;

/// The image `step` of `$LAYERS` layers.
const IMAGE: &str = r#"
c=$(coracle from scratch)
for layer in $(seq $LAYERS); do
    seq $layer 3000 >file; coracle copy -q $c file /dir/file$layer
    coracle commit -q --rm --timestamp $layer $c step >/dev/null; c=$(coracle from --pull-never step)
done
"#;

/// It goes to the registry `R` as `start`, with manifest and layers as `$FLAGS` of push say.
const START: &str = r#"
rm -rf start; coracle push -q $FLAGS step dir:start
skopeo_copy --preserve-digests dir:start docker://$R/start
same $(digest start) sha256:$(sha256sum start/manifest.json | cut -d' ' -f1) start
"#;

/// The ways. Each of them begins and ends with an empty store.
const WAYS: &str = r#"
start=$(digest start); skopeo_copy --preserve-digests docker://$R/start dir:start
id=$(jq -r .config.digest start/manifest.json | cut -d: -f2)
same $(coracle pull -q $tls $R/start) $id pulled
same $(coracle images --format '{{.Digest}}' $R/start) $start "digest of what was pulled"
coracle push -q $tls $D $R/start docker://$R/pushed; same $(digest pushed) $start "pull, push"
case $FLAGS in
    # Nothing uncompressed of Docker's has a place in a layout for skopeo.
    *v2s2*-D) ;;
    *) coracle push -q $tls $D $R/start oci:layout:x; same $(skopeo inspect --format '{{.Digest}}' oci:layout:x) $(skopeo_oci) "pull, push oci:" ;;
esac
coracle push -q $R/start docker-archive:ours.tar:localhost/x:1

c=$(coracle from --pull-never $R/start); coracle config --label a=b $c; coracle commit -q $FORMAT $c changed >/dev/null
coracle push -q $tls $D changed docker://$R/changed; same "$(layers changed | jq -c ".[:$LAYERS]")" "$(layers start)" "pull, commit, push"
coracle copy -q $c file /new; coracle commit -q --rm $FORMAT $c more >/dev/null
coracle push -q $tls $D more docker://$R/more
same "$(layers more | jq -c ".[:$LAYERS]")" "$(layers start)" "pull, copy, commit, push"
skopeo_copy docker://$R/more dir:more; same sha256:$(sha256sum more/manifest.json | cut -d' ' -f1) $(digest more) "what skopeo sees"
coracle rmi -af >/dev/null

case $FLAGS in
    # Debian's skopeo does not make an archive of what zstd compressed.
    *zstd*) skopeo_copy docker-archive:ours.tar docker-archive:theirs.tar:localhost/x:1 ;;
    *) skopeo_copy docker://$R/start docker-archive:theirs.tar:localhost/x:1 ;;
esac
for file in ours theirs; do tar xOf $file.tar manifest.json | jq -c '.[0] | [.Config, (.Layers | map(split("/")[0]))]' >$file; done
same "$(cat ours)" "$(cat theirs)" "registry, docker-archive:"
for file in ours theirs; do
    same $(coracle pull -q docker-archive:$file.tar) $id "docker-archive:$file, store"
    coracle push -q -D localhost/x:1 dir:from-$file; coracle images --format '{{.Digest}}' localhost/x:1 | sort -u >digest-$file; coracle rmi -af >/dev/null
done
cmp from-ours/manifest.json from-theirs/manifest.json
skopeo_copy docker-archive:theirs.tar containers-storage:localhost/x:1
same $(coracle images --format '{{.Digest}}' localhost/x:1) "$(cat digest-ours)" "docker-archive:, store, by skopeo"
coracle rmi -af >/dev/null
"#;

/// `oci:` → registry → `docker-archive:` → store.
const FROM_LAYOUT: &str = r#"
skopeo_copy $PRESERVE dir:start oci:first:x
same $(coracle pull -q oci:first:x) $id "oci:, store"
name=$(coracle images --format '{{.Name}}:{{.Tag}}')
coracle push -q $tls $D $name docker://$R/layout
skopeo_copy $PRESERVE oci:first:x docker://$R/by-skopeo
same $(digest layout) $(digest by-skopeo) "oci:, registry"
coracle rmi -af >/dev/null; coracle pull -q $tls $R/layout >/dev/null
coracle push -q $R/layout docker-archive:last.tar:localhost/y:1; coracle rmi -af >/dev/null
same $(coracle pull -q docker-archive:last.tar) $id "oci:, registry, docker-archive:, store"
coracle rmi -af >/dev/null
"#;

struct Case {
    push: &'static str,
    format: &'static str,
    uncompressed: &'static str,
}

const CASES: [Case; 5] = [
    Case { push: "--format oci", format: "", uncompressed: "" },
    Case { push: "--format oci --compression-format zstd", format: "", uncompressed: "" },
    Case { push: "--format oci -D", format: "", uncompressed: "-D" },
    Case { push: "--format v2s2", format: "--format docker", uncompressed: "" },
    Case { push: "--format v2s2 -D", format: "--format docker", uncompressed: "-D" },
];

impl Case {
    /// Variables for the scripts. `number` is its place at the registry.
    fn variables(&self, registry: &Registry, number: usize, layers: usize) -> String {
        let Self { push, format, uncompressed } = self;
        let host = registry.name(&format!("case{number}"));
        // Skopeo compresses what is not, unless it may not.
        let preserve = if uncompressed.is_empty() { "" } else { "--preserve-digests" };
        format!("R={host} LAYERS={layers} FLAGS='{push}' FORMAT='{format}' D='{uncompressed}' PRESERVE='{preserve}'")
    }
}

fn all_cases(layers: usize) {
    if skip_without(&[PROGRAM, "skopeo", "jq"]) {
        return;
    }
    let registry = Registry::plain();
    let variables: Vec<String> =
        CASES.iter().enumerate().map(|(number, case)| case.variables(&registry, number, layers)).collect();
    let starts: String = variables.iter().map(|variables| format!("{variables}\n{START}\n")).collect();
    TestEnv::new().shell(&format!("LAYERS={layers}\n{PRELUDE}\n{IMAGE}\n{starts}")).success();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let case = |(case, variables): (&'static Case, &str)| {
            let layout = if case.push.contains("v2s2") { "" } else { FROM_LAYOUT };
            let script = format!("{variables}\n{PRELUDE}\n{WAYS}\n{layout}\necho done");
            scope.spawn(move || {
                let env = TestEnv::new();
                let output = env.shell(&script);
                if output.code == Some(0) && output.out() == "done\n" {
                    env.assert_store_is_clean();
                    return None;
                }
                Some(format!("{}: {output}", case.push))
            })
        };
        let running: Vec<_> = CASES.iter().zip(variables.iter().map(String::as_str)).map(case).collect();
        running.into_iter().filter_map(|case| case.join().expect("a case")).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn an_image_of_one_layer_is_the_same_after_every_way() {
    all_cases(1);
}

#[test]
fn an_image_of_twelve_layers_is_the_same_after_every_way() {
    all_cases(12);
}
