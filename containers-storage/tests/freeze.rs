//! Layers made of containers, in place and by copy, as root and rootless; the other tools must get the same bytes out.

mod fixture;
mod namespaces;

use std::collections::HashSet;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use containers_storage::archive::pack::Times;
use containers_storage::check::{self, Depth};
use containers_storage::conf::Conf;
use containers_storage::containers::Container;
use containers_storage::driver::MountOptions;
use containers_storage::freeze::{self, Options};
use containers_storage::images::Image;
use containers_storage::layers::Layer;
use containers_storage::store::{NewContainer, NewImage, Store};
use containers_storage::{Digest, LayerId, Root, id_map};

/// The digest of the tar without members.
const EMPTY: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

struct World {
    dir: PathBuf,
    store: Store,
}

impl World {
    fn new(dir: PathBuf) -> Self {
        let conf = Conf::at(&dir.join("g"), &dir.join("r"), id_map::is_rootless());
        Self { store: Store::open(conf).unwrap(), dir }
    }

    fn container(&self, image: Option<&Image>) -> Container {
        let new = NewContainer {
            image: image.map(|image| image.id.clone()),
            parent: image.and_then(|image| image.layer.clone()),
            ..NewContainer::default()
        };
        self.store.create_container(&new, &mut |n| Some(format!("c{n}")), &mut |_, _| Ok(())).unwrap()
    }

    /// Works in a mount of the container.
    fn work(&self, container: &Container, work: impl FnOnce(&Path)) {
        let driver = self.store.driver().unwrap();
        let options = MountOptions { volatile: true, ..MountOptions::default() };
        let merged = driver.mount(&container.layer, &options).unwrap();
        work(&merged);
        driver.unmount(&container.layer).unwrap();
    }

    /// Freezes in place, under an image of the layers below and this one.
    fn freeze(&self, container: &Container, name: &str, options: &Options) -> Image {
        let driver = self.store.driver().unwrap();
        let frozen = freeze::in_place(&self.store, driver, container, options).unwrap();
        let mut layers = self.below(container);
        let mut own = self.store.layers().unwrap().get(&container.layer).unwrap();
        own.set_content(Some(frozen.content()));
        layers.push(own);
        let image = NewImage { layer: Some(frozen.layer().clone()), ..fixture::new_image(&layers, name, &[name]) };
        frozen.publish(&self.store, &image).unwrap()
    }

    fn copy(&self, container: &Container, name: &str) -> (Layer, Image) {
        let driver = self.store.driver().unwrap();
        let layer = freeze::copy(&self.store, driver, container, &Options::default()).unwrap();
        let mut layers = self.below(container);
        layers.push(layer.clone());
        (layer, self.store.put_image(&fixture::new_image(&layers, name, &[name])).unwrap())
    }

    /// The layers below the container's own, base first.
    fn below(&self, container: &Container) -> Vec<Layer> {
        let layers = self.store.layers().unwrap();
        let mut chain = layers.chain(&container.layer).unwrap();
        chain.remove(0);
        chain.reverse();
        chain
    }

    fn diff(&self, container: &Container) -> PathBuf {
        self.store.driver().unwrap().diff_dir(&container.layer).unwrap()
    }

    /// The directory of the image's top layer.
    fn top(&self, image: &Image) -> PathBuf {
        self.store.driver().unwrap().diff_dir(image.layer.as_ref().unwrap()).unwrap()
    }

    /// skopeo makes each layer's tar from its tar-split again. The digests of the blobs, checked against their names.
    fn taken_out(&self, image: &str) -> HashSet<String> {
        let out = self.dir.join(format!("out-{}", image.replace(['/', ':'], "-")));
        let name =
            format!("containers-storage:[overlay@{}+{}]{image}", self.dir.join("g").display(), self.dir.join("r").display());
        self.tool("skopeo", &["copy", "-q", "--dest-decompress", &name, &format!("dir:{}", out.display())]);
        let mut digests = HashSet::new();
        for entry in fs::read_dir(&out).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.len() == 64 {
                assert_eq!(Digest::of(&fs::read(entry.path()).unwrap()).hex(), name);
                digests.insert(format!("sha256:{name}"));
            }
        }
        digests
    }

    fn store_tool(&self, tool: &str, args: &[&str]) -> String {
        let (graph, run) = (self.dir.join("g"), self.dir.join("r"));
        let mut all =
            vec!["--root", graph.to_str().unwrap(), "--runroot", run.to_str().unwrap(), "--storage-driver", "overlay"];
        all.extend(args);
        self.tool(tool, &all)
    }

    fn tool(&self, tool: &str, args: &[&str]) -> String {
        let mut command = Command::new(tool);
        command.args(args).current_dir(&self.dir).env("HOME", &self.dir).env("XDG_RUNTIME_DIR", &self.dir);
        if id_map::is_rootless() {
            command.env("_CONTAINERS_USERNS_CONFIGURED", "done").env("_CONTAINERS_ROOTLESS_UID", "1001");
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool} {args:?}: {text}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn assert_clean(&self) {
        let report = check::check(&self.store, Depth::Structure).unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}

/// Everything of a tree that a layer carries, as text.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let content = match stat.file_type() {
                kind if kind.is_dir() => {
                    todo.push(path.clone());
                    String::new()
                }
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                kind if kind.is_file() => Digest::of(&fs::read(&path).unwrap()).to_string(),
                _ => String::new(),
            };
            // A whiteout's time says when it was made; that of a copy is another.
            let time = if stat.file_type().is_char_device() { 0 } else { stat.mtime() };
            lines.push(format!("{name} {:o} {}:{} {time} {content}", stat.mode(), stat.uid(), stat.gid()));
        }
    }
    lines.sort();
    lines
}

fn base_work(root: &Path) {
    for dir in ["etc", "usr/bin", "var/lib/a", "gone/sub", "remade"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    fs::write(root.join("usr/bin/su"), "x").unwrap();
    fs::set_permissions(root.join("usr/bin/su"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(root.join("usr/bin/big"), vec![7u8; 3_000_000]).unwrap();
    fs::hard_link(root.join("usr/bin/big"), root.join("usr/bin/big2")).unwrap();
    fs::write(root.join("gone/sub/f"), "f").unwrap();
    fs::write(root.join("remade/old"), "old").unwrap();
    fs::write(root.join("var/lib/a/ümläut \u{1F600}"), "").unwrap();
    fs::write(root.join(format!("var/{}", "n".repeat(200))), "long").unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    std::os::unix::fs::chown(root.join("var/lib/a"), Some(33), Some(34)).unwrap();
    for (name, kind) in [("fifo", rustix::fs::FileType::Fifo), ("socket", rustix::fs::FileType::Socket)] {
        rustix::fs::mknodat(rustix::fs::CWD, root.join(name), kind, 0o600.into(), 0).unwrap();
    }
}

fn top_work(root: &Path) {
    fs::remove_dir_all(root.join("gone")).unwrap();
    fs::remove_dir_all(root.join("remade")).unwrap();
    fs::create_dir(root.join("remade")).unwrap();
    fs::write(root.join("remade/new"), "new").unwrap();
    fs::create_dir_all(root.join("fresh/deep")).unwrap();
    fs::write(root.join("etc/passwd"), "changed").unwrap();
    fs::remove_file(root.join("bin")).unwrap();
}

#[test]
fn a_frozen_layer_is_an_image_for_everybody() {
    let Some(dir) = namespaces::inside("a_frozen_layer_is_an_image_for_everybody") else { return };
    let world = World::new(dir);
    let first = world.container(None);
    world.work(&first, base_work);
    let seen = listing(&world.diff(&first));
    let base = world.freeze(&first, "localhost/base:1", &Options::default());
    let layer = world.store.layers().unwrap().get(base.layer.as_ref().unwrap()).unwrap();
    assert_eq!(layer.id, LayerId::of_image_layer(None, layer.diff_digest.as_ref().unwrap()), "the ID that every tool computes");
    assert!(!world.store.driver().unwrap().exists(&first.layer), "moved, not copied");
    assert!(layer.flags.is_empty() && layer.diff_digest.is_some());
    assert_eq!((layer.uids, layer.gids), (vec![0, 33], vec![0, 34]));
    assert!(world.store.containers().unwrap().all().unwrap().is_empty());
    assert!(!world.store.container_dir(&first.id).exists());
    let left_in = |dir: PathBuf| fs::read_dir(dir).map_or(0, Iterator::count);
    assert_eq!(
        (
            left_in(world.store.temp_dirs(containers_storage::driver::Side::Images)),
            left_in(world.store.layers_dir().join("tmp"))
        ),
        (0, 0)
    );
    let without_socket: Vec<_> = seen.into_iter().filter(|line| !line.starts_with("socket ")).collect();
    assert_eq!(listing(&world.top(&base)), without_socket);
    world.assert_clean();

    let second = world.container(Some(&base));
    world.work(&second, top_work);
    let top = world.freeze(&second, "localhost/top:1", &Options::default());
    assert!(fs::symlink_metadata(world.top(&top).join("gone")).unwrap().file_type().is_char_device());
    world.assert_clean();

    let own = world.container(Some(&top));
    let mut whole = Vec::new();
    world.work(&own, |root| whole = listing(root));
    assert!(whole.iter().any(|line| line.starts_with("remade/new ")) && !whole.iter().any(|line| line.contains("remade/old")));

    if !fixture::have(&["buildah", "skopeo"]) {
        return;
    }
    let digests: HashSet<String> =
        world.below(&own).iter().map(|layer| layer.diff_digest.as_ref().unwrap().to_string()).collect();
    assert!(world.taken_out("localhost/top:1").is_superset(&digests));
    // Unpacked by another tool from the tar alone, the tree is the same.
    let out = format!("dir:{}", world.dir.join("out-localhost-top-1").display());
    let other = World::new(world.dir.join("other"));
    let name = other.store_tool("buildah", &["from", &out]);
    let theirs = other.store.container(name.trim()).unwrap();
    other.work(&theirs, |root| assert_eq!(listing(root), whole));
    // And another tool builds on it where it lies.
    let name = world.store_tool("buildah", &["from", "--pull-never", "localhost/top:1"]);
    world.store_tool("buildah", &["copy", name.trim(), "/etc/hostname", "/added"]);
    world.store_tool("buildah", &["commit", "-q", "--rm", name.trim(), "localhost/theirs:1"]);
    let image = world.store.images().unwrap().by_name("localhost/theirs:1").unwrap().unwrap();
    let chain = world.store.layers().unwrap().chain(image.layer.as_ref().unwrap()).unwrap();
    assert_eq!(chain.len(), 3);
    assert_eq!(Some(&chain[1].id), top.layer.as_ref());
    world.assert_clean();
}

#[test]
fn a_copied_layer_has_the_same_bytes_and_the_container_goes_on() {
    let Some(dir) = namespaces::inside("a_copied_layer_has_the_same_bytes_and_the_container_goes_on") else { return };
    let world = World::new(dir);
    let first = world.container(None);
    world.work(&first, base_work);
    let base = world.freeze(&first, "localhost/base:1", &Options::default());
    let container = world.container(Some(&base));
    world.work(&container, top_work);
    let (layer, image) = world.copy(&container, "localhost/copied:1");
    assert_eq!(Some(&layer.id), image.layer.as_ref());
    let digest = layer.diff_digest.clone().unwrap();
    assert_eq!(layer.id, LayerId::of_image_layer(base.layer.as_ref(), &digest));
    assert_eq!(world.store.containers().unwrap().all().unwrap().len(), 1);
    assert_eq!(listing(&world.store.driver().unwrap().diff_dir(&layer.id).unwrap()), listing(&world.diff(&container)));
    assert_eq!(world.copy(&container, "localhost/again:1").0.id, layer.id, "an equal layer is reused");
    world.assert_clean();
    if fixture::have(&["skopeo"]) {
        assert!(world.taken_out("localhost/copied:1").contains(&digest.to_string()));
    }

    world.work(&container, |root| fs::write(root.join("more"), "more").unwrap());
    assert!(!world.store.driver().unwrap().diff_dir(&layer.id).unwrap().join("more").exists());
    let (more, _) = world.copy(&container, "localhost/more:1");
    assert_ne!(more.id, layer.id);

    // Frozen in place with equal content, the container's layer makes way for the one that exists.
    let frozen = world.freeze(&container, "localhost/frozen:1", &Options::default());
    assert_eq!(frozen.layer, Some(more.id));
    let store = &world.store;
    assert!(!store.driver().unwrap().exists(&container.layer));
    assert!(store.layers().unwrap().find(&container.layer).unwrap().is_none());
    assert!(store.containers().unwrap().all().unwrap().is_empty());
    world.assert_clean();
}

#[test]
fn an_untouched_container_gives_the_empty_layer() {
    let Some(dir) = namespaces::inside("an_untouched_container_gives_the_empty_layer") else { return };
    let world = World::new(dir);
    let container = world.container(None);
    let (layer, _) = world.copy(&container, "localhost/a:1");
    assert_eq!(layer.diff_digest.unwrap().to_string(), EMPTY);
    assert_eq!(layer.diff_size, 1024);
    let base = world.freeze(&container, "localhost/b:1", &Options::default());
    assert_eq!(base.layer, Some(layer.id));
    let above = world.container(Some(&base));
    world.work(&above, |_| {});
    let image = world.freeze(&above, "localhost/c:1", &Options::default());
    assert_eq!(
        world.store.layers().unwrap().get(image.layer.as_ref().unwrap()).unwrap().diff_digest.unwrap().to_string(),
        EMPTY
    );
    world.assert_clean();
}

#[test]
fn what_no_tar_carries_is_put_back_and_placeholders_go() {
    let Some(dir) = namespaces::inside("what_no_tar_carries_is_put_back_and_placeholders_go") else { return };
    let world = World::new(dir);
    let first = world.container(None);
    let base = world.freeze(&first, "localhost/base:1", &Options::default());
    let container = world.container(Some(&base));
    world.work(&container, |root| {
        fs::set_permissions(root, fs::Permissions::from_mode(0o1777)).unwrap();
        std::os::unix::fs::chown(root, Some(5), Some(5)).unwrap();
        fs::create_dir_all(root.join("run/secrets")).unwrap();
        fs::create_dir(root.join("proc")).unwrap();
        fs::create_dir(root.join("sys")).unwrap();
        fs::write(root.join("sys/mine"), "data").unwrap();
        fs::write(root.join("file"), "1").unwrap();
    });
    let exclude = ["run/secrets", "proc", "sys", "missing"].into_iter().map(PathBuf::from).collect();
    let copied = {
        let driver = world.store.driver().unwrap();
        let options = Options { exclude: HashSet::clone(&exclude), times: Times::Force(1_000_000_000), ..Options::default() };
        freeze::copy(&world.store, driver, &container, &options).unwrap()
    };
    let diff = world.store.driver().unwrap().diff_dir(&copied.id).unwrap();
    let names: Vec<_> = listing(&diff).into_iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["file", "run", "sys", "sys/mine"], "data below a placeholder is kept");
    assert_eq!(fs::metadata(diff.join("sys/mine")).unwrap().mtime(), 1_000_000_000);
    assert!(world.diff(&container).join("proc").is_dir(), "the container itself is left alone");

    world.work(&container, |root| fs::write(root.join("file"), "2").unwrap());
    let top = world.freeze(
        &container,
        "localhost/top:1",
        &Options { exclude, times: Times::Force(1_000_000_000), ..Options::default() },
    );
    let diff = world.top(&top);
    assert_eq!(listing(&diff).len(), 4);
    assert_eq!(fs::metadata(diff.join("file")).unwrap().mtime(), 1_000_000_000);
    let root = fs::metadata(&diff).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o555, 0, 0));
    assert_eq!(fs::read_dir(diff.parent().unwrap().join("work")).unwrap().count(), 0);
    world.assert_clean();
}

#[test]
fn mount_points_of_a_run_that_goes_on_or_was_killed_are_in_no_layer() {
    let Some(dir) = namespaces::inside("mount_points_of_a_run_that_goes_on_or_was_killed_are_in_no_layer") else { return };
    let world = World::new(dir);
    let base = world.freeze(&world.container(None), "localhost/base:1", &Options::default());
    let container = world.container(Some(&base));
    world.work(&container, |root| {
        for path in ["proc", "etc", "mine", "mine/volume"] {
            fs::create_dir(root.join(path)).unwrap();
        }
        for path in ["etc/hosts", "mine/data", "used"] {
            fs::write(root.join(path), "").unwrap();
        }
        let root = Root::open(root).unwrap();
        for path in ["proc", "etc", "etc/hosts", "mine/volume", "used"] {
            let (parent, name) = root.parent(Path::new(path)).unwrap();
            containers_storage::placeholder::mark(parent.as_fd(), &name).unwrap();
        }
    });
    world.work(&container, |root| fs::write(root.join("used"), "data").unwrap());
    let expected = ["mine", "mine/data", "used"];
    let names = |dir: &Path| -> Vec<String> {
        listing(dir).into_iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let driver = world.store.driver().unwrap();
    let layer = world.store.layers().unwrap().get(&container.layer).unwrap();
    let changed = containers_storage::changes::of_layer(driver, &layer).unwrap();
    let changed: Vec<_> = changed.iter().map(|change| change.path.to_str().unwrap().trim_start_matches('/')).collect();
    assert_eq!(changed, expected);
    let (copied, _) = world.copy(&container, "localhost/copied:1");
    assert_eq!(names(&driver.diff_dir(&copied.id).unwrap()), expected);
    world.work(&container, |root| fs::write(root.join("used"), "more").unwrap());
    let frozen = world.freeze(&container, "localhost/frozen:1", &Options::default());
    assert_eq!(names(&world.top(&frozen)), expected);
    world.assert_clean();
}

#[test]
fn marks_of_other_tools_that_no_tar_can_express_are_refused_by_name() {
    let Some(dir) = namespaces::inside("marks_of_other_tools_that_no_tar_can_express_are_refused_by_name") else { return };
    let world = World::new(dir);
    let container = world.container(None);
    world.work(&container, |root| fs::create_dir(root.join("moved")).unwrap());
    let name = if namespaces::is_rootless() { "user.overlay.redirect" } else { "trusted.overlay.redirect" };
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(world.diff(&container).join("moved"), name, b"/elsewhere", flags).unwrap();
    let driver = world.store.driver().unwrap();
    let error = freeze::in_place(&world.store, driver, &container, &Options::default()).unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("moved") && text.contains("redirect"), "{text}");
    // A mount of root follows the mark, which here leads nowhere; rootless ones follow none.
    assert_eq!(error.wants_a_mount(), !namespaces::is_rootless());
    assert_eq!(freeze::copy(&world.store, driver, &container, &Options::default()).is_err(), namespaces::is_rootless());
    Root::open(&world.diff(&container)).unwrap().resolve(Path::new("moved")).unwrap();
    assert_eq!(world.store.containers().unwrap().all().unwrap().len(), 1);
    world.assert_clean();
}

#[test]
fn what_was_renamed_and_chmodded_without_a_copy_is_packed_through_a_mount() {
    let name = "what_was_renamed_and_chmodded_without_a_copy_is_packed_through_a_mount";
    let Some(dir) = namespaces::inside(name).filter(|_| !namespaces::is_rootless()) else { return };
    let world = World::new(dir);
    let first = world.container(None);
    world.work(&first, |root| {
        fs::create_dir_all(root.join("dir/sub")).unwrap();
        fs::write(root.join("dir/sub/file"), "in the base").unwrap();
        fs::write(root.join("big"), vec![b'b'; 300_000]).unwrap();
        fs::write(root.join("gone"), "x").unwrap();
        fs::write(root.join("stays"), "x").unwrap();
    });
    let base = world.freeze(&first, "localhost/base:1", &Options::default());
    let container = world.container(Some(&base));
    let driver = world.store.driver().unwrap();
    // As podman mounts with `mountopt = "metacopy=on"`.
    let (diff, merged) = (world.diff(&container), driver.mount_point(&container.layer));
    let lowers: Vec<_> = driver.lower_dirs(&container.layer).unwrap().iter().map(|dir| dir.display().to_string()).collect();
    let work = diff.with_file_name("work");
    let options = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir=on,metacopy=on",
        lowers.join(":"),
        diff.display(),
        work.display()
    );
    let mounted = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&merged).status().unwrap();
    assert!(mounted.success());
    fs::rename(merged.join("dir"), merged.join("renamed")).unwrap();
    fs::write(merged.join("renamed/sub/new"), "new").unwrap();
    fs::set_permissions(merged.join("big"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(merged.join("gone")).unwrap();
    let expected = listing(&merged);
    rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::empty()).unwrap();
    assert!(fs::read_dir(diff.join("renamed")).unwrap().count() == 1, "only what is new lies in the layer itself");

    assert!(freeze::in_place(&world.store, driver, &container, &Options::default()).unwrap_err().wants_a_mount());
    let (layer, image) = world.copy(&container, "localhost/top:1");
    let shown = world.container(Some(&image));
    world.work(&shown, |root| {
        assert_eq!(listing(root), expected);
        assert_eq!(fs::read(root.join("big")).unwrap(), vec![b'b'; 300_000]);
        assert_eq!(fs::read_to_string(root.join("renamed/sub/file")).unwrap(), "in the base");
    });
    let own = driver.diff_dir(&layer.id).unwrap();
    let whiteouts: Vec<_> = ["dir", "gone"].iter().map(|name| fs::symlink_metadata(own.join(name)).unwrap()).collect();
    assert!(whiteouts.iter().all(|stat| stat.file_type().is_char_device() && stat.rdev() == 0));
    assert!(!own.join("stays").exists(), "the base is not packed again");
    // The bytes that others get are those of the digest.
    world.assert_clean();
    assert!(world.taken_out("localhost/top:1").contains(&layer.diff_digest.unwrap().to_string()));
}

/// Run by hand, optimised: `cargo test --profile release-fast -p containers-storage --test freeze -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures; wants a quiet machine and an optimised build"]
fn speed_of_freezing_and_copying() {
    use sha2::Digest as _;
    let Some(dir) = namespaces::inside("speed_of_freezing_and_copying") else { return };
    let world = World::new(dir);
    let base = world.freeze(&world.container(None), "localhost/base:1", &Options::default());
    let size = 512usize << 20;
    let data: Vec<u8> = (0..size as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let big = world.container(Some(&base));
    world.work(&big, |root| fs::write(root.join("big"), &data).unwrap());
    let many = world.container(Some(&base));
    world.work(&many, |root| {
        for n in 0..20_000 {
            if n % 100 == 0 {
                fs::create_dir(root.join(format!("d{}", n / 100))).unwrap();
            }
            fs::write(root.join(format!("d{}/f{n}", n / 100)), &data[n * 1000..n * 1000 + 9_750]).unwrap();
        }
    });
    let small = world.container(Some(&base));
    world.work(&small, |root| fs::write(root.join("f"), "x").unwrap());
    let time = |what: &str, work: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        work();
        let spent = start.elapsed();
        println!("speed: {what}: {spent:?}");
        spent
    };
    let file = world.diff(&big).join("big");
    let hash = time("SHA-256 of the file", &mut || {
        let mut hasher = sha2::Sha256::new();
        let mut file = fs::File::open(&file).unwrap();
        let mut buffer = vec![0; 1 << 20];
        while let length @ 1.. = std::io::Read::read(&mut file, &mut buffer).unwrap() {
            hasher.update(&buffer[..length]);
        }
        hasher.finalize();
    });
    let copied = time("copying and hashing the file", &mut || drop(world.copy(&big, "localhost/a:1")));
    time("copying 20,000 files", &mut || drop(world.copy(&many, "localhost/c:1")));
    time("copying a small file", &mut || drop(world.copy(&small, "localhost/e:1")));
    world.work(&big, |root| fs::write(root.join("other"), "x").unwrap());
    world.work(&many, |root| fs::write(root.join("other"), "x").unwrap());
    world.work(&small, |root| fs::write(root.join("other"), "x").unwrap());
    let frozen = time("freezing the file", &mut || drop(world.freeze(&big, "localhost/b:1", &Options::default())));
    time("freezing 20,000 files", &mut || drop(world.freeze(&many, "localhost/d:1", &Options::default())));
    time("freezing a small file", &mut || drop(world.freeze(&small, "localhost/f:1", &Options::default())));
    time("making a container", &mut || drop(world.container(Some(&base))));
    println!(
        "speed: freezing is {:.2} × SHA-256, copying {:.2} ×",
        frozen.div_duration_f64(hash),
        copied.div_duration_f64(hash)
    );
}
