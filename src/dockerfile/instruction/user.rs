//! `USER user[:group]`

use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.only().map(Instruction::User)
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(parsed("USER u:g"), Ok(Instruction::User("u:g".into())));
        assert_eq!(parsed("USER $A"), Ok(Instruction::User("1".into())));
        assert_eq!(parsed("USER a b"), Ok(Instruction::User("a b".into())));
        assert_eq!(parsed("USER"), Err("USER requires exactly one argument".into()));
    }
}
