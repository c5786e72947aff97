//! `coracle diff`: what a working container or an image changed against its parent.

use std::process::ExitCode;

use crate::container::diff::{self, Change, Kind};

use super::{CommandError, Context, Ui, args, human};

/// Show what a working container or an image changed against its parent
///
/// One line for each path: A for added, C for changed, D for deleted, then the size of a file, then the path. Below a deleted
/// directory nothing is listed.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// Working container or image
    #[arg(value_name = "NAME")]
    operands: Vec<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn diff(ctx: &Context, ui: &mut Ui, args: &DiffArgs) -> Result<ExitCode, CommandError> {
    args::exactly(1, &args.operands)?;
    let Some(name) = args.operands.first() else { return Ok(ExitCode::SUCCESS) };
    let changes = diff::diff(ctx.store()?, ctx.registries()?, name)?;
    if args.json {
        print_json(ui, &changes)?;
    } else {
        for change in &changes {
            ui.data(line(change))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::Added => 'A',
        Kind::Changed => 'C',
        Kind::Deleted => 'D',
    }
}

fn line(change: &Change) -> String {
    let size = change.size.map(|size| human::size(i64::try_from(size).unwrap_or(i64::MAX))).unwrap_or_default();
    format!("{} {size:>8} {}", letter(change.kind), change.path.to_string_lossy())
}

fn print_json(ui: &mut Ui, changes: &[Change]) -> Result<(), CommandError> {
    #[derive(serde::Serialize)]
    struct Row<'a> {
        kind: char,
        path: std::borrow::Cow<'a, str>,
        size: Option<u64>,
    }
    let rows: Vec<Row<'_>> = changes
        .iter()
        .map(|change| Row { kind: letter(change.kind), path: change.path.to_string_lossy(), size: change.size })
        .collect();
    ui.json(&super::inspect::pretty(&rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_kind_size_and_path() {
        let change = |kind, path: &str, size| Change { path: path.into(), kind, size };
        assert_eq!(line(&change(Kind::Added, "/bin/sh", Some(1_500))), "A   1.5 KB /bin/sh");
        assert_eq!(line(&change(Kind::Deleted, "/tmp", None)), "D          /tmp");
    }
}
