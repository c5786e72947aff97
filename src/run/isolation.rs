//! Which engine executes a description.

use super::oci;

/// The engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Isolation {
    /// The built-in runtime; where nothing can be mounted, the directory itself, as for `Chroot`.
    #[default]
    Automatic,
    /// The built-in runtime, or an error; Buildah's name for what an unprivileged caller gets is `rootless`.
    Native,
    /// Mount and host name namespace only; the machine's processes, queues and network.
    Chroot,
    /// An external runtime.
    Oci(oci::Options),
}
