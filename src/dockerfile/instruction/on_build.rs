//! `ONBUILD instruction`

use super::super::flags::split_flags;
use super::super::lines::is_blank;
use super::super::words::Reading;
use super::super::{Keyword, ParseErrorKind, Step};
use super::{Arguments, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let trigger = arguments.some()?;
    let (word, rest) = trigger.split_once(is_blank).unwrap_or((trigger, ""));
    let Some(keyword) = Keyword::find(word) else {
        let nearest = Keyword::nearest(&word.to_uppercase(), |keyword| refused(keyword).is_none());
        let kind = ParseErrorKind::Unknown { keyword: super::cut(word).to_uppercase(), nearest };
        return Err(ParseError { kind, span: arguments.line.span_of(word) });
    };
    if let Some(problem) = refused(keyword) {
        return Err(arguments.error_at(word, problem));
    }
    let (flags, text) = split_flags(rest);
    // It is read again where it is used, by then without the directives of this file.
    let as_used = Arguments { keyword, text, flags: &flags, escape: '\\', reading: Reading::Check, ..*arguments };
    as_used.refuse_unknown_flags()?;
    super::read(&as_used)?;

    let mut text = trigger.to_owned();
    for heredoc in arguments.heredocs {
        text.push('\n');
        text.push_str(&heredoc.text);
        text.push_str(&heredoc.name);
    }
    Ok(Instruction::Metadata(Metadata::OnBuild(text)))
}

/// Refuses a trigger that can't be one.
pub(in super::super) fn allowed(step: &Step) -> Result<(), ParseError> {
    match refused(step.keyword) {
        Some(problem) => {
            let kind = ParseErrorKind::Arguments { keyword: Keyword::OnBuild, problem };
            Err(ParseError { kind, span: step.line().span })
        }
        None => Ok(()),
    }
}

fn refused(keyword: Keyword) -> Option<String> {
    match keyword {
        Keyword::OnBuild => Some("can't be chained: `ONBUILD ONBUILD` isn't allowed".to_owned()),
        Keyword::From | Keyword::Maintainer => {
            Some(format!("can't have {keyword}: {keyword} isn't allowed as an ONBUILD trigger"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changed, parsed};
    use super::*;

    #[test]
    fn the_trigger_stays_as_it_is() {
        let trigger = |text: &str| Ok(Metadata::OnBuild(text.to_owned()));
        assert_eq!(changed("ONBUILD RUN  a $A  b"), trigger("RUN  a $A  b"));
        assert_eq!(changed("ONBUILD RUN <<-E\n\ta\nE\n"), trigger("RUN <<-E\n\ta\nE"));
        for text in ["ONBUILD", "ONBUILD ONBUILD RUN x", "ONBUILD from x", "ONBUILD MAINTAINER x", "ONBUILD RUNN x"] {
            assert!(parsed(text).is_err(), "{text:?}");
        }
        for (word, meant) in [("RUNN", Some(Keyword::Run)), ("FROMM", None), ("ONBULD", None), ("FOO", None)] {
            let error = crate::dockerfile::file::first_step(&format!("ONBUILD {word} x")).unwrap_err();
            assert_eq!(error.kind, ParseErrorKind::Unknown { keyword: word.to_owned(), nearest: meant }, "{word}");
        }
        assert_eq!(parsed("ONBUILD COPY --form=x a b"), Err("COPY has an unknown flag: --form".to_owned()));
    }
}
