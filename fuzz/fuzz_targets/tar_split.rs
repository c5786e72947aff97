//! Any lines as a tar-split: no panic, and no more output than the lines hold and the files give.
#![no_main]

use std::io::Write;

use containers_storage::tar_split;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    if gzip.write_all(data).is_err() {
        return;
    }
    let Ok(split) = gzip.finish() else { return };
    let open = &mut |_: &[u8]| Err(std::io::ErrorKind::NotFound.into());
    let mut tar = Vec::new();
    if let Ok(assembled) = tar_split::assemble(&mut &split[..], open, &mut tar) {
        assert_eq!(assembled.size, tar.len() as u64);
        assert!(tar.len() <= data.len());
    }
});
