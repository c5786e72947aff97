//! `coracle prune`: what nobody needs goes.

use std::process::ExitCode;

use containers_storage::check;

use crate::build::{self, tidy};
use crate::container::{fetch, mounted};

use super::removal::{InUse, Removal, Which};
use super::run::cache_dir;
use super::run_environment::containers_conf;
use super::{CommandError, Context, Ui, args};

/// Remove unnamed images, and what interrupted commands left
///
/// Buildah's prune removes no image without --all, since its two conditions exclude each other.
#[derive(Debug, clap::Args)]
pub(crate) struct PruneArgs {
    #[arg(hide = true)]
    operands: Vec<String>,

    /// Remove named images as well, unless a container uses them
    #[arg(short, long)]
    all: bool,

    /// Remove the containers of an image with it
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn prune(ctx: &Context, ui: &mut Ui, args: &PruneArgs) -> Result<ExitCode, CommandError> {
    args::no_operands("prune", &args.operands)?;
    let store = ctx.store()?;
    // In a process of its own, so that this one can still take its time with namespaces.
    build::collect(store);
    fetch::collect(&ctx.temp_dir());
    let conf = containers_conf(ctx, store.conf().rootless)?;
    let in_use = if args.force { InUse::RemoveContainers } else { InUse::Refuse };
    let mut removal = Removal::new(ctx, in_use)?;
    removal.remove_all(match (args.all, args.force) {
        (true, true) => Which::All,
        (true, false) => Which::Unused,
        (false, true) => Which::Dangling,
        (false, false) => Which::UnusedDangling,
    })?;
    removal.finish(ui)?;
    // What a killed command left may belong to other ids; without a namespace that part stays for another time.
    match mounted::enter_for_files(store) {
        Ok(notices) => notices.iter().for_each(|notice| ui.note(notice)),
        Err(error) => log::warn!("files of other ids are not collected: {error}"),
    }
    let caches = cache_dir(ctx, &conf)?;
    let emptied = crate::run::empty_caches(&caches);
    let emptied = emptied.map_err(|error| CommandError::from(error).context(format!("emptying {caches:?}")))?;
    if emptied.in_use > 0 {
        ui.note(format!("{} cache mounts are in use and stay", emptied.in_use));
    }
    tidy::tidy(store, tidy::When::Now);
    for finding in check::repair(store)?.findings {
        if finding.repairable {
            log::info!("removed {}", finding.text);
        }
    }
    Ok(ExitCode::SUCCESS)
}
