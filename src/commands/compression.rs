//! `--compression-format`, `--compression-level` and `--force-compression`, and what counts where they say nothing: one rule for every
//! verb that brings layers to another place.
//!
//! ```text
//! format   the flag ─► compression_format, unless that is gzip, which is usual anyway ─► gzip
//! level    the flag ─► compression_level, whatever named the format                   ─► the format's usual one
//! force    the flag ─► true where a format was named                                  ─► false
//! ```

use super::CommandError;
use crate::conf::ContainersConf;
use crate::transport::compression::{InvalidMethod, Method};
use crate::transport::copy::{LayerCompression, Recompress, Uncompressed, Variants};

/// How layers are compressed.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct CompressionArgs {
    /// Compression of layers: gzip, zstd or zstd:chunked
    #[arg(long, value_name = "FORMAT")]
    compression_format: Option<String>,

    /// Level of that compression: 0 to 9 for gzip, 1 to 20 for zstd
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<i32>,

    /// Compress layers anew that are compressed in another format (default: true where a format is named)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_compression: Option<bool>,
}

/// What counts where no flag says anything.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unsaid<'c> {
    /// What containers.conf says.
    Configured(&'c ContainersConf),
    /// What is usual.
    Usual,
}

impl<'c> Unsaid<'c> {
    /// The format that is named. gzip is what is used anyway: as with Buildah, to write it down there is not to name it.
    fn format(self) -> Option<&'c str> {
        let Self::Configured(conf) = self else { return None };
        conf.engine.compression_format.as_deref().filter(|word| !matches!(*word, "" | "gzip"))
    }

    fn level(self) -> Option<i32> {
        let Self::Configured(conf) = self else { return None };
        conf.engine.compression_level
    }
}

impl CompressionArgs {
    /// Whether a format is named, which is the wish that layers be compressed.
    pub(super) fn names_a_format(&self, unsaid: Unsaid<'_>) -> bool {
        self.format().or(unsaid.format()).is_some()
    }

    /// Refuses what contradicts `--disable-compression`, as Buildah's commit does.
    pub(super) fn allows_none(&self) -> Result<(), CommandError> {
        let given = [
            ("--compression-format", self.compression_format.is_some()),
            ("--force-compression", self.force_compression.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(CommandError::usage(format!("cannot set {flag} together with --disable-compression"))),
            None => Ok(()),
        }
    }

    /// What was asked for, by the flags or else as `unsaid` has it.
    pub(super) fn resolve(&self, unsaid: Unsaid<'_>, uncompressed: Uncompressed) -> Result<LayerCompression, CommandError> {
        let format = self.format().or(unsaid.format());
        let level = self.compression_level.or(unsaid.level());
        let method = match (format, level) {
            (None, None) => Ok(None),
            (word, level) => Method::named(word.unwrap_or("gzip"), level).map(Some),
        };
        // Who wants layers left uncompressed does not ask for others to be compressed anew.
        let usual = format.is_some() && uncompressed != Uncompressed::Keep;
        let forced = self.force_compression.unwrap_or(usual);
        Ok(LayerCompression {
            method: method.map_err(|error| self.wrong(error))?,
            recompress: if forced { Recompress::OtherAlgorithm } else { Recompress::Never },
            uncompressed,
            variants: Variants::NONE,
        })
    }

    fn format(&self) -> Option<&str> {
        self.compression_format.as_deref().filter(|word| !word.is_empty())
    }

    /// Says where a word comes from that nobody typed.
    fn wrong(&self, error: InvalidMethod) -> CommandError {
        let setting = match error {
            InvalidMethod::Unknown(_) if self.format().is_none() => "compression_format",
            InvalidMethod::Level { .. } if self.compression_level.is_none() => "compression_level",
            _ => return error.into(),
        };
        CommandError::from(error).context(format!("parsing {setting} from containers.conf"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::compression::Algorithm;

    fn args(format: Option<&str>, level: Option<i32>, force: Option<bool>) -> CompressionArgs {
        CompressionArgs { compression_format: format.map(str::to_owned), compression_level: level, force_compression: force }
    }

    fn settings(format: Option<&str>, level: Option<i32>) -> ContainersConf {
        let mut conf = ContainersConf::default();
        conf.engine.compression_format = format.map(str::to_owned);
        conf.engine.compression_level = level;
        conf
    }

    fn resolved(args: &CompressionArgs, unsaid: Unsaid<'_>) -> Result<(Option<Method>, Recompress), String> {
        let compression = args.resolve(unsaid, Uncompressed::Compress).map_err(|error| error.text())?;
        Ok((compression.method, compression.recompress))
    }

    #[test]
    fn the_flags_come_first_then_the_settings_each_by_itself() {
        let gzip = |level| Method::new(Algorithm::Gzip, level).ok();
        let zstd = |level| Method::new(Algorithm::Zstd, level).ok();
        let (never, other) = (Recompress::Never, Recompress::OtherAlgorithm);
        let cases = [
            ((None, None, None), (None, None), (None, never)),
            ((None, Some(9), None), (None, None), (gzip(Some(9)), never)),
            ((None, None, Some(true)), (None, None), (None, other)),
            ((Some(""), None, None), (None, None), (None, never)),
            ((Some("zstd"), Some(19), None), (None, None), (zstd(Some(19)), other)),
            ((Some("gzip"), None, None), (None, None), (gzip(None), other)),
            ((Some("zstd"), None, Some(false)), (None, None), (zstd(None), never)),
            ((None, None, None), (Some("zstd"), Some(7)), (zstd(Some(7)), other)),
            ((None, None, Some(false)), (Some("zstd"), None), (zstd(None), never)),
            ((None, Some(5), None), (Some("zstd"), Some(7)), (zstd(Some(5)), other)),
            ((Some("gzip"), None, None), (Some("zstd"), Some(7)), (gzip(Some(7)), other)),
            ((None, None, None), (Some("gzip"), None), (None, never)),
            ((None, None, None), (Some("gzip"), Some(7)), (gzip(Some(7)), never)),
            ((None, None, None), (Some(""), None), (None, never)),
            ((None, None, None), (None, Some(7)), (gzip(Some(7)), never)),
            ((Some("zstd:chunked"), None, None), (None, Some(7)), (Method::chunked(Some(7)).ok(), other)),
        ];
        for ((format, level, force), (set, set_level), want) in cases {
            let conf = settings(set, set_level);
            let found = resolved(&args(format, level, force), Unsaid::Configured(&conf));
            assert_eq!(found, Ok(want), "{format:?} {level:?} {force:?} {set:?} {set_level:?}");
        }
        let conf = settings(Some("zstd"), Some(7));
        assert_eq!(resolved(&args(None, None, None), Unsaid::Usual), Ok((None, never)));
        let kept = args(Some("zstd"), None, None).resolve(Unsaid::Configured(&conf), Uncompressed::Keep);
        assert_eq!(kept.map(|kept| kept.recompress).map_err(|error| error.text()), Ok(never));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_of_it() {
        let wrong = |flags: CompressionArgs, set, level| {
            let conf = settings(set, level);
            resolved(&flags, Unsaid::Configured(&conf)).unwrap_err()
        };
        let (file, of_file) =
            ("parsing compression_format from containers.conf: ", "parsing compression_level from containers.conf: ");
        assert!(wrong(args(None, None, None), Some("lz4"), None).starts_with(file));
        assert!(wrong(args(Some("gzip"), None, None), Some("zstd"), Some(19)).starts_with(of_file));
        assert!(wrong(args(Some("lz4"), None, None), Some("zstd"), None).starts_with("cannot find compressor for \"lz4\""));
        assert!(wrong(args(None, Some(19), None), None, Some(3)).starts_with("gzip: invalid compression level: 19"));
    }
}
