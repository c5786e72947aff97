//! What a template of `inspect` may name: the Go names of the members, which differ from their JSON names, and the zero value of
//! a member that the document leaves out.
//!
//! The JSON document is the source; this file only knows names and kinds.

use serde_json::Value as Json;

use crate::template::{Field, Value};

/// What a member holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Truth,
    Number,
    /// Nanoseconds.
    Duration,
    /// A pointer to a number.
    OptionalNumber,
    Time,
    List,
    Map,
    /// A map whose values say nothing (Go's `struct{}`).
    Set,
    Struct(&'static [Member]),
    /// A struct whose members are in the same object of JSON (an embedded one of Go).
    Embedded(&'static [Member]),
    Structs(&'static [Member]),
}

/// Go name, JSON name, kind, and whether JSON leaves the zero value out.
type Member = (&'static str, &'static str, Kind, Zero);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zero {
    Written,
    Omitted,
}

use Kind::{Duration, Embedded, List, Map, Number, OptionalNumber, Set, Struct, Structs, Text, Time, Truth};
use Zero::{Omitted, Written};

const BUILDER: &[Member] = &[
    ("Type", "Type", Text, Written),
    ("FromImage", "FromImage", Text, Written),
    ("FromImageID", "FromImageID", Text, Written),
    ("FromImageDigest", "FromImageDigest", Text, Written),
    ("GroupAdd", "GroupAdd", List, Written),
    ("Config", "Config", Text, Written),
    ("Manifest", "Manifest", Text, Written),
    ("Container", "Container", Text, Written),
    ("ContainerID", "ContainerID", Text, Written),
    ("MountPoint", "MountPoint", Text, Written),
    ("ProcessLabel", "ProcessLabel", Text, Written),
    ("MountLabel", "MountLabel", Text, Written),
    ("ImageAnnotations", "ImageAnnotations", Map, Written),
    ("TopLayerAnnotations", "TopLayerAnnotations", Map, Written),
    ("ImageCreatedBy", "ImageCreatedBy", Text, Written),
    ("OCIv1", "OCIv1", Struct(OCI), Written),
    ("Docker", "Docker", Struct(DOCKER), Written),
    ("DefaultMountsFilePath", "DefaultMountsFilePath", Text, Written),
    ("Isolation", "Isolation", Text, Written),
    ("NamespaceOptions", "NamespaceOptions", Structs(NAMESPACE), Written),
    ("Capabilities", "Capabilities", List, Written),
    ("ConfigureNetwork", "ConfigureNetwork", Text, Written),
    ("CNIPluginPath", "CNIPluginPath", Text, Written),
    ("CNIConfigDir", "CNIConfigDir", Text, Written),
    ("IDMappingOptions", "IDMappingOptions", Struct(ID_MAPPING), Written),
    ("History", "History", Structs(HISTORY), Written),
    ("Devices", "Devices", List, Written),
    ("DeviceSpecs", "DeviceSpecs", List, Written),
    ("CDIConfigDir", "CDIConfigDir", Text, Written),
];

const NAMESPACE: &[Member] =
    &[("Name", "Name", Text, Written), ("Host", "Host", Truth, Written), ("Path", "Path", Text, Written)];

const ID_MAPPING: &[Member] = &[
    ("HostUIDMapping", "HostUIDMapping", Truth, Written),
    ("HostGIDMapping", "HostGIDMapping", Truth, Written),
    ("UIDMap", "UIDMap", Structs(ID_MAP), Written),
    ("GIDMap", "GIDMap", Structs(ID_MAP), Written),
    ("AutoUserNs", "AutoUserNs", Truth, Written),
    ("AutoUserNsOpts", "AutoUserNsOpts", Struct(AUTO_USER_NAMESPACE), Written),
];

const ID_MAP: &[Member] = &[
    ("ContainerID", "containerID", Number, Written),
    ("HostID", "hostID", Number, Written),
    ("Size", "size", Number, Written),
];

const AUTO_USER_NAMESPACE: &[Member] = &[
    ("Size", "Size", Number, Written),
    ("InitialSize", "InitialSize", Number, Written),
    ("PasswdFile", "PasswdFile", Text, Written),
    ("GroupFile", "GroupFile", Text, Written),
    ("AdditionalUIDMappings", "AdditionalUIDMappings", List, Written),
    ("AdditionalGIDMappings", "AdditionalGIDMappings", List, Written),
];

const OCI: &[Member] = &[
    ("Created", "created", Time, Omitted),
    ("Author", "author", Text, Omitted),
    ("Platform", "", Embedded(PLATFORM), Written),
    ("Config", "config", Struct(OCI_CONFIG), Omitted),
    ("RootFS", "rootfs", Struct(ROOTFS), Written),
    ("History", "history", Structs(HISTORY), Omitted),
];

const PLATFORM: &[Member] = &[
    ("Architecture", "architecture", Text, Written),
    ("OS", "os", Text, Written),
    ("OSVersion", "os.version", Text, Omitted),
    ("OSFeatures", "os.features", List, Omitted),
    ("Variant", "variant", Text, Omitted),
];

const OCI_CONFIG: &[Member] = &[
    ("User", "User", Text, Omitted),
    ("ExposedPorts", "ExposedPorts", Set, Omitted),
    ("Env", "Env", List, Omitted),
    ("Entrypoint", "Entrypoint", List, Omitted),
    ("Cmd", "Cmd", List, Omitted),
    ("Volumes", "Volumes", Set, Omitted),
    ("WorkingDir", "WorkingDir", Text, Omitted),
    ("Labels", "Labels", Map, Omitted),
    ("StopSignal", "StopSignal", Text, Omitted),
    ("ArgsEscaped", "ArgsEscaped", Truth, Omitted),
];

const ROOTFS: &[Member] = &[("Type", "type", Text, Written), ("DiffIDs", "diff_ids", List, Written)];

const HISTORY: &[Member] = &[
    ("Created", "created", Time, Omitted),
    ("CreatedBy", "created_by", Text, Omitted),
    ("Author", "author", Text, Omitted),
    ("Comment", "comment", Text, Omitted),
    ("EmptyLayer", "empty_layer", Truth, Omitted),
];

const DOCKER: &[Member] = &[
    ("V1Image", "", Embedded(DOCKER_V1), Written),
    ("Parent", "parent", Text, Omitted),
    ("RootFS", "rootfs", Struct(ROOTFS), Omitted),
    ("History", "history", Structs(HISTORY), Omitted),
    ("OSVersion", "os.version", Text, Omitted),
    ("OSFeatures", "os.features", List, Omitted),
];

const DOCKER_V1: &[Member] = &[
    ("ID", "id", Text, Omitted),
    ("Parent", "parent", Text, Omitted),
    ("Comment", "comment", Text, Omitted),
    ("Created", "created", Time, Written),
    ("Container", "container", Text, Omitted),
    ("ContainerConfig", "container_config", Struct(DOCKER_CONFIG), Omitted),
    ("DockerVersion", "docker_version", Text, Omitted),
    ("Author", "author", Text, Omitted),
    ("Config", "config", Struct(DOCKER_CONFIG), Omitted),
    ("Architecture", "architecture", Text, Omitted),
    ("Variant", "variant", Text, Omitted),
    ("OS", "os", Text, Omitted),
    ("Size", "Size", Number, Omitted),
];

const DOCKER_CONFIG: &[Member] = &[
    ("Hostname", "Hostname", Text, Written),
    ("Domainname", "Domainname", Text, Written),
    ("User", "User", Text, Written),
    ("AttachStdin", "AttachStdin", Truth, Written),
    ("AttachStdout", "AttachStdout", Truth, Written),
    ("AttachStderr", "AttachStderr", Truth, Written),
    ("ExposedPorts", "ExposedPorts", Set, Omitted),
    ("Tty", "Tty", Truth, Written),
    ("OpenStdin", "OpenStdin", Truth, Written),
    ("StdinOnce", "StdinOnce", Truth, Written),
    ("Env", "Env", List, Written),
    ("Cmd", "Cmd", List, Written),
    ("Healthcheck", "Healthcheck", Struct(HEALTHCHECK), Omitted),
    ("ArgsEscaped", "ArgsEscaped", Truth, Omitted),
    ("Image", "Image", Text, Written),
    ("Volumes", "Volumes", Set, Written),
    ("WorkingDir", "WorkingDir", Text, Written),
    ("Entrypoint", "Entrypoint", List, Written),
    ("NetworkDisabled", "NetworkDisabled", Truth, Omitted),
    ("MacAddress", "MacAddress", Text, Omitted),
    ("OnBuild", "OnBuild", List, Written),
    ("Labels", "Labels", Map, Written),
    ("StopSignal", "StopSignal", Text, Omitted),
    ("StopTimeout", "StopTimeout", OptionalNumber, Omitted),
    ("Shell", "Shell", List, Omitted),
];

const HEALTHCHECK: &[Member] = &[
    ("Test", "Test", List, Omitted),
    ("Interval", "Interval", Duration, Omitted),
    ("Timeout", "Timeout", Duration, Omitted),
    ("StartPeriod", "StartPeriod", Duration, Omitted),
    ("StartInterval", "StartInterval", Duration, Omitted),
    ("Retries", "Retries", Number, Omitted),
];

/// The document of `inspect` as a template sees it.
pub(super) fn value(document: &Json) -> Value {
    structure(BUILDER, document)
}

fn structure(members: &'static [Member], json: &Json) -> Value {
    Value::Struct(fields(members, json))
}

fn fields(members: &'static [Member], json: &Json) -> Vec<Field> {
    let field = |(name, json_name, kind, zero): &Member| {
        if let Embedded(members) = kind {
            return Field::embedded(name, fields(members, json));
        }
        let field = Field::tagged(name, json_name, member(*kind, json.get(json_name).unwrap_or(&Json::Null)));
        if *zero == Omitted { field.omit_empty() } else { field }
    };
    members.iter().map(field).collect()
}

fn member(kind: Kind, json: &Json) -> Value {
    match kind {
        Text => Value::Str(json.as_str().map_or_else(|| plain(json), str::to_owned)),
        Truth => Value::Bool(json.as_bool().unwrap_or_default()),
        Number => Value::Int(json.as_i64().unwrap_or_default()),
        Duration => Value::Duration(json.as_i64().unwrap_or_default()),
        OptionalNumber => json.as_i64().map_or(Value::Null, Value::Int),
        Time => json.as_str().and_then(|text| text.parse().ok()).map_or(Value::Null, |at: jiff::Timestamp| Value::from(at)),
        List | Structs(_) if json.is_null() => Value::NilList,
        Map if json.is_null() => Value::Map(Default::default()),
        Set => {
            let members = json.as_object().into_iter().flatten();
            Value::Map(members.map(|(key, _)| (key.clone(), Value::Struct(Vec::new()))).collect())
        }
        List | Map => Value::from_json(json),
        Struct(_) if json.is_null() => Value::Null,
        Struct(members) | Embedded(members) => structure(members, json),
        Structs(members) => Value::List(json.as_array().into_iter().flatten().map(|item| structure(members, item)).collect()),
    }
}

/// A member that Go holds as a named number or text.
fn plain(json: &Json) -> String {
    if json.is_null() { String::new() } else { json.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
        let Value::Struct(fields) = value else { panic!("{value:?} is no struct") };
        &fields.iter().find(|field| field.name == name).expect("a field").value
    }

    #[test]
    fn members_have_their_go_names_and_zero_values() {
        let json = serde_json::json!({"OCIv1": {"os": "linux", "config": {"Env": ["A=b"], "Volumes": {"/v": {}}}, "rootfs": {"type": "layers", "diff_ids": []}}});
        let value = value(&json);
        let oci = field(&value, "OCIv1");
        assert_eq!(field(field(oci, "Platform"), "OS"), &Value::Str("linux".to_owned()));
        let said = |text: &str| crate::template::Template::parse("test", text).unwrap().render(&value).unwrap();
        assert_eq!(said("{{.OCIv1.OS}} {{.OCIv1.Platform}}"), "linux { linux  [] }");
        assert_eq!(said("{{.OCIv1}}"), "{<nil>  { linux  [] } { map[] [A=b] [] [] map[/v:{}]  map[]  false} {layers []} []}");
        assert_eq!(said("{{json .OCIv1.RootFS}}"), r#"{"type":"layers","diff_ids":[]}"#);
        assert!(said("{{json .OCIv1}}").starts_with(r#"{"architecture":"","os":"linux","config":{"#));
        assert_eq!(field(field(oci, "Config"), "Env"), &Value::from(vec!["A=b"]));
        let volumes = Value::Map([("/v".to_owned(), Value::Struct(Vec::new()))].into());
        assert_eq!(field(field(oci, "Config"), "Volumes"), &volumes);
        assert_eq!(field(field(oci, "Config"), "User"), &Value::Str(String::new()));
        assert_eq!(field(&value, "FromImageID"), &Value::Str(String::new()));
    }
}
