//! How far the process may go that takes the steps of a stage.
//!
//! ```text
//! process of the build    looks: is there an image of an earlier build for each step?   needs no container, namespace, network, program
//!        │ stops at what needs more
//! process of the stage    goes on from there
//! ```
//!
//! Invariant: what is done where only looking is permitted leaves no trace but names of images, and takes little time. Who stops has told and
//! changed nothing that is not needed to go on.

use std::ffi::OsString;
use std::io;

use containers_storage::Digest;

use super::error::StepError;
use super::options::{Layers, NamedContext};
use super::stage::Build;
use crate::container::add::{self, Selection};
use crate::container::mounted;
use crate::container::pull::{self, Fetch, Obtained, PullPolicy};
use crate::copier::fingerprint::{FileId, Known};
use crate::transport::copy::Platform;

/// Bytes of unknown files that are read by whoever may only look.
const LOOKED_AT: u64 = 16 << 20;

/// How far it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To what the store has already.
    Look,
    /// No further: something was to be done beyond that.
    Stopped,
    /// Anywhere.
    Work,
}

/// Digests of files, of which few more are read.
struct Limited<'k> {
    known: &'k mut dyn Known,
    left: Option<u64>,
}

impl Known for Limited<'_> {
    fn get(&mut self, file: &FileId) -> Option<[u8; 32]> {
        self.known.get(file)
    }

    fn put(&mut self, file: &FileId, digest: [u8; 32]) {
        self.known.put(file, digest);
    }

    fn may_read(&mut self, file: &FileId) -> bool {
        self.left = self.left.and_then(|left| left.checked_sub(file.size));
        self.left.is_some()
    }
}

impl Build<'_> {
    /// Whether steps are worth looking for before there is a process for the stage.
    pub(super) fn may_look(&self) -> bool {
        let (image, layering) = (&self.options.image, &self.options.layering);
        let is_here_alone = layering.cache_from.is_empty() && layering.cache_to.is_empty();
        let is_made_anew = image.squash || image.sbom.is_some() || image.sign_by.is_some() || image.manifest_list.is_some();
        layering.layers == Layers::Step && is_here_alone && !is_made_anew && !self.is_result_held()
    }

    /// Whether something was to be done that is not permitted here: whatever fails, fails of that.
    pub(super) fn is_stopped(&self) -> bool {
        self.reach.get() == Reach::Stopped
    }

    /// Refuses what needs more than a look, where that is all that is permitted.
    pub(super) fn require_work(&self) -> Result<(), StepError> {
        match self.reach.get() {
            Reach::Work => Ok(()),
            Reach::Look | Reach::Stopped => Err(self.stop()),
        }
    }

    pub(super) fn stop(&self) -> StepError {
        self.reach.set(Reach::Stopped);
        StepError::Beyond
    }

    /// The image called `name`, as the caller wants images to be had.
    pub(super) fn obtain(&self, name: &str, platform: Option<&Platform>) -> Result<Obtained, StepError> {
        let fetch = self.fetch(platform);
        if self.reach.get() == Reach::Work {
            let obtain = if self.is_lent(name) { pull::obtain_lent } else { pull::obtain };
            return Ok(obtain(self.store, name, &fetch).map_err(Box::new)?);
        }
        let may_be_here = matches!(fetch.policy, PullPolicy::Missing | PullPolicy::Never);
        let found = if may_be_here { self.find_here(name, platform) } else { None };
        found.ok_or_else(|| self.stop())
    }

    /// Whether an image is one of `--build-context`.
    fn is_lent(&self, image: &str) -> bool {
        self.options.named_contexts.iter().any(|(_, context)| matches!(context, NamedContext::Image(lent) if lent == image))
    }

    /// The image called `name` as it is in the store, whatever other places have.
    pub(super) fn find_here(&self, name: &str, platform: Option<&Platform>) -> Option<Obtained> {
        let here = Fetch { policy: PullPolicy::Never, ..self.fetch(platform) };
        // What is wrong with it is said by who may ask for it elsewhere.
        if pull::is_elsewhere(name) { None } else { pull::obtain(self.store, name, &here).ok() }
    }

    /// What a copy would bring, as one digest.
    pub(in crate::build) fn fingerprint(
        &self,
        source: &add::Source<'_>,
        operands: &[OsString],
        selection: &Selection,
    ) -> Result<Digest, StepError> {
        let Some(cache) = &self.cache else { return Ok(Digest::of(b"")) };
        let mut files = cache.files().borrow_mut();
        if self.reach.get() == Reach::Work {
            let digest = match add::fingerprint(source, operands, selection, &mut *files) {
                // In the namespace files of subordinate ids can be read, and those of the caller that nobody may read.
                Err(error) if is_refused(&error) && mounted::enter_for_files(self.store).is_ok() => {
                    add::fingerprint(source, operands, selection, &mut *files)
                }
                digest => digest,
            };
            return Ok(digest.map_err(Box::new)?);
        }
        let mut known = Limited { known: &mut *files, left: Some(LOOKED_AT) };
        let digest = add::fingerprint(source, operands, selection, &mut known);
        match digest {
            _ if known.left.is_none() => Err(self.stop()),
            Err(error) if is_refused(&error) => Err(self.stop()),
            digest => Ok(digest.map_err(Box::new)?),
        }
    }
}

/// Whether the kernel did not permit it.
fn is_refused(error: &add::Error) -> bool {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Nothing;

    impl Known for Nothing {
        fn get(&mut self, _: &FileId) -> Option<[u8; 32]> {
            None
        }

        fn put(&mut self, _: &FileId, _: [u8; 32]) {}
    }

    #[test]
    fn who_looks_reads_little() {
        let file = |size| FileId { device: 1, inode: 2, size, modified: 3, changed: 4 };
        let mut nothing = Nothing;
        let mut limited = Limited { known: &mut nothing, left: Some(10) };
        let read: Vec<bool> = [4, 6, 0, 1, 0].map(|size| limited.may_read(&file(size))).into();
        assert_eq!(read, [true, true, true, false, false]);
        assert!(limited.left.is_none());
    }
}
