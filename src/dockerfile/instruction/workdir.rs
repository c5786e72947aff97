//! `WORKDIR path`

use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.only().map(Instruction::Workdir)
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn forms() {
        for (text, path) in [("/a", "/a"), ("a", "a"), ("/$A", "/1"), ("\"/a b\"", "/a b"), ("a b", "a b")] {
            assert_eq!(parsed(&format!("WORKDIR {text}")), Ok(Instruction::Workdir(path.into())), "{text:?}");
        }
        assert_eq!(parsed("WORKDIR"), Err("WORKDIR requires exactly one argument".into()));
    }
}
