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
