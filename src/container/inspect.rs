//! What `inspect` shows of a working container or of an image, member by member in Buildah's order.

use containers_storage::store::Store;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::find_image::{self, find_one};
use super::state::{self, Base, Isolation, Members, NetworkPolicy, RunEnvironment, State};
use super::{WorkingContainer, from, import, mount};
use crate::conf::{Policy, Registries};
use crate::image::manifest::index::Platform;
use crate::image::{Draft, Format, ImageConfig, Location, Reference, config};
use crate::transport::{self, Means, copy};

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// The image could not be found.
    #[error("{0}")]
    Image(#[from] find_image::Error),
    /// The image could not be read.
    #[error("{0}")]
    ReadImage(#[from] from::Error),
    /// The registry does not have the image, or does not give it.
    #[error(transparent)]
    Registry(#[from] transport::Error),
    /// The config of an image at a registry is none.
    #[error("the config of {name:?}")]
    Config {
        /// The image.
        name: String,
        /// What is wrong.
        source: config::Error,
    },
    /// A document of the container or image is damaged.
    #[error("{name:?} is damaged")]
    Damaged {
        /// The container or image.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// The document, in Buildah's member order; nested objects keep the order they are stored in.
#[derive(Debug, Clone)]
pub struct Report {
    members: Vec<(&'static str, Box<RawValue>)>,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, &Ordered(value))?;
        }
        map.end()
    }
}

/// A stored value that is written with the serialiser's own white space, but with the members of objects in their stored order.
struct Ordered<'a>(&'a RawValue);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.get();
        // A raw value has no blanks around it, so the first byte tells the kind.
        if text.starts_with('{') {
            let members = Members::parse(text.as_bytes()).map_err(serde::ser::Error::custom)?;
            let mut map = serializer.serialize_map(None)?;
            for (name, value) in members.iter() {
                map.serialize_entry(name, &Ordered(value))?;
            }
            return map.end();
        }
        if text.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
            let mut list = serializer.serialize_seq(Some(items.len()))?;
            for item in items {
                list.serialize_element(&Ordered(item))?;
            }
            return list.end();
        }
        self.0.serialize(serializer)
    }
}

/// What is known of the working container `name`.
pub fn container(store: &Store, name: &str) -> Result<Report, Error> {
    let container = WorkingContainer::open(store, name)?;
    let state = container.state();
    let id = container.id().to_string();
    report(state, &Subject::Container { id: &id, mount_point: &mount_point(store, &container) })
        .map_err(|source| Error::Damaged { name: name.to_owned(), source })
}

/// What is known of the image `name`, in the same form.
pub fn image(store: &Store, registries: &Registries, name: &str) -> Result<Report, Error> {
    let found = find_one(store, registries, name, &Platform::of_this_machine())?;
    let (mut base, config) = from::read_base(store, &found)?;
    // An image has the first of its names here, whichever it was found by.
    base.name = found.image.names.first().unwrap_or(&base.id).clone();
    image_report(&base, config).map_err(|source| Error::Damaged { name: name.to_owned(), source })
}

/// The same of an image at a registry, which the policy must let in. Nothing of it is kept.
pub fn at_registry(reference: &Reference, means: Means<'_>, policy: &Policy) -> Result<Report, Error> {
    let source = transport::open_source(&Location::Registry(reference.clone()), means)?;
    copy::require_policy(source.as_ref(), policy)?;
    let (manifest, config) = copy::read_image(source.as_ref(), &Platform::of_this_machine())?;
    let instance = (source.manifest(None)?.bytes != manifest.bytes()).then(|| manifest.digest());
    copy::require_image(source.as_ref(), policy, manifest.bytes(), instance.as_ref())?;
    let parsed = ImageConfig::parse(&config).map_err(|source| Error::Config { name: reference.to_string(), source })?;
    let base = Base {
        name: reference.to_string(),
        id: manifest.config.digest.hex().to_owned(),
        digest: manifest.digest().to_string(),
        config,
        manifest: manifest.bytes().to_vec(),
        top_layer: String::new(),
    };
    image_report(&base, parsed).map_err(|source| Error::Damaged { name: base.name.clone(), source })
}

fn image_report(base: &Base, config: ImageConfig) -> serde_json::Result<Report> {
    // A container of Docker's format would be given a host name, an image is not.
    let mut draft = from::draft(Format::Oci, base, config);
    // The base annotations describe what a new container would be made from; this is about the image itself.
    draft.annotations = stored_annotations(base);
    let state = State::new("", "", base, draft, &image_environment());
    report(&state, &Subject::Image(stored_format(base)))
}

fn stored_format(base: &Base) -> Format {
    match crate::image::manifest::Document::parse(&base.manifest, None) {
        Ok(crate::image::manifest::Document::Image(manifest)) => manifest.format,
        _ => Format::Oci,
    }
}

fn stored_annotations(base: &Base) -> std::collections::BTreeMap<String, String> {
    match crate::image::manifest::Document::parse(&base.manifest, None) {
        Ok(crate::image::manifest::Document::Image(manifest)) => manifest.annotations,
        _ => std::collections::BTreeMap::new(),
    }
}

/// What Buildah shows for an image, which nobody has given an environment yet.
fn image_environment() -> RunEnvironment {
    RunEnvironment { isolation: Isolation::Oci, namespaces: import::default_namespaces(), ..RunEnvironment::default() }
}

fn mount_point(store: &Store, container: &WorkingContainer) -> String {
    // What the state file says may be a mount of a namespace that is gone: only one that can be seen is shown.
    match mount::visible(store, container.layer()) {
        Ok(Some(path)) => path.to_string_lossy().into_owned(),
        _ => String::new(),
    }
}

/// What a report is about.
enum Subject<'a> {
    /// A container, and where it is mounted.
    Container { id: &'a str, mount_point: &'a str },
    /// An image that is stored in this format.
    Image(Format),
}

fn report(state: &State, subject: &Subject<'_>) -> serde_json::Result<Report> {
    let base = state.base()?;
    let environment = state.environment()?;
    let kept = state.members();
    let raw = |key: &str| kept.raw(key).map_or_else(|| to_raw_value(&()), |raw| RawValue::from_string(raw.get().to_owned()));
    // Of an image nobody has said what its containers may do: Go's nil, and not an empty list.
    let said = |key: &str| match subject {
        Subject::Container { .. } => raw(key),
        Subject::Image(_) => to_raw_value(&()),
    };
    let (id, mount_point) = match *subject {
        Subject::Container { id, mount_point } => (id, mount_point),
        Subject::Image(_) => ("", ""),
    };
    let draft = &state.draft;
    let members = vec![
        ("Type", to_raw_value(state::TYPE)?),
        ("FromImage", to_raw_value(&base.name)?),
        ("FromImageID", to_raw_value(&base.id)?),
        ("FromImageDigest", to_raw_value(&base.digest)?),
        ("GroupAdd", raw("GroupAdd")?),
        ("Config", to_raw_value(&String::from_utf8_lossy(&base.config))?),
        ("Manifest", to_raw_value(&String::from_utf8_lossy(&base.manifest))?),
        ("Container", to_raw_value(&state.name)?),
        ("ContainerID", to_raw_value(id)?),
        ("MountPoint", to_raw_value(mount_point)?),
        ("ProcessLabel", to_raw_value(&kept.get::<String>("process-label")?)?),
        ("MountLabel", to_raw_value(&kept.get::<String>("mount-label")?)?),
        ("ImageAnnotations", to_raw_value(&draft.annotations)?),
        ("TopLayerAnnotations", to_raw_value(&draft.top_layer_annotations)?),
        ("ImageCreatedBy", to_raw_value(&draft.created_by)?),
        ("OCIv1", document(draft.config.to_oci())?),
        ("Docker", document(docker(draft, subject)?)?),
        ("DefaultMountsFilePath", to_raw_value(&kept.get::<String>("defaultMountsFilePath")?)?),
        ("Isolation", to_raw_value(isolation(environment.isolation))?),
        ("NamespaceOptions", raw("NamespaceOptions")?),
        ("Capabilities", said("Capabilities")?),
        ("ConfigureNetwork", to_raw_value(network(environment.network_policy))?),
        ("CNIPluginPath", to_raw_value(&kept.get::<String>("CNIPluginPath")?)?),
        ("CNIConfigDir", to_raw_value(&kept.get::<String>("CNIConfigDir")?)?),
        ("IDMappingOptions", raw("IDMappingOptions")?),
        ("History", history(state)?),
        ("Devices", said("Devices")?),
        ("DeviceSpecs", said("DeviceSpecs")?),
        ("CDIConfigDir", to_raw_value(&kept.get::<String>("CDIConfigDir")?)?),
    ];
    Ok(Report { members })
}

fn docker(draft: &Draft, subject: &Subject<'_>) -> serde_json::Result<Vec<u8>> {
    let mut config = draft.config.clone();
    config.docker.container_config = Some(Box::new(config.config.clone()));
    let bytes = config.to_docker();
    match subject {
        // The OCI's format has no triggers: Go's nil again.
        Subject::Image(Format::Oci) if config.config.on_build.is_empty() => without_triggers(&bytes),
        _ => Ok(bytes),
    }
}

fn without_triggers(docker: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut image = Members::parse(docker)?;
    for member in ["config", "container_config"] {
        let Some(settings) = image.raw(member) else { continue };
        let mut settings = Members::parse(settings.get().as_bytes())?;
        settings.set("OnBuild", &())?;
        image.set(member, &settings)?;
    }
    image.to_bytes()
}

fn document(bytes: Vec<u8>) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(bytes).map_err(serde::ser::Error::custom)?)
}

/// The history as a commit would write it, without the entry of its own layer.
fn history(state: &State) -> serde_json::Result<Box<RawValue>> {
    let all = state.draft.config.history.iter().chain(&state.history_before).chain(&state.history_after).cloned();
    let carrier = crate::image::ImageConfig { history: all.collect(), ..Default::default() };
    let members = Members::parse(&carrier.to_oci())?;
    members.raw("history").map_or_else(|| to_raw_value(&()), |raw| RawValue::from_string(raw.get().to_owned()))
}

fn isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Default | Isolation::Oci => "oci",
        Isolation::Chroot => "chroot",
        Isolation::Rootless => "rootless",
    }
}

fn network(policy: NetworkPolicy) -> &'static str {
    match policy {
        NetworkPolicy::Default => "NetworkDefault",
        NetworkPolicy::Disabled => "NetworkDisabled",
        NetworkPolicy::Enabled => "NetworkEnabled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_at_every_depth() {
        let stored = RawValue::from_string(r#"{"z":1,"a":{"y":[{"c":1,"b":2}],"x":null}}"#.to_owned()).unwrap();
        let report = Report { members: vec![("Type", to_raw_value("t").unwrap()), ("OCIv1", stored)] };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(text, r#"{"Type":"t","OCIv1":{"z":1,"a":{"y":[{"c":1,"b":2}],"x":null}}}"#);
        assert!(serde_json::to_string_pretty(&report).unwrap().lines().count() > 8);
    }
}
