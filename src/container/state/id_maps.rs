//! `IDMappingOptions` of `buildah.json`: what Buildah keeps of a container's id maps. The record in the store is what counts.

use containers_storage::id_map::{IdMap, IdRange};
use serde::Serialize;

use crate::run::namespaces::IdMaps;

/// The member, as Buildah writes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IdMappingOptions {
    #[serde(rename = "HostUIDMapping")]
    host_uid_mapping: bool,
    #[serde(rename = "HostGIDMapping")]
    host_gid_mapping: bool,
    #[serde(rename = "UIDMap")]
    uid_map: Vec<Entry>,
    #[serde(rename = "GIDMap")]
    gid_map: Vec<Entry>,
    auto_user_ns: bool,
    auto_user_ns_opts: AutoUserNsOptions,
}

/// One range, as the runtime specification spells it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "containerID")]
    container_id: u32,
    #[serde(rename = "hostID")]
    host_id: u32,
    size: u32,
}

/// Members that mean nothing once the ids are chosen, but which Buildah shows.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AutoUserNsOptions {
    size: u32,
    initial_size: u32,
    passwd_file: &'static str,
    group_file: &'static str,
    #[serde(rename = "AdditionalUIDMappings")]
    additional_uid_mappings: Option<()>,
    #[serde(rename = "AdditionalGIDMappings")]
    additional_gid_mappings: Option<()>,
}

impl IdMappingOptions {
    /// Of a container with these maps; both empty for one whose owners are not shifted.
    pub(super) fn of(maps: &IdMaps) -> Self {
        Self {
            host_uid_mapping: maps.uid.0.is_empty(),
            host_gid_mapping: maps.gid.0.is_empty(),
            uid_map: entries(&maps.uid),
            gid_map: entries(&maps.gid),
            auto_user_ns: false,
            auto_user_ns_opts: AutoUserNsOptions::default(),
        }
    }
}

fn entries(map: &IdMap) -> Vec<Entry> {
    let entry = |range: &IdRange| Entry { container_id: range.container_id, host_id: range.host_id, size: range.size };
    map.0.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_reads_as_buildahs() {
        let map = IdMap(vec![IdRange { container_id: 0, host_id: 1, size: 100 }]);
        let text = serde_json::to_string(&IdMappingOptions::of(&IdMaps { uid: map.clone(), gid: map })).unwrap();
        let maps = r#""UIDMap":[{"containerID":0,"hostID":1,"size":100}],"GIDMap":[{"containerID":0,"hostID":1,"size":100}]"#;
        assert!(
            text.starts_with(&format!(r#"{{"HostUIDMapping":false,"HostGIDMapping":false,{maps},"AutoUserNs":false,"#)),
            "{text}"
        );
        let none = serde_json::to_string(&IdMappingOptions::of(&IdMaps::default())).unwrap();
        assert!(none.starts_with(r#"{"HostUIDMapping":true,"HostGIDMapping":true,"UIDMap":[],"GIDMap":[],"#), "{none}");
    }
}
