//! Any text as an ignore file, and any as a path: no panic, and a list of patterns decides as it did when it was read.
#![no_main]

use coracle::copier::ignore::Ignore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (patterns, path) = text.split_once('\0').unwrap_or((text, "a/b"));
    let Ok(ignore) = Ignore::parse_file(patterns) else { return };
    let excluded = ignore.excludes(path);
    assert!(!excluded || !ignore.is_empty());
    // A list that ends with a pattern for everything excludes everything.
    let Ok(all) = Ignore::parse_file(&format!("{patterns}\n**")) else { return };
    assert!(all.excludes(path) || path.is_empty(), "{path:?}");
});
