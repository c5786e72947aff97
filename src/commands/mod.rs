//! The command line: flags, words for people, exit codes; one file per verb.
//!
//! Flow: `main` finds the verb (`command_line`), builds the parser of that verb only, and calls its function with a
//! [`Context`] (settings and the store, opened on demand) and a [`Ui`] (the only writer). Every failure comes back as a
//! [`CommandError`] and is printed and turned into an exit status in one place, here.
//!
//! Must not: mount, read archives, or edit a configuration except through `image::Change`.

use std::ffi::OsString;
use std::process::ExitCode;

mod access;
pub mod args;
mod columns;
pub mod command_line;
mod compression;
pub mod context;
mod csv;
pub mod error;
mod hint;
mod human;
mod image_filter;
mod image_set;
pub mod later;
mod logger;
mod progress;
mod removal;
mod template_table;
pub mod ui;
mod verbs;

mod build;
mod check;
mod choice;
mod commit;
mod completion;
mod config;
mod containers;
mod copy;
mod diff;
mod from;
mod help;
mod images;
mod info;
mod inspect;
mod inspect_fields;
mod isolation;
mod limits;
mod lineages;
mod login;
mod logout;
mod manifest;
mod mount;
mod password;
mod platform;
mod prune;
mod pull;
mod pull_policy;
mod push;
mod rename;
mod rm;
mod rmi;
mod run;
mod run_environment;
mod sbom;
mod tag;
mod umount;
mod unshare;
mod user_namespace;
mod version;

pub use completion::whole_parser;
pub use context::Context;
pub use error::CommandError;
pub use ui::Ui;
pub use verbs::{Group, Order, VERBS, Verb};

use command_line::Invocation;

/// Runs the program with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    crate::sys::allocator::share_arenas();
    // Files of a container must not depend on the caller's habits (Buildah forces the same mask).
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut ui = Ui::new();
    let outcome = execute(&mut ui, arguments).and_then(|code| ui.finish().map(|()| code));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            if let Some(signal) = error.signal() {
                // Who waits for this process sees what it would have seen had there been nothing to take away: a shell ends its loop.
                let _ = nix::sys::signal::raise(signal);
            }
            ui.failure(&error);
            error.exit_code()
        }
    }
}

/// Finds out what is asked and does it.
fn execute(ui: &mut Ui, arguments: Vec<OsString>) -> Result<ExitCode, CommandError> {
    if let Some((first, words)) = arguments.split_first()
        && first == completion::answer::NAME
    {
        completion::answer::answer(ui, words)?;
        return Ok(ExitCode::SUCCESS);
    }
    match command_line::read(arguments)? {
        Invocation::Overview => help::overview(ui),
        Invocation::Version => version::one_line(ui),
        Invocation::HelpOf(verb) => help::of_verb(ui, verb),
        Invocation::Run { verb, global, matches } => {
            logger::start(&global)?;
            let context = Context::new(*global);
            context.limit_tls()?;
            isolation::cgroup_manager(&context)?;
            user_namespace::check_maps(context.global())?;
            (verb.run)(&context, ui, &matches).map_err(|error| hint::from_store(&context, verb.name, error))
        }
    }
}
