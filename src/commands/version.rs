//! `coracle version`: versions of the program and of the specifications that it follows.

use std::process::ExitCode;

use jiff::Timestamp;

use crate::golang::goarch;
use crate::template::value::HtmlEscape;
use crate::template::{Field, Value};

use super::{CommandError, Context, Ui, args};

/// Version of the OCI image specification that is followed.
const IMAGE_SPEC: &str = "1.1.1";
/// Version of the OCI runtime specification that is followed.
const RUNTIME_SPEC: &str = "1.3.0";

/// Show the version of the program
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {
    #[arg(hide = true)]
    operands: Vec<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn version(_ctx: &Context, ui: &mut Ui, args: &VersionArgs) -> Result<ExitCode, CommandError> {
    args::no_operands("version", &args.operands)?;
    let platform = format!("{}/{}", std::env::consts::OS, goarch());
    // Each with the label of the text form, and the key that scripts know from Buildah's JSON.
    let rows: [(&str, &'static str, String); 9] = [
        ("Version:", "version", env!("CARGO_PKG_VERSION").to_owned()),
        ("", "goVersion", String::new()),
        ("Image Spec:", "imageSpec", IMAGE_SPEC.to_owned()),
        ("Runtime Spec:", "runtimeSpec", RUNTIME_SPEC.to_owned()),
        ("", "imageVersion", String::new()),
        ("Git Commit:", "gitCommit", option_env!("CORACLE_GIT_COMMIT").unwrap_or_default().to_owned()),
        ("Built:", "built", built()),
        ("OS/Arch:", "osArch", platform.clone()),
        ("BuildPlatform:", "buildPlatform", platform),
    ];
    if args.json {
        let fields = rows.map(|(_, key, value)| Field::new(key, value));
        ui.json(&Value::Struct(fields.into()).to_json("    ", HtmlEscape::On))?;
        return Ok(ExitCode::SUCCESS);
    }
    // What is not known of a build is not told; the keys of the JSON are all there.
    for (label, _, value) in rows.iter().filter(|(label, _, value)| !label.is_empty() && !value.is_empty()) {
        ui.data(format_args!("{label:<17}{value}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer to `coracle --version`.
pub(super) fn one_line(ui: &mut Ui) -> Result<ExitCode, CommandError> {
    ui.answers();
    ui.data(format!("coracle version {} (image-spec {IMAGE_SPEC}, runtime-spec {RUNTIME_SPEC})", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}

/// When the program was built, as C's `asctime` writes it: what `SOURCE_DATE_EPOCH` said then, so that builds can be repeated;
/// empty where nothing said it.
fn built() -> String {
    let seconds = option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(|time| time.strftime("%a %b %e %H:%M:%S %Y").to_string()).unwrap_or_default()
}
