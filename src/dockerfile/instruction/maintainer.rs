//! `MAINTAINER name`

use super::{Arguments, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    if arguments.text.is_empty() {
        return Err(arguments.error("requires exactly one argument"));
    }
    Ok(Instruction::Metadata(Metadata::Maintainer(arguments.text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn the_text_stays_as_it_is() {
        assert_eq!(changed("MAINTAINER a <b>"), Ok(Metadata::Maintainer("a <b>".into())));
        assert_eq!(changed("MAINTAINER \"$A\""), Ok(Metadata::Maintainer("\"$A\"".into())));
        assert_eq!(changed("MAINTAINER"), Err("MAINTAINER requires exactly one argument".into()));
    }
}
