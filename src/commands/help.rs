//! `coracle help`: the overview with the verbs in groups, and the help of one verb.

use std::process::ExitCode;

use super::args::GlobalArgs;
use super::verbs::{Group, VERBS, Verb};
use super::{CommandError, Context, Ui};

/// Show the help of the program or of a verb
#[derive(Debug, clap::Args)]
pub(crate) struct HelpArgs {
    /// Verb
    #[arg(value_name = "VERB")]
    operands: Vec<String>,
}

pub(crate) fn help(_ctx: &Context, ui: &mut Ui, args: &HelpArgs) -> Result<ExitCode, CommandError> {
    if args.operands.is_empty() {
        return overview(ui);
    }
    let name = args.operands.join(" ");
    match Verb::find(&name) {
        Some(verb) => of_verb(ui, verb),
        None => Err(CommandError::usage(format!("unknown help topic {name:?}"))),
    }
}

/// What the program does, and its verbs.
pub(super) fn overview(ui: &mut Ui) -> Result<ExitCode, CommandError> {
    let mut text = String::from(
        "Assemble container images, with no daemon and no root\n\nUsage:\n  coracle [global flags] VERB [flags] [operands]\n",
    );
    for (group, heading) in [
        (Group::Image, "Images"),
        (Group::Container, "Working containers"),
        (Group::Registry, "Registries"),
        (Group::System, "System"),
        (Group::Additional, "Additional"),
    ] {
        text.push_str(&format!("\n{heading}:\n"));
        for verb in VERBS.iter().filter(|verb| verb.group == group && verb.last_word() == verb.name) {
            let about = verb.parser().get_about().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {:<12}{about}\n", verb.name));
        }
    }
    text.push_str("\nGlobal flags:\n");
    let global = <GlobalArgs as clap::Args>::augment_args(clap::Command::new("coracle"));
    for flag in global.get_arguments().filter(|flag| !flag.is_hide_set()) {
        let value = flag.get_value_names().filter(|_| !is_switch(flag)).and_then(<[_]>::first);
        let name = format!("--{} {}", flag.get_long().unwrap_or_default(), value.map_or("", |name| name));
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let default = flag.get_default_values().first().filter(|_| !is_switch(flag));
        let default = default.map(|value| format!(" (default: {})", value.to_string_lossy())).unwrap_or_default();
        text.push_str(&format!("      {name:<32}{help}{default}\n"));
    }
    text.push_str("  -h, --help                          Show this help\n");
    text.push_str(
        "  -v, --version                       Show the version\n\n\"coracle VERB --help\" shows the flags of a verb.\n",
    );
    ui.exact(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn is_switch(flag: &clap::Arg) -> bool {
    matches!(flag.get_action(), clap::ArgAction::SetTrue)
}

/// The help of a verb that has others below it.
pub(super) fn of_group(ui: &mut Ui, name: &str) -> Result<ExitCode, CommandError> {
    let Some(group) = Verb::find(name) else { return overview(ui) };
    let about = |verb: &Verb| verb.parser().get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{}\n\nUsage:\n  coracle {name} VERB [flags] [operands]\n\nVerbs:\n", about(group));
    for verb in group.below() {
        text.push_str(&format!("  {:<12}{}\n", verb.last_word(), about(verb)));
    }
    text.push_str(&format!("\n\"coracle {name} VERB --help\" shows the flags of a verb.\n"));
    ui.exact(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The help of `verb`.
pub(super) fn of_verb(ui: &mut Ui, verb: &Verb) -> Result<ExitCode, CommandError> {
    if verb.below().next().is_some() {
        return of_group(ui, verb.name);
    }
    let parser = verb.parser();
    // Each group of arguments that is added puts its own description in the place of the verb's.
    let about = parser.get_about().cloned().unwrap_or_default();
    let parser = <GlobalArgs as clap::Args>::augment_args(parser).about(about).long_about(None);
    let usage = format!("coracle {} [flags] {}", verb.name, verb.operands);
    let text = parser.bin_name(format!("coracle {}", verb.name)).override_usage(usage).render_long_help().to_string();
    ui.exact(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
