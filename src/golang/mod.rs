//! Text forms of Go's standard library that the formats and outputs of the other container tools consist of.
//!
//! Their files are JSON as `encoding/json` writes it, their flags take durations as `time.ParseDuration` reads them, their
//! templates print as `fmt` does. Pure, and below everything else in this package.

pub mod duration;
pub mod json;
pub mod number;

/// This machine's architecture in the words of image configs (`GOARCH`).
pub fn goarch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "loongarch64" => "loong64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "mips64" if cfg!(target_endian = "little") => "mips64le",
        other => other,
    }
}
