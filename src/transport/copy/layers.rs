//! The way of each layer, several at once. The first failure ends the others.
//!
//! ```text
//! source.blob ─► verified ─► [decrypt] ─► [decompress] ─► [compress] ─► [encrypt] ─► destination.put_layer
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use containers_storage::Digest;
use containers_storage::archive::Compression;
use containers_storage::archive::decompress::Decompressor;

use super::job::Job;
use super::plan::{self, Action, Copied, Found};
use super::{Moving, Progress};
use crate::image::Manifest;
use crate::image::manifest::{Descriptor, LayerType};
use crate::transport::compression::{Algorithm, Compressor, Layout, Method, Share, chunked};
use crate::transport::encryption::{Encryption, LayerSecret, Opened, Sealing, is_encrypted, without_keys};
use crate::transport::stop::Stop;
use crate::transport::{BlobId, BlobStream, Error, LayerForm, LayerRequest, blob, interrupts, pipe};

/// How much is compressed at a time.
const PIECE: usize = 256 << 10;

/// Copies the layers of `manifest`; the answer is in their order.
pub(super) fn copy(job: &Job<'_>, manifest: &Manifest, diff_ids: &[Digest]) -> Result<Vec<Copied>, Error> {
    let blobs = job.source.layers(manifest, diff_ids)?;
    allows_encryption(job, blobs.len())?;
    announce(job, &blobs);
    let parallel = job.destination.accepts().parallel.min(blobs.len());
    let (next, stop) = (AtomicUsize::new(0), Stop::default());
    let results: Vec<OnceLock<Copied>> = blobs.iter().map(|_| OnceLock::new()).collect();
    let failure: Mutex<Option<Error>> = Mutex::default();
    let fail = |error: Error| {
        // Those that it stops fail after it.
        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        stop.say();
        job.source.give_up();
        job.destination.give_up();
    };
    let work = || {
        while !stop.is_said() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let (Some(blob), Some(result)) = (blobs.get(index), results.get(index)) else { return };
            match layer(job, &LayerRequest { index, blob, diff_ids }, &stop) {
                Ok(copied) => drop(result.set(copied)),
                Err(error) => fail(error),
            }
        }
    };
    let work_in_parallel = || {
        thread::scope(|scope| {
            for number in 1..parallel {
                let thread = thread::Builder::new().name(format!("layer-{number}"));
                // With fewer threads it only takes longer.
                if thread.spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
    };
    interrupts::during(work_in_parallel, |signal| fail(Error::Interrupted(signal)));
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let copied: Vec<Copied> = results.into_iter().filter_map(OnceLock::into_inner).collect();
    if copied.len() == blobs.len() {
        return Ok(copied);
    }
    let source = io::Error::other("a thread that copied layers has failed");
    Err(Error::Stream { action: "copying the layers of", place: job.source.name(), source })
}

/// Refuses encryption that cannot be had, before anything is moved.
fn allows_encryption(job: &Job<'_>, count: usize) -> Result<(), Error> {
    let Some(encrypt) = job.options.sealing.encrypt else { return Ok(()) };
    if !job.destination.keeps_encrypted() {
        let place = job.destination.name();
        return Err(Error::Impossible(format!("{place} holds layers as they are used, and cannot hold encrypted ones")));
    }
    match encrypt.missing_layer(count) {
        Some(layer) => Err(Error::Impossible(format!("there is no layer {layer} to encrypt: the image has {count}"))),
        None => Ok(()),
    }
}

/// Copies the layers of something that is no image, byte for byte.
pub(super) fn copy_unchanged(job: &Job<'_>, manifest: &Manifest) -> Result<(), Error> {
    announce(job, &manifest.layers);
    let stop = Stop::default();
    for (index, blob) in manifest.layers.iter().enumerate() {
        let request = LayerRequest { index, blob, diff_ids: &[] };
        if job.destination.has_layer(&request)?.is_some() {
            (job.progress)(Progress::Skipped(moving(&request)));
            continue;
        }
        (job.progress)(Progress::Blob(moving(&request)));
        job.destination.put_layer(&request, read(job, &request, &stop)?)?;
        (job.progress)(Progress::Copied(moving(&request)));
    }
    Ok(())
}

fn announce(job: &Job<'_>, blobs: &[Descriptor]) {
    let bytes = blobs.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
    (job.progress)(Progress::Layers { count: blobs.len(), bytes });
}

fn moving<'a>(request: &LayerRequest<'a>) -> Moving<'a> {
    Moving { index: request.index, digest: &request.blob.digest, size: request.blob.size }
}

/// The bytes of a layer until `stop` is said, whose progress is told while they are read.
fn read<'a>(job: &'a Job<'_>, request: &LayerRequest<'a>, stop: &'a Stop) -> Result<BlobStream<'a>, Error> {
    let layer = moving(request);
    let stream = job.source.blob(request.blob)?.until(stop);
    Ok(stream.watched(move |bytes| (job.progress)(Progress::Moved { layer, bytes })))
}

/// What becomes of the encryption of a layer.
struct Seal<'a> {
    /// It is encrypted, and stays so.
    kept: bool,
    /// It is decrypted.
    opened: Option<Opened>,
    /// It is encrypted.
    encrypt: Option<&'a Encryption>,
}

impl<'a> Seal<'a> {
    fn of(job: &Job<'a>, request: &LayerRequest<'_>) -> Result<Self, Error> {
        let Sealing { encrypt, decrypt } = job.options.sealing;
        let failed = |problem| Error::Sealed { digest: request.blob.digest.clone(), problem };
        let sealed = is_encrypted(&request.blob.media_type);
        let opened = match decrypt {
            // Before anything is read, and whatever is there already: who has no key must not get the image by another's work.
            Some(keys) if sealed => Some(keys.open(request.blob).map_err(failed)?),
            None if sealed && !job.destination.keeps_encrypted() => {
                return Err(failed("missing private key needed for decryption".to_owned()));
            }
            _ => None,
        };
        let kept = sealed && opened.is_none();
        let encrypt = encrypt.filter(|encrypt| !kept && encrypt.applies_to(request.index, request.diff_ids.len()));
        Ok(Self { kept, opened, encrypt })
    }

    /// Whether other bytes arrive than leave.
    fn changes(&self) -> bool {
        self.opened.is_some() || self.encrypt.is_some()
    }
}

fn layer(job: &Job<'_>, request: &LayerRequest<'_>, stop: &Stop) -> Result<Copied, Error> {
    let seal = Seal::of(job, request)?;
    if let Some(there) = already_there(job, request, &seal)? {
        return Ok(there);
    }
    (job.progress)(Progress::Blob(moving(request)));
    let retry = job.destination.retry();
    let mut attempt = 0;
    loop {
        // What a source does not give is not asked for again here: it tried itself. A destination did not: its requests for a layer
        // are all of one attempt.
        let stream = read(job, request, stop)?;
        let error = match send(job, request, &seal, stream) {
            Ok(copied) => {
                (job.progress)(Progress::Copied(moving(request)));
                return Ok(copied);
            }
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        attempt += 1;
        let Some(pause) = retry.pause(attempt, error.asked_pause()) else { return Err(error) };
        log::debug!("{}: {error}: copying it again", place(job, request));
        if !stop.pause(pause) {
            return Err(error);
        }
    }
}

/// The layer at the destination that need not be sent.
fn already_there(job: &Job<'_>, request: &LayerRequest<'_>, seal: &Seal<'_>) -> Result<Option<Copied>, Error> {
    let accepts = job.destination.accepts();
    // What a store has says nothing of the blob that comes out of an encrypted one, and its layers are one upon the other.
    if seal.changes() || (job.options.sealing.decrypt.is_some() && !job.destination.keeps_encrypted()) {
        return Ok(None);
    }
    let told = LayerType::of(&request.blob.media_type);
    let expected_action = if seal.kept {
        Some(Action::Keep)
    } else {
        told.map(|told| plan::action(found(request, magic(told)), accepts.layers, &job.options.compression))
    };
    // A layer that is to be changed on the way is another one than what could be there already, but for a destination that
    // changes all of them alike.
    if (expected_action == Some(Action::Keep) || accepts.layers == LayerForm::Decompress)
        && let Some(blob) = job.destination.has_layer(request)?
    {
        return Ok(Some(skipped(job, request, blob)));
    }
    if let Some(Action::Compress(method)) = expected_action
        && let Some(blob) = under_another_name(job, request, method)?
    {
        return Ok(Some(skipped(job, request, blob)));
    }
    Ok(None)
}

fn skipped(job: &Job<'_>, request: &LayerRequest<'_>, blob: Descriptor) -> Copied {
    (job.progress)(Progress::Skipped(moving(request)));
    let kind = LayerType::of(&blob.media_type);
    Copied { blob, kind, encrypted: false, annotations: None }
}

/// The blob at the destination that a layer was compressed into before, here or where it came from: compressing it again would give
/// another one at best.
fn under_another_name(job: &Job<'_>, request: &LayerRequest<'_>, method: Method) -> Result<Option<Descriptor>, Error> {
    if method.layout() == Layout::Chunked {
        return Ok(None);
    }
    let algorithm = job.options.compression.method.map(|_| method.algorithm());
    for blob in job.source.known_as(request)? {
        let fits = match LayerType::of(&blob.media_type) {
            Some(LayerType::Gzip) => algorithm.is_none_or(|wanted| wanted == Algorithm::Gzip),
            Some(LayerType::Zstd) => algorithm == Some(Algorithm::Zstd),
            _ => false,
        };
        if fits && let Some(found) = job.destination.has_layer(&LayerRequest { blob: &blob, ..*request })? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// One attempt to move a layer.
fn send(job: &Job<'_>, request: &LayerRequest<'_>, seal: &Seal<'_>, stream: BlobStream<'_>) -> Result<Copied, Error> {
    if seal.kept {
        let id = job.destination.put_layer(request, stream)?;
        return Ok(Copied { blob: described(request, id), kind: None, encrypted: false, annotations: None });
    }
    let Some(opened) = &seal.opened else { return transform(job, request, seal, stream) };
    let mut plain = opened.decrypting(stream);
    let copied = transform(job, request, seal, BlobStream::unknown(Box::new(&mut plain)))?;
    let failed = |error: io::Error| Error::Sealed { digest: request.blob.digest.clone(), problem: error.to_string() };
    plain.finish().map_err(failed)?;
    let annotations = copied.annotations.or_else(|| Some(without_keys(&request.blob.annotations)));
    Ok(Copied { annotations, ..copied })
}

/// Moves a layer that is not encrypted.
fn transform(job: &Job<'_>, request: &LayerRequest<'_>, seal: &Seal<'_>, mut stream: BlobStream<'_>) -> Result<Copied, Error> {
    let accepts = job.destination.accepts();
    let failed = |source| Error::Stream { action: "reading", place: place(job, request), source };
    // The bytes decide, not what the media type says of them.
    let found = stream.compression().map_err(failed)?;
    let put = |stream: BlobStream<'_>| put(job, request, seal, stream);
    match plan::action(self::found(request, found), accepts.layers, &job.options.compression) {
        Action::Keep => Ok(put(stream)?.copied(request, kind(found))),
        Action::Decompress => Ok(decompress(job, request, stream, put)?.copied(request, Some(LayerType::Plain))),
        Action::Compress(method) => {
            let at_once = accepts.parallel.min(request.diff_ids.len());
            let put = |plain: BlobStream<'_>| match method.layout() {
                Layout::Whole => {
                    let compressed = Compressing::new(Box::new(plain), method, at_once).map_err(failed)?;
                    put(BlobStream::unknown(Box::new(compressed)))
                }
                Layout::Chunked => {
                    let (arrived, told) = in_chunks(plain, method, put, failed)?;
                    Ok(Arrived { told, ..arrived })
                }
            };
            let arrived = if found == Compression::None { put(stream)? } else { decompress(job, request, stream, put)? };
            let kind = if method.algorithm() == Algorithm::Gzip { LayerType::Gzip } else { LayerType::Zstd };
            let copied = arrived.copied(request, Some(kind));
            // What is remembered has no annotations.
            if !copied.encrypted && method.layout() == Layout::Whole {
                job.source.learned(request, &copied.blob, kind);
            }
            Ok(copied)
        }
    }
}

/// A layer at the destination.
struct Arrived {
    id: BlobId,
    /// The annotations that it has for being encrypted.
    sealed: Option<BTreeMap<String, String>>,
    /// Those that it has for how it was compressed.
    told: BTreeMap<String, String>,
}

impl Arrived {
    fn copied(self, request: &LayerRequest<'_>, kind: Option<LayerType>) -> Copied {
        let blob = described(request, self.id);
        let encrypted = self.sealed.is_some();
        let is_told = encrypted || !self.told.is_empty();
        let annotations = is_told.then(|| {
            let mut all = without_keys(&request.blob.annotations);
            all.retain(|name, _| !name.starts_with(chunked::PREFIX));
            all.extend(self.sealed.into_iter().flatten());
            // Where its parts are says nothing of them once it is encrypted.
            all.extend(self.told.into_iter().filter(|_| !encrypted));
            all
        });
        Copied { blob, kind, encrypted, annotations }
    }
}

/// Hands the layer to the destination, encrypted if that is wanted.
fn put(job: &Job<'_>, request: &LayerRequest<'_>, seal: &Seal<'_>, stream: BlobStream<'_>) -> Result<Arrived, Error> {
    let Some(encrypt) = seal.encrypt else {
        return Ok(Arrived { id: job.destination.put_layer(request, stream)?, sealed: None, told: BTreeMap::new() });
    };
    let failed = |problem: String| Error::Sealing { place: place(job, request), problem };
    let key = LayerSecret::random().map_err(|error| failed(error.to_string()))?;
    let mut sealing = key.encrypting(stream);
    let id = job.destination.put_layer(request, BlobStream::unknown(Box::new(&mut sealing)))?;
    let sealed = encrypt.wrap(&key, sealing.finish()).map_err(failed)?;
    Ok(Arrived { id, sealed: Some(sealed), told: BTreeMap::new() })
}

/// Gives `put` the layer in chunks, which another thread makes, and answers with the annotations about them.
fn in_chunks<T>(
    plain: BlobStream<'_>,
    method: Method,
    put: impl FnOnce(BlobStream<'_>) -> Result<T, Error>,
    failed: impl Fn(io::Error) -> Error,
) -> Result<(T, BTreeMap<String, String>), Error> {
    let told = Mutex::new(BTreeMap::new());
    let put = thread::scope(|scope| {
        let compressed = pipe::scoped(scope, "chunks", |to| {
            *told.lock().unwrap_or_else(PoisonError::into_inner) = chunked::write(plain, method, to)?;
            Ok(())
        });
        put(BlobStream::unknown(compressed.map_err(&failed)?))
    })?;
    Ok((put, told.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

fn place(job: &Job<'_>, request: &LayerRequest<'_>) -> String {
    format!("layer {} of {}", request.index, job.source.name())
}

fn described(request: &LayerRequest<'_>, id: BlobId) -> Descriptor {
    Descriptor { digest: id.digest, size: id.size, ..request.blob.clone() }
}

fn found(request: &LayerRequest<'_>, compression: Compression) -> Found {
    Found::new(compression, &request.blob.annotations)
}

fn magic(told: LayerType) -> Compression {
    match told {
        LayerType::Plain => Compression::None,
        LayerType::Gzip => Compression::Gzip,
        LayerType::Zstd => Compression::Zstd,
    }
}

fn kind(found: Compression) -> Option<LayerType> {
    match found {
        Compression::None => Some(LayerType::Plain),
        Compression::Gzip => Some(LayerType::Gzip),
        Compression::Zstd => Some(LayerType::Zstd),
        Compression::Bzip2 | Compression::Xz => None,
    }
}

/// Gives the uncompressed stream to `put`, and verifies what was read for it.
fn decompress(
    job: &Job<'_>,
    request: &LayerRequest<'_>,
    stream: BlobStream<'_>,
    put: impl FnOnce(BlobStream<'_>) -> Result<Arrived, Error>,
) -> Result<Arrived, Error> {
    let failed = |source| Error::Stream { action: "decompressing", place: place(job, request), source };
    let (mut input, expected) = stream.into_unverified();
    let mut plain = Decompressor::new(&mut input).map_err(failed)?;
    let stream = match request.diff_id() {
        Some(diff_id) => BlobStream::diff(Box::new(&mut plain), diff_id.clone()),
        None => BlobStream::unknown(Box::new(&mut plain)),
    };
    let arrived = put(stream)?;
    let read = plain.finish().map_err(failed)?;
    if let Some(expected) = expected {
        blob::verify(&expected, &BlobId { digest: read.digest, size: read.size }).map_err(failed)?;
    }
    Ok(arrived)
}

/// What is read from it is what was compressed of its input.
struct Compressing<'a> {
    input: Box<dyn Read + Send + 'a>,
    /// `None` after the end of the input.
    compressor: Option<Compressor<Output>>,
    output: Output,
    ready: Vec<u8>,
    at: usize,
    piece: Vec<u8>,
    _share: Share,
}

/// The compressed bytes that were not fetched yet.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> Compressing<'a> {
    /// One of as many as `at_once`.
    fn new(input: Box<dyn Read + Send + 'a>, method: Method, at_once: usize) -> io::Result<Self> {
        let (output, share) = (Output::default(), Share::take(method, at_once));
        let compressor = Some(Compressor::new(method, share.threads(), output.clone())?);
        Ok(Self { input, compressor, output, ready: Vec::new(), at: 0, piece: vec![0; PIECE], _share: share })
    }

    /// Compresses until there is something to read; `false` at the end.
    fn refill(&mut self) -> io::Result<bool> {
        self.ready.clear();
        self.at = 0;
        loop {
            std::mem::swap(&mut self.ready, &mut self.output.0.lock().unwrap_or_else(PoisonError::into_inner));
            if !self.ready.is_empty() {
                return Ok(true);
            }
            let Some(compressor) = &mut self.compressor else { return Ok(false) };
            let length = self.input.read(&mut self.piece)?;
            if length > 0 {
                io::Write::write_all(compressor, &self.piece[..length])?;
            } else if let Some(compressor) = self.compressor.take() {
                compressor.finish()?;
            }
        }
    }
}

impl Read for Compressing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() && !self.refill()? {
            return Ok(0);
        }
        let length = into.len().min(self.ready.len() - self.at);
        into[..length].copy_from_slice(&self.ready[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
