//! The documents and the record of a new image, from what is committed.

use containers_storage::store::{NewImage, Store};
use containers_storage::{ContainerId, Digest, ImageId, LayerId};

use super::document::{self, LayerInfo, Origin, Written};
use super::extra::ExtraLayer;
use super::layer::Packed;
use super::{Error, Options, info};
use crate::image::config::History;
use crate::image::{Draft, Reference, Time};
use crate::transport;

/// The container that is committed, as far as documents tell of it.
pub(super) struct Subject<'a> {
    pub id: &'a ContainerId,
    /// For errors.
    pub name: String,
    /// ID and name of the image that it stands on; either may be empty.
    pub base: (&'a str, &'a str),
    /// History entries before and after that of the new layer.
    pub before: Vec<History>,
    /// See `before`.
    pub after: &'a [History],
}

/// What the image's documents and record are made of.
pub(super) struct Writer<'a> {
    pub subject: Subject<'a>,
    pub draft: Draft,
    pub created: Time,
    pub options: &'a Options,
    pub name: Option<&'a Reference>,
}

impl Writer<'_> {
    pub(super) fn write(&self, lower: &[LayerInfo], packed: Option<&Packed>, extra: &[ExtraLayer]) -> Result<Written, Error> {
        let mut layers = lower.to_vec();
        layers.extend(packed.map(Packed::info));
        for above in extra {
            layers.push(info(above.layer.clone())?);
        }
        let above: Vec<History> = extra.iter().map(|above| above.history.clone()).collect();
        let (base_id, base_name) = self.subject.base;
        let origin = Origin {
            created: self.created.clone(),
            container: self.subject.id.to_string(),
            base_id,
            base_name,
            before: &self.subject.before,
            after: self.subject.after,
            above: &above,
        };
        Ok(document::write(self.draft.clone(), &layers, &origin, &self.options.documents, self.options.layer))
    }

    /// A name with a digest is only that of the image which has it.
    pub(super) fn check_digest(&self, written: &Written) -> Result<(), Error> {
        let digest = written.manifest.digest();
        match self.name.filter(|name| name.digest().is_some_and(|wanted| *wanted != digest)) {
            None => Ok(()),
            Some(name) => Err(Error::OtherDigest {
                container: self.subject.name.clone(),
                name: Box::new(name.clone()),
                digest: Box::new(digest),
            }),
        }
    }

    pub(super) fn record(&self, written: &Written, top: Option<LayerId>) -> NewImage {
        let digest = written.manifest.digest();
        let config = Digest::of(&written.config);
        let manifest = written.manifest.bytes().to_vec();
        NewImage {
            id: ImageId::of_config(&config),
            layer: top,
            names: self.name.iter().map(ToString::to_string).collect(),
            metadata: "{}".to_owned(),
            created: self.created.as_str().to_owned(),
            big_data: vec![
                (config.to_string(), written.config.clone()),
                (format!("manifest-{digest}"), manifest.clone()),
                ("manifest".to_owned(), manifest),
            ],
            digest,
            passing: self.options.passing,
            holder: self.options.holder.clone(),
        }
    }

    /// Refuses a key that nobody has, before anything slow is done.
    pub(super) fn check_key(&self) -> Result<(), Error> {
        match &self.options.sign_by {
            Some(key) => transport::storage::check_key(key).map_err(|source| self.unsigned(source)),
            None => Ok(()),
        }
    }

    /// Signs the image, if that is wanted: before anybody can see it, since without a signature there is to be none.
    pub(super) fn sign(&self, store: &Store, image: &mut NewImage) -> Result<(), Error> {
        match (&self.options.sign_by, self.name) {
            (Some(key), Some(name)) => {
                transport::storage::sign_new(store, image, name, key).map_err(|source| self.unsigned(source))
            }
            _ => Ok(()),
        }
    }

    fn unsigned(&self, source: transport::Error) -> Error {
        Error::Sign { name: self.subject.name.clone(), source: Box::new(source) }
    }
}
