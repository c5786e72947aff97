//! `SHELL ["word", …]`

use super::{Arguments, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    arguments.some()?;
    match arguments.json()? {
        Some(words) if words.is_empty() => Err(arguments.error("requires at least one argument")),
        Some(words) => Ok(Instruction::Metadata(Metadata::Shell(words))),
        None => Err(arguments.error("requires the arguments to be in JSON form")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn only_json() {
        let words = vec!["/bin/bash".to_owned(), "-c".to_owned()];
        assert_eq!(changed(r#"SHELL ["/bin/bash", "-c"]"#), Ok(Metadata::Shell(words)));
        assert_eq!(changed("SHELL /bin/x"), Err("SHELL requires the arguments to be in JSON form".into()));
        assert_eq!(changed("SHELL []"), Err("SHELL requires at least one argument".into()));
        assert_eq!(changed("SHELL"), Err("SHELL requires at least one argument".into()));
    }
}
