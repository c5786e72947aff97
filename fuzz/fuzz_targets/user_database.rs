//! Any bytes as /etc/passwd and /etc/group of an image: no panic; a number is itself, and what is no user is an error, never 0.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use containers_storage::Root;
use coracle::run::users;
use libfuzzer_sys::fuzz_target;

static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = std::env::temp_dir().join(format!("coracle-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(place.join("etc")).expect("a temporary directory");
    place
});

fuzz_target!(|bytes: &[u8]| {
    for name in ["etc/passwd", "etc/group"] {
        std::fs::write(PLACE.join(name), bytes).expect("a temporary file");
    }
    let root = Root::open(&PLACE).expect("the root");
    for user in ["", "1000", "user", "user:group", "1000:1000", ":5"] {
        let _ = users::resolve(&root, user, &[]).map(|resolved| {
            assert!(!resolved.home.contains(char::is_control));
            assert!(!user.starts_with("1000") || resolved.uid == 1000);
        });
    }
    for user in ["-1", "4294967296", "+0", " 0", "0x0"] {
        // Such a word may be a name of the image, but is no number.
        let named = bytes.starts_with(user.as_bytes()) || bytes.windows(user.len()).any(|word| word == user.as_bytes());
        assert!(named || users::resolve(&root, user, &[]).is_err(), "{user:?}");
    }
});
