//! The options of slirp4netns, as `--network slirp4netns:OPTIONS` and `network_cmd_options` of containers.conf have them
//! (podman-run(1), `--network`), and what they mean for the addresses in the container (slirp4netns(1)).

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// A network of slirp4netns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slirp {
    /// `cidr`: the network, and the length of its prefix. 10.0.2.0/24 if nothing is said.
    cidr: Option<(Ipv4Addr, u32)>,
    /// `allow_host_loopback`: the gateway's address is the machine's loopback.
    host_loopback: bool,
    /// `enable_ipv6`
    ipv6: bool,
    /// `mtu`, in bytes.
    mtu: u32,
    /// `outbound_addr`: an address or an interface of the machine.
    outbound: Option<String>,
    /// `outbound_addr6`
    outbound6: Option<String>,
}

impl Default for Slirp {
    fn default() -> Self {
        Self { cidr: None, host_loopback: false, ipv6: true, mtu: 65520, outbound: None, outbound6: None }
    }
}

/// The smallest packet that IPv4 knows (RFC 791).
const SMALLEST_MTU: u32 = 68;

impl Slirp {
    /// Parses `NAME=VALUE` words; of a name that is there twice the last one counts.
    ///
    /// # Errors
    /// With the words of the other tools.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut slirp = Self::default();
        for word in words {
            let unknown = || format!("unknown option for slirp4netns: {word:?}");
            let (name, value) = word.split_once('=').ok_or_else(unknown)?;
            let switch = || match value {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(format!("invalid value of {name} for slirp4netns: {value:?}")),
            };
            match name {
                "cidr" => slirp.cidr = Some(parse_cidr(value).ok_or_else(|| format!("invalid cidr {value:?}"))?),
                // Both ways of publishing ports are the same to us, who publish none.
                "port_handler" if ["slirp4netns", "rootlesskit"].contains(&value) => {}
                "port_handler" => return Err(format!("unknown port_handler for slirp4netns: {value:?}")),
                "allow_host_loopback" => slirp.host_loopback = switch()?,
                "enable_ipv6" => slirp.ipv6 = switch()?,
                "outbound_addr" if is_outbound(value, IpAddr::is_ipv4) => slirp.outbound = Some(value.to_owned()),
                "outbound_addr" => return Err(format!("invalid outbound_addr {value:?}")),
                "outbound_addr6" if is_outbound(value, IpAddr::is_ipv6) => slirp.outbound6 = Some(value.to_owned()),
                "outbound_addr6" => return Err(format!("invalid outbound_addr6: {value:?}")),
                "mtu" => {
                    let mtu = value.parse().ok().filter(|mtu| *mtu >= SMALLEST_MTU);
                    slirp.mtu = mtu.ok_or_else(|| format!("invalid mtu {value:?}"))?;
                }
                _ => return Err(unknown()),
            }
        }
        if slirp.outbound6.is_some() && !slirp.ipv6 {
            return Err("enable_ipv6=true is required for outbound_addr6".to_owned());
        }
        Ok(slirp)
    }

    /// Its arguments for the program.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--mtu={}", self.mtu)];
        if !self.host_loopback {
            arguments.push("--disable-host-loopback".to_owned());
        }
        if self.ipv6 {
            arguments.push("--enable-ipv6".to_owned());
        }
        arguments.extend(self.cidr.map(|(network, length)| format!("--cidr={network}/{length}")));
        arguments.extend(self.outbound.iter().map(|address| format!("--outbound-addr={address}")));
        arguments.extend(self.outbound6.iter().map(|address| format!("--outbound-addr6={address}")));
        arguments
    }

    /// The address that the container gets.
    pub(super) fn own_address(&self) -> IpAddr {
        self.address(100)
    }

    /// The address of its name server.
    pub(super) fn name_server(&self) -> IpAddr {
        self.address(3)
    }

    fn address(&self, offset: u32) -> IpAddr {
        let (network, _) = self.cidr.unwrap_or((Ipv4Addr::new(10, 0, 2, 0), 24));
        IpAddr::V4(Ipv4Addr::from_bits(network.to_bits().saturating_add(offset)))
    }
}

/// The network of `ADDRESS/LENGTH`.
fn parse_cidr(text: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, length) = text.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let length = length.parse().ok().filter(|length| *length <= 32)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Some((Ipv4Addr::from_bits(address.to_bits() & mask), length))
}

/// Whether `text` is an address of the kind, or an interface of this machine.
fn is_outbound(text: &str, of_kind: fn(&IpAddr) -> bool) -> bool {
    let is_name = !text.is_empty() && !text.contains('/') && !text.starts_with('.');
    text.parse::<IpAddr>().is_ok_and(|address| of_kind(&address))
        || (is_name && Path::new("/sys/class/net").join(text).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Slirp, String> {
        Slirp::parse(&text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_become_arguments() {
        for (words, arguments) in [
            ("", "--mtu=65520 --disable-host-loopback --enable-ipv6"),
            ("mtu=1500 enable_ipv6=false", "--mtu=1500 --disable-host-loopback"),
            ("mtu=1500 mtu=68 enable_ipv6=false port_handler=rootlesskit", "--mtu=68 --disable-host-loopback"),
            ("allow_host_loopback=true enable_ipv6=false cidr=10.9.8.7/16", "--mtu=65520 --cidr=10.9.0.0/16"),
            (
                "outbound_addr=127.0.0.1 outbound_addr6=::1",
                "--mtu=65520 --disable-host-loopback --enable-ipv6 --outbound-addr=127.0.0.1 --outbound-addr6=::1",
            ),
            ("outbound_addr=lo enable_ipv6=false", "--mtu=65520 --disable-host-loopback --outbound-addr=lo"),
        ] {
            assert_eq!(parse(words).unwrap().arguments().join(" "), arguments, "{words}");
        }
    }

    #[test]
    fn wrong_options_are_refused_in_known_words() {
        for (words, error) in [
            ("mtu", "unknown option for slirp4netns: \"mtu\""),
            ("speed=9", "unknown option for slirp4netns: \"speed=9\""),
            ("mtu=67", "invalid mtu \"67\""),
            ("mtu=-1", "invalid mtu \"-1\""),
            ("cidr=fd00::/64", "invalid cidr \"fd00::/64\""),
            ("cidr=10.0.0.0", "invalid cidr \"10.0.0.0\""),
            ("cidr=10.0.0.0/33", "invalid cidr \"10.0.0.0/33\""),
            ("port_handler=x", "unknown port_handler for slirp4netns: \"x\""),
            ("allow_host_loopback=yes", "invalid value of allow_host_loopback for slirp4netns: \"yes\""),
            ("enable_ipv6=1", "invalid value of enable_ipv6 for slirp4netns: \"1\""),
            ("outbound_addr=::1", "invalid outbound_addr \"::1\""),
            ("outbound_addr=../lo", "invalid outbound_addr \"../lo\""),
            ("outbound_addr6=10.0.0.1", "invalid outbound_addr6: \"10.0.0.1\""),
            ("outbound_addr6=::1 enable_ipv6=false", "enable_ipv6=true is required for outbound_addr6"),
        ] {
            assert_eq!(parse(words).unwrap_err(), error, "{words}");
        }
    }

    #[test]
    fn addresses_follow_the_network() {
        let shown = |slirp: Slirp| format!("{} {}", slirp.own_address(), slirp.name_server());
        assert_eq!(shown(Slirp::default()), "10.0.2.100 10.0.2.3");
        assert_eq!(shown(parse("cidr=192.168.7.9/24").unwrap()), "192.168.7.100 192.168.7.3");
    }
}
