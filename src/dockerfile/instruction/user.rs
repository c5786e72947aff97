//! `USER user[:group]`

use super::{Arguments, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.only().map(|value| Instruction::Metadata(Metadata::User(value)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(changed("USER u:g"), Ok(Metadata::User("u:g".into())));
        assert_eq!(changed("USER $A"), Ok(Metadata::User("1".into())));
        assert_eq!(changed("USER a b"), Ok(Metadata::User("a b".into())));
        assert_eq!(changed("USER"), Err("USER requires exactly one argument".into()));
    }
}
