//! What is kept between steps and builds.

use crate::build::options::{CachePlace, Layering, Layers, Leftovers, Reuse, Stages};
use crate::commands::compression::{CompressionArgs, Unsaid};
use crate::commands::{CommandError, Context, csv};
use crate::conf::ContainersConf;
use crate::golang::duration::parse_duration;
use crate::transport::copy::{LayerCompression, Uncompressed};

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

    /// Use nothing of earlier builds for this stage, named or numbered from 0 (can be repeated)
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,

    /// Use nothing of earlier builds that is older than this, as 24h; 0 for nothing at all
    #[arg(long, value_name = "DURATION")]
    cache_ttl: Option<String>,

    /// Ask here for steps that the store has not: a repository, oci:DIR, type=registry,ref=REPOSITORY or type=local,src=DIR (can be repeated)
    #[arg(long, value_name = "PLACE")]
    cache_from: Vec<String>,

    /// Send the image of each step here: a repository, oci:DIR, type=registry,ref=REPOSITORY or type=local,dest=DIR (can be repeated)
    #[arg(long, value_name = "PLACE")]
    cache_to: Vec<String>,

    #[command(flatten)]
    compression: CompressionArgs,

    /// Remove the containers of a successful build (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<bool>,

    /// Remove the containers of a build that fails, too (default: true, but with --rm=false false)
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
    pub(super) fn resolve(&self, ctx: &Context, conf: &ContainersConf) -> Result<Layering, CommandError> {
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
        let places = |flag: &str, words: &[String], key: &str| -> Result<Vec<CachePlace>, CommandError> {
            words.iter().map(|word| cache_place(flag, word, key)).collect()
        };
        let (cache_from, cache_to) =
            (places("--cache-from", &self.cache_from, "src")?, places("--cache-to", &self.cache_to, "dest")?);
        Ok(Layering {
            layers: if by_step { Layers::Step } else { Layers::Stage },
            reuse: self.reuse()?,
            anew: self.no_cache_filter.iter().filter(|stage| !stage.is_empty()).cloned().collect(),
            cache_from,
            cache_to,
            compression: self.compression(conf)?,
            containers: self.leftovers(by_step),
            stages,
        })
    }

    /// As Buildah, which knows no leftovers of a build without layers. One that fails leaves nothing unless that is asked for.
    fn leftovers(&self, by_step: bool) -> Leftovers {
        let keeps_done = by_step && self.rm == Some(false);
        let keeps_failed = by_step && (self.force_rm == Some(false) || keeps_done && self.force_rm.is_none());
        match (keeps_done, keeps_failed || self.keep_failed) {
            (true, true) => Leftovers::Keep,
            (true, false) => Leftovers::KeepDone,
            (false, true) => Leftovers::KeepFailed,
            (false, false) => Leftovers::Remove,
        }
    }

    /// How layers are compressed on the way to other places: as the flags say, else as containers.conf does.
    pub(super) fn compression(&self, conf: &ContainersConf) -> Result<LayerCompression, CommandError> {
        let unsaid = Unsaid::Configured(conf);
        let is_wanted = self.compression.names_a_format(unsaid);
        let uncompressed = if is_wanted { Uncompressed::Compress } else { Uncompressed::AsDestination };
        self.compression.resolve(unsaid, uncompressed)
    }

    /// Whether other places are named though no step is kept.
    pub(super) fn names_places_in_vain(&self, layering: &Layering) -> bool {
        layering.layers == Layers::Stage && !(self.cache_from.is_empty() && self.cache_to.is_empty())
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

/// A word of `--cache-from` or `--cache-to`: Buildah's repository, or BuildKit's `type=…` with the directory as `key`.
fn cache_place(flag: &str, word: &str, key: &str) -> Result<CachePlace, CommandError> {
    let wrong =
        |why: &dyn std::fmt::Display| CommandError::usage(format!("unable to parse value provided `{word}` to {flag}: {why}"));
    if let Some(dir) = word.strip_prefix("oci:") {
        return CachePlace::directory(dir).map_err(|error| wrong(&error));
    }
    if !word.split(',').any(|field| field.starts_with("type=")) {
        return CachePlace::repository(word.strip_prefix("docker://").unwrap_or(word)).map_err(|error| wrong(&error));
    }
    let fields = csv::record(word).map_err(|error| wrong(&error))?;
    let pairs = fields.iter().map(|field| field.split_once('=').unwrap_or((field, ""))).collect::<Vec<_>>();
    let value = |name: &str| pairs.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let (kind, named) = match value("type") {
        Some("local") => ("local", key),
        Some("registry") => ("registry", "ref"),
        other => {
            return Err(wrong(&format!("there are the types local and registry, and not {:?}", other.unwrap_or_default())));
        }
    };
    if let Some((unknown, _)) = pairs.iter().find(|(name, _)| !["type", "mode", named].contains(name)) {
        return Err(wrong(&format!("type={kind} has no option {unknown:?}")));
    }
    if value("mode").is_some_and(|mode| mode != "max") {
        return Err(wrong(&"every step is kept, which is mode=max"));
    }
    let text = value(named).unwrap_or_default();
    let place = if kind == "local" { CachePlace::directory(text) } else { CachePlace::repository(text) };
    place.map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_repositories_and_directories_in_the_words_of_both() {
        let shown = |word: &str| cache_place("--cache-to", word, "dest").map(|place| place.to_string()).map_err(|e| e.text());
        for (word, place) in [
            ("h:5000/a", "h:5000/a"),
            ("docker://h/a", "docker.io/h/a"),
            ("a", "docker.io/library/a"),
            ("oci:/c/d", "oci:/c/d"),
            ("type=local,dest=/c", "oci:/c"),
            ("type=registry,ref=h:5000/a,mode=max", "h:5000/a"),
        ] {
            assert_eq!(shown(word).as_deref(), Ok(place), "{word}");
        }
        for (word, why) in [
            ("h/a:tag", "repository must contain neither a tag nor digest: h/a:tag"),
            ("", "invalid repo \"\": must contain registry and repository"),
            ("type=gha", "there are the types local and registry"),
            ("type=local", "the directory is missing"),
            ("type=local,src=/c", "no option \"src\""),
            ("type=registry,ref=h/a,mode=min", "mode=max"),
            ("oci:/a:b", "colon"),
        ] {
            let error = shown(word).unwrap_err();
            assert!(error.starts_with(&format!("unable to parse value provided `{word}` to --cache-to: ")), "{error}");
            assert!(error.contains(why), "{word}: {error}");
        }
    }
}
