//! `coracle check`: is the store whole, and what can be cleaned up.

use std::collections::BTreeSet;
use std::process::ExitCode;

use containers_storage::LayerId;
use containers_storage::check::{self, Depth, Report, Severity};
use containers_storage::store::Store;

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
    let images = images_of(store, &found)?;
    if args.json {
        print_json(ui, &repaired, &found, &images)?;
    } else {
        print_lines(ui, &repaired, &found, &images)?;
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

/// The images that damaged layers are a part of: their names, or their IDs.
fn images_of(store: &Store, found: &Report) -> Result<Vec<String>, CommandError> {
    let damaged: BTreeSet<&LayerId> = found.findings.iter().filter_map(|finding| finding.layer.as_ref()).collect();
    if damaged.is_empty() {
        return Ok(Vec::new());
    }
    let layers = store.layers()?;
    let is_spoilt = |top: &LayerId| {
        // Where a chain is broken, the damage is what lies above the break.
        damaged.contains(top) || layers.chain(top).is_ok_and(|chain| chain.iter().any(|layer| damaged.contains(&layer.id)))
    };
    let images = store.images()?.listed()?;
    let spoilt = images.iter().filter(|image| image.layer.iter().chain(&image.mapped_layers).any(is_spoilt));
    Ok(spoilt.map(|image| image.names.first().cloned().unwrap_or_else(|| image.id.short().to_owned())).collect())
}

fn print_lines(ui: &mut Ui, repaired: &Report, found: &Report, images: &[String]) -> Result<(), CommandError> {
    for finding in repaired.findings.iter().filter(|finding| finding.repairable) {
        ui.data(format_args!("removed: {}", finding.text))?;
    }
    for finding in &found.findings {
        ui.data(format_args!("{}: {}", severity(finding.severity), finding.text))?;
    }
    if found.findings.iter().any(|finding| finding.repairable) {
        ui.note("hint: \"coracle check --repair\" removes what is garbage");
    }
    if !images.is_empty() {
        ui.note(format!(
            "hint: damaged layers are a part of {}: remove such images with \"coracle rmi\", then pull or build them again",
            images.join(", ")
        ));
    }
    Ok(())
}

fn print_json(ui: &mut Ui, repaired: &Report, found: &Report, images: &[String]) -> Result<(), CommandError> {
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
    let document = serde_json::json!({"repaired": list(repaired, true), "found": list(found, false), "images": images});
    ui.json(&super::inspect::pretty(&document)?)
}
