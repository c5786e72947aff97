//! `--isolation chroot`: no namespace but those of mounts and of the host name, for machines that allow no others.
//!
//! What the process may do is the same as elsewhere: capabilities, system call filter, user, limits, hidden paths. What it sees is
//! the machine's: processes, queues and network; so this process hides from it, and ends what it leaves behind.

use super::namespaces::{self, Namespace};
use super::network::Mode;
use super::{Error, Request};

/// The request with the namespaces that this isolation has.
///
/// # Errors
/// A network of its own, if one was asked for: never more reach than was asked for.
pub(super) fn narrowed(request: &Request) -> Result<Request, Error> {
    let mut request = request.clone();
    let wanted = &request.namespaces;
    if !matches!(wanted.network, Mode::Automatic | Mode::Host) {
        return Err(Error::Request("cannot set --network other than host with --isolation chroot".to_owned()));
    }
    request.namespaces = namespaces::Options {
        ipc: Namespace::Host,
        pid: Namespace::Host,
        cgroup: Namespace::Host,
        network: Mode::Host,
        uts: wanted.uts.clone(),
        helper_dirs: Vec::new(),
    };
    Ok(request)
}
