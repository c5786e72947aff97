//! The three kinds of identifiers in a store. Each is 64 lower-case hex digits, and a type of its own, so that an image's ID
//! cannot be looked up among layers and no foreign text becomes a path component.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, hex, is_lower_hex};

/// A text that should be an identifier and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ID (64 lower-case hex digits)")]
pub struct ParseIdError(String);

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// A fresh identifier of 32 random bytes. One whose first 12 digits are all decimal is drawn again: cut to a host
            /// name, it would look like a number.
            pub fn random() -> Self {
                loop {
                    let mut bytes = [0u8; 32];
                    if getrandom::fill(&mut bytes).is_err() {
                        continue;
                    }
                    let text = hex(&bytes);
                    if !text[..12].bytes().all(|b| b.is_ascii_digit()) {
                        return Self(text);
                    }
                }
            }

            /// The 64 digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first 12 digits, as tables show it.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text.len() == 64 && is_lower_hex(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ParseIdError(text.chars().take(100).collect()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<std::path::Path> for $name {
            fn as_ref(&self) -> &std::path::Path {
                std::path::Path::new(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type! {
    /// The ID of a layer: of an image's layer the chain of its diff IDs, of a container's a random number.
    LayerId
}
id_type! {
    /// The ID of an image: the hex digits of its config's digest.
    ImageId
}
id_type! {
    /// The ID of a container: random.
    ContainerId
}

impl LayerId {
    /// The ID that an image layer has under `parent` in every tool that shares the store: the diff ID's own digits for a base
    /// layer, else the SHA-256 over `parent+diffid` in hex text (containers/image, `storage` transport). This is not the OCI
    /// chain ID, which hashes the `sha256:` prefixes as well.
    pub fn of_image_layer(parent: Option<&LayerId>, diff_id: &Digest) -> Self {
        match parent {
            None => Self(diff_id.hex().to_owned()),
            Some(parent) => Self(Digest::of(format!("{parent}+{}", diff_id.hex()).as_bytes()).hex().to_owned()),
        }
    }
}

impl ImageId {
    /// The ID of the image whose config has this digest.
    pub fn of_config(config: &Digest) -> Self {
        Self(config.hex().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_be_a_path() {
        for bad in ["", ".", "..", "../../x", &"A".repeat(64), &"a".repeat(63), &format!("{}/", "a".repeat(63))] {
            assert!(bad.parse::<LayerId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn random_ids_differ_and_parse() {
        let (a, b) = (ContainerId::random(), ContainerId::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<ContainerId>().as_ref(), Ok(&a));
    }
}
