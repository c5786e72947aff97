//! Keys of layers for recipients of OpenPGP, by the machine's own gpg(1).
//!
//! Invariants: those of `trust::gpg`. A ring of secret keys is imported into a directory that is deleted with this process's use of it,
//! and its agent ends with it. Must not: use or change the person's secret keys for decryption; pass a passphrase where others see it.

use std::io::Read;
use std::process::Command;

use crate::conf::auth::Secret;
use crate::transport::trust::gpg::{Scratch, program, run, words};

/// A file of secret keys, with what opens them.
#[derive(Clone)]
pub(super) struct KeyRing {
    pub(super) bytes: Vec<u8>,
    pub(super) passphrase: Option<Secret>,
}

const MISSING: &str = "gpg is not installed";

/// A message with `text` that the recipients can read, whose public keys are in the person's ring.
pub(super) fn seal(text: &[u8], recipients: &[String]) -> Result<Vec<u8>, String> {
    let mut command = Command::new(program("gpg").ok_or(MISSING)?);
    // Who is named on the command line is meant, whatever the web of trust says; ocicrypt does not look at it either.
    command.args(["--batch", "--no-armor", "--trust-model", "always", "--status-fd", "2"]);
    for recipient in recipients {
        command.arg("--recipient").arg(recipient);
    }
    command.args(["--output", "-", "--encrypt"]);
    match run(command, text).map_err(|error| error.to_string())? {
        (message, _, true) if !message.is_empty() => Ok(message),
        (_, said, _) => Err(words(&said)),
    }
}

/// Whether a file is a ring of secret keys: its first packet is one (RFC 9580, section 4.2), or it says so in its armour.
pub(super) fn is_secret_ring(bytes: &[u8]) -> bool {
    let armoured = bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP PRIVATE KEY BLOCK-----");
    let tag = bytes.first().map(|first| if first & 0x40 == 0 { (first >> 2) & 0xf } else { first & 0x3f });
    armoured || (bytes.first().is_some_and(|first| first & 0x80 != 0) && tag == Some(5))
}

/// The text of a message for one of the keys of a ring.
pub(super) fn open(message: &[u8], ring: &KeyRing) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| error.to_string();
    let gpg = program("gpg").ok_or(MISSING)?;
    let home = Scratch::create().map_err(failed)?;
    let message = home.put("message", message).map_err(failed)?;
    let _agent = Agent(&home);
    let at_home = || {
        let mut command = Command::new(&gpg);
        command.env_clear().env("LC_ALL", "C").arg("--homedir").arg(home.path()).args(["--batch", "--status-fd", "2"]);
        command
    };
    let mut import = at_home();
    import.arg("--import");
    let (_, said, imported) = run(import, &ring.bytes).map_err(failed)?;
    if !imported {
        return Err(words(&said));
    }
    let mut decrypt = at_home();
    decrypt.args(["--pinentry-mode", "loopback", "--passphrase-fd", "0", "--output", "-", "--decrypt", "--"]).arg(&message);
    let passphrase = ring.passphrase.as_ref().map_or("", Secret::expose);
    match run(decrypt, format!("{passphrase}\n").as_bytes()).map_err(failed)? {
        (text, _, true) => Ok(text),
        (_, said, _) => Err(words(&said)),
    }
}

/// The agent that gpg starts for a directory of ours.
struct Agent<'a>(&'a Scratch);

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        if let Some(connect) = program("gpg-connect-agent") {
            let mut command = Command::new(connect);
            command.arg("--homedir").arg(self.0.path()).args(["--no-autostart", "KILLAGENT", "/bye"]);
            // Best effort: it ends by itself once it sees that its directory is gone.
            let _ = run(command, &[]);
        }
    }
}

/// At most 64 bytes from a descriptor that the caller has opened (`fd=N`), as ocicrypt reads them.
pub(super) fn passphrase_from(number: &str) -> std::io::Result<Vec<u8>> {
    let number: u32 = number.parse().map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
    let file = std::fs::File::open(format!("/proc/self/fd/{number}"))?;
    let mut bytes = Vec::new();
    file.take(64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_rings_are_known_by_their_first_bytes() {
        // Old and new format of a secret-key packet; a public key; text.
        for (bytes, want) in
            [(&[0x95, 0x01][..], true), (&[0xc5, 0x01], true), (&[0x99, 0x01], false), (b"abc", false), (b"", false)]
        {
            assert_eq!(is_secret_ring(bytes), want, "{bytes:?}");
        }
        assert!(is_secret_ring(b"\n-----BEGIN PGP PRIVATE KEY BLOCK-----\n"));
    }
}
