//! The verbs through the binary, one module each: stdout, stderr and status as a user sees them.

mod bad_input;
mod commit;
mod completion;
mod config;
mod containers;
mod copy;
mod debian;
mod from;
#[path = "../harness/mod.rs"]
mod harness;
mod id_maps;
mod image_store;
mod images;
mod isolation;
mod linked;
mod man_examples;
mod manifest;
mod mounting;
mod network;
mod no_namespace;
mod policy;
mod pull;
mod push;
mod reflink;
mod registry;
mod registry_faults;
mod run;
mod settings;
mod short_names;
mod smoke;
mod storage_options;
mod stores;
mod trust;
mod usage;
mod version;
mod vfs;
