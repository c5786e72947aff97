//! `coracle version`: versions of the program and of the specifications that it follows.

use std::process::ExitCode;

use super::{CommandError, Context, Ui, args};

/// Version of the OCI image specification that is followed.
const IMAGE_SPEC: &str = "1.1.1";
/// Version of the OCI runtime specification that is followed.
const RUNTIME_SPEC: &str = "1.3.0";

/// Show the version of the program
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[arg(hide = true)]
    operands: Vec<String>,
}

pub(crate) fn version(_ctx: &Context, ui: &mut Ui, args: &VersionArgs) -> Result<ExitCode, CommandError> {
    args::no_operands("version", &args.operands)?;
    ui.data(env!("CARGO_PKG_VERSION"))?;
    Ok(ExitCode::SUCCESS)
}

/// The answer to `coracle --version`.
pub(super) fn one_line(ui: &mut Ui) -> Result<ExitCode, CommandError> {
    ui.data(format!("coracle version {} (image-spec {IMAGE_SPEC}, runtime-spec {RUNTIME_SPEC})", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}
