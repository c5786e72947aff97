//! `coracle login`: a user and a password for a registry, tried and kept.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use super::access::{network, registry_environment, tls_verify};
use super::{CommandError, Context, Ui, args, password};
use crate::conf::auth::{self, Credentials, Secret};
use crate::conf::{Auth, Registries};
use crate::image::Reference;
use crate::transport::registry::{self, Network, TlsVerify, check_login};

/// Log in to a registry
///
/// Asks the registry whether it takes the user and the password, and keeps them in auth.json then. Without --username and --password
/// they are asked for, unless the ones that are kept still do.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// Registry, as quay.io, or a namespace or repository of it
    #[arg(value_name = "REGISTRY")]
    operands: Vec<String>,

    /// File to keep the login in, in place of auth.json
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    authfile: Option<PathBuf>,

    /// Directory with certificates for the registry
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// The same, in the form of Docker's config.json
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    compat_auth_file: Option<PathBuf>,

    /// Print the user that is logged in, and change nothing
    #[arg(long)]
    get_login: bool,

    /// Password; other users of the machine can see it: prefer --password-stdin
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,

    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,

    /// Insist on verified TLS with registries (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,

    /// User
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,

    /// Say where the login is kept
    #[arg(short, long)]
    verbose: bool,
}

/// The longest password that is read.
const MAX_PASSWORD: u64 = 64 << 10;

pub(crate) fn login(ctx: &Context, ui: &mut Ui, args: &LoginArgs) -> Result<ExitCode, CommandError> {
    let registry = match args.operands.as_slice() {
        [] => return Err(CommandError::usage("please specify a registry to login to")),
        [registry] => registry,
        _ => return Err(CommandError::usage("too many arguments, login takes only 1 argument")),
    };
    if args.password.is_some() && args.password_stdin {
        return Err(CommandError::usage("Can't specify both --password-stdin and --password"));
    }
    let key = key(registry)?;
    let auth = auth(ctx, &args.authfile, &args.compat_auth_file)?;
    let known = known(&auth, &key)?;
    if args.get_login {
        let (user, _) = known.ok_or_else(|| auth::Error::NotLoggedIn(key.clone()))?;
        ui.data(user)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.password_stdin && given(&args.username).is_none() {
        return Err(CommandError::usage("Must provide --username with --password-stdin"));
    }
    let place = Place {
        ctx,
        registries: ctx.registries()?,
        key: &key,
        cert_dir: &args.cert_dir,
        tls_verify: tls_verify(args.tls_verify),
    };
    if let (None, None, Some((user, password))) = (given(&args.username), given(&args.password), &known) {
        ui.data(format!("Authenticating with existing credentials for {key}"))?;
        match place.check(user, password) {
            Ok(()) => {
                ui.data(format!("Existing credentials are valid. Already logged in to {key}"))?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(registry::Error::InvalidLogin) => {
                ui.data("Existing credentials are invalid, please enter valid username and password")?;
            }
            Err(error) => return Err(failed(&key, error)),
        }
    }
    let (user, password) = asked(ui, args, known.map(|(user, _)| user))?;
    place.check(&user, &password).map_err(|error| failed(&key, error))?;
    let kept = auth.log_in(&key, &user, &password).map_err(not_kept)?;
    if args.verbose {
        ui.data(format!("Used:  {kept}"))?;
    }
    ui.data("Login Succeeded!")?;
    Ok(ExitCode::SUCCESS)
}

/// The key of a login: the registry, or a namespace or repository of it. An address gives its host.
pub(super) fn key(text: &str) -> Result<String, CommandError> {
    let stripped = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let key = stripped.map_or(text, |rest| rest.split('/').next().unwrap_or_default()).trim_end_matches('/');
    if key.is_empty() {
        return Err(CommandError::usage("please specify a registry to login to"));
    }
    if !key.contains('/') {
        return Ok(key.to_owned());
    }
    let reference = Reference::parse_qualified(key);
    let reference = reference.map_err(|error| CommandError::from(error).context(format!("invalid registry {key:?}")))?;
    if reference.tag().is_some() || reference.digest().is_some() {
        return Err(CommandError::usage(format!("reference {key:?} contains tag or digest")));
    }
    Ok(key.to_owned())
}

/// The files that `login` and `logout` work on.
pub(super) fn auth(ctx: &Context, file: &Option<PathBuf>, docker: &Option<PathBuf>) -> Result<Auth, CommandError> {
    match (args::given(file), args::given(docker)) {
        (Some(_), Some(_)) => Err(CommandError::usage(
            "options for paths to the credential file and to the Docker-compatible credential file can not be set simultaneously",
        )),
        (file, None) => {
            let auth = Auth::new(registry_environment(ctx), file.map(PathBuf::from), None);
            Ok(auth.with_helpers_of(ctx.registries()?))
        }
        (None, Some(docker)) => Ok(Auth::docker_file(registry_environment(ctx), docker.to_path_buf())),
    }
}

/// The user and password that are kept.
fn known(auth: &Auth, key: &str) -> Result<Option<(String, Secret)>, CommandError> {
    let (registry, repository) = key.split_once('/').unwrap_or((key, ""));
    let found = auth.find(registry, repository)?;
    Ok(found.and_then(|found| match found.credentials {
        Credentials::Password { user, password } => Some((user, password)),
        _ => None,
    }))
}

/// What was given by flags, or else by a person.
fn asked(ui: &mut Ui, args: &LoginArgs, known: Option<String>) -> Result<(String, Secret), CommandError> {
    let failed = |what: &str| {
        let doing = format!("getting username and password: reading {what}");
        move |error: std::io::Error| CommandError::from(error).context(doing)
    };
    let user = match given(&args.username) {
        Some(user) => user.to_owned(),
        None => {
            let shown = known.as_ref().map(|user| format!(" ({user})")).unwrap_or_default();
            ui.prompt(format!("Username{shown}: "));
            let typed = password::line().map_err(failed("username"))?;
            if typed.is_empty() { known.unwrap_or_default() } else { typed }
        }
    };
    let piped = if args.password_stdin { Some(piped_password()?) } else { None };
    let password = match given(&piped).or(given(&args.password)) {
        Some(password) => password.to_owned(),
        None => {
            ui.prompt("Password: ");
            let typed = password::hidden_line();
            ui.note("");
            typed.map_err(|error| {
                let hint = "where there is no terminal, --password-stdin reads the password".to_owned();
                failed("password")(error).hinting(Some(hint))
            })?
        }
    };
    Ok((user, Secret::new(password)))
}

/// Why a login could not be written, with a way out.
fn not_kept(error: auth::Error) -> CommandError {
    let error = CommandError::from(error);
    match error.errno() {
        Some(libc::EROFS | libc::EACCES | libc::EPERM) => CommandError::usage(error.text())
            .hinting(Some("--authfile FILE, or $REGISTRY_AUTH_FILE, keeps logins in another file".to_owned())),
        _ => error,
    }
}

/// What a flag says, unless that is nothing: an empty word is asked for like one that is not there.
fn given(word: &Option<String>) -> Option<&str> {
    word.as_deref().filter(|word| !word.is_empty())
}

/// The line on standard input.
fn piped_password() -> Result<String, CommandError> {
    let mut text = String::new();
    std::io::stdin().take(MAX_PASSWORD).read_to_string(&mut text)?;
    let end = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text)).len();
    text.truncate(end);
    Ok(text)
}

/// Where a login is tried.
struct Place<'a> {
    ctx: &'a Context,
    registries: &'a Registries,
    key: &'a str,
    cert_dir: &'a Option<PathBuf>,
    tls_verify: TlsVerify,
}

impl Place<'_> {
    fn check(&self, user: &str, password: &Secret) -> Result<(), registry::Error> {
        let given = Credentials::Password { user: user.to_owned(), password: password.clone() };
        let mut network: Network = network(self.ctx, self.registries, None, Some(given));
        network.tls_verify = self.tls_verify;
        network.cert_dir.clone_from(self.cert_dir);
        check_login(&network, self.registries, self.key)
    }
}

fn failed(key: &str, error: registry::Error) -> CommandError {
    let doing = match error {
        registry::Error::InvalidLogin => format!("logging into {key:?}"),
        _ => format!("authenticating creds for {key:?}"),
    };
    let error = CommandError::from(error);
    let hints = error.hints();
    hints.into_iter().fold(error.context(doing), |error, hint| error.hinting(Some(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_registries_or_repositories() {
        for (text, want) in [
            ("quay.io", "quay.io"),
            ("quay.io/", "quay.io"),
            ("quay.io/org/app", "quay.io/org/app"),
            ("https://quay.io/v1/", "quay.io"),
            ("http://127.0.0.1:5000/x", "127.0.0.1:5000"),
            ("localhost:5000", "localhost:5000"),
        ] {
            assert_eq!(key(text).map_err(|error| error.text()), Ok(want.to_owned()), "{text}");
        }
        for (text, words) in
            [("quay.io/x:1", "contains tag or digest"), ("quay.io/X", "invalid registry"), ("https://", "specify")]
        {
            let error = key(text).unwrap_err().text();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
