//! The bytes of a file: hashed and written in the same pass, or, of a big one, hashed from the copy while the rest is written; holes stay
//! holes.
//!
//! Invariant: exactly as many bytes as the header says are hashed and written; a file that became shorter is an error, since its
//! digest would name something that never was.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::digest::Stream;

/// Cloning costs a call that is not worth it for less.
const WORTH_CLONING: u64 = 128 << 10;
/// Opening the copy a second time, and reading it, costs more than it saves for less.
pub const WORTH_READING_AGAIN: u64 = 8 << 20;
/// How much of a copy is given to be hashed at once.
const STRETCH: u64 = 4 << 20;
/// How much is read at once of what is hashed from the copy. Not a power of two: ext4 puts each write of one into a folio of its whole size,
/// and on a virtual machine those come from memory that the host has taken back, which is slower by half (seen on 6.18).
const PIECE: usize = 255 << 10;

/// Moves content; remembers what the two file systems can do.
#[derive(Debug)]
pub struct Mover {
    cloning: bool,
    piece: Vec<u8>,
}

impl Default for Mover {
    fn default() -> Self {
        Self { cloning: true, piece: Vec::new() }
    }
}

/// A file's size as stat(2) has it.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes that are really there.
    pub blocks: u64,
}

impl Mover {
    /// Copies `from`, which is at its start, to the empty file `to`, and into the digest. `again` is `to` once more, for reading, and held by
    /// nothing that would keep it mounted.
    pub fn copy(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        again: Option<&Arc<File>>,
        extent: Extent,
        stream: &mut Stream,
    ) -> io::Result<()> {
        if extent.size >= WORTH_CLONING && self.clone_whole(from, to)? {
            match again {
                Some(again) => stretches(extent.size).for_each(|(at, length)| stream.stretch(again, at, length)),
                None => digest_only(from, extent.size, stream)?,
            }
            return Ok(());
        }
        if extent.blocks.saturating_mul(512) >= extent.size {
            return self.copy_range(from, to, again, (0, extent.size), stream);
        }
        self.copy_sparse(from, to, again, extent.size, stream)
    }

    /// Copies so many bytes from where both are, which is `at`.
    fn copy_range(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        again: Option<&Arc<File>>,
        (at, length): (u64, u64),
        stream: &mut Stream,
    ) -> io::Result<()> {
        let Some(again) = again else { return each_piece(from, length, stream, |piece| write_all(to, piece)) };
        self.piece.resize(PIECE, 0);
        for (offset, length) in stretches(length) {
            let mut left = length;
            while left > 0 {
                let limit = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                let count = read_some(from, &mut self.piece[..limit])?;
                write_all(to, &self.piece[..count])?;
                left -= count as u64;
            }
            stream.stretch(again, at + offset, length);
        }
        Ok(())
    }

    fn copy_sparse(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        again: Option<&Arc<File>>,
        size: u64,
        stream: &mut Stream,
    ) -> io::Result<()> {
        let mut at = 0;
        while at < size {
            let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(data) => data.min(size),
                // Nothing but a hole up to the end.
                Err(Errno::NXIO) => size,
                // A file system that knows no holes: all of it is data from here on.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
                Err(error) => return Err(error.into()),
            };
            stream.zeros(data - at);
            if data == size {
                break;
            }
            let hole = rustix::fs::seek(from, SeekFrom::Hole(data)).map_or(size, |hole| hole.clamp(data, size));
            let hole = if hole == data { size } else { hole };
            rustix::fs::seek(from, SeekFrom::Start(data))?;
            rustix::fs::seek(to, SeekFrom::Start(data))?;
            self.copy_range(from, to, again, (data, hole - data), stream)?;
            at = hole;
        }
        Ok(rustix::fs::ftruncate(to, size)?)
    }

    /// Shares the blocks where the file system can (ioctl_ficlone(2)).
    fn clone_whole(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<bool> {
        if !self.cloning {
            return Ok(false);
        }
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => Ok(true),
            Err(Errno::NOSPC | Errno::DQUOT) => Err(Errno::NOSPC.into()),
            Err(_) => {
                self.cloning = false;
                Ok(false)
            }
        }
    }
}

/// Where each stretch of so many bytes begins, and its length.
fn stretches(length: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..length.div_ceil(STRETCH)).map(move |number| (number * STRETCH, STRETCH.min(length - number * STRETCH)))
}

fn digest_only(from: BorrowedFd<'_>, length: u64, stream: &mut Stream) -> io::Result<()> {
    each_piece(from, length, stream, |_| Ok(()))
}

/// Reads `length` bytes straight into the digest's buffer, and hands each piece on.
fn each_piece(
    from: BorrowedFd<'_>,
    length: u64,
    stream: &mut Stream,
    mut then: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let space = stream.space();
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(space.len());
        let count = read_some(from, &mut space[..limit])?;
        then(&space[..count])?;
        stream.advance(count);
        left -= count as u64;
    }
    Ok(())
}

/// At least one byte, of which there must be more.
fn read_some(from: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(from, &mut *into) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read")),
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match rustix::io::write(to, data) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => data = &data[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use containers_storage::Digest;

    use super::*;

    /// Whether the copy is read again for its digest.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Hashed {
        OnTheWay,
        FromCopy,
    }

    const BOTH: [Hashed; 2] = [Hashed::OnTheWay, Hashed::FromCopy];

    /// The content and blocks of the copy, and whether the digest was that of the content and two empty blocks.
    fn copied(source: &mut File, hashed: Hashed) -> (Vec<u8>, u64, bool) {
        let meta = source.metadata().expect("stat");
        let mut target = tempfile::tempfile().expect("a temporary file");
        source.rewind().expect("seekable");
        let mut stream = Stream::default();
        let extent = Extent { size: meta.size(), blocks: meta.blocks() };
        let again = (hashed == Hashed::FromCopy).then(|| Arc::new(target.try_clone().expect("another descriptor")));
        Mover::default().copy(source.as_fd(), target.as_fd(), again.as_ref(), extent, &mut stream).expect("copied");
        let digest = stream.complete().wait().expect("read again");
        target.rewind().expect("seekable");
        let mut content = Vec::new();
        target.read_to_end(&mut content).expect("read");
        let expected = Digest::of(&[content.as_slice(), &[0; 1024]].concat());
        (content, target.metadata().expect("stat").blocks(), digest == expected)
    }

    #[test]
    fn contents_of_all_sizes_arrive_and_are_hashed() {
        for size in [0, 1, 511, 512, 70_000, 262_144, 262_145, 3_000_000, 9_000_001] {
            let content: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
            let mut source = tempfile::tempfile().expect("a temporary file");
            source.write_all(&content).expect("written");
            for how in BOTH {
                let (copy, _, hashed) = copied(&mut source, how);
                assert!(copy == content && hashed, "{size} {how:?}");
            }
        }
    }

    #[test]
    fn holes_stay_holes() {
        let mut source = tempfile::tempfile().expect("a temporary file");
        source.seek(io::SeekFrom::Start(1 << 20)).expect("seekable");
        source.write_all(b"middle").expect("written");
        source.set_len(64 << 20).expect("extended");
        for how in BOTH {
            let (copy, blocks, hashed) = copied(&mut source, how);
            assert!(copy.len() == 64 << 20 && copy[1 << 20..].starts_with(b"middle") && hashed, "{how:?}");
            assert!(blocks * 512 < 1 << 20, "{blocks} blocks, {how:?}");
        }
    }

    #[test]
    fn a_file_that_is_shorter_than_its_header_says_is_an_error() {
        let source = tempfile::tempfile().expect("a temporary file");
        let target = tempfile::tempfile().expect("a temporary file");
        let extent = Extent { size: 10, blocks: 8 };
        let result = Mover::default().copy(source.as_fd(), target.as_fd(), None, extent, &mut Stream::default());
        assert_eq!(result.expect_err("shorter").kind(), io::ErrorKind::UnexpectedEof);
    }
}
