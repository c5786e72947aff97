//! The same job by Debian's Buildah and by us: outputs, configs, histories and trees compared.

mod build;
mod copy;
mod digests;
mod formats;
#[path = "../harness/mod.rs"]
mod harness;
mod images;
mod isolation;
mod lists;
mod outputs;
mod registry_lists;
mod registry_scripts;
mod settings;
mod trust;
