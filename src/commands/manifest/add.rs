//! `coracle manifest add`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{EntryArgs, InsecureArgs, Reach, annotations, failed, name};
use crate::commands::access::RegistryArgs;
use crate::commands::{CommandError, Context, Ui, args};
use crate::container::manifest_list::{self, ArtifactOptions, ConfigFrom, Entries};
use crate::image::manifest::artifact::EMPTY_TYPE;
use crate::transport::Platform;

/// Add an image or files to a manifest list
///
/// The image is one of the store, or transport:rest. An image whose manifest the list has already is added anew. Prints the ID of the
/// list and the digest of what was added.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The list, and an image, or files with --artifact
    #[arg(value_name = "LIST IMAGE|FILE…")]
    operands: Vec<String>,

    /// Add all images of an image that is a list
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    entry: EntryArgs,

    /// Annotation of the image in the list, in place of all older ones (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    annotation: Vec<String>,

    #[command(flatten)]
    artifact: ArtifactArgs,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    insecure: InsecureArgs,
}

/// Files instead of an image.
#[derive(Debug, Clone, clap::Args)]
struct ArtifactArgs {
    /// Add files as an artifact; they are read again when the list is pushed
    #[arg(long)]
    artifact: bool,

    /// What the artifact is, as a media type (default: application/vnd.unknown.artifact.v1)
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,

    /// File that is the config of the artifact
    #[arg(long, value_name = "FILE")]
    artifact_config: Option<PathBuf>,

    /// Media type of that config
    #[arg(long, value_name = "TYPE", default_value = EMPTY_TYPE)]
    artifact_config_type: String,

    /// Media type of the files (default: by their names, else by how they begin)
    #[arg(long, value_name = "TYPE")]
    artifact_layer_type: Option<String>,

    /// Do not tell the names of the files
    #[arg(long)]
    artifact_exclude_titles: bool,

    /// Image that the artifact belongs to
    #[arg(long, value_name = "IMAGE")]
    artifact_subject: Option<String>,

    /// Annotation of the artifact's own manifest (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    artifact_annotation: Vec<String>,
}

impl ArtifactArgs {
    /// Refuses what has a meaning with --artifact only.
    fn check_unused(&self) -> Result<(), CommandError> {
        let given = [
            ("--artifact-type", self.artifact_type.is_some()),
            ("--artifact-config", self.artifact_config.is_some()),
            ("--artifact-config-type", self.artifact_config_type != EMPTY_TYPE),
            ("--artifact-layer-type", self.artifact_layer_type.is_some()),
            ("--artifact-subject", self.artifact_subject.is_some()),
            ("--artifact-exclude-titles", self.artifact_exclude_titles),
            ("--artifact-annotation", !self.artifact_annotation.is_empty()),
        ];
        let given: Vec<&str> = given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect();
        match given.as_slice() {
            [] => Ok(()),
            [one] => Err(CommandError::usage(format!("{one} requires --artifact"))),
            several => Err(CommandError::usage(format!("{} require --artifact", several.join("/")))),
        }
    }
}

pub(crate) fn add(ctx: &Context, ui: &mut Ui, args: &AddArgs) -> Result<ExitCode, CommandError> {
    args::at_least(2, &args.operands)?;
    let Some((list, rest)) = args.operands.split_first() else { return Ok(ExitCode::SUCCESS) };
    let (list, overrides) = (name(list)?, args.entry.resolve(&args.annotation)?);
    let (store, reach) = (ctx.store()?, Reach::with(ctx, &args.registry, args.insecure)?);
    let (id, digest) = if args.artifact.artifact {
        let annotations = annotations(&args.artifact.artifact_annotation)?;
        let options = options(&args.artifact, &annotations);
        let added = manifest_list::add_artifact(store, list, rest, &options, &overrides, &reach.access());
        let (id, digest) = added.map_err(failed)?;
        (id, Some(digest))
    } else {
        args.artifact.check_unused()?;
        let [image] = rest else {
            return Err(CommandError::usage("too many arguments: expected list and image add to list"));
        };
        let which = if args.all { Entries::All } else { Entries::Platform(Platform::of_this_machine()) };
        manifest_list::add(store, list, name(image)?, &which, &overrides, &reach.access()).map_err(failed)?
    };
    match digest {
        Some(digest) => ui.data(format_args!("{id}: {digest}"))?,
        None => ui.data(id)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn options<'a>(args: &'a ArtifactArgs, annotations: &'a std::collections::BTreeMap<String, String>) -> ArtifactOptions<'a> {
    ArtifactOptions {
        artifact_type: args.artifact_type.as_deref(),
        config: ConfigFrom { file: args.artifact_config.as_deref(), media_type: &args.artifact_config_type },
        layer_type: args.artifact_layer_type.as_deref(),
        titles: !args.artifact_exclude_titles,
        subject: args.artifact_subject.as_deref(),
        annotations,
    }
}
