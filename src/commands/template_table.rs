//! `--format` of the lists (`images`, `containers`): a template for each row, in aligned columns, with Buildah's habits.
//!
//! A template that begins with `table` is printed below its headings, also with `--noheading`. Every blank of the template becomes a
//! tab, also between the words of one cell; scripts rely on the padding.

use crate::template::{Template, Value};

use super::{CommandError, columns};

/// The lines of a list. `headings` has the heading of each field.
pub(super) fn render(
    format: &str,
    headings: &[(&str, &str)],
    rows: impl Iterator<Item = Result<Value, CommandError>>,
) -> Result<String, CommandError> {
    let (table, format) = match format.strip_prefix("table") {
        Some(row) => (true, row.trim()),
        None => (false, format),
    };
    let failed = |error| CommandError::from(error).context("Template parsing error");
    let template = Template::parse("image", &format.replace(' ', "\t")).map_err(failed)?;
    let mut text = String::new();
    if table {
        let headings = headings.iter().map(|(field, heading)| ((*field).to_owned(), Value::from(*heading)));
        text.push_str(&template.render_headings(&Value::Map(headings.collect())).map_err(failed)?);
        text.push('\n');
    }
    for row in rows {
        text.push_str(&template.render(&row?).map_err(failed)?);
        text.push('\n');
    }
    Ok(columns::align(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Field;

    #[test]
    fn templates_become_columns() {
        let headings = [("Name", "REPOSITORY"), ("Tag", "TAG")];
        let rows = || {
            [("a", "1"), ("long", "2")]
                .into_iter()
                .map(|(name, tag)| Ok(Value::Struct(vec![Field::new("Name", name), Field::new("Tag", tag)])))
        };
        let cases = [
            ("{{.Name}} {{.Tag}}", "a      1\nlong   2\n"),
            ("{{.Name}}\t{{.Tag}}", "a      1\nlong   2\n"),
            ("{{.Name}}\\t{{.Tag}}", "a\\t1\nlong\\t2\n"),
            ("table {{.Name}} {{.Tag}}", "REPOSITORY   TAG\na            1\nlong         2\n"),
            ("table{{.Name}}", "REPOSITORY\na\nlong\n"),
            ("table  {{upper .Tag}} ", "TAG\n1\n2\n"),
            ("table {{.Nope}}{{if .Tag}}{{end}}", "Error"),
            ("x", "x\nx\n"),
        ];
        for (format, want) in cases {
            let text = render(format, &headings, rows()).unwrap_or_else(|error| {
                assert!(error.text().starts_with("Template parsing error: template: image:1:"), "{}", error.text());
                "Error".to_owned()
            });
            assert_eq!(text, want, "{format:?}");
        }
    }
}
