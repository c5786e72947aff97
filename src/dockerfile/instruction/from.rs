//! `FROM [--platform=…] [--after=stage] image [AS name]`

use super::super::step::Step;
use super::super::words::{Arguments, Reading};
use super::super::{Lookup, ParseError};

/// The start of a stage, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// The image or stage, variables not replaced.
    pub image: String,
    /// `--platform`, variables not replaced.
    pub platform: Option<String>,
    /// `AS name`, as written. Any word can be one.
    pub name: Option<String>,
    /// `--after`: a stage that has to be built before, though nothing is taken from it.
    pub after: Option<String>,
    /// The line itself.
    pub step: Step,
}

/// What a FROM names when variables are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The image or stage; never empty.
    pub image: String,
    /// `--platform`; never empty.
    pub platform: Option<String>,
    /// `AS name`; never empty.
    pub name: Option<String>,
    /// `--after`
    pub after: Option<String>,
}

impl From {
    /// Replaces variables: those of the ARGs before the first FROM, and the built-in ones.
    pub fn base(&self, lookup: Lookup<'_>) -> Result<Base, ParseError> {
        self.step.with_arguments(Reading::With(lookup), |arguments| {
            let (word, name) = image_and_name(&arguments)?;
            let image = arguments.value(word, word, |image| match image.is_empty() {
                true => Err(format!("base name ({word}) should not be blank")),
                false => Ok(image),
            })?;
            Ok(Base {
                image: image.unwrap_or_default(),
                platform: arguments.flag_name("platform")?,
                name: name.map(|name| arguments.value(name, name, named)).transpose()?.flatten(),
                after: arguments.flag_name("after")?,
            })
        })
    }
}

/// Reads the line, and finds what is wrong with it whatever variables stand for.
pub(in super::super) fn read(step: Step) -> Result<From, ParseError> {
    let (image, name, platform, after) = step.with_arguments(Reading::Check, |arguments| {
        let (image, name) = image_and_name(&arguments)?;
        arguments.value(image, image, |image| if image.is_empty() { Err("names no image".to_owned()) } else { Ok(()) })?;
        name.map(|name| arguments.value(name, name, named)).transpose()?;
        let written = |name: &str| -> Result<Option<String>, ParseError> {
            arguments.flag_name(name)?;
            Ok(arguments.flag(name)?.map(|(_, value)| value.to_owned()))
        };
        Ok((image.to_owned(), name.map(str::to_owned), written("platform")?, written("after")?))
    })?;
    Ok(From { image, platform, name, after, step })
}

/// A name that a stage can have.
fn named(name: String) -> Result<String, String> {
    if name.is_empty() { Err("has an empty name for the stage".to_owned()) } else { Ok(name) }
}

fn image_and_name<'a>(arguments: &Arguments<'a>) -> Result<(&'a str, Option<&'a str>), ParseError> {
    let words: Vec<&str> = arguments.text.split_whitespace().collect();
    match words.as_slice() {
        [image] => Ok((image, None)),
        [image, word, name] if word.eq_ignore_ascii_case("as") => Ok((image, Some(name))),
        _ => Err(arguments.error("requires either one argument, or three: FROM <source> [AS <name>]")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::parse;
    use super::*;

    fn from(text: &str) -> Result<From, String> {
        parse(text).map(|mut file| file.stages.swap_remove(0).from).map_err(|error| error.to_string())
    }

    #[test]
    fn forms() {
        let cases = [
            ("FROM a", "a", None, None),
            ("from a as b", "a", Some("b"), None),
            ("FROM a AS 1x.B", "a", Some("1x.B"), None),
            ("FROM --platform=linux/$A a AS b", "a", Some("b"), Some("linux/$A")),
            ("FROM docker://a:1@sha256:00", "docker://a:1@sha256:00", None, None),
            ("FROM \\\n a \\\n as b", "a", Some("b"), None),
        ];
        for (text, image, name, platform) in cases {
            let found = from(text).expect(text);
            assert_eq!(
                (found.image.as_str(), found.name.as_deref(), found.platform.as_deref()),
                (image, name, platform),
                "{text:?}"
            );
        }
        assert_eq!(from("FROM --after=x a").expect("a FROM").after.as_deref(), Some("x"));
    }

    #[test]
    fn variables_are_replaced_when_they_are_known() {
        let lookup = |name: &str| (name == "V").then(|| "7".to_owned());
        let base = |text: &str| from(text).expect(text).base(&lookup).map_err(|error| error.to_string());
        let found = base("FROM ${N:-deb}ian:${V} AS \"s$V\"").expect("a base");
        assert_eq!(found, Base { image: "debian:7".into(), platform: None, name: Some("s7".into()), after: None });
        assert_eq!(from("FROM a AS $V").expect("a FROM").name.as_deref(), Some("$V"));
        assert_eq!(base("FROM --platform=linux/$V a").expect("a base").platform.as_deref(), Some("linux/7"));
        assert_eq!(base("FROM $N"), Err("FROM base name ($N) should not be blank".to_owned()));
        assert_eq!(base("FROM a AS $N"), Err("FROM has an empty name for the stage".to_owned()));
        for flag in ["platform", "after"] {
            let refused = base(&format!("FROM --{flag}=$N a"));
            assert_eq!(refused, Err(format!("FROM has no value specified for --{flag}=")));
        }
    }

    #[test]
    fn errors() {
        let cases = [
            ("FROM", "FROM requires either one argument, or three"),
            ("FROM a b", "FROM requires either one argument, or three"),
            ("FROM a AS", "FROM requires either one argument, or three"),
            ("FROM a IS b", "FROM requires either one argument, or three"),
            ("FROM a AS b c", "FROM requires either one argument, or three"),
            ("FROM ''", "FROM names no image"),
            ("FROM --plattform=x a", "FROM has an unknown flag: --plattform"),
            ("FROM --platform a", "FROM --platform needs a value"),
            ("FROM --platform= a", "FROM has no value specified for --platform="),
            ("FROM a AS ''", "FROM has an empty name for the stage"),
            ("FROM a AS ${b", "FROM \"${b\": syntax error: missing '}'"),
            ("FROM ${a", "FROM \"${a\": syntax error: missing '}'"),
        ];
        for (text, problem) in cases {
            let error = from(text).unwrap_err();
            assert!(error.starts_with(problem), "{text:?}: {error}");
        }
    }
}
