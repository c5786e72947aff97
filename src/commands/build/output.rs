//! `--output`: words to places.

use std::path::PathBuf;

use crate::commands::CommandError;
use crate::transport::copy::Platform;

use super::report::shown;

/// Where the files of the image go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// A directory; where several platforms are built, one below it for each.
    Directory(PathBuf),
    /// A directory that several platforms share.
    Shared(PathBuf),
    /// An archive.
    Tar(PathBuf),
    /// An archive on standard output.
    Stdout,
}

impl Destination {
    /// Where the files of one of several platforms go. As with BuildKit: `DIR/linux_arm64`.
    pub(super) fn of(&self, platform: &Platform) -> Self {
        match self {
            Self::Directory(path) => Self::Directory(path.join(shown(platform).replace('/', "_"))),
            other => other.clone(),
        }
    }
}

/// Refuses an archive for several platforms: the last one's would be all that it holds.
pub(super) fn check(destinations: &[Destination], platforms: usize) -> Result<(), CommandError> {
    let is_archive = |destination: &Destination| matches!(destination, Destination::Tar(_) | Destination::Stdout);
    if platforms < 2 || !destinations.iter().any(is_archive) {
        return Ok(());
    }
    let hint = "with a directory (--output DIR) there is one below it for each platform".to_owned();
    Err(CommandError::usage("--output: an archive holds the files of one platform, and several are wanted").hinting(Some(hint)))
}

/// What `--output` says: `PATH`, `-`, `type=local,dest=DIR`, `type=tar,dest=FILE`; `dest=-` is standard output. With
/// `platform-split=false` several platforms share a directory.
pub(super) fn parse(word: &str) -> Result<Destination, CommandError> {
    let wrong = |text: String| Err(CommandError::usage(text));
    if word == "-" {
        return Ok(Destination::Stdout);
    }
    if !word.contains('=') {
        return match word {
            "" => wrong("invalid build output option: it is empty".to_owned()),
            path => Ok(Destination::Directory(PathBuf::from(path))),
        };
    }
    let (mut kind, mut dest, mut split) = (None, None, None);
    for field in word.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return wrong(format!("invalid build output options {word:?}, expected format key=value"));
        };
        let slot = match key {
            "type" => &mut kind,
            "dest" => &mut dest,
            "platform-split" => &mut split,
            _ => return wrong(format!("unrecognized key {key:?} in build output option: {word:?}")),
        };
        if slot.replace(value).is_some() {
            return wrong(format!("duplicate {key:?} in build output option: {word:?}"));
        }
    }
    let Some(kind) = kind else { return wrong(format!("missing required key \"type\" in build output option: {word:?}")) };
    let Some(dest) = dest.filter(|dest| !dest.is_empty()) else {
        return wrong(format!("missing required key \"dest\" in build output option: {word:?}"));
    };
    let is_shared = match (split, kind) {
        (None | Some("true"), "local") | (None, _) => false,
        (Some("false"), "local") => true,
        _ => return wrong(format!("invalid build output option {word:?}: platform-split is true or false, for type=local")),
    };
    match (kind, dest) {
        ("tar", "-") => Ok(Destination::Stdout),
        ("tar", file) => Ok(Destination::Tar(PathBuf::from(file))),
        ("local", "-") => wrong(format!("invalid build output option {word:?}, type=local can not be used with dest=-")),
        ("local", directory) if is_shared => Ok(Destination::Shared(PathBuf::from(directory))),
        ("local", directory) => Ok(Destination::Directory(PathBuf::from(directory))),
        (other, _) => {
            let hint = "there are local and tar; an image is written elsewhere by coracle push".to_owned();
            Err(CommandError::usage(format!("invalid type {other:?} selected for build output options {word:?}"))
                .hinting(Some(hint)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_directories_and_archives() {
        let directory = |path: &str| Destination::Directory(path.into());
        for (word, want) in [
            ("out", directory("out")),
            ("-", Destination::Stdout),
            ("type=local,dest=out", directory("out")),
            ("dest=a b,type=local", directory("a b")),
            ("type=tar,dest=x.tar", Destination::Tar("x.tar".into())),
            ("type=tar,dest=-", Destination::Stdout),
            ("type=local,dest=out,platform-split=true", directory("out")),
            ("type=local,dest=out,platform-split=false", Destination::Shared("out".into())),
        ] {
            assert_eq!(parse(word).unwrap(), want, "{word}");
        }
        for (word, words) in [
            ("", "is empty"),
            ("type=foo,dest=x", "invalid type \"foo\""),
            ("type=local", "missing required key \"dest\""),
            ("type=local,dest=", "missing required key \"dest\""),
            ("dest=x", "missing required key \"type\""),
            ("type=tar,dest=a,b=c", "unrecognized key \"b\" in build output option: \"type=tar,dest=a,b=c\""),
            ("type=tar,x", "expected format key=value"),
            ("type=tar,type=local,dest=x", "duplicate \"type\""),
            ("type=local,dest=x,platform-split=maybe", "platform-split is true or false"),
            ("type=tar,dest=x,platform-split=false", "for type=local"),
            ("type=local,dest=-", "can not be used with dest=-"),
        ] {
            let error = parse(word).unwrap_err().text();
            assert!(error.contains(words), "{word}: {error}");
        }
    }
}
