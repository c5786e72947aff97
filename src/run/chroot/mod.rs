//! `--isolation chroot`: no namespace but those of mounts and of the host name, for machines that allow no others; and where not
//! even mounts are allowed, as to root of an ordinary container, no namespace at all.
//!
//! ```text
//!   mounts allowed:  narrowed ─▶ the built-in runtime with two namespaces
//!   none allowed:    plain, weaken, lend ─▶ the built-in runtime on the directory itself (`native::Ground::Directory`)
//! ```
//!
//! What the process may do is never more than elsewhere: capabilities, system call filter, user, limits, hidden paths. What it sees
//! is the machine's: processes, queues and network; so this process hides from it, and ends what it leaves behind.

use containers_storage::Root;
use oci_spec::runtime::{Capabilities, Spec};

use super::capabilities::Set;
use super::etc_files::ExtraFile;
use super::namespaces::{self, Namespace};
use super::native::{DEVICES, Placeholders};
use super::network::{self, Mode};
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
        user: wanted.user.clone(),
        ipc: Namespace::Host,
        pid: Namespace::Host,
        cgroup: Namespace::Host,
        network: Mode::Host,
        uts: wanted.uts.clone(),
        network_programs: network::Settings::default(),
    };
    Ok(request)
}

/// The request where nothing can be mounted; says so.
///
/// # Errors
/// Mounts and devices that were asked for.
pub(super) fn plain(request: &Request) -> Result<Request, Error> {
    let mut request = narrowed(request)?;
    let mounts = &request.mounts;
    let targets = mounts.requests.iter().map(|mount| &mount.target).chain(mounts.devices.iter().map(|device| &device.target));
    // In the directory itself a secret would be in the layer for a while.
    let passed = mounts.secrets.iter().filter_map(|secret| secret.file.as_ref().map(|(target, _)| target));
    if let Some(target) = targets.chain(passed).chain(mounts.agents.iter().map(|agent| &agent.target)).next() {
        return Err(Error::Request(format!("a mount at {target:?} is not possible here, where nothing can be mounted")));
    }
    request.namespaces.uts = Namespace::Host;
    request.security.no_new_privileges = true;
    log::warn!(
        "nothing can be mounted here: the command gets a plain chroot (rung 4) with the processes, the network and the host name of \
         this machine, no /proc and no new privileges; a user namespace lifts that (docker, podman: --security-opt seccomp=unconfined), or \
         --cap-add SYS_ADMIN does"
    );
    Ok(request)
}

/// Takes out of the capabilities what would lead out of the directory (chroot(2), notes), and what this process has not itself.
pub(super) fn weaken(spec: &mut Spec) {
    let own = rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits());
    let kept = Set(own & !caps::Capability::CAP_SYS_CHROOT.bitmask());
    let Some(process) = spec.process_mut() else { return };
    let Some(mut capabilities) = process.capabilities().clone() else { return };
    let within = |set: &Option<Capabilities>| set.as_ref().map(|set| Set(Set::from_spec(set).0 & kept.0).to_spec());
    capabilities.set_bounding(within(capabilities.bounding()));
    capabilities.set_effective(within(capabilities.effective()));
    capabilities.set_permitted(within(capabilities.permitted()));
    process.set_capabilities(Some(capabilities));
}

/// Gives the root file system what mounts give it elsewhere, as far as it has none of its own: generated files, and device nodes.
/// `made` takes all of it back.
pub(super) fn lend(rootfs: &Root, files: &[ExtraFile], made: &mut Placeholders) -> Result<(), Error> {
    for file in files {
        made.lend(rootfs, file).map_err(|source| Error::prepare(format!("{:?}", file.target), source))?;
    }
    for (name, major, minor) in DEVICES {
        made.lend_device(rootfs, name, (*major, *minor)).map_err(|source| Error::prepare(format!("/dev/{name}"), source))?;
    }
    Ok(())
}
