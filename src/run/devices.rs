//! `--device`: a device node of the host, bound into the container's `/dev`.

use std::path::PathBuf;

/// Why a device is not named as the Container Device Interface does it.
pub const NO_CDI: &str =
    "devices are named by their paths, and no file outside of the command line changes what a container sees";

/// One device node (or a directory of them) of the host, and where it appears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRequest {
    /// The node on the host.
    pub source: PathBuf,
    /// Where it appears inside.
    pub target: PathBuf,
    /// What may be done with it.
    pub access: Access,
}

/// Permissions of a device as `--device` writes them (`rwm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// `r`
    pub read: bool,
    /// `w`
    pub write: bool,
    /// `m`
    pub mknod: bool,
}

impl DeviceRequest {
    /// Parses `SOURCE[:TARGET][:PERMISSIONS]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if is_cdi_name(text) {
            return Err(format!("CDI device {text:?} is not part of coracle: {NO_CDI}"));
        }
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, access) = match parts.as_slice() {
            [source] => (*source, *source, "rwm"),
            [source, second] if Access::parse(second).is_some() => (*source, *source, *second),
            [source, target] => (*source, *target, "rwm"),
            [source, target, access] => (*source, *target, *access),
            _ => return Err(format!("invalid device specification: {text}")),
        };
        let access = Access::parse(access).ok_or_else(|| format!("invalid device mode: {access}"))?;
        if !source.starts_with('/') || !target.starts_with('/') {
            return Err(format!("invalid device specification: {text}: both paths must be absolute"));
        }
        Ok(Self { source: PathBuf::from(source), target: PathBuf::from(target), access })
    }
}

/// Whether this is `VENDOR/CLASS=NAME`, as the Container Device Interface writes it.
fn is_cdi_name(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else { return false };
    kind.split_once('/').is_some_and(|(vendor, class)| ![vendor, class, name].contains(&""))
}

impl Access {
    fn parse(text: &str) -> Option<Self> {
        let mut access = Self { read: false, write: false, mknod: false };
        for letter in text.chars() {
            let seen = match letter {
                'r' => &mut access.read,
                'w' => &mut access.write,
                'm' => &mut access.mknod,
                _ => return None,
            };
            if std::mem::replace(seen, true) {
                return None;
            }
        }
        (!text.is_empty()).then_some(access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_words_become_requests() {
        for (text, source, target, write) in [
            ("/dev/fuse", "/dev/fuse", "/dev/fuse", true),
            ("/dev/fuse:r", "/dev/fuse", "/dev/fuse", false),
            ("/dev/fuse:/dev/x", "/dev/fuse", "/dev/x", true),
            ("/dev/fuse:/dev/x:rm", "/dev/fuse", "/dev/x", false),
        ] {
            let request = DeviceRequest::parse(text).unwrap();
            assert_eq!(
                (request.source.to_str(), request.target.to_str(), request.access.write),
                (Some(source), Some(target), write)
            );
        }
    }

    #[test]
    fn malformed_device_words_are_refused() {
        for text in ["", "fuse", "/dev/a:x", "/dev/a:/dev/b:q", "/dev/a:/dev/b:rr", "/dev/a:/b:r:w", ":/dev/a"] {
            assert!(DeviceRequest::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
