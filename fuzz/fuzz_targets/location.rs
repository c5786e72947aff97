//! Any text as a place: no panic, and what is printed is read as the same place.
#![no_main]

use coracle::image::Location;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(Some(location)) = Location::parse(text) {
        assert_eq!(Location::parse(&location.to_string()), Ok(Some(location)));
    }
});
