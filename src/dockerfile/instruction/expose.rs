//! `EXPOSE port[/protocol]…`

use super::{Arguments, Instruction, Metadata, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let mut ports = Vec::new();
    for word in arguments.some()?.split_whitespace() {
        // One variable may hold several ports.
        ports.extend(arguments.expand(word, word)?.split_whitespace().map(str::to_owned));
    }
    Ok(Instruction::Metadata(Metadata::Expose(ports)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn forms() {
        let ports = |words: &[&str]| Ok(Metadata::Expose(words.iter().map(|w| (*w).to_owned()).collect()));
        assert_eq!(changed("EXPOSE 80 81/tcp 53/UDP 8000-8002"), ports(&["80", "81/tcp", "53/UDP", "8000-8002"]));
        assert_eq!(changed("EXPOSE $A"), ports(&["1"]));
        assert_eq!(changed("EXPOSE"), Err("EXPOSE requires at least one argument".into()));
    }
}
