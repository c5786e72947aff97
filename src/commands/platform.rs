//! `--platform`, `--os`, `--arch`, `--variant`: which image of an index is meant, and which image of the store will do.

use super::CommandError;
use crate::transport::copy::Platform;

/// What an image must run on.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PlatformArgs {
    /// Processor architecture of the image, as arm64, in place of the machine's
    #[arg(long, alias = "override-arch", value_name = "ARCH")]
    arch: Option<String>,

    /// Operating system of the image, in place of linux
    #[arg(long, alias = "override-os", value_name = "OS")]
    os: Option<String>,

    /// Operating system, architecture and variant of the image in one
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',')]
    platform: Vec<String>,

    /// Variant of the architecture of the image, as v7
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
}

/// The wished platform, and a warning about others that were named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// What was asked for; none for this machine.
    pub(super) platform: Option<Platform>,
    /// What has no effect.
    pub(super) warning: Option<String>,
}

impl PlatformArgs {
    /// What was asked for. Of several platforms the first counts, as with Buildah.
    pub(super) fn resolve(&self) -> Result<Wish, CommandError> {
        let single = self.arch.is_some() || self.os.is_some() || self.variant.is_some();
        let machine = Platform::of_this_machine();
        let Some((first, others)) = self.platform.split_first() else {
            let platform = single.then(|| Platform {
                os: self.os.clone().unwrap_or(machine.os),
                architecture: self.arch.clone().unwrap_or(machine.architecture),
                variant: self.variant.clone().unwrap_or_default(),
            });
            return Ok(Wish { platform: platform.map(normalized), warning: None });
        };
        if single {
            return Err(CommandError::usage(
                "building system context: invalid --platform may not be used with --os, --arch, or --variant",
            ));
        }
        let platform = named(first)?;
        let warning = (!others.is_empty()).then(|| format!("ignoring platforms other than {first}: {}", others.join(", ")));
        Ok(Wish { platform: Some(platform), warning })
    }
}

impl PlatformArgs {
    /// All platforms that were asked for, each once; none for this machine.
    pub(super) fn all(&self) -> Result<Vec<Platform>, CommandError> {
        let mut all: Vec<Platform> = Vec::new();
        for word in &self.platform {
            let one = Self { platform: vec![word.clone()], ..self.clone() }.resolve()?;
            all.extend(one.platform.filter(|platform| !all.contains(platform)));
        }
        if self.platform.is_empty() {
            all.extend(self.resolve()?.platform);
        }
        Ok(all)
    }
}

/// The platform that a word names, as lists have it.
pub(super) fn named(word: &str) -> Result<Platform, CommandError> {
    Ok(normalized(parse(word, Platform::of_this_machine())?))
}

/// What Go calls systems, and processors: a word alone is one of them (containerd, `platforms.Parse`).
const SYSTEMS: [&str; 12] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];
const PROCESSORS: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x",
    "wasm",
];

/// `OS/ARCH[/VARIANT]`, one of the first two, or `local` for this machine.
fn parse(word: &str, machine: Platform) -> Result<Platform, CommandError> {
    let trimmed = word.trim_matches('/');
    if matches!(trimmed, "local" | "") {
        return Ok(machine);
    }
    let alone = normalized(Platform { os: trimmed.to_owned(), architecture: trimmed.to_owned(), variant: String::new() });
    if SYSTEMS.contains(&alone.os.as_str()) {
        return Ok(Platform { os: alone.os, ..machine });
    }
    if PROCESSORS.contains(&alone.architecture.as_str()) {
        return Ok(Platform { os: machine.os, ..alone });
    }
    let mut parts = trimmed.split('/').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os, architecture, variant: variant.unwrap_or_default() })
        }
        _ => Err(CommandError::usage(format!(
            "building system context: invalid platform syntax for {word:?} (use OS/ARCH[/VARIANT][,...], OS or ARCH)"
        ))),
    }
}

/// The platform as lists of images have it: other people's words for processors are known, and what a variant is without saying.
pub(super) fn normalized(platform: Platform) -> Platform {
    let Platform { os, architecture, variant } = platform;
    let os = match os.to_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        os => os.to_owned(),
    };
    let variant = variant.to_lowercase();
    let (architecture, variant) = match (architecture.to_lowercase().as_str(), variant.as_str()) {
        ("i386", _) => ("386", String::new()),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", String::new()),
        ("x86_64" | "x86-64", _) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", String::new()),
        ("aarch64", _) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7".to_owned()),
        ("armel", _) => ("arm", "v6".to_owned()),
        ("arm", "5" | "6" | "8") => ("arm", format!("v{variant}")),
        (architecture, _) => return Platform { os, architecture: architecture.to_owned(), variant },
    };
    Platform { os, architecture: architecture.to_owned(), variant }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(args: PlatformArgs) -> Result<Option<String>, String> {
        let wish = args.resolve().map_err(|error| error.text())?;
        Ok(wish.platform.map(|platform| format!("{}/{}/{}", platform.os, platform.architecture, platform.variant)))
    }

    #[test]
    fn flags_together_name_one_platform() {
        let some = |word: &str| Some(word.to_owned());
        let machine = crate::golang::goarch();
        assert_eq!(resolved(PlatformArgs::default()), Ok(None));
        assert_eq!(
            resolved(PlatformArgs { arch: some("arm"), variant: some("v7"), ..Default::default() }),
            Ok(some("linux/arm/v7"))
        );
        assert_eq!(resolved(PlatformArgs { os: some("plan9"), ..Default::default() }), Ok(Some(format!("plan9/{machine}/"))));
        for (word, platform) in [
            ("linux/arm64", "linux/arm64/"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("local", &*format!("linux/{machine}/")),
            ("linux/x86_64", "linux/amd64/"),
            ("linux/amd64/v1", "linux/amd64/"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64/"),
            ("linux/arm64/v8", "linux/arm64/"),
            ("linux/arm64/8", "linux/arm64/"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386/"),
            ("Linux/S390X", "linux/s390x/"),
            ("arm64", "linux/arm64/"),
            ("/ARM/", "linux/arm/v7"),
            ("x86_64", "linux/amd64/"),
            ("armel", "linux/arm/v6"),
            ("linux/", &*format!("linux/{machine}/")),
            ("Windows", &*format!("windows/{machine}/")),
            ("", &*format!("linux/{machine}/")),
        ] {
            assert_eq!(resolved(PlatformArgs { platform: vec![word.to_owned()], ..Default::default() }), Ok(some(platform)));
        }
        for word in ["zz", "zz/", "a/b/c/d", "linux//v7"] {
            let error = resolved(PlatformArgs { platform: vec![word.to_owned()], ..Default::default() }).unwrap_err();
            assert!(error.contains("invalid platform syntax"), "{word}: {error}");
        }
        let both = PlatformArgs { platform: vec!["linux/arm".into()], os: some("linux"), ..Default::default() };
        assert!(resolved(both).unwrap_err().contains("may not be used with"));
    }

    #[test]
    fn of_several_platforms_the_first_counts() {
        let args = PlatformArgs { platform: vec!["linux/arm".into(), "linux/s390x".into()], ..Default::default() };
        let wish = args.resolve().unwrap();
        assert_eq!(wish.platform.map(|platform| platform.architecture).as_deref(), Some("arm"));
        assert_eq!(wish.warning.as_deref(), Some("ignoring platforms other than linux/arm: linux/s390x"));
    }
}
