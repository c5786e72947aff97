//! Any bytes as an image's config: no panic, and what is written of it, in either form, is read as the same config again.
#![no_main]

use coracle::image::ImageConfig;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = ImageConfig::parse(bytes) else { return };
    for write in [ImageConfig::to_oci, ImageConfig::to_docker] {
        let written = write(&config);
        let again = ImageConfig::parse(&written).expect("what we write is a config");
        // In members that nobody knows there may be fractions, which serde_json reads to the last digit but one.
        if !serde_json::from_slice(&written).is_ok_and(|value: Value| has_fraction(&value)) {
            assert_eq!(write(&again), written, "{}", String::from_utf8_lossy(&written));
        }
    }
});

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        _ => false,
    }
}
