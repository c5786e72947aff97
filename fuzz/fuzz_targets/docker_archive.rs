//! Any bytes as `manifest.json` and config of a Docker archive (a NUL between them): no panic, and the manifest that is made up for
//! the image has as many layers as its config says.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use containers_storage::conf::Conf;
use containers_storage::store::Store;
use coracle::conf::{Auth, Registries};
use coracle::image::manifest::Document;
use coracle::image::{ImageConfig, Location};
use coracle::transport::registry::Network;
use coracle::transport::{Means, Silence, open_source};
use libfuzzer_sys::fuzz_target;

// Nothing is asked of either: an archive is a file of this machine.
static REGISTRIES: LazyLock<Registries> = LazyLock::new(Registries::default);
static NETWORK: LazyLock<Network> =
    LazyLock::new(|| Network::new(Default::default(), Auth::new(Default::default(), None, None), Default::default()));

static PLACE: LazyLock<PathBuf> = LazyLock::new(|| std::env::temp_dir().join(format!("coracle-fuzz-{}", std::process::id())));

thread_local! {
    static STORE: Store = Store::open(Conf::at(&PLACE.join("root"), &PLACE.join("run"), true)).expect("a store");
}

fn member(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes).expect("a member");
}

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (manifest, config) = bytes.split_at(at);
    let config = config.strip_prefix(b"\0").unwrap_or(config);
    let mut archive = tar::Builder::new(Vec::new());
    member(&mut archive, "manifest.json", manifest);
    member(&mut archive, "c.json", config);
    member(&mut archive, "l.tar", &[0; 1024]);
    let file = PLACE.join("archive.tar");
    std::fs::create_dir_all(&*PLACE).expect("a temporary directory");
    std::fs::write(&file, archive.into_inner().expect("an archive")).expect("a temporary file");
    for place in ["", ":@0", ":@1", ":name:tag"] {
        let location = Location::parse(&format!("docker-archive:{}{place}", file.display()));
        let location = location.expect("a place").expect("of a transport");
        STORE.with(|store| {
            let (temp_dir, registries, network) = (Path::new("/var/tmp"), &*REGISTRIES, &*NETWORK);
            let means = Means { store, temp_dir, registries, network, silence: Silence::Told };
            let Ok(source) = open_source(&location, means) else { return };
            let made = source.manifest(None).expect("a manifest is made up");
            let Ok(Document::Image(made)) = Document::parse(&made.bytes, made.media_type.as_deref()) else {
                panic!("{made:?}")
            };
            let config = ImageConfig::parse(config).expect("it was read before");
            assert_eq!(made.layers.len(), config.diff_ids.len());
        });
    }
});
