//! `ADD [flags] source… destination`, `ADD [flags] ["source", …, "destination"]`

use super::copy::{Files, files};
use super::{Arguments, Instruction, ParseError};

/// Files from the context, archives, or addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// `--checksum`
    pub checksum: Option<String>,
    /// `--keep-git-dir`
    pub keep_git_dir: Option<bool>,
    /// `--unpack`; where it is not given, local archives are unpacked and those from elsewhere are not.
    pub unpack: Option<bool>,
    /// What COPY has, too.
    pub files: Files,
}

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    Ok(Instruction::Add(Add {
        checksum: arguments.flag_text("checksum")?,
        keep_git_dir: arguments.switch("keep-git-dir")?,
        unpack: arguments.switch("unpack")?,
        files: files(arguments)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::copy::Source;
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn forms() {
        let text = "ADD --checksum=sha256:$A --keep-git-dir --unpack=false --exclude=x https://example.com/a?b=c#d /e";
        let Ok(Instruction::Add(add)) = parsed(text) else { panic!("no ADD") };
        assert_eq!((add.checksum.as_deref(), add.keep_git_dir, add.unpack), (Some("sha256:1"), Some(true), Some(false)));
        assert_eq!(add.files.sources, [Source::Path("https://example.com/a?b=c#d".into())]);
        let Ok(Instruction::Add(plain)) = parsed("ADD a b") else { panic!("no ADD") };
        assert_eq!((plain.checksum, plain.keep_git_dir, plain.unpack), (None, None, None));
        let Ok(Instruction::Add(file)) = parsed("ADD <<E /x\n$A\nE\n") else { panic!("no ADD") };
        assert!(matches!(&file.files.sources[..], [Source::File(file)] if file.content == "1\n"));
        assert_eq!(parsed("ADD --from=x a b"), Err("ADD has an unknown flag: --from".into()));
        assert_eq!(parsed("ADD --parents a b"), Err("ADD has an unknown flag: --parents".into()));
    }
}
