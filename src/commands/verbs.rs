//! The table of verbs: names, help group, how operands and flags mix, parser and function of each.
//!
//! Only the chosen verb's parser is ever built: with all of them the program would start a millisecond later.

use std::process::ExitCode;

use clap::{ArgMatches, Args, FromArgMatches};

use super::{CommandError, Context, Ui};
use super::{
    build, check, commit, completion, config, containers, copy, diff, from, help, images, info, inspect, login, logout,
    manifest, mount, prune, pull, push, rename, rm, rmi, run, tag, umount, unshare, version,
};

/// The heading under which `--help` lists a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Verbs on images in the store.
    Image,
    /// Verbs on working containers.
    Container,
    /// Verbs on registries.
    Registry,
    /// Verbs on the store and the machine.
    System,
    /// The rest.
    Additional,
}

/// How the flags of a verb may be placed among its operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Anywhere.
    Mixed,
    /// Before the first operand; anything later that looks like a flag is refused.
    FlagsFirst,
    /// Before the first operand; what follows belongs to somebody else's command and is passed on as it is.
    Verbatim,
}

/// One verb.
pub struct Verb {
    /// The name in help and man pages.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Where `--help` lists it.
    pub group: Group,
    /// Placement of flags.
    pub order: Order,
    /// Operands as the usage line shows them, e.g. `CONTAINER [IMAGE]`.
    pub operands: &'static str,
    /// Adds the verb's flags and operands to a parser.
    pub(super) augment: fn(clap::Command) -> clap::Command,
    /// Reads the flags and does the work.
    pub(super) run: fn(&Context, &mut Ui, &ArgMatches) -> Result<ExitCode, CommandError>,
}

impl std::fmt::Debug for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verb").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Verb {
    /// The verb called `name` or with that alias.
    pub fn find(name: &str) -> Option<&'static Verb> {
        VERBS.iter().find(|verb| verb.name == name || verb.aliases.contains(&name))
    }

    /// The verbs below this one, as `manifest create` is below `manifest`.
    pub fn below(&self) -> impl Iterator<Item = &'static Verb> {
        VERBS.iter().filter(|verb| verb.name.split_once(' ').is_some_and(|(group, _)| group == self.name))
    }

    /// The name of a verb without that of the verb that it is below.
    pub fn last_word(&self) -> &'static str {
        self.name.rsplit(' ').next().unwrap_or(self.name)
    }

    /// The parser of this verb alone, without the global flags.
    pub fn parser(&self) -> clap::Command {
        (self.augment)(clap::Command::new(self.name))
    }
}

fn augment<A: Args>(parser: clap::Command) -> clap::Command {
    A::augment_args(parser)
}

fn read<A: FromArgMatches>(matches: &ArgMatches) -> Result<A, CommandError> {
    A::from_arg_matches(matches).map_err(|error| CommandError::usage(super::command_line::words_of(&error)))
}

macro_rules! verb {
    ($name:literal $([$($alias:literal),*])?, $group:ident, $order:ident, $operands:literal, $args:ty => $function:path) => {
        Verb {
            name: $name,
            aliases: &[$($($alias),*)?],
            group: Group::$group,
            order: Order::$order,
            operands: $operands,
            augment: augment::<$args>,
            run: |context, ui, matches| $function(context, ui, &read::<$args>(matches)?),
        }
    };
}

/// All verbs, in the order of `--help`.
pub static VERBS: &[Verb] = &[
    verb!("build" ["bud", "build-using-dockerfile"], Image, Mixed, "[CONTEXT]", build::BuildArgs => build::build),
    verb!("images", Image, FlagsFirst, "[IMAGE]", images::ImagesArgs => images::images),
    verb!("inspect", Image, FlagsFirst, "CONTAINER|IMAGE", inspect::InspectArgs => inspect::inspect),
    verb!("diff", Image, FlagsFirst, "CONTAINER|IMAGE", diff::DiffArgs => diff::diff),
    verb!("pull", Image, FlagsFirst, "IMAGE", pull::PullArgs => pull::pull),
    verb!("push", Image, FlagsFirst, "IMAGE [DESTINATION]", push::PushArgs => push::push),
    verb!("manifest", Image, Verbatim, "VERB", manifest::ManifestArgs => manifest::manifest),
    verb!("manifest create", Image, Mixed, "LIST [IMAGE…]", manifest::CreateArgs => manifest::create),
    verb!("manifest add", Image, Mixed, "LIST IMAGE|FILE…", manifest::AddArgs => manifest::add),
    verb!("manifest annotate", Image, Mixed, "LIST [IMAGE]", manifest::AnnotateArgs => manifest::annotate),
    verb!("manifest inspect", Image, Mixed, "LIST", manifest::InspectArgs => manifest::inspect),
    verb!("manifest push", Image, Mixed, "LIST [DESTINATION]", manifest::PushArgs => manifest::push),
    verb!("manifest remove", Image, Mixed, "LIST IMAGE", manifest::RemoveArgs => manifest::remove),
    verb!("manifest rm", Image, Mixed, "LIST…", manifest::RmArgs => manifest::rm),
    verb!("manifest exists", Image, Mixed, "LIST", manifest::ExistsArgs => manifest::exists),
    verb!("tag", Image, Mixed, "IMAGE NAME…", tag::TagArgs => tag::tag),
    verb!("rmi", Image, FlagsFirst, "[IMAGE…]", rmi::RmiArgs => rmi::rmi),
    verb!("prune", Image, Mixed, "", prune::PruneArgs => prune::prune),
    verb!("from", Container, FlagsFirst, "IMAGE|scratch", from::FromArgs => from::from),
    verb!("run", Container, Verbatim, "CONTAINER [--] COMMAND [ARG…]", run::RunArgs => run::run),
    verb!("copy", Container, FlagsFirst, "CONTAINER SRC… [DEST]", copy::CopyArgs => copy::copy),
    verb!("add", Container, FlagsFirst, "CONTAINER SRC… [DEST]", copy::AddArgs => copy::add),
    verb!("config", Container, FlagsFirst, "CONTAINER", config::ConfigArgs => config::config),
    verb!("commit", Container, FlagsFirst, "CONTAINER [IMAGE]", commit::CommitArgs => commit::commit),
    verb!("containers" ["list", "ls", "ps"], Container, Mixed, "", containers::ContainersArgs => containers::containers),
    verb!("mount", Container, FlagsFirst, "[CONTAINER…]", mount::MountArgs => mount::mount),
    verb!("umount" ["unmount"], Container, FlagsFirst, "[CONTAINER…]", umount::UmountArgs => umount::umount),
    verb!("rename", Container, Mixed, "CONTAINER NEW-NAME", rename::RenameArgs => rename::rename),
    verb!("rm" ["delete"], Container, FlagsFirst, "[CONTAINER…]", rm::RmArgs => rm::rm),
    verb!("login", Registry, Mixed, "REGISTRY", login::LoginArgs => login::login),
    verb!("logout", Registry, Mixed, "[REGISTRY]", logout::LogoutArgs => logout::logout),
    verb!("info", System, Mixed, "", info::InfoArgs => info::info),
    verb!("check", System, Mixed, "", check::CheckArgs => check::check),
    verb!("unshare", System, Verbatim, "[COMMAND [ARG…]]", unshare::UnshareArgs => unshare::unshare),
    verb!("version", System, Mixed, "", version::VersionArgs => version::version),
    verb!("completion", Additional, Mixed, "bash|zsh|fish|powershell", completion::CompletionArgs => completion::completion),
    verb!("help", Additional, Mixed, "[VERB]", help::HelpArgs => help::help),
];
