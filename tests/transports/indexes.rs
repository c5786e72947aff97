//! Indexes: the right image of several, and all of them.

use containers_storage::Digest;
use coracle::image::Location;
use coracle::transport::{Instances, Platform};

use crate::harness::skip_without;
use crate::world::World;

/// `oci:multi` with an index `all` made by hand: this machine's image, one for another one, and an index inside of it.
fn multi(world: &World) -> (Location, Digest) {
    let (_, base) = world.base();
    let other = world.copy(&world.at("tarball:2.tar"), &world.at("oci:base:other")).unwrap();
    std::fs::rename(world.path("base"), world.path("multi")).unwrap();
    let architecture = Platform::of_this_machine().architecture;
    let entry = |digest: &Digest, size: u64, architecture: &str, variant: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},"annotations":{{"kept":"yes"}},"platform":{{"architecture":"{architecture}","os":"linux"{variant}}}}}"#
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}],"future":[1, 2]}}"#,
        entry(&other.digest, other.size, "riscv64", r#","variant":"x1""#),
        entry(&base.digest, base.size, &architecture, ""),
    );
    put_index(world, &index, "all");
    (world.at("oci:multi:all"), base.digest)
}

fn put_index(world: &World, index: &str, name: &str) {
    let digest = Digest::of(index.as_bytes());
    std::fs::write(world.path("multi/blobs/sha256").join(digest.hex()), index).unwrap();
    let path = world.path("multi/index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let entry = format!(
        r#""manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{digest}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}},"#,
        index.len()
    );
    std::fs::write(&path, text.replacen(r#""manifests":["#, &entry, 1)).unwrap();
}

#[test]
fn the_image_for_this_machine_is_copied_also_out_of_a_nested_index() {
    let world = World::new();
    let (all, digest) = multi(&world);
    assert_eq!(world.copy(&all, &Location::stored("x")).unwrap().digest, digest);
    let inner = world.manifest(&all);
    let platform = format!(r#"{{"architecture":"{}","os":"linux"}}"#, Platform::of_this_machine().architecture);
    let nested = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{}","size":{},"platform":{platform}}}]}}"#,
        Digest::of(&inner),
        inner.len()
    );
    put_index(&world, &nested, "nested");
    assert_eq!(world.copy(&world.at("oci:multi:nested"), &world.at("dir:n")).unwrap().digest, digest);
    let wanted = Platform { os: "linux".into(), architecture: "s390x".into(), variant: String::new() };
    let none = world.copy_with(&all, &world.at("dir:d"), |options| options.instances = Instances::Platform(wanted));
    let error = none.unwrap_err();
    assert!(error.contains("no image found in manifest list for architecture \"s390x\""), "{error}");
}

#[test]
fn all_images_of_an_index_are_copied_with_its_very_bytes() {
    let world = World::new();
    let (all, _) = multi(&world);
    let bytes = world.manifest(&all);
    let every = |options: &mut coracle::transport::CopyOptions<'_>| options.instances = Instances::All;
    for (from, to) in [("oci:multi:all", "dir:d"), ("dir:d", "oci-archive:a.tar:x"), ("oci-archive:a.tar", "oci:o")] {
        let outcome = world.copy_with(&world.at(from), &world.at(to), every).unwrap();
        assert_eq!((outcome.digest, world.manifest(&world.at(to))), (Digest::of(&bytes), bytes.clone()), "{to}");
    }
    let lines = world.lines.lock().unwrap().join("\n");
    assert!(lines.contains("Copying 2 of 2 images in list") && lines.contains("(2/2)"), "{lines}");
    let store = world.copy_with(&all, &Location::stored("x"), every).unwrap_err();
    assert!(store.contains("one image only"), "{store}");
    if !skip_without(&["skopeo"]) {
        world.skopeo(&["copy", "-q", "--all", "oci:%/o", "dir:%/check"]);
        assert_eq!(world.skopeo(&["inspect", "--raw", "dir:%/check"]), bytes);
    }
}
