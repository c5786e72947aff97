//! Secrets of the caller's (`--secret`): where they are, and their values on the way to one command.
//!
//! Invariant: a value is read when a command gets it, lives in a type that nothing prints, and reaches nothing but a file on a file
//! system in memory that ends with the command, the command's environment, and the server that it is a credential for. An id is a name, and never a path of the host
//! (known attacks A92, A93, A95).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::Error;
use super::etc_files::{ExtraFile, FileAccess};
use super::mount_args::Place;
use super::spec::checked_target;

/// Bytes of a secret; BuildKit's limit is half of it.
const LIMIT: u64 = 1 << 20;

const SYNTAX: &str = "incorrect secret flag format: should be --secret id=foo,src=bar[,env=ENV,type=file|env]";

/// `--secret id=…`: where its value comes from. Never the value itself, so that nothing that prints this shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub id: String,
    /// Where it is.
    pub source: SecretSource,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file of the host.
    File(PathBuf),
    /// In a variable of the caller.
    Env(String),
}

/// The value of a secret. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Vec<u8>);

/// A secret on its way to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// What it says.
    pub value: Value,
    /// The file that has it, absolute, and whose that is.
    pub file: Option<(PathBuf, Place)>,
    /// The variable that has it.
    pub variable: Option<String>,
}

impl Passed {
    /// The file that is bound in.
    pub(super) fn as_file(&self) -> Result<Option<ExtraFile>, Error> {
        let Some((target, place)) = &self.file else { return Ok(None) };
        let target = checked_target(target)?;
        Ok(Some(ExtraFile { target, content: self.value.0.clone(), place: *place, access: FileAccess::ReadOnly }))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Value {
    /// `name=value` for an environment.
    ///
    /// # Errors
    /// A value that no environment can hold.
    pub(super) fn as_variable(&self, name: &str) -> Result<String, String> {
        let text = std::str::from_utf8(&self.0).ok().filter(|text| !text.contains('\0'));
        text.map(|text| format!("{name}={text}"))
            .ok_or_else(|| format!("the secret for the variable {name:?} is no text: mount it as a file"))
    }
}

impl Value {
    /// One line of text for a header, without its end.
    ///
    /// # Errors
    /// It is something else.
    pub fn as_line(&self) -> io::Result<&str> {
        let text = std::str::from_utf8(&self.0).ok().map(|text| text.trim_end_matches(['\r', '\n']));
        let line = text.filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        line.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no line of plain text"))
    }
}

impl Secret {
    /// Parses the value of `--secret`. Whether the caller has a variable is asked of `has_variable`: without a source the id names one, or
    /// else a file.
    pub fn parse(text: &str, has_variable: &dyn Fn(&str) -> bool) -> Result<Self, String> {
        let syntax = |why: &str| if why.is_empty() { SYNTAX.to_owned() } else { format!("{SYNTAX}: {why}") };
        let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
        for word in text.split(',') {
            let (key, value) = word.split_once('=').ok_or_else(|| syntax(""))?;
            let slot = match key {
                "id" => &mut id,
                "source" | "src" => &mut file,
                "env" => &mut variable,
                "type" => &mut kind,
                other => return Err(syntax(&format!("unknown key {other:?}"))),
            };
            if slot.replace(value.to_owned()).is_some() {
                return Err(syntax(&format!("{key} is given twice")));
            }
        }
        let id = id.filter(|id| !id.is_empty() && !id.contains('\0')).ok_or_else(|| syntax(""))?;
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        let (file, variable) = (filled(file), filled(variable));
        let source = match kind.as_deref() {
            Some("file") => SecretSource::File(file.unwrap_or_else(|| id.clone()).into()),
            Some("env") => SecretSource::Env(variable.or(file).unwrap_or_else(|| id.clone())),
            Some(_) => return Err("invalid secret type, must be file or env".to_owned()),
            None => match (variable, file) {
                (Some(variable), _) => SecretSource::Env(variable),
                (None, Some(file)) => SecretSource::File(file.into()),
                (None, None) if has_variable(&id) => SecretSource::Env(id.clone()),
                (None, None) => SecretSource::File(id.clone().into()),
            },
        };
        Ok(Self { id, source })
    }

    /// Its value; an unset variable is an empty one, as for Buildah.
    ///
    /// # Errors
    /// The file cannot be read, is none, or has more than `LIMIT` bytes.
    pub fn read(&self) -> io::Result<Value> {
        match &self.source {
            SecretSource::Env(name) => Ok(Value(std::env::var_os(name).unwrap_or_default().into_vec())),
            SecretSource::File(path) => {
                // Opening a FIFO must not wait for its writer.
                let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
                if !file.metadata()?.is_file() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
                }
                let mut bytes = Vec::new();
                file.take(LIMIT + 1).read_to_end(&mut bytes)?;
                if bytes.len() as u64 > LIMIT {
                    let text = format!("a secret may have {LIMIT} bytes");
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
                }
                Ok(Value(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Secret, String> {
        Secret::parse(text, &|name| name == "HAVE")
    }

    #[test]
    fn where_a_secret_is() {
        let file = |path: &str| SecretSource::File(path.into());
        let env = |name: &str| SecretSource::Env(name.to_owned());
        for (text, source) in [
            ("id=s,src=/f", file("/f")),
            ("src=f,id=s", file("f")),
            ("id=s,source=f,type=file", file("f")),
            ("id=s,env=V", env("V")),
            ("id=s,type=env", env("s")),
            ("id=s,type=env,env=V", env("V")),
            ("id=HAVE", env("HAVE")),
            ("id=s", file("s")),
            ("id=HAVE,type=file", file("HAVE")),
        ] {
            assert_eq!(parsed(text).unwrap().source, source, "{text}");
        }
        for text in ["", "x", "id=", "src=f", "id=s,foo=1", "id=s,id=t", "id=s,src"] {
            assert!(parsed(text).unwrap_err().starts_with(SYNTAX), "{text}");
        }
        assert_eq!(parsed("id=s,type=foo").unwrap_err(), "invalid secret type, must be file or env");
    }

    #[test]
    fn only_a_regular_file_of_some_size_is_read_and_nothing_shows_it() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| Secret { id: "s".into(), source: SecretSource::File(dir.path().join(name)) }.read();
        std::fs::write(dir.path().join("key"), "hunter2").unwrap();
        let value = read("key").unwrap();
        assert_eq!(value.0, b"hunter2");
        assert_eq!(format!("{value:?}"), "(secret)");
        assert_eq!(value.as_variable("A").unwrap(), "A=hunter2");
        assert_eq!(Value(b"a b\r\n".to_vec()).as_line().unwrap(), "a b");
        assert!(Value(b"a\nb".to_vec()).as_line().is_err() && Value(vec![0xff]).as_line().is_err());
        assert!(Value(vec![b'a', 0]).as_variable("A").is_err() && Value(vec![0xff]).as_variable("A").is_err());
        std::fs::File::create(dir.path().join("large")).unwrap().set_len(LIMIT + 1).unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        for name in ["large", "fifo", ".", "missing"] {
            assert!(read(name).is_err(), "{name}");
        }
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("zero")).unwrap();
        assert!(read("zero").is_err());
    }
}
