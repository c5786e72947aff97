//! Flags and variables that choose how commands are kept apart from the machine: `--isolation`, `--runtime`, `--runtime-flag`,
//! `--cgroup-manager`; and what the variable says that registers emulators.

use super::{CommandError, Context};
use crate::container::run::RuntimeChoice;
use crate::container::state::Isolation;
use crate::run::cgroups::Manager;
use crate::run::emulation::Emulation;
use crate::userns;

/// `--isolation`, else `CORACLE_ISOLATION`, `BUILDAH_ISOLATION`. `None`: nobody said anything.
pub(super) fn chosen(ctx: &Context, given: Option<&str>) -> Result<Option<Isolation>, CommandError> {
    let known = |failure: CommandError| failure.hinting(Some("known are default, rootless, oci and chroot".to_owned()));
    if let Some(word) = given {
        let unknown = || known(CommandError::usage(format!("unrecognized isolation type {word:?}")));
        log::debug!("isolation {word:?}, by --isolation");
        return Isolation::parse(word).ok_or_else(unknown).map(Some);
    }
    let Some(word) = ctx.environment().engine("ISOLATION") else { return Ok(None) };
    let unknown = || known(CommandError::usage(format!("unrecognized $BUILDAH_ISOLATION value {word:?}")));
    log::debug!("isolation {word:?}, by $CORACLE_ISOLATION or $BUILDAH_ISOLATION");
    Isolation::parse(word).ok_or_else(unknown).map(Some)
}

/// `--runtime`, else `CORACLE_RUNTIME`, `BUILDAH_RUNTIME`; and its flags.
pub(super) fn runtime(ctx: &Context, given: Option<&str>, flags: &[String]) -> Result<RuntimeChoice, CommandError> {
    let program = given.filter(|word| !word.is_empty()).or_else(|| ctx.environment().engine("RUNTIME"));
    Ok(RuntimeChoice {
        program: program.map(str::to_owned),
        flags: flags.to_vec(),
        cgroup_manager: cgroup_manager(ctx)?,
        temp_dir: ctx.temp_dir(),
    })
}

/// `--cgroup-manager`. Buildah takes any word, and hands it to nobody if it is not `systemd`.
pub(super) fn cgroup_manager(ctx: &Context) -> Result<Option<Manager>, CommandError> {
    let Some(word) = ctx.global().cgroup_manager.as_deref() else { return Ok(None) };
    let unknown =
        || CommandError::usage(format!("invalid value {word:?} for --cgroup-manager: want \"systemd\" or \"cgroupfs\""));
    Manager::parse(word).ok_or_else(unknown).map(Some)
}

/// `CORACLE_REGISTER_BINFMT`, `BUILDAH_REGISTER_BINFMT`. As with Buildah, a word that is none of its own says no.
pub(super) fn emulation(ctx: &Context) -> Emulation {
    let environment = ctx.environment();
    // What an ordinary user has in a container, nobody else can have registered there.
    let is_alone = userns::is_rootless() && environment.text("container").is_some();
    match environment.engine("REGISTER_BINFMT").unwrap_or("auto").to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Emulation::Register,
        "auto" | "default" if is_alone => Emulation::IfMissing,
        _ => Emulation::Leave,
    }
}
