//! Any text as a word, before the first NUL, and any as a value, behind it: no panic, bounded results, and a word that is refused
//! whatever variables stand for is refused with each value.
#![no_main]

use coracle::dockerfile::expand::{MAX_VALUE, check, check_body, expand, expand_body};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (word, value) = text.split_once('\0').unwrap_or((text, "value"));
    let lookup = |name: &str| (name != "N").then(|| value.to_owned());
    for escape in ['\\', '`'] {
        let found = expand(word, escape, &lookup);
        assert!(check(word, escape).is_ok() || found.is_err(), "{word:?}");
        assert!(found.is_err() || found.is_ok_and(|found| found.len() <= MAX_VALUE));
        let body = expand_body(word, escape, &lookup);
        assert!(check_body(word, escape).is_ok() || body.is_err(), "{word:?}");
    }
});
