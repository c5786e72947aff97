//! `--pull`: when a registry is asked for a base image.

use super::CommandError;
use crate::container::pull::PullPolicy;

/// When a registry is asked.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PullArgs {
    /// When to ask a registry: missing, never, newer or always, which no value means, too (default: missing)
    #[arg(long, value_name = "POLICY", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pull: Option<String>,

    /// The same as --pull=always
    #[arg(long, hide = true)]
    pull_always: bool,

    /// The same as --pull=never
    #[arg(long, hide = true)]
    pull_never: bool,
}

impl PullArgs {
    /// What was asked for.
    pub(super) fn resolve(&self) -> Result<PullPolicy, CommandError> {
        match (self.pull.as_deref(), self.pull_always, self.pull_never) {
            (None, false, false) => Ok(PullPolicy::Missing),
            (Some(word), false, false) => Ok(word.parse()?),
            (None, true, false) => Ok(PullPolicy::Always),
            (None, false, true) => Ok(PullPolicy::Never),
            _ => Err(CommandError::usage("can only set one of 'pull' or 'pull-always' or 'pull-never'")),
        }
    }
}
