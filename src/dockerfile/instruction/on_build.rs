//! `ONBUILD instruction`

use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let trigger = arguments.some()?;
    let keyword = trigger.split_whitespace().next().unwrap_or_default().to_uppercase();
    match keyword.as_str() {
        "ONBUILD" => Err(arguments.error("can't be chained: `ONBUILD ONBUILD` isn't allowed")),
        "FROM" | "MAINTAINER" => Err(arguments.error(format!("{keyword} isn't allowed as an ONBUILD trigger"))),
        _ => Ok(Instruction::OnBuild(trigger.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn the_trigger_stays_as_it_is() {
        assert_eq!(parsed("ONBUILD RUN  a $A  b"), Ok(Instruction::OnBuild("RUN  a $A  b".into())));
        for text in ["ONBUILD", "ONBUILD ONBUILD RUN x", "ONBUILD from x", "ONBUILD MAINTAINER x"] {
            assert!(parsed(text).is_err(), "{text:?}");
        }
    }
}
