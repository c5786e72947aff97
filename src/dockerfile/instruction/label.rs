//! `LABEL key=value …`, `LABEL key value…`

use super::{Arguments, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.pairs().map(|value| Instruction::Metadata(Metadata::Label(value)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
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
            assert_eq!(changed(&format!("LABEL {text}")), Ok(Metadata::Label(pairs)), "{text:?}");
        }
        assert_eq!(changed("LABEL a"), Err("LABEL must have two arguments".into()));
        assert_eq!(changed("LABEL"), Err("LABEL requires at least one argument".into()));
        assert!(changed("LABEL a=\"x\ny\"").is_err());
    }
}
