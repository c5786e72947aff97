//! `EXPOSE port[-port][/protocol]…`
//!
//! What is no port is refused, as BuildKit does; Buildah would put it into the image, where no other tool can read it.

use super::{Arguments, Instruction, Metadata, ParseError, cut};

/// Protocols of ports (go-connections, `nat`).
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Reads the ports, protocols as they are written.
pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let (mut ports, mut is_known) = (Vec::new(), true);
    for word in arguments.some()?.split_whitespace() {
        // One variable may hold several ports.
        let read = |value: String| value.split_whitespace().map(port).collect::<Result<Vec<_>, _>>();
        match arguments.value(word, word, read)? {
            Some(several) => ports.extend(several),
            None => is_known = false,
        }
    }
    if ports.is_empty() && is_known {
        return Err(arguments.error("requires at least one argument"));
    }
    Ok(Instruction::Metadata(Metadata::Expose(ports)))
}

/// The part of `[[address:]port:]port[/protocol]` that says something about the image.
fn port(text: &str) -> Result<String, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
    if !protocol.is_empty() && !PROTOCOLS.iter().any(|known| protocol.eq_ignore_ascii_case(known)) {
        return Err(format!("Invalid proto: {}", cut(protocol).escape_debug()));
    }
    let inside = ports.rsplit(':').next().unwrap_or_default();
    let (first, last) = inside.split_once('-').unwrap_or((inside, inside));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => {
            let separator = if protocol.is_empty() { "" } else { "/" };
            Ok(format!("{inside}{separator}{protocol}"))
        }
        _ => Err(format!("invalid containerPort: {}", cut(inside).escape_debug())),
    }
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn forms() {
        let cases = [
            ("80 81/tcp 53/UDP 8000-8002", &["80", "81/tcp", "53/UDP", "8000-8002"][..]),
            ("$A", &["1"]),
            ("$N 80", &["80"]),
            ("0 65535/sctp 007", &["0", "65535/sctp", "007"]),
            ("80/", &["80"]),
            // What belongs to a machine, and not to the image, is left out.
            ("8080:80 127.0.0.1:8080:81/tcp [::1]:82:83", &["80", "81/tcp", "83"]),
        ];
        for (text, ports) in cases {
            let ports = ports.iter().map(|port| (*port).to_owned()).collect();
            assert_eq!(changed(&format!("EXPOSE {text}")), Ok(Metadata::Expose(ports)), "{text:?}");
        }
    }

    #[test]
    fn errors() {
        let cases = [
            ("", "requires at least one argument"),
            ("\"\"", "requires at least one argument"),
            ("$N", "requires at least one argument"),
            ("http", "invalid containerPort: http"),
            ("80 -1", "invalid containerPort: -1"),
            ("+80", "invalid containerPort: +80"),
            ("65536", "invalid containerPort: 65536"),
            ("81-80", "invalid containerPort: 81-80"),
            ("1-2-3", "invalid containerPort: 1-2-3"),
            ("80:", "invalid containerPort: "),
            ("/tcp", "invalid containerPort: "),
            ("80,81", "invalid containerPort: 80,81"),
            ("80/icmp", "Invalid proto: icmp"),
            ("80/tcp/x", "Invalid proto: tcp/x"),
            ("\"80 81\"", "\"\\\"80\": unexpected end of statement while looking for matching double-quote"),
        ];
        for (text, problem) in cases {
            assert_eq!(changed(&format!("EXPOSE {text}")), Err(format!("EXPOSE {problem}")), "{text:?}");
        }
    }
}
