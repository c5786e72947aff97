//! `coracle logout`: forgets what `login` kept.

use std::path::PathBuf;
use std::process::ExitCode;

use super::access::accessible;
use super::login::{auth, key};
use super::{CommandError, Context, Ui, args};

/// Log out of a registry
///
/// Takes the user and password of the registry out of auth.json.
#[derive(Debug, clap::Args)]
pub(crate) struct LogoutArgs {
    /// Registry, as it was given to login
    #[arg(value_name = "REGISTRY")]
    operands: Vec<String>,

    /// Log out of all registries
    #[arg(short, long)]
    all: bool,

    /// File that the login is kept in, in place of auth.json
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    authfile: Option<PathBuf>,

    /// The same, in the form of Docker's config.json
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    compat_auth_file: Option<PathBuf>,
}

pub(crate) fn logout(ctx: &Context, ui: &mut Ui, args: &LogoutArgs) -> Result<ExitCode, CommandError> {
    if let Some(path) = &args.authfile {
        accessible(path)?;
    }
    let auth = auth(ctx, &args.authfile, &args.compat_auth_file)?;
    match (args.operands.as_slice(), args.all) {
        ([], true) => {
            auth.log_out_everywhere()?;
            ui.data("Removed login credentials for all registries")?;
        }
        (_, true) => return Err(CommandError::usage("--all takes no arguments")),
        ([], false) => return Err(CommandError::usage("registry must be given")),
        ([registry], false) => {
            let key = key(registry)?;
            auth.log_out(&key)?;
            ui.data(format!("Removed login credentials for {key}"))?;
        }
        _ => return Err(CommandError::usage("too many arguments, logout takes at most 1 argument")),
    }
    Ok(ExitCode::SUCCESS)
}
