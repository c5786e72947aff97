//! The file of `--tls-details`, containers-tls-details.yaml(5): which TLS the whole program may speak.
//!
//! ```text
//! minVersion: "1.2"          1.0 to 1.3
//! cipherSuites: [NAME, …]    none may be used if the list is empty
//! namedGroups: [NAME, …]     all may be used if the list is empty
//! ```
//!
//! Invariant: a name that the other tools do not know is refused, with its line, and so is a key: who restricts connections must not be
//! wrong about it unnoticed. Names that are known here may still be none that this program has: that is the business of `http`.

use std::path::Path;

use super::yaml::{self, Node};
use super::{Error, Presence, read_file};

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsDetails {
    /// Nothing older than TLS 1.3. Every other minimum asks for less than this program has.
    pub only_1_3: bool,
    /// The cipher suites that may be used, by IANA's names.
    pub cipher_suites: Option<Vec<String>>,
    /// The groups that keys may be exchanged in, by IANA's names.
    pub named_groups: Option<Vec<String>>,
}

/// The minimum versions that there are, oldest first.
const VERSIONS: &[&str] = &["1.0", "1.1", "1.2", "1.3"];

/// The cipher suites that the other tools take: those of Go's crypto/tls.
const CIPHER_SUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

/// The groups that they take.
const NAMED_GROUPS: &[&str] = &["secp256r1", "secp384r1", "secp521r1", "x25519", "X25519MLKEM768"];

impl TlsDetails {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no YAML that means one thing, or says what nobody knows.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = read_file(path, Presence::Required)?.unwrap_or_default();
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let wrong = |message: String| Error::Parse { path: path.to_owned(), message };
        let document = yaml::parse(text).map_err(wrong)?;
        let members = document.members().map_err(|what| wrong(format!("line {}: {what}", document.line)))?;
        let mut details = Self::default();
        for (key, node) in members {
            let read = match key.as_str() {
                "minVersion" => version(node).map(|version| details.only_1_3 = version == Some("1.3")),
                "cipherSuites" => names(node, "cipher suite", CIPHER_SUITES).map(|names| details.cipher_suites = names),
                "namedGroups" => names(node, "named group", NAMED_GROUPS).map(|names| details.named_groups = names),
                _ => Err((node.line, "no such member: there are minVersion, cipherSuites and namedGroups".to_owned())),
            };
            read.map_err(|(line, message)| Error::Value { path: path.to_owned(), line, key: key.clone(), message })?;
        }
        // To the other tools an empty list of groups is none.
        details.named_groups = details.named_groups.filter(|groups| !groups.is_empty());
        Ok(details)
    }
}

/// What is wrong, and in which line.
type Wrong = (usize, String);

fn version(node: &Node) -> Result<Option<&str>, Wrong> {
    let version = node.text().map_err(|what| (node.line, what.to_owned()))?.filter(|text| !text.is_empty());
    match version {
        Some(version) if !VERSIONS.contains(&version) => {
            Err((node.line, format!("unrecognized TLS minimum version {version:?}: want one of {}", VERSIONS.join(", "))))
        }
        version => Ok(version),
    }
}

fn names(node: &Node, what: &str, known: &[&str]) -> Result<Option<Vec<String>>, Wrong> {
    let Some(nodes) = node.list().map_err(|what| (node.line, format!("{what} of texts")))? else { return Ok(None) };
    let name = |node: &Node| {
        let name = node.text().map_err(|what| (node.line, what.to_owned()))?.unwrap_or_default();
        if known.contains(&name) {
            return Ok(name.to_owned());
        }
        let meant = known.iter().find(|known| known.eq_ignore_ascii_case(name));
        let hint = meant.map(|known| format!(": it is written {known}")).unwrap_or_default();
        Err((node.line, format!("unrecognized TLS {what} {name:?}{hint}")))
    };
    nodes.iter().map(name).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TlsDetails, String> {
        TlsDetails::parse(Path::new("/t.yaml"), text).map_err(|error| error.to_string())
    }

    fn details(only_1_3: bool, suites: Option<&[&str]>, groups: Option<&[&str]>) -> TlsDetails {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        TlsDetails { only_1_3, cipher_suites: suites.map(owned), named_groups: groups.map(owned) }
    }

    #[test]
    fn members_are_optional_and_nothing_is_none() {
        for (text, want) in [
            ("", details(false, None, None)),
            ("# nothing\n", details(false, None, None)),
            ("{}", details(false, None, None)),
            ("minVersion:\ncipherSuites: ~\nnamedGroups: null\n", details(false, None, None)),
            ("minVersion: ''", details(false, None, None)),
            ("minVersion: \"1.3\"", details(true, None, None)),
            // A number to YAML; the text counts.
            ("minVersion: 1.3", details(true, None, None)),
            ("minVersion: 1.0", details(false, None, None)),
            ("minVersion: 1.2", details(false, None, None)),
            ("cipherSuites: []\nnamedGroups: []", details(false, Some(&[]), None)),
            ("{minVersion: '1.1', namedGroups: [x25519, \"X25519MLKEM768\"]}", {
                details(false, None, Some(&["x25519", "X25519MLKEM768"]))
            }),
            ("cipherSuites:\n- TLS_AES_128_GCM_SHA256\n- TLS_RSA_WITH_RC4_128_SHA\nminVersion: 1.3\n", {
                details(true, Some(&["TLS_AES_128_GCM_SHA256", "TLS_RSA_WITH_RC4_128_SHA"]), None)
            }),
        ] {
            assert_eq!(read(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused_with_its_line() {
        let members = "no such member: there are minVersion, cipherSuites and namedGroups";
        let versions = "want one of 1.0, 1.1, 1.2, 1.3";
        for (text, want) in [
            ("\nminversion: 1.2", format!("\"/t.yaml\": line 2: minversion: {members}")),
            ("a:\n  b: c", format!("\"/t.yaml\": line 1: a: {members}")),
            (
                "minVersion: 1.4",
                format!("\"/t.yaml\": line 1: minVersion: unrecognized TLS minimum version \"1.4\": {versions}"),
            ),
            ("minVersion: TLS1.2", {
                format!("\"/t.yaml\": line 1: minVersion: unrecognized TLS minimum version \"TLS1.2\": {versions}")
            }),
            ("minVersion: [1.2]", "\"/t.yaml\": line 1: minVersion: want a text".into()),
            ("cipherSuites: TLS_AES_128_GCM_SHA256", "\"/t.yaml\": line 1: cipherSuites: want a list of texts".into()),
            ("cipherSuites:\n- TLS_AES_128_GCM_SHA256\n- TLS_NONE", {
                "\"/t.yaml\": line 3: cipherSuites: unrecognized TLS cipher suite \"TLS_NONE\"".into()
            }),
            ("cipherSuites: [~]", "\"/t.yaml\": line 1: cipherSuites: unrecognized TLS cipher suite \"\"".into()),
            ("namedGroups:\n- [x25519]", "\"/t.yaml\": line 2: namedGroups: want a text".into()),
            ("namedGroups:\n- X25519", {
                "\"/t.yaml\": line 2: namedGroups: unrecognized TLS named group \"X25519\": it is written x25519".into()
            }),
            ("minVersion: 1.2\nminVersion: 1.3", "parsing \"/t.yaml\": line 2: \"minVersion\" stands there twice".into()),
            ("- x", "parsing \"/t.yaml\": line 1: want keys with values".into()),
            ("x", "parsing \"/t.yaml\": line 1: want keys with values".into()),
        ] {
            assert_eq!(read(text), Err(want), "{text}");
        }
        for text in ["minVersion: 1.2\nx: [", "a: b: c", "minVersion: 1.2\n---\nminVersion: 1.3"] {
            assert!(read(text).unwrap_err().starts_with("parsing \"/t.yaml\": line "), "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &Path| TlsDetails::load(path).unwrap_err().to_string();
        assert!(error(&dir.path().join("none")).starts_with("reading \""));
        assert!(error(dir.path()).starts_with("reading \""));
        let large = dir.path().join("large.yaml");
        std::fs::write(&large, "#".repeat(1 << 20)).unwrap();
        assert_eq!(TlsDetails::load(&large).unwrap(), TlsDetails::default());
        std::fs::write(&large, "#".repeat((1 << 20) + 1)).unwrap();
        assert!(error(&large).ends_with("the file is larger than 1048576 bytes"));
    }
}
