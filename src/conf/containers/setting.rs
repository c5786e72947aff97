//! One file into the settings: every value on its way into a field, with the name and the line that an error needs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ContainersConf;
use crate::conf::{Error, Presence, read_file};

/// The settings so far, and which lists are in append mode.
#[derive(Default)]
pub(super) struct Merger {
    pub(super) conf: ContainersConf,
    appending: BTreeMap<String, bool>,
}

/// Debian's file is 24 kB of comments around twenty lines, and the parser is four times as long about it. Lines stay lines, so that
/// an error still names the right one. In a multi-line string a `#` at the beginning of a line is no comment.
fn without_comments(text: &str) -> Cow<'_, str> {
    if text.contains("\"\"\"") || text.contains("'''") {
        return Cow::Borrowed(text);
    }
    let keep = |line: &str| !line.trim_start().starts_with('#');
    Cow::Owned(text.split('\n').map(|line| if keep(line) { line } else { "" }).collect::<Vec<_>>().join("\n"))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

impl Merger {
    pub(super) fn add(&mut self, path: &Path, presence: Presence) -> Result<(), Error> {
        let Some(text) = read_file(path, presence)? else { return Ok(()) };
        let text = without_comments(&text);
        let tables = DeTable::parse(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            Error::Parse { path: path.to_owned(), message: format!("line {line}: {}", error.message()) }
        })?;
        for (name, table) in tables.get_ref() {
            let DeValue::Table(table) = table.get_ref() else { continue };
            for (key, value) in table {
                let place = Place { path, text: &text, offset: key.span().start };
                let name = name.get_ref();
                let key = key.get_ref();
                let mut setting =
                    Setting { place, name: format!("{name}.{key}"), value: value.get_ref(), appending: &mut self.appending };
                match name.as_ref() {
                    "containers" => self.conf.containers.set(key, &mut setting)?,
                    "engine" => self.conf.engine.set(key, &mut setting)?,
                    "network" => self.conf.network.set(key, &mut setting)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Where a value stands.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
    offset: usize,
}

/// A value on its way into a field.
pub(super) struct Setting<'a> {
    place: Place<'a>,
    /// `table.key`
    name: String,
    value: &'a DeValue<'a>,
    appending: &'a mut BTreeMap<String, bool>,
}

const LIST: &str = "a list of strings, which may hold {append=true}";

impl Setting<'_> {
    fn wrong(&self, wanted: &str) -> Error {
        Error::Value {
            path: self.place.path.to_owned(),
            line: line_of(self.place.text, self.place.offset),
            key: self.name.clone(),
            message: format!("expected {wanted}, found {}", self.value.type_str()),
        }
    }

    pub(super) fn text(&self, field: &mut Option<String>) -> Result<(), Error> {
        *field = Some(self.value.as_str().ok_or_else(|| self.wrong("a string"))?.to_owned());
        Ok(())
    }

    pub(super) fn path(&self, field: &mut Option<PathBuf>) -> Result<(), Error> {
        *field = Some(PathBuf::from(self.value.as_str().ok_or_else(|| self.wrong("a string"))?));
        Ok(())
    }

    pub(super) fn flag(&self, field: &mut Option<bool>) -> Result<(), Error> {
        *field = Some(self.value.as_bool().ok_or_else(|| self.wrong("true or false"))?);
        Ok(())
    }

    /// A whole number that the field can hold.
    pub(super) fn number<T: TryFrom<i64>>(&self, field: &mut Option<T>) -> Result<(), Error> {
        let number = self.value.as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.and_then(|number| T::try_from(number).ok());
        *field = Some(number.ok_or_else(|| self.wrong("a number in its range"))?);
        Ok(())
    }

    /// A list of strings, in which `{append=true}` may stand anywhere.
    pub(super) fn list(&mut self, field: &mut Option<Vec<String>>) -> Result<(), Error> {
        let mut append = self.appending.get(&self.name).copied().unwrap_or_default();
        let mut items = Vec::new();
        for item in self.value.as_array().ok_or_else(|| self.wrong(LIST))? {
            match item.get_ref() {
                DeValue::String(text) => items.push(text.clone().into_owned()),
                DeValue::Table(table) if table.len() == 1 => {
                    let attribute = table.get("append").and_then(|value| value.get_ref().as_bool());
                    append = attribute.ok_or_else(|| self.wrong(LIST))?;
                }
                _ => return Err(self.wrong(LIST)),
            }
        }
        self.appending.insert(self.name.clone(), append);
        match field {
            Some(present) if append => present.append(&mut items),
            _ => *field = Some(items),
        }
        Ok(())
    }

    pub(super) fn paths(&mut self, field: &mut Option<Vec<PathBuf>>) -> Result<(), Error> {
        // Paths of these settings are text already: TOML is UTF-8.
        let mut texts =
            field.take().map(|paths| paths.into_iter().filter_map(|path| path.into_os_string().into_string().ok()).collect());
        self.list(&mut texts)?;
        *field = texts.map(|texts: Vec<String>| texts.into_iter().map(PathBuf::from).collect());
        Ok(())
    }

    /// Names with lists of paths; a later file adds names, and replaces the lists of those it has.
    pub(super) fn table_of_paths(&self, field: &mut BTreeMap<String, Vec<PathBuf>>) -> Result<(), Error> {
        let wrong = || self.wrong("a table of lists of paths");
        for (name, paths) in self.value.as_table().ok_or_else(wrong)? {
            let paths = paths.get_ref().as_array().ok_or_else(wrong)?.iter();
            let paths = paths.map(|path| path.get_ref().as_str().map(PathBuf::from)).collect::<Option<Vec<_>>>();
            field.insert(name.get_ref().clone().into_owned(), paths.ok_or_else(wrong)?);
        }
        Ok(())
    }
}
