//! Subscriptions (mounts.conf) and FIPS mode: content of the host that every command gets a copy of.
//!
//! Invariant: it is read once, as data, within bounds, and ends with the process; no path of the image decides what is read. A
//! subscription that cannot be had is a line on standard error, as with Buildah, and not the end of the command.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use containers_storage::Root;

use crate::conf::mounts::Subscription;
use crate::run::MountOptions;
use crate::run::etc_files::ExtraFile;
use crate::run::mount_args::{Bind, MountFlags, MountKind, MountRequest, Propagation, Source, Writes};

/// Bytes of all subscriptions together.
const BYTES: u64 = 16 << 20;
/// Files of one subscription.
const FILES: usize = 4096;
/// Directories in directories, and links in links.
const DEPTH: usize = 32;

/// Tells that the host is in FIPS mode.
const SYSTEM_FIPS: &str = "/etc/system-fips";
/// The crypto policy that the image has for that case, and where it belongs.
const FIPS_POLICY: &str = "/usr/share/crypto-policies/back-ends/FIPS";
const POLICY: &str = "/etc/crypto-policies/back-ends";

/// Adds copies of `subscriptions` to `mounts`. A place that a mount of the user's takes is left to it.
pub(super) fn add(subscriptions: &[Subscription], mounts: &mut MountOptions) {
    let mut left = BYTES;
    for entry in subscriptions {
        if mounts.requests.iter().any(|request| request.target == entry.container) {
            continue;
        }
        match copy(entry, &mut left) {
            Ok(Copied { directory, files }) => {
                mounts.requests.extend(directory);
                mounts.files.extend(files);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                log::warn!("Path {:?} from {:?} doesn't exist, skipping", entry.host, entry.file);
            }
            Err(error) => {
                log::warn!("Failed to mount subscriptions, skipping entry in {:?}: {:?}: {error}", entry.file, entry.host)
            }
        }
    }
}

/// On a host in FIPS mode the container is told so, and uses its own policy for it.
pub(super) fn add_fips(rootfs: &Root, mounts: &mut MountOptions) {
    if Path::new(SYSTEM_FIPS).exists() {
        fips(rootfs, mounts);
    }
}

fn fips(rootfs: &Root, mounts: &mut MountOptions) {
    mounts.files.push(ExtraFile::new("/run/secrets/system-fips", Vec::new(), 0o644));
    let taken = mounts.requests.iter().any(|request| request.target == Path::new(POLICY));
    // Below the container's root, links and all: what the image says there is a path of its own (CVE-2024-9341).
    if taken || rootfs.metadata(Path::new(FIPS_POLICY)).is_err() {
        return;
    }
    let bind = Bind {
        source: Source::Rootfs(PathBuf::from(FIPS_POLICY)),
        recursive: false,
        propagation: Propagation::Private,
        chown: false,
        writes: Writes::Through,
        relabel: None,
        no_follow: false,
        id_map: None,
    };
    let flags = MountFlags { read_only: true, ..MountFlags::default() };
    mounts.requests.push(MountRequest { kind: MountKind::Bind(bind), target: PathBuf::from(POLICY), flags });
}

struct Copied {
    directory: Option<MountRequest>,
    files: Vec<ExtraFile>,
}

fn copy(entry: &Subscription, left: &mut u64) -> io::Result<Copied> {
    let meta = fs::metadata(&entry.host)?;
    let mut files = Vec::new();
    if !meta.is_dir() {
        files.push(read(&entry.host, entry.container.clone(), left)?);
        return Ok(Copied { directory: None, files });
    }
    walk(&entry.host, &entry.container, DEPTH, &mut files, left)?;
    let kind = MountKind::Tmpfs { size: None, mode: Some(meta.permissions().mode() & 0o777), copy_up: false };
    let directory = MountRequest { kind, target: entry.container.clone(), flags: MountFlags::default() };
    Ok(Copied { directory: Some(directory), files })
}

fn walk(host: &Path, container: &Path, depth: usize, files: &mut Vec<ExtraFile>, left: &mut u64) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or_else(|| io::Error::other("too many directories in directories"))?;
    let mut entries = fs::read_dir(host)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, target) = (entry.path(), container.join(entry.file_name()));
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => walk(&path, &target, depth, files, left)?,
            Ok(_) if files.len() >= FILES => return Err(io::Error::other(format!("more than {FILES} files"))),
            Ok(_) => files.push(read(&path, target, left)?),
            // A link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read(path: &Path, target: PathBuf, left: &mut u64) -> io::Result<ExtraFile> {
    use std::os::unix::fs::OpenOptionsExt;
    // Opening a FIFO must not wait for its writer.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other(format!("unsupported file type for: {path:?}")));
    }
    let mut content = Vec::new();
    file.take(*left + 1).read_to_end(&mut content)?;
    *left = left.checked_sub(content.len() as u64).ok_or_else(|| io::Error::other(format!("more than {BYTES} bytes")))?;
    Ok(ExtraFile::new(target, content, meta.permissions().mode() & 0o777))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn entry(host: &Path, container: &str) -> Subscription {
        Subscription { host: host.to_owned(), container: PathBuf::from(container), file: PathBuf::from("mounts.conf") }
    }

    fn targets(mounts: &MountOptions) -> Vec<&str> {
        let directories = mounts.requests.iter().map(|request| request.target.to_str().unwrap());
        directories.chain(mounts.files.iter().map(|file| file.target.to_str().unwrap())).collect()
    }

    #[test]
    fn a_tree_is_copied_with_its_modes_and_what_links_name() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        fs::write(tree.join("sub/key"), "k").unwrap();
        fs::set_permissions(tree.join("sub/key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(dir.path().join("outside"), "o").unwrap();
        symlink(dir.path().join("outside"), tree.join("link")).unwrap();
        symlink("/nonexistent", tree.join("dangling")).unwrap();
        let mut mounts = MountOptions::default();
        add(&[entry(&tree, "/run/secrets/t"), entry(&dir.path().join("missing"), "/m")], &mut mounts);
        assert_eq!(targets(&mounts), ["/run/secrets/t", "/run/secrets/t/link", "/run/secrets/t/sub/key"]);
        assert_eq!((mounts.files[1].content.as_slice(), mounts.files[1].place.mode), (b"k".as_slice(), 0o600));
        assert_eq!(mounts.files[0].content, b"o");
    }

    #[test]
    fn what_is_no_file_or_too_much_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let large = dir.path().join("large");
        fs::File::create(&large).unwrap().set_len(BYTES + 1).unwrap();
        let cycle = dir.path().join("cycle");
        fs::create_dir(&cycle).unwrap();
        symlink(&cycle, cycle.join("again")).unwrap();
        let mut mounts = MountOptions::default();
        add(&[entry(&fifo, "/f"), entry(&large, "/l"), entry(&cycle, "/c")], &mut mounts);
        assert_eq!(targets(&mounts), [""; 0]);
    }

    #[test]
    fn in_fips_mode_the_images_own_policy_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut mounts = MountOptions::default();
        fips(&root, &mut mounts);
        assert_eq!(targets(&mounts), ["/run/secrets/system-fips"]);
        fs::create_dir_all(dir.path().join(FIPS_POLICY.trim_start_matches('/'))).unwrap();
        let mut mounts = MountOptions::default();
        fips(&root, &mut mounts);
        assert_eq!(targets(&mounts), [POLICY, "/run/secrets/system-fips"]);
        assert_eq!(mounts.requests[0].bind().unwrap().source, Source::Rootfs(PathBuf::from(FIPS_POLICY)));
    }
}
