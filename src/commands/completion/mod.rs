//! `coracle completion`: scripts that complete verbs, flags, their values and the names in the store in a shell.
//!
//! The scripts know nothing: at each TAB they ask `coracle __complete` ([`answer`]), so that they never grow old. A name from the
//! store is offered only if it means the same to every shell ([`names`]).

pub(super) mod answer;
mod names;
mod position;
mod stages;
mod values;

use std::process::ExitCode;

use super::args::GlobalArgs;
use super::verbs::VERBS;
use super::{CommandError, Context, Ui, args};
use crate::spelling::nearest;

/// The shells and their scripts.
const SCRIPTS: [(&str, &str); 4] = [
    ("bash", include_str!("coracle.bash")),
    ("zsh", include_str!("coracle.zsh")),
    ("fish", include_str!("coracle.fish")),
    ("powershell", include_str!("coracle.ps1")),
];

/// Print a completion script for a shell
///
/// The shell is bash, zsh, fish or powershell. Where to put the script is in coracle-completion(1).
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell: bash, zsh, fish or powershell
    #[arg(value_name = "SHELL")]
    operands: Vec<String>,
}

pub(crate) fn completion(_ctx: &Context, ui: &mut Ui, args: &CompletionArgs) -> Result<ExitCode, CommandError> {
    args::exactly(1, &args.operands)?;
    let word = args.operands.first().map_or("", String::as_str);
    let Some((_, script)) = SCRIPTS.iter().find(|(shell, _)| *shell == word) else {
        let shells = SCRIPTS.map(|(shell, _)| shell);
        let near = nearest(word, shells.into_iter());
        return Err(CommandError::usage(format!("no completion for the shell {word:?}: there is {}", shells.join(", ")))
            .hinting(near.map(|near| format!("did you mean {near:?}?"))));
    };
    ui.exact(script.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The parser of the program with all its verbs: for the tests of man pages and tables only, since building it takes its time.
pub fn whole_parser() -> clap::Command {
    let global = <GlobalArgs as clap::Args>::augment_args(clap::Command::new("coracle"));
    let global = global.mut_args(|flag| flag.global(true)).about("Assemble container images, with no daemon and no root");
    let global = global.version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    VERBS.iter().fold(global, |parser, verb| parser.subcommand(verb.parser().visible_aliases(verb.aliases.iter().copied())))
}
