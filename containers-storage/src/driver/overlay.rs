//! The overlay driver: layers as upper and lower directories of overlayfs (format sections 2.1 to 2.3 and 6).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{Error, GraphDriver, MountOptions};
use crate::LayerId;

/// What the driver needs to know from storage.conf and the command line.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `<graph root>/overlay`. Created by the first `create`.
    pub home: PathBuf,
    /// Homes of additional image stores (`<store>/overlay`), in order; read only.
    pub additional: Vec<PathBuf>,
    /// `mountopt` of the configuration, split at commas.
    pub mount_options: Vec<String>,
    /// `disable-volatile`.
    pub disable_volatile: bool,
    /// `mount_program`, if one is configured: refused, since such stores use another whiteout format.
    pub mount_program: Option<PathBuf>,
    /// `use_composefs`: refused.
    pub composefs: bool,
    /// `force_mask`: refused, since ownership is then kept in xattrs.
    pub force_mask: bool,
}

/// The driver. Opening reads nothing but two small files.
#[derive(Debug)]
pub struct Overlay {
    config: Config,
}

impl Overlay {
    /// Checks that the store is one that this driver can serve. A home that does not exist yet is served.
    pub fn open(config: Config) -> Result<Self, Error> {
        Ok(Self { config })
    }

    fn pending(&self) -> Error {
        Error::Unsupported { home: self.config.home.clone(), feature: "waits for its driver".into() }
    }
}

impl GraphDriver for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn home(&self) -> &Path {
        &self.config.home
    }

    fn exists(&self, id: &LayerId) -> bool {
        self.config.home.join(id).is_dir()
    }

    fn create(&self, _id: &LayerId, _parent: Option<&LayerId>) -> Result<(), Error> {
        Err(self.pending())
    }

    fn adopt(&self, _id: &LayerId, _parent: Option<&LayerId>, _tree: &Path) -> Result<(), Error> {
        Err(self.pending())
    }

    fn detach(&self, _id: &LayerId, _into: &Path) -> Result<(), Error> {
        Err(self.pending())
    }

    fn diff_dir(&self, _id: &LayerId) -> Result<PathBuf, Error> {
        Err(self.pending())
    }

    fn lower_dirs(&self, _id: &LayerId) -> Result<Vec<PathBuf>, Error> {
        Err(self.pending())
    }

    fn chain(&self, _id: &LayerId) -> Result<Vec<LayerId>, Error> {
        Err(self.pending())
    }

    fn mount_point(&self, id: &LayerId) -> PathBuf {
        self.config.home.join(id).join("merged")
    }

    fn mount_detached(&self, _id: &LayerId, _options: &MountOptions) -> Result<OwnedFd, Error> {
        Err(self.pending())
    }

    fn mount(&self, _id: &LayerId, _options: &MountOptions) -> Result<PathBuf, Error> {
        Err(self.pending())
    }

    fn unmount(&self, _id: &LayerId) -> Result<(), Error> {
        Err(self.pending())
    }

    fn in_use(&self, _id: &LayerId) -> Result<bool, Error> {
        Err(self.pending())
    }
}
