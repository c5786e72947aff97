//! `SHELL ["word", …]`

use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.some()?;
    match arguments.json()? {
        Some(words) if words.is_empty() => Err(arguments.error("requires at least one argument")),
        Some(words) => Ok(Instruction::Shell(words)),
        None => Err(arguments.error("requires the arguments to be in JSON form")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn only_json() {
        let words = vec!["/bin/bash".to_owned(), "-c".to_owned()];
        assert_eq!(parsed(r#"SHELL ["/bin/bash", "-c"]"#), Ok(Instruction::Shell(words)));
        assert_eq!(parsed("SHELL /bin/x"), Err("SHELL requires the arguments to be in JSON form".into()));
        assert_eq!(parsed("SHELL []"), Err("SHELL requires at least one argument".into()));
        assert_eq!(parsed("SHELL"), Err("SHELL requires at least one argument".into()));
    }
}
