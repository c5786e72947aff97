//! Any bytes as a compressed stream, through each decoder: no panic; what is counted is what was read.
#![no_main]

use std::io::Read;

use containers_storage::archive::decompress::Decompressor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = data;
    let Ok(stream) = Decompressor::new(&mut input) else { return };
    let mut limited = stream.take(16 << 20);
    if std::io::copy(&mut limited, &mut std::io::sink()).is_ok()
        && let Ok(blob) = limited.into_inner().finish()
    {
        assert_eq!(blob.size, data.len() as u64);
    }
});
