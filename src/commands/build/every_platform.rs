//! `--all-platforms`: those for which every image is there that the build stands on.

use super::CommandError;
use crate::build::{self, Options};
use crate::commands::platform::normalized;
use crate::container::manifest_list::{self, Access, Ask};
use crate::container::pull::PullPolicy;
use crate::transport::copy::Platform;

use containers_storage::store::Store;

/// The platforms, in the order of the first image's list. Lists are asked for at their registries, unless nothing may be pulled.
pub(super) fn of_bases(store: &Store, options: &Options<'_>, policy: PullPolicy) -> Result<Vec<Platform>, CommandError> {
    let bases = build::bases(options)?;
    let fetch = &options.fetch;
    let access = Access {
        registries: fetch.registries,
        trust: fetch.trust,
        temp_dir: fetch.temp_dir,
        network: fetch.network,
        choose: fetch.choose,
    };
    let ask = if policy == PullPolicy::Never { Ask::Store } else { Ask::Registries };
    let mut common: Option<Vec<Platform>> = None;
    for base in &bases {
        let looked = manifest_list::platforms(store, base, &access, ask);
        let of_base =
            looked.map_err(|error| CommandError::from(error).context(format!("looking up the platforms of {base:?}")))?;
        let mut of_base: Vec<Platform> = of_base.into_iter().map(normalized).collect();
        match &mut common {
            Some(common) => common.retain(|platform| of_base.contains(platform)),
            None => {
                let mut seen = Vec::new();
                of_base.retain(|platform| {
                    !seen.contains(platform) && {
                        seen.push(platform.clone());
                        true
                    }
                });
                common = Some(of_base);
            }
        }
    }
    match common {
        Some(platforms) if !platforms.is_empty() => Ok(platforms),
        Some(_) => Err(CommandError::usage("there is no platform for which all base images are available")),
        None => {
            let hint = "name the platforms that are wanted with --platform".to_owned();
            Err(CommandError::usage("--all-platforms: no stage is made on an image whose platforms could be looked up")
                .hinting(Some(hint)))
        }
    }
}
