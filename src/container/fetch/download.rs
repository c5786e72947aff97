//! One address into a file without a name.
//!
//! ```text
//! GET ─▶ 200 ─▶ file     cut ─▶ pause ─▶ GET Range, If-Range ─▶ 206: goes on   200: from the beginning
//! ```
//!
//! Invariant: what was fetched before and after a cut is of one version: only with a strong validator (RFC 9110, section 13.1.5) is a
//! transfer taken up again, else it begins anew. There are never more attempts than `--retry` allows, whatever arrived in between.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags, Timespec, Timestamps};

use super::error::Error;
use super::{Checksum, Options};
use crate::http::{self, Authorization, BodyReader, Method, Payload, Request, Response, Trust, Url};

/// How much is moved at a time.
const PIECE: usize = 256 << 10;
/// Permissions of what came from elsewhere, as Buildah's.
const MODE: u32 = 0o600;

/// Fetches `url`: the file, open and at its beginning, and its time.
pub(super) fn download(
    url: &Url,
    login: Option<&Authorization>,
    trust: &Arc<Trust>,
    options: &Options<'_>,
) -> Result<(File, Timestamp), Error> {
    let file = temporary(options.temp_dir).map_err(keeping(url, options))?;
    let mut transfer = Transfer { url, login, trust, options, file, at: 0, validator: None, modified: Timestamp::UNIX_EPOCH };
    let retry = options.network.retry;
    let mut attempt = 0;
    loop {
        let Failure { error, asked, passes } = match transfer.attempt() {
            Ok(()) => break,
            Err(failure) => failure,
        };
        attempt += 1;
        let pause = if passes { retry.pause(attempt, asked) } else { None };
        let Some(pause) = pause else { return Err(error) };
        log::debug!("{error}: trying again in {} ms", pause.as_millis());
        std::thread::sleep(pause);
    }
    let Transfer { mut file, modified, .. } = transfer;
    let mut rewind = || file.seek(SeekFrom::Start(0)).map_err(keeping(url, options));
    rewind()?;
    if let Some(want) = &options.checksum {
        verify(want, &file, url, options)?;
        file.seek(SeekFrom::Start(0)).map_err(keeping(url, options))?;
    }
    finish(&file, modified).map_err(keeping(url, options))?;
    Ok((file, modified))
}

fn keeping<'a>(url: &'a Url, options: &'a Options<'_>) -> impl Fn(io::Error) -> Error + use<'a> {
    let dir = options.temp_dir.to_path_buf();
    move |source| Error::Keep { url: url.shown(), dir: dir.clone(), source }
}

fn temporary(dir: &std::path::Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::from_raw_mode(MODE)) {
        Ok(file) => Ok(file.into()),
        // File systems without it (O_TMPFILE, open(2)).
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            let random = getrandom::u64().map_err(io::Error::other)?;
            let path = dir.join(format!(".coracle-{random:016x}"));
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(MODE))?;
            std::fs::remove_file(&path)?;
            Ok(file.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn verify(want: &Checksum, file: &File, url: &Url, options: &Options<'_>) -> Result<(), Error> {
    let found = want.found(file).map_err(keeping(url, options))?;
    if found == *want {
        return Ok(());
    }
    Err(Error::Checksum { url: url.shown(), found: found.to_string(), want: want.to_string() })
}

/// Gives the file the mode and the time that its copy gets.
fn finish(file: &File, modified: Timestamp) -> io::Result<()> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(MODE))?;
    let time = Timespec { tv_sec: modified.as_second(), tv_nsec: 0 };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

/// Why an attempt failed, and whether another may not.
struct Failure {
    error: Error,
    /// The pause that the server wants.
    asked: Option<Duration>,
    passes: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, asked: None, passes: false }
    }
}

struct Transfer<'t> {
    url: &'t Url,
    login: Option<&'t Authorization>,
    trust: &'t Arc<Trust>,
    options: &'t Options<'t>,
    file: File,
    /// How much is there.
    at: u64,
    /// What proves that it is still the same file.
    validator: Option<String>,
    modified: Timestamp,
}

impl Transfer<'_> {
    fn attempt(&mut self) -> Result<(), Failure> {
        let mut headers = vec![("Accept-Encoding", "identity".to_owned())];
        match self.validator.clone().filter(|_| self.at > 0) {
            Some(validator) => headers.extend([("Range", format!("bytes={}-", self.at)), ("If-Range", validator)]),
            None => self.at = 0,
        }
        let (url, authorization, trust) = (self.url.clone(), self.login, self.trust);
        let request = Request { method: Method::Get, url, headers, authorization, trust, payload: Payload::None };
        let response = self.options.network.client().send(request).map_err(|source| self.broken(source))?;
        self.look_at(&response)?;
        let (length, origin) = (length(&response), response.url().origin().clone());
        let end = length.map(|length| self.at.saturating_add(length));
        let received = self.receive(response.into_reader()).map_err(|error| match error {
            Received::Net(error) => self.broken(http::unwrapped(error, origin.clone())),
            Received::Disk(error) => keeping(self.url, self.options)(error).into(),
        });
        received?;
        match end {
            Some(end) if end != self.at => {
                Err(self.broken(http::Error::Broken { origin, source: io::ErrorKind::UnexpectedEof.into() }))
            }
            _ => Ok(()),
        }
    }

    fn broken(&self, source: http::Error) -> Failure {
        let passes = source.is_transient();
        Failure { error: Error::Http { url: self.url.shown(), source }, asked: None, passes }
    }

    /// Takes in what the head of an answer says; afterwards its body belongs at `at`.
    fn look_at(&mut self, response: &Response) -> Result<(), Failure> {
        let url = || self.url.shown();
        let answer = |problem: String| Error::Answer { url: url(), problem };
        let status = response.status();
        if status == 206 && self.at > 0 {
            let range = response.header("Content-Range").unwrap_or_default();
            if !range.starts_with(&format!("bytes {}-", self.at)) {
                return Err(answer(format!("asked for what follows byte {}, the server sent {range:?}", self.at)).into());
            }
            return Ok(());
        }
        if !response.is_success() || status == 206 {
            let asked = response.header("Retry-After").and_then(|value| http::retry_after(value, Timestamp::now()));
            let passes = matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
            return Err(Failure { error: Error::Status { url: url(), status }, asked, passes });
        }
        let encoding = response.header("Content-Encoding").filter(|name| !name.eq_ignore_ascii_case("identity"));
        if let Some(encoding) = encoding {
            return Err(answer(format!("the server sends it encoded as {encoding:?}, which was not asked for")).into());
        }
        let last_modified = response.header("Last-Modified");
        let modified = match last_modified {
            None => Timestamp::UNIX_EPOCH,
            Some(value) => match jiff::fmt::rfc2822::parse(value) {
                Ok(time) => time.timestamp(),
                Err(_) => return Err(answer(format!("parsing last-modified time: {value:?} is none")).into()),
            },
        };
        let strong = response.header("ETag").filter(|tag| tag.starts_with('"')).or(last_modified);
        let ranges = response.header("Accept-Ranges").is_some_and(|unit| unit.eq_ignore_ascii_case("bytes"));
        self.validator = strong.filter(|_| ranges).map(str::to_owned);
        (self.at, self.modified) = (0, modified);
        Ok(())
    }

    fn receive(&mut self, mut reader: BodyReader) -> Result<(), Received> {
        self.file.set_len(self.at).map_err(Received::Disk)?;
        self.file.seek(SeekFrom::Start(self.at)).map_err(Received::Disk)?;
        let mut piece = vec![0; PIECE];
        loop {
            let length = match reader.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Received::Net(error)),
            };
            self.file.write_all(&piece[..length]).map_err(Received::Disk)?;
            self.at = self.at.saturating_add(length as u64);
        }
    }
}

/// Which side failed.
enum Received {
    Net(io::Error),
    Disk(io::Error),
}

fn length(response: &Response) -> Option<u64> {
    response.header("Content-Length").and_then(|length| length.parse().ok())
}
