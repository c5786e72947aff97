//! Flags about reaching a registry, and what every copy of an image needs: the policy, and lines about its progress.
//!
//! No registry is spoken to yet, but scripts give these flags with local images as well, and Buildah takes them there. They are
//! checked as Buildah checks them and have no further effect; an image that only a registry could have is refused by its name.

use std::path::PathBuf;

use super::run_environment::conf_environment;
use super::{CommandError, Context, Ui};
use crate::conf::{PolicyFile, Registries};
use crate::container::find_image;
use crate::container::pull::{self, Fetch, PullPolicy};
use crate::golang::duration::parse_duration;
use crate::transport::Progress;
use crate::transport::copy::Platform;

/// How a registry is reached.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RegistryArgs {
    /// File with credentials for registries; has no effect on local images
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,

    /// Directory with certificates for a registry; has no effect on local images
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// User name and password for a registry; has no effect on local images
    #[arg(long, value_name = "USER[:PASSWORD]")]
    creds: Option<String>,

    /// Insist on verified TLS with registries; has no effect on local images (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
}

/// How often a registry is asked.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RetryArgs {
    /// How often to try again after a failure of the network; has no effect on local images (default: 3)
    #[arg(long, value_name = "COUNT")]
    retry: Option<u32>,

    /// Pause before that, as 2s; has no effect on local images (default: 2s)
    #[arg(long, value_name = "DURATION")]
    retry_delay: Option<String>,
}

impl RegistryArgs {
    /// Refuses what Buildah refuses before it asks anybody.
    pub(super) fn check(&self) -> Result<(), CommandError> {
        if let Some(path) = &self.authfile {
            let seen = std::fs::metadata(path);
            seen.map_err(|error| CommandError::from(error).context(format!("checking authfile {path:?}")))?;
        }
        Ok(())
    }
}

impl RetryArgs {
    /// Refuses a pause that is none.
    pub(super) fn check(&self) -> Result<(), CommandError> {
        let Some(word) = &self.retry_delay else { return Ok(()) };
        parse_duration(word).map(drop).map_err(|error| {
            CommandError::usage(format!("unable to parse value provided {word:?} as --retry-delay: {error}: {word:?}"))
        })
    }
}

/// Where the signature policy is: `--signature-policy`, the environment, the standard files.
pub(super) fn policy_file(ctx: &Context) -> Result<PolicyFile, CommandError> {
    let rootless = ctx.store()?.conf().rootless;
    Ok(PolicyFile::new(conf_environment(ctx, rootless), ctx.global().signature_policy.clone()))
}

/// How a verb obtains images.
pub(super) struct Images<'a> {
    registries: &'a Registries,
    platform: Option<Platform>,
    trust: PolicyFile,
    temp_dir: PathBuf,
    progress: fn(Progress<'_>),
}

impl<'a> Images<'a> {
    /// Images for `platform`, or for this machine.
    pub(super) fn new(ctx: &'a Context, platform: Option<Platform>, quiet: Quiet) -> Result<Self, CommandError> {
        Ok(Self {
            registries: ctx.registries()?,
            platform,
            trust: policy_file(ctx)?,
            temp_dir: ctx.temp_dir(),
            progress: progress(quiet),
        })
    }

    /// How they are obtained under a policy. Whoever names a platform wants to know whether there is something newer for it.
    pub(super) fn fetch(&self, policy: PullPolicy) -> Fetch<'_> {
        Fetch {
            registries: self.registries,
            policy: if self.platform.is_some() && policy == PullPolicy::Missing { PullPolicy::Newer } else { policy },
            platform: self.platform.as_ref(),
            trust: &self.trust,
            temp_dir: &self.temp_dir,
            progress: &self.progress,
        }
    }
}

/// What shows the progress of a copy, if anything does.
pub(super) fn progress(quiet: Quiet) -> fn(Progress<'_>) {
    match quiet {
        Quiet::No => |progress| Ui::progress(progress),
        Quiet::Yes => |_| {},
    }
}

/// `--quiet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quiet {
    /// Progress is shown.
    No,
    /// It is not.
    Yes,
}

impl From<bool> for Quiet {
    fn from(flag: bool) -> Self {
        if flag { Self::Yes } else { Self::No }
    }
}

/// What helps against a failed pull.
pub(super) fn hint(error: &pull::Error) -> Option<String> {
    let unknown = matches!(error, pull::Error::Image(find_image::Error::NotKnown { .. }));
    unknown.then(|| {
        "only images of the store and of local places (oci:DIR, docker-archive:FILE, …) can be used, it speaks to no registry yet: \
         see \"coracle images\""
            .to_owned()
    })
}
