//! `/etc/resolv.conf` (resolv.conf(5)): what was asked for, else what the host has, as far as it can be reached from the container's
//! network.

use std::fmt::Write;
use std::io;
use std::net::IpAddr;

use super::{Dns, Error, single_line};
use crate::run::network::{Connection, Shape};

/// The host's file; instead of the stub of systemd-resolved, what the stub asks.
pub(super) fn host_resolv_conf() -> Result<String, Error> {
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

/// The text; `host` is the host's.
pub(super) fn resolv_conf(dns: &Dns, connection: &Connection, host: &str) -> Result<String, Error> {
    let mut text = String::new();
    list(&mut text, "search", &dns.search, host)?;
    for server in servers(dns, connection, host) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "nameserver {}", single_line("DNS server", &server)?);
    }
    list(&mut text, "options", &dns.options, host)?;
    Ok(text)
}

fn servers(dns: &Dns, connection: &Connection, host: &str) -> Vec<String> {
    if !dns.servers.is_empty() {
        return dns.servers.clone();
    }
    let private = matches!(connection, Connection::Helper(_) | Connection::Path(_));
    let mut servers = Vec::new();
    if let Connection::Helper(program) = connection {
        // Each helper answers at an address of its own and asks the host's resolver.
        servers.push(match &program.shape {
            Shape::Slirp(slirp) => slirp.name_server().to_string(),
            Shape::Pasta(words) => pasta_name_server(words).to_owned(),
        });
    }
    let local = |server: &str| server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    servers.extend(values(host, "nameserver").filter(|server| !(private && local(server))).map(str::to_string));
    if private && servers.is_empty() {
        servers.push(PUBLIC_SERVER.to_string());
    }
    servers
}

/// What `--dns-forward` says, in either spelling, or what it is unless said.
fn pasta_name_server(words: &[String]) -> &str {
    let joined = words.iter().find_map(|word| word.strip_prefix("--dns-forward="));
    let apart = || words.iter().skip_while(|word| *word != "--dns-forward").nth(1).map(String::as_str);
    joined.or_else(apart).unwrap_or("169.254.1.1")
}

/// The line `key`: `given`, else the last one that the host has. A single dot stands for no line.
fn list(text: &mut String, key: &str, given: &[String], host: &str) -> Result<(), Error> {
    let of_host = |line: &'_ str| {
        let rest = line.trim().strip_prefix(key).filter(|rest| rest.starts_with([' ', '\t']))?;
        Some(rest.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let value = match given {
        [] => host.lines().filter_map(of_host).next_back().unwrap_or_default(),
        words => words.join(" "),
    };
    if value.contains(char::is_control) {
        return Err(Error::Request(format!("invalid DNS {key} {value:?}")));
    }
    if !value.is_empty() && value != "." {
        let _ = writeln!(text, "{key} {value}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::run::network::{Helper, HelperProgram};
    use crate::run::slirp::Slirp;

    const HOST: &str =
        "# made by hand\nsearch a.example b.example\nnameserver 127.0.0.1\nnameserver 192.0.2.7\noptions ndots:2\n";

    fn helper(shape: Shape) -> Connection {
        Connection::Helper(HelperProgram { kind: Helper::Any, path: PathBuf::from("/x"), shape })
    }

    #[test]
    fn the_servers_follow_the_network() {
        let conf = |connection: &Connection| resolv_conf(&Dns::default(), connection, HOST).unwrap();
        let around = |servers: &str| format!("search a.example b.example\n{servers}options ndots:2\n");
        assert_eq!(conf(&Connection::Host), around("nameserver 127.0.0.1\nnameserver 192.0.2.7\n"));
        assert_eq!(conf(&helper(Shape::Slirp(Slirp::default()))), around("nameserver 10.0.2.3\nnameserver 192.0.2.7\n"));
        let moved = Slirp::parse(&["cidr=192.168.9.0/24".to_owned()]).unwrap();
        assert_eq!(conf(&helper(Shape::Slirp(moved))), around("nameserver 192.168.9.3\nnameserver 192.0.2.7\n"));
        let own = Shape::Pasta(vec!["--dns-forward".into(), "10.1.1.1".into()]);
        assert_eq!(conf(&helper(own)), around("nameserver 10.1.1.1\nnameserver 192.0.2.7\n"));
        assert_eq!(conf(&Connection::Path("/n".into())), around("nameserver 192.0.2.7\n"));
        let local = resolv_conf(&Dns::default(), &Connection::Path("/n".into()), "nameserver ::1\n").unwrap();
        assert_eq!(local, "nameserver 8.8.8.8\n");
    }

    #[test]
    fn what_was_asked_for_replaces_what_the_host_has() {
        let own = Dns {
            servers: vec!["192.0.2.9".into()],
            search: vec!["x".into(), "y".into()],
            options: vec!["trust-ad".into()],
            ..Dns::default()
        };
        let text = resolv_conf(&own, &helper(Shape::Pasta(Vec::new())), HOST).unwrap();
        assert_eq!(text, "search x y\nnameserver 192.0.2.9\noptions trust-ad\n");
        let none = Dns { search: vec![".".into()], ..own };
        assert!(!resolv_conf(&none, &Connection::Host, HOST).unwrap().contains("search"));
    }
}
