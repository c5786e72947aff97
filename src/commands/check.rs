//! `coracle check`: is the store whole, and what can be cleaned up.

use std::process::ExitCode;

use containers_storage::check::{self, Depth, Report, Severity};

use crate::container::mounted;

use super::{CommandError, Context, Ui, args};

/// The exit status when the store has damage that stays.
const DAMAGED: u8 = 1;

/// Check the store
///
/// Looks for references that lead nowhere, wrong links and sizes, and files that nothing refers to. The exit status is 1 if
/// damage was found; garbage that an interrupted command left is listed, and harmless. Nothing is changed without --repair,
/// which removes only what is provably garbage.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[arg(hide = true)]
    operands: Vec<String>,

    /// Assemble every layer and compare its digest as well; reads the whole store
    #[arg(long)]
    digests: bool,

    /// Remove what interrupted commands left
    #[arg(long)]
    repair: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn check(ctx: &Context, ui: &mut Ui, args: &CheckArgs) -> Result<ExitCode, CommandError> {
    args::no_operands("check", &args.operands)?;
    let store = ctx.store()?;
    if args.digests || args.repair {
        // Layers hold files of subordinate ids that only root of the namespace can read and remove.
        for notice in mounted::enter_for_files(store)? {
            ui.note(notice);
        }
    }
    let repaired = if args.repair { check::repair(store)? } else { Report::default() };
    let depth = if args.digests { Depth::Content } else { Depth::Structure };
    let found = check::check(store, depth)?;
    if args.json {
        print_json(ui, &repaired, &found)?;
    } else {
        print_lines(ui, &repaired, &found)?;
    }
    let damaged = found.findings.iter().any(|finding| finding.severity == Severity::Damage && !finding.repairable);
    Ok(if damaged { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS })
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Notice => "notice",
        Severity::Damage => "damage",
    }
}

fn print_lines(ui: &mut Ui, repaired: &Report, found: &Report) -> Result<(), CommandError> {
    for finding in repaired.findings.iter().filter(|finding| finding.repairable) {
        ui.data(format_args!("removed: {}", finding.text))?;
    }
    for finding in &found.findings {
        ui.data(format_args!("{}: {}", severity(finding.severity), finding.text))?;
    }
    if found.findings.iter().any(|finding| finding.repairable) {
        ui.note("hint: \"coracle check --repair\" removes what is garbage");
    }
    Ok(())
}

fn print_json(ui: &mut Ui, repaired: &Report, found: &Report) -> Result<(), CommandError> {
    let list = |report: &Report, only_repairable: bool| -> Vec<serde_json::Value> {
        let chosen = report.findings.iter().filter(|finding| finding.repairable || !only_repairable);
        chosen
            .map(|finding| {
                serde_json::json!({
                    "severity": severity(finding.severity),
                    "text": finding.text,
                    "repairable": finding.repairable,
                })
            })
            .collect()
    };
    let document = serde_json::json!({"repaired": list(repaired, true), "found": list(found, false)});
    ui.json(&super::inspect::pretty(&document)?)
}
