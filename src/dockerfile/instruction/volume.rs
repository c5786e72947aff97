//! `VOLUME path…`, `VOLUME ["path", …]`

use super::{Arguments, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let words = arguments.list()?;
    if words.is_empty() {
        return Err(arguments.error("requires at least one argument"));
    }
    let path = |(word, part): (String, &str)| {
        let filled = |path: String| match path.trim() {
            "" => Err("specified can not be an empty string".to_owned()),
            path => Ok(path.to_owned()),
        };
        arguments.value(&word, part, filled).map(Option::unwrap_or_default)
    };
    Ok(Instruction::Metadata(Metadata::Volume(words.into_iter().map(path).collect::<Result<_, _>>()?)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn forms() {
        let paths = |words: &[&str]| Ok(Metadata::Volume(words.iter().map(|w| (*w).to_owned()).collect()));
        assert_eq!(changed("VOLUME /a /b"), paths(&["/a", "/b"]));
        assert_eq!(changed(r#"VOLUME ["/a","/b c"]"#), paths(&["/a", "/b c"]));
        assert_eq!(changed("VOLUME /v$A"), paths(&["/v1"]));
        assert_eq!(changed(r#"VOLUME /v1 ["/v2"]"#), paths(&["/v1", "[/v2]"]));
        assert_eq!(changed("VOLUME"), Err("VOLUME requires at least one argument".into()));
        assert_eq!(changed("VOLUME []"), Err("VOLUME requires at least one argument".into()));
        assert_eq!(changed(r#"VOLUME [" /a "]"#), paths(&["/a"]));
        for empty in ["[\"\"]", "[\" \"]", "\"\"", "/a $N"] {
            assert_eq!(changed(&format!("VOLUME {empty}")), Err("VOLUME specified can not be an empty string".into()));
        }
    }
}
