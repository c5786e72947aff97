//! The digest of what was copied: SHA-256 over the tar stream of each source, with times of zero but for a file from the network, and over the list of these if
//! there are several.
//!
//! Must not: do I/O. It may start a thread, so namespaces have to be entered before.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use containers_storage::Digest;
use sha2::{Digest as _, Sha256};

use super::header::{BLOCK, Header, padding_of};

/// What a source was, in history and before its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// Anything but a directory.
    File,
    /// A directory.
    Dir,
    /// What came from the network.
    Remote,
}

impl SourceKind {
    /// `file`, `dir`, or nothing.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Remote => "",
        }
    }
}

/// How much is gathered before it is hashed.
const CHUNK: usize = 256 << 10;

/// The digest of one source, while it is copied. Bytes are gathered in chunks; from the second chunk on another thread hashes
/// them, while this one goes on reading and writing.
#[derive(Debug)]
pub struct Stream {
    chunk: Vec<u8>,
    filled: usize,
    file: u64,
    hasher: Hasher,
}

#[derive(Debug)]
enum Hasher {
    /// Nothing was hashed yet: a small source is hashed at its end and never starts a thread.
    Idle,
    /// A thread that takes full chunks and gives empty ones back.
    Thread { full: SyncSender<(Vec<u8>, usize)>, empty: Receiver<Vec<u8>>, thread: JoinHandle<Sha256> },
    /// No thread could be started.
    Here(Sha256),
}

impl Default for Stream {
    fn default() -> Self {
        Self { chunk: Vec::new(), filled: 0, file: 0, hasher: Hasher::Idle }
    }
}

impl Stream {
    /// A header; `size` bytes of content must follow for a file.
    pub fn header(&mut self, header: &Header<'_>) {
        let mut blocks = Vec::with_capacity(BLOCK);
        header.encode(&mut blocks);
        self.data(&blocks);
        self.file = header.size;
    }

    /// The next bytes, as they are.
    pub fn data(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let space = self.space();
            let count = space.len().min(data.len());
            space[..count].copy_from_slice(&data[..count]);
            self.advance(count);
            data = &data[count..];
        }
    }

    /// Room for the next bytes of content, never empty. What is written there counts once `advance` is called.
    pub fn space(&mut self) -> &mut [u8] {
        if self.filled == self.chunk.len() {
            self.make_room();
        }
        &mut self.chunk[self.filled..]
    }

    /// The first `count` bytes of the room are content.
    pub fn advance(&mut self, count: usize) {
        self.filled = self.chunk.len().min(self.filled + count);
    }

    /// The next `length` bytes of content, all zero.
    pub fn zeros(&mut self, mut length: u64) {
        while length > 0 {
            let space = self.space();
            let part = usize::try_from(length).unwrap_or(usize::MAX).min(space.len());
            space[..part].fill(0);
            self.advance(part);
            length -= part as u64;
        }
    }

    /// The end of a file's content.
    pub fn end_of_file(&mut self) {
        let padding = padding_of(self.file);
        self.zeros(padding as u64);
        self.file = 0;
    }

    /// The end of the archive.
    pub fn complete(mut self) -> Digest {
        self.zeros(2 * BLOCK as u64);
        let mut hash = match self.hasher {
            Hasher::Idle => Sha256::new(),
            Hasher::Here(hash) => hash,
            Hasher::Thread { full, thread, .. } => {
                drop(full);
                // The thread only hashes; it can't panic.
                thread.join().unwrap_or_default()
            }
        };
        hash.update(&self.chunk[..self.filled]);
        Digest::from_sha256(hash.finalize().into())
    }

    /// Grows the first chunk up to its full size; then hands it to the thread and takes an empty one.
    fn make_room(&mut self) {
        if self.chunk.len() < CHUNK {
            // A small file needs a small buffer: clearing a large one would take longer than hashing it.
            self.chunk.resize((self.chunk.len() * 4).clamp(8 << 10, CHUNK), 0);
            return;
        }
        if matches!(self.hasher, Hasher::Idle) {
            self.hasher = start_hasher();
        }
        match &mut self.hasher {
            Hasher::Idle => {}
            Hasher::Here(hash) => hash.update(&self.chunk[..self.filled]),
            Hasher::Thread { full, empty, .. } => {
                let next = empty.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
                let chunk = std::mem::replace(&mut self.chunk, next);
                // It fails only if the thread is gone, which `complete` then notices as a wrong digest of nothing.
                let _ = full.send((chunk, self.filled));
            }
        }
        self.filled = 0;
    }
}

fn start_hasher() -> Hasher {
    let (full, chunks) = sync_channel::<(Vec<u8>, usize)>(4);
    let (give_back, empty) = sync_channel(8);
    let work = move || {
        let mut hash = Sha256::new();
        for (chunk, length) in chunks {
            hash.update(&chunk[..length]);
            // A chunk that nobody waits for is dropped.
            let _ = give_back.try_send(chunk);
        }
        hash
    };
    match std::thread::Builder::new().name("digest".to_owned()).spawn(work) {
        Ok(thread) => Hasher::Thread { full, empty, thread },
        Err(_) => Hasher::Here(Sha256::new()),
    }
}

/// The digests of all sources, in order.
#[derive(Debug, Default)]
pub struct Composite {
    parts: Vec<(SourceKind, Digest)>,
}

/// What the parts come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Total {
    /// Nothing was copied.
    Nothing,
    /// One source.
    One(SourceKind, Digest),
    /// Several: the digest of `kind:hex,kind:hex…`, where a kind without a word has no colon.
    Multi(Digest),
}

impl Composite {
    /// The next source.
    pub fn push(&mut self, kind: SourceKind, digest: Digest) {
        self.parts.push((kind, digest));
    }

    /// All of them.
    pub fn complete(mut self) -> Total {
        if self.parts.len() > 1 {
            let part = |(kind, digest): &(SourceKind, Digest)| match kind.word() {
                "" => digest.hex().to_owned(),
                word => format!("{word}:{}", digest.hex()),
            };
            let list: Vec<String> = self.parts.iter().map(part).collect();
            return Total::Multi(Digest::of(list.join(",").as_bytes()));
        }
        match self.parts.pop() {
            Some((kind, digest)) => Total::One(kind, digest),
            None => Total::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::header::{Dialect, Kind};
    use super::*;

    fn file(name: &str, content: &[u8]) -> Digest {
        let mut stream = Stream::default();
        stream.header(&Header {
            dialect: Dialect::Posix,
            name: name.as_bytes(),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: content.len() as u64,
            modified: 0,
            link: b"",
            user: b"root",
            group: b"root",
            device: (0, 0),
            xattrs: &BTreeMap::new(),
        });
        stream.data(content);
        stream.end_of_file();
        stream.complete()
    }

    #[test]
    fn digests_are_those_that_buildah_prints() {
        // `buildah copy` of a file `f` with the content `hi\n`, version 1.28.2.
        let printed = "619b31c3f1b34954f5d5bfcf2bc4fe2f85cbc91e61b8fec91476a86b1474ceb3";
        assert_eq!(file("f", b"hi\n").hex(), printed);
    }

    #[test]
    fn an_empty_directory_is_an_empty_archive() {
        assert_eq!(Stream::default().complete(), Digest::of(&[0; 1024]));
    }

    #[test]
    fn several_sources_are_digested_as_a_list() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let mut all = Composite::default();
        all.push(SourceKind::File, one.clone());
        all.push(SourceKind::Dir, two.clone());
        let list = format!("file:{},dir:{}", one.hex(), two.hex());
        assert_eq!(all.complete(), Total::Multi(Digest::of(list.as_bytes())));
        assert_eq!(Composite::default().complete(), Total::Nothing);
    }
}
