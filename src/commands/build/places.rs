//! `-t TRANSPORT:PLACE`: the image goes there, as if it were pushed. What has no other name passes through the store only.

use containers_storage::ImageId;

use crate::commands::access::policy_file;
use crate::commands::progress;
use crate::commands::{CommandError, Context, Ui};
use crate::container::push;
use crate::image::{Location, location};
use crate::transport::copy::{Instances, LayerCompression, Platform, Signatures, Uncompressed};
use crate::transport::registry::Network;

/// What `-t` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tags {
    /// Names in the store.
    pub(super) names: Vec<String>,
    /// Places elsewhere.
    pub(super) places: Vec<String>,
}

/// Tells names from places.
pub(super) fn sort(tags: &[String]) -> Result<Tags, location::Error> {
    let mut sorted = Tags::default();
    for tag in tags.iter().filter(|tag| !tag.is_empty()) {
        match Location::parse(tag)? {
            None | Some(Location::Storage(_)) => sorted.names.push(tag.clone()),
            Some(_) => sorted.places.push(tag.clone()),
        }
    }
    Ok(sorted)
}

/// What is the same for all places.
pub(super) struct Sending<'s> {
    pub(super) ctx: &'s Context,
    pub(super) network: &'s Network,
    pub(super) platform: Platform,
    pub(super) sign_by: Option<&'s str>,
    /// What becomes of layers that are not compressed.
    pub(super) compression: LayerCompression,
    pub(super) quiet: bool,
}

impl Sending<'_> {
    /// Brings the image to each place. A registry gets its layers as it wants them.
    pub(super) fn send(&self, ui: &mut Ui, id: &str, places: &[String]) -> Result<(), CommandError> {
        let trust = policy_file(self.ctx)?;
        let temp_dir = self.ctx.temp_dir();
        for place in places {
            let compression = match place.split(':').next() {
                Some("docker") => LayerCompression { uncompressed: Uncompressed::AsDestination, ..self.compression },
                // It has its own.
                Some("docker-archive") => LayerCompression { uncompressed: Uncompressed::Keep, ..LayerCompression::default() },
                _ => self.compression,
            };
            let options = push::Options {
                image: id,
                destination: Some(place),
                registries: self.ctx.registries()?,
                trust: &trust,
                temp_dir: &temp_dir,
                network: self.network,
                instances: Instances::Platform(self.platform.clone()),
                format: None,
                compression,
                signatures: Signatures { sign_by: self.sign_by, ..Signatures::default() },
                encrypt: None,
                list: push::Afterwards::Keep,
                archive_time: 0,
            };
            ui.finish()?;
            let pushed = push::push(self.ctx.store()?, &options, progress::reporter(self.quiet.into()).as_ref())?;
            pushed.warnings.iter().for_each(|warning| ui.warning(warning));
        }
        Ok(())
    }

    /// Takes an image away that was only to be brought elsewhere. One that was there before, made from the same, stays.
    pub(super) fn release(&self, id: &str) -> Result<(), CommandError> {
        let Ok(id) = id.parse::<ImageId>() else { return Ok(()) };
        self.ctx.store()?.release_image(&id).and_then(|mut deleted| deleted.finish())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_name_places() {
        let tags = ["a", "b:1", "oci:/d:x", "containers-storage:c", "docker-archive:f", "dir:/e", "localhost:5000/x", ""];
        let sorted = sort(&tags.map(str::to_owned)).unwrap();
        assert_eq!(sorted.names, ["a", "b:1", "containers-storage:c", "localhost:5000/x"]);
        assert_eq!(sorted.places, ["oci:/d:x", "docker-archive:f", "dir:/e"]);
        assert!(sort(&["docker-daemon:x".to_owned()]).is_err());
    }
}
