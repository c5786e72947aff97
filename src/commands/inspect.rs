//! `coracle inspect`: the configuration of a working container or an image, as JSON or by a template.

use std::process::ExitCode;

use crate::container::inspect::{self, Report};
use crate::container::{find_image, state};
use crate::image::Location;
use crate::template::Template;
use crate::transport::{Means, Silence};

use super::{CommandError, Context, Ui};
use super::{access, inspect_fields, manifest};

/// Show the configuration of a working container or an image
///
/// A name is looked for among the working containers first, then among the images. Of a manifest list its image for this machine is
/// shown, or the list itself if there is none. docker://NAME is an image at a registry, of which nothing is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Working container or image
    #[arg(value_name = "NAME")]
    operands: Vec<String>,

    /// Print by a Go template
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,

    /// Look only for a container, an image or a manifest (default: whichever is found)
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

pub(crate) fn inspect(ctx: &Context, ui: &mut Ui, args: &InspectArgs) -> Result<ExitCode, CommandError> {
    ui.answers();
    let name = match args.operands.as_slice() {
        [] => return Err(CommandError::usage("container or image name must be specified")),
        [name] => name,
        _ => return Err(CommandError::usage("too many arguments specified")),
    };
    let template = args.format.as_deref().filter(|format| !format.is_empty()).map(parse_format).transpose()?;
    if args.kind.as_deref() == Some("manifest") {
        // As Buildah, which asks no template then.
        manifest::print(ui, &manifest::find(ctx, name)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = match find(ctx, name, args.kind.as_deref()) {
        Ok(report) => report,
        Err(error) => {
            // A list without an image for this machine is shown itself.
            let list = args.kind.is_none().then(|| manifest::find(ctx, name).ok()).flatten().ok_or(error)?;
            manifest::print(ui, &list)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    match template {
        Some(template) => print_by_template(ui, &template, &report)?,
        None => print_json(ui, &report)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The template of `--format`, for verbs that show one document.
pub(super) fn parse_format(text: &str) -> Result<Template, CommandError> {
    if !Template::is_one(text) {
        return Err(CommandError::usage(format!("invalid format provided: {text}")));
    }
    Template::parse("format", text).map_err(|error| CommandError::from(error).context("Template parsing error"))
}

fn find(ctx: &Context, name: &str, kind: Option<&str>) -> Result<Report, CommandError> {
    if let Some(kind) = kind.filter(|kind| !["container", "image"].contains(kind)) {
        return Err(CommandError::usage(format!(
            "the only recognized types are \"container\", \"image\" and \"manifest\", and not {kind:?}"
        )));
    }
    if kind != Some("container")
        && let Some(report) = at_registry(ctx, name)?
    {
        return Ok(report);
    }
    let store = ctx.store()?;
    let registries = ctx.registries()?;
    let as_image = || match name {
        "" => Err(CommandError::usage("image name must be specified")),
        name => inspect::image(store, registries, name).map_err(CommandError::from),
    };
    match kind {
        Some("container") => Ok(inspect::container(store, name)?),
        Some(_) => as_image(),
        None => match inspect::container(store, name) {
            Err(inspect::Error::State(state::Error::NotKnown { .. })) => as_image().map_err(|error| {
                let unknown = matches!(error.source(), Some(find_image::Error::NotKnown { .. }));
                if unknown { error.hinting(Some("no working container has that name either".to_owned())) } else { error }
            }),
            other => Ok(other?),
        },
    }
}

/// The image at a registry, if that is what `name` names.
fn at_registry(ctx: &Context, name: &str) -> Result<Option<Report>, CommandError> {
    if !name.starts_with("docker://") {
        return Ok(None);
    }
    let Some(Location::Registry(reference)) = Location::parse(name)? else { return Ok(None) };
    let (store, registries, temp_dir) = (ctx.store()?, ctx.registries()?, ctx.temp_dir());
    let network = access::network(ctx, registries, None, None);
    let means = Means { store, temp_dir: &temp_dir, registries, network: &network, silence: Silence::Awaited };
    let policy = access::policy_file(ctx)?.load()?;
    let report = inspect::at_registry(&reference, means, &policy);
    report.map(Some).map_err(|error| CommandError::from(error).context(format!("inspecting {name:?}")))
}

fn print_json(ui: &mut Ui, report: &Report) -> Result<(), CommandError> {
    let json = pretty(report)?;
    // Go's encoder makes JSON safe for HTML unless a person reads it.
    let json = if ui.stdout_is_terminal() { json } else { escape_html(&json) };
    ui.json(&json)
}

/// `document` as JSON with four blanks per level.
pub(super) fn pretty<T: serde::Serialize>(document: &T) -> Result<String, CommandError> {
    let mut bytes = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, serde_json::ser::PrettyFormatter::with_indent(b"    "));
    document.serialize(&mut serializer)?;
    Ok(String::from_utf8(bytes)?)
}

/// `<`, `>`, `&` and the two separators that JavaScript takes for line ends, as JSON escapes. They occur in strings only.
fn escape_html(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 16);
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out
}

fn print_by_template(ui: &mut Ui, template: &Template, report: &Report) -> Result<(), CommandError> {
    let text = template.render(&inspect_fields::value(&serde_json::to_value(report)?))?;
    // Scripts take the text in $(…); only a person wants the newline.
    if ui.stdout_is_terminal() { ui.lines(&text) } else { ui.exact(text.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_escaped_as_go_does() {
        assert_eq!(escape_html("\"<a href='x&y'>\u{2028}\""), "\"\\u003ca href='x\\u0026y'\\u003e\\u2028\"");
    }

    #[test]
    fn a_format_without_actions_is_refused() {
        assert!(parse_format("plain").is_err());
    }
}
