//! `EXPOSE port[/protocol]…`

use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.some()?;
    let words = arguments.text.split_whitespace().map(|word| arguments.expand(word));
    Ok(Instruction::Expose(words.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn forms() {
        let ports = |words: &[&str]| Ok(Instruction::Expose(words.iter().map(|w| (*w).to_owned()).collect()));
        assert_eq!(parsed("EXPOSE 80 81/tcp 53/UDP 8000-8002"), ports(&["80", "81/tcp", "53/UDP", "8000-8002"]));
        assert_eq!(parsed("EXPOSE $A"), ports(&["1"]));
        assert_eq!(parsed("EXPOSE"), Err("EXPOSE requires at least one argument".into()));
    }
}
