//! `ENTRYPOINT command…`

use super::{Arguments, Instruction, ParseError, cmd};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    cmd::command(arguments).map(Instruction::Entrypoint)
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(parsed("ENTRYPOINT a b"), Ok(Instruction::Entrypoint(Command::Shell("a b".into()))));
        assert_eq!(parsed("ENTRYPOINT [\"\"]"), Ok(Instruction::Entrypoint(Command::Exec(vec![String::new()]))));
        assert_eq!(parsed("ENTRYPOINT []"), Ok(Instruction::Entrypoint(Command::Exec(vec![]))));
        assert_eq!(parsed("ENTRYPOINT"), Ok(Instruction::Entrypoint(Command::Exec(vec![]))));
    }
}
