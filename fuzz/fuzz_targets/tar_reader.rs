//! Any bytes as a tar: no panic, no content beyond the input, no path that leaves the root.
#![no_main]

use containers_storage::archive::reader::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    let mut given = 0;
    while let Ok(Some(entry)) = reader.next_entry() {
        assert!(entry.path.split(|&byte| byte == b'/').all(|component| component != b".."), "{entry:?}");
        assert!(!entry.path.starts_with(b"/") && !entry.path.contains(&0), "{entry:?}");
        let mut end = 0;
        let read = reader.content(&mut |offset, piece| {
            assert!(offset >= end && offset + piece.len() as u64 <= entry.size);
            end = offset + piece.len() as u64;
            given += piece.len();
            Ok(())
        });
        if read.is_err() {
            break;
        }
    }
    assert!(given <= data.len());
});
