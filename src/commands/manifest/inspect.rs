//! `coracle manifest inspect`

use std::process::ExitCode;

use super::{InsecureArgs, Reach, failed, name};
use crate::commands::access::RegistryArgs;
use crate::commands::{CommandError, Context, Ui};
use crate::container::manifest_list;
use crate::golang::json;

/// Show a manifest list
///
/// The list is one of the store, or transport:rest. JSON: of a list of the store what its next change would write, with the files
/// of artifacts; of another place what is there.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Name, ID or place of a list
    #[arg(value_name = "LIST")]
    operands: Vec<String>,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    insecure: InsecureArgs,
}

pub(crate) fn inspect(ctx: &Context, ui: &mut Ui, args: &InspectArgs) -> Result<ExitCode, CommandError> {
    let word = match args.operands.as_slice() {
        [] => return Err(CommandError::usage("requires at least 1 arg(s), only received 0")),
        [word] => name(word)?,
        _ => return Err(CommandError::usage("Only one argument is necessary for inspect: an image name")),
    };
    let reach = Reach::with(ctx, &args.registry, args.insecure)?;
    if let Some(bytes) = manifest_list::elsewhere(ctx.store()?, word, &reach.access()).map_err(failed)? {
        ui.json(&String::from_utf8(json::indented(&bytes, "    ")?)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(ui, &super::find(ctx, word)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a list of the store.
pub(in crate::commands) fn print(ui: &mut Ui, stored: &manifest_list::Stored) -> Result<(), CommandError> {
    ui.json(&String::from_utf8(stored.list.to_inspection(&|digest| stored.files(digest)))?)
}
