//! Credentials for registries: containers-auth.json(5) and Docker's config.json, with credential helpers.
//!
//! ```text
//! places  credential-helpers of registries.conf, in order: programs, and containers-auth.json for the files; else the files alone
//! read    --creds; else the named file (--authfile, REGISTRY_AUTH_FILE, DOCKER_CONFIG/config.json), and only that;
//!         else $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json, ~/.docker/config.json, ~/.dockercfg
//! in each credHelpers of the registry → auths: repository, its namespaces, registry → credsStore
//! write   the named file, else the first of the others; of the places the first that keeps it, and logout asks all of them
//! ```
//!
//! Invariants: a key is compared whole or up to a slash, never by its ending (known attacks A103). A secret has no text form but
//! [`Secret::expose`]. A file is replaced as a whole, readable by its owner only. A helper that a file names for a registry and that does not work is an error,
//! never another place to look (A104); where registries.conf lists several places the next one is asked, as it says, and the error stands
//! if nobody has anything.

mod docker_credential;
mod file;

use std::fmt;
use std::path::{Path, PathBuf};

use self::file::AuthFile;
use super::{Environment, Registries};

/// A password or token. It is not printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends or stores it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a registry is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that the registry's token server changes for another one.
    IdentityToken(Secret),
    /// A token that the registry itself takes.
    RegistryToken(Secret),
}

impl Credentials {
    /// `USER[:PASSWORD]`, the value of `--creds`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() {
            return Err(Error::NoUser);
        }
        Ok(Self::Password { user: user.to_owned(), password: Secret::new(password) })
    }
}

/// Credentials, and where they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What was found.
    pub credentials: Credentials,
    /// The file or helper, for messages.
    pub source: String,
}

/// Why credentials cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--creds` without a user.
    #[error("credentials can't be empty")]
    NoUser,
    /// A file cannot be read.
    #[error("reading the credentials in {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("reading the credentials in {path:?}: {problem}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong. Never a value.
        problem: String,
    },
    /// A file cannot be written.
    #[error("writing the credentials to {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no place for a file.
    #[error("there is no place for credentials: neither XDG_RUNTIME_DIR nor HOME is set")]
    NoPlace,
    /// registries.conf, which may name helpers, cannot be read.
    #[error("looking for credential-helpers in registries.conf")]
    Settings(#[source] Box<super::Error>),
    /// A helper does not work.
    #[error("credential helper {name:?}: {problem}")]
    Helper {
        /// Its name, without `docker-credential-`.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The words are the other tools'.
    #[error("not logged into {0}")]
    NotLoggedIn(String),
    /// The same, with a hint.
    #[error(
        "not logged into {0} with current tool. Existing credentials were established via docker login. Please use docker logout instead"
    )]
    ByDocker(String),
}

/// Which form a file of credentials has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// containers-auth.json(5): keys may be repositories.
    #[default]
    Containers,
    /// Docker's: keys are registries, and Docker Hub has an address for a key.
    Docker,
}

/// Where credentials are, and those of the command line.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    environment: Environment,
    explicit: Option<PathBuf>,
    form: Form,
    given: Option<Credentials>,
    registries: Option<Registries>,
}

/// The word of `credential-helpers` for the files (containers-registries.conf(5)).
const FILES: &str = "containers-auth.json";

/// The key of Docker Hub in Docker's own files.
const HUB_KEY: &str = "https://index.docker.io/v1/";

impl Auth {
    /// The files of the environment, or the one of `--authfile`; `given` are the credentials of `--creds`. No I/O.
    pub fn new(environment: Environment, explicit: Option<PathBuf>, given: Option<Credentials>) -> Self {
        Self { environment, explicit, form: Form::Containers, given, registries: None }
    }

    /// The file of `--compat-auth-file`.
    pub fn docker_file(environment: Environment, path: PathBuf) -> Self {
        Self { environment, explicit: Some(path), form: Form::Docker, given: None, registries: None }
    }

    /// The same, with the helpers that registries.conf names. It is read when credentials are asked for.
    #[must_use]
    pub fn with_helpers_of(self, registries: &Registries) -> Self {
        Self { registries: Some(registries.clone()), ..self }
    }

    /// Who is asked, in order: helpers, and [`FILES`].
    fn places(&self) -> Result<Vec<String>, Error> {
        let listed = self.registries.as_ref().map(Registries::credential_helpers).transpose();
        let listed = listed.map_err(|source| Error::Settings(Box::new(source)))?.unwrap_or_default();
        Ok(if listed.is_empty() { vec![FILES.to_owned()] } else { listed.to_vec() })
    }

    /// The same without the credentials of the command line, for another registry than they are for.
    #[must_use]
    pub fn without_given(&self) -> Self {
        Self { given: None, ..self.clone() }
    }

    /// The same with these credentials for whichever registry is asked.
    #[must_use]
    pub fn with_given(&self, credentials: Credentials) -> Self {
        Self { given: Some(credentials), ..self.clone() }
    }

    /// The file that was asked for, by flag or variable. No other one counts then.
    fn named(&self) -> Option<PathBuf> {
        let docker = || self.environment.docker_config.as_ref().map(|dir| dir.join("config.json"));
        self.explicit.clone().or_else(|| self.environment.registry_auth_file.clone()).or_else(docker)
    }

    /// The files, in the order of reading.
    fn files(&self) -> Vec<PathBuf> {
        if let Some(path) = self.named() {
            return vec![path];
        }
        let mut files = vec![self.runtime_file()];
        files.extend(self.environment.config_home().map(|home| home.join("containers/auth.json")));
        files.extend(self.environment.home.as_ref().map(|home| home.join(".docker/config.json")));
        files.extend(self.environment.home.as_ref().map(|home| home.join(file::LEGACY)));
        files
    }

    fn runtime_file(&self) -> PathBuf {
        let user = || Path::new("/run/containers").join(self.environment.uid.unwrap_or_default().to_string());
        let runtime = self.environment.xdg_runtime_dir.as_ref().map(|dir| dir.join("containers"));
        runtime.unwrap_or_else(user).join("auth.json")
    }

    /// The file that a login is written to. Where a user has no runtime directory, that in the home directory, which all tools read.
    pub fn file_to_write(&self) -> Result<PathBuf, Error> {
        if let Some(path) = self.named() {
            return Ok(path);
        }
        let runtime = self.runtime_file();
        if self.environment.xdg_runtime_dir.is_some() || !self.environment.rootless {
            return Ok(runtime);
        }
        let home = self.environment.config_home().ok_or(Error::NoPlace)?;
        Ok(home.join("containers/auth.json"))
    }

    /// The credentials for `registry` (a host with an optional port, `docker.io` for Docker Hub), for `repository` (its path; empty for
    /// the whole registry) if there are special ones.
    pub fn find(&self, registry: &str, repository: &str) -> Result<Option<Found>, Error> {
        if let Some(credentials) = &self.given {
            return Ok(Some(Found { credentials: credentials.clone(), source: "--creds".to_owned() }));
        }
        let mut failed = None;
        for place in self.places()? {
            let found = match place.as_str() {
                FILES => self.find_in_files(registry, repository),
                name => self.find_by(name, registry, Path::new("registries.conf")),
            };
            match found {
                Ok(Some(found)) => {
                    log::debug!("credentials for {registry}: {}", found.source);
                    return Ok(Some(found));
                }
                Ok(None) => {}
                Err(error) => {
                    log::debug!("credentials for {registry}: {place}: {error}");
                    failed.get_or_insert(error);
                }
            }
        }
        log::debug!("no credentials for {registry}");
        failed.map_or(Ok(None), Err)
    }

    fn find_in_files(&self, registry: &str, repository: &str) -> Result<Option<Found>, Error> {
        for path in self.files() {
            let Some(file) = AuthFile::read(&path)? else { continue };
            if let Some(found) = self.find_in(&file, registry, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What the helper `name` has, which `of` names.
    fn find_by(&self, name: &str, server: &str, of: &Path) -> Result<Option<Found>, Error> {
        let credentials = docker_credential::get(&self.environment, name, server)?;
        let source = format!("the helper {name:?} of {}", of.display());
        Ok(credentials.map(|credentials| Found { credentials, source }))
    }

    fn find_in(&self, file: &AuthFile, registry: &str, repository: &str) -> Result<Option<Found>, Error> {
        let by = |name: &str, server: &str| self.find_by(name, server, file.path());
        if let Some(name) = file.helper_of(registry) {
            return by(name, registry);
        }
        if let Some((key, credentials)) = file.find(registry, repository)? {
            return Ok(Some(Found { credentials, source: format!("{key:?} in {}", file.path().display()) }));
        }
        match file.store() {
            Some(name) => by(name, if registry == file::HUB { HUB_KEY } else { registry }),
            None => Ok(None),
        }
    }

    /// Writes a login for `key`, a registry or a repository, and answers with the file or helper that has it now.
    pub fn log_in(&self, key: &str, user: &str, password: &Secret) -> Result<String, Error> {
        let mut failed = None;
        for place in self.places()? {
            let kept = match place.as_str() {
                FILES => self.log_in_to_file(key, user, password),
                name if key.contains('/') => Err(no_namespaces(name, key)),
                name => docker_credential::store(&self.environment, name, key, user, password)
                    .map(|()| format!("docker-credential-{name}")),
            };
            match kept {
                Ok(kept) => return Ok(kept),
                Err(error) => {
                    log::debug!("a login for {key}: {place}: {error}");
                    failed.get_or_insert(error);
                }
            }
        }
        Err(failed.unwrap_or(Error::NoPlace))
    }

    fn log_in_to_file(&self, key: &str, user: &str, password: &Secret) -> Result<String, Error> {
        let path = self.file_to_write()?;
        let mut file = AuthFile::read(&path)?.unwrap_or_else(|| AuthFile::new(&path));
        let key = self.key(key);
        if let Some(name) = file.helper_of(key).or_else(|| file.store().filter(|_| self.form == Form::Docker)) {
            docker_credential::store(&self.environment, name, key, user, password)?;
            return Ok(format!("docker-credential-{name}"));
        }
        file.set(key, user, password)?;
        file.write()?;
        Ok(path.display().to_string())
    }

    /// Takes the login for `key` away, wherever it is.
    pub fn log_out(&self, key: &str) -> Result<(), Error> {
        let (mut gone, mut failed) = (false, None);
        for place in self.places()? {
            let here = match place.as_str() {
                FILES => self.log_out_of_file(key),
                _ if key.contains('/') => Ok(false),
                name => docker_credential::erase(&self.environment, name, key),
            };
            match here {
                Ok(here) => gone |= here,
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if gone {
            return Ok(());
        }
        let elsewhere = self.find(key, "").is_ok_and(|found| found.is_some());
        Err(if elsewhere { Error::ByDocker(key.to_owned()) } else { Error::NotLoggedIn(key.to_owned()) })
    }

    /// Whether there was one.
    fn log_out_of_file(&self, key: &str) -> Result<bool, Error> {
        let Some(mut file) = AuthFile::read(&self.file_to_write()?)? else { return Ok(false) };
        let own = self.key(key);
        let mut gone = match file.helper_of(own) {
            Some(name) => docker_credential::erase(&self.environment, name, own)?,
            None => false,
        };
        if file.remove(own) {
            file.write()?;
            gone = true;
        }
        Ok(gone)
    }

    /// Takes all logins away.
    pub fn log_out_everywhere(&self) -> Result<(), Error> {
        let mut failed = None;
        for place in self.places()? {
            let done = if place == FILES { self.empty_file() } else { self.empty_helper(&place) };
            if let Err(error) = done {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn empty_helper(&self, name: &str) -> Result<(), Error> {
        for server in docker_credential::list(&self.environment, name)? {
            docker_credential::erase(&self.environment, name, &server)?;
        }
        Ok(())
    }

    fn empty_file(&self) -> Result<(), Error> {
        let path = self.file_to_write()?;
        let mut file = AuthFile::read(&path)?.unwrap_or_else(|| AuthFile::new(&path));
        for (registry, name) in file.helpers() {
            docker_credential::erase(&self.environment, &name, &registry)?;
        }
        file.clear();
        file.write()
    }

    fn key<'k>(&self, key: &'k str) -> &'k str {
        if self.form == Form::Docker && key == file::HUB { HUB_KEY } else { key }
    }
}

fn no_namespaces(name: &str, key: &str) -> Error {
    let problem = format!("it keeps logins of whole registries, and not of {key}");
    Error::Helper { name: name.to_owned(), problem }
}

#[cfg(test)]
mod tests;
