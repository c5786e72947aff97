//! `WORKDIR path`

use super::{Arguments, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.only().map(|value| Instruction::Metadata(Metadata::Workdir(value)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn forms() {
        for (text, path) in [("/a", "/a"), ("a", "a"), ("/$A", "/1"), ("\"/a b\"", "/a b"), ("a b", "a b")] {
            assert_eq!(changed(&format!("WORKDIR {text}")), Ok(Metadata::Workdir(path.into())), "{text:?}");
        }
        assert_eq!(changed("WORKDIR"), Err("WORKDIR requires exactly one argument".into()));
    }
}
