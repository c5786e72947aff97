//! Cache directories (`--mount type=cache`): where they are, how they are made, and who has to wait.
//!
//! ```text
//! <temporary directory>/buildah-cache-<uid>/     mode 0700, the caller's: Buildah's place, so that both share them
//!     <16 digits of the hash of "name:uid:gid">/     mounted
//!     <the same>-1/ …                                for who found it in use (sharing=private)
//!     buildah-cache-lockfiles/<the same>/buildah-cache-lockfile
//! ```
//!
//! Invariant: a name is hashed and never a path (CVE-2024-9675); the parent is in a directory where others may write, so that it is
//! used only if it is a directory of the caller's that nobody else may write to (known attack A126); locks lie beside the data
//! they guard (A127); a new directory has its owner, its mode and its first content before it has its name.

mod lock;
mod seed;
mod stock;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use containers_storage::private::Unfit;
use containers_storage::{Digest, Root};
use rustix::fs::{CWD, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use self::lock::{Claim, claim};
use super::mount_args::{Cache, MountKind, MountRequest, Sharing};
use super::namespaces::User;
use super::spec::lexically_clean;
use super::{Error, MountOptions, NamedRoot};

pub use stock::{Emptied, Stock, empty, stock};

/// The directories of the caches that a run was given, and what keeps others from them.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// In the order of the requests for caches.
    pub directories: Vec<OwnedFd>,
    /// Held until the command has ended.
    pub locks: Vec<File>,
}

/// One of the caches that a run asks for.
struct Wanted<'a> {
    key: String,
    mount: &'a MountRequest,
    cache: &'a Cache,
    seed: Option<&'a NamedRoot>,
}

/// Handles on what is mounted for the caches among the requests; directories are made where they are missing. Locks are waited for, in the
/// same order by every run, so that none waits for the other for ever.
pub(super) fn open(options: &MountOptions, user: &User) -> Result<Opened, Error> {
    let mut wanted = Vec::new();
    for mount in &options.requests {
        let MountKind::Cache(cache) = &mount.kind else { continue };
        let seed = cache.from.as_ref().map(|name| {
            let known = options.roots.iter().find(|root| root.name == *name);
            known.ok_or_else(|| Error::Request(format!("no stage or additional build context found with name {name}")))
        });
        let seed = seed.transpose()?;
        wanted.push(Wanted { key: key(cache, &mount.target, seed), mount, cache, seed });
    }
    let Some(first) = wanted.first() else { return Ok(Opened::default()) };
    let Some(parent) = &options.cache_dir else {
        return Err(Error::Request(format!("the cache for {:?} has no directory to be in", first.mount.target)));
    };
    let failed = |source: io::Error| Error::prepare(format!("the cache directory {parent:?}"), source);
    let own = open_parent(parent).map_err(failed)?;
    let claims = claims(&own, &wanted).map_err(failed)?;
    let mut opened = Opened::default();
    for one in &wanted {
        let claim = claims.iter().find(|claim| claim.key == one.key);
        let name = claim.map_or(&one.key, |claim| &claim.name);
        opened.directories.push(directory(&own, name, one, user)?);
    }
    opened.locks = claims.into_iter().map(|claim| claim.file).collect();
    Ok(opened)
}

/// One lock for each of the caches, the strictest one that it is asked for with.
fn claims(own: &OwnedFd, wanted: &[Wanted<'_>]) -> io::Result<Vec<Claim>> {
    let strictness = |sharing: Sharing| match sharing {
        Sharing::Shared => 0,
        Sharing::Private => 1,
        Sharing::Locked => 2,
    };
    let mut keys: Vec<(&str, Sharing)> = wanted.iter().map(|one| (one.key.as_str(), one.cache.sharing)).collect();
    keys.sort_by_key(|(key, sharing)| (*key, std::cmp::Reverse(strictness(*sharing))));
    keys.dedup_by_key(|(key, _)| *key);
    keys.into_iter().map(|(key, sharing)| claim(own, key, sharing)).collect()
}

fn directory(own: &OwnedFd, name: &str, wanted: &Wanted<'_>, user: &User) -> Result<OwnedFd, Error> {
    let cache = wanted.cache;
    let failed = |source: io::Error| Error::prepare(format!("the cache for {:?}", wanted.mount.target), source);
    let owner = user.owner(cache.uid, cache.gid).map_err(Error::Request)?;
    if let Some(seed) = wanted.seed {
        let begin = |directory: &OwnedFd| seed::copy(&seed.root, &cache.source, directory, user);
        return open_or_make(own, name, begin).map_err(|source| {
            Error::prepare(
                format!("a new cache for {:?} from {:?} of {:?}", wanted.mount.target, cache.source, seed.name),
                source,
            )
        });
    }
    let begin = |directory: &OwnedFd| {
        rustix::fs::fchown(directory, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
        Ok(rustix::fs::fchmod(directory, Mode::from_raw_mode(cache.mode))?)
    };
    let directory = open_or_make(own, name, begin).map_err(failed)?;
    if cache.source.as_os_str().is_empty() {
        return Ok(directory);
    }
    let below = Root::from(directory).resolve(&cache.source);
    below.map_err(|source| Error::prepare(format!("{:?} of the cache for {:?}", cache.source, wanted.mount.target), source))
}

fn key(cache: &Cache, target: &Path, seed: Option<&NamedRoot>) -> String {
    let target = lexically_clean(target);
    let name = cache.id.as_deref().map_or_else(|| target.to_string_lossy(), Into::into);
    let mut text = format!("{name}:{}:{}", cache.uid, cache.gid);
    if let Some(seed) = seed {
        // What began as something else is another cache.
        text.push_str(&format!(":{}\0{}\0{}", seed.name, seed.identity, cache.source.display()));
    }
    let digest = Digest::of(text.as_bytes()).to_string();
    digest.trim_start_matches("sha256:").chars().take(16).collect()
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_parent(path: &Path) -> io::Result<OwnedFd> {
    let directory = match rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {
            match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?
        }
        opened => opened?,
    };
    checked(directory)
}

/// The directory, if it is the caller's and nobody else may write to it.
fn checked(directory: OwnedFd) -> io::Result<OwnedFd> {
    let stat = rustix::fs::fstat(&directory)?;
    let unfit = if stat.st_uid != rustix::process::geteuid().as_raw() {
        Some(Unfit::Foreign { owner: stat.st_uid })
    } else {
        (stat.st_mode & 0o022 != 0).then_some(Unfit::Shared)
    };
    if let Some(unfit) = unfit {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, unfit.to_string()));
    }
    Ok(directory)
}

/// What begins with this is being made, and then has the name of the cache and a number; no cache has such a name.
const UNFINISHED: &str = ".new-";

/// The directory `name`; `begin` gives a new one what it is to have.
fn open_or_make(parent: &OwnedFd, name: &str, begin: impl FnOnce(&OwnedFd) -> io::Result<()>) -> io::Result<OwnedFd> {
    match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return Ok(opened?),
    }
    let number = getrandom::u64().map_err(io::Error::other)?;
    let beside = format!("{UNFINISHED}{name}-{number:016x}");
    rustix::fs::mkdirat(parent, &beside, Mode::RWXU)?;
    let named = rustix::fs::openat(parent, &beside, DIRECTORY, Mode::empty()).map_err(io::Error::from).and_then(|directory| {
        begin(&directory)?;
        Ok(rustix::fs::renameat_with(parent, &beside, parent, name, RenameFlags::NOREPLACE)?)
    });
    if named.is_err() {
        // Another process was faster, or there is nothing to begin with. What stays is removed by prune.
        let _ = parent.try_clone().and_then(|parent| Root::from(parent).remove_all(Path::new(&beside)));
    }
    match named {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    fn opened(parent: &Path, words: &str) -> Result<(OwnedFd, Vec<File>), Error> {
        let owner = format!("uid={},gid={}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let mount = MountRequest::parse_mount(&format!("type=cache,{owner},{words}")).unwrap();
        opened_with(parent, mount, Vec::new())
    }

    fn opened_with(parent: &Path, mount: MountRequest, roots: Vec<NamedRoot>) -> Result<(OwnedFd, Vec<File>), Error> {
        let cache_dir = Some(parent.to_owned());
        let options = MountOptions { requests: vec![mount], cache_dir, roots, ..MountOptions::default() };
        open(&options, &User::Same).map(|mut opened| (opened.directories.remove(0), opened.locks))
    }

    fn inode(handle: &OwnedFd) -> u64 {
        rustix::fs::fstat(handle).unwrap().st_ino
    }

    #[test]
    fn hostile_names_are_hashed_into_one_directory_below_the_parent() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        let mut seen = Vec::new();
        for words in
            ["id=../../x,dst=/c", "id=/etc,dst=/c", "id=.,dst=/c", "dst=/../../x", &format!("id={},dst=/c", "y".repeat(4096))]
        {
            let (handle, _) = opened(&parent, words).unwrap();
            seen.push(inode(&handle));
        }
        let names: Vec<_> = std::fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 6, "{names:?}");
        let is_expected = |name: &&std::ffi::OsString| name.len() == 16 || **name == *lock::LOCK_DIRECTORY;
        assert!(names.iter().all(|name| is_expected(&name)), "{names:?}");
        assert_eq!(inode(&opened(&parent, "id=/etc,dst=/other").unwrap().0), seen[1], "the name decides, not the target");
        assert_eq!(std::fs::metadata(&parent).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_new_directory_has_the_mode_that_was_asked_for_and_an_old_one_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        for (words, mode) in [("dst=/a,mode=0711", 0o711), ("dst=/a,mode=0700", 0o711), ("dst=/b", 0o755)] {
            let stat = rustix::fs::fstat(opened(&parent, words).unwrap().0).unwrap();
            assert_eq!(stat.st_mode & 0o7777, mode, "{words}");
        }
    }

    #[test]
    fn a_parent_that_others_can_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let wide = dir.path().join("wide");
        std::fs::create_dir(&wide).unwrap();
        std::fs::set_permissions(&wide, std::fs::Permissions::from_mode(0o777)).unwrap();
        let link = dir.path().join("link");
        symlink(dir.path(), &link).unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for parent in [wide, link, file, PathBuf::from("/nonexistent/parent")] {
            assert!(opened(&parent, "dst=/c").is_err(), "{parent:?}");
        }
    }

    #[test]
    fn a_source_stays_in_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        let (handle, _) = opened(&parent, "dst=/c").unwrap();
        rustix::fs::symlinkat(dir.path(), &handle, "out").unwrap();
        rustix::fs::mkdirat(&handle, "sub", Mode::RWXU).unwrap();
        assert!(opened(&parent, "dst=/c,source=out").is_err());
        assert_eq!(inode(&opened(&parent, "dst=/c,source=../..").unwrap().0), inode(&handle));
        assert_ne!(inode(&opened(&parent, "dst=/c,source=/sub").unwrap().0), inode(&handle));
    }

    #[test]
    fn a_locked_cache_makes_the_next_one_wait() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        for second in ["locked", "shared"] {
            let (_, locks) = opened(&parent, "dst=/c,sharing=locked").unwrap();
            opened(&parent, "dst=/other,sharing=locked").unwrap();
            let second = {
                let (parent, words) = (parent.clone(), format!("dst=/c,sharing={second}"));
                std::thread::spawn(move || opened(&parent, &words).map(|_| std::time::Instant::now()).unwrap())
            };
            std::thread::sleep(std::time::Duration::from_millis(50));
            let released = std::time::Instant::now();
            drop(locks);
            assert!(second.join().unwrap() >= released);
        }
    }

    #[test]
    fn those_who_share_a_cache_do_not_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        let (one, _lock) = opened(&parent, "dst=/c").unwrap();
        let (other, _lock) = opened(&parent, "dst=/c,sharing=shared").unwrap();
        assert_eq!(inode(&one), inode(&other));
    }

    #[test]
    fn whoever_finds_a_private_cache_in_use_gets_another_one_and_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        let private = || opened(&parent, "dst=/c,sharing=private").unwrap();
        let ((first, lock), (second, _lock)) = (private(), private());
        assert_ne!(inode(&first), inode(&second));
        drop(lock);
        assert_eq!(inode(&private().0), inode(&first));
        let (shared, _lock) = opened(&parent, "dst=/c").unwrap();
        assert_eq!(inode(&shared), inode(&first));
        assert!(![inode(&first), inode(&second)].contains(&inode(&private().0)), "one that nobody shares");
    }

    #[test]
    fn one_run_may_ask_for_a_cache_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mount = |words: &str| {
            let owner = format!("uid={},gid={}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            MountRequest::parse_mount(&format!("type=cache,id=x,{owner},{words}")).unwrap()
        };
        let requests = ["dst=/a,sharing=locked", "dst=/b", "dst=/c,sharing=private"].map(mount).to_vec();
        let options = MountOptions { requests, cache_dir: Some(dir.path().join("cache")), ..MountOptions::default() };
        let opened = open(&options, &User::Same).unwrap();
        assert_eq!((opened.directories.len(), opened.locks.len()), (3, 1));
    }

    #[test]
    fn a_new_cache_begins_with_a_copy_that_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        let seed = dir.path().join("seed");
        std::fs::create_dir_all(seed.join("d/e")).unwrap();
        std::fs::write(seed.join("d/e/f"), "first").unwrap();
        std::fs::set_permissions(seed.join("d"), std::fs::Permissions::from_mode(0o711)).unwrap();
        symlink(dir.path(), seed.join("out")).unwrap();
        let cache = |words: &str, identity: &str| {
            let mount = MountRequest::parse_mount(&format!("type=cache,dst=/c,from=s,{words}")).unwrap();
            let root = std::sync::Arc::new(Root::open(&seed).unwrap());
            let named = NamedRoot { name: "s".into(), identity: identity.into(), root };
            opened_with(&parent, mount, vec![named])
        };
        let content = |handle: &OwnedFd| Root::from(handle.try_clone().unwrap()).read_file(Path::new("e/f"), 9).unwrap();
        let (first, _) = cache("src=/d", "1").unwrap();
        assert_eq!((content(&first), rustix::fs::fstat(&first).unwrap().st_mode & 0o777), (b"first".to_vec(), 0o711));
        std::fs::write(seed.join("d/e/f"), "second").unwrap();
        assert_eq!(content(&cache("src=/d", "1").unwrap().0), b"first", "it is not copied again");
        assert_eq!(content(&cache("src=/d", "2").unwrap().0), b"second", "of something else");
        for source in ["src=out", "src=missing", "src=d/e/f"] {
            assert!(cache(source, "1").is_err(), "{source}");
        }
        let mount = MountRequest::parse_mount("type=cache,dst=/c,from=unknown").unwrap();
        assert!(
            opened_with(&parent, mount, Vec::new()).unwrap_err().to_string().contains("no stage or additional build context")
        );
        let names = std::fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with('.')), "something unfinished stays");
    }

    #[test]
    fn emptying_leaves_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("cache");
        assert_eq!(stock(&parent).unwrap(), Stock { number: 0 });
        let (used, _lock) = opened(&parent, "dst=/used").unwrap();
        opened(&parent, "dst=/unused").unwrap();
        let beside = |name: &str| std::fs::create_dir(parent.join(name)).unwrap();
        let entries = std::fs::read_dir(&parent).unwrap().map(Result::unwrap);
        let found = entries.into_iter().find(|entry| entry.metadata().unwrap().ino() == inode(&used)).unwrap();
        let used_name = found.file_name().into_string().unwrap();
        beside(&format!("{UNFINISHED}{used_name}-0123456789abcdef"));
        beside(&format!("{UNFINISHED}0123456789abcdef-0123456789abcdef"));
        assert_eq!(stock(&parent).unwrap(), Stock { number: 2 });
        assert_eq!(empty(&parent).unwrap(), Emptied { removed: 1, in_use: 1 });
        let mut left: Vec<_> =
            std::fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let mut kept = vec![format!("{UNFINISHED}{used_name}-0123456789abcdef"), used_name, lock::LOCK_DIRECTORY.to_owned()];
        kept.sort();
        assert_eq!(left, kept);
    }
}
