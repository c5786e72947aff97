//! Copies of an image's top layer whose owners are shifted, for containers with id maps of their own (format, section 9.3).
//!
//! The copy is one layer with everything that the image shows: nothing below it is looked up on disk. Its record says what the image's
//! top layer says, parent and digests included, so that other tools take the one for the other; the image lists it in
//! `mapped-layers`, and it is deleted with the image.

use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid};

use super::layer::StagedLayer;
use super::pending::Note;
use super::{Error, Store};
use crate::driver::Side;
use crate::id_map::IdMap;
use crate::images::Image;
use crate::layers::Layer;
use crate::{ImageId, LayerId};

impl Store {
    /// The copy of the top layer of `image` that has these maps, if there is one.
    pub fn mapped_layer(&self, image: &Image, uid: &IdMap, gid: &IdMap) -> Result<Option<LayerId>, Error> {
        let layers = self.layers()?;
        for id in &image.mapped_layers {
            let Some(layer) = layers.find(id)? else { continue };
            if !layer.is_incomplete() && layer.uid_map == uid.0 && layer.gid_map == gid.0 {
                return Ok(Some(id.clone()));
            }
        }
        Ok(None)
    }

    /// Makes `staged`, which holds everything that the image `image` shows with its owners shifted by the maps, such a copy. The root of
    /// the tree gets `mode`. Must run inside the user namespace of the store.
    pub fn put_mapped_layer(
        &self,
        image: &ImageId,
        staged: StagedLayer,
        maps: (&IdMap, &IdMap),
        mode: u32,
    ) -> Result<LayerId, Error> {
        let put = self.try_put_mapped_layer(image, &staged, maps, mode);
        if put.is_err() {
            // As in `create_container`: undoes what was noted.
            let _ = self.lock_layers();
        }
        put
    }

    fn try_put_mapped_layer(
        &self,
        image: &ImageId,
        staged: &StagedLayer,
        (uid, gid): (&IdMap, &IdMap),
        mode: u32,
    ) -> Result<LayerId, Error> {
        let mut layers = self.lock_layers()?;
        let mut images = self.lock_images()?;
        let record = images.get(image)?;
        let template = record.layer.as_ref().map(|top| layers.get(top)).transpose()?;
        let id = LayerId::random();
        let noted = self.note(&Note { layers: vec![id.clone()], ..Note::default() })?;
        self.driver()?.adopt(&id, None, staged.tree(), Side::Images)?;
        let diff = self.driver()?.diff_dir(&id)?;
        let owner = (uid.root().map(Uid::from_raw), gid.root().map(Gid::from_raw));
        rustix::fs::chownat(CWD, &diff, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::io("changing the owner of", &diff))?;
        rustix::fs::chmod(&diff, Mode::from_raw_mode(mode)).map_err(Error::io("changing the mode of", &diff))?;

        let mut layer = Layer::new(id.clone(), None);
        if let Some(template) = template {
            let copy = staged.tar_split();
            match std::fs::copy(self.tar_split(&template.id), copy) {
                Ok(_) => self.place_tar_split(copy, &id)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("creating", copy)(error)),
            }
            let created = layer.created;
            layer = Layer { id: id.clone(), names: Vec::new(), created, big_data_names: Vec::new(), ..template };
        }
        layer.uid_map.clone_from(&uid.0);
        layer.gid_map.clone_from(&gid.0);
        layers.push(self.table_of_image_layers(), &layer)?;
        layers.prepare()?.finish()?;
        let mut recorded = self.pull_up(&mut images, image)?;
        images.update(image, |image| image.mapped_layers.push(id.clone()))?;
        recorded.append(images.prepare()?);
        recorded.finish()?;
        noted.done();
        Ok(id)
    }
}
