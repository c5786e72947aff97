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
            return Ok(Wish { platform, warning: None });
        };
        if single {
            return Err(CommandError::usage("invalid --platform may not be used with --os, --arch, or --variant"));
        }
        let platform = parse(first, machine)?;
        let warning = (!others.is_empty()).then(|| format!("ignoring platforms other than {first}: {}", others.join(", ")));
        Ok(Wish { platform: Some(platform), warning })
    }
}

/// `OS/ARCH[/VARIANT]`, or `local` for this machine.
fn parse(word: &str, machine: Platform) -> Result<Platform, CommandError> {
    if word == "local" {
        return Ok(machine);
    }
    let mut parts = word.split('/').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os, architecture, variant: variant.unwrap_or_default() })
        }
        _ => Err(CommandError::usage(format!("invalid platform syntax for {word:?} (use OS/ARCH[/VARIANT][,...])"))),
    }
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
        for (word, platform) in
            [("linux/arm64", "linux/arm64/"), ("linux/arm/v6", "linux/arm/v6"), ("local", &format!("linux/{machine}/"))]
        {
            assert_eq!(resolved(PlatformArgs { platform: vec![word.to_owned()], ..Default::default() }), Ok(some(platform)));
        }
        for word in ["zz", "", "linux/", "/arm", "a/b/c/d"] {
            let error = resolved(PlatformArgs { platform: vec![word.to_owned()], ..Default::default() }).unwrap_err();
            assert!(error.starts_with("invalid platform syntax"), "{word}: {error}");
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
