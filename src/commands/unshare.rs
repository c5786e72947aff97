//! `coracle unshare`: a command as root of the store's user namespace.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode};

use super::{CommandError, Context, Ui};
use crate::container::{mount, umount};
use crate::userns::{self, MountNamespace};

/// Run a command in the user namespace of the store
///
/// The command, or $SHELL, is root over the subordinate IDs, in a mount namespace of its own: the place for "coracle mount".
#[derive(Debug, clap::Args)]
pub(crate) struct UnshareArgs {
    /// Command and arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    operands: Vec<OsString>,

    /// Mount a container and put the path into a variable: [VARIABLE=]CONTAINER (can be repeated)
    #[arg(short, long, value_name = "MOUNT", value_delimiter = ',')]
    mount: Vec<String>,
}

pub(crate) fn unshare(ctx: &Context, ui: &mut Ui, args: &UnshareArgs) -> Result<ExitCode, CommandError> {
    let shell = ctx.environment().get("SHELL").filter(|shell| !shell.is_empty()).map(OsString::from);
    let (program, arguments) = match (args.operands.split_first(), shell) {
        (Some((program, arguments)), _) => (program.clone(), arguments),
        (None, Some(shell)) => (shell, &[][..]),
        (None, None) => return Err(CommandError::usage("no command specified, and $SHELL is not set").with_status(1)),
    };
    // The store is found as the caller sees it: inside, the user is root and its defaults would be root's.
    let store = if args.mount.is_empty() { None } else { Some(ctx.store()?) };
    let mut command = Command::new(&program);
    command.args(arguments);
    let isolation = match userns::enter(MountNamespace::Private) {
        Ok(entered) => {
            entered.notices.iter().for_each(|notice| ui.note(notice));
            command.envs(userns::child_environment(entered.outer));
            "rootless"
        }
        // Root over all the ids that there are: all that is missing is the right to mount, which a store of whole trees can do without.
        Err(error) if userns::is_refused() => {
            ui.note(format!("{error} is not allowed here: the command runs without one, and can mount nothing (rung 4)"));
            "chroot"
        }
        Err(error) => return Err(error.into()),
    };
    if ctx.environment().text("BUILDAH_ISOLATION").is_none() {
        command.env("BUILDAH_ISOLATION", isolation);
    }
    for word in &args.mount {
        let (variable, name) = word.split_once('=').unwrap_or((word, word));
        if let Some(store) = store {
            command.env(variable, mount::mount(store, name).map_err(not_mounted)?.path);
        }
    }
    ui.finish()?;
    let failed = |error: std::io::Error| failed_to_run(&program, error);
    let Some(store) = store else {
        // Nothing is left to do afterwards: the command takes this process's place, and with it its signals and its terminal.
        return Err(failed(command.exec()));
    };
    let status = command.status().map_err(failed)?;
    for word in &args.mount {
        let name = word.split_once('=').map_or(word.as_str(), |(_, name)| name);
        // The namespace goes with this process; what is left of the entry says so by itself.
        let _ = umount::umount(store, name);
    }
    match status.code() {
        Some(0) => Ok(ExitCode::SUCCESS),
        Some(code) => Err(CommandError::status(u8::try_from(code).unwrap_or(1))),
        None => Err(CommandError::status(u8::try_from(128 + status.signal().unwrap_or(0)).unwrap_or(1))),
    }
}

/// An unknown container in Buildah's words.
fn not_mounted(error: mount::Error) -> CommandError {
    let error = CommandError::from(error);
    match error.text().strip_prefix("reading build container ") {
        Some(rest) => CommandError::usage(format!("loading information about build container {rest}")),
        None => error,
    }
}

/// A program that could not be started. For a name alone the kernel's answer is about some directory of PATH, often one that may not
/// be searched.
fn failed_to_run(program: &std::ffi::OsStr, error: std::io::Error) -> CommandError {
    let is_name = !program.as_encoded_bytes().contains(&b'/');
    let text = program.to_string_lossy();
    if text.is_empty() {
        return CommandError::usage("exec: no command").with_status(1);
    }
    let error = match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied if is_name => {
            CommandError::usage(format!("exec: {text:?}: executable file not found in $PATH"))
        }
        _ => CommandError::from(error).context(format!("fork/exec {text}")),
    };
    error.with_status(1)
}
