//! Files that every container gets from us: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, `/run/.containerenv`.
//!
//! Invariant: they are generated, kept outside the container's layer and bound in by handle; a link of the image in their place
//! is resolved inside the root (CVE-2024-9341), and an edit from inside reaches neither the host's file nor the layer.

use std::net::IpAddr;
use std::path::PathBuf;

/// What goes into the files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `/etc/hosts`; `None` leaves the image's own (`--no-hosts`).
    pub hosts: Option<Hosts>,
    /// `/etc/resolv.conf`.
    pub dns: Dns,
    /// Provide `/etc/hostname` with the host name (not with `--no-hostname`).
    pub hostname: Hostname,
    /// `/run/.containerenv`.
    pub container: ContainerLabel,
}

/// `/etc/hosts`
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// `--add-host NAME:IP`, parsed; the caller resolves `host-gateway`.
    pub extra: Vec<(String, IpAddr)>,
    /// `base_hosts_file` of containers.conf: empty for the host's `/etc/hosts`, `none` for nothing.
    pub base: String,
}

/// `/etc/resolv.conf`
#[derive(Debug, Clone, Default)]
pub struct Dns {
    /// `--dns none`: the image's own file is left alone.
    pub leave_alone: bool,
    /// Servers that replace the host's.
    pub servers: Vec<String>,
    /// Search domains that replace the host's.
    pub search: Vec<String>,
    /// Options that replace the host's.
    pub options: Vec<String>,
}

/// `/etc/hostname`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hostname {
    /// Bound over the image's.
    #[default]
    Provide,
    /// The image's own stays.
    LeaveAlone,
}

/// What `/run/.containerenv` tells.
#[derive(Debug, Clone, Default)]
pub struct ContainerLabel {
    /// Name of the working container.
    pub name: String,
    /// ID of the working container, 64 hexadecimal digits.
    pub id: String,
    /// Name of the image it was made from.
    pub image: String,
    /// ID of that image.
    pub image_id: String,
    /// Whether the caller has no privilege on the host.
    pub rootless: bool,
}

/// A file of the caller's (a subscription, a secret) that is bound in like the generated ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// Where it appears.
    pub target: PathBuf,
    /// What it holds.
    pub content: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}
