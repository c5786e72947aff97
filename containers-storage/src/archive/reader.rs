//! The strict streaming reader of tar archives: ustar, PAX, GNU and star headers, sparse files included.
//!
//! ```text
//! [g header]* [x or L, K headers] header content padding … zero block, zero block, anything
//! ```
//!
//! Invariant: every byte of the input is consumed exactly once and in order, so that what stands below (a digest, tar-split) sees
//! the whole stream. Where Go's `archive/tar` and GNU tar would disagree about names, sizes or members, the archive is refused
//! with the member's name (known attacks A27); what is kept of metadata has a limit (A32); bytes after the end marker are
//! passed over without being kept (A33).
//!
//! Must not: trust a length before it is checked; give a meaning to a name (that is `unpack`'s).

mod block;
mod pax;
mod sparse;

use std::io::{self, BufRead};

use self::block::{BLOCK, Dialect, Header};
use self::pax::Pax;
use self::sparse::{DataMap, Layout, Segment};
use super::entry::clean_path;
use super::{Entry, Error, Kind, Refusal, Time};

/// Most bytes of one extended header or long name (Go's reader has the same limit).
pub const METADATA_LIMIT: u64 = 1 << 20;

/// Where the content of a member lies in the stream, as tar-split records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the content from the start of the stream, in bytes.
    pub offset: u64,
    /// Its length in bytes; 0 for sparse members, whose stored bytes count as headers (format section 7.6).
    pub size: u64,
}

/// What the header of a member says beyond what the member makes: who wrote it and for whom, as names of another machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// The owner's name, or nothing.
    pub user: Vec<u8>,
    /// The group's name, or nothing.
    pub group: Vec<u8>,
    /// Whether the header is GNU tar's and not POSIX's.
    pub gnu: bool,
}

/// Reads members one after the other from an uncompressed tar stream.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    position: u64,
    /// Stored bytes of the current member that were not read yet.
    stored: u64,
    /// Zero bytes after them, up to a whole block.
    padding: u64,
    /// Segments of the current member; empty and `None` apart.
    segments: Option<Vec<Segment>>,
    span: Span,
    name: Vec<u8>,
    signature: Signature,
    finished: bool,
}

/// The members that only describe the next one.
#[derive(Debug, Default)]
struct Extensions {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    /// A reader at the start of `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            stored: 0,
            padding: 0,
            segments: None,
            span: Span { offset: 0, size: 0 },
            name: Vec::new(),
            signature: Signature::default(),
            finished: false,
        }
    }

    /// The next member; what is left of the content of the one before is passed over. `None` after the end marker, when the
    /// input was read to its end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        if self.finished {
            return Ok(None);
        }
        self.skip_content()?;
        self.name.clear();
        let mut extensions = Extensions::default();
        loop {
            let Some(block) = self.header_block()? else {
                if extensions.any() {
                    return Err(self.refuse(Refusal::Truncated));
                }
                self.finish()?;
                return Ok(None);
            };
            let header = Header::parse(&block).map_err(|refusal| self.refuse(refusal))?;
            match header.flag() {
                b'x' | b'X' | b'L' | b'K' | b'g' => self.extension(&header, &mut extensions)?,
                _ => return self.member(&header, extensions).map(Some),
            }
        }
    }

    /// Where the content of the current member lies.
    pub fn span(&self) -> Span {
        self.span
    }

    /// What else the header of the current member says.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What stands below the reader.
    pub fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Reads the content of the current member and gives it to `take` in pieces, each with its offset in the file. Holes of
    /// sparse members are not given.
    pub fn content(&mut self, take: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> Result<(), Error> {
        let whole = [Segment { offset: 0, length: self.stored }];
        let sparse = self.segments.take();
        for segment in sparse.as_deref().unwrap_or(&whole) {
            let mut offset = segment.offset;
            let end = segment.offset.saturating_add(segment.length);
            while offset < end {
                let available = fill(&mut self.input)?;
                let length = clamp(available.len(), end - offset);
                if length == 0 {
                    return Err(self.refuse(Refusal::Truncated));
                }
                let given = take(offset, &available[..length]);
                given.map_err(|source| Error::entry(&self.name, "writing", source))?;
                self.advance(length);
                self.stored = self.stored.saturating_sub(length as u64);
                offset += length as u64;
            }
        }
        Ok(())
    }

    /// Understands `header`, the last of a member, with what came before it.
    fn member(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, Error> {
        let described = describe(header, extensions);
        let (mut entry, stored, layout) = described.map_err(|(name, refusal)| Error::refused(&name, refusal))?;
        self.name.clone_from(&entry.name);
        self.signature = header.signature();
        self.stored = stored;
        self.padding = padding(stored);
        self.span = Span { offset: self.position, size: stored };
        let (segments, real_size) = if header.flag() == b'S' {
            self.old_gnu_map(header)?
        } else {
            match layout {
                Layout::Dense => return Ok(entry),
                Layout::InHeader { segments, real_size } => (segments, real_size),
                Layout::InData { real_size } => (self.map_in_data()?, real_size),
            }
        };
        sparse::validate(&segments, real_size, self.stored).map_err(|refusal| self.refuse(refusal))?;
        entry.size = real_size;
        self.segments = Some(segments);
        self.span = Span { offset: self.position, size: 0 };
        Ok(entry)
    }

    fn old_gnu_map(&mut self, header: &Header) -> Result<(Vec<Segment>, u64), Error> {
        let mut segments = Vec::new();
        let (fields, mut more, real_size) = header.gnu_sparse().map_err(|refusal| self.refuse(refusal))?;
        sparse::gnu_segments(fields, &mut segments).map_err(|refusal| self.refuse(refusal))?;
        while more {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            let before = segments.len();
            sparse::gnu_segments(&block[..504], &mut segments).map_err(|refusal| self.refuse(refusal))?;
            more = block[504] != 0;
            if more && segments.len() == before {
                return Err(self.refuse(Refusal::Header("an empty sparse map that goes on")));
            }
        }
        Ok((segments, real_size))
    }

    fn map_in_data(&mut self) -> Result<Vec<Segment>, Error> {
        let mut map = DataMap::default();
        loop {
            let Some(rest) = self.stored.checked_sub(BLOCK as u64) else {
                return Err(self.refuse(Refusal::Header("a sparse map longer than the member")));
            };
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            self.stored = rest;
            if let Some(segments) = map.block(&block).map_err(|refusal| self.refuse(refusal))? {
                return Ok(segments);
            }
        }
    }

    /// Reads a member that describes the next one.
    fn extension(&mut self, header: &Header, extensions: &mut Extensions) -> Result<(), Error> {
        let size = header.size().map_err(|refusal| self.refuse(refusal))?;
        if size > METADATA_LIMIT {
            return Err(self.refuse(Refusal::TooLarge { what: "an extended header", limit: METADATA_LIMIT }));
        }
        let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read_exact(&mut data)?;
        let mut filler = [0; BLOCK];
        let padding = usize::try_from(padding(size)).unwrap_or(0);
        self.read_exact(&mut filler[..padding])?;
        let known = match header.flag() {
            b'g' => pax::check_global(&data),
            b'L' => gnu_long(&data).and_then(|name| once(&mut extensions.long_name, name)),
            b'K' => gnu_long(&data).and_then(|name| once(&mut extensions.long_link, name)),
            b'x' => Pax::parse(&data).and_then(|pax| once(&mut extensions.pax, pax)),
            _ => Err(Refusal::Unsupported("the extended header of Solaris tar")),
        };
        known.map_err(|refusal| self.refuse(refusal))
    }

    /// The next header block, or `None` at the end of the archive: two zero blocks, one and the end of the input, or just that.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        if fill(&mut self.input)?.is_empty() {
            return Ok(None);
        }
        self.read_exact(&mut block)?;
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        if fill(&mut self.input)?.is_empty() {
            return Ok(None);
        }
        self.read_exact(&mut block)?;
        if block != [0; BLOCK] {
            return Err(self.refuse(Refusal::Ambiguous("a single zero block between members")));
        }
        Ok(None)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.finished = true;
        self.span = Span { offset: self.position, size: 0 };
        loop {
            let length = fill(&mut self.input)?.len();
            if length == 0 {
                return Ok(());
            }
            self.advance(length);
        }
    }

    fn skip_content(&mut self) -> Result<(), Error> {
        let mut left = self.stored.saturating_add(self.padding);
        while left > 0 {
            let length = clamp(fill(&mut self.input)?.len(), left);
            if length == 0 {
                return Err(self.refuse(Refusal::Truncated));
            }
            self.advance(length);
            left -= length as u64;
        }
        self.stored = 0;
        self.padding = 0;
        self.segments = None;
        Ok(())
    }

    fn read_exact(&mut self, into: &mut [u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < into.len() {
            let available = fill(&mut self.input)?;
            let length = available.len().min(into.len() - done);
            if length == 0 {
                return Err(self.refuse(Refusal::Truncated));
            }
            into[done..done + length].copy_from_slice(&available[..length]);
            self.advance(length);
            done += length;
        }
        Ok(())
    }

    fn advance(&mut self, length: usize) {
        self.input.consume(length);
        self.position = self.position.saturating_add(length as u64);
    }

    /// A refusal with the name of the member, or with the place while its name is not known.
    fn refuse(&self, refusal: Refusal) -> Error {
        if self.name.is_empty() {
            Error::Stream { offset: self.position, refusal }
        } else {
            Error::refused(&self.name, refusal)
        }
    }
}

impl Extensions {
    fn any(&self) -> bool {
        self.pax.is_some() || self.long_name.is_some() || self.long_link.is_some()
    }
}

/// The member, its stored length and how it is laid out. An error comes with the best name known.
type Described = (Entry, u64, Layout);

fn describe(header: &Header, extensions: Extensions) -> Result<Described, (Vec<u8>, Refusal)> {
    let named = resolve_name(header, &extensions);
    let name = named.as_deref().map_or_else(|_| header.name(), <[u8]>::to_vec);
    let described = (|| {
        let name = named?;
        let pax = extensions.pax.unwrap_or_default();
        let layout = pax.sparse.layout()?;
        let stored = stored_size(header, pax.size)?;
        let link = match (extensions.long_link, pax.link_path) {
            (Some(_), Some(_)) => return Err(Refusal::Ambiguous("a long link both of GNU and of PAX")),
            (long, path) => long.or(path).unwrap_or_else(|| header.link_name()),
        };
        let kind = kind(header, &name, link, stored)?;
        if layout != Layout::Dense && kind != Kind::File {
            return Err(Refusal::Header("a sparse map on something that is no file"));
        }
        if header.flag() == b'S' && (layout != Layout::Dense || header.dialect() != Dialect::Gnu) {
            return Err(Refusal::Ambiguous("an old sparse header in another dialect"));
        }
        if header.dialect() == Dialect::Gnu {
            header.check_gnu_times()?;
        }
        // Fields that PAX overrides must be numbers all the same: others give up at them.
        let mtime = Time::from_seconds(header.mtime()?);
        let entry = Entry {
            path: clean_path(&name)?,
            kind,
            mode: header.mode()?,
            uid: owner(pax.uid, header.uid()?)?,
            gid: owner(pax.gid, header.gid()?)?,
            mtime: pax.mtime.unwrap_or(mtime),
            size: stored,
            xattrs: pax.xattrs,
            name,
        };
        if entry.path.is_empty() && entry.kind != Kind::Directory {
            return Err(Refusal::Name("is the root's and not a directory"));
        }
        Ok((entry, stored, layout))
    })();
    described.map_err(|refusal| (name, refusal))
}

fn resolve_name(header: &Header, extensions: &Extensions) -> Result<Vec<u8>, Refusal> {
    let pax = extensions.pax.as_ref();
    let sparse = pax.and_then(|pax| pax.sparse.name.as_ref());
    let path = pax.and_then(|pax| pax.path.as_ref());
    match (&extensions.long_name, sparse.or(path)) {
        (Some(_), Some(_)) => Err(Refusal::Ambiguous("a long name both of GNU and of PAX")),
        (Some(name), None) | (None, Some(name)) => Ok(name.clone()),
        (None, None) => Ok(header.name()),
    }
}

/// The length of what is stored. PAX overrides the header only where the header could not have held the number.
fn stored_size(header: &Header, pax: Option<u64>) -> Result<u64, Refusal> {
    const LARGEST_OCTAL: u64 = 0o77_777_777_777;
    let Some(size) = pax else { return header.size() };
    let in_header = header.size()?;
    if size > LARGEST_OCTAL || in_header == size {
        return Ok(size);
    }
    Err(Refusal::Ambiguous("the PAX size is not the header's"))
}

fn kind(header: &Header, name: &[u8], link: Vec<u8>, stored: u64) -> Result<Kind, Refusal> {
    let slash = name.ends_with(b"/");
    let kind = match header.flag() {
        b'0' if slash => return Err(Refusal::Ambiguous("a regular file whose name ends in a slash")),
        0 if slash != header.name().ends_with(b"/") => {
            return Err(Refusal::Ambiguous("an old directory whose two names disagree about the slash"));
        }
        0 if slash => Kind::Directory,
        b'0' | 0 | b'S' => return Ok(Kind::File),
        b'1' => Kind::HardLink(link),
        b'2' => Kind::Symlink(link),
        b'3' => {
            let (major, minor) = header.device()?;
            Kind::CharDevice { major, minor }
        }
        b'4' => {
            let (major, minor) = header.device()?;
            Kind::BlockDevice { major, minor }
        }
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'7' => return Err(Refusal::Unsupported("a contiguous file")),
        b'V' => return Err(Refusal::Unsupported("a volume header")),
        b'M' => return Err(Refusal::Unsupported("a member continued from another volume")),
        b'D' | b'N' => return Err(Refusal::Unsupported("a member of an incremental GNU archive")),
        _ => return Err(Refusal::Unsupported("this type of member")),
    };
    // GNU tar passes over such content, Go takes it for the next header.
    if stored != 0 {
        return Err(Refusal::Ambiguous("content after a member that has none"));
    }
    if matches!(&kind, Kind::Symlink(link) | Kind::HardLink(link) if link.is_empty()) {
        return Err(Refusal::Header("a link without a target"));
    }
    Ok(kind)
}

/// An owner: 2³²−1 means "unchanged" to the kernel (chown(2)) and is nobody's number.
fn owner(pax: Option<i64>, header: i64) -> Result<u32, Refusal> {
    match u32::try_from(pax.unwrap_or(header)) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Refusal::Header("an owner out of range")),
    }
}

/// The text of a GNU long name: up to the NUL that ends it.
fn gnu_long(data: &[u8]) -> Result<Vec<u8>, Refusal> {
    let name = block::text(data);
    if data[name.len()..].iter().any(|&byte| byte != 0) {
        return Err(Refusal::Ambiguous("a long name with bytes after its end"));
    }
    if name.is_empty() {
        return Err(Refusal::Header("an empty long name"));
    }
    Ok(name.to_vec())
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match slot.replace(value) {
        Some(_) => Err(Refusal::Ambiguous("two extended headers of a kind for one member")),
        None => Ok(()),
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn clamp(available: usize, wanted: u64) -> usize {
    usize::try_from(wanted).map_or(available, |wanted| available.min(wanted))
}

fn fill<R: BufRead>(input: &mut R) -> Result<&[u8], Error> {
    // Two calls, because a borrow that is returned may not be taken inside a loop that retries.
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Read(error)),
        }
    }
    input.fill_buf().map_err(Error::Read)
}
