//! From the policy's contexts and the words of `--security-opt label=` to the labels of one container. Pure, but for the random categories.

use super::context::is_plain;
use super::{Context, Contexts, Error};

/// Categories of the usual policies: `c0` to `c1023`.
const CATEGORIES: u16 = 1024;
/// The level of files that belong to containers whose processes have no label: no confined process may use them.
const PRIVILEGED_LEVEL: &str = "s0:c1022,c1023";
/// So many pairs are drawn before all are tried in turn.
const DRAWS: usize = 1000;

/// One word of `label=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// `disable`: processes get no label.
    Disable,
    /// `user:`, of both labels.
    User(String),
    /// `role:`, of processes.
    Role(String),
    /// `type:`, of processes.
    Type(String),
    /// `level:`, of both.
    Level(String),
    /// `filetype:`, of files.
    FileType(String),
}

impl Word {
    /// Parses one word. `nested` is podman's alone, and none here, as in Buildah.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text == "disable" {
            return Ok(Self::Disable);
        }
        let (key, value) = text.split_once(':').ok_or_else(|| Error::BadWord(text.to_owned()))?;
        if !value.bytes().all(is_plain) || (key != "level" && value.contains(':')) {
            return Err(Error::InvalidLabel(text.to_owned()));
        }
        let value = value.to_owned();
        match key {
            "user" => Ok(Self::User(value)),
            "role" => Ok(Self::Role(value)),
            "type" => Ok(Self::Type(value)),
            "level" => Ok(Self::Level(value)),
            "filetype" => Ok(Self::FileType(value)),
            _ => Err(Error::UnknownKey(key.to_owned())),
        }
    }

    fn change(&self, process: &mut Context, mount: &mut Context) {
        match self {
            Self::Disable => {}
            Self::User(user) => (process.user, mount.user) = (user.clone(), user.clone()),
            Self::Role(role) => process.role.clone_from(role),
            Self::Type(kind) => process.kind.clone_from(kind),
            Self::Level(level) => (process.level, mount.level) = (level.clone(), level.clone()),
            Self::FileType(kind) => mount.kind.clone_from(kind),
        }
    }
}

/// The labels of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Of its processes; empty for none.
    pub process: String,
    /// Of its mounts, and so of its files; empty for none.
    pub mount: String,
}

impl Labels {
    /// The same labels for one command that is told `words`.
    pub fn changed(&self, words: &[Word], first: &str) -> Result<Self, Error> {
        if words.is_empty() {
            return Ok(self.clone());
        }
        if words.contains(&Word::Disable) {
            return Ok(Self { process: String::new(), mount: self.mount.clone() });
        }
        if self.process.is_empty() || self.mount.is_empty() {
            return Err(Error::Unlabelled(first.to_owned()));
        }
        let (mut process, mut mount) = (Context::parse(&self.process)?, Context::parse(&self.mount)?);
        words.iter().for_each(|word| word.change(&mut process, &mut mount));
        Ok(Self { process: process.to_string(), mount: mount.to_string() })
    }
}

/// How the labels of a new container are made, once it is known which ones the others have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelChoice {
    contexts: Contexts,
    words: Vec<Word>,
}

impl LabelChoice {
    /// From the contexts of the policy and the words that were given.
    pub fn new(contexts: Contexts, words: &[String]) -> Result<Self, Error> {
        Ok(Self { contexts, words: words.iter().map(|word| Word::parse(word)).collect::<Result<_, _>>()? })
    }

    /// The labels. `taken` says whether another container has a level.
    pub fn choose(&self, taken: &dyn Fn(&str) -> bool) -> Result<Labels, Error> {
        let text = |context: &Option<Context>| context.as_ref().map(Context::to_string).unwrap_or_default();
        let (Some(process), Some(mount)) = (&self.contexts.process, &self.contexts.file) else {
            return Ok(Labels { process: String::new(), mount: text(&self.contexts.file) });
        };
        if self.words.contains(&Word::Disable) {
            return Ok(Labels { process: String::new(), mount: mount.with_level(PRIVILEGED_LEVEL).to_string() });
        }
        let (mut process, mut mount) = (process.clone(), mount.clone());
        // A policy without levels has no categories either.
        if !process.level.is_empty() {
            let level = free_level(taken)?;
            (process, mount) = (process.with_level(&level), mount.with_level(&level));
        }
        self.words.iter().for_each(|word| word.change(&mut process, &mut mount));
        Ok(Labels { process: process.to_string(), mount: mount.to_string() })
    }
}

/// `s0` with two categories that nobody has.
fn free_level(taken: &dyn Fn(&str) -> bool) -> Result<String, Error> {
    let level =
        |low: u16, high: u16| Some(format!("s0:c{low},c{high}")).filter(|level| level != PRIVILEGED_LEVEL && !taken(level));
    for _ in 0..DRAWS {
        let number = getrandom::u32().map_err(|_| Error::NoFreeLevel)?;
        let (one, other) = ((number % u32::from(CATEGORIES)) as u16, ((number >> 16) % u32::from(CATEGORIES)) as u16);
        if one != other
            && let Some(level) = level(one.min(other), one.max(other))
        {
            return Ok(level);
        }
    }
    let mut pairs = (0..CATEGORIES).flat_map(|low| (low + 1..CATEGORIES).map(move |high| (low, high)));
    pairs.find_map(|(low, high)| level(low, high)).ok_or(Error::NoFreeLevel)
}
