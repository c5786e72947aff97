//! Lists at a real registry: what we make is used by skopeo, podman and Debian's Buildah, and we use what they make.

use crate::harness::registry::{PROGRAM, Registry};
use crate::harness::{TestEnv, skip_without};

/// What stands before each script; `R` is the registry. `one` is for this machine, `two` for arm64 in Docker's format.
const PRELUDE: &str = r#"
raw() { skopeo inspect --raw --tls-verify=false docker://$R/$1; }
digest() { skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://$R/$1; }
podman() { command podman --root pg --runroot pr --storage-driver vfs "$@"; }
buildah() { command buildah --root bg --runroot br --storage-driver vfs "$@"; }
architecture() { jq -r '.[0].Architecture'; }
"#;

fn world() -> Option<(TestEnv, Registry)> {
    if skip_without(&[PROGRAM, "buildah", "podman", "skopeo", "jq"]) {
        return None;
    }
    let env = TestEnv::new();
    env.images_of_two_machines();
    Some((env, Registry::plain()))
}

fn script(env: &TestEnv, registry: &Registry, text: &str) -> String {
    let output = env.shell(&format!("R={}\n{PRELUDE}\n{text}", registry.host()));
    output.success()
}

#[test]
fn every_tool_takes_its_image_from_a_list_that_we_made() {
    let Some((env, registry)) = world() else { return };
    let said = script(
        &env,
        &registry,
        "coracle manifest create l >/dev/null; coracle manifest add l one >/dev/null; coracle manifest add l two >/dev/null
         coracle manifest annotate --annotation made=here --os-features f l $(coracle inspect --type image --format '{{.FromImageDigest}}' two) >/dev/null
         coracle manifest push -q --tls-verify=false --all --digestfile digest l docker://$R/list
         test $(cat digest) = $(digest list)
         raw list | jq -c '[.manifests[].platform]'
         skopeo copy -q --src-tls-verify=false --all docker://$R/list dir:all; raw list | cmp - all/manifest.json
         ls all | grep -c manifest.json
         for arch in amd64 arm64; do
             skopeo --override-arch $arch inspect --tls-verify=false --format '{{.Architecture}}' docker://$R/list
             podman pull -q --tls-verify=false --arch $arch $R/list >id; podman image inspect $(cat id) | architecture
             buildah from -q --pull-always --tls-verify=false --arch $arch $R/list >container
             buildah inspect --format '{{.OCIv1.Architecture}}' $(cat container); echo
         done",
    );
    let want = "[{\"architecture\":\"amd64\",\"os\":\"linux\"},{\"architecture\":\"arm64\",\"os\":\"linux\",\"os.features\":[\"f\"],\"variant\":\"v8\"}]";
    let (platforms, rest) = said.split_once('\n').expect("several lines");
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    assert_eq!(parsed(platforms), parsed(want));
    assert_eq!(rest, "3\namd64\namd64\namd64\narm64\narm64\narm64");
}

#[test]
fn we_take_what_the_others_put_into_a_list() {
    let Some((env, registry)) = world() else { return };
    let said = script(
        &env,
        &registry,
        "one=$(coracle inspect --type image --format '{{.FromImageID}}' one); two=$(coracle inspect --type image --format '{{.FromImageID}}' two)
         for tool in podman buildah; do
             command $tool manifest create $tool >/dev/null
             for image in one two; do command $tool manifest add $tool containers-storage:localhost/$image:latest >/dev/null; done
             command $tool manifest push -q --all --tls-verify=false $tool docker://$R/$tool
             coracle manifest rm $tool >/dev/null
         done
         coracle rmi -af >/dev/null
         for tool in podman buildah; do
             coracle manifest inspect --tls-verify=false docker://$R/$tool | jq -c '[.manifests[].platform.architecture]'
             coracle manifest inspect --tls-verify=false docker://$R/$tool | jq -S . >ours; raw $tool | jq -S . | cmp - ours
             test $(coracle pull -q --tls-verify=false --arch arm64 $R/$tool) = $two; coracle rmi -af >/dev/null
             test $(coracle pull -q --tls-verify=false $R/$tool) = $one
             coracle rmi -af >/dev/null
         done",
    );
    assert_eq!(said, "[\"amd64\",\"arm64\"]\n[\"amd64\",\"arm64\"]");
    env.assert_store_is_clean();
}

#[test]
fn a_list_keeps_its_images_on_the_way_from_one_repository_to_another() {
    let Some((env, registry)) = world() else { return };
    let said = script(
        &env,
        &registry,
        "coracle manifest create l one two >/dev/null; coracle manifest push -q --tls-verify=false l docker://$R/a
         coracle manifest rm l >/dev/null; coracle rmi -af >/dev/null
         coracle manifest create m >/dev/null; coracle manifest add --tls-verify=false --all m docker://$R/a >/dev/null
         coracle manifest push -q --tls-verify=false --all m docker://$R/b
         for name in a b; do raw $name | jq -c '[.manifests[] | [.digest, .size, .platform]]' >$name; done; cmp a b; jq length a
         coracle manifest create n >/dev/null; coracle manifest add --tls-verify=false n docker://$R/a >/dev/null
         coracle manifest add --tls-verify=false --arch arm64 n docker://$R/a@$(jq -r '.[1][0]' a) >/dev/null
         coracle manifest push -q --tls-verify=false --all n docker://$R/c; raw c | jq -c '[.manifests[].platform.architecture]'
         coracle manifest create --tls-verify=false --all o docker://$R/a >/dev/null; coracle manifest inspect o | jq '.manifests | length'
         skopeo copy -q --all --src-tls-verify=false --dest-tls-verify=false docker://$R/a docker://$R/d; test $(digest a) = $(digest d)
         podman pull -q --tls-verify=false --arch arm64 $R/b >id; podman image inspect $(cat id) | architecture
         # Without --all the images must be there.
         coracle manifest push -q --tls-verify=false --all=false m docker://$R/b:again; test $(digest b) = $(digest b:again)
         coracle images -q | wc -l",
    );
    assert_eq!(said, "2\n[\"amd64\",\"arm64\"]\n2\narm64\n3", "two lists and the third hold no images of their own");
}
