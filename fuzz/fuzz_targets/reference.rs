//! Any text as an image name: no panic, and a name that is accepted parses to itself.
#![no_main]

use coracle::image::reference::{Reference, parse_destination, parse_operand};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = parse_destination(text);
    let _ = parse_operand(text);
    for parsed in [Reference::parse_qualified(text), Reference::for_new_image(text)].into_iter().flatten() {
        let again = Reference::parse_qualified(&parsed.to_string());
        assert_eq!(again.ok().map(|again| again.to_string()), Some(parsed.to_string()));
    }
});
