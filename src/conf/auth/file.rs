//! One file of credentials: reading, and writing without losing what is not known here.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Credentials, Error, Secret};

/// The oldest of Docker's files, whose entries stand at the top.
pub(super) const LEGACY: &str = ".dockercfg";
/// Docker Hub, as names of images have it.
pub(super) const HUB: &str = "docker.io";
/// The largest file that is read: 4 MiB.
const MAX_BYTES: u64 = 4 << 20;

/// A file of credentials.
pub(super) struct AuthFile {
    path: PathBuf,
    document: Map<String, Value>,
}

impl AuthFile {
    /// An empty one, which is written to `path`.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), document: Map::new() }
    }

    /// Reads `path`; `None` if there is no such file, or another user's.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        if let Err(source) = read {
            use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
            return match source.kind() {
                NotFound | NotADirectory | PermissionDenied => Ok(None),
                _ => Err(Error::Read { path: path.to_owned(), source }),
            };
        }
        let text = if text.trim().is_empty() { "{}" } else { &text };
        // Where it breaks off says nothing of the values; they are not repeated.
        let parsed: Result<Map<String, Value>, _> = serde_json::from_str(text);
        let problem = |error: serde_json::Error| format!("it is not JSON (line {}, column {})", error.line(), error.column());
        let parsed = parsed.map_err(|error| Error::Parse { path: path.to_owned(), problem: problem(error) })?;
        let legacy = path.file_name().is_some_and(|name| name == LEGACY);
        let document = if legacy { Map::from_iter([("auths".to_owned(), Value::Object(parsed))]) } else { parsed };
        Ok(Some(Self { path: path.to_owned(), document }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The helper that has the credentials of this registry.
    pub(super) fn helper_of(&self, registry: &str) -> Option<&str> {
        self.document.get("credHelpers")?.get(registry)?.as_str().filter(|name| !name.is_empty())
    }

    /// All registries with helpers.
    pub(super) fn helpers(&self) -> Vec<(String, String)> {
        let helpers = self.document.get("credHelpers").and_then(Value::as_object).into_iter().flatten();
        helpers.filter_map(|(registry, name)| Some((registry.clone(), name.as_str()?.to_owned()))).collect()
    }

    /// The helper that has all others.
    pub(super) fn store(&self) -> Option<&str> {
        self.document.get("credsStore")?.as_str().filter(|name| !name.is_empty())
    }

    /// The entry for the repository, its namespaces or the registry, and its key.
    pub(super) fn find(&self, registry: &str, repository: &str) -> Result<Option<(String, Credentials)>, Error> {
        let Some(auths) = self.document.get("auths").and_then(Value::as_object) else { return Ok(None) };
        let mut key = if repository.is_empty() { registry.to_owned() } else { format!("{registry}/{repository}") };
        loop {
            if let Some(credentials) = auths.get(&key).map(|entry| self.credentials(&key, entry)).transpose()?.flatten() {
                return Ok(Some((key, credentials)));
            }
            if key == registry {
                break;
            }
            key.truncate(key.rfind('/').unwrap_or_default());
        }
        for (key, entry) in auths {
            if normalized(key) == normalized(registry)
                && let Some(credentials) = self.credentials(key, entry)?
            {
                return Ok(Some((key.clone(), credentials)));
            }
        }
        Ok(None)
    }

    /// What an entry says; nothing if it is one that Docker leaves behind for a helper.
    fn credentials(&self, key: &str, entry: &Value) -> Result<Option<Credentials>, Error> {
        let wrong = |problem: &str| Error::Parse { path: self.path.clone(), problem: format!("the entry {key:?} {problem}") };
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credentials::IdentityToken(Secret::new(token))));
        }
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credentials::RegistryToken(Secret::new(token))));
        }
        if let Some(encoded) = text("auth") {
            let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.ok_or_else(|| wrong("is not encoded in base64"))?;
            let (user, password) = decoded.split_once(':').ok_or_else(|| wrong("has no password"))?;
            let password = Secret::new(password.trim_matches('\0'));
            return Ok(Some(Credentials::Password { user: user.to_owned(), password }));
        }
        Ok(text("username")
            .zip(text("password"))
            .map(|(user, password)| Credentials::Password { user: user.to_owned(), password: Secret::new(password) }))
    }

    /// Writes an entry.
    pub(super) fn set(&mut self, key: &str, user: &str, password: &Secret) -> Result<(), Error> {
        let auths = self.document.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        let Some(auths) = auths.as_object_mut() else {
            return Err(Error::Parse { path: self.path.clone(), problem: "auths is no object".to_owned() });
        };
        let encoded = STANDARD.encode(format!("{user}:{}", password.expose()));
        auths.insert(key.to_owned(), Value::Object(Map::from_iter([("auth".to_owned(), Value::String(encoded))])));
        Ok(())
    }

    /// Takes an entry away; `false` if there is none.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        self.document.get_mut("auths").and_then(Value::as_object_mut).is_some_and(|auths| auths.remove(key).is_some())
    }

    /// Takes all entries away.
    pub(super) fn clear(&mut self) {
        self.document.insert("auths".to_owned(), Value::Object(Map::new()));
        self.document.remove("credHelpers");
    }

    /// Replaces the file. A link to it stays one.
    pub(super) fn write(&self) -> Result<(), Error> {
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let failed = |source| Error::Write { path: path.clone(), source };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        let unique = getrandom::u64().map_err(|error| failed(std::io::Error::other(error)))?;
        let temporary = parent.join(format!(".auth-{unique:016x}.json"));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&self.text()?)?;
            file.sync_data()?;
            std::fs::rename(&temporary, &path)
        })();
        written.map_err(|source| {
            // It may not have been made at all.
            let _ = std::fs::remove_file(&temporary);
            failed(source)
        })
    }

    /// The JSON, indented as the other tools do.
    fn text(&self) -> Result<Vec<u8>, std::io::Error> {
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        self.document.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
        Ok(bytes)
    }
}

/// The registry that a key of Docker's stands for: a scheme goes, and with it the path; Docker Hub has one name. A key without a
/// scheme keeps its path: it is for a namespace only.
fn normalized(key: &str) -> &str {
    let stripped = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let registry = stripped.map_or(key, |rest| rest.split('/').next().unwrap_or_default());
    match registry {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        registry => registry,
    }
}
