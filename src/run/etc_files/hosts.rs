//! `/etc/hosts`, in the order of the other tools: names that were asked for, the base file, then the names that are always there and
//! that no line before has.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use super::{BaseHosts, Error, HostAddress, Hosts, single_line};
use crate::run::network::{Connection, HelperProgram, Shape};

/// The text for a process named `hostname` in the container called `container`.
pub(super) fn hosts(wanted: &Hosts, connection: &Connection, hostname: Option<&str>, container: &str) -> Result<String, Error> {
    let mut lines = Lines::default();
    let host = match wanted.internal {
        HostAddress::None => None,
        HostAddress::Address(address) => Some(address),
        HostAddress::Automatic => own_address(),
    };
    for entry in &wanted.extra {
        let names = entry.names.iter().map(|name| single_line("host name", name)).collect::<Result<Vec<_>, _>>()?;
        let unknown = || Error::Request("unable to replace \"host-gateway\": the host has no address".to_string());
        lines.add(&entry.address.or(host).ok_or_else(unknown)?.to_string(), &names);
    }
    lines.add_file(&base(&wanted.base)?);
    for address in ["127.0.0.1", "::1"] {
        lines.add_missing(address, &["localhost"]);
    }
    if let Some(address) = host {
        lines.add_missing(&address.to_string(), &["host.containers.internal", "host.docker.internal"]);
    }
    let names: Vec<&str> = hostname.into_iter().chain(Some(container).filter(|name| !name.is_empty())).collect();
    for name in &names {
        single_line("host name", name)?;
    }
    let own = match connection {
        Connection::Helper(HelperProgram { shape: Shape::Slirp(slirp), .. }) => slirp.own_address(),
        _ => IpAddr::from([127, 0, 0, 1]),
    };
    if !names.is_empty() {
        lines.add(&own.to_string(), &names);
    }
    Ok(lines.text)
}

fn base(base: &BaseHosts) -> Result<String, Error> {
    let read = |path: &Path| {
        let failed = |source| Error::prepare(format!("the base hosts file {path:?}"), source);
        match std::fs::read(path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && *base == BaseHosts::Host => Ok(String::new()),
            Err(error) => Err(failed(error)),
        }
    };
    match base {
        BaseHosts::None => Ok(String::new()),
        BaseHosts::Text(text) => Ok(text.clone()),
        BaseHosts::Host => read(Path::new("/etc/hosts")),
        BaseHosts::File(path) => read(path),
    }
}

/// The lines so far.
#[derive(Default)]
struct Lines {
    text: String,
    /// Names that a line before the current group has.
    names: Vec<String>,
}

impl Lines {
    fn add(&mut self, address: &str, names: &[&str]) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{address}\t{}", names.join(" "));
        if !matches!(names, ["localhost"]) {
            self.names.extend(names.iter().map(|name| (*name).to_owned()));
        }
    }

    /// Adds the entries of a hosts file (hosts(5)); what has an address and no name is dropped, with the comments.
    fn add_file(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(address), names) = (words.next(), words.collect::<Vec<_>>()) else { continue };
            if !names.is_empty() {
                self.add(address, &names);
                self.names.extend(names.iter().map(|name| (*name).to_owned()));
            }
        }
    }

    /// Adds a line if no line before has the first of its names.
    fn add_missing(&mut self, address: &str, names: &[&str]) {
        if !names.first().is_some_and(|name| self.names.iter().any(|known| known == name)) {
            self.add(address, names);
        }
    }
}

/// The address that this machine uses towards others. Connecting a datagram socket sends nothing: it only chooses a route.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address of the documentation range (RFC 5737).
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::run::etc_files::HostEntry;
    use crate::run::network::Helper;
    use crate::run::slirp::Slirp;

    fn text(wanted: &Hosts, connection: &Connection) -> String {
        hosts(wanted, connection, Some("web"), "web-working-container").unwrap()
    }

    #[test]
    fn extra_names_come_first_and_the_usual_ones_only_if_no_line_has_them() {
        let connection = Connection::Path("/n".into());
        let extra = vec![HostEntry { names: vec!["db".into()], address: "192.0.2.3".parse().ok() }];
        let wanted = Hosts { extra, base: BaseHosts::None, internal: HostAddress::None };
        let own = "127.0.0.1\tweb web-working-container\n";
        assert_eq!(text(&wanted, &connection), format!("192.0.2.3\tdb\n127.0.0.1\tlocalhost\n::1\tlocalhost\n{own}"));
        let base = "# c\n127.0.0.1 localhost  lh # x\nbad\n192.0.2.4\thost.containers.internal\n".to_owned();
        let wanted = Hosts { base: BaseHosts::Text(base), internal: HostAddress::Automatic, ..wanted };
        let lines = "192.0.2.3\tdb\n127.0.0.1\tlocalhost lh\n192.0.2.4\thost.containers.internal\n";
        assert_eq!(text(&wanted, &connection), format!("{lines}{own}"));
    }

    #[test]
    fn the_host_has_the_address_that_was_set() {
        let internal = HostAddress::Address("192.0.2.9".parse().unwrap());
        let wanted = Hosts { base: BaseHosts::None, internal, ..Hosts::default() };
        let text = text(&wanted, &Connection::Host);
        assert!(text.contains("\n192.0.2.9\thost.containers.internal host.docker.internal\n"), "{text}");
    }

    #[test]
    fn the_container_has_the_address_that_slirp4netns_gives_it() {
        let shape = Shape::Slirp(Slirp::default());
        let program = HelperProgram { kind: Helper::Slirp4netns, path: PathBuf::from("/x"), shape };
        let wanted = Hosts { base: BaseHosts::None, ..Hosts::default() };
        assert!(text(&wanted, &Connection::Helper(program)).ends_with("10.0.2.100\tweb web-working-container\n"));
    }

    #[test]
    fn a_base_file_that_was_named_must_exist() {
        let wanted = Hosts { base: BaseHosts::File("/nonexistent".into()), ..Hosts::default() };
        assert!(hosts(&wanted, &Connection::Host, None, "").is_err());
    }
}
