//! How git(1) calls ssh(1).
//!
//! Invariant: ssh asks nobody anything, and a host whose key is not known is not spoken to. What a Dockerfile names is asked for with the
//! keys that the caller has lent, and no others.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Ssh;

/// Keys below `~/.ssh` that are tried (ssh(1)).
const KEYS: [&str; 4] = ["id_ed25519", "id_ecdsa", "id_ed25519_sk", "id_rsa"];
/// Where the caller's agent is.
const AGENT: &str = "SSH_AUTH_SOCK";

/// Sets the variables by which git finds the command.
pub(super) fn configure(command: &mut Command, ssh: &Ssh) {
    let mut words: Vec<String> = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"].map(str::to_owned).to_vec();
    let own = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".ssh"));
    match ssh {
        Ssh::Caller => {
            command.envs(std::env::var_os(AGENT).map(|socket| (AGENT, socket)));
            // ssh takes the directory of the user database, wherever HOME leads.
            if let Some(own) = own.filter(|own| !is_in_the_database(own)) {
                words.extend(known_hosts(&own));
                if own.join("config").is_file() {
                    words.extend(["-F".to_owned(), own.join("config").display().to_string()]);
                }
                let keys = KEYS.iter().map(|name| own.join(name)).filter(|path| path.is_file());
                words.extend(keys.flat_map(|path| ["-i".to_owned(), path.display().to_string()]));
            }
        }
        Ssh::Keys(paths) => {
            words.extend(["-F", "none", "-o", "IdentityFile=none"].map(str::to_owned));
            words.extend(own.iter().flat_map(|own| known_hosts(own)));
            for path in paths {
                let is_socket = std::fs::metadata(path).is_ok_and(|data| data.file_type().is_socket());
                if is_socket {
                    command.env(AGENT, absolute(path));
                } else {
                    words.extend(["-i".to_owned(), absolute(path).display().to_string()]);
                }
            }
        }
        Ssh::Nobody => words = vec!["false".to_owned()],
    }
    let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    command.env("GIT_SSH_COMMAND", line.join(" ")).env("GIT_SSH_VARIANT", "ssh");
}

/// Whether that is where ssh looks by itself.
fn is_in_the_database(own: &Path) -> bool {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid());
    user.ok().flatten().is_some_and(|user| user.dir.join(".ssh") == own)
}

fn known_hosts(own: &Path) -> [String; 2] {
    // ssh splits the value at blanks unless it is quoted.
    ["-o".to_owned(), format!("UserKnownHostsFile=\"{}\"", own.join("known_hosts").display())]
}

/// git runs in another directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// A word for the shell that git starts.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_ssh_as_they_are() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $(x)"), "'it'\\''s $(x)'");
    }
}
