//! `coracle completion`: scripts that complete verbs and flags in a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use super::args::GlobalArgs;
use super::verbs::VERBS;
use super::{CommandError, Context, Ui, args};

/// Print a completion script for a shell
///
/// For bash: coracle completion bash > ~/.local/share/bash-completion/completions/coracle
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell: bash, zsh or fish
    #[arg(value_name = "SHELL")]
    operands: Vec<String>,
}

pub(crate) fn completion(_ctx: &Context, ui: &mut Ui, args: &CompletionArgs) -> Result<ExitCode, CommandError> {
    args::exactly(1, &args.operands)?;
    let shell = match args.operands.first().map(String::as_str) {
        Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        other => {
            let word = other.unwrap_or_default();
            let near = super::error::nearest(word, ["bash", "zsh", "fish"].into_iter());
            return Err(CommandError::usage(format!("no completion for the shell {word:?}: there is bash, zsh and fish"))
                .hinting(near.map(|near| format!("did you mean {near:?}?"))));
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole_parser(), "coracle", &mut script);
    ui.exact(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// The parser of the program with all its verbs: for completion and man pages only, since building it takes its time.
pub fn whole_parser() -> clap::Command {
    let global = <GlobalArgs as clap::Args>::augment_args(clap::Command::new("coracle"));
    let global = global.mut_args(|flag| flag.global(true)).about("Assemble container images, with no daemon and no root");
    let global = global.version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    VERBS.iter().fold(global, |parser, verb| parser.subcommand(verb.parser().visible_aliases(verb.aliases.iter().copied())))
}
