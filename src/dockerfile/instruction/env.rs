//! `ENV name=value …`, `ENV name value…`

use super::{Arguments, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let pairs = arguments.pairs()?;
    // A NUL can't be put into an environment.
    if pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(arguments.error("can not have a NUL in it"));
    }
    Ok(Instruction::Metadata(Metadata::Env(pairs)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn forms() {
        let cases = [
            ("X=1 Y=2", &[("X", "1"), ("Y", "2")][..]),
            ("X 1 2  3", &[("X", "1 2  3")]),
            ("X y=z", &[("X", "y=z")]),
            (r#"X="a b" Y=c\ d"#, &[("X", "a b"), ("Y", "c d")]),
            ("X=$A Y=$X Z=${A:-q}${N:-d}${A:+p}", &[("X", "1"), ("Y", ""), ("Z", "1dp")]),
            (r#"X='$A' Y="\$A""#, &[("X", "$A"), ("Y", "$A")]),
            ("X=", &[("X", "")]),
            ("X=\"\"", &[("X", "")]),
            ("X=a#b", &[("X", "a#b")]),
            ("\"X Y\"=z", &[("X Y", "z")]),
            ("X=a=b", &[("X", "a=b")]),
            ("X=a \\\nY=b", &[("X", "a"), ("Y", "b")]),
            (r#"x=a\nb y="a\nb""#, &[("x", "anb"), ("y", "a\\nb")]),
        ];
        for (text, pairs) in cases {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(changed(&format!("ENV {text}")), Ok(Metadata::Env(pairs)), "{text:?}");
        }
    }

    #[test]
    fn errors() {
        let cases = [
            ("ENV", "ENV requires at least one argument"),
            ("ENV X", "ENV must have two arguments"),
            ("ENV X=1 Y", "ENV can't find = in \"Y\". Must be of the form: name=value"),
            ("ENV =x", "ENV names can not be blank"),
            ("ENV X=\"a", "ENV \"\\\"a\": unexpected end of statement while looking for matching double-quote"),
        ];
        for (text, error) in cases {
            assert_eq!(changed(text), Err(error.to_owned()), "{text:?}");
        }
    }
}
