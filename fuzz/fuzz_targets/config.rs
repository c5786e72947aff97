//! Any bytes as an image's config: no panic, and what is written of it, in either form, is read as the same config again.
#![no_main]

use coracle::image::ImageConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = ImageConfig::parse(bytes) else { return };
    for write in [ImageConfig::to_oci, ImageConfig::to_docker] {
        let written = write(&config);
        let again = ImageConfig::parse(&written).expect("what we write is a config");
        assert_eq!(write(&again), written, "{}", String::from_utf8_lossy(&written));
    }
});
