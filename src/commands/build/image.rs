//! What the image is called and what its documents say.

use super::places::{self, Tags};
use crate::build::options::{FormatChoice, ImageOptions, Stay, Unset};
use crate::commands::from::format;
use crate::commands::{CommandError, Context};
use crate::container::commit::{Clock, HistoryPolicy};

/// Names and documents of the image.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ImageArgs {
    /// Name of the image, or its place, as oci:DIR:NAME (can be repeated)
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,

    /// Manifest list to add the image to; it is made if there is none
    #[arg(long, value_name = "LIST")]
    manifest: Option<String>,

    /// Format: oci or docker (default: oci, or docker for a file with HEALTHCHECK, ONBUILD or SHELL)
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Annotation of the manifest: KEY=VALUE (can be repeated)
    #[arg(long, value_name = "ANNOTATION")]
    annotation: Vec<String>,

    /// Label: KEY=VALUE (can be repeated)
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,

    /// Label of the images that steps become: KEY=VALUE (can be repeated)
    #[arg(long, value_name = "LABEL")]
    layer_label: Vec<String>,

    /// Environment variable: NAME=VALUE, or NAME to take the caller's (can be repeated)
    #[arg(long, value_name = "VARIABLE")]
    env: Vec<String>,

    /// Environment variable to remove (can be repeated)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    unsetenv: Vec<String>,

    /// Label of the base image to remove (can be repeated)
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    unsetlabel: Vec<String>,

    /// Annotation of the base image to remove (can be repeated)
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    unsetannotation: Vec<String>,

    /// Take over the labels of the base image (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    inherit_labels: Option<bool>,

    /// Take over the annotations of the base image (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    inherit_annotations: Option<bool>,

    /// Add the label that says what made the image (default: true, but not with a fixed time)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    identity_label: Option<bool>,

    /// Note the time of creation as an annotation (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    created_annotation: Option<bool>,

    /// Leave out the history
    #[arg(long)]
    omit_history: bool,

    /// One layer, that of the base image included
    #[arg(long, alias = "squash-all")]
    squash: bool,

    /// Time of the image and of every file in new layers, in seconds since 1970
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    timestamp: Option<i64>,

    /// Time of the image in seconds since 1970; files keep theirs
    #[arg(long, value_name = "SECONDS")]
    source_date_epoch: Option<String>,

    /// Give files no later time than that of --source-date-epoch
    #[arg(long)]
    rewrite_timestamp: bool,

    /// Feature of the operating system that the image needs; one that ends with - is removed (can be repeated)
    #[arg(long, value_name = "FEATURE")]
    os_feature: Vec<String>,

    /// Version of the operating system that the image is for
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,

    /// Sign the image with this key of gpg
    #[arg(long, value_name = "FINGERPRINT")]
    sign_by: Option<String>,
}

impl ImageArgs {
    /// The manifest list that the images go to.
    pub(super) fn manifest(&self) -> Option<&str> {
        self.manifest.as_deref().filter(|name| !name.is_empty())
    }

    /// The names and places that the image gets.
    pub(super) fn tags(&self) -> Result<Tags, CommandError> {
        Ok(places::sort(&self.tag)?)
    }

    /// The key that signs it.
    pub(super) fn sign_by(&self) -> Option<&str> {
        self.sign_by.as_deref().filter(|key| !key.is_empty())
    }

    /// What the image is to be, with these names; `epoch` is the build argument `SOURCE_DATE_EPOCH`.
    pub(super) fn resolve(&self, ctx: &Context, tags: Vec<String>, epoch: Option<&str>) -> Result<ImageOptions, CommandError> {
        let given = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
        if let Some(name) = self.manifest().filter(|name| tags.iter().any(|tag| tag == name)) {
            return Err(CommandError::usage(format!(
                "the same name must not be specified for both '--tag' and '--manifest': {name:?}"
            )));
        }
        Ok(ImageOptions {
            title: self.tag.iter().find(|tag| !tag.is_empty()).cloned(),
            tags,
            manifest_list: self.manifest().map(str::to_owned),
            format: format(ctx, self.format.as_deref())?,
            format_choice: self.format_choice(ctx),
            squash: self.squash,
            clock: self.clock(ctx, epoch)?,
            history: if self.omit_history { HistoryPolicy::Omit } else { HistoryPolicy::Write },
            identity_label: self.identity_label,
            created_annotation: self.created_annotation.unwrap_or(true),
            labels: pairs(&self.label),
            layer_labels: pairs(&self.layer_label),
            annotations: pairs(&self.annotation),
            env: ctx.environment().assigned(&self.env).into_iter().filter(|(name, _)| !name.is_empty()).collect(),
            unset: Unset {
                env: self.unsetenv.clone(),
                labels: self.unsetlabel.clone(),
                annotations: self.unsetannotation.clone(),
                base_labels: self.inherit_labels == Some(false),
                base_annotations: self.inherit_annotations == Some(false),
            },
            os_version: given(&self.os_version),
            os_features: self.os_feature.clone(),
            sign_by: self.sign_by().map(str::to_owned),
            sbom: None,
            stay: Stay::Stays,
        })
    }

    fn format_choice(&self, ctx: &Context) -> FormatChoice {
        let given = self.format.as_deref().or_else(|| ctx.environment().engine("FORMAT"));
        match given.filter(|word| !word.is_empty()) {
            Some(_) => FormatChoice::Given,
            None => FormatChoice::Automatic,
        }
    }

    /// `argument` is that of `--build-arg SOURCE_DATE_EPOCH`.
    fn clock(&self, ctx: &Context, argument: Option<&str>) -> Result<Clock, CommandError> {
        let given = self.source_date_epoch.as_deref().filter(|word| !word.is_empty());
        if let Some(seconds) = self.timestamp {
            return match given {
                Some(_) => Err(CommandError::usage("timestamp and source-date-epoch would be ambiguous if allowed together")),
                None => Ok(Clock::Timestamp(seconds)),
            };
        }
        let flag = given.or_else(|| ctx.environment().text("SOURCE_DATE_EPOCH")).map(|word| ("source-date-epoch offset", word));
        let Some((what, word)) = flag.or_else(|| argument.map(|word| ("SOURCE_DATE_EPOCH build-arg", word))) else {
            return Ok(Clock::Now);
        };
        let seconds =
            word.parse().map_err(|_| CommandError::usage(format!("error parsing {what} {word:?}: not a number of seconds")))?;
        Ok(if self.rewrite_timestamp { Clock::EpochForFiles(seconds) } else { Clock::Epoch(seconds) })
    }
}

/// `KEY=VALUE`; a key alone has an empty value.
fn pairs(words: &[String]) -> Vec<(String, String)> {
    let split =
        |word: &String| word.split_once('=').map_or((word.clone(), String::new()), |(key, value)| (key.into(), value.into()));
    words.iter().map(split).filter(|(key, _)| !key.is_empty()).collect()
}
