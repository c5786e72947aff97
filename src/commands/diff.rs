//! `coracle diff`: Show what was changed against the parent

use std::process::ExitCode;

use super::{CommandError, Context, Ui};

/// Show what was changed against the parent
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// Container or image
    #[arg(value_name = "NAME")]
    operands: Vec<String>,
}

pub(crate) fn diff(_ctx: &Context, _ui: &mut Ui, args: &DiffArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::usage(format!("diff {:?} is not built yet", args.operands)))
}
