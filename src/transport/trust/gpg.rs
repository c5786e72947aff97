//! Simple signing by the machine's own GnuPG: gpgv(1) verifies, gpg(1) signs.
//!
//! Invariants: the programs are found in the system's directories, get no path and no option from outside, and see foreign bytes only
//! in files of ours. What gpgv says is read from its status lines (doc/DETAILS of GnuPG); its exit status alone proves nothing.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Refusal;
use crate::image::signature::MAX_BYTES;

const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];
/// How lines of `--status-fd` begin; other lines begin with the program's name.
const STATUS: &str = "[GNUPG:] ";
/// What spoils a signature, whatever else is said.
const BAD: [&str; 8] = ["BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NODATA", "FAILURE", "UNEXPECTED"];

/// A directory of ours for the files of one call.
pub(in crate::transport) struct Scratch(PathBuf);

impl Scratch {
    pub(in crate::transport) fn create() -> io::Result<Self> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        let path = std::env::temp_dir().join(format!("coracle-gpg-{random:016x}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Its path.
    pub(in crate::transport) fn path(&self) -> &Path {
        &self.0
    }

    pub(in crate::transport) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(bytes)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The text of a message that one of the keys has signed, and nobody else.
pub(super) fn verified(message: &[u8], keys: &[Vec<u8>]) -> Result<Vec<u8>, Refusal> {
    let failed = |error: io::Error| Refusal::Program(error.to_string());
    let program = program("gpgv").ok_or_else(|| Refusal::Program("gpgv is not installed".to_owned()))?;
    let mut ring = Vec::new();
    for key in keys {
        ring.extend(without_armour(key).ok_or_else(|| Refusal::Program("a key is not one of OpenPGP".to_owned()))?);
    }
    let scratch = Scratch::create().map_err(failed)?;
    let ring = scratch.put("keys", &ring).map_err(failed)?;
    let message = scratch.put("message", message).map_err(failed)?;
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").current_dir(&scratch.0).stdin(Stdio::null());
    command.arg("--homedir").arg(&scratch.0).arg("--keyring").arg(ring);
    command.args(["--status-fd", "2", "--output", "-", "--"]).arg(message);
    let (text, said, success) = run(command, &[]).map_err(failed)?;
    judged(&said).map_err(Refusal::Invalid)?;
    if !success {
        return Err(Refusal::Invalid("gpgv does not accept the signature".to_owned()));
    }
    Ok(text)
}

/// Whether the status lines say that there was one signature, and that it is good.
fn judged(said: &str) -> Result<(), String> {
    let lines = said.lines().filter_map(|line| line.strip_prefix(STATUS));
    let words: Vec<(&str, &str)> = lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
    let count = |wanted: &str| words.iter().filter(|(word, _)| *word == wanted).count();
    if let Some((word, rest)) = words.iter().find(|(word, _)| BAD.contains(word)) {
        let key = rest.split(' ').next().unwrap_or_default();
        return Err(match *word {
            "ERRSIG" => format!("the signature by key {key} cannot be verified with the keys of the policy"),
            "BADSIG" => format!("the signature by key {key} is wrong"),
            "EXPSIG" | "EXPKEYSIG" => format!("the signature by key {key}, or that key, has expired"),
            "REVKEYSIG" => format!("the key {key} was revoked"),
            _ => "it is no signature of OpenPGP".to_owned(),
        });
    }
    match (count("NEWSIG"), count("GOODSIG"), count("VALIDSIG")) {
        (0 | 1, 1, 1) => Ok(()),
        (_, 0, _) | (_, _, 0) => Err("it is no signature of OpenPGP".to_owned()),
        _ => Err("it has several signatures".to_owned()),
    }
}

/// Whether gpg has the secret part of the key that `name` names. Nobody is asked for a passphrase.
pub(super) fn has_key(name: &str) -> Result<(), String> {
    let program = program("gpg").ok_or("gpg is not installed")?;
    let mut command = Command::new(program);
    command.args(["--batch", "--with-colons", "--status-fd", "2", "--list-secret-keys", "--"]).arg(name);
    let (_, said, success) = run(command, &[]).map_err(|error| error.to_string())?;
    if success { Ok(()) } else { Err(words(&said)) }
}

/// What it says for people, at last.
pub(in crate::transport) fn words(said: &str) -> String {
    said.lines().rfind(|line| !line.starts_with(STATUS)).unwrap_or("it said nothing").to_owned()
}

/// Makes a message of `text` signed by the key that `name` names to gpg: a fingerprint, an address.
pub(super) fn sign(text: &[u8], name: &str) -> Result<Vec<u8>, String> {
    let program = program("gpg").ok_or("gpg is not installed")?;
    let mut command = Command::new(program);
    // The person's keys and agent are found through the environment.
    let _agent = Agent::watch();
    command.args(["--batch", "--no-armor", "--status-fd", "2", "--local-user"]).arg(name).args(["--output", "-", "--sign"]);
    let (message, said, success) = run(command, text).map_err(|error| error.to_string())?;
    if success && said.lines().any(|line| line.strip_prefix(STATUS).is_some_and(|line| line.starts_with("SIG_CREATED "))) {
        return Ok(message);
    }
    Err(words(&said))
}

/// The agent that gpg starts: it ends with this value, unless it ran before.
struct Agent {
    ran_before: bool,
}

impl Agent {
    fn watch() -> Self {
        Self { ran_before: running_agent().is_some() }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let Some(agent) = running_agent().filter(|_| !self.ran_before) else { return };
        // It finishes what it does for others; best effort, since it does no harm.
        let _ = rustix::process::kill_process(agent, rustix::process::Signal::TERM);
        for _ in 0..100 {
            if rustix::process::test_kill_process(agent).is_err() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// The agent that answers at the person's socket, if one runs. None is started.
fn running_agent() -> Option<rustix::process::Pid> {
    let mut command = Command::new(program("gpg-connect-agent")?);
    command.args(["--no-autostart", "GETINFO pid", "/bye"]);
    let (answer, ..) = run(command, &[]).ok()?;
    let pid = String::from_utf8_lossy(&answer).lines().find_map(|line| line.strip_prefix("D ")?.trim().parse().ok())?;
    rustix::process::Pid::from_raw(pid)
}

/// What the program writes to stdout and stderr, and whether it succeeded. More than a signature may have is an error.
pub(in crate::transport) fn run(mut command: Command, input: &[u8]) -> io::Result<(Vec<u8>, String, bool)> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (to, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let read = std::thread::scope(|scope| {
        let said = scope.spawn(|| limited(err));
        if let Some(mut to) = to {
            // A program that does not want its input says why.
            let _ = to.write_all(input);
        }
        let text = limited(out);
        (text, said.join().unwrap_or_else(|_| Err(io::Error::other("a thread that read from gpg has failed"))))
    });
    let (text, said) = match read {
        (Ok(text), Ok(said)) => (text, said),
        (Err(error), _) | (_, Err(error)) => {
            end(&mut child);
            return Err(error);
        }
    };
    Ok((text, String::from_utf8_lossy(&said).into_owned(), child.wait()?.success()))
}

fn limited(from: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::other("a signature has more than 4 MiB of text"));
    }
    Ok(bytes)
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

pub(in crate::transport) fn program(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

/// The bytes of keys that may be in ASCII armour (RFC 9580, section 6.2).
fn without_armour(key: &[u8]) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let Ok(text) = std::str::from_utf8(key) else { return Some(key.to_vec()) };
    let mut bytes = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let body = block.split_once(END)?.0;
        // Headers end with an empty line; the checksum begins with an equals sign.
        let lines = body.lines().skip(1).skip_while(|line| line.contains(": ")).map(str::trim);
        let data: String = lines.take_while(|line| !line.starts_with('=')).collect();
        bytes.extend(STANDARD.decode(data).ok()?);
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_good_signature_is_good() {
        let good = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG AB x\n[GNUPG:] VALIDSIG AB 1\n";
        assert_eq!(judged(good), Ok(()));
        for said in [
            String::new(),
            "[GNUPG:] NODATA 1".to_owned(),
            "[GNUPG:] GOODSIG AB x\n".to_owned(),
            "gpgv: [GNUPG:] GOODSIG AB x\n[GNUPG:] VALIDSIG AB 1\n".to_owned(),
            format!("{good}{good}"),
            format!("{good}[GNUPG:] BADSIG CD y\n"),
            format!("{good}[GNUPG:] EXPKEYSIG AB x\n"),
            format!("{good}[GNUPG:] REVKEYSIG AB x\n"),
            "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG AB 1 2\n[GNUPG:] NO_PUBKEY AB".to_owned(),
        ] {
            assert!(judged(&said).is_err(), "{said:?}");
        }
    }

    #[test]
    fn armour_is_taken_off() {
        let armoured =
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\nYWJj\nZGVm\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(without_armour(armoured.as_bytes()), Some(b"abcdef".to_vec()));
        assert_eq!(without_armour(armoured.repeat(2).as_bytes()), Some(b"abcdefabcdef".to_vec()));
        assert_eq!(without_armour(b"\x98\xff"), Some(b"\x98\xff".to_vec()));
        assert_eq!(without_armour(b"no key"), None);
    }
}
