//! `coracle images`: the images of the store, as a table, IDs, JSON, or by a template.

use std::process::ExitCode;
use std::time::Duration;

use containers_storage::images::Listed;
use jiff::Timestamp;

use crate::container::find_image::find_image;
use crate::image::Reference;
use crate::template::value::HtmlEscape;
use crate::template::{Field, Value};

use super::image_filter::{self, Filter};
use super::image_set::ImageSet;
use super::ui::escape;
use super::{CommandError, Context, Ui, columns, human, template_table};

/// List images
///
/// One line for each name, the newest image first. Unnamed images that others were made on top of are left out.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagesArgs {
    /// Image to list
    #[arg(value_name = "IMAGE")]
    operands: Vec<String>,

    /// Show all images, with the unnamed ones that others were made on top of
    #[arg(short, long)]
    all: bool,

    /// Show digests of manifests
    #[arg(long)]
    digests: bool,

    /// Show only images that meet a condition (can be repeated)
    #[arg(short, long, value_name = "CONDITION", value_delimiter = ',')]
    filter: Vec<String>,

    /// Print by a Go template
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,

    /// Show the names an image had
    #[arg(long)]
    history: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Print no headings
    #[arg(short, long)]
    noheading: bool,

    /// Print whole IDs
    #[arg(long)]
    no_trunc: bool,

    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn images(ctx: &Context, ui: &mut Ui, args: &ImagesArgs) -> Result<ExitCode, CommandError> {
    check_operands(args)?;
    let now = Timestamp::now();
    let store = ctx.store()?;
    let set = ImageSet::read(store)?;
    let mut filters = Vec::new();
    for text in &args.filter {
        filters.push(Filter::parse(ctx, text, now)?);
    }
    // Who asks for steps between images means them.
    if !args.all && !filters.iter().any(Filter::is_about_steps) {
        filters.push(Filter::without_intermediate());
    }
    let mut kept = image_filter::select(&set, &filters)?;
    if let Some(operand) = args.operands.first() {
        let found = find_image(store, ctx.registries()?, operand)?;
        kept.retain(|image| image.id == found.id);
    }
    let mut chosen: Vec<Chosen<'_>> =
        kept.into_iter().map(|image| Chosen { image, created: ImageSet::created(image) }).collect();
    if args.json {
        return print_json(ui, &set, &chosen, args, now);
    }
    ui.answers();
    chosen.sort_by_key(|chosen| std::cmp::Reverse(chosen.created));
    if args.quiet {
        for Chosen { image, .. } in chosen {
            ui.data(shown_id(image, args))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    match args.format.as_deref().filter(|format| !format.is_empty()) {
        Some(format) => print_by_template(ui, &set, &chosen, args, now, format),
        None => print_table(ui, &set, &chosen, args, now),
    }
}

/// An image that is to be shown.
struct Chosen<'s> {
    image: &'s Listed,
    created: Timestamp,
}

fn check_operands(args: &ImagesArgs) -> Result<(), CommandError> {
    if args.all && !args.operands.is_empty() {
        return Err(CommandError::usage("when using the --all switch, you may not pass any images names or IDs"));
    }
    if args.operands.len() > 1 {
        return Err(CommandError::usage("'coracle images' requires at most 1 argument"));
    }
    if args.quiet && args.format.is_some() {
        return Err(CommandError::usage("quiet and format are mutually exclusive"));
    }
    Ok(())
}

fn shown_id(image: &Listed, args: &ImagesArgs) -> String {
    if args.no_trunc { format!("sha256:{}", image.id) } else { image.id.short().to_owned() }
}

fn digest_of(image: &Listed) -> String {
    image.digest.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn made_ago(created: Timestamp, now: Timestamp) -> String {
    let elapsed = Duration::try_from(now.duration_since(created)).unwrap_or_default();
    format!("{} ago", human::age(elapsed))
}

fn print_json(
    ui: &mut Ui,
    set: &ImageSet<'_>,
    chosen: &[Chosen<'_>],
    args: &ImagesArgs,
    now: Timestamp,
) -> Result<ExitCode, CommandError> {
    let mut list = Vec::new();
    for &Chosen { image, created } in chosen {
        list.push(Value::Struct(vec![
            Field::tagged("ID", "id", if args.no_trunc { shown_id(image, args) } else { image.id.short().to_owned() }),
            Field::tagged("Names", "names", if image.names.is_empty() { Value::Null } else { image.names.clone().into() }),
            Field::tagged("Digest", "digest", digest_of(image)),
            Field::tagged("CreatedAt", "createdat", made_ago(created, now)),
            Field::tagged("Size", "size", human::size(set.size(image)?)),
            Field::tagged("Created", "created", created.as_second()),
            Field::tagged("CreatedAtRaw", "createdatraw", created),
            Field::tagged("ReadOnly", "readonly", image.read_only),
            Field::tagged("History", "history", Value::Null),
        ]));
    }
    let json = Value::List(list).to_json("    ", HtmlEscape::On);
    ui.json(&json)?;
    Ok(ExitCode::SUCCESS)
}

/// A column of the table: its field in templates, which has the heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Tag,
    Digest,
    Id,
    Created,
    Size,
    History,
}

impl Column {
    fn heading(self) -> &'static str {
        let field = match self {
            Self::Name => "Name",
            Self::Tag => "Tag",
            Self::Digest => "Digest",
            Self::Id => "ID",
            Self::Created => "CreatedAt",
            Self::Size => "Size",
            Self::History => "History",
        };
        HEADINGS.iter().find(|(name, _)| *name == field).map_or("", |(_, heading)| heading)
    }
}

/// The columns without `--format`.
fn columns_of(args: &ImagesArgs) -> Vec<Column> {
    let digest = args.digests.then_some(Column::Digest);
    let history = args.history.then_some(Column::History);
    let always = [Column::Id, Column::Created, Column::Size];
    [Column::Name, Column::Tag].into_iter().chain(digest).chain(always).chain(history).collect()
}

/// The table that all see who ask for no other: written without the template that it could be.
fn print_table(
    ui: &mut Ui,
    set: &ImageSet<'_>,
    chosen: &[Chosen<'_>],
    args: &ImagesArgs,
    now: Timestamp,
) -> Result<ExitCode, CommandError> {
    let shown = columns_of(args);
    let mut text = String::new();
    if !args.noheading {
        let headings: Vec<&str> = shown.iter().map(|column| column.heading()).collect();
        text.push_str(&headings.join("\t"));
        text.push('\n');
    }
    for &Chosen { image, created } in chosen {
        let (id, size) = (shown_id(image, args), human::size(set.size(image)?));
        let ago = made_ago(created, now);
        let digest = if args.digests { digest_of(image) } else { String::new() };
        let history = if args.history { set.names_history(image)? } else { Vec::new() };
        for (name, tag) in name_tag_pairs(&image.names) {
            let former = if args.history { former_names(&history, &name, &tag) } else { String::new() };
            for (at, column) in shown.iter().enumerate() {
                text.push_str(if at > 0 { "\t" } else { "" });
                text.push_str(match column {
                    Column::Name => &name,
                    Column::Tag => &tag,
                    Column::Digest => &digest,
                    Column::Id => &id,
                    Column::Created => &ago,
                    Column::Size => &size,
                    Column::History => &former,
                });
            }
            text.push('\n');
        }
    }
    ui.exact(columns::align(&text).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn print_by_template(
    ui: &mut Ui,
    set: &ImageSet<'_>,
    chosen: &[Chosen<'_>],
    args: &ImagesArgs,
    now: Timestamp,
    format: &str,
) -> Result<ExitCode, CommandError> {
    let mut rows = Vec::new();
    for &Chosen { image, created } in chosen {
        let (size, history) = (human::size(set.size(image)?), set.names_history(image)?);
        for (name, tag) in name_tag_pairs(&image.names) {
            let former = former_names(&history, &name, &tag);
            rows.push(Ok(Value::Struct(vec![
                Field::new("Tag", tag),
                Field::new("ID", shown_id(image, args)),
                Field::new("Name", name),
                Field::new("Digest", digest_of(image)),
                Field::new("Created", created.as_second()),
                Field::new("CreatedAt", made_ago(created, now)),
                Field::new("Size", size.clone()),
                Field::new("CreatedAtRaw", created),
                Field::new("ReadOnly", image.read_only),
                Field::new("History", former),
            ])));
        }
    }
    let format = format.replace("\\t", "\t");
    ui.exact(template_table::render(&format, HEADINGS, rows.into_iter())?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

const HEADINGS: &[(&str, &str)] = &[
    ("Name", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedAt", "CREATED"),
    ("Size", "SIZE"),
    ("ReadOnly", "R/O"),
    ("History", "HISTORY"),
    // Buildah prints "<no value>" here.
    ("Digest", "DIGEST"),
];

/// Repository and tag of each name, as cells; one pair of `<none>` for an unnamed image.
fn name_tag_pairs(names: &[String]) -> Vec<(String, String)> {
    const NONE: &str = "<none>";
    if names.is_empty() {
        return vec![(NONE.to_owned(), NONE.to_owned())];
    }
    let cell = |text: &str| escape(text).into_owned();
    names
        .iter()
        .map(|name| match Reference::parse_qualified(name) {
            Ok(reference) => (cell(&reference.repository()), cell(reference.tag().unwrap_or(NONE))),
            Err(_) => (cell(name), NONE.to_owned()),
        })
        .collect()
}

/// The names that the image had before this one.
fn former_names(history: &[String], name: &str, tag: &str) -> String {
    let own = format!("{name}:{tag}");
    let rest = if history.first().is_some_and(|first| *first == own) { &history[1..] } else { history };
    if rest.is_empty() { "<none>".to_owned() } else { escape(&rest.join(", ")).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_names_leave_out_the_present_one() {
        let history = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let cases: [(&[&str], &str); 4] =
            [(&[], "<none>"), (&["a/b:1"], "<none>"), (&["a/b:1", "c/d:2"], "c/d:2"), (&["c/d:2", "a/b:1"], "c/d:2, a/b:1")];
        for (names, want) in cases {
            assert_eq!(former_names(&history(names), "a/b", "1"), want, "{names:?}");
        }
    }
}
