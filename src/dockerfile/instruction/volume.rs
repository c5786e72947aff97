//! `VOLUME path…`, `VOLUME ["path", …]`

use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let paths = arguments.list()?;
    if paths.iter().any(String::is_empty) {
        return Err(arguments.error("specified can not be an empty string"));
    }
    Ok(Instruction::Volume(paths))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn forms() {
        let paths = |words: &[&str]| Ok(Instruction::Volume(words.iter().map(|w| (*w).to_owned()).collect()));
        assert_eq!(parsed("VOLUME /a /b"), paths(&["/a", "/b"]));
        assert_eq!(parsed(r#"VOLUME ["/a","/b c"]"#), paths(&["/a", "/b c"]));
        assert_eq!(parsed("VOLUME /v$A"), paths(&["/v1"]));
        assert_eq!(parsed(r#"VOLUME /v1 ["/v2"]"#), paths(&["/v1", "[/v2]"]));
        assert_eq!(parsed("VOLUME"), Err("VOLUME requires at least one argument".into()));
        assert_eq!(parsed("VOLUME []"), Err("VOLUME requires at least one argument".into()));
        assert_eq!(parsed("VOLUME [\"\"]"), Err("VOLUME specified can not be an empty string".into()));
    }
}
