//! Media types of layers: which compression they tell of, and their names in the two formats.

use super::{DOCKER_LAYER, DOCKER_LAYER_GZIP, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use crate::image::Format;

/// What the media type of a layer says of its compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerType {
    /// A tar.
    Plain,
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
}

impl LayerType {
    /// What `media_type` says; `None` if it is no layer of a file system.
    pub fn of(media_type: &str) -> Option<Self> {
        // Layers that may not be distributed freely are layers all the same.
        let oci = ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"];
        let docker = ["application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"];
        let ending = oci.iter().chain(&docker).find_map(|start| media_type.strip_prefix(start))?;
        match ending {
            "" => Some(Self::Plain),
            "+gzip" | ".gzip" => Some(Self::Gzip),
            "+zstd" | ".zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The media type in a format; Docker has none for Zstandard.
    pub fn in_format(self, format: Format) -> Option<&'static str> {
        match (format, self) {
            (Format::Oci, Self::Plain) => Some(OCI_LAYER),
            (Format::Oci, Self::Gzip) => Some(OCI_LAYER_GZIP),
            (Format::Oci, Self::Zstd) => Some(OCI_LAYER_ZSTD),
            (Format::Docker, Self::Plain) => Some(DOCKER_LAYER),
            (Format::Docker, Self::Gzip) => Some(DOCKER_LAYER_GZIP),
            (Format::Docker, Self::Zstd) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read_as_written() {
        for format in [Format::Oci, Format::Docker] {
            for kind in [LayerType::Plain, LayerType::Gzip, LayerType::Zstd] {
                if let Some(media_type) = kind.in_format(format) {
                    assert_eq!(LayerType::of(media_type), Some(kind), "{media_type}");
                }
            }
        }
        assert_eq!(LayerType::of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), Some(LayerType::Gzip));
        for other in ["", "application/vnd.in-toto+json", "application/vnd.oci.image.layer.v1.tar+xz"] {
            assert_eq!(LayerType::of(other), None, "{other}");
        }
    }
}
