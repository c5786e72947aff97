//! `coracle config`: settings of the image that a working container becomes.

use std::process::ExitCode;

use super::{CommandError, Context, Ui};
use crate::container;
use crate::container::config::empty_step;
use crate::image::change::HealthcheckEdit;
use crate::image::{Change, setting};

/// Change the settings of the image that a working container becomes
///
/// A value that ends in a minus removes that label, annotation, variable, port, volume or feature; a lone minus removes all.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Working container
    #[arg(value_name = "CONTAINER")]
    operands: Vec<String>,

    /// Add these changes to the image's history
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    add_history: Option<bool>,

    /// Annotation of the image's manifest, after layer: of the next layer: KEY=VALUE, KEY- or - (can be repeated)
    #[arg(short, long, value_name = "ANNOTATION")]
    annotation: Vec<String>,

    /// Architecture of the programs inside
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,

    /// Who made the image
    #[arg(long, value_name = "NAME")]
    author: Option<String>,

    /// Default command: words, or a JSON array; empty removes it
    #[arg(long, value_name = "COMMAND")]
    cmd: Option<String>,

    /// Comment of the image (docker format only)
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    /// What the next history entry says it was created by
    #[arg(long, value_name = "TEXT")]
    created_by: Option<String>,

    /// NIS domain name of containers (docker format only)
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,

    /// Entry point: a text for /bin/sh -c, or a JSON array; empty removes it
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,

    /// Environment variable: NAME=VALUE, NAME (from this environment), NAME- or - (can be repeated)
    #[arg(short, long, value_name = "VARIABLE")]
    env: Vec<String>,

    #[command(flatten)]
    health: HealthArgs,

    /// Comment of the next history entry
    #[arg(long, value_name = "TEXT")]
    history_comment: Option<String>,

    /// Host name of containers (docker format only)
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    /// Label: KEY=VALUE, KEY- or - (can be repeated)
    #[arg(short, long, value_name = "LABEL")]
    label: Vec<String>,

    /// Instruction for builds on top of the image (docker format only, can be repeated)
    #[arg(long, value_name = "INSTRUCTION", value_delimiter = ',')]
    onbuild: Vec<String>,

    /// Operating system of the programs inside
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Feature that the operating system must have: NAME, NAME- or - (can be repeated)
    #[arg(long, value_name = "FEATURE")]
    os_feature: Vec<String>,

    /// Version of the operating system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,

    /// Port that containers listen on: PORT[/PROTOCOL], PORT- or - (can be repeated)
    #[arg(short, long, value_name = "PORT", value_delimiter = ',')]
    port: Vec<String>,

    /// Shell that runs commands written as text (docker format only)
    #[arg(long, value_name = "WORDS")]
    shell: Option<String>,

    /// Signal that asks containers to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,

    /// User of the command: NAME|UID[:GROUP|GID]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,

    /// Variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,

    /// Path whose content is no part of the image: PATH, PATH- or - (can be repeated)
    #[arg(short, long, value_name = "PATH", value_delimiter = ',')]
    volume: Vec<String>,

    /// Directory that the command starts in
    #[arg(long, value_name = "DIR")]
    workingdir: Option<String>,

    /// Label to remove (can be repeated)
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    unsetlabel: Vec<String>,

    /// Annotation to remove (can be repeated)
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    unsetannotation: Vec<String>,
}

/// The health check (docker format only).
#[derive(Debug, Default, clap::Args)]
struct HealthArgs {
    /// Health check (docker format only): CMD WORD…, CMD-SHELL TEXT or NONE
    #[arg(long, value_name = "COMMAND")]
    healthcheck: Option<String>,

    /// Time between two health checks
    #[arg(long, value_name = "DURATION")]
    healthcheck_interval: Option<String>,

    /// How many health checks must fail in a row
    #[arg(long, value_name = "NUMBER")]
    healthcheck_retries: Option<i64>,

    /// Time after the start in which failed health checks do not count
    #[arg(long, value_name = "DURATION")]
    healthcheck_start_period: Option<String>,

    /// Time between two health checks in the start period
    #[arg(long, value_name = "DURATION")]
    healthcheck_start_interval: Option<String>,

    /// Time after which a health check has failed
    #[arg(long, value_name = "DURATION")]
    healthcheck_timeout: Option<String>,
}

pub(crate) fn config(ctx: &Context, ui: &mut Ui, args: &ConfigArgs) -> Result<ExitCode, CommandError> {
    let Some(container) = args.operands.first() else {
        return Err(CommandError::usage("container ID must be specified"));
    };
    if args.operands.len() > 1 {
        return Err(CommandError::usage("too many arguments specified"));
    }
    let caller = |name: &str| ctx.environment().get(name).map(|value| value.to_string_lossy().into_owned());
    let mut options = container::config::Options { changes: changes(args, &caller)?, history: Vec::new() };
    if args.add_history.unwrap_or_else(|| ctx.environment().engine_switch("HISTORY")) {
        options.history = history(args).iter().map(|created_by| empty_step(created_by)).collect();
    }
    for warning in container::config::config(ctx.store()?, container, &options)? {
        ui.warning(warning);
    }
    Ok(ExitCode::SUCCESS)
}

/// The flags as changes, in Buildah's order: a later one sees what an earlier one did.
fn changes(args: &ConfigArgs, caller: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Change>, CommandError> {
    let mut all = Vec::new();
    let mut text = |value: &Option<String>, change: fn(String) -> Change| all.extend(value.clone().map(change));
    text(&args.author, Change::Author);
    text(&args.created_by, Change::CreatedBy);
    text(&args.arch, Change::Architecture);
    text(&args.variant, Change::Variant);
    text(&args.os, Change::Os);
    text(&args.os_version, Change::OsVersion);
    all.extend(args.os_feature.iter().map(|word| setting::os_feature(word)));
    all.extend(args.user.clone().map(Change::User));
    if let Some(words) = &args.shell {
        all.push(setting::shell(words)?);
    }
    all.extend(args.stop_signal.clone().map(Change::StopSignal));
    all.extend(args.port.iter().map(|word| setting::port(word)));
    for word in &args.env {
        all.push(setting::env(word, caller)?);
    }
    all.extend(args.entrypoint.as_deref().map(setting::entrypoint));
    if let Some(words) = &args.cmd {
        all.push(setting::cmd(words)?);
    }
    all.extend(args.volume.iter().map(|word| setting::volume(word)));
    all.extend(health_changes(&args.health)?);
    all.extend(args.label.iter().map(|word| setting::label(word)));
    all.extend(args.unsetlabel.iter().cloned().map(Change::UnsetLabel));
    let mut text = |value: &Option<String>, change: fn(String) -> Change| all.extend(value.clone().map(change));
    text(&args.workingdir, Change::WorkingDir);
    text(&args.comment, Change::Comment);
    text(&args.history_comment, Change::HistoryComment);
    text(&args.domainname, Change::Domainname);
    text(&args.hostname, Change::Hostname);
    all.extend(args.onbuild.iter().map(|word| setting::onbuild(word)));
    all.extend(args.annotation.iter().map(|word| setting::annotation(word)));
    all.extend(args.unsetannotation.iter().cloned().map(Change::UnsetAnnotation));
    Ok(all)
}

fn health_changes(args: &HealthArgs) -> Result<Vec<Change>, CommandError> {
    let mut all = Vec::new();
    if let Some(words) = &args.healthcheck {
        all.push(setting::healthcheck(words)?);
    }
    let duration = |flag, value: &Option<String>| value.as_deref().map(|text| setting::duration(flag, text)).transpose();
    let edit = HealthcheckEdit {
        test: None,
        interval: duration("--healthcheck-interval", &args.healthcheck_interval)?,
        timeout: duration("--healthcheck-timeout", &args.healthcheck_timeout)?,
        start_period: duration("--healthcheck-start-period", &args.healthcheck_start_period)?,
        start_interval: duration("--healthcheck-start-interval", &args.healthcheck_start_interval)?,
        retries: args.healthcheck_retries,
    };
    if edit != HealthcheckEdit::default() {
        all.push(Change::EditHealthcheck(edit));
    }
    Ok(all)
}

/// The history entries of `--add-history`: Buildah's order and words, with one for ENV even if no variable was given.
fn history(args: &ConfigArgs) -> Vec<String> {
    let mut lines = Vec::new();
    let mut step = |keyword: &str, text: &str| lines.push(format!("/bin/sh -c #(nop) {keyword} {text}"));
    let mut flag = |keyword: &str, value: &Option<String>| value.iter().for_each(|text| step(keyword, text));
    flag("USER", &args.user);
    flag("SHELL", &args.shell);
    flag("STOPSIGNAL", &args.stop_signal);
    if !args.port.is_empty() {
        step("EXPOSE", &args.port.join(" "));
    }
    step("ENV", &args.env.join(" "));
    let mut flag = |keyword: &str, value: &Option<String>| value.iter().for_each(|text| step(keyword, text));
    flag("ENTRYPOINT", &args.entrypoint);
    flag("CMD", &args.cmd);
    args.volume.iter().for_each(|path| step("VOLUME", path));
    if let Some(text) = health_words(&args.health) {
        step("HEALTHCHECK", &text);
    }
    if !args.label.is_empty() {
        step("LABEL", &args.label.join(" "));
    }
    args.workingdir.iter().for_each(|dir| step("WORKDIR", dir));
    args.onbuild.iter().filter(|text| !text.is_empty()).for_each(|text| step("ONBUILD", text));
    lines
}

fn health_words(args: &HealthArgs) -> Option<String> {
    let retries = args.healthcheck_retries.map(|number| number.to_string());
    let flags = [
        ("--interval", &args.healthcheck_interval),
        ("--retries", &retries),
        ("--start-period", &args.healthcheck_start_period),
        ("--start-interval", &args.healthcheck_start_interval),
        ("--timeout", &args.healthcheck_timeout),
    ];
    let given: String = flags.iter().filter_map(|(name, value)| Some(format!("{name}={} ", value.as_ref()?))).collect();
    if given.is_empty() && args.healthcheck.is_none() {
        return None;
    }
    Some(given + args.healthcheck.as_deref().unwrap_or_default())
}
