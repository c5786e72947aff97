//! What is read and which of it is built: Dockerfiles, contexts, arguments.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use crate::build::context::cpp_words;
use crate::build::options::{Selection, UnusedStages};
use crate::build::source_policy::SourcePolicy;
use crate::commands::{CommandError, Context, args};

/// No policy is longer: 16 MiB.
const LONGEST_POLICY: u64 = 16 << 20;

/// Dockerfiles, contexts, arguments.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct InputArgs {
    /// Dockerfile: a path, an address, or - for standard input (can be repeated)
    #[arg(short, long, value_name = "FILE", value_delimiter = ',', value_parser = args::path())]
    file: Vec<PathBuf>,

    /// Argument of the Dockerfile: NAME=VALUE, or NAME to hand the caller's variable on (can be repeated)
    #[arg(long, value_name = "ARGUMENT")]
    build_arg: Vec<String>,

    /// File with such arguments, one a line (can be repeated)
    #[arg(long, value_name = "FILE")]
    build_arg_file: Vec<PathBuf>,

    /// Further context: NAME=PATH, an address, docker-image://IMAGE or oci-layout://DIR (can be repeated)
    #[arg(long, value_name = "NAME=CONTEXT")]
    build_context: Vec<String>,

    /// Flag for cpp, which reads Dockerfiles whose name ends with .in (can be repeated)
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    cpp_flag: Vec<String>,

    /// Image to use instead of that of the first FROM
    #[arg(long, value_name = "IMAGE")]
    from: Option<String>,

    /// File with patterns of what is no part of the context
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    pub(super) ignorefile: Option<PathBuf>,

    /// File with rules for images and addresses that the build may use, or has to use instead: BuildKit's source policy, as JSON
    #[arg(long, value_name = "FILE", value_parser = args::path())]
    source_policy_file: Option<PathBuf>,

    /// Leave out stages that nothing needs (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_unused_stages: Option<bool>,

    /// Last stage to build: its name or number (default: the last of the file)
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,

    /// How many stages are built at a time; 0 for no limit (default: the number of processors)
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    jobs: Option<i64>,
}

impl InputArgs {
    /// The Dockerfiles, as typed.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.file.iter().filter(|path| !path.as_os_str().is_empty()).cloned().collect()
    }

    /// The further contexts, as typed.
    pub(super) fn contexts(&self) -> Result<Vec<(String, String)>, CommandError> {
        let split = |word: &String| {
            let pair = word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            let text = || format!("while parsing additional build context: [{word:?}], accepts value in the form of key=value");
            pair.ok_or_else(|| CommandError::usage(text()))
        };
        self.build_context.iter().map(split).collect()
    }

    /// Which images and addresses may be used.
    pub(super) fn source_policy(&self) -> Result<SourcePolicy, CommandError> {
        let Some(path) = args::given(&self.source_policy_file) else { return Ok(SourcePolicy::default()) };
        let doing = || format!("reading the source policy {path:?}");
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST_POLICY).read_to_end(&mut bytes));
        read.map_err(|error| CommandError::from(error).context(doing()))?;
        SourcePolicy::parse(&bytes).map_err(|error| CommandError::from(error).context(doing()))
    }

    /// Flags for cpp: those of the environment, then those of the command line.
    pub(super) fn cpp_flags(&self, ctx: &Context) -> Result<Vec<String>, CommandError> {
        let of_environment = cpp_words(ctx.environment().engine("CPPFLAGS").unwrap_or_default());
        let mut flags =
            of_environment.map_err(|problem| CommandError::usage(format!("parsing BUILDAH_CPPFLAGS: {problem}")))?;
        flags.extend(self.cpp_flag.iter().cloned());
        Ok(flags)
    }

    /// Which stages, with which arguments. `default_jobs` says how many at a time where the user does not.
    pub(super) fn selection(&self, ctx: &Context, default_jobs: Option<usize>) -> Result<Selection, CommandError> {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let jobs = self.jobs.map(usize::try_from).transpose();
        let jobs = jobs.map_err(|_| CommandError::usage("building: invalid value for jobs.  It must be a positive integer"))?;
        let given = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
        Ok(Selection {
            target: given(&self.target),
            base: given(&self.from),
            args: self.build_args(ctx)?,
            platform: None,
            unused_stages: if self.skip_unused_stages == Some(false) { UnusedStages::Build } else { UnusedStages::Skip },
            jobs: jobs.or(default_jobs).unwrap_or_else(cores),
        })
    }

    fn build_args(&self, ctx: &Context) -> Result<Vec<(String, String)>, CommandError> {
        let mut arguments = Vec::new();
        for path in &self.build_arg_file {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| CommandError::from(error).context(format!("reading build-arg-file {path:?}")))?;
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.for_each(|line| put(ctx, &mut arguments, line));
        }
        self.build_arg.iter().for_each(|word| put(ctx, &mut arguments, word));
        Ok(arguments)
    }
}

/// `NAME` alone is the caller's variable; one that the caller lacks takes an earlier value away.
fn put(ctx: &Context, arguments: &mut Vec<(String, String)>, word: &str) {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, ctx.environment().get(word).map(|value| value.to_string_lossy().into_owned())),
    };
    arguments.retain(|(known, _)| known != name);
    arguments.extend(value.map(|value| (name.to_owned(), value)));
}
