//! Any text as the operand of `--change`: no panic.
#![no_main]

use coracle::dockerfile::parse_changes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for step in parse_changes(text).into_iter().flatten() {
        let _ = step.instruction(&|name| (name == "A").then(|| "value".to_owned()));
    }
});
