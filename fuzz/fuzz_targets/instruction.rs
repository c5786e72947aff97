//! Any text as the operand of `--change`: no panic.
#![no_main]

use coracle::dockerfile::instruction::parse_change;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = parse_change(text, &|name| (name == "A").then(|| "value".to_owned()));
});
