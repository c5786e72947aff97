//! Any bytes as a manifest or index: no panic, the bytes are kept, and a manifest with the same layers is the same manifest.
#![no_main]

use coracle::image::manifest::Document;
use coracle::image::manifest::index::{Index, Platform};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Document::parse(bytes, None) {
        Ok(Document::Image(manifest)) => {
            assert_eq!(manifest.bytes(), bytes);
            assert!(manifest.with_layers(&manifest.layers).is_ok_and(|same| same.bytes() == bytes));
            let mut layers = manifest.layers.clone();
            if let Some(layer) = layers.first_mut() {
                layer.size = layer.size.wrapping_add(1);
                // Where a media type is missing in the document, the new one may be found ambiguous; never is it another image.
                if let Ok(changed) = manifest.with_layers(&layers) {
                    assert_eq!(changed.layers.len(), manifest.layers.len());
                }
            }
        }
        Ok(Document::Index(_)) => {
            if let Ok(index) = Index::parse(bytes, None) {
                assert_eq!(index.bytes(), bytes);
                let _ = index.choose(&Platform::of_this_machine());
            }
        }
        Err(_) => {}
    }
});
