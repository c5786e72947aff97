//! SSH agents of the caller's (`--ssh`) that a command may ask.
//!
//! Invariant: no key enters the container, and the command cannot change what the agent holds.

use std::path::PathBuf;

use super::mount_args::Place;

/// `--ssh`: an agent that a command may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name; `default` unless given.
    pub id: String,
    /// A socket of an agent, or key files that one is started for. Not empty.
    pub paths: Vec<PathBuf>,
}

/// An agent on its way to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Where its keys are: the socket of one agent, or key files.
    pub paths: Vec<PathBuf>,
    /// The socket inside, absolute.
    pub target: PathBuf,
    /// Whose that is.
    pub place: Place,
}

impl Agent {
    /// Parses the value of `--ssh`: `ID[=SOCKET|KEY[,KEY]]`; `socket` is the caller's `SSH_AUTH_SOCK`.
    pub fn parse(text: &str, socket: Option<&str>) -> Result<Self, String> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        let id = if id.is_empty() { "default" } else { id };
        let mut paths: Vec<PathBuf> = paths.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        if paths.is_empty() {
            let socket = socket.filter(|path| !path.is_empty()).ok_or("$SSH_AUTH_SOCK not set")?;
            paths.push(PathBuf::from(socket));
        }
        Ok(Self { id: id.to_owned(), paths })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_a_socket_or_keys() {
        let parsed = |text: &str| Agent::parse(text, Some("/run/agent")).map(|agent| (agent.id, agent.paths));
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(parsed("default").unwrap(), ("default".into(), paths(&["/run/agent"])));
        assert_eq!(parsed("").unwrap(), ("default".into(), paths(&["/run/agent"])));
        assert_eq!(parsed("a=/x,/y").unwrap(), ("a".into(), paths(&["/x", "/y"])));
        assert_eq!(parsed("=/x").unwrap().0, "default");
        assert_eq!(Agent::parse("a", None).unwrap_err(), "$SSH_AUTH_SOCK not set");
        assert_eq!(Agent::parse("a=", Some("")).unwrap_err(), "$SSH_AUTH_SOCK not set");
    }
}
