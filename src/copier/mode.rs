//! `--chmod`: permission bits in octal, or changes of those that are there (chmod(1)). Pure.
//!
//! ```text
//! OCTAL | CHANGE[,CHANGE…]      CHANGE = [ugoa…] (+ | - | =) (r w x X s t … | u | g | o) …
//! ```
//!
//! Without letters before the sign all three are meant, whatever the umask: what an image becomes does not depend on the caller's.

use std::str::FromStr;

/// How many changes one text may have.
const MOST: usize = 16;

/// What becomes of permission bits: changes, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    list: [Change; MOST],
    count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Change {
    /// The bits of those who are meant, with set-user-ID, set-group-ID and sticky bit where they belong to them.
    who: u32,
    action: Action,
    bits: Bits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Action {
    #[default]
    Add,
    Remove,
    Assign,
    /// The special bits of a directory, too.
    Replace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bits {
    /// For everybody, and whether they may execute if somebody may (`X`).
    Plain { bits: u32, execute_if_any: bool },
    /// Those that this one has: by how many bits it is shifted.
    Of(u32),
}

impl Default for Bits {
    fn default() -> Self {
        Self::Plain { bits: 0, execute_if_any: false }
    }
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHERS: u32 = 0o1007;
const STICKY: u32 = 0o1000;

impl FromStr for ModeChange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).map(Self::octal).ok_or(());
        }
        let mut changes = Self { list: [Change::default(); MOST], count: 0 };
        for clause in text.split(',') {
            changes.read(clause)?;
        }
        Ok(changes)
    }
}

impl ModeChange {
    /// The bits are these.
    fn octal(mode: u32) -> Self {
        let mut list = [Change::default(); MOST];
        list[0] = Change { who: 0o7777, action: Action::Replace, bits: Bits::Plain { bits: mode, execute_if_any: false } };
        Self { list, count: 1 }
    }

    /// What `mode`, permission bits of a directory or of something else, becomes.
    #[must_use]
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        self.list.iter().take(self.count).fold(mode & 0o7777, |mode, change| change.apply(mode, is_directory))
    }

    fn read(&mut self, clause: &str) -> Result<(), ()> {
        let signs = clause.find(['+', '-', '=']).ok_or(())?;
        let (letters, mut rest) = clause.split_at(signs);
        let mut who = 0;
        for letter in letters.chars() {
            who |= match letter {
                'u' => USER,
                'g' => GROUP,
                'o' => OTHERS,
                'a' => USER | GROUP | OTHERS,
                _ => return Err(()),
            };
        }
        if who == 0 {
            who = USER | GROUP | OTHERS;
        }
        while let Some(sign) = rest.chars().next() {
            let action = match sign {
                '+' => Action::Add,
                '-' => Action::Remove,
                '=' => Action::Assign,
                _ => return Err(()),
            };
            let after = rest.get(1..).unwrap_or_default();
            let (permissions, next) = after.split_at(after.find(['+', '-', '=']).unwrap_or(after.len()));
            let slot = self.list.get_mut(self.count).ok_or(())?;
            *slot = Change { who, action, bits: bits(permissions)? };
            self.count += 1;
            rest = next;
        }
        Ok(())
    }
}

fn bits(permissions: &str) -> Result<Bits, ()> {
    match permissions {
        "u" => return Ok(Bits::Of(6)),
        "g" => return Ok(Bits::Of(3)),
        "o" => return Ok(Bits::Of(0)),
        _ => {}
    }
    let (mut bits, mut execute_if_any) = (0, false);
    for letter in permissions.chars() {
        bits |= match letter {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            's' => 0o6000,
            't' => STICKY,
            'X' => {
                execute_if_any = true;
                0
            }
            _ => return Err(()),
        };
    }
    Ok(Bits::Plain { bits, execute_if_any })
}

impl Change {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let bits = match self.bits {
            Bits::Of(shift) => ((mode >> shift) & 7) * 0o111,
            Bits::Plain { bits, execute_if_any } if execute_if_any && (is_directory || mode & 0o111 != 0) => bits | 0o111,
            Bits::Plain { bits, .. } => bits,
        };
        let bits = bits & self.who;
        match self.action {
            Action::Add => mode | bits,
            Action::Remove => mode & !bits,
            // Set-user-ID and set-group-ID of a directory are left alone unless they are named, as by chmod(1).
            Action::Assign if is_directory => mode & !(self.who & 0o1777) | bits,
            Action::Assign | Action::Replace => mode & !self.who | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_or_changed() {
        for (text, before, file, directory) in [
            ("755", 0o644, 0o755, 0o755),
            ("0", 0o644, 0, 0),
            ("4755", 0o644, 0o4755, 0o4755),
            ("u+x", 0o644, 0o744, 0o744),
            ("+x", 0o644, 0o755, 0o755),
            ("a+x", 0o644, 0o755, 0o755),
            ("go-rwx", 0o755, 0o700, 0o700),
            ("u+x,go-w", 0o666, 0o744, 0o744),
            ("a+rX", 0o600, 0o644, 0o755),
            ("a+rX", 0o700, 0o755, 0o755),
            ("u=rwX,go=rX", 0o600, 0o644, 0o755),
            ("g=u", 0o640, 0o660, 0o660),
            ("o=g-w", 0o664, 0o664, 0o664),
            ("g+s", 0o755, 0o2755, 0o2755),
            ("u+s,o+t", 0o755, 0o5755, 0o5755),
            ("+t", 0o777, 0o1777, 0o1777),
            ("u=rw", 0o4755, 0o655, 0o4655),
            ("a=", 0o777, 0, 0),
            ("u+r-w+x", 0o200, 0o500, 0o500),
            ("=rw", 0o755, 0o666, 0o666),
        ] {
            let change: ModeChange = text.parse().unwrap_or_else(|()| panic!("{text}"));
            assert_eq!((change.apply(before, false), change.apply(before, true)), (file, directory), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let long = ["u+x"; MOST + 1].join(",");
        for text in
            ["", "8", "10000", "u", "x", "u+q", "u+x,", ",", "+x y", "u*x", "z+x", "u+ug", "-1", "07 55", "0o755", "u+x;"]
        {
            assert_eq!(text.parse::<ModeChange>(), Err(()), "{text:?}");
        }
        assert!(long.parse::<ModeChange>().is_err());
    }

    /// The same answers as chmod(1), which counts the umask where nobody is named.
    #[test]
    fn chmod_agrees() {
        let dir = tempfile::tempdir().unwrap();
        let (file, directory) = (dir.path().join("file"), dir.path().join("directory"));
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&directory).unwrap();
        for text in
            ["u+x", "a+rX", "go-rwx", "u=rwX,go=rX", "g=u", "g=u,o=g-w", "a=", "u=rws", "a+st", "o+t", "ug=rwx,o=", "g-x+w=r"]
        {
            for before in [0o644u32, 0o755, 0o600, 0o700, 0o4755, 0o2750, 0o1777, 0o421] {
                for (path, is_directory) in [(&file, false), (&directory, true)] {
                    use std::os::unix::fs::PermissionsExt;
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(before)).unwrap();
                    let chmod = std::process::Command::new("chmod").arg(text).arg("--").arg(path).status().unwrap();
                    assert!(chmod.success(), "{text}");
                    let after = std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
                    let ours = text.parse::<ModeChange>().unwrap().apply(before, is_directory);
                    assert_eq!(format!("{ours:o}"), format!("{after:o}"), "{text} of {before:o}, directory: {is_directory}");
                }
            }
        }
    }
}
