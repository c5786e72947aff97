//! What to build: the flags of `coracle build`, resolved, grouped by who needs them.

use std::cell::OnceCell;
use std::path::PathBuf;

use containers_storage::Root;
use containers_storage::selinux::LabelChoice;

use super::plan::Further;
use super::source_policy::SourcePolicy;
use crate::conf::ContainersConf;
use crate::conf::mounts::Subscription;
use crate::container::add::ContextIgnore;
use crate::container::commit::sbom::Scan;
use crate::container::commit::{Clock, HistoryPolicy};
use crate::container::from::UserNamespace;
use crate::container::pull::Fetch;
use crate::container::run::{self, Allowed, Confinement, Names};
use crate::container::state::RunEnvironment;
use crate::image::{Format, Reference};
use crate::run::secrets::Secret;
use crate::run::ssh::Agent;
use crate::run::{MountOptions, Streams};
use crate::transport::copy::{LayerCompression, Platform};

pub use super::cache::place::{Place as CachePlace, Unfit as UnfitPlace};

/// One build. Borrowed parts are shared by the stages that are built at the same time.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The Dockerfiles, one after the other.
    pub texts: Vec<Text>,
    /// Who wrote them.
    pub author: Author,
    /// The build context.
    pub context: &'a Context,
    /// `--build-context`: more of them, by name; the last of a name holds.
    pub named_contexts: &'a [(String, NamedContext)],
    /// Which stages, with which arguments.
    pub selection: Selection,
    /// What is kept between steps and builds.
    pub layering: Layering,
    /// The image that is made.
    pub image: ImageOptions,
    /// How RUN runs.
    pub run: RunOptions<'a>,
    /// `--source-policy-file`: which images and addresses may be used.
    pub source_policy: SourcePolicy,
    /// How base images and images of `--from` are obtained.
    pub fetch: Fetch<'a>,
    /// How an error is told: in one line, and what may help. It is asked in the process in which a stage failed.
    pub explain: fn(&(dyn std::error::Error + 'static)) -> Explained,
    /// How closely the caller follows what happens.
    pub following: Following,
}

/// How closely the caller follows what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Following {
    /// Step by step. What commands print goes where the caller's own output goes, unless stages are built at the same time.
    #[default]
    Steps,
    /// Also what commands print.
    Output,
    /// The same, and that nothing happens.
    Live,
}

impl Options<'_> {
    /// What `--build-context` says about a name. Names of images are the same however they are completed: `alpine` and
    /// `docker.io/library/alpine:latest`.
    pub fn named_context(&self, name: &str) -> Option<&NamedContext> {
        let complete = |name: &str| Reference::normalized(name).ok();
        let wanted = OnceCell::new();
        let is_same = |known: &str| {
            let wanted = wanted.get_or_init(|| complete(name));
            known == name || wanted.is_some() && complete(known) == *wanted
        };
        self.named_contexts.iter().rev().find(|(known, _)| is_same(known)).map(|(_, context)| context)
    }

    /// The same as far as a plan needs it.
    pub(super) fn further(&self, name: &str) -> Option<Further> {
        self.named_context(name).map(|context| match context {
            NamedContext::Files(_) => Further::Files,
            NamedContext::Image(_) => Further::Image,
        })
    }
}

/// An error in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained {
    /// With its causes.
    pub text: String,
    /// A line each.
    pub hints: Vec<String>,
    /// The kernel's answer at the root of it.
    pub errno: Option<i32>,
}

/// A Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What errors call it: the path as typed, or `-`.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// Who wrote the Dockerfiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Author {
    /// The caller, or somebody whose files the caller has here.
    #[default]
    Here,
    /// Somebody elsewhere, for one of them at least: it may not name what is on this machine (known attacks A20).
    Elsewhere,
}

/// A directory of files that instructions copy or bind.
#[derive(Debug)]
pub struct Context {
    /// Its handle: nothing outside can be reached through it.
    pub root: Root,
    /// Where it is, for messages only.
    pub path: PathBuf,
    /// What the ignore file leaves out.
    pub ignore: ContextIgnore,
}

/// What `--build-context name=value` stands for.
#[derive(Debug)]
pub enum NamedContext {
    /// Files.
    Files(Context),
    /// `docker-image://`, `container-image://`, `docker://`, `oci-layout://`: an image, as `from` takes it.
    Image(String),
}

/// Which stages, with which arguments.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `--target`: the name or number of the last stage that is needed; without it the last one.
    pub target: Option<String>,
    /// `--from`: instead of the first FROM's image.
    pub base: Option<String>,
    /// `--build-arg` over `--build-arg-file`, in their order; the last of a name holds.
    pub args: Vec<(String, String)>,
    /// `--platform`; none for this machine's.
    pub platform: Option<Platform>,
    /// `--skip-unused-stages=false`
    pub unused_stages: UnusedStages,
    /// `--jobs`: how many stages are built at a time; 0 for no limit.
    pub jobs: usize,
}

impl Selection {
    /// The value of an argument, unless it is empty.
    pub fn argument(&self, name: &str) -> Option<&str> {
        let last = self.args.iter().rev().find(|(known, _)| known == name);
        last.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// `BUILDKIT_SANDBOX_HOSTNAME`: the name of the host in RUN.
    pub fn hostname(&self) -> Option<&str> {
        self.argument("BUILDKIT_SANDBOX_HOSTNAME")
    }

    /// `BUILDKIT_CONTEXT_KEEP_GIT_DIR`: whether a context that is a repository has its `.git`, where it is said.
    pub fn keeps_git_directory(&self) -> Option<bool> {
        match self.argument("BUILDKIT_CONTEXT_KEEP_GIT_DIR")? {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        }
    }

    /// `BUILDKIT_CACHE_MOUNT_NS`: what goes before the names of caches in RUN, so that builds with another do not share them.
    pub fn cache_namespace(&self) -> Option<&str> {
        self.argument("BUILDKIT_CACHE_MOUNT_NS")
    }
}

/// `--skip-unused-stages`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnusedStages {
    /// Left out.
    #[default]
    Skip,
    /// Built all the same.
    Build,
}

/// What is kept between steps and builds.
#[derive(Debug, Clone, Default)]
pub struct Layering {
    /// `--layers`: each step becomes an image that later builds may use.
    pub layers: Layers,
    /// Whether images of former builds are used (`--no-cache`, `--cache-ttl`).
    pub reuse: Reuse,
    /// `--no-cache-filter`: names and numbers of stages for which none are.
    pub anew: Vec<String>,
    /// `--cache-from`: who is asked for steps that the store has not.
    pub cache_from: Vec<CachePlace>,
    /// `--cache-to`: where steps are sent.
    pub cache_to: Vec<CachePlace>,
    /// How layers are compressed on their way there.
    pub compression: LayerCompression,
    /// What becomes of working containers.
    pub containers: Leftovers,
    /// What becomes of stages before the last.
    pub stages: Stages,
}

/// `--save-stages`, `--stage-labels`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stages {
    /// Of those that are only for this build nothing stays.
    #[default]
    Remove,
    /// Each that does something is an image in the end, without a name.
    Keep,
    /// And each has labels with its name and its base, the last one, too.
    Label,
}

impl Layering {
    /// Whether steps are looked for in a directory, or sent to one.
    pub fn names_directories(&self) -> bool {
        self.cache_from.iter().chain(&self.cache_to).any(|place| matches!(place, CachePlace::Directory(_)))
    }
}

/// `--layers`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layers {
    /// A stage is one layer.
    #[default]
    Stage,
    /// A step is one.
    Step,
}

/// `--no-cache` and `--cache-ttl`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    /// What there is, however old.
    #[default]
    Always,
    /// Nothing older than this, in nanoseconds.
    Younger(i64),
    /// Nothing.
    Never,
}

/// What becomes of the working containers of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leftovers {
    /// `--rm`: they are removed, and after a failure, too.
    #[default]
    Remove,
    /// `--layers --rm=false`: each step that was taken leaves its own, and so does one that fails.
    Keep,
    /// `--layers --rm=false --force-rm`: the same without that of a step that fails.
    KeepDone,
    /// `--keep-failed`, or `--layers --force-rm=false`: that of the step that failed stays, as it was left.
    KeepFailed,
}

impl Leftovers {
    /// Whether containers of steps stay that were taken.
    pub fn keeps_done(self) -> bool {
        matches!(self, Self::Keep | Self::KeepDone)
    }

    /// Whether the container of a step stays that failed.
    pub fn keeps_failed(self) -> bool {
        matches!(self, Self::Keep | Self::KeepFailed)
    }
}

/// The image that is made.
#[derive(Debug, Clone)]
pub struct ImageOptions {
    /// What the image is called before it is made: the first word of `-t`, a name or another place.
    pub title: Option<String>,
    /// `-t`
    pub tags: Vec<String>,
    /// `--manifest`
    pub manifest_list: Option<String>,
    /// `--format`
    pub format: Format,
    /// Who chose it.
    pub format_choice: FormatChoice,
    /// `--squash`, `--squash-all`
    pub squash: bool,
    /// `--timestamp`, `--source-date-epoch`, `--rewrite-timestamp`
    pub clock: Clock,
    /// `--omit-history`
    pub history: HistoryPolicy,
    /// `--identity-label`; unless asked for, not with a fixed time.
    pub identity_label: Option<bool>,
    /// `--created-annotation`
    pub created_annotation: bool,
    /// `--label`, in their order; an empty value is one.
    pub labels: Vec<(String, String)>,
    /// `--layer-label`: labels of the images that steps become.
    pub layer_labels: Vec<(String, String)>,
    /// `--annotation`
    pub annotations: Vec<(String, String)>,
    /// `--env`
    pub env: Vec<(String, String)>,
    /// What is taken away.
    pub unset: Unset,
    /// `--os-version`
    pub os_version: Option<String>,
    /// `--os-feature`
    pub os_features: Vec<String>,
    /// `--sign-by`
    pub sign_by: Option<String>,
    /// `--sbom`
    pub sbom: Option<Sbom>,
    /// Whether the image only passes through the store, on its way to another place.
    pub stay: Stay,
}

/// Whether an image is for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stay {
    /// It is.
    #[default]
    Stays,
    /// It is, and whoever had it built reads it after that.
    IsRead,
    /// It is copied elsewhere by whoever had it built, and then taken away.
    Passes,
}

/// `--sbom`: a list of the image's contents.
#[derive(Debug, Clone)]
pub struct Sbom {
    /// What scans, and where the list goes.
    pub scan: Scan,
    /// How the scanner's commands are run.
    pub run: run::Options,
}

/// Who chose the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormatChoice {
    /// The caller.
    #[default]
    Given,
    /// Nobody: it is the usual one, or Docker's where only that has a place for what the file says.
    Automatic,
}

/// What the image does not get.
#[derive(Debug, Clone, Default)]
pub struct Unset {
    /// `--unsetenv`
    pub env: Vec<String>,
    /// `--unsetlabel`
    pub labels: Vec<String>,
    /// `--unsetannotation`
    pub annotations: Vec<String>,
    /// `--inherit-labels=false`: none of the base's labels.
    pub base_labels: bool,
    /// `--inherit-annotations=false`: none of the base's annotations.
    pub base_annotations: bool,
}

/// How RUN runs.
#[derive(Debug, Clone)]
pub struct RunOptions<'a> {
    /// Settings.
    pub conf: &'a ContainersConf,
    /// What `from` is told for later runs.
    pub environment: RunEnvironment,
    /// Whose ids the containers have.
    pub user_namespace: UserNamespace,
    /// SELinux labels; none where SELinux is off.
    pub labels: Option<LabelChoice>,
    /// What each run is told beside.
    pub confinement: Confinement,
    /// Host names.
    pub names: Names,
    /// `--volume`, `--device`
    pub mounts: MountOptions,
    /// `--mount`: what every RUN mounts, before its own, in the words of `RUN --mount`.
    pub step_mounts: Vec<String>,
    /// Proxy variables of the caller, unless `--http-proxy=false`.
    pub proxy: Vec<(String, String)>,
    /// `--secret`
    pub secrets: Vec<Secret>,
    /// `--ssh`
    pub ssh: Vec<Agent>,
    /// `--allow`: what RUN may ask for that weakens the separation from the machine.
    pub allowed: Allowed,
    /// `--compat-volumes`: what RUN changes below a volume is undone.
    pub compat_volumes: bool,
    /// `--stdin`: what RUN reads; `--logfile`: where its output goes.
    pub streams: Streams,
    /// Content of the host that commands get a copy of.
    pub subscriptions: Vec<Subscription>,
}
