//! Any bytes as a table of a store: no panic; where we find records, serde finds as many, and the IDs agree.
#![no_main]

use std::path::Path;

use containers_storage::layers::Layer;
use containers_storage::table::Table;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(table) = Table::from_bytes(Path::new("layers.json"), data.to_vec()) else { return };
    for index in 0..table.len() {
        let _ = table.member::<String>(index, "parent");
        if let Ok(layer) = table.parse::<Layer>(index) {
            assert_eq!(table.id(index), Some(layer.id.as_str()));
        }
    }
});
