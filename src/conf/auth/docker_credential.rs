//! Credential helpers: programs called `docker-credential-NAME`, one word of what to do as their argument, the rest on their standard
//! streams (docker-credential-helpers, README).
//!
//! Invariants: a name is a file name of few letters; the program is looked for in the absolute directories of PATH only, never in the
//! working directory; its answer and its time are bounded; an answer for another server is an error (known attacks A104).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::{Credentials, Error, Secret};
use crate::conf::Environment;

/// How long a helper may take; it may ask a person.
const TIME: Duration = Duration::from_secs(30);
/// The longest answer, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// What a helper says of a server that it has nothing for.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default, rename = "ServerURL")]
    server: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Login<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    username: &'a str,
    secret: &'a str,
}

/// What the helper has for a server.
pub(super) fn get(environment: &Environment, name: &str, server: &str) -> Result<Option<Credentials>, Error> {
    let wrong = |problem: &str| Error::Helper { name: name.to_owned(), problem: problem.to_owned() };
    let (succeeded, output) = call(environment, name, "get", server.as_bytes())?;
    if !succeeded {
        let text = String::from_utf8_lossy(&output);
        return if text.trim() == NOT_FOUND { Ok(None) } else { Err(wrong(&format!("it failed: {}", shortened(&text)))) };
    }
    let answer: Answer = serde_json::from_slice(&output).map_err(|_| wrong("its answer is not JSON"))?;
    if !answer.server.is_empty() && answer.server.trim_end_matches('/') != server.trim_end_matches('/') {
        return Err(wrong("it answered for another server"));
    }
    if answer.username.is_empty() && answer.secret.is_empty() {
        return Ok(None);
    }
    let secret = Secret::new(answer.secret);
    Ok(Some(if answer.username == TOKEN_USER {
        Credentials::IdentityToken(secret)
    } else {
        Credentials::Password { user: answer.username, password: secret }
    }))
}

/// Gives the helper a login to keep.
pub(super) fn store(environment: &Environment, name: &str, server: &str, user: &str, password: &Secret) -> Result<(), Error> {
    let login = Login { server, username: user, secret: password.expose() };
    let input = serde_json::to_vec(&login).unwrap_or_default();
    done(name, call(environment, name, "store", &input)?)
}

/// Has the helper forget a login; `false` if it has none.
pub(super) fn erase(environment: &Environment, name: &str, server: &str) -> Result<bool, Error> {
    let answer = call(environment, name, "erase", server.as_bytes())?;
    if !answer.0 && String::from_utf8_lossy(&answer.1).trim() == NOT_FOUND {
        return Ok(false);
    }
    done(name, answer).map(|()| true)
}

/// The servers that the helper has logins for; none if there is no such helper.
pub(super) fn list(environment: &Environment, name: &str) -> Result<Vec<String>, Error> {
    if is_name(name) && find(environment, &format!("docker-credential-{name}")).is_none() {
        return Ok(Vec::new());
    }
    let (succeeded, output) = call(environment, name, "list", b"")?;
    let problem = "its list is not JSON".to_owned();
    let servers = serde_json::from_slice::<BTreeMap<String, String>>(&output);
    done(name, (succeeded, output))?;
    servers.map(|servers| servers.into_keys().collect()).map_err(|_| Error::Helper { name: name.to_owned(), problem })
}

fn done(name: &str, (succeeded, output): (bool, Vec<u8>)) -> Result<(), Error> {
    if succeeded {
        return Ok(());
    }
    let problem = format!("it failed: {}", shortened(&String::from_utf8_lossy(&output)));
    Err(Error::Helper { name: name.to_owned(), problem })
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(200).collect()
}

/// Runs the helper: whether it succeeded, and what it wrote.
fn call(environment: &Environment, name: &str, word: &str, input: &[u8]) -> Result<(bool, Vec<u8>), Error> {
    let wrong = |problem: String| Error::Helper { name: name.chars().take(100).collect(), problem };
    if !is_name(name) {
        return Err(wrong("its name is none".to_owned()));
    }
    let program = find(environment, &format!("docker-credential-{name}"))
        .ok_or_else(|| wrong(format!("there is no program docker-credential-{name} in PATH")))?;
    let mut command = Command::new(program);
    command.arg(word).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| wrong(format!("it cannot be started: {error}")))?;
    let output = converse(&mut child, input);
    if output.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| wrong(error.to_string()))?;
    Ok((status.success(), output.map_err(wrong)?))
}

/// Writes the input and reads the answer, both within the limits.
fn converse(child: &mut Child, input: &[u8]) -> Result<Vec<u8>, String> {
    let end = Instant::now() + TIME;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not want it has ended, which its status tells.
        let _ = stdin.write_all(input);
    }
    let Some(mut stdout) = child.stdout.take() else { return Ok(Vec::new()) };
    let mut output = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(0), tv_nsec: left.subsec_nanos().into() };
        let ready = {
            let mut polled = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
            poll(&mut polled, Some(&timeout))
        };
        match ready {
            Ok(0) => return Err(format!("it gave no answer within {} seconds", TIME.as_secs())),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.to_string()),
            Ok(_) => {}
        }
        match stdout.read(&mut piece).map_err(|error| error.to_string())? {
            0 => return Ok(output),
            length => output.extend_from_slice(&piece[..length]),
        }
        if output.len() > MAX_BYTES {
            return Err(format!("its answer has more than {MAX_BYTES} bytes"));
        }
    }
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(letter) && !name.starts_with(['.', '-'])
}

fn find(environment: &Environment, program: &str) -> Option<PathBuf> {
    let path = environment.path.as_deref().unwrap_or("/usr/local/bin:/usr/bin:/bin".as_ref());
    let executable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(program)).find(|path| executable(path))
}
