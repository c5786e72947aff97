//! Build arguments: which `ARG` has which value where (Dockerfile reference, "ARG", "scope").
//!
//! ```text
//! --build-arg ──┐
//! built-in ─────┼─▶ Heading: ARGs before the first FROM ─▶ FROM lines
//!               └─▶ Scope:   ARGs of a stage, on those of the stage that it is FROM ─▶ words of its instructions, RUN's environment
//! ```
//!
//! A value given by the caller wins over a default, a default over the heading's value, and that over a built-in one.
//!
//! Pure: values come in, values go out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::transport::copy::Platform;

/// Arguments that RUN sees without an ARG if the caller gives them, and that no history shows then.
const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Arguments by which the caller steers a build of BuildKit's, whether or not the file declares them. Some do the same here
/// (`Selection`); the others have no meaning here, and are no mistake.
const STEERING: [&str; 8] = [
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_INLINE_BUILDINFO_ATTRS",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_SYNTAX",
];

/// The argument that fixes the time of the image, whether or not the file declares it.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What the caller and the machine say, and the ARGs before the first FROM.
#[derive(Debug, Default)]
pub struct Heading {
    given: BTreeMap<String, String>,
    built_in: BTreeMap<&'static str, String>,
    declared: BTreeMap<String, Option<String>>,
    /// Which of the given ones some ARG declared; scopes add to it.
    consumed: RefCell<BTreeSet<String>>,
}

/// What the built-in arguments are made of.
#[derive(Debug)]
pub struct BuiltIn<'a> {
    /// What the image is for.
    pub target: &'a Platform,
    /// The machine that builds.
    pub machine: &'a Platform,
    /// `--target`
    pub stage: Option<&'a str>,
    /// `SOURCE_DATE_EPOCH`, seconds since 1970.
    pub epoch: Option<i64>,
}

impl BuiltIn<'_> {
    fn values(&self) -> BTreeMap<&'static str, String> {
        let mut values: BTreeMap<&'static str, String> = [
            ("TARGETPLATFORM", words(self.target)),
            ("TARGETOS", self.target.os.clone()),
            ("TARGETARCH", self.target.architecture.clone()),
            ("TARGETVARIANT", self.target.variant.clone()),
            ("BUILDPLATFORM", words(self.machine)),
            ("BUILDOS", self.machine.os.clone()),
            ("BUILDARCH", self.machine.architecture.clone()),
            ("BUILDVARIANT", self.machine.variant.clone()),
            ("TARGETSTAGE", self.stage.unwrap_or("default").to_owned()),
        ]
        .into();
        values.extend(self.epoch.map(|epoch| (EPOCH, epoch.to_string())));
        values
    }
}

/// `linux/arm64/v8`
fn words(platform: &Platform) -> String {
    let Platform { os, architecture, variant } = platform;
    if variant.is_empty() { format!("{os}/{architecture}") } else { format!("{os}/{architecture}/{variant}") }
}

impl Heading {
    /// Nothing is declared. The last of a name in `given` holds.
    pub fn new(given: &[(String, String)], built_in: &BuiltIn<'_>) -> Self {
        Self { given: given.iter().cloned().collect(), built_in: built_in.values(), ..Self::default() }
    }

    /// An ARG before the first FROM.
    pub fn declare(&mut self, name: &str, default: Option<String>) {
        let value = self.value(name, default);
        self.declared.insert(name.to_owned(), value);
    }

    /// What a word of a FROM line, or of an ARG before the first one, stands for.
    pub fn lookup(&self, name: &str) -> Option<String> {
        let declared = self.declared.get(name).cloned().flatten();
        declared.or_else(|| self.built_in.get(name).cloned())
    }

    fn value(&self, name: &str, default: Option<String>) -> Option<String> {
        if let Some(given) = self.given.get(name) {
            self.consumed.borrow_mut().insert(name.to_owned());
            return Some(given.clone());
        }
        default.or_else(|| self.lookup(name))
    }

    /// The given ones that nothing declared, in the order of their names. What every build knows needs no declaration.
    pub fn unused(&self) -> Vec<String> {
        let consumed = self.consumed.borrow();
        let is_known = |name: &str| {
            PREDEFINED.contains(&name) || STEERING.contains(&name) || self.built_in.contains_key(name) || name == EPOCH
        };
        let unused = |name: &&String| !consumed.contains(*name) && !is_known(name);
        self.given.keys().filter(unused).cloned().collect()
    }
}

/// The arguments of a stage, as far as it has come.
#[derive(Debug, Clone)]
pub struct Scope<'h> {
    heading: &'h Heading,
    declared: BTreeMap<String, Option<String>>,
    /// Those that an ARG of a stage declared, so that history may show them.
    shown: BTreeSet<String>,
}

/// The same without the heading, for another process.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Declared {
    declared: BTreeMap<String, Option<String>>,
    shown: BTreeSet<String>,
}

impl<'h> Scope<'h> {
    /// That of a stage on an image.
    pub fn new(heading: &'h Heading) -> Self {
        let mut declared = BTreeMap::new();
        for name in PREDEFINED {
            if let Some(value) = heading.given.get(name) {
                declared.insert(name.to_owned(), Some(value.clone()));
            }
        }
        Self { heading, declared, shown: BTreeSet::new() }
    }

    /// That which another process told. What it declared, as a trigger of an image perhaps, is consumed.
    pub fn of(heading: &'h Heading, told: Declared) -> Self {
        heading.consumed.borrow_mut().extend(told.shown.iter().cloned());
        Self { heading, declared: told.declared, shown: told.shown }
    }

    /// For another process.
    pub fn declared(&self) -> Declared {
        Declared { declared: self.declared.clone(), shown: self.shown.clone() }
    }

    /// An ARG of the stage. Answers with its value.
    pub fn declare(&mut self, name: &str, default: Option<String>) -> Option<String> {
        // Without a value of its own it keeps the one that it has, from the stage below perhaps.
        let value = self.heading.value(name, default).or_else(|| self.lookup(name));
        self.declared.insert(name.to_owned(), value.clone());
        self.shown.insert(name.to_owned());
        value
    }

    /// What a name stands for, unless the image has a variable of that name.
    pub fn lookup(&self, name: &str) -> Option<String> {
        self.declared.get(name).cloned().flatten()
    }

    /// What RUN sees beside the image's environment, as `NAME=value`; an image's variable wins over an argument.
    pub fn environment(&self, image: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        let values = self.declared.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        values.filter(|(name, _)| image(name).is_none()).map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// The same without the predefined ones that no ARG declares: they are how the build reaches the world, and what RUN makes is not
    /// to depend on them (Dockerfile reference, "Impact on build caching").
    pub fn counted(&self, image: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        let mut variables = self.environment(image);
        variables.retain(|variable| variable.split_once('=').is_some_and(|(name, _)| self.shown.contains(name)));
        variables
    }

    /// The names that have a value, as the history of an ARG shows them.
    pub fn names(&self) -> Vec<&str> {
        let with_value = self.declared.iter().filter(|(_, value)| value.is_some());
        with_value.map(|(name, _)| name.as_str()).filter(|name| self.shown.contains(*name)).collect()
    }

    /// The same with their values, as the history of a RUN shows them.
    pub fn values(&self, image: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        let value = |name: &str| image(name).or_else(|| self.lookup(name));
        self.names().into_iter().filter_map(|name| Some(format!("{name}={}", value(name)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(os: &str, architecture: &str, variant: &str) -> Platform {
        Platform { os: os.into(), architecture: architecture.into(), variant: variant.into() }
    }

    fn heading(given: &[(&str, &str)]) -> Heading {
        let (target, machine) = (platform("linux", "arm64", "v8"), platform("linux", "amd64", ""));
        let built_in = BuiltIn { target: &target, machine: &machine, stage: None, epoch: Some(7) };
        let given: Vec<(String, String)> = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Heading::new(&given, &built_in)
    }

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn what_the_caller_gives_wins_over_a_default_and_that_over_the_heading() {
        let mut heading = heading(&[("G", "given")]);
        heading.declare("G", Some("default".into()));
        heading.declare("H", Some("heading".into()));
        heading.declare("N", None);
        assert_eq!(heading.lookup("G").as_deref(), Some("given"));
        let mut scope = Scope::new(&heading);
        assert_eq!(scope.lookup("H"), None, "an ARG of the heading is none of the stage");
        for (name, default, value) in [
            ("G", Some("own"), Some("given")),
            ("H", None, Some("heading")),
            ("N", None, None),
            ("M", None, None),
            ("O", Some("own"), Some("own")),
            ("TARGETARCH", None, Some("arm64")),
            ("SOURCE_DATE_EPOCH", None, Some("7")),
        ] {
            assert_eq!(scope.declare(name, default.map(str::to_owned)).as_deref(), value, "{name}");
        }
        assert_eq!(scope.declare("H", Some("own".into())).as_deref(), Some("own"));
        assert_eq!(scope.names(), ["G", "H", "O", "SOURCE_DATE_EPOCH", "TARGETARCH"]);
    }

    #[test]
    fn platforms_are_known_on_from_lines_without_an_arg() {
        let heading = heading(&[]);
        for (name, value) in [
            ("TARGETPLATFORM", "linux/arm64/v8"),
            ("BUILDPLATFORM", "linux/amd64"),
            ("TARGETVARIANT", "v8"),
            ("TARGETSTAGE", "default"),
        ] {
            assert_eq!(heading.lookup(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(Scope::new(&heading).lookup("TARGETOS"), None);
    }

    #[test]
    fn a_variable_of_the_image_wins_over_an_argument() {
        let heading = heading(&[("A", "given"), ("B", "given")]);
        let mut scope = Scope::new(&heading);
        scope.declare("A", None);
        scope.declare("B", None);
        let image = |name: &str| (name == "A").then(|| "image".to_owned());
        assert_eq!(scope.environment(&image), ["B=given"]);
        assert_eq!(scope.values(&image), ["A=image", "B=given"]);
    }

    #[test]
    fn proxies_reach_run_without_an_arg_and_history_with_one_only() {
        let heading = heading(&[("HTTP_PROXY", "http://p"), ("SOURCE_DATE_EPOCH", "1"), ("TARGETARCH", "y"), ("X", "1")]);
        let mut scope = Scope::new(&heading);
        assert_eq!((scope.environment(&none), scope.counted(&none)), (vec!["HTTP_PROXY=http://p".to_owned()], vec![]));
        assert_eq!(scope.values(&none), [""; 0]);
        assert_eq!(heading.unused(), ["X"]);
        scope.declare("HTTP_PROXY", None);
        scope.declare("X", None);
        assert_eq!(scope.values(&none), ["HTTP_PROXY=http://p", "X=1"]);
        assert_eq!(scope.counted(&none), ["HTTP_PROXY=http://p", "X=1"]);
        assert_eq!(heading.unused(), [""; 0]);
    }

    #[test]
    fn what_a_stage_declared_elsewhere_is_consumed() {
        let (here, there) = (heading(&[("A", "1"), ("B", "2")]), heading(&[("A", "1"), ("B", "2")]));
        let mut scope = Scope::new(&there);
        scope.declare("A", None);
        assert_eq!(here.unused(), ["A", "B"]);
        assert_eq!(Scope::of(&here, scope.declared()).lookup("A").as_deref(), Some("1"));
        assert_eq!(here.unused(), ["B"]);
    }

    #[test]
    fn a_stage_inherits_the_arguments_of_the_one_it_is_from() {
        let heading = heading(&[]);
        let mut below = Scope::new(&heading);
        below.declare("A", Some("1".into()));
        let mut above = below.clone();
        above.declare("B", Some("2".into()));
        assert_eq!(above.declare("A", None).as_deref(), Some("1"));
        assert_eq!(above.values(&none), ["A=1", "B=2"]);
        assert_eq!(below.names(), ["A"]);
    }
}
