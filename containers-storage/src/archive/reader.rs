//! The strict streaming reader of tar archives.

use std::io::BufRead;

use super::{Entry, Error};

/// Reads members one after the other from an uncompressed tar stream.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
}

impl<R: BufRead> Reader<R> {
    /// A reader at the start of `input`.
    pub fn new(input: R) -> Self {
        Self { input }
    }

    /// The next member; what is left of the content of the one before is passed over. `None` after the end marker.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let _ = self.input.fill_buf().map_err(Error::Read)?;
        Err(Error::Read(std::io::ErrorKind::Unsupported.into()))
    }
}
