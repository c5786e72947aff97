//! The verbs on a working container: each file holds one verb's `Options`, `Outcome`, `Error` and one function.
//!
//! A working container is a container record of the store, its writable layer, and `userdata/buildah.json`, which carries the
//! image config that the next commit writes (`state`). `Mounted` is the only way to its files. The verbs know no command line,
//! print nothing, and answer with what a caller needs to print.

pub mod add;
pub mod adopt;
pub mod commit;
pub mod config;
pub mod contents;
pub mod copy;
pub mod diff;
pub mod export;
pub mod fetch;
pub mod find_image;
pub mod from;
pub mod import;
pub mod inspect;
pub mod instruction;
pub mod list;
pub mod machine;
pub mod manifest_list;
pub mod mount;
pub mod mounted;
pub mod name;
pub mod on_build;
pub mod pull;
pub mod push;
pub mod remove;
pub mod rename;
pub mod run;
pub mod state;
pub mod umount;
pub mod workdir;

pub use mounted::Mounted;
pub use state::WorkingContainer;
