//! `--compression-format`, `--compression-level`, `--force-compression` and their settings, the same for every verb that brings layers to
//! a registry.

use crate::harness::registry::{PROGRAM, Registry};
use crate::harness::{TestEnv, skip_without};

/// `kinds IMAGE`: what the media types of its layers end with, lowest first. `layers IMAGE`: their digests. `settings LINES`: those of
/// `[engine]` in containers.conf. `fails COMMAND`: what it says is in `err`.
const FUNCTIONS: &str = r#"
raw() { skopeo inspect --raw --tls-verify=false docker://$R/$1; }
kinds() { raw $1 | jq -r '.layers[].mediaType | sub(".*[+.]"; "")' | tr '\n' ' '; }
layers() { raw $1 | jq -r '.layers[].digest'; }
settings() { mkdir -p ~/.config/containers; printf '[engine]\n%b\n' "$1" >~/.config/containers/containers.conf; }
is() { test "$1" = "$2 " || { echo "$1 is not $2" >&2; exit 1; }; }
push() { coracle push -q $insecure "$@"; }
same() { test "$(raw $1)" = "$(raw $2)" || { echo "$1 and $2 are not the same" >&2; exit 1; }; }
fails() { if "$@" 2>err; then echo "$* does not fail" >&2; exit 1; fi; }
"#;

/// A store with `$R/gzip`, `$R/zstd` and `$R/docker`, which is gzip too, as they were pulled, of one layer each; and with `app`, which is
/// the first and one layer more.
const WORLD: &str = r#"
make() { seq $1 $2 >f; c=$(coracle from scratch); coracle copy -q $c f /f; coracle commit -q --rm $c $3 >/dev/null; }
make 1 30000 one; make 30000 60000 two; make 60000 90000 three
push one $R/gzip; push --compression-format zstd two $R/zstd; push --format v2s2 three $R/docker
coracle rmi one two three >/dev/null
for name in gzip zstd docker; do coracle pull -q $insecure $R/$name >/dev/null; done
c=$(coracle from $R/gzip); coracle copy -q $c f /g; coracle commit -q --rm $c app >/dev/null
"#;

struct World {
    env: TestEnv,
    registry: Registry,
}

impl World {
    fn new() -> Option<Self> {
        if skip_without(&[PROGRAM, "skopeo", "jq"]) {
            return None;
        }
        let world = Self { env: TestEnv::new(), registry: Registry::plain() };
        world.script(WORLD);
        Some(world)
    }

    fn script(&self, script: &str) -> String {
        let start = format!("set -eu; R={}; insecure=--tls-verify=false", self.registry.host());
        self.env.shell(&format!("{start}\n{FUNCTIONS}\n{script}")).success()
    }
}

#[test]
fn a_pushed_image_is_compressed_as_is_named_and_else_as_it_was() {
    let Some(world) = World::new() else { return };
    world.script(
        r#"
        for name in gzip zstd docker; do push $R/$name $R/again; same $name again; done
        push app $R/app; is "$(kinds app)" "gzip gzip"; test $(layers app | head -1) = $(layers gzip)
        push --compression-format zstd app $R/app; is "$(kinds app)" "zstd zstd"
        # What has that compression is not made again, at whatever level.
        push --compression-format gzip --compression-level 9 $R/gzip $R/again; same gzip again
        push --compression-format zstd --compression-level 19 $R/zstd $R/again; same zstd again
        push --compression-format gzip $R/zstd $R/again; is "$(kinds again)" gzip
        push --compression-format= --compression-level 9 $R/zstd $R/again; same zstd again
        "#,
    );
    for no in ["false", "f", "0"] {
        let flag = format!("--force-compression={no}");
        world.script(&format!("push --compression-format zstd {flag} app $R/app; is \"$(kinds app)\" 'gzip zstd'"));
    }
    for yes in ["", "=true", "=T", "=1"] {
        let flag = format!("--force-compression{yes}");
        world.script(&format!("push {flag} $R/zstd $R/again; is \"$(kinds again)\" gzip; push $R/gzip $R/again"));
    }
    let said = world.env.run(["push", "-q", "--force-compression=no", "app", "oci:x:x"]).failure(125);
    assert!(said.contains("invalid argument \"no\" for \"--force-compression\" flag"), "{said}");
    world.env.assert_store_is_clean();
}

/// Docker's manifests have no media type for zstd: with one of their own images become the OCI's, where the format is asked for nothing
/// is pushed.
#[test]
fn zstd_makes_a_manifest_of_docker_one_of_the_oci() {
    let Some(world) = World::new() else { return };
    world.script(
        r#"
        raw docker | grep -q docker.distribution; push --compression-format zstd $R/docker $R/d; is "$(kinds d)" zstd
        test $(raw d | jq -r .mediaType) = application/vnd.oci.image.manifest.v1+json
        fails push --compression-format zstd --format v2s2 $R/docker $R/none
        grep -q 'zstd compression is not supported for docker images' err; fails raw none
        # With a format that the settings name the wish for Docker's is the stronger one.
        settings 'compression_format = "zstd"\ncompression_level = 19'
        push --format v2s2 $R/docker $R/d; same d docker
        push --format oci $R/docker $R/d; is "$(kinds d)" zstd
        "#,
    );
}

/// Debian's, which knows no `--force-compression`, takes a layer over that it knows to be in that registry, whatever its compression is:
/// so it is asked to push to one that has none.
#[test]
fn debians_buildah_compresses_alike_what_was_pulled() {
    if skip_without(&["buildah"]) {
        return;
    }
    let Some(world) = World::new() else { return };
    let other = Registry::plain();
    world.script(&format!(
        "from=$R; R={}\n{}",
        other.host(),
        r#"
        theirs() { buildah --root $PWD/br --runroot $PWD/brr --storage-driver vfs "$@"; }
        for name in gzip docker; do
            theirs pull -q $insecure $from/$name >/dev/null
            for format in oci v2s2; do
                theirs push -q $insecure --format $format $from/$name $R/t$format
                push --format $format $from/$name $R/o$format
                test "$(kinds t$format)" = "$(kinds o$format)"
            done
        done
        "#
    ));
    let empty = Registry::plain();
    world.script(&format!(
        "from=$R; R={}\n{}",
        empty.host(),
        r#"
        theirs() { buildah --root $PWD/br --runroot $PWD/brr --storage-driver vfs "$@"; }
        for name in gzip docker; do
            theirs push -q $insecure --compression-format zstd --format oci $from/$name $R/theirs-$name
            push --compression-format zstd --format oci $from/$name $R/ours-$name
            is "$(kinds theirs-$name)" zstd; is "$(kinds ours-$name)" zstd
            fails theirs push -q $insecure --compression-format zstd --format v2s2 $from/$name $R/none
            fails push --compression-format zstd --format v2s2 $from/$name $R/none
        done
        "#
    ));
}

#[test]
fn the_settings_name_a_compression_as_the_flags_do() {
    let Some(world) = World::new() else { return };
    world.script(
        r#"
        settings 'compression_format = "zstd"'
        push app $R/app; is "$(kinds app)" "zstd zstd"
        push --force-compression=false app $R/app; is "$(kinds app)" "gzip zstd"
        push --compression-format gzip app $R/app; is "$(kinds app)" "gzip gzip"
        # What is uncompressed stays so with -D, and so does what is compressed.
        push -D app $R/app; is "$(kinds app)" "gzip tar"
        push -D --compression-format zstd app $R/app; is "$(kinds app)" "gzip tar"
        # gzip is what is used anyway: no wish.
        settings 'compression_format = "gzip"'
        push $R/zstd $R/again; same zstd again
        push app $R/app; is "$(kinds app)" "gzip gzip"
        "#,
    );
}

/// The level in the file counts whoever names the format. The same layer at the same level is the same blob.
#[test]
fn the_level_of_the_settings_is_that_of_a_named_format() {
    let Some(world) = World::new() else { return };
    world.script(
        r#"
        rm -rf ~/.config/containers; coracle rmi $R/zstd $R/docker >/dev/null
        at() { push --force-compression --compression-format $1 --compression-level $2 app oci:$1$2:x; }
        told() { jq -r '.manifests[0].digest' $1/index.json | sed "s|sha256:|$1/blobs/sha256/|" | xargs jq -r '.layers[-1].digest'; }
        at zstd 1; at zstd 9; at gzip 9; test $(told zstd1) != $(told zstd9)
        settings 'compression_level = 9'
        push --compression-format zstd app oci:a:x; test $(told a) = $(told zstd9)
        push --compression-format zstd --compression-level 1 app oci:b:x; test $(told b) = $(told zstd1)
        push app oci:c:x; test $(told c) = $(told gzip9)
        mkdir ctx; echo 'FROM app' >ctx/Dockerfile
        coracle build -q --compression-format zstd -t oci:e:x ctx >/dev/null; test $(told e) = $(told zstd9)
        settings 'compression_level = 19'
        fails push app oci:none:x; grep -q 'parsing compression_level from containers.conf: gzip: invalid compression level: 19' err
        push --compression-format zstd app oci:large:x
        "#,
    );
}

#[test]
fn a_commit_to_a_registry_follows_the_settings() {
    let Some(world) = World::new() else { return };
    world.script(
        r#"
        c=$(coracle from app); coracle copy -q $c f /h
        commit() { coracle commit -q $insecure "$@" >/dev/null; }
        commit $c docker://$R/c; is "$(kinds c)" "gzip gzip gzip"
        commit --compression-format zstd $c docker://$R/c; is "$(kinds c)" "zstd zstd zstd"
        commit --compression-format zstd --force-compression=false $c docker://$R/c; is "$(kinds c)" "gzip zstd zstd"
        settings 'compression_format = "zstd"\ncompression_level = 9'
        commit $c docker://$R/c; is "$(kinds c)" "zstd zstd zstd"
        commit --force-compression=false $c docker://$R/f; is "$(kinds f)" "gzip zstd zstd"
        rm ~/.config/containers/containers.conf
        commit --compression-format zstd --compression-level 9 --force-compression=false $c docker://$R/again
        test "$(layers f)" = "$(layers again)"
        # The settings say how and not that layers are compressed.
        settings 'compression_format = "zstd"\ncompression_level = 9'
        ends() { grep -rho 'image.layer.v1.tar[+a-z]*' $1 | sed 's/.*tar//' | tr '\n' ' '; }
        commit $c oci:plain:x; is "$(ends plain)" "+gzip  "
        commit -D=false $c oci:small:x; is "$(ends small)" "+zstd +zstd +zstd"
        for flag in --compression-format=zstd --force-compression; do
            fails commit -D $flag $c oci:none:x; grep -q -- "cannot set ${flag%=*} together with --disable-compression" err
        done
        commit -D --compression-level 9 $c oci:none:x; is "$(ends none)" "+gzip  "
        "#,
    );
}

#[test]
fn a_build_sends_layers_as_is_named() {
    let Some(world) = World::new() else { return };
    world.script(
        r#"
        mkdir ctx; printf 'FROM %s/gzip\nCOPY Dockerfile /\n' $R >ctx/Dockerfile
        build() { coracle build -q $insecure "$@" -t docker://$R/b ctx >/dev/null; }
        build; is "$(kinds b)" "gzip gzip"
        build --compression-format zstd; is "$(kinds b)" "zstd zstd"
        build --compression-format zstd --force-compression=false; is "$(kinds b)" "gzip zstd"
        settings 'compression_format = "zstd"'; build; is "$(kinds b)" "zstd zstd"
        build --force-compression=F; is "$(kinds b)" "gzip zstd"
        # A level says how, and not that a layout is compressed.
        settings 'compression_level = 9'; coracle build -q -t oci:plain:x ctx >/dev/null
        grep -rho 'image.layer.v1.tar[+a-z]*' plain | sort | tr '\n' ' ' | grep -qx 'image.layer.v1.tar image.layer.v1.tar+gzip '
        "#,
    );
}

/// As with Buildah, `compression_format` is not for lists.
#[test]
fn images_of_a_list_are_compressed_as_the_flags_say() {
    let Some(world) = World::new() else { return };
    world.script(
        r#"
        settings 'compression_format = "zstd"\ncompression_level = 9'
        coracle manifest create l app >/dev/null
        list() { coracle manifest push -q $insecure "$@" l docker://$R/l; digest=$(raw l | jq -r '.manifests[0].digest')
            skopeo inspect --raw --tls-verify=false docker://$R/l@$digest | jq -r '.layers[].mediaType | sub(".*[+.]"; "")' | tr '\n' ' '; }
        is "$(list)" "gzip gzip"
        is "$(list --compression-format zstd)" "zstd zstd"
        is "$(list --compression-format zstd --force-compression=false)" "gzip zstd"
        "#,
    );
}

#[test]
fn images_of_a_list_are_added_in_chunks() {
    let Some(world) = World::new() else { return };
    world.script(
        r#"
        # Each image of $R/$1: the kind of its layers, and in how many of them there is a table.
        told() { raw $1 | jq -r '.manifests[].digest' | while read -r digest; do
            skopeo inspect --raw --tls-verify=false docker://$R/$1@$digest |
                jq -j '(.layers[0].mediaType | sub(".*[+.]"; "")), ([.layers[].annotations["io.github.containers.zstd-chunked.manifest-checksum"] // empty] | length), " "'
            done; }
        list() { coracle manifest push -q $insecure "$@" l docker://$R/l; told l; echo; }
        coracle manifest create l $R/gzip >/dev/null
        is "$(list --add-compression zstd:chunked)" "gzip0 zstd1"
        # A list that says which needs zstd.
        test "$(raw l | jq -c '[.manifests[].annotations]')" = '[null,{"io.github.containers.compression.zstd":"true"}]'
        is "$(list --add-compression zstd,zstd:chunked --add-compression gzip)" "gzip0 zstd1"
        # zstd in one piece is another one, and what is there in chunks is not made again.
        is "$(list --compression-format zstd --add-compression zstd:chunked)" "zstd0 zstd1"
        is "$(list --compression-format zstd:chunked --add-compression zstd:chunked)" "zstd1"
        is "$(list --compression-format zstd:chunked --add-compression zstd)" "zstd1"
        settings 'add_compression = ["zstd:chunked"]'; is "$(list)" "gzip0 zstd1"
        coracle rmi -fa >/dev/null; coracle manifest create l >/dev/null
        coracle manifest add $insecure --all l docker://$R/l >/dev/null; cp ~/.config/containers/containers.conf kept
        is "$(list)" "gzip0 zstd1"
        # What was pulled in chunks is in chunks.
        coracle rmi -fa >/dev/null; coracle pull -q $insecure $R/l >/dev/null; is "$(kinds zstd)" zstd
        push --compression-format zstd:chunked $R/l $R/same; push $R/l $R/as-it-was; same same as-it-was
        raw same | grep -q zstd-chunked; push --compression-format zstd $R/l $R/same; same same as-it-was
        coracle pull -q $insecure $R/zstd >/dev/null; push --compression-format zstd:chunked $R/zstd $R/new; raw new | grep -q zstd-chunked
        "#,
    );
}

#[test]
fn encrypted_layers_are_not_in_chunks_and_that_is_said() {
    let Some(world) = World::new() else { return };
    if skip_without(&["openssl"]) {
        return;
    }
    let said = world.script(
        r#"
        openssl genrsa -out rsa.pem 2048 2>/dev/null; openssl pkey -in rsa.pem -pubout -out rsa.pub
        key='--encryption-key jwe:rsa.pub'
        ends() { raw $1 | jq -r '[.layers[].mediaType | sub(".*tar"; "")] | join(" ")'; }
        in_chunks() { raw $1 | grep -q zstd-chunked; }
        push --compression-format zstd:chunked $key app $R/e 2>&1; fails in_chunks e; ends e
        c=$(coracle from app)
        coracle commit -q $insecure --compression-format zstd:chunked $key $c docker://$R/e 2>&1 >/dev/null; fails in_chunks e
        settings 'compression_format = "zstd:chunked"'; push $key --encrypt-layer 0 app $R/e 2>&1; fails in_chunks e; ends e
        echo Otherwise nothing is said.
        push --compression-format zstd $key app $R/e 2>&1; push app $R/e 2>&1; in_chunks e
        "#,
    );
    insta::assert_snapshot!(said, @r"
    warning: zstd:chunked is of no use for encrypted layers: they are compressed as plain zstd
    +zstd+encrypted +zstd+encrypted
    warning: zstd:chunked is of no use for encrypted layers: they are compressed as plain zstd
    warning: zstd:chunked is of no use for encrypted layers: they are compressed as plain zstd
    +zstd+encrypted +zstd
    Otherwise nothing is said.
    ");
}
