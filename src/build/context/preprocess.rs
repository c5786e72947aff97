//! Dockerfiles whose name ends with `.in`, by way of cpp(1), as Buildah does it.
//!
//! Invariant: cpp is a program of the system's directories and runs in an empty environment. Flags are the caller's; the file is handed over
//! on standard input.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::MemfdFlags;

const DIRECTORIES: [&str; 3] = ["/usr/bin", "/bin", "/usr/local/bin"];
/// The most letters of cpp's own words that are shown.
const MAX_SHOWN: usize = 2000;

/// The text after cpp, and what it had to say; or why there is none.
pub(super) fn preprocess(text: &[u8], quoted: Option<&Path>, flags: &[String]) -> Result<(Vec<u8>, String), String> {
    let program = DIRECTORIES.iter().map(|dir| Path::new(dir).join("cpp")).find(|path| path.is_file());
    let program = program.ok_or("a file whose name ends with .in is read through cpp, which is not installed")?;
    let input = kept(text).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.env_clear().env("PATH", DIRECTORIES.join(":")).env("LC_ALL", "C.UTF-8").stdin(Stdio::from(input)).arg("-E");
    if let Some(directory) = quoted {
        command.arg("-iquote").arg(directory);
    }
    command.args(["-traditional", "-undef", "-"]).args(flags);
    let output = command.output().map_err(|error| format!("starting cpp: {error}"))?;
    let said: String = String::from_utf8_lossy(&output.stderr).trim_end().chars().take(MAX_SHOWN).collect();
    if output.status.success() {
        return Ok((output.stdout, said));
    }
    let first = said.lines().find(|line| line.contains("error:")).or(said.lines().next());
    Err(format!("cpp: {}", first.unwrap_or("it failed without a word")))
}

fn kept(text: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("dockerfile", MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file)
}

/// The words of `BUILDAH_CPPFLAGS`: split at blanks, with quotes and backslashes as a shell reads them, and nothing else of a shell.
///
/// # Errors
/// A quote is not closed.
pub fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            letter if letter.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(letters.next()),
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        None => return Err("a quote is not closed"),
                        Some(letter) if letter == quote => break,
                        Some('\\') if quote == '"' => word.extend(letters.next()),
                        Some(letter) => word.push(letter),
                    }
                }
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_split_as_a_shell_would() {
        let cases: [(&str, &[&str]); 5] = [
            ("", &[]),
            ("-DA -DB=1", &["-DA", "-DB=1"]),
            ("  -DA='x y'\t\"-D B\" ", &["-DA=x y", "-D B"]),
            ("-DA=\\\"q\\\" ''", &["-DA=\"q\"", ""]),
            ("$HOME *", &["$HOME", "*"]),
        ];
        for (text, want) in cases {
            assert_eq!(words(text).unwrap(), want, "{text}");
        }
        assert!(words("-DA='x").is_err());
    }
}
