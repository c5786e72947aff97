//! `--console-socket`: where the runtime sends the terminal's other end.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};

use super::bundle::Bundle;
use crate::run::Error;
use crate::run::native;

/// The socket's name in the bundle, which is the runtime's working directory: a path could be too long for an address (unix(7)).
pub(super) const NAME: &str = "console";

/// The listening socket.
pub(super) struct Listener(OwnedFd);

impl Listener {
    /// Makes it in `bundle`.
    pub(super) fn bind(bundle: &Bundle) -> Result<Self, Error> {
        let bound = || {
            let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
            let address = UnixAddr::new(format!("/proc/self/fd/{}/{NAME}", bundle.handle().as_raw_fd()).as_str())?;
            nix::sys::socket::bind(socket.as_raw_fd(), &address)?;
            nix::sys::socket::listen(&socket, Backlog::new(1)?)?;
            Ok(Self(socket))
        };
        bound().map_err(|errno: nix::errno::Errno| Error::prepare("the console socket", errno.into()))
    }

    /// The terminal, once the runtime has created the container.
    pub(super) fn receive(&self) -> Result<OwnedFd, Error> {
        let failed = |source| Error::prepare("receiving the terminal", source);
        // The runtime has connected before it ended, so this does not wait.
        let flags = rustix::fs::fcntl_getfl(&self.0).map_err(|errno| failed(errno.into()))?;
        rustix::fs::fcntl_setfl(&self.0, flags | rustix::fs::OFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        let peer =
            nix::sys::socket::accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let peer = crate::sys::descriptors::received(peer);
        let missing = || failed(std::io::Error::other("the runtime sent none"));
        native::receive_descriptor(peer.as_fd()).map_err(failed)?.ok_or_else(missing)
    }
}
