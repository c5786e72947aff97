//! `coracle containers`: the working containers, as a table, IDs, JSON, or by a template.

use std::process::ExitCode;

use crate::container::list::{self, Listed, Scope};
use crate::template::value::HtmlEscape;
use crate::template::{Field, Value};

use super::ui::escape;
use super::{CommandError, Context, Ui, template_table};

/// List working containers
///
/// A star in the column BUILDER marks what Coracle or Buildah made.
#[derive(Debug, clap::Args)]
pub(crate) struct ContainersArgs {
    #[arg(hide = true)]
    operands: Vec<String>,

    /// Show the containers of other tools as well
    #[arg(short, long)]
    all: bool,

    /// Show only containers that meet a condition: id, name or ancestor
    #[arg(short, long, value_name = "CONDITION")]
    filter: Option<String>,

    /// Print by a Go template
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Print no headings
    #[arg(short, long)]
    noheading: bool,

    /// Print whole IDs and names
    #[arg(long)]
    notruncate: bool,

    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn containers(ctx: &Context, ui: &mut Ui, args: &ContainersArgs) -> Result<ExitCode, CommandError> {
    if !args.operands.is_empty() {
        return Err(CommandError::usage("'coracle containers' does not accept arguments"));
    }
    if args.quiet && args.format.is_some() {
        return Err(CommandError::usage("quiet and format are mutually exclusive"));
    }
    let filter = match &args.filter {
        Some(text) => Filter::parse(text).map_err(|error| error.context("parsing filter"))?,
        None => Filter::default(),
    };
    let scope = if args.all { Scope::All } else { Scope::Working };
    let mut rows = list::list(ctx.store()?, scope)?;
    rows.retain(|row| filter.keeps(row));
    if args.json {
        print_json(ui, &rows)?;
    } else if args.quiet {
        for row in &rows {
            ui.data(&row.id)?;
        }
    } else if let Some(format) = args.format.as_deref().filter(|format| !format.is_empty()) {
        ui.answers();
        print_by_template(ui, &rows, format)?;
    } else {
        print_table(ui, &rows, args)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the column shows for a container that was made from nothing.
fn image_name(row: &Listed) -> &str {
    if row.image_id.is_empty() { "scratch" } else { &row.image_name }
}

fn print_json(ui: &mut Ui, rows: &[Listed]) -> Result<(), CommandError> {
    let list: Vec<Value> = rows
        .iter()
        .map(|row| {
            Value::Struct(vec![
                Field::tagged("ContainerID", "id", row.id.to_string()),
                Field::tagged("Builder", "builder", row.builder),
                Field::tagged("ImageID", "imageid", row.image_id.clone()),
                Field::tagged("ImageName", "imagename", image_name(row)),
                Field::tagged("ContainerName", "containername", row.name.clone()),
            ])
        })
        .collect();
    // Buildah marshals a nil slice here.
    let json = if list.is_empty() { "null".to_owned() } else { Value::List(list).to_json("    ", HtmlEscape::On) };
    ui.json(&json)
}

fn print_by_template(ui: &mut Ui, rows: &[Listed], format: &str) -> Result<(), CommandError> {
    let cell = |text: &str| escape(text).into_owned();
    let rows = rows.iter().map(|row| {
        Ok(Value::Struct(vec![
            Field::new("ContainerID", row.id.to_string()),
            Field::new("Builder", builder_cell(row)),
            Field::new("ImageID", row.image_id.clone()),
            Field::new("ImageName", cell(image_name(row))),
            Field::new("ContainerName", cell(&row.name)),
        ]))
    });
    ui.exact(template_table::render(format, HEADINGS, rows)?.as_bytes())
}

const HEADINGS: &[(&str, &str)] = &[
    ("ContainerID", "CONTAINER ID"),
    ("Builder", "BUILDER"),
    ("ImageID", "IMAGE ID"),
    ("ImageName", "IMAGE NAME"),
    ("ContainerName", "CONTAINER NAME"),
];

fn builder_cell(row: &Listed) -> &'static str {
    if row.builder { "   *" } else { "" }
}

fn print_table(ui: &mut Ui, rows: &[Listed], args: &ContainersArgs) -> Result<(), CommandError> {
    if let (false, &[id, builder, image_id, image, name]) = (args.noheading, HEADINGS) {
        let (id, builder, image_id, image, name) = (id.1, builder.1, image_id.1, image.1, name.1);
        let line = if args.notruncate {
            format!("{id:<64} {builder:<8} {image_id:<64} {image:<32} {name}\n")
        } else {
            format!("{id:<12}  {builder:<8} {image_id:<12} {image:<32} {name}\n")
        };
        ui.exact(line.as_bytes())?;
    }
    for row in rows {
        let (builder, image, name) = (builder_cell(row), escape(image_name(row)), escape(&row.name));
        let line = if args.notruncate {
            format!("{:<64} {builder:<8} {:<64} {image:<32} {name}\n", row.id.as_str(), row.image_id)
        } else {
            format!("{:<12.12}  {builder:<8} {:<12.12} {:<32} {name}\n", row.id.as_str(), row.image_id, shortened(&image))
        };
        ui.exact(line.as_bytes())?;
    }
    Ok(())
}

/// `name` in at most 32 characters.
fn shortened(name: &str) -> String {
    const WIDTH: usize = 32;
    if name.chars().count() <= WIDTH {
        return name.to_owned();
    }
    name.chars().take(WIDTH - 3).chain("...".chars()).collect()
}

/// The conditions of `--filter`, joined by AND.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    id: Option<String>,
    name: Option<String>,
    ancestor: Option<String>,
}

impl Filter {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let mut filter = Self::default();
        for part in text.split(',') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(CommandError::usage(format!("incorrect filter value {part:?}, should be of form filter=value")));
            };
            let field = match key.trim() {
                "id" => &mut filter.id,
                "name" => &mut filter.name,
                "ancestor" => &mut filter.ancestor,
                _ => return Err(CommandError::usage(format!("invalid filter {key:?}"))),
            };
            *field = Some(value.to_owned());
        }
        Ok(filter)
    }

    fn keeps(&self, row: &Listed) -> bool {
        self.id.as_ref().is_none_or(|prefix| row.id.as_str().starts_with(prefix.as_str()))
            && self.name.as_ref().is_none_or(|part| row.name.contains(part.as_str()))
            && self.ancestor.as_ref().is_none_or(|image| is_ancestor(row, image))
    }
}

/// Whether the container's image is `image`: an ID by its first digits, or the end of a name, with or without tag, as for Buildah.
fn is_ancestor(row: &Listed, image: &str) -> bool {
    let split = |name: &'_ str| match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.len(), Some(tag.to_owned())),
        _ => (name.len(), None),
    };
    let name = image_name(row);
    let ((length, tag), (wanted_length, wanted_tag)) = (split(name), split(image));
    row.image_id.starts_with(image)
        || name[..length].ends_with(&image[..wanted_length]) && (wanted_tag.is_none() || wanted_tag == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, image: &str) -> Listed {
        Listed {
            id: "ab".repeat(32).parse().expect("an ID"),
            builder: true,
            image_id: if image.is_empty() { String::new() } else { "12".repeat(32) },
            image_name: image.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn filters_are_joined_by_and() {
        let row = row("web-working-container", "localhost/web:latest");
        let cases = [
            ("id=ab", true),
            ("id=b", false),
            ("name=working", true),
            ("name=working,id=ff", false),
            ("ancestor=web", true),
            ("ancestor=web:latest", true),
            ("ancestor=localhost/web", true),
            ("ancestor=1212", true),
            ("ancestor=eb", true),
            ("ancestor=localhost/web:latest", true),
            ("ancestor=web:1", false),
            ("ancestor=we", false),
            ("ancestor=", true),
        ];
        for (text, want) in cases {
            assert_eq!(Filter::parse(text).map(|filter| filter.keeps(&row)).ok(), Some(want), "{text}");
        }
        for bad in ["foo=bar", "id", ""] {
            assert!(Filter::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn long_image_names_are_cut_at_32() {
        assert_eq!(shortened("localhost/bb:latest"), "localhost/bb:latest");
        assert_eq!(shortened(&"x".repeat(40)), format!("{}...", "x".repeat(29)));
    }

    #[test]
    fn scratch_has_a_name_of_its_own() {
        assert_eq!(image_name(&row("c", "")), "scratch");
    }
}
