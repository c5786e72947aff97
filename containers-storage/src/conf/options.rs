//! Options of the graph driver, written `[driver.]key=value`.

use std::path::PathBuf;

use super::{DriverKind, Error};

/// Settings of the driver in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriverOptions {
    /// Options for each mount of a container (`mountopt`), as `nodev`.
    pub mount_options: Vec<String>,
    /// The program that mounts containers in the kernel's place (`mount_program`).
    pub mount_program: Option<PathBuf>,
    /// The mode of every file and directory in a layer (`force_mask`).
    pub force_mask: Option<u32>,
    /// Never mount with `volatile`.
    pub disable_volatile: bool,
    /// Do not bind-mount the driver's home on itself.
    pub skip_mount_home: bool,
    /// Owners that the ID map lacks are dropped in silence.
    pub ignore_chown_errors: bool,
    /// `syncfs` before a layer record is saved (`sync = "filesystem"`).
    pub sync_filesystem: bool,
}

/// How an option says whose it is.
const PREFIXES: [(&str, Option<DriverKind>); 6] = [
    ("overlay.", Some(DriverKind::Overlay)),
    ("overlay2.", Some(DriverKind::Overlay)),
    ("vfs.", Some(DriverKind::Vfs)),
    ("btrfs.", None),
    ("zfs.", None),
    ("aufs.", None),
];

/// Options that mean nothing to a driver without mounts.
const OF_OVERLAY: [&str; 7] = ["mountopt", "skip_mount_home", "mount_program", "use_composefs", "force_mask", "size", "inodes"];

impl DriverOptions {
    /// Applies one option. Those of other drivers are passed over, as with the other tools; an unknown one is an error.
    pub(super) fn apply(
        &mut self,
        driver: DriverKind,
        origin: &str,
        option: &str,
        stores: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let own = match PREFIXES.iter().find_map(|(prefix, of)| Some((option.strip_prefix(prefix)?, *of))) {
            Some((own, Some(of))) if of == driver => own,
            Some(_) => return Ok(()),
            None => option.strip_prefix('.').unwrap_or(option),
        };
        let (key, value) = own.split_once('=').unwrap_or((own, ""));
        if driver == DriverKind::Vfs && OF_OVERLAY.contains(&key) {
            let (origin, option) = (origin.to_owned(), key.to_owned());
            return Err(Error::NotOfDriver { origin, driver: driver.name(), option });
        }
        let unsupported = |what: &str| Err(Error::Unsupported { origin: origin.to_owned(), what: what.to_owned() });
        match key {
            "mountopt" => self.mount_options = value.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            "ignore_chown_errors" => self.ignore_chown_errors = truth(origin, key, value)?,
            "skip_mount_home" => self.skip_mount_home = truth(origin, key, value)?,
            "sync" => {
                self.sync_filesystem = match value {
                    "" | "none" => false,
                    "filesystem" => true,
                    _ => return Err(wrong(origin, key, "none or filesystem")),
                }
            }
            "imagestore" | "additionalimagestore" => stores.extend((!value.is_empty()).then(|| PathBuf::from(value))),
            "mount_program" if value.is_empty() => self.mount_program = None,
            "mount_program" if !value.starts_with('/') || !std::path::Path::new(value).is_file() => {
                return Err(wrong(origin, key, "the absolute path of a program that is there"));
            }
            "mount_program" => self.mount_program = Some(PathBuf::from(value)),
            "use_composefs" if truth(origin, key, value)? => return unsupported("composefs (use_composefs)"),
            "force_mask" => self.force_mask = mask(origin, value)?,
            "size" | "inodes" if !value.is_empty() => return unsupported(&format!("a quota ({key})")),
            "additionallayerstore" if !value.is_empty() => {
                return unsupported("an additional layer store (additionallayerstore)");
            }
            "use_composefs" | "size" | "inodes" | "additionallayerstore" => {}
            _ => return Err(Error::UnknownOption { origin: origin.to_owned(), option: option.to_owned() }),
        }
        Ok(())
    }
}

/// `shared`, `private` or an octal mode.
fn mask(origin: &str, value: &str) -> Result<Option<u32>, Error> {
    match value {
        "" => Ok(None),
        "shared" => Ok(Some(0o755)),
        "private" => Ok(Some(0o700)),
        _ => match u32::from_str_radix(value, 8) {
            // Whoever unpacks a layer must be able to read it again.
            Ok(mode) if mode <= 0o777 && mode & 0o700 == 0o700 => Ok(Some(mode)),
            _ => Err(wrong(origin, "force_mask", "shared, private or an octal mode from 700 to 777")),
        },
    }
}

fn truth(origin: &str, key: &str, value: &str) -> Result<bool, Error> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        _ => Err(wrong(origin, key, "true or false")),
    }
}

fn wrong(origin: &str, key: &str, expected: &'static str) -> Error {
    Error::Value { origin: origin.to_owned(), key: key.to_owned(), expected }
}
