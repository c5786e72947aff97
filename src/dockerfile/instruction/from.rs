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
    /// `AS name`, as written. Any word can be one; no variables are replaced.
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
    /// `--platform`, if it is not empty.
    pub platform: Option<String>,
    /// `--after`
    pub after: Option<String>,
}

impl From {
    /// Replaces variables: those of the ARGs before the first FROM, and the built-in ones.
    pub fn base(&self, lookup: Lookup<'_>) -> Result<Base, ParseError> {
        self.step.with_arguments(Reading::With(lookup), |arguments| {
            let word = arguments.text.split_whitespace().next().unwrap_or_default();
            let image = arguments.value(word, word, |image| match image.is_empty() {
                true => Err(format!("base name ({word}) should not be blank")),
                false => Ok(image),
            })?;
            Ok(Base {
                image: image.unwrap_or_default(),
                platform: arguments.flag_text("platform")?.filter(|platform| !platform.is_empty()),
                after: arguments.flag_text("after")?,
            })
        })
    }
}

/// Reads the line, and finds what is wrong with it whatever variables stand for.
pub(in super::super) fn read(step: Step) -> Result<From, ParseError> {
    let (image, name, platform, after) = step.with_arguments(Reading::Check, |arguments| {
        let (image, name) = image_and_name(&arguments)?;
        arguments.value(image, image, |image| if image.is_empty() { Err("names no image".to_owned()) } else { Ok(()) })?;
        let written = |name: &str| -> Result<Option<String>, ParseError> {
            arguments.flag_text(name)?;
            Ok(arguments.flag(name)?.map(|(_, value)| value.to_owned()))
        };
        Ok((image.to_owned(), name.map(str::to_owned), written("platform")?, written("after")?))
    })?;
    Ok(From { image, platform, name, after, step })
}

fn image_and_name<'a>(arguments: &Arguments<'a>) -> Result<(&'a str, Option<&'a str>), ParseError> {
    let words: Vec<&str> = arguments.text.split_whitespace().collect();
    match words.as_slice() {
        [image] => Ok((image, None)),
        [image, word, name] if word.eq_ignore_ascii_case("as") => Ok((image, Some(name))),
        _ => Err(arguments.error("requires either one argument, or three: FROM <source> [AS <name>]")),
    }
}
