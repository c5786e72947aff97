//! `--filter` of `images`: `key=value` keeps, `key!=value` drops. Conditions are joined by AND; several `reference` conditions
//! of one kind are joined by OR.

use std::time::Duration;

use containers_storage::images::Listed;
use jiff::Timestamp;

use crate::container::find_image::find_image;
use crate::copier::pattern::Pattern;
use crate::image::{Reference, setting};
use crate::spelling::nearest;

use super::image_set::ImageSet;
use super::{CommandError, Context};

/// One condition, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    negated: bool,
    condition: Condition,
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    MadeAfter(Timestamp),
    MadeBefore(Timestamp),
    Containers(Users),
    Dangling(bool),
    Intermediate(bool),
    Id(String),
    Digest(String),
    Label { key: String, value: Option<String> },
    Manifest(bool),
    ReadOnly(bool),
    Reference(String),
}

/// Values of `containers=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Users {
    Some,
    None,
    /// Containers that a build tool made: those without metadata of podman's.
    External,
}

impl Filter {
    /// Drops what is only a step between other images; what a list shows without `--all`.
    pub(super) fn without_intermediate() -> Self {
        Self { negated: false, condition: Condition::Intermediate(false) }
    }

    /// Reads one `key=value`. A value that names an image is looked up in the store.
    pub(super) fn parse(context: &Context, text: &str, now: Timestamp) -> Result<Self, CommandError> {
        let invalid = || {
            CommandError::usage(format!(
                "invalid image filter {text:?}: must be in the format \"filter=value or filter!=value\""
            ))
        };
        let (key, value) = text.split_once('=').ok_or_else(invalid)?;
        let (key, negated) = key.strip_suffix('!').map_or((key, false), |key| (key, true));
        let condition = match key {
            "after" | "since" => Condition::MadeAfter(made(context, key, value)?),
            "before" => Condition::MadeBefore(made(context, key, value)?),
            "until" => Condition::MadeBefore(moment(value, now)?),
            "containers" => Condition::Containers(users(value)?),
            "dangling" => Condition::Dangling(truth(key, value)?),
            "intermediate" => Condition::Intermediate(truth(key, value)?),
            "manifest" => Condition::Manifest(truth(key, value)?),
            "readonly" => Condition::ReadOnly(truth(key, value)?),
            "id" => Condition::Id(value.to_owned()),
            "digest" => Condition::Digest(value.to_owned()),
            "label" => {
                let (key, value) = value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value.to_owned())));
                Condition::Label { key: key.to_owned(), value }
            }
            "reference" => Condition::Reference(value.to_owned()),
            _ => return Err(unsupported(key)),
        };
        Ok(Self { negated, condition })
    }

    /// Whether it is `intermediate=…`.
    pub(super) fn is_about_steps(&self) -> bool {
        matches!(self.condition, Condition::Intermediate(_))
    }

    fn is_reference(&self) -> bool {
        matches!(self.condition, Condition::Reference(_)) && !self.negated
    }

    fn keeps(&self, set: &ImageSet<'_>, image: &Listed) -> Result<bool, CommandError> {
        let holds = match &self.condition {
            Condition::MadeAfter(moment) => ImageSet::created(image) > *moment,
            Condition::MadeBefore(moment) => ImageSet::created(image) < *moment,
            Condition::Containers(users) => has_users(set, image, *users)?,
            Condition::Dangling(want) => set.is_dangling(image)? == *want,
            // Named images are no steps: answer without reading any config.
            Condition::Intermediate(want) => set.is_intermediate(image)? == *want,
            Condition::Id(prefix) => image.id.as_str().starts_with(prefix.as_str()),
            Condition::Digest(prefix) => {
                image.digest.as_ref().is_some_and(|digest| digest.as_str().starts_with(prefix.as_str()))
            }
            Condition::Label { key, value } => has_label(&set.config(image).config.labels, key, value.as_deref()),
            Condition::Manifest(want) => set.is_list(image)? == *want,
            Condition::ReadOnly(want) => image.read_only == *want,
            Condition::Reference(pattern) => image.names.iter().any(|name| name_matches(pattern, name)),
        };
        Ok(holds != self.negated)
    }
}

/// The images that all filters keep.
pub(super) fn select<'s>(set: &'s ImageSet<'_>, filters: &[Filter]) -> Result<Vec<&'s Listed>, CommandError> {
    let mut kept = Vec::new();
    for image in set.all() {
        if keep(set, image, filters)? {
            kept.push(image);
        }
    }
    Ok(kept)
}

fn keep(set: &ImageSet<'_>, image: &Listed, filters: &[Filter]) -> Result<bool, CommandError> {
    let mut references = filters.iter().filter(|filter| filter.is_reference()).peekable();
    if references.peek().is_some() {
        let mut any = false;
        for filter in references {
            any |= filter.keeps(set, image)?;
        }
        if !any {
            return Ok(false);
        }
    }
    for filter in filters.iter().filter(|filter| !filter.is_reference()) {
        if !filter.keeps(set, image)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn unsupported(key: &str) -> CommandError {
    const KNOWN: [&str; 12] = [
        "after",
        "since",
        "before",
        "containers",
        "dangling",
        "id",
        "digest",
        "intermediate",
        "label",
        "manifest",
        "readonly",
        "reference",
    ];
    let near = nearest(key, KNOWN.into_iter().chain(["until"]));
    CommandError::usage(format!("unsupported image filter {key:?}")).hinting(near.map(|near| format!("did you mean {near}=?")))
}

/// When the image that `operand` names was made.
fn made(context: &Context, key: &str, operand: &str) -> Result<Timestamp, CommandError> {
    let store = context.store()?;
    let found = find_image(store, context.registries()?, operand).map_err(|error| {
        CommandError::from(error).context(format!("could not find local image for filter {key:?}={operand:?}"))
    })?;
    Ok(found.image.created.parse().unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A moment: RFC 3339, a date, seconds since 1970, or a Go duration before `now`.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, CommandError> {
    let invalid =
        || CommandError::usage(format!("invalid value {text:?} for the filter \"until\": neither a time nor a duration"));
    if let Ok(nanoseconds) = setting::duration("until", text) {
        let before = Duration::from_nanos(nanoseconds.unsigned_abs());
        return if nanoseconds >= 0 { now.checked_sub(before) } else { now.checked_add(before) }.map_err(|_| invalid());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        return date.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| invalid());
    }
    let seconds = text.parse::<i64>().map_err(|_| invalid())?;
    Timestamp::from_second(seconds).map_err(|_| invalid())
}

fn truth(key: &str, value: &str) -> Result<bool, CommandError> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(CommandError::usage(format!(
            "non-boolean value {value:?} for {key} filter: strconv.ParseBool: parsing {value:?}: invalid syntax"
        ))),
    }
}

fn users(value: &str) -> Result<Users, CommandError> {
    match value {
        "true" => Ok(Users::Some),
        "false" => Ok(Users::None),
        "external" => Ok(Users::External),
        _ => Err(CommandError::usage(format!("unsupported value {value:?} for containers filter"))),
    }
}

fn has_users(set: &ImageSet<'_>, image: &Listed, users: Users) -> Result<bool, CommandError> {
    let mut found = set.containers()?.iter().filter(|container| container.image.as_ref() == Some(&image.id));
    Ok(match users {
        Users::Some => found.next().is_some(),
        Users::None => found.next().is_none(),
        Users::External => found.any(|container| container.metadata.is_empty()),
    })
}

/// Whether there is a label `key` (which may have wildcards) and, if a value is given, with that value.
fn has_label(labels: &std::collections::BTreeMap<String, String>, key: &str, value: Option<&str>) -> bool {
    labels.iter().any(|(name, content)| path_match(key, name) && value.is_none_or(|value| value == content))
}

/// Whether `pattern` matches the name in one of the forms that people use: whole, without domain, last component; each with and
/// without the tag.
fn name_matches(pattern: &str, name: &str) -> bool {
    let Ok(reference) = Reference::parse_qualified(name) else { return path_match(pattern, name) };
    let repository = reference.repository();
    let suffix = name.strip_prefix(repository.as_str()).unwrap_or_default();
    let path = reference.path();
    let last = path.rsplit('/').next().unwrap_or(path);
    [repository.as_str(), path, last]
        .into_iter()
        .any(|form| path_match(pattern, form) || path_match(pattern, &format!("{form}{suffix}")))
}

/// Go's `path.Match`: wildcards stop at slashes. A malformed pattern matches nothing.
fn path_match(pattern: &str, text: &str) -> bool {
    pattern.split('/').count() == text.split('/').count()
        && pattern
            .split('/')
            .zip(text.split('/'))
            .all(|(pattern, part)| Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_go_does() {
        let cases = [
            ("*", "abc", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("a*c", "abbbc", true),
            ("a*c", "ab", false),
            ("?b", "ab", true),
            ("?b", "/b", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a**b", "ab", true),
            ("", "", true),
            ("", "a", false),
            ("*a*a*a*a*b", &"a".repeat(200), false),
        ];
        for (pattern, text, want) in cases {
            assert_eq!(path_match(pattern, text), want, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn labels_match_by_key_and_value() {
        let labels = [("a".to_owned(), "b".to_owned()), ("x.y".to_owned(), String::new())].into();
        let cases =
            [("a", None, true), ("a", Some("b"), true), ("a", Some("c"), false), ("x.*", None, true), ("z", None, false)];
        for (key, value, want) in cases {
            assert_eq!(has_label(&labels, key, value), want, "{key} {value:?}");
        }
    }

    #[test]
    fn moments_are_times_or_durations() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a time");
        let cases = [
            ("2025-01-01T00:00:00Z", Some("2025-01-01T00:00:00Z")),
            ("1700000000", Some("2023-11-14T22:13:20Z")),
            ("soon", None),
        ];
        for (text, want) in cases {
            let want = want.map(|want| want.parse::<Timestamp>().expect("a time"));
            assert_eq!(moment(text, now).ok(), want, "{text}");
        }
    }
}
