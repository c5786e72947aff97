//! `CMD command…`

use super::{Arguments, Command, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    command(arguments).map(|value| Instruction::Metadata(Metadata::Cmd(value)))
}

/// A command line: a JSON array is words, anything else a text for the shell. Variables are the shell's business.
pub(super) fn command(arguments: &Arguments<'_>) -> Result<Command, ParseError> {
    Ok(match arguments.json()? {
        Some(words) => Command::Exec(words),
        None if arguments.text.is_empty() => Command::Exec(Vec::new()),
        None => Command::Shell(arguments.text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn forms() {
        let shell = |text: &str| Ok(Metadata::Cmd(Command::Shell(text.into())));
        let exec = |words: &[&str]| Ok(Metadata::Cmd(Command::Exec(words.iter().map(|w| (*w).to_owned()).collect())));
        assert_eq!(changed("CMD a b"), shell("a b"));
        assert_eq!(changed("CMD  a   \"b c\"  "), shell("a   \"b c\""));
        assert_eq!(changed("CMD $A"), shell("$A"));
        assert_eq!(changed(r#"CMD ["a" "b"]"#), shell(r#"["a" "b"]"#));
        assert_eq!(changed("CMD ['a']"), shell("['a']"));
        assert_eq!(changed(r#"CMD ["a","$A"]"#), exec(&["a", "$A"]));
        assert_eq!(changed("CMD []"), exec(&[]));
        assert_eq!(changed("CMD"), exec(&[]));
        assert!(changed(r#"CMD ["a", 1]"#).unwrap_err().contains("arrays must be comprised of strings only"));
    }
}
