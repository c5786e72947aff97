//! What becomes of layers and documents on the way. Pure.

use std::collections::BTreeMap;

use containers_storage::Digest;
use containers_storage::archive::Compression;

use super::{CopyOptions, Instances, LayerCompression, Recompress, Uncompressed, Variants};
use crate::image::manifest::index::Index;
use crate::image::manifest::{self, Descriptor, LayerType};
use crate::image::{Format, ImageConfig, Manifest};
use crate::transport::compression::{Algorithm, Layout, Method, chunked};
use crate::transport::encryption::encrypted_type;
use crate::transport::{Accepts, Error, LayerForm};

/// What becomes of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It is copied as it is.
    Keep,
    /// It is decompressed.
    Decompress,
    /// It is compressed, after it was decompressed if need be.
    Compress(Method),
}

/// How a layer is compressed that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) compression: Compression,
    /// How it lies in its blob, as its annotations say.
    pub(super) layout: Layout,
}

impl Found {
    /// A blob with these annotations.
    pub(super) fn new(compression: Compression, annotations: &BTreeMap<String, String>) -> Self {
        let layout = if chunked::is_told(annotations) { Layout::Chunked } else { Layout::Whole };
        Self { compression, layout }
    }

    /// Whether `method` has made it. What lies in chunks is zstd for everybody who wants that; the other way nothing is in chunks yet.
    fn is(self, method: Method) -> bool {
        self.compression == magic(method.algorithm()) && (method.layout() == Layout::Whole || self.layout == Layout::Chunked)
    }
}

/// What becomes of a layer that is compressed like this.
pub(super) fn action(found: Found, form: LayerForm, wanted: &LayerCompression) -> Action {
    let form = match (form, wanted.uncompressed) {
        (LayerForm::Decompress, _) => LayerForm::Decompress,
        (form, Uncompressed::AsDestination) => form,
        (_, Uncompressed::Compress) => LayerForm::Compress,
        (_, Uncompressed::Keep) => LayerForm::Preserve,
    };
    let method = wanted.method.or_else(|| Method::new(Algorithm::Gzip, None).ok());
    match (form, found.compression, method) {
        (LayerForm::Decompress, Compression::None, _) => Action::Keep,
        (LayerForm::Decompress, ..) => Action::Decompress,
        (LayerForm::Compress, Compression::None, Some(method)) => Action::Compress(method),
        (_, compression, Some(method))
            if wanted.recompress == Recompress::OtherAlgorithm && compression != Compression::None && !found.is(method) =>
        {
            Action::Compress(method)
        }
        // Nobody reads these in a layer of a registry; OCI has no media type for them.
        (LayerForm::Compress, Compression::Bzip2 | Compression::Xz, Some(method)) => Action::Compress(method),
        _ => Action::Keep,
    }
}

fn magic(algorithm: Algorithm) -> Compression {
    match algorithm {
        Algorithm::Gzip => Compression::Gzip,
        Algorithm::Zstd => Compression::Zstd,
    }
}

/// A layer at the destination.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Copied {
    /// The blob there; its media type counts only if it is another blob than the manifest's.
    pub(super) blob: Descriptor,
    /// Its compression.
    pub(super) kind: Option<LayerType>,
    /// Whether it was encrypted on its way.
    pub(super) encrypted: bool,
    /// Its annotations, where they are no longer those of the source.
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

/// The format of the manifest at the destination.
pub(super) fn format(own: Format, options: &CopyOptions<'_>, accepts: &Accepts, destination: &str) -> Result<Format, Error> {
    // Only OCI has media types for encrypted layers; who wants them gets it, as with the other tools.
    let encrypts = options.sealing.encrypt.is_some() && accepts.formats.contains(&Format::Oci);
    let zstd = options.compression.method.is_some_and(|method| method.algorithm() == Algorithm::Zstd)
        && accepts.layers != LayerForm::Decompress;
    let format = if encrypts { Some(Format::Oci) } else { options.format };
    let wanted = format.unwrap_or(if accepts.formats.contains(&own) { own } else { preferred(accepts) });
    if !accepts.formats.contains(&wanted) {
        let name = if wanted == Format::Oci { "OCI" } else { "Docker v2s2" };
        return Err(Error::Impossible(format!("{destination} does not take manifests in the format {name}")));
    }
    if zstd && wanted == Format::Docker {
        // Only OCI has a media type for Zstandard.
        return match options.format {
            None if accepts.formats.contains(&Format::Oci) => Ok(Format::Oci),
            _ => Err(Error::Impossible(NO_ZSTD.to_owned())),
        };
    }
    Ok(wanted)
}

const NO_ZSTD: &str = "zstd compression is not supported for docker images: use --format oci";

/// Refuses further compressions that cannot be had, before anything is copied.
pub(super) fn allows_variants(wanted: Variants, options: &CopyOptions<'_>) -> Result<(), Error> {
    if options.format == Some(Format::Docker) && wanted.methods().any(|method| method.algorithm() == Algorithm::Zstd) {
        return Err(Error::Impossible(NO_ZSTD.to_owned()));
    }
    if options.instances == Instances::IndexOnly && !wanted.is_empty() {
        return Err(Error::Impossible("images in further compressions are added only where all images are copied".to_owned()));
    }
    Ok(())
}

fn preferred(accepts: &Accepts) -> Format {
    accepts.formats.first().copied().unwrap_or_default()
}

/// Whether an index is written in the OCI form.
pub(super) fn index_is_oci(index: &Index, options: &CopyOptions<'_>, accepts: &Accepts) -> bool {
    match options.format {
        Some(format) => format == Format::Oci,
        None if index.media_type == manifest::DOCKER_LIST => !accepts.formats.contains(&Format::Docker),
        None => accepts.formats.contains(&Format::Oci),
    }
}

/// The documents for the destination.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) manifest: Manifest,
    pub(super) config: Vec<u8>,
}

/// Why documents cannot be changed.
#[derive(Debug)]
pub(super) enum Problem {
    /// The manifest cannot be edited.
    Manifest(manifest::Error),
    /// A layer has no equivalent in the format.
    Layer(String, Format),
}

impl Problem {
    /// The error about the source `place`.
    pub(super) fn at(self, place: String) -> Error {
        match self {
            Self::Manifest(source) => Error::Manifest { place, source },
            Self::Layer(media_type, Format::Docker) if LayerType::of(&media_type) == Some(LayerType::Zstd) => {
                let text = format!("{place}: {media_type:?}: zstd compression is not supported for docker images");
                Error::Impossible(text)
            }
            Self::Layer(media_type, _) => {
                Error::Impossible(format!("{place}: a layer of type {media_type:?} cannot be converted to another format"))
            }
        }
    }
}

/// Manifest and config with the layers that the destination has. What did not change keeps its bytes.
pub(super) fn documents(
    manifest: &Manifest,
    config: &[u8],
    parsed: &ImageConfig,
    copied: &[Copied],
    format: Format,
) -> Result<Changed, Problem> {
    let mut layers = Vec::with_capacity(copied.len());
    for (copied, original) in copied.iter().zip(&manifest.layers) {
        layers.push(descriptor(copied, original, manifest.format, format)?);
    }
    if format == manifest.format {
        let manifest = manifest.with_layers(&layers).map_err(Problem::Manifest)?;
        return Ok(Changed { manifest, config: config.to_vec() });
    }
    // As with the other tools: Docker's config is a superset, so that OCI's is one as it stands; the other way it is rewritten.
    let config = if format == Format::Docker { config.to_vec() } else { parsed.to_oci() };
    let named = Descriptor {
        media_type: format.config_media_type().to_owned(),
        digest: Digest::of(&config),
        size: config.len() as u64,
        annotations: manifest.config.annotations.clone(),
    };
    Ok(Changed { manifest: Manifest::new(format, named, layers, manifest.annotations.clone()), config })
}

fn descriptor(copied: &Copied, original: &Descriptor, from: Format, to: Format) -> Result<Descriptor, Problem> {
    let changed = (&copied.blob.digest, copied.blob.size) != (&original.digest, original.size);
    if !changed && from == to {
        return Ok(original.clone());
    }
    let kind = if changed { copied.kind } else { LayerType::of(&original.media_type) };
    let media_type = kind.and_then(|kind| kind.in_format(to));
    let media_type = media_type.ok_or_else(|| {
        let media_type = if changed { &copied.blob.media_type } else { &original.media_type };
        Problem::Layer(media_type.clone(), to)
    })?;
    let mut annotations = copied.annotations.clone().unwrap_or_else(|| original.annotations.clone());
    if changed && copied.annotations.is_none() {
        // They are about the bytes that it had.
        annotations.retain(|name, _| !name.starts_with(chunked::PREFIX));
    }
    Ok(Descriptor {
        media_type: if copied.encrypted { encrypted_type(media_type) } else { media_type.to_owned() },
        annotations,
        digest: copied.blob.digest.clone(),
        size: copied.blob.size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Policy;
    use crate::transport::copy::Platform;

    fn method(algorithm: Algorithm) -> Option<Method> {
        Method::new(algorithm, None).ok()
    }

    #[test]
    fn what_is_compressed_stays_so_and_what_is_not_depends_on_the_destination() {
        use Compression::{Gzip, None as Plain, Xz, Zstd};
        let gzip = Action::Compress(method(Algorithm::Gzip).unwrap());
        let zstd = Action::Compress(method(Algorithm::Zstd).unwrap());
        let default = LayerCompression::default();
        let wants_zstd = LayerCompression { method: method(Algorithm::Zstd), ..default };
        let forced = LayerCompression { recompress: Recompress::OtherAlgorithm, ..wants_zstd };
        let kept = LayerCompression { uncompressed: Uncompressed::Keep, ..default };
        let pushed = LayerCompression { uncompressed: Uncompressed::Compress, ..default };
        let chunked = Method::chunked(None).unwrap();
        let in_chunks = LayerCompression { method: Some(chunked), ..forced };
        let cases = [
            (Plain, LayerForm::Compress, default, gzip),
            (Plain, LayerForm::Preserve, default, Action::Keep),
            (Plain, LayerForm::Decompress, default, Action::Keep),
            (Plain, LayerForm::Compress, kept, Action::Keep),
            (Plain, LayerForm::Preserve, pushed, gzip),
            (Plain, LayerForm::Decompress, pushed, Action::Keep),
            (Plain, LayerForm::Compress, wants_zstd, zstd),
            (Gzip, LayerForm::Compress, default, Action::Keep),
            (Gzip, LayerForm::Compress, wants_zstd, Action::Keep),
            (Gzip, LayerForm::Compress, forced, zstd),
            (Gzip, LayerForm::Decompress, forced, Action::Decompress),
            (Zstd, LayerForm::Compress, default, Action::Keep),
            (Zstd, LayerForm::Compress, forced, Action::Keep),
            (Zstd, LayerForm::Compress, in_chunks, Action::Compress(chunked)),
            (Gzip, LayerForm::Compress, in_chunks, Action::Compress(chunked)),
            (Zstd, LayerForm::Decompress, default, Action::Decompress),
            (Xz, LayerForm::Compress, default, gzip),
            (Xz, LayerForm::Preserve, default, Action::Keep),
        ];
        for (found, form, wanted, want) in cases {
            let found = Found { compression: found, layout: Layout::Whole };
            assert_eq!(action(found, form, &wanted), want, "{found:?} {form:?} {wanted:?}");
        }
        let found = Found { compression: Zstd, layout: Layout::Chunked };
        for wanted in [in_chunks, forced, default] {
            assert_eq!(action(found, LayerForm::Compress, &wanted), Action::Keep, "{wanted:?}");
        }
    }

    #[test]
    fn the_format_is_the_images_own_where_it_can_be() {
        let policy = Policy::default();
        let options = |format, algorithm: Option<Algorithm>| CopyOptions {
            instances: Instances::Platform(Platform::of_this_machine()),
            format,
            compression: LayerCompression { method: algorithm.and_then(method), ..LayerCompression::default() },
            policy: &policy,
            signatures: crate::transport::copy::Signatures::default(),
            sealing: crate::transport::encryption::Sealing::default(),
        };
        let accepts =
            |formats: &'static [Format]| Accepts { formats, layers: LayerForm::Compress, indexes: false, parallel: 1 };
        let any = accepts(&[Format::Oci, Format::Docker]);
        let docker = accepts(&[Format::Docker]);
        let zstd = Some(Algorithm::Zstd);
        let cases = [
            (Format::Oci, None, None, any, Some(Format::Oci)),
            (Format::Docker, None, None, any, Some(Format::Docker)),
            (Format::Oci, Some(Format::Docker), None, any, Some(Format::Docker)),
            (Format::Oci, None, None, docker, Some(Format::Docker)),
            (Format::Oci, Some(Format::Oci), None, docker, None),
            (Format::Docker, None, zstd, any, Some(Format::Oci)),
            (Format::Docker, Some(Format::Docker), zstd, any, None),
        ];
        for (own, wanted, algorithm, accepts, want) in cases {
            let found = format(own, &options(wanted, algorithm), &accepts, "x:").ok();
            assert_eq!(found, want, "{own:?} {wanted:?} {algorithm:?} {:?}", accepts.formats);
        }
    }
}
