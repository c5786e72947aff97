//! Any text as the operand of `--change`: no panic.
#![no_main]

use coracle::dockerfile::change_lines;
use coracle::dockerfile::instruction::parse_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for line in change_lines(text).into_iter().flatten() {
        let _ = parse_line(&line, &|name| (name == "A").then(|| "value".to_owned()));
    }
});
