//! Reader and writer of the containers/storage format, for one store shared with podman, buildah and skopeo at the same time.
#![forbid(unsafe_code)]

pub mod archive;
pub mod changes;
pub mod check;
pub mod conf;
pub mod containers;
pub mod digest;
pub mod driver;
pub mod freeze;
pub mod id;
pub mod id_map;
pub mod images;
pub mod layers;
pub mod lease;
pub mod lock;
pub mod placeholder;
pub mod private;
mod process;
pub mod rooted;
pub mod selinux;
pub mod store;
pub mod table;
pub mod tar_split;
pub mod temp_dir;

pub use digest::Digest;
pub use id::{ContainerId, ImageId, LayerId};
pub use rooted::Root;
