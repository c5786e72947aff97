//! `ARG name[=default] …`

use super::super::words::split_words;
use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let mut found = Vec::new();
    each(arguments, &mut |name, default| found.push((name, default)))?;
    Ok(Instruction::Arg(found))
}

/// Gives each argument to `take` before the next is read.
pub(in super::super) fn each(
    arguments: &Arguments<'_>,
    take: &mut dyn FnMut(String, Option<String>),
) -> Result<(), ParseError> {
    for word in split_words(arguments.some()?, arguments.escape) {
        match word.split_once('=') {
            Some((name, value)) => take(arguments.name(name)?, Some(arguments.expand(value, word)?)),
            None => take(arguments.name(word)?, None),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn forms() {
        let cases = [
            ("ARG a", &[("a", None)][..]),
            ("ARG a=b c d=", &[("a", Some("b")), ("c", None), ("d", Some(""))]),
            ("ARG a=$A b=\"x y\" c='$A'", &[("a", Some("1")), ("b", Some("x y")), ("c", Some("$A"))]),
            ("ARG a=1 b=$a", &[("a", Some("1")), ("b", Some(""))]),
            ("ARG a=b=c", &[("a", Some("b=c"))]),
        ];
        for (text, arguments) in cases {
            let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
            assert_eq!(parsed(text), Ok(Instruction::Arg(arguments)), "{text:?}");
        }
        assert_eq!(parsed("ARG"), Err("ARG requires at least one argument".into()));
        assert_eq!(parsed("ARG =x"), Err("ARG names can not be blank".into()));
        assert_eq!(parsed("ARG a=${A?x}${N?gone}"), Err("ARG \"${A?x}${N?gone}\": N: gone".into()));
    }
}
