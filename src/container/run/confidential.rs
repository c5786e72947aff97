//! Secrets and SSH agents: what a command asks for, found among what the caller has.
//!
//! Invariant: a secret is read here, after every word was checked, and goes to the request and nowhere else.

use std::path::{Path, PathBuf};

use super::{Confidential, Error};
use crate::run::{Request, secrets, ssh};

/// Where the sockets of agents are unless their mounts say otherwise.
const SOCKETS: &str = "/run/buildkit";

/// Adds to `request` what `asked` has mounts for. What the caller lacks and the command can do without is left out, as by Buildah.
pub(super) fn pass(asked: &Confidential, request: &mut Request) -> Result<(), Error> {
    let workdir = request.process.cwd.clone();
    pass_secrets(asked, &workdir, request)?;
    pass_agents(asked, &workdir, request)?;
    refuse_doubles(request)
}

fn pass_secrets(asked: &Confidential, workdir: &Path, request: &mut Request) -> Result<(), Error> {
    for mount in &asked.secret_mounts {
        let Some(secret) = asked.secrets.iter().rev().find(|secret| secret.id == mount.id) else {
            if mount.required {
                return Err(Error::NoSecret(mount.id.clone()));
            }
            continue;
        };
        let value = secret.read().map_err(|source| Error::Secret { id: mount.id.clone(), source })?;
        let file = mount.target.as_ref().map(|target| (workdir.join(target), mount.place));
        request.mounts.secrets.push(secrets::Passed { value, file, variable: mount.env.clone() });
    }
    Ok(())
}

fn pass_agents(asked: &Confidential, workdir: &Path, request: &mut Request) -> Result<(), Error> {
    for (number, mount) in asked.agent_mounts.iter().enumerate() {
        let Some(agent) = asked.agents.iter().rev().find(|agent| agent.id == mount.id) else {
            if mount.required {
                return Err(Error::NoAgent(mount.id.clone()));
            }
            continue;
        };
        let usual = || PathBuf::from(SOCKETS).join(format!("ssh_agent.{number}"));
        let target = mount.target.as_ref().map_or_else(usual, |target| workdir.join(target));
        if request.mounts.agents.is_empty() {
            let env = &mut request.process.env;
            env.retain(|entry| !entry.starts_with("SSH_AUTH_SOCK="));
            env.push(format!("SSH_AUTH_SOCK={}", target.display()));
        }
        request.mounts.agents.push(ssh::Passed { paths: agent.paths.clone(), target, place: mount.place });
    }
    Ok(())
}

/// One of two mounts at one place would not be there.
fn refuse_doubles(request: &Request) -> Result<(), Error> {
    let mounts = &request.mounts;
    let files = mounts.secrets.iter().filter_map(|secret| secret.file.as_ref().map(|(target, _)| target));
    let mut seen: Vec<&PathBuf> = mounts.requests.iter().map(|mount| &mount.target).collect();
    for target in files.chain(mounts.agents.iter().map(|agent| &agent.target)) {
        if seen.contains(&target) {
            return Err(Error::Word(format!("{}: duplicate mount destination", target.display())));
        }
        seen.push(target);
    }
    Ok(())
}
