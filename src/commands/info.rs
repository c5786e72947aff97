//! `coracle info`: the machine, the store, and what can be done here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::process::ExitCode;

use containers_storage::conf::{Conf, DriverKind};
use containers_storage::store::Store;

use nix::sys::utsname::UtsName;

use crate::build;
use crate::container::machine::{self, Machine, Rung};
use crate::run;
use crate::template::Value;
use crate::template::value::HtmlEscape;
use crate::userns;

use super::inspect::parse_format;
use super::run::cache_dir;
use super::run_environment::containers_conf;
use super::{CommandError, Context, Ui, args};
use crate::golang::goarch;

/// Show the machine, the store, and what can be done here
///
/// The part "coracle" says how containers are mounted on this machine, and if that is not the best way, why and what would help.
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    #[arg(hide = true)]
    operands: Vec<String>,

    /// Show the version of the program as well (also --debug)
    #[arg(short = 'd')]
    details: bool,

    /// Print by a Go template
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

pub(crate) fn info(ctx: &Context, ui: &mut Ui, args: &InfoArgs) -> Result<ExitCode, CommandError> {
    args::no_operands("info", &args.operands)?;
    let template = args.format.as_deref().filter(|format| !format.is_empty()).map(parse_format).transpose()?;
    let store = ctx.store()?;
    let machine = machine::probe(&store.conf().graph_root)?;
    let mut document =
        map([("host", host()), ("store", store_section(store)?), ("coracle", coracle(ctx, store.conf(), &machine)?)]);
    if let (Value::Map(sections), true) = (&mut document, args.details || ctx.global().debug) {
        sections.insert("debug".to_owned(), debug());
    }
    ui.answers();
    match template {
        Some(template) => {
            let text = template.render(&document)?;
            if ui.stdout_is_terminal() { ui.lines(&text)? } else { ui.exact(text.as_bytes())? }
        }
        None => ui.json(&document.to_json("    ", HtmlEscape::Off))?,
    }
    note_driver(ui, store.conf());
    Ok(ExitCode::SUCCESS)
}

/// Says where other tools would choose another driver, and so another store.
pub(super) fn note_driver(ui: &mut Ui, conf: &Conf) {
    if conf.driver_is_explicit || !conf.rootless {
        return;
    }
    let (who, other) = match conf.driver {
        DriverKind::Overlay => ("podman and buildah of Debian 12", DriverKind::Vfs),
        DriverKind::Vfs => ("newer podman and buildah", DriverKind::Overlay),
    };
    let (other, own) = (other.name(), conf.driver.name());
    ui.note(format!("{who} use the driver {other} unless told otherwise, and do not see the images of this store then"));
    ui.note(format!(
        "hint: put the two lines \"[storage]\" and \"driver = \\\"{own}\\\"\" into ~/.config/containers/storage.conf"
    ));
}

fn map<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// `CGROUP2_SUPER_MAGIC` of statfs(2).
const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;

fn host() -> Value {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let release =
        fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release")).unwrap_or_default();
    let uname = nix::sys::utsname::uname().ok();
    let word = |part: fn(&UtsName) -> &OsStr| {
        uname.as_ref().map(|uname| part(uname).to_string_lossy().into_owned()).unwrap_or_default()
    };
    let unified = rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|stat| stat.f_type == CGROUP2_MAGIC);
    map([
        ("CgroupVersion", if unified { "v2" } else { "v1" }.into()),
        (
            "Distribution",
            map([("distribution", os_release(&release, "ID").into()), ("version", os_release(&release, "VERSION_ID").into())]),
        ),
        ("MemFree", mem_info(&memory, "MemFree").into()),
        ("MemTotal", mem_info(&memory, "MemTotal").into()),
        ("OCIRuntime", "coracle".into()),
        ("SwapFree", mem_info(&memory, "SwapFree").into()),
        ("SwapTotal", mem_info(&memory, "SwapTotal").into()),
        ("arch", goarch().into()),
        ("cpus", std::thread::available_parallelism().map_or(1, |count| i64::try_from(count.get()).unwrap_or(i64::MAX)).into()),
        ("hostname", word(|uname| uname.nodename()).into()),
        ("kernel", word(|uname| uname.release()).into()),
        ("os", std::env::consts::OS.into()),
        ("rootless", userns::is_rootless().into()),
        ("uptime", uptime(&fs::read_to_string("/proc/uptime").unwrap_or_default()).into()),
        ("variant", "".into()),
    ])
}

/// The bytes that a line of /proc/meminfo (proc_meminfo(5)) gives in KiB.
fn mem_info(text: &str, key: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kibibytes: i64 = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default();
    kibibytes.saturating_mul(1024)
}

/// A value of os-release(5), without its quotes.
fn os_release<'t>(text: &'t str, key: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or("unknown").trim_matches(['"', '\''])
}

/// The first number of /proc/uptime as `20m 41.84s`, with hours also in days.
fn uptime(text: &str) -> String {
    let word = text.split_whitespace().next().unwrap_or("0");
    let (seconds, fraction) = word.split_once('.').unwrap_or((word, ""));
    let seconds: u64 = seconds.parse().unwrap_or_default();
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let tail = format!("{rest}{point}{fraction}s");
    match (hours, minutes) {
        (0, 0) => tail,
        (0, _) => format!("{minutes}m {tail}"),
        _ => format!("{hours}h {minutes}m {tail} (Approximately {:.2} days)", hours as f64 / 24.0),
    }
}

fn store_section(store: &Store) -> Result<Value, CommandError> {
    let conf = store.conf();
    let number = |count: usize| map([("number", i64::try_from(count).unwrap_or(i64::MAX).into())]);
    let path = |path: &std::path::Path| Value::from(path.to_string_lossy().into_owned());
    let options = if conf.options.mount_options.is_empty() {
        Value::NilList
    } else {
        vec![format!("{}.mountopt={}", conf.driver.name(), conf.options.mount_options.join(","))].into()
    };
    Ok(map([
        ("ContainerStore", number(store.containers()?.all()?.len())),
        ("GraphDriverName", conf.driver.name().into()),
        ("GraphImageStore", conf.image_store.as_deref().map_or_else(|| "".into(), path)),
        ("GraphOptions", options),
        ("GraphRoot", path(&conf.graph_root)),
        ("GraphStatus", graph_status(conf)),
        ("GraphTransientStore", conf.transient.into()),
        ("ImageStore", number(store.images()?.count())),
        ("RunRoot", path(&conf.run_root)),
    ]))
}

fn graph_status(conf: &Conf) -> Value {
    if conf.driver == DriverKind::Vfs {
        return map([]);
    }
    let magic = rustix::fs::statfs(&conf.graph_root).map(|stat| stat.f_type).unwrap_or_default();
    map([
        ("Backing Filesystem", file_system(magic).into()),
        // Layers are always packed from their own directory.
        ("Native Overlay Diff", "true".into()),
        ("Supports d_type", "true".into()),
        ("Using metacopy", "false".into()),
    ])
}

/// The names that containers/storage gives to file systems, by the magic numbers of statfs(2).
fn file_system(magic: rustix::fs::FsWord) -> String {
    const NAMES: [(rustix::fs::FsWord, &str); 9] = [
        (0xEF53, "extfs"),
        (0x5846_5342, "xfs"),
        (0x9123_683E, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x794C_7630, "overlayfs"),
        (0x2FC1_2FC1, "zfs"),
        (0xF2F5_2010, "f2fs"),
        (0x6969, "nfs"),
        (0x6573_5546, "fuse"),
    ];
    NAMES.iter().find(|(number, _)| *number == magic).map_or_else(|| "<unknown>".to_owned(), |(_, name)| (*name).to_owned())
}

fn coracle(ctx: &Context, conf: &Conf, machine: &Machine) -> Result<Value, CommandError> {
    let caches = cache_dir(ctx, &containers_conf(ctx, conf.rootless)?)?;
    // A directory that is not used is no reason to say nothing about the rest; the run that needs it says what is wrong.
    let stock = run::stock_of_caches(&caches).unwrap_or_default();
    let means = match machine.rung {
        Rung::NativeOverlay | Rung::NoOverlay if conf.driver == DriverKind::Vfs => {
            "whole trees without a mount (vfs), with all ids"
        }
        Rung::SingleId if conf.driver == DriverKind::Vfs => "whole trees without a mount (vfs), with a single id",
        Rung::NativeOverlay => "native overlay, with all ids",
        Rung::NoOverlay => "overlay cannot be mounted here: no run, copy or commit but with --storage-driver vfs",
        Rung::SingleId => "native overlay, with a single id",
        Rung::PlainChroot => "vfs and a plain chroot, with the processes and the network of this machine",
        Rung::NoNamespace if conf.driver == DriverKind::Vfs => "whole trees without a mount (vfs), with one owner: no run",
        Rung::NoNamespace => "no user namespace: no run, copy or commit (the driver vfs has all but run)",
    };
    let steps = build::tidy::stock(ctx.store()?);
    Ok(map([
        ("cachedSteps", i64::try_from(steps.steps).unwrap_or(i64::MAX).into()),
        ("cacheMountDirectory", caches.to_string_lossy().into_owned().into()),
        ("cacheMounts", i64::try_from(stock.number).unwrap_or(i64::MAX).into()),
        ("driver", conf.driver.name().into()),
        ("driverConfigured", conf.driver_is_explicit.into()),
        ("files", conf.files.iter().map(|file| file.to_string_lossy().into_owned()).collect::<Vec<_>>().into()),
        ("means", means.into()),
        ("remedies", machine.remedies.clone().into()),
        ("rung", (machine.rung as i64).into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("why", machine.why.clone().into()),
    ]))
}

fn debug() -> Value {
    let members = [
        ("compiler", "rustc"),
        ("coracle version", env!("CARGO_PKG_VERSION")),
        ("git commit", option_env!("CORACLE_GIT_COMMIT").unwrap_or_default()),
    ];
    Value::Map(members.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect::<BTreeMap<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_in_words() {
        let cases = [
            ("983.38 1.0\n", "16m 23.38s"),
            ("59.00 1.0\n", "59s"),
            ("5.10 1.0\n", "5.1s"),
            ("90061.50 1\n", "25h 1m 1.5s (Approximately 1.04 days)"),
        ];
        for (text, want) in cases {
            assert_eq!(uptime(text), want, "{text:?}");
        }
    }

    #[test]
    fn machine_files_are_read() {
        assert_eq!(mem_info("MemTotal:  10 kB\nMemFree:   2 kB\n", "MemFree"), 2048);
        assert_eq!(os_release("ID_LIKE=x\nID=\"debian\"\n", "ID"), "debian");
        assert_eq!(os_release("", "ID"), "unknown");
    }
}
