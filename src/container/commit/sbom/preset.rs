//! Scanners that have a name (`--sbom`), as Buildah's manual lists them.

use super::{MergeStrategy, Scanner};

const SYFT: &str = "ghcr.io/anchore/syft";
const TRIVY: &str = "ghcr.io/aquasecurity/trivy";

impl Scanner {
    /// The scanner called `name`; the empty name is the usual one's.
    pub fn preset(name: &str) -> Option<Self> {
        let (image, format, merge) = match name {
            "" | "syft" | "syft-cyclonedx" => (SYFT, "cyclonedx-json", MergeStrategy::CycloneDx),
            "syft-spdx" => (SYFT, "spdx-json", MergeStrategy::Spdx),
            "trivy" | "trivy-cyclonedx" => (TRIVY, "cyclonedx", MergeStrategy::CycloneDx),
            "trivy-spdx" => (TRIVY, "spdx-json", MergeStrategy::Spdx),
            _ => return None,
        };
        let command = |tree: &str| match image {
            SYFT => format!("/syft scan -q dir:{tree} --output {format}={{OUTPUT}}"),
            _ => format!("trivy filesystem -q {tree} --format {format} --output {{OUTPUT}}"),
        };
        Some(Self { image: image.to_owned(), commands: ["{ROOTFS}", "{CONTEXT}"].map(command).to_vec(), merge })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_those_of_the_manual() {
        for name in ["", "syft", "syft-cyclonedx", "syft-spdx", "trivy", "trivy-cyclonedx", "trivy-spdx"] {
            assert!(Scanner::preset(name).is_some(), "{name}");
        }
        let syft = Scanner::preset("syft").unwrap();
        assert_eq!(syft.commands[0], "/syft scan -q dir:{ROOTFS} --output cyclonedx-json={OUTPUT}");
        let trivy = Scanner::preset("trivy-spdx").unwrap();
        assert_eq!(trivy.commands[1], "trivy filesystem -q {CONTEXT} --format spdx-json --output {OUTPUT}");
        assert_eq!(Scanner::preset("grype"), None);
    }
}
