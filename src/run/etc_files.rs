//! Files that every container gets from us: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, `/run/.containerenv`.
//!
//! Invariant: they are generated, kept outside the container's layer and bound in by handle; a link of the image in their place
//! is resolved inside the root (CVE-2024-9341), and an edit from inside reaches neither the host's file nor the layer.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use super::Error;
use super::network::{Connection, Helper};

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

/// What the image's own files are replaced by, for a process named `hostname` on the network `connection`.
pub(super) fn generate(options: &Options, connection: &Connection, hostname: Option<&str>) -> Result<Vec<ExtraFile>, Error> {
    let mut files = Vec::with_capacity(4);
    let mut add = |target: &str, content: String| {
        files.push(ExtraFile { target: PathBuf::from(target), content: content.into_bytes(), mode: 0o644 });
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

fn hosts(wanted: &Hosts, connection: &Connection, hostname: Option<&str>, container: &str) -> Result<String, Error> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::prepare(format!("the base hosts file {path:?}"), source)
    };
    let mut text = match wanted.base.as_str() {
        "none" => String::new(),
        "" | "image" => match std::fs::read_to_string("/etc/hosts") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(failed(Path::new("/etc/hosts")))?,
        },
        path => std::fs::read_to_string(path).map_err(failed(Path::new(path)))?,
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, address) in &wanted.extra {
        add_line(&mut text, *address, &[single_line("host name", name)?]);
    }
    for (address, names) in [("127.0.0.1", &["localhost"][..]), ("::1", &["localhost"][..])] {
        let address: IpAddr = address.parse().map_err(|_| Error::Request("invalid address".to_string()))?;
        if !has(&text, address, "localhost") {
            add_line(&mut text, address, names);
        }
    }
    if let (Connection::Host | Connection::Fallback, Some(address)) = (connection, own_address()) {
        add_line(&mut text, address, &["host.containers.internal", "host.docker.internal"]);
    }
    let names: Vec<&str> = hostname.into_iter().chain(Some(container).filter(|name| !name.is_empty())).collect();
    if !names.is_empty() {
        for name in &names {
            single_line("host name", name)?;
        }
        add_line(&mut text, IpAddr::from([127, 0, 0, 1]), &names);
    }
    Ok(text)
}

fn add_line(text: &mut String, address: IpAddr, names: &[&str]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{address}\t{}", names.join(" "));
}

fn has(text: &str, address: IpAddr, name: &str) -> bool {
    text.lines().map(|line| line.split('#').next().unwrap_or_default()).any(|line| {
        let mut words = line.split_whitespace();
        words.next().and_then(|word| word.parse::<IpAddr>().ok()) == Some(address) && words.any(|word| word == name)
    })
}

/// The address that this machine uses towards others. Connecting a datagram socket sends nothing: it only chooses a route.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address of the documentation range (RFC 5737).
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_unspecified())
}

/// The host's file; instead of the stub of systemd-resolved, what the stub asks.
fn host_resolv_conf() -> Result<String, Error> {
    let read = |path: &str| match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(Error::prepare(path, source)),
    };
    let text = read("/etc/resolv.conf")?;
    let servers: Vec<&str> = values(&text, "nameserver").collect();
    if servers == ["127.0.0.53"] {
        let behind = read("/run/systemd/resolve/resolv.conf")?;
        if !behind.is_empty() {
            return Ok(behind);
        }
    }
    Ok(text)
}

fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(key)).then(|| words.next()).flatten()
    })
}

/// A server for a network of its own when the host's are all on its loopback, which cannot be reached from there.
const PUBLIC_SERVER: &str = "8.8.8.8";

fn resolv_conf(dns: &Dns, connection: &Connection, host: &str) -> Result<String, Error> {
    let private = matches!(connection, Connection::Helper(_) | Connection::Path(_));
    let mut servers: Vec<String> = dns.servers.clone();
    if servers.is_empty() {
        if let Connection::Helper(program) = connection {
            // Each helper answers at an address of its own and asks the host's resolver.
            servers.push(if program.kind == Helper::Slirp4netns { "10.0.2.3" } else { "169.254.1.1" }.to_string());
        }
        let local = |server: &str| server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        servers.extend(values(host, "nameserver").filter(|server| !(private && local(server))).map(str::to_string));
        if private && servers.is_empty() {
            servers.push(PUBLIC_SERVER.to_string());
        }
    }
    let listed = |given: &[String], key: &str| -> String {
        if !given.is_empty() {
            return given.join(" ");
        }
        let mut lines =
            host.lines().filter_map(|line| line.trim().strip_prefix(key).filter(|rest| rest.starts_with([' ', '\t'])));
        lines.next_back().map(|rest| rest.trim().to_string()).unwrap_or_default()
    };
    let mut text = String::new();
    for (key, value) in [("search", listed(&dns.search, "search")), ("options", listed(&dns.options, "options"))] {
        if value.contains(char::is_control) {
            return Err(Error::Request(format!("invalid DNS {key} {value:?}")));
        }
        if !value.is_empty() && value != "." {
            let _ = writeln!(text, "{key} {value}");
        }
    }
    for server in &servers {
        let _ = writeln!(text, "nameserver {}", single_line("DNS server", server)?);
    }
    Ok(text)
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
    use crate::run::network::HelperProgram;

    const HOST: &str =
        "# made by hand\nsearch a.example b.example\nnameserver 127.0.0.1\nnameserver 192.0.2.7\noptions ndots:2\n";

    fn helper(kind: Helper) -> Connection {
        Connection::Helper(HelperProgram { kind, path: PathBuf::from("/x") })
    }

    #[test]
    fn resolv_conf_follows_the_network() {
        let conf = |connection: &Connection| resolv_conf(&Dns::default(), connection, HOST).unwrap();
        let rest = "search a.example b.example\noptions ndots:2\n";
        assert_eq!(conf(&Connection::Host), format!("{rest}nameserver 127.0.0.1\nnameserver 192.0.2.7\n"));
        assert_eq!(conf(&helper(Helper::Slirp4netns)), format!("{rest}nameserver 10.0.2.3\nnameserver 192.0.2.7\n"));
        assert_eq!(conf(&Connection::Path("/n".into())), format!("{rest}nameserver 192.0.2.7\n"));
        let local = resolv_conf(&Dns::default(), &Connection::Path("/n".into()), "nameserver ::1\n").unwrap();
        assert_eq!(local, "nameserver 8.8.8.8\n");
        let own = Dns {
            servers: vec!["192.0.2.9".into()],
            search: vec!["x".into()],
            options: vec!["trust-ad".into()],
            ..Dns::default()
        };
        assert_eq!(
            resolv_conf(&own, &helper(Helper::Pasta), HOST).unwrap(),
            "search x\noptions trust-ad\nnameserver 192.0.2.9\n"
        );
    }

    #[test]
    fn hosts_names_the_extra_ones_the_container_and_localhost_once() {
        let wanted = Hosts { extra: vec![("db".into(), "192.0.2.3".parse().unwrap())], base: "none".into() };
        let text = hosts(&wanted, &Connection::Path("/n".into()), Some("web"), "web-working-container").unwrap();
        assert_eq!(text, "192.0.2.3\tdb\n127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.0.1\tweb web-working-container\n");
    }

    #[test]
    fn words_that_would_make_a_second_line_are_refused() {
        for name in ["a\nb", "a b", "", "a\tb", "a#b", "\u{1b}[0m"] {
            let wanted = Hosts { extra: vec![(name.into(), "192.0.2.3".parse().unwrap())], base: "none".into() };
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
