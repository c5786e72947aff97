//! What `add` would copy, as one digest, without copying it.

use std::ffi::OsString;
use std::os::fd::AsFd;

use containers_storage::Digest;

use super::error::Error;
use super::sources::Origin;
use super::{Selection, Source, context_ignore};
use crate::copier::fingerprint::{Fingerprint, Known, Owners};
use crate::copier::ignore::Ignore;
use crate::copier::tree::Filter;

/// The digest over everything that `sources` select, with the patterns that select it: names, kinds, modes, contents; owners where copies
/// keep them. Digests of files come from `known`, where it has them.
pub fn fingerprint(
    source: &Source<'_>,
    sources: &[OsString],
    selection: &Selection,
    known: &mut dyn Known,
) -> Result<Digest, Error> {
    let origin = Origin::open(source)?;
    let (ignore, _) = context_ignore(selection, source, &origin)?;
    let exclude = Ignore::new(selection.exclude.iter().map(String::as_str)).map_err(Error::Excludes)?;
    let filter = Filter {
        context: Some(&ignore).filter(|patterns| !patterns.is_empty()),
        source: Some(&exclude).filter(|patterns| !patterns.is_empty()),
        include: None,
    };
    let owners = match source {
        Source::Root { .. } => Owners::Counted,
        Source::Host { .. } | Source::Context { .. } => Owners::Ignored,
    };
    let mut all = Fingerprint::new(filter, owners, known);
    for spec in sources {
        let items = match origin.expand(spec, selection) {
            Ok(group) => group.items,
            // Whether other operands make up for it is for the copy to say.
            Err(Error::NoMatch { .. }) => continue,
            Err(error) => return Err(error),
        };
        for item in items {
            let handle = origin.open_item(&item)?;
            let path = origin.real_path(&item, handle.as_fd());
            let excluded =
                filter.context.is_some_and(|ignore| !path.as_os_str().is_empty() && ignore.excludes(&path.to_string_lossy()));
            if excluded && !(item.is_directory && ignore.takes_back()) {
                continue;
            }
            let failed = |source| Error::Copy { name: origin.shown(&item.path), source };
            all.add(handle.as_fd(), &path, &item.kept).map_err(failed)?;
        }
    }
    Ok(all.complete())
}
