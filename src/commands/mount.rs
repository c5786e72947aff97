//! `coracle mount`: the files of working containers, in a session of `coracle unshare`.

use std::process::ExitCode;

use serde::Serialize;

use super::{CommandError, Context, Ui};
use crate::container::mount::{self, MountPoint};

/// Mount working containers
///
/// Prints where. Without a container, lists what is mounted. An ordinary user does this inside "coracle unshare".
#[derive(Debug, clap::Args)]
pub(crate) struct MountArgs {
    /// Names or IDs of working containers
    #[arg(value_name = "CONTAINER")]
    operands: Vec<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Nothing is cut anyway
    #[arg(long, hide = true)]
    notruncate: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    mount_point: String,
}

pub(crate) fn mount(ctx: &Context, ui: &mut Ui, args: &MountArgs) -> Result<ExitCode, CommandError> {
    mount::require_session(ctx.store()?)?;
    let store = ctx.store()?;
    if args.operands.is_empty() {
        show(ui, args, &mount::mounted(store)?, true)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut points, mut last) = (Vec::new(), None);
    for name in &args.operands {
        match mount::mount(store, name) {
            // What was typed is shown, as Buildah does.
            Ok(point) => points.push(MountPoint { name: name.clone(), ..point }),
            Err(error) => {
                if let Some(earlier) = last.replace(CommandError::from(error)) {
                    ui.note(earlier.text());
                }
            }
        }
    }
    show(ui, args, &points, args.operands.len() > 1)?;
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn show(ui: &mut Ui, args: &MountArgs, points: &[MountPoint], named: bool) -> Result<(), CommandError> {
    let text = |point: &MountPoint| point.path.to_string_lossy().into_owned();
    if args.json {
        let rows: Vec<Row<'_>> = points
            .iter()
            .map(|point| Row { container: named.then_some(point.name.as_str()), mount_point: text(point) })
            .collect();
        return ui.json(&super::inspect::pretty(&rows)?);
    }
    for point in points {
        if named {
            ui.data(format!("{} {}", point.name, text(point)))?;
        } else {
            ui.data(text(point))?;
        }
    }
    Ok(())
}
