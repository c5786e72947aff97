//! What is kept between steps and builds.

use crate::build::options::{Layering, Layers, Leftovers, Reuse, Stages};
use crate::commands::{CommandError, Context};
use crate::golang::duration::parse_duration;

/// What is kept between steps and builds.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Flags for the cache")]
pub(super) struct LayeringArgs {
    /// Keep the image after each step, for later builds, and use those of earlier ones (default: false)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    layers: Option<bool>,

    /// Use nothing of earlier builds
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_cache: Option<bool>,

    /// Use nothing of earlier builds that is older than this, as 24h; 0 for nothing at all
    #[arg(long, value_name = "DURATION")]
    cache_ttl: Option<String>,

    /// Remove the containers of a successful build (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<bool>,

    /// Remove the containers of a build that fails, too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_rm: Option<bool>,

    /// Keep the container of the step that fails, as it was left
    #[arg(long)]
    keep_failed: bool,

    /// Keep the images of stages before the last, without names
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    save_stages: Option<bool>,

    /// Label them and the image with the name of the stage and its base
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    stage_labels: Option<bool>,
}

impl LayeringArgs {
    /// What was asked for.
    pub(super) fn resolve(&self, ctx: &Context) -> Result<Layering, CommandError> {
        if (self.rm.is_some() || self.force_rm.is_some()) && self.layers.is_none() && self.no_cache.is_none() {
            return Err(CommandError::usage("'rm' and 'force-rm' can only be set with either 'layers' or 'no-cache'"));
        }
        if self.keep_failed && self.force_rm == Some(true) {
            return Err(CommandError::usage("--keep-failed and --force-rm cannot be used together"));
        }
        let stages = match (self.save_stages == Some(true), self.stage_labels == Some(true)) {
            (false, true) => return Err(CommandError::usage("--stage-labels requires --save-stages")),
            (true, true) => Stages::Label,
            (true, false) => Stages::Keep,
            (false, false) => Stages::Remove,
        };
        let by_step = self.layers.unwrap_or_else(|| ctx.environment().engine_switch("LAYERS"));
        Ok(Layering {
            layers: if by_step { Layers::Step } else { Layers::Stage },
            reuse: self.reuse()?,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            containers: match (self.keep_failed, self.rm, self.force_rm) {
                (true, ..) => Leftovers::KeepFailed,
                (false, Some(false), None | Some(false)) => Leftovers::Keep,
                _ => Leftovers::Remove,
            },
            stages,
        })
    }

    fn reuse(&self) -> Result<Reuse, CommandError> {
        let usual = if self.no_cache == Some(true) { Reuse::Never } else { Reuse::Always };
        let Some(word) = self.cache_ttl.as_deref().filter(|word| !word.is_empty()) else { return Ok(usual) };
        let age = parse_duration(word).map_err(|_| {
            let text = format!("unable to parse value provided {word:?} as --cache-ttl: time: invalid duration {word:?}");
            CommandError::usage(text)
        })?;
        match (age, usual) {
            (..=0, _) if self.no_cache == Some(false) => {
                Err(CommandError::usage("cannot use --cache-ttl with duration as 0 and --no-cache=false"))
            }
            (..=0, _) | (_, Reuse::Never) => Ok(Reuse::Never),
            (age, _) => Ok(Reuse::Younger(age)),
        }
    }
}
