//! Flags about reaching a registry, and what every copy of an image needs: the policy, and lines about its progress.

use std::path::PathBuf;
use std::time::Duration;

use super::progress::{self, Reporter};
use super::run_environment::{conf_environment, containers_conf};
use super::{CommandError, Context, Ui, choice, password};
use crate::conf::auth::{Credentials, Secret};
use crate::conf::{Auth, ContainersConf, PolicyFile, Registries};
use crate::container::pull::{Fetch, PullPolicy};
use crate::golang::duration::parse_duration;
use crate::http::{Proxies, Retry, Settings};
use crate::transport::copy::{Existing, Platform, Signatures};
use crate::transport::encryption::{Decryption, Encryption};
use crate::transport::registry::{Network, TlsVerify};
use crate::userns;

/// How a registry is reached.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RegistryArgs {
    /// File with credentials for registries
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,

    /// Directory with certificates for a registry
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// User name and password for a registry
    #[arg(long, value_name = "USER[:PASSWORD]")]
    creds: Option<String>,

    /// Insist on verified TLS with registries (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
}

/// How often a registry is asked.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RetryArgs {
    /// How often to try again after a failure of the network (default: 3)
    #[arg(long, value_name = "COUNT")]
    retry: Option<u32>,

    /// Pause before that, as 2s (default: 2s)
    #[arg(long, value_name = "DURATION")]
    retry_delay: Option<String>,

    /// Layers at a time, which only containers.conf says.
    #[arg(skip)]
    parallel: Option<u32>,
}

/// Signatures of an image on its way.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct SignatureArgs {
    /// Do not copy the signatures that the image has
    #[arg(long)]
    remove_signatures: bool,

    /// Sign the image with this key of gpg
    #[arg(long, value_name = "FINGERPRINT")]
    sign_by: Option<String>,
}

impl SignatureArgs {
    /// What was asked for.
    pub(super) fn resolve(&self) -> Signatures<'_> {
        Signatures {
            existing: existing(self.remove_signatures),
            sign_by: self.sign_by.as_deref().filter(|key| !key.is_empty()),
        }
    }
}

/// Layers that are encrypted on their way.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct EncryptArgs {
    /// Key that the image is encrypted for: jwe:FILE with a public key, or pgp:NAME (can be repeated)
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    encryption_key: Vec<String>,

    /// Layer to encrypt, from 0, or from -1 backwards (can be repeated; default: all)
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', allow_negative_numbers = true)]
    encrypt_layer: Vec<i64>,
}

impl EncryptArgs {
    /// What was asked for, with the keys.
    pub(super) fn read(&self) -> Result<Option<Encryption>, CommandError> {
        if self.encryption_key.is_empty() && !self.encrypt_layer.is_empty() {
            return Err(CommandError::usage("--encrypt-layer needs --encryption-key: nothing would be encrypted without"));
        }
        Ok(Encryption::read(&self.encryption_key, &self.encrypt_layer)?)
    }
}

/// Layers that are decrypted on their way.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct DecryptArgs {
    /// File with a key to decrypt the image, and its passphrase: FILE[:PASSPHRASE] (can be repeated)
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    decryption_key: Vec<String>,
}

impl DecryptArgs {
    /// The keys.
    pub(super) fn read(&self) -> Result<Option<Decryption>, CommandError> {
        Ok(Decryption::read(&self.decryption_key)?)
    }
}

/// What `--remove-signatures` means.
pub(super) fn existing(remove: bool) -> Existing {
    if remove { Existing::Remove } else { Existing::Copy }
}

impl RegistryArgs {
    /// Refuses what Buildah refuses before it asks anybody.
    pub(super) fn check(&self) -> Result<(), CommandError> {
        self.authfile.as_deref().map_or(Ok(()), accessible)
    }
}

/// Refuses a file of credentials that is not there.
pub(super) fn accessible(path: &std::path::Path) -> Result<(), CommandError> {
    let refused =
        |error| CommandError::from(error).context(format!("credential file is not accessible: stat {}", path.display()));
    std::fs::metadata(path).map(drop).map_err(refused)
}

impl RetryArgs {
    /// The same, with what containers.conf says where the flags say nothing.
    pub(super) fn or(&self, conf: &ContainersConf) -> Self {
        Self {
            retry: self.retry.or(conf.engine.retry),
            retry_delay: self.retry_delay.clone().or_else(|| conf.engine.retry_delay.clone().filter(|delay| !delay.is_empty())),
            parallel: conf.engine.image_parallel_copies,
        }
    }

    /// The same, where containers.conf was not read for anything else. Nobody needs it who says both.
    pub(super) fn configured(&self, ctx: &Context) -> Result<Self, CommandError> {
        if self.retry.is_some() && self.retry_delay.is_some() {
            return Ok(self.clone());
        }
        Ok(self.or(&containers_conf(ctx, userns::is_rootless())?))
    }

    /// How often, and after which pause.
    fn resolve(&self) -> Result<Retry, CommandError> {
        let usual = Retry::default();
        let delay = match &self.retry_delay {
            None => None,
            Some(word) => Some(parse_duration(word).map_err(|error| {
                CommandError::usage(format!(
                    "unable to parse value provided {word:?} as --retry-delay: time: {}",
                    error.about(word)
                ))
            })?),
        };
        let delay = delay.map(|nanoseconds| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0)));
        Ok(Retry { count: self.retry.unwrap_or(usual.count), delay })
    }
}

impl RegistryArgs {
    /// How registries are reached under these flags. Refuses what Buildah refuses before it asks anybody; opens and reads nothing else.
    pub(super) fn network(&self, ctx: &Context, retries: &RetryArgs) -> Result<Network, CommandError> {
        self.check()?;
        let retry = retries.resolve()?;
        let given = self.creds.as_deref().map(given).transpose()?;
        let mut network = network(ctx, ctx.registries()?, self.authfile.clone(), given);
        network.tls_verify = tls_verify(self.tls_verify);
        network.cert_dir.clone_from(&self.cert_dir);
        network.retry = retry;
        network.parallel = retries.parallel.and_then(std::num::NonZeroU32::new);
        Ok(network)
    }
}

/// The value of `--creds`; a password that is not in it is asked for, as Buildah does.
fn given(text: &str) -> Result<Credentials, CommandError> {
    let credentials = Credentials::parse(text)?;
    match credentials {
        Credentials::Password { user, password } if password.expose().is_empty() => {
            let mut ui = Ui::new();
            ui.prompt("Password: ");
            let typed = password::hidden_line();
            ui.note("");
            let typed = typed.map_err(|error| {
                let hint = "where there is no terminal, give --creds USER:PASSWORD, or log in first".to_owned();
                CommandError::from(error).context("could not read password from terminal").hinting(Some(hint))
            })?;
            Ok(Credentials::Password { user, password: Secret::new(typed) })
        }
        credentials => Ok(credentials),
    }
}

/// `--tls-verify`; without it, registries.conf decides.
pub(super) fn tls_verify(given: Option<bool>) -> TlsVerify {
    match given {
        None => TlsVerify::BySettings,
        Some(true) => TlsVerify::Required,
        Some(false) => TlsVerify::Off,
    }
}

/// How registries are reached with the credentials of a file, or of the command line.
pub(super) fn network(
    ctx: &Context,
    registries: &Registries,
    authfile: Option<PathBuf>,
    given: Option<Credentials>,
) -> Network {
    let environment = registry_environment(ctx);
    let auth = Auth::new(environment.clone(), authfile, given).with_helpers_of(registries);
    let variable = |name: &str| ctx.environment().get(name).and_then(|value| value.to_str()).map(str::to_owned);
    let settings = Settings {
        user_agent: concat!("coracle/", env!("CARGO_PKG_VERSION")).to_owned(),
        proxies: Proxies::from_variables(&variable),
        tls: ctx.tls(),
        ..Settings::default()
    };
    Network::new(environment, auth, settings)
}

/// Where files of registries are looked for: without a store, which `login` does not need.
pub(super) fn registry_environment(ctx: &Context) -> crate::conf::Environment {
    let registries_d = ctx.global().registries_conf_dir.clone();
    crate::conf::Environment { registries_d, ..conf_environment(ctx, userns::is_rootless()) }
}

/// Where the signature policy is: `--signature-policy`, the environment, the standard files.
pub(super) fn policy_file(ctx: &Context) -> Result<PolicyFile, CommandError> {
    let rootless = ctx.store()?.conf().rootless;
    Ok(PolicyFile::new(conf_environment(ctx, rootless), ctx.global().signature_policy.clone()))
}

/// How a verb obtains images.
pub(super) struct Images<'a> {
    registries: &'a Registries,
    platform: Option<Platform>,
    signatures: Signatures<'static>,
    decryption: Option<Decryption>,
    trust: PolicyFile,
    temp_dir: PathBuf,
    network: Network,
    progress: Reporter,
}

impl<'a> Images<'a> {
    /// Images for `platform`, or for this machine, by way of `network`.
    pub(super) fn new(
        ctx: &'a Context,
        platform: Option<Platform>,
        quiet: Quiet,
        network: Network,
    ) -> Result<Self, CommandError> {
        Ok(Self {
            registries: ctx.registries()?,
            platform,
            signatures: Signatures::default(),
            decryption: None,
            trust: policy_file(ctx)?,
            temp_dir: ctx.temp_dir(),
            network,
            progress: progress::reporter(quiet),
        })
    }

    /// The same, without the signatures that they have.
    pub(super) fn with_signatures(mut self, existing: Existing) -> Self {
        self.signatures.existing = existing;
        self
    }

    /// The same, with keys for layers that are encrypted.
    pub(super) fn with_keys(mut self, keys: &DecryptArgs) -> Result<Self, CommandError> {
        self.decryption = keys.read()?;
        Ok(self)
    }

    /// How they are obtained under a policy. Whoever names a platform wants to know whether there is something newer for it.
    pub(super) fn fetch(&self, policy: PullPolicy) -> Fetch<'_> {
        Fetch {
            registries: self.registries,
            policy: if self.platform.is_some() && policy == PullPolicy::Missing { PullPolicy::Newer } else { policy },
            platform: self.platform.as_ref(),
            trust: &self.trust,
            signatures: self.signatures,
            decrypt: self.decryption.as_ref(),
            temp_dir: &self.temp_dir,
            network: &self.network,
            choose: choice::can_be_made().then_some(&choice::of_an_image),
            progress: self.progress.as_ref(),
        }
    }
}

/// `--quiet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quiet {
    /// Progress is shown.
    No,
    /// It is not.
    Yes,
}

impl From<bool> for Quiet {
    fn from(flag: bool) -> Self {
        if flag { Self::Yes } else { Self::No }
    }
}
