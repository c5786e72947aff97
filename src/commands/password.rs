//! What a person types: a line, one that is not shown, or a key.
//!
//! Invariant: the terminal is as it was afterwards, also after Ctrl-C, which is read as a key here for that reason.

use std::io::{self, Read, Stdin};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// The longest line that is read, in bytes.
const MAX_BYTES: usize = 4096;

/// A line of standard input, without its end.
pub(super) fn line() -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        match byte()? {
            None if bytes.is_empty() => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "EOF")),
            None | Some(b'\n') => return text(bytes),
            Some(byte) if bytes.len() < MAX_BYTES => bytes.push(byte),
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the line is too long")),
        }
    }
}

/// A line of the terminal that is standard input, without showing it.
pub(super) fn hidden_line() -> io::Result<String> {
    let _hidden = Hidden::new()?;
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        match byte()? {
            // Ctrl-C.
            Some(3) => return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            // Ctrl-D.
            None | Some(4) if bytes.is_empty() => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "EOF")),
            None | Some(b'\n' | b'\r' | 4) => return text(bytes),
            // Backspace takes a whole letter away.
            Some(8 | 127) => while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U.
            Some(21) => bytes.clear(),
            Some(byte) if bytes.len() < MAX_BYTES => bytes.push(byte),
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the line is too long")),
        }
    }
}

/// The next byte of standard input; none at its end.
pub(super) fn byte() -> io::Result<Option<u8>> {
    let mut byte = [0];
    Ok((io::stdin().read(&mut byte)? == 1).then_some(byte[0]))
}

fn text(mut bytes: Vec<u8>) -> io::Result<String> {
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the line is not UTF-8"))
}

/// A terminal that shows nothing of what is typed until this is dropped.
pub(super) struct Hidden {
    terminal: Stdin,
    before: Termios,
}

impl Hidden {
    /// Standard input must be a terminal.
    pub(super) fn new() -> io::Result<Self> {
        let terminal = io::stdin();
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
