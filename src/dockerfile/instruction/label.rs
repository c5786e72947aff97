//! `LABEL key=value …`, `LABEL key value…`

use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.pairs().map(Instruction::Label)
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn forms() {
        let cases = [
            ("a=b c=\"d e\"", &[("a", "b"), ("c", "d e")][..]),
            ("a b c", &[("a", "b c")]),
            ("\"a b\"=c", &[("a b", "c")]),
            ("a=$A", &[("a", "1")]),
            ("$A=x", &[("1", "x")]),
        ];
        for (text, pairs) in cases {
            let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(parsed(&format!("LABEL {text}")), Ok(Instruction::Label(pairs)), "{text:?}");
        }
        assert_eq!(parsed("LABEL a"), Err("LABEL must have two arguments".into()));
        assert_eq!(parsed("LABEL"), Err("LABEL requires at least one argument".into()));
        assert!(parsed("LABEL a=\"x\ny\"").is_err());
    }
}
