//! `COPY [flags] source… destination`, `COPY [flags] ["source", …, "destination"]`; also what ADD has in common with it.

use super::{Arguments, File, Instruction, ParseError, cut};
use crate::dockerfile::expand::{self, InBody};
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
    /// Never empty: what is written as nothing is `.`, the working directory.
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
        from: arguments.flag_name("from")?,
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
        Some(heredoc) => file(arguments, heredoc).map(Source::File),
        None => arguments.expand(&word, part).map(Source::Path),
    };
    let sources = words.into_iter().map(source).collect::<Result<_, _>>()?;
    let destination = arguments.expand(&destination, part)?;
    let exclude = arguments.flag_values("exclude")?.into_iter().map(|(flag, value)| arguments.expand(value, flag.source));
    Ok(Files {
        sources,
        destination: if destination.is_empty() { ".".to_owned() } else { destination },
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

fn file(arguments: &Arguments<'_>, heredoc: &Heredoc) -> Result<File, ParseError> {
    let content = heredoc.content();
    let content = match (heredoc.expansion, arguments.reading) {
        (Expansion::Nothing, _) => Ok(content),
        (Expansion::Variables, Reading::Check) => expand::check_body(&content, arguments.escape).map(|()| String::new()),
        (Expansion::Variables, Reading::With(lookup)) => expand::expand_body(&content, arguments.escape, lookup),
    };
    let content = content.map_err(|InBody { error, offset }| {
        let mut error = arguments.error(format!("{}: {error}", cut(&heredoc.name)));
        (error.span.start, error.span.end) = heredoc.place(offset);
        error
    })?;
    Ok(File { name: heredoc.name.clone(), content })
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    fn copy(text: &str) -> Result<Copy, String> {
        match parsed(text)? {
            Instruction::Copy(copy) => Ok(copy),
            other => panic!("{text:?} is {other:?}"),
        }
    }

    /// The sources, a here-document as its name and content.
    fn sources(text: &str) -> Vec<String> {
        let source = |source| match source {
            Source::Path(path) => path,
            Source::File(file) => format!("{}={}", file.name, file.content),
        };
        copy(text).expect(text).files.sources.into_iter().map(source).collect()
    }

    #[test]
    fn sources_and_a_destination() {
        let cases = [
            ("COPY a b", &["a"][..], "b"),
            ("COPY a  b\tc/ /d/", &["a", "b", "c/"], "/d/"),
            ("COPY $A x$A /$A", &["1", "x1"], "/1"),
            (r#"COPY ["a b", "$A", "c d"]"#, &["a b", "1"], "c d"),
            ("COPY a\\ b c", &["a", "b"], "c"),
            ("COPY \"a\" 'b'", &["a"], "b"),
            ("COPY [a] b", &["[a]"], "b"),
            ("COPY ${N:-x} /", &["x"], "/"),
            ("COPY a $N", &["a"], "."),
            ("COPY a \"\"", &["a"], "."),
            (r#"COPY ["a", ""]"#, &["a"], "."),
        ];
        for (text, expected, destination) in cases {
            assert_eq!(sources(text), expected, "{text:?}");
            assert_eq!(copy(text).map(|copy| copy.files.destination), Ok(destination.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn files_in_the_text() {
        assert_eq!(sources("COPY <<a.txt /\nx $A \\$A '$A' \\n\na.txt\n"), ["a.txt=x 1 $A '1' \\n\n"]);
        assert_eq!(sources("COPY <<'E' /\nx $A \\$A\nE\n"), ["E=x $A \\$A\n"]);
        assert_eq!(sources("COPY <<-E f <<F /\n\t$A\n\tE\n\tb\nF\n"), ["E=1\n", "f", "F=\tb\n"]);
        assert_eq!(sources("COPY <<\"a b\" /\nx\na b\n"), ["a b=x\n"]);
        assert_eq!(sources("COPY --chmod=600 <<E /\nE\n"), ["E="]);
    }

    #[test]
    fn flags() {
        let found =
            copy("COPY --from=s$A --chown=u:$A --chmod=u+x --link --parents --exclude=*.o --exclude=$A a b").expect("a COPY");
        assert_eq!((found.from.as_deref(), found.parents), (Some("s1"), true));
        let files = found.files;
        assert_eq!((files.owner.as_deref(), files.mode.as_deref(), files.link), (Some("u:1"), Some("u+x"), Some(true)));
        assert_eq!(files.exclude, ["*.o", "1"]);
        assert_eq!(copy("COPY --link=false a b").map(|copy| copy.files.link), Ok(Some(false)));
        assert_eq!(copy("COPY --link=TRUE a b").map(|copy| copy.files.link), Ok(Some(true)));
        assert_eq!(copy("COPY a b").map(|copy| copy.files.link), Ok(None));
        assert_eq!(sources("COPY -- --a b"), ["--a"]);
    }

    #[test]
    fn errors() {
        let cases = [
            ("COPY", "COPY requires at least two arguments: what to copy, and where to"),
            ("COPY []", "COPY requires at least two arguments: what to copy, and where to"),
            ("COPY a", "COPY requires at least two arguments, but only one was provided: the destination is missing"),
            ("COPY --from=$N a b", "COPY has no value specified for --from="),
            ("COPY --from= a b", "COPY has no value specified for --from="),
            ("COPY [\"a\", 1]", "COPY when using JSON array syntax, arrays must be comprised of strings only"),
            ("COPY --form=x a b", "COPY has an unknown flag: --form"),
            ("COPY --checksum=x a b", "COPY has an unknown flag: --checksum"),
            ("COPY --link=yes a b", "COPY --link expects true or false, not \"yes\""),
            ("COPY --from=a --from=b a b", "COPY --from is given more than once"),
            ("COPY --parents --parents a b", "COPY --parents is given more than once"),
            ("COPY a <<E\nE\n", "COPY can not have a here-document as its destination"),
            ("COPY <<E /\n${\nE\n", "COPY E: syntax error: bad substitution: missing or bad name in ${…}"),
            ("COPY ${a b c", "COPY \"${a\": syntax error: missing '}' in ${…}"),
        ];
        for (text, error) in cases {
            assert_eq!(copy(text), Err(error.to_owned()), "{text:?}");
        }
    }
}
