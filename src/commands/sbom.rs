//! Flags about lists of contents (`--sbom…`), and the scan that they ask for.

use std::path::PathBuf;

use super::access::{Images, RegistryArgs, RetryArgs};
use super::run_environment::containers_conf;
use super::{CommandError, Context, Ui, args};
use crate::container::commit::sbom::{self, Means, Outputs, Scan, Scanned, Scanner};
use crate::container::pull::PullPolicy;

/// What scans the container, and where the result goes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct SbomArgs {
    /// Make a list of the contents with this scanner: syft, syft-cyclonedx, syft-spdx, trivy, trivy-cyclonedx or trivy-spdx
    #[arg(long, value_name = "SCANNER")]
    sbom: Option<String>,

    /// Path in the image for the list of contents
    #[arg(long, value_name = "PATH")]
    sbom_image_output: Option<PathBuf>,

    /// Path in the image for the package URLs in the list
    #[arg(long, value_name = "PATH")]
    sbom_image_purl_output: Option<PathBuf>,

    /// How the lists of several commands become one: cat, merge-cyclonedx-by-component-name-and-version or
    /// merge-spdx-by-package-name-and-versioninfo
    #[arg(long, value_name = "STRATEGY")]
    sbom_merge_strategy: Option<String>,

    /// File of the host for the list of contents
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    sbom_output: Option<PathBuf>,

    /// File of the host for the package URLs in the list
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    sbom_purl_output: Option<PathBuf>,

    /// Command that scans {ROOTFS} or {CONTEXT} and writes {OUTPUT} (can be repeated)
    #[arg(long, value_name = "COMMAND")]
    sbom_scanner_command: Vec<String>,

    /// Image that the scanner is in
    #[arg(long, value_name = "IMAGE")]
    sbom_scanner_image: Option<String>,
}

/// When a registry is asked for the scanner's image, for a verb that asks for no other.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ScannerPullArgs {
    /// When to ask a registry for the scanner's image: true for a newer one, false for a missing one, always or never (default: true)
    #[arg(long, value_name = "POLICY", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pull: Option<String>,

    /// The same as --pull=always
    #[arg(long, hide = true)]
    pull_always: bool,

    /// The same as --pull=never
    #[arg(long, hide = true)]
    pull_never: bool,
}

/// How the scanner's image is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reaching<'a> {
    pub(super) registry: &'a RegistryArgs,
    pub(super) pull: &'a ScannerPullArgs,
    pub(super) quiet: bool,
}

impl SbomArgs {
    /// Has the container scanned, if that is wanted.
    pub(super) fn scan(
        &self,
        ctx: &Context,
        ui: &mut Ui,
        container: &str,
        reaching: Reaching<'_>,
    ) -> Result<Option<Scanned>, CommandError> {
        let policy = reaching.pull.policy()?;
        let Some(scan) = self.resolve()? else { return Ok(None) };
        let store = ctx.store()?;
        let conf = containers_conf(ctx, store.conf().rootless)?;
        let network = reaching.registry.network(ctx, &RetryArgs::default().or(&conf))?;
        let images = Images::new(ctx, None, reaching.quiet.into(), network)?;
        let run = super::run::plain_options(ctx)?;
        ui.finish()?;
        let fetch = images.fetch(policy);
        let means = Means { fetch: &fetch, conf: &conf, run: &run };
        Ok(Some(sbom::scan(store, container, &scan, means, &mut |line| ui.note(line))?))
    }

    /// What was asked for; `None` if nothing was.
    pub(super) fn resolve(&self) -> Result<Option<Scan>, CommandError> {
        let path = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let outputs = Outputs {
            host: path(&self.sbom_output),
            host_purls: path(&self.sbom_purl_output),
            image: path(&self.sbom_image_output),
            image_purls: path(&self.sbom_image_purl_output),
        };
        let word = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
        let (image, merge) = (word(&self.sbom_scanner_image), word(&self.sbom_merge_strategy));
        let names_a_scanner = image.is_some() || merge.is_some() || !self.sbom_scanner_command.is_empty();
        if self.sbom.is_none() && !names_a_scanner && outputs == Outputs::default() {
            return Ok(None);
        }
        let refuse = |text: &str| Err(CommandError::usage(text));
        let scanner = if names_a_scanner {
            // One's own scanner takes the place of the named one altogether, as with Buildah.
            let (Some(image), commands @ [_, ..]) = (image, self.sbom_scanner_command.as_slice()) else {
                return refuse(
                    "sbom configuration missing one or more of (\"--sbom-scanner-image\" or \"--sbom-scanner-command\")",
                );
            };
            if commands.len() > 1 && merge.is_none() {
                return refuse(
                    "sbom configuration included multiple \"--sbom-scanner-command\" values but no \"--sbom-merge-strategy\" value",
                );
            }
            Scanner { image, commands: commands.to_vec(), merge: merge.unwrap_or_default().parse()? }
        } else {
            let name = self.sbom.as_deref().unwrap_or_default();
            Scanner::preset(name).ok_or_else(|| CommandError::usage(format!("unrecognized --sbom preset name {name:?}")))?
        };
        if outputs == Outputs::default() {
            return refuse(
                "sbom configuration missing one or more of (\"--sbom-output\", \"--sbom-image-output\", \"--sbom-purl-output\" or \"--sbom-image-purl-output\")",
            );
        }
        Ok(Some(Scan { scanner, outputs, contexts: Vec::new() }))
    }
}

impl ScannerPullArgs {
    fn policy(&self) -> Result<PullPolicy, CommandError> {
        match (self.pull.as_deref(), self.pull_always, self.pull_never) {
            (None | Some("true"), false, false) => Ok(PullPolicy::Newer),
            (Some("false"), false, false) => Ok(PullPolicy::Missing),
            (Some(word), false, false) => Ok(word.parse()?),
            (None, true, false) => Ok(PullPolicy::Always),
            (None, false, true) => Ok(PullPolicy::Never),
            _ => Err(CommandError::usage("can only set one of 'pull' or 'pull-always' or 'pull-never'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_scanner_and_one_place_at_least_are_needed() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let to = || SbomArgs { sbom_output: Some("x".into()), ..SbomArgs::default() };
        let cases = [
            (SbomArgs { sbom: Some("syft".into()), ..SbomArgs::default() }, "missing one or more of (\"--sbom-output\""),
            (SbomArgs { sbom: Some("grype".into()), ..to() }, "unrecognized --sbom preset name \"grype\""),
            (
                SbomArgs { sbom_scanner_image: Some("i".into()), ..to() },
                "\"--sbom-scanner-image\" or \"--sbom-scanner-command\"",
            ),
            (SbomArgs { sbom_merge_strategy: Some("cat".into()), ..to() }, "\"--sbom-scanner-image\" or"),
            (
                SbomArgs { sbom_scanner_image: Some("i".into()), sbom_scanner_command: words(&["a", "b"]), ..to() },
                "but no \"--sbom-merge-strategy\" value",
            ),
            (
                SbomArgs { sbom_scanner_image: Some("i".into()), sbom_scanner_command: words(&["a"]), ..to() },
                "unrecognized merge strategy \"\"",
            ),
        ];
        for (args, cause) in cases {
            let error = args.resolve().unwrap_err().text();
            assert!(error.contains(cause), "{error}");
        }
        assert!(SbomArgs::default().resolve().unwrap().is_none());
        assert_eq!(to().resolve().unwrap().map(|scan| scan.scanner), Scanner::preset("syft"));
    }
}
