//! `coracle manifest`: lists of images, one for each platform, and what their subverbs share.

mod add;
mod annotate;
mod create;
mod exists;
mod inspect;
mod push;
mod remove;
mod rm;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) use self::add::{AddArgs, add};
pub(super) use self::annotate::{AnnotateArgs, annotate};
pub(super) use self::create::{CreateArgs, create};
pub(super) use self::exists::{ExistsArgs, exists};
pub(super) use self::inspect::{InspectArgs, inspect, print};
pub(super) use self::push::{PushArgs, push};
pub(super) use self::remove::{RemoveArgs, remove};
pub(super) use self::rm::{RmArgs, rm};
use super::access::{self, RegistryArgs, RetryArgs};
use super::{CommandError, Context, Ui, choice, help};
use crate::conf::{PolicyFile, Registries};
use crate::container::manifest_list::{Access, Error, Overrides};
use crate::container::{find_image, manifest_list};
use crate::transport::registry::{Network, TlsVerify};

/// Make, change and push manifest lists
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestArgs {}

pub(crate) fn manifest(_ctx: &Context, ui: &mut Ui, _args: &ManifestArgs) -> Result<ExitCode, CommandError> {
    help::of_group(ui, "manifest")
}

/// What is said of an image in a list instead of what its config says.
#[derive(Debug, Clone, Default, clap::Args)]
struct EntryArgs {
    /// Operating system of the image
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Architecture of the image
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,

    /// Variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,

    /// Version of the operating system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,

    /// Features that the CPU must have; only Docker's form of a list has them (can be repeated)
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    features: Vec<String>,

    /// Features that the operating system must have (can be repeated)
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,
}

impl EntryArgs {
    fn resolve(&self, words: &[String]) -> Result<Overrides, CommandError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(Overrides {
            os: given(&self.os),
            architecture: given(&self.arch),
            variant: given(&self.variant),
            os_version: given(&self.os_version),
            os_features: self.os_features.clone(),
            features: self.features.clone(),
            annotations: annotations(words)?,
        })
    }
}

/// The older way to write `--tls-verify=false`.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
struct InsecureArgs {
    /// Do without TLS
    #[arg(long, hide = true, conflicts_with = "tls_verify")]
    insecure: bool,
}

impl InsecureArgs {
    /// How registries are reached with the flag.
    fn applied(self, mut network: Network) -> Network {
        if self.insecure {
            network.tls_verify = TlsVerify::Off;
        }
        network
    }
}

/// `KEY=VALUE` words.
fn annotations(words: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let pairs = words.iter().map(|word| {
        let (key, value) =
            word.split_once('=').ok_or_else(|| CommandError::usage(format!("no \"=\" found in annotation {word:?}")))?;
        Ok((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

/// How images are reached.
struct Reach<'a> {
    registries: &'a Registries,
    trust: PolicyFile,
    temp_dir: PathBuf,
    network: Network,
}

impl<'a> Reach<'a> {
    fn new(ctx: &'a Context, network: Network) -> Result<Self, CommandError> {
        Ok(Self { registries: ctx.registries()?, trust: access::policy_file(ctx)?, temp_dir: ctx.temp_dir(), network })
    }

    /// With the registry flags of a verb.
    fn with(ctx: &'a Context, registry: &RegistryArgs, insecure: InsecureArgs) -> Result<Self, CommandError> {
        Self::new(ctx, insecure.applied(registry.network(ctx, &RetryArgs::default().configured(ctx)?)?))
    }

    /// For a verb without such flags.
    fn usual(ctx: &'a Context) -> Result<Self, CommandError> {
        Self::new(ctx, access::network(ctx, ctx.registries()?, None, None))
    }

    fn access(&self) -> Access<'_> {
        Access {
            registries: self.registries,
            trust: &self.trust,
            temp_dir: &self.temp_dir,
            network: &self.network,
            choose: choice::can_be_made().then_some(&choice::of_an_image),
        }
    }
}

/// Refuses an empty name, in Buildah's words.
fn name(word: &str) -> Result<&str, CommandError> {
    if word.is_empty() { Err(CommandError::usage("invalid image name \"\"")) } else { Ok(word) }
}

/// An error about a list or an image, with what helps.
fn failed(error: Error) -> CommandError {
    let unknown = matches!(error, Error::Find(find_image::Error::NotKnown { .. }) | Error::Nowhere { .. });
    let no_list = matches!(error, Error::NotAList { .. });
    let hint = match (unknown, no_list) {
        (true, _) => {
            Some("\"coracle images\" shows what the store has; other places are docker://NAME, oci:DIR, docker-archive:FILE, …")
        }
        (_, true) => Some("\"coracle manifest create NAME IMAGE…\" makes a list of images"),
        _ => None,
    };
    CommandError::from(error).hinting(hint.map(str::to_owned))
}

/// The list that `word` means.
pub(super) fn find(ctx: &Context, word: &str) -> Result<manifest_list::Stored, CommandError> {
    manifest_list::find(ctx.store()?, ctx.registries()?, name(word)?).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_pairs() {
        let words = ["a=b".to_owned(), "c=d=e".to_owned(), "f=".to_owned()];
        let pairs: Vec<_> = annotations(&words).unwrap().into_iter().collect();
        assert_eq!(pairs, [("a", "b"), ("c", "d=e"), ("f", "")].map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(annotations(&["a".to_owned()]).unwrap_err().text(), "no \"=\" found in annotation \"a\"");
    }
}
