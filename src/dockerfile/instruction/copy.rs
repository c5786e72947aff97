//! `COPY [flags] source… destination`, `COPY [flags] ["source", …, "destination"]`; also what ADD has in common with it.

use super::{Arguments, File, Instruction, ParseError, cut};
use crate::dockerfile::expand;
use crate::dockerfile::heredoc::{Expansion, Heredoc};
use crate::dockerfile::lines::is_blank;
use crate::dockerfile::words::{Reading, split_words};

/// Files from a context, a stage or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// `--from`: the name or number of a stage, a context or an image.
    pub from: Option<String>,
    /// `--parents`: keep the directories of the sources.
    pub parents: bool,
    /// What ADD has, too.
    pub files: Files,
}

/// Sources, a destination, and how the files are to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// One or more, in their order.
    pub sources: Vec<Source>,
    /// Never empty.
    pub destination: String,
    /// `--chown`
    pub owner: Option<String>,
    /// `--chmod`
    pub mode: Option<String>,
    /// `--link`; none where it is not given.
    pub link: Option<bool>,
    /// `--exclude`, in their order.
    pub exclude: Vec<String>,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, a pattern, or (ADD) an address.
    Path(String),
    /// A here-document; variables are replaced in its content.
    File(File),
}

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    Ok(Instruction::Copy(Copy {
        from: arguments.flag_text("from")?,
        parents: arguments.switch("parents")?.unwrap_or_default(),
        files: files(arguments)?,
    }))
}

/// What COPY and ADD have in common.
pub(super) fn files(arguments: &Arguments<'_>) -> Result<Files, ParseError> {
    let mut words = words(arguments)?;
    let Some((destination, part)) = words.pop() else {
        return Err(arguments.error("requires at least two arguments: what to copy, and where to"));
    };
    if words.is_empty() {
        let problem = "requires at least two arguments, but only one was provided: the destination is missing";
        return Err(arguments.error(problem));
    }
    if Heredoc::announced(&destination).is_some() && !arguments.heredocs.is_empty() {
        return Err(arguments.error_at(part, "can not have a here-document as its destination"));
    }
    let mut heredocs = arguments.heredocs.iter();
    let source = |(word, part): (String, &str)| match Heredoc::announced(&word).and_then(|_| heredocs.next()) {
        Some(heredoc) => file(arguments, heredoc, part).map(Source::File),
        None => arguments.expand(&word, part).map(Source::Path),
    };
    let sources = words.into_iter().map(source).collect::<Result<_, _>>()?;
    let filled = |text: String| if text.is_empty() { Err("has an empty destination".to_owned()) } else { Ok(text) };
    let exclude = arguments.flag_values("exclude")?.into_iter().map(|(flag, value)| arguments.expand(value, flag.source));
    Ok(Files {
        sources,
        destination: arguments.value(&destination, part, filled)?.unwrap_or_default(),
        owner: arguments.flag_text("chown")?,
        mode: arguments.flag_text("chmod")?,
        link: arguments.switch("link")?,
        exclude: exclude.collect::<Result<_, _>>()?,
    })
}

/// The words as written, each with where it stands. The name of a here-document may have quotes and blanks in them; paths with blanks
/// need the JSON form.
fn words<'a>(arguments: &Arguments<'a>) -> Result<Vec<(String, &'a str)>, ParseError> {
    if arguments.heredocs.is_empty() || !arguments.text.contains(is_blank) {
        return arguments.list();
    }
    Ok(split_words(arguments.text, '\\').into_iter().map(|word| (word.to_owned(), word)).collect())
}

fn file(arguments: &Arguments<'_>, heredoc: &Heredoc, part: &str) -> Result<File, ParseError> {
    let content = heredoc.content();
    let content = match (heredoc.expansion, arguments.reading) {
        (Expansion::Nothing, _) => Ok(content),
        (Expansion::Variables, Reading::Check) => expand::check_body(&content, arguments.escape).map(|()| String::new()),
        (Expansion::Variables, Reading::With(lookup)) => expand::expand_body(&content, arguments.escape, lookup),
    };
    let content = content.map_err(|error| arguments.error_at(part, format!("{}: {error}", cut(&heredoc.name))))?;
    Ok(File { name: heredoc.name.clone(), content })
}
