//! `MAINTAINER name`

use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    if arguments.text.is_empty() {
        return Err(arguments.error("requires exactly one argument"));
    }
    Ok(Instruction::Maintainer(arguments.text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn the_text_stays_as_it_is() {
        assert_eq!(parsed("MAINTAINER a <b>"), Ok(Instruction::Maintainer("a <b>".into())));
        assert_eq!(parsed("MAINTAINER \"$A\""), Ok(Instruction::Maintainer("\"$A\"".into())));
        assert_eq!(parsed("MAINTAINER"), Err("MAINTAINER requires exactly one argument".into()));
    }
}
