//! `ENTRYPOINT command…`

use super::{Arguments, Instruction, Metadata, ParseError, cmd};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    cmd::command(arguments).map(|value| Instruction::Metadata(Metadata::Entrypoint(value)))
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(changed("ENTRYPOINT a b"), Ok(Metadata::Entrypoint(Command::Shell("a b".into()))));
        assert_eq!(changed("ENTRYPOINT [\"\"]"), Ok(Metadata::Entrypoint(Command::Exec(vec![String::new()]))));
        assert_eq!(changed("ENTRYPOINT []"), Ok(Metadata::Entrypoint(Command::Exec(vec![]))));
        assert_eq!(changed("ENTRYPOINT"), Ok(Metadata::Entrypoint(Command::Exec(vec![]))));
    }
}
