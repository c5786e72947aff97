//! One image, or an index of them, from source to destination.

use containers_storage::Digest;

use super::plan::{self, Changed};
use super::variants::{self, Variant, Variants};
use super::{CopyOptions, Existing, Instances, LayerCompression, Progress, Recompress, Uncompressed};
use super::{layers, read_config, read_instance};
use crate::conf::policy::Requirement;
use crate::image::manifest::index::{Index, Instance, MAX_INSTANCES};
use crate::image::manifest::{self, Document, LayerType};
use crate::image::signature::{Kind, kind_of};
use crate::image::{Format, ImageConfig, Manifest, Reference};
use crate::transport::compression::{Layout, chunked};
use crate::transport::{Destination, Error, InIndex, Source, trust};

/// What a copy needs all the way.
pub(super) struct Job<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) destination: &'a dyn Destination,
    pub(super) options: &'a CopyOptions<'a>,
    /// What the policy asks of each image.
    pub(super) requirements: &'a [Requirement],
    pub(super) progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// How the layers of a signed image are copied: as they are.
const UNCHANGED: LayerCompression = LayerCompression {
    method: None,
    recompress: Recompress::Never,
    uncompressed: Uncompressed::Keep,
    variants: Variants::NONE,
};

/// A document as the destination has it.
pub(super) struct Written {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
    /// The kinds of its layers; none of what is no image.
    pub(super) layers: Vec<Option<LayerType>>,
    /// How all of them lie in their blobs.
    pub(super) layout: Layout,
}

impl Job<'_> {
    /// Copies one image, which is `instance` of the source's index if that is one.
    pub(super) fn image(&self, manifest: &Manifest, in_index: InIndex, instance: Option<&Digest>) -> Result<Written, Error> {
        trust::require(self.source, self.requirements, manifest.bytes(), instance)?;
        let signatures = self.signatures(instance)?;
        let written = if signatures.is_empty() {
            self.contents(manifest, in_index)?
        } else {
            let options = CopyOptions { compression: UNCHANGED, ..self.options.clone() };
            let written = Job { options: &options, ..*self }.contents(manifest, in_index)?;
            if written.digest != manifest.digest() {
                return Err(Error::SignaturesLost { place: self.source.name() });
            }
            written
        };
        let in_index = (in_index == InIndex::Instance).then_some(&written.digest);
        self.put_signatures(signatures, &written.digest, in_index)?;
        Ok(written)
    }

    /// The signatures that are copied along. Where they have no place nothing is copied at all.
    fn signatures(&self, instance: Option<&Digest>) -> Result<Vec<Vec<u8>>, Error> {
        let found = match self.options.signatures.existing {
            Existing::Copy => self.source.signatures(instance)?,
            Existing::Remove => Vec::new(),
        };
        let new = self.options.signatures.sign_by.map(|_| Some(Kind::Simple));
        for kind in found.iter().map(|bytes| kind_of(bytes)).chain(new) {
            self.destination.accepts_signature(kind)?;
        }
        if let Some(key) = self.options.signatures.sign_by {
            self.signed_name(key)?;
        }
        Ok(found)
    }

    /// The name that a new signature is for.
    fn signed_name(&self, key: &str) -> Result<Reference, Error> {
        self.destination.reference().ok_or_else(|| Error::Signing {
            key: key.to_owned(),
            problem: format!("Cannot determine canonical Docker reference for destination {}", self.destination.name()),
        })
    }

    /// Hands the signatures on, with a new one if one is wished.
    fn put_signatures(&self, mut signatures: Vec<Vec<u8>>, manifest: &Digest, instance: Option<&Digest>) -> Result<(), Error> {
        if let Some(key) = self.options.signatures.sign_by {
            signatures.push(trust::new_signature(manifest, &self.signed_name(key)?, key)?);
        }
        if signatures.is_empty() {
            return Ok(());
        }
        (self.progress)(Progress::StoringSignatures);
        self.destination.put_signatures(&signatures, instance)
    }

    fn contents(&self, manifest: &Manifest, in_index: InIndex) -> Result<Written, Error> {
        if manifest.is_artifact() {
            return self.artifact(manifest, in_index);
        }
        let place = || self.source.name();
        let config = read_config(self.source, manifest)?;
        let parsed = ImageConfig::parse(&config).map_err(|source| Error::Config { place: place(), source })?;
        if manifest.layers.len() != parsed.diff_ids.len() {
            let (layers, diff_ids) = (manifest.layers.len(), parsed.diff_ids.len());
            return Err(Error::LayerCount { place: place(), layers, diff_ids });
        }
        let accepts = self.destination.accepts();
        // What cannot be had is refused before a byte of a layer is moved.
        let format = plan::format(manifest.format, self.options, &accepts, &self.destination.name())?;
        let copied = layers::copy(self, manifest, &parsed.diff_ids)?;
        let changed = plan::documents(manifest, &config, &parsed, &copied, format);
        let Changed { manifest, config } = changed.map_err(|problem| problem.at(place()))?;
        self.documents(&manifest, &config, in_index)
    }

    /// Copies what is no image. Nothing of it may change, since nobody here knows what its bytes mean.
    fn artifact(&self, manifest: &Manifest, in_index: InIndex) -> Result<Written, Error> {
        let accepts = self.destination.accepts();
        if !accepts.indexes {
            let (place, source) = (self.destination.name(), self.source.name());
            return Err(Error::Impossible(format!("{source} is no image, and {place} holds images only")));
        }
        if !accepts.formats.contains(&Format::Oci) || self.options.format.is_some_and(|format| format != Format::Oci) {
            return Err(Error::Impossible(format!("{} is no image and has no form but the OCI's", self.source.name())));
        }
        let config = read_config(self.source, manifest)?;
        layers::copy_unchanged(self, manifest)?;
        self.documents(manifest, &config, in_index)
    }

    fn documents(&self, manifest: &Manifest, config: &[u8], in_index: InIndex) -> Result<Written, Error> {
        (self.progress)(Progress::Config(&manifest.config.digest));
        self.destination.put_config(&manifest.config.digest, config)?;
        (self.progress)(Progress::Manifest);
        self.destination.put_manifest(manifest, in_index)?;
        let is_chunked = manifest.layers.iter().all(|layer| chunked::is_told(&layer.annotations));
        Ok(Written {
            digest: manifest.digest(),
            size: manifest.bytes().len() as u64,
            media_type: manifest.media_type().to_owned(),
            layers: match manifest.is_artifact() {
                true => Vec::new(),
                false => manifest.layers.iter().map(|layer| LayerType::of(&layer.media_type)).collect(),
            },
            layout: if is_chunked { Layout::Chunked } else { Layout::Whole },
        })
    }

    /// Copies all images of an index, and then the index.
    pub(super) fn index(&self, index: &Index) -> Result<Written, Error> {
        let accepts = self.destination.accepts();
        if !accepts.indexes {
            return Err(Error::OneImageOnly { place: self.destination.name() });
        }
        trust::require(self.source, self.requirements, index.bytes(), None)?;
        let signatures = self.signatures(None)?;
        let wanted = self.options.compression.variants;
        plan::allows_variants(wanted, self.options)?;
        let total = index.instances.len();
        let count = if self.options.instances == Instances::IndexOnly { 0 } else { total };
        (self.progress)(Progress::Instances { count, total });
        let mut copied = Vec::with_capacity(count);
        for (at, instance) in index.instances.iter().take(count).enumerate() {
            (self.progress)(Progress::Instance { digest: &instance.digest, number: at + 1, count });
            copied.push(self.instance(instance)?);
        }
        let added = self.variants(index, &copied)?;
        let oci = plan::index_is_oci(index, self.options, &accepts) || variants::any_needs_zstd(&added);
        let media_type = if oci { manifest::OCI_INDEX } else { manifest::DOCKER_LIST };
        let edited = variants::edited(index, media_type, &copied, &added);
        let bytes = edited.map_err(|source| Error::Manifest { place: self.source.name(), source: source.into() })?;
        if !signatures.is_empty() && bytes != index.bytes() {
            return Err(Error::SignaturesLost { place: self.source.name() });
        }
        (self.progress)(Progress::Index);
        self.destination.put_index(&bytes, media_type)?;
        self.put_signatures(signatures, &Digest::of(&bytes), None)?;
        Ok(Written {
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            media_type: media_type.to_owned(),
            layers: Vec::new(),
            layout: Layout::Whole,
        })
    }

    /// Copies images of an index once more, in the compressions that are wanted besides their own.
    fn variants(&self, index: &Index, copied: &[Written]) -> Result<Vec<Variant>, Error> {
        let missing = variants::missing(index, copied, self.options.compression.variants);
        let count = copied.len() + missing.len();
        if count > MAX_INSTANCES {
            let place = self.source.name();
            return Err(Error::Impossible(format!("{place} would become a list of {count} images (limit {MAX_INSTANCES})")));
        }
        let mut added: Vec<Variant> = Vec::with_capacity(missing.len());
        for (number, (of, method)) in (copied.len() + 1..).zip(missing) {
            let Some(instance) = index.instances.get(of) else { continue };
            (self.progress)(Progress::Replicating { digest: &instance.digest, number, count });
            // They are for another manifest.
            if !self.signatures(Some(&instance.digest))?.is_empty() {
                return Err(Error::SignaturesLost { place: self.source.name() });
            }
            let compression = LayerCompression {
                method: Some(method),
                recompress: Recompress::OtherAlgorithm,
                uncompressed: Uncompressed::Compress,
                variants: Variants::NONE,
            };
            let options = CopyOptions { compression, ..self.options.clone() };
            let written = Job { options: &options, ..*self }.instance(instance)?;
            let known =
                copied.iter().chain(added.iter().map(|variant| &variant.written)).any(|other| other.digest == written.digest);
            if !known {
                added.push(Variant { of, written });
            }
        }
        Ok(added)
    }

    fn instance(&self, instance: &Instance) -> Result<Written, Error> {
        match read_instance(self.source, instance)? {
            Document::Image(manifest) => self.image(&manifest, InIndex::Instance, Some(&instance.digest)),
            Document::Index(_) => {
                let problem = format!("{} is an index inside of the index: copy it by itself", instance.digest);
                Err(Error::Document { place: self.source.name(), problem })
            }
        }
    }
}
