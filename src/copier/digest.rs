//! The digest of what was copied: SHA-256 over the tar stream of each source, with times of zero but for a file from the network, and over the list of these if
//! there are several.
//!
//! ```text
//! headers, small files ─ chunks ──────┐
//! a big file ─ stretches of the copy ─┴▶ thread ─▶ Hashing, which is waited for when the digest is wanted
//! ```
//!
//! Must not: do I/O but for reading those stretches. It may start a thread, so namespaces have to be entered before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
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
/// Chunks that wait or are filled; a thread that is slower holds up whoever fills them.
const CHUNKS: usize = 6;
/// Pieces that wait. With stretches of 4 MiB the thread is 1 GiB behind at most, which is still in memory.
const PIECES: usize = 256;

/// The digest of one source, while it is copied. Bytes are gathered in chunks; from the second chunk on another thread hashes
/// them, while this one goes on reading and writing. Of a big file it reads the copy itself.
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
    /// A thread that takes pieces and gives empty chunks back, of which there are `chunks`.
    Thread { pieces: SyncSender<Piece>, empty: Receiver<Vec<u8>>, chunks: usize, thread: JoinHandle<io::Result<Sha256>> },
    /// No thread could be started.
    Here(io::Result<Sha256>),
}

/// What comes next.
#[derive(Debug)]
enum Piece {
    /// So many bytes of a chunk.
    Chunk(Vec<u8>, usize),
    /// So many bytes of a file.
    Stretch { file: Arc<File>, at: u64, length: u64 },
}

/// The digest of a source that was copied, which may still be in the making.
#[derive(Debug)]
pub struct Hashing(State);

#[derive(Debug)]
enum State {
    Done(io::Result<Digest>),
    /// What the thread knows nothing of is the end.
    Thread(JoinHandle<io::Result<Sha256>>, Vec<u8>),
}

impl Hashing {
    /// The digest, when it is there. An error is one of reading a file that was copied.
    pub fn wait(self) -> io::Result<Digest> {
        match self.0 {
            State::Done(digest) => digest,
            State::Thread(thread, end) => {
                let hash = thread.join().map_err(|_| io::Error::other("the thread that hashes has ended"))?;
                hash.map(|hash| finished(hash, &end))
            }
        }
    }
}

impl From<Digest> for Hashing {
    fn from(digest: Digest) -> Self {
        Self(State::Done(Ok(digest)))
    }
}

fn finished(mut hash: Sha256, end: &[u8]) -> Digest {
    hash.update(end);
    Digest::from_sha256(hash.finalize().into())
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

    /// The next `length` bytes of content, which are those of `file` from `at` on. They must stay what they are until the digest is there.
    pub fn stretch(&mut self, file: &Arc<File>, at: u64, length: u64) {
        if self.filled > 0 {
            self.hand_over();
        }
        self.send(Piece::Stretch { file: Arc::clone(file), at, length });
    }

    /// The end of a file's content.
    pub fn end_of_file(&mut self) {
        let padding = padding_of(self.file);
        self.zeros(padding as u64);
        self.file = 0;
    }

    /// The end of the archive.
    pub fn complete(mut self) -> Hashing {
        self.zeros(2 * BLOCK as u64);
        self.chunk.truncate(self.filled);
        let end = self.chunk;
        Hashing(match self.hasher {
            Hasher::Idle => State::Done(Ok(finished(Sha256::new(), &end))),
            Hasher::Here(hash) => State::Done(hash.map(|hash| finished(hash, &end))),
            Hasher::Thread { thread, .. } => State::Thread(thread, end),
        })
    }

    /// Grows the first chunk up to its full size; then hands it to the thread and takes an empty one.
    fn make_room(&mut self) {
        if self.chunk.len() < CHUNK {
            // A small file needs a small buffer: clearing a large one would take longer than hashing it.
            self.chunk.resize((self.chunk.len() * 4).clamp(8 << 10, CHUNK), 0);
            return;
        }
        self.hand_over();
        self.chunk.resize(CHUNK, 0);
    }

    /// Has the chunk hashed as far as it is filled.
    fn hand_over(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        self.send(Piece::Chunk(chunk, self.filled));
        self.filled = 0;
        self.chunk = self.hasher.empty_chunk();
    }

    fn send(&mut self, piece: Piece) {
        if matches!(self.hasher, Hasher::Idle) {
            self.hasher = start_hasher();
        }
        match &mut self.hasher {
            Hasher::Idle => {}
            Hasher::Here(hash) => {
                if let Ok(hash) = hash
                    && let Err(error) = take(hash, &piece)
                {
                    self.hasher = Hasher::Here(Err(error));
                }
            }
            // It fails only if the thread has ended, and why is known to whoever waits for it.
            Hasher::Thread { pieces, .. } => drop(pieces.send(piece)),
        }
    }
}

impl Hasher {
    fn empty_chunk(&mut self) -> Vec<u8> {
        match self {
            Self::Thread { empty, chunks, .. } if *chunks >= CHUNKS => empty.recv().unwrap_or_default(),
            Self::Thread { empty, chunks, .. } => empty.try_recv().unwrap_or_else(|_| {
                *chunks += 1;
                Vec::new()
            }),
            Self::Idle | Self::Here(_) => Vec::new(),
        }
    }
}

fn take(hash: &mut Sha256, piece: &Piece) -> io::Result<()> {
    match piece {
        Piece::Chunk(chunk, length) => hash.update(&chunk[..*length]),
        Piece::Stretch { file, at, length } => {
            let mut chunk = vec![0; CHUNK];
            let (mut at, mut left) = (*at, *length);
            while left > 0 {
                let limit = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                let count = match file.read_at(&mut chunk[..limit], at) {
                    Ok(0) => {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the copy became shorter while it was hashed",
                        ));
                    }
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                hash.update(&chunk[..count]);
                (at, left) = (at + count as u64, left - count as u64);
            }
        }
    }
    Ok(())
}

fn start_hasher() -> Hasher {
    let (pieces, taken) = sync_channel::<Piece>(PIECES);
    let (give_back, empty) = sync_channel(CHUNKS + 1);
    let work = move || {
        let mut hash = Sha256::new();
        for piece in taken {
            take(&mut hash, &piece)?;
            if let Piece::Chunk(chunk, _) = piece {
                // A chunk that nobody waits for is dropped.
                let _ = give_back.try_send(chunk);
            }
        }
        Ok(hash)
    };
    match std::thread::Builder::new().name("digest".to_owned()).spawn(work) {
        // The first is with whoever fills it.
        Ok(thread) => Hasher::Thread { pieces, empty, chunks: 1, thread },
        Err(_) => Hasher::Here(Ok(Sha256::new())),
    }
}

/// The digests of all sources, in order. That of the last one may still be in the making.
#[derive(Debug, Default)]
pub struct Composite {
    parts: Vec<(SourceKind, Digest)>,
    last: Option<(SourceKind, Hashing)>,
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
    /// The next source. Waits for the one before it, so that one thread hashes at a time.
    pub fn push(&mut self, kind: SourceKind, hashing: Hashing) -> io::Result<()> {
        self.settle()?;
        self.last = Some((kind, hashing));
        Ok(())
    }

    /// Waits for all of them.
    pub fn settle(&mut self) -> io::Result<()> {
        if let Some((kind, hashing)) = self.last.take() {
            self.parts.push((kind, hashing.wait()?));
        }
        Ok(())
    }

    /// All of them.
    pub fn complete(mut self) -> io::Result<Total> {
        self.settle()?;
        if self.parts.len() > 1 {
            let part = |(kind, digest): &(SourceKind, Digest)| match kind.word() {
                "" => digest.hex().to_owned(),
                word => format!("{word}:{}", digest.hex()),
            };
            let list: Vec<String> = self.parts.iter().map(part).collect();
            return Ok(Total::Multi(Digest::of(list.join(",").as_bytes())));
        }
        Ok(match self.parts.pop() {
            Some((kind, digest)) => Total::One(kind, digest),
            None => Total::Nothing,
        })
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
        stream.complete().wait().expect("nothing is read")
    }

    #[test]
    fn digests_are_those_that_buildah_prints() {
        // `buildah copy` of a file `f` with the content `hi\n`, version 1.28.2.
        let printed = "619b31c3f1b34954f5d5bfcf2bc4fe2f85cbc91e61b8fec91476a86b1474ceb3";
        assert_eq!(file("f", b"hi\n").hex(), printed);
    }

    #[test]
    fn an_empty_directory_is_an_empty_archive() {
        assert_eq!(Stream::default().complete().wait().expect("nothing is read"), Digest::of(&[0; 1024]));
    }

    #[test]
    fn several_sources_are_digested_as_a_list() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let mut all = Composite::default();
        all.push(SourceKind::File, one.clone().into()).expect("it is there");
        all.push(SourceKind::Dir, two.clone().into()).expect("it is there");
        let list = format!("file:{},dir:{}", one.hex(), two.hex());
        assert_eq!(all.complete().expect("all are there"), Total::Multi(Digest::of(list.as_bytes())));
        assert_eq!(Composite::default().complete().expect("all are there"), Total::Nothing);
    }

    /// A file with that content, and the digest over it as a stretch between other bytes.
    fn around(content: &[u8], stretch: u64) -> io::Result<Digest> {
        let file = tempfile::tempfile()?;
        file.write_all_at(content, 0)?;
        let mut stream = Stream::default();
        stream.data(b"before");
        stream.stretch(&Arc::new(file), 1, stretch);
        stream.data(b"after");
        stream.complete().wait()
    }

    #[test]
    fn stretches_of_files_are_hashed_in_their_place() {
        for length in [0, 1, CHUNK as u64, 3 * CHUNK as u64 + 7] {
            let content: Vec<u8> = (0..=length).map(|at| (at % 251) as u8).collect();
            let expected = Digest::of(&[b"before", &content[1..], b"after", &[0; 1024][..]].concat());
            assert_eq!(around(&content, length).expect("hashed"), expected, "{length}");
        }
    }

    #[test]
    fn a_copy_that_becomes_shorter_has_no_digest() {
        assert_eq!(around(b"0123", 4).expect_err("one byte is missing").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn many_chunks_are_hashed_with_the_few_that_there_are() {
        let content: Vec<u8> = (0..20 * CHUNK + 3).map(|at| (at % 241) as u8).collect();
        let mut stream = Stream::default();
        stream.data(&content);
        let expected = Digest::of(&[content.as_slice(), &[0; 1024]].concat());
        assert_eq!(stream.complete().wait().expect("nothing is read"), expected);
    }
}
