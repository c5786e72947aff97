//! Files that every container gets from us: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, `/run/.containerenv`.
//!
//! Invariant: they are generated, kept outside the container's layer and bound in by handle; a link of the image in their place
//! is resolved inside the root (CVE-2024-9341), and an edit from inside reaches neither the host's file nor the layer.

mod hosts;
mod resolv_conf;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use hosts::hosts;
use resolv_conf::{host_resolv_conf, resolv_conf};

use super::Error;
use super::mount_args::Place;
use super::network::Connection;

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
    /// `--add-host`.
    pub extra: Vec<HostEntry>,
    /// `base_hosts_file` of containers.conf.
    pub base: BaseHosts,
    /// `host_containers_internal_ip` of containers.conf.
    pub internal: HostAddress,
}

/// One line that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// Names for the address; at least one.
    pub names: Vec<String>,
    /// `None` is `host-gateway`: what `host.containers.internal` stands for.
    pub address: Option<IpAddr>,
}

/// What follows the lines that were asked for in the generated `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BaseHosts {
    /// The host's.
    #[default]
    Host,
    /// Nothing.
    None,
    /// A file of the host.
    File(PathBuf),
    /// This text: the image's own.
    Text(String),
}

/// The address that `host.containers.internal` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostAddress {
    /// The one that the host uses towards others, if the process can reach it.
    #[default]
    Automatic,
    /// There is no such name.
    None,
    /// This one.
    Address(IpAddr),
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
#[derive(Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// Where it appears.
    pub target: PathBuf,
    /// What it holds. Nothing shows it: it may be a secret.
    pub content: Vec<u8>,
    /// Whose it is.
    pub place: Place,
    /// Whether it can be changed.
    pub access: FileAccess,
}

/// Whether the command can change a file that is bound in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAccess {
    /// As its permission bits say.
    ByMode,
    /// By nobody.
    ReadOnly,
}

impl ExtraFile {
    /// One of root's, with permission bits.
    pub fn new(target: impl Into<PathBuf>, content: Vec<u8>, mode: u32) -> Self {
        let place = Place { mode, uid: 0, gid: 0 };
        Self { target: target.into(), content, place, access: FileAccess::ByMode }
    }
}

impl fmt::Debug for ExtraFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtraFile").field("target", &self.target).field("place", &self.place).finish_non_exhaustive()
    }
}

/// What the image's own files are replaced by, for a process named `hostname` on the network `connection`.
pub(super) fn generate(options: &Options, connection: &Connection, hostname: Option<&str>) -> Result<Vec<ExtraFile>, Error> {
    let mut files = Vec::with_capacity(4);
    let mut add = |target: &str, content: String| {
        files.push(ExtraFile::new(target, content.into_bytes(), 0o644));
    };
    // Without a network there is nobody to resolve, and nobody to ask (CVE-2024-29018).
    if *connection != Connection::None {
        if let Some(wanted) = &options.hosts {
            add("/etc/hosts", hosts(wanted, connection, hostname, &options.container.name)?);
        }
        if !options.dns.leave_alone {
            add("/etc/resolv.conf", resolv_conf(&options.dns, connection, &host_resolv_conf()?)?);
        }
    }
    if let (Hostname::Provide, Some(hostname)) = (options.hostname, hostname) {
        add("/etc/hostname", format!("{}\n", single_line("host name", hostname)?));
    }
    add("/run/.containerenv", containerenv(&options.container));
    Ok(files)
}

/// `word` if it can stand in a line of its own without becoming two words or two lines (known attack A52).
fn single_line<'a>(what: &str, word: &'a str) -> Result<&'a str, Error> {
    let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if plain { Ok(word) } else { Err(Error::Request(format!("invalid {what} {word:?}"))) }
}

fn containerenv(label: &ContainerLabel) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let rootless = u8::from(label.rootless);
    // Debug quoting: a name with a line break stays one value on one line.
    format!(
        "\nengine=\"coracle-{version}\"\nname={:?}\nid={:?}\nimage={:?}\nimageid={:?}\nrootless={rootless}\n",
        label.name, label.id, label.image, label.image_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> HostEntry {
        HostEntry { names: vec![name.to_owned()], address: "192.0.2.3".parse().ok() }
    }

    #[test]
    fn words_that_would_make_a_second_line_are_refused() {
        for name in ["a\nb", "a b", "", "a\tb", "a#b", "\u{1b}[0m"] {
            let wanted = Hosts { extra: vec![entry(name)], base: BaseHosts::None, ..Hosts::default() };
            assert!(hosts(&wanted, &Connection::Host, None, "").is_err(), "{name:?}");
            let dns = Dns { servers: vec![name.into()], ..Dns::default() };
            assert!(resolv_conf(&dns, &Connection::Host, "").is_err(), "{name:?}");
        }
        let dns = Dns { search: vec!["a\nnameserver 192.0.2.1".into()], ..Dns::default() };
        assert!(resolv_conf(&dns, &Connection::Host, "").is_err());
        let label = ContainerLabel { name: "a\nengine=\"x\"".into(), ..ContainerLabel::default() };
        assert_eq!(containerenv(&label).lines().count(), 7);
    }

    #[test]
    fn without_a_network_no_resolver_is_named() {
        let options = Options { hosts: Some(Hosts::default()), ..Options::default() };
        let files = generate(&options, &Connection::None, Some("web")).unwrap();
        let targets: Vec<_> = files.iter().map(|file| file.target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/etc/hostname", "/run/.containerenv"]);
    }
}
