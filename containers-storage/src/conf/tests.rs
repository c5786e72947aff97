//! Tables for the resolution of settings. Each test has a root directory of its own in place of `/`.

use super::*;

struct World {
    dir: tempfile::TempDir,
    variables: Vec<(String, std::ffi::OsString)>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self { dir, variables: Vec::new() };
        let home = world.path("home/u");
        std::fs::create_dir_all(&home).unwrap();
        world.set("HOME", home.to_str().unwrap());
        world.set("XDG_RUNTIME_DIR", "/run/user/4242424242");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.into()));
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn environment(&self, uid: u32) -> Environment {
        let mut environment = Environment::new(uid, uid != 0, self.variables.clone());
        environment.system = self.dir.path().to_owned();
        environment
    }

    fn user(&self) -> Result<Conf, Error> {
        Conf::resolve(&self.environment(1000), &Overrides::default())
    }

    fn with(&self, overrides: &Overrides) -> Result<Conf, Error> {
        Conf::resolve(&self.environment(1000), overrides)
    }
}

#[test]
fn defaults_of_a_user_and_of_root() {
    let world = World::new();
    let conf = world.user().unwrap();
    assert_eq!(conf.graph_root, world.path("home/u/.local/share/containers/storage"));
    assert_eq!(conf.run_root, PathBuf::from("/run/user/4242424242/containers"));
    assert!(conf.rootless && !conf.driver_is_explicit && conf.files.is_empty());
    let root = Conf::resolve(&world.environment(0), &Overrides::default()).unwrap();
    assert_eq!(root.graph_root, PathBuf::from("/var/lib/containers/storage"));
    assert_eq!(root.run_root, PathBuf::from("/run/containers/storage"));
}

#[test]
fn root_inside_a_foreign_namespace_uses_the_users_locations_only_where_a_user_entered_it() {
    let mut world = World::new();
    let mut environment = world.environment(0);
    environment.rootless = true;
    let nested = Conf::resolve(&environment, &Overrides::default()).unwrap();
    assert_eq!(nested.graph_root, PathBuf::from("/var/lib/containers/storage"));
    world.set("_CONTAINERS_ROOTLESS_UID", "1000");
    let mut environment = world.environment(0);
    environment.rootless = true;
    let entered = Conf::resolve(&environment, &Overrides::default()).unwrap();
    assert_eq!(entered.graph_root, world.path("home/u/.local/share/containers/storage"));
}

#[test]
fn only_the_first_main_file_counts_and_drop_ins_come_over_it() {
    let world = World::new();
    world.file("etc/containers/storage.conf", "[storage]\ndriver='vfs'\n[storage.options.overlay]\nmountopt='nodev'\n");
    assert_eq!(world.user().unwrap().driver, DriverKind::Vfs);
    world.file("home/u/.config/containers/storage.conf", "[storage]\ndriver='overlay'\n");
    let conf = world.user().unwrap();
    assert!(conf.driver_is_explicit);
    assert!(conf.options.mount_options.is_empty());

    world.file("usr/share/containers/storage.conf.d/10.conf", "[storage.options.overlay]\nmountopt='nodev,nosuid'\n");
    world.file("usr/share/containers/storage.conf.d/20.conf", "[storage.options]\nignore_chown_errors='true'\n");
    world.file("etc/containers/storage.rootless.conf.d/1000/20.conf", "[storage.options]\ndisable-volatile=true\n");
    world.file("etc/containers/storage.rootful.conf.d/30.conf", "[storage]\ndriver='vfs'\n");
    world.file("etc/containers/storage.conf.d/notes.txt", "no TOML [");
    let conf = world.user().unwrap();
    assert_eq!(conf.options.mount_options, ["nodev", "nosuid"]);
    assert!(conf.options.disable_volatile);
    assert!(!conf.options.ignore_chown_errors, "20.conf of /usr/share is replaced by its namesake in /etc");
    assert_eq!(conf.files.len(), 3);
}

#[test]
fn one_named_file_is_the_only_one() {
    let mut world = World::new();
    world.file("etc/containers/storage.conf", "[storage]\ndriver='vfs'\n");
    world.file("my.conf", "[storage]\ngraphroot='/data/$UID/g'\nrunroot='/data/r'\n");
    let path = world.path("my.conf");
    world.set("CONTAINERS_STORAGE_CONF", path.to_str().unwrap());
    let conf = world.user().unwrap();
    assert_eq!((conf.graph_root, conf.run_root), (PathBuf::from("/data/1000/g"), PathBuf::from("/data/r")));
    world.set("CONTAINERS_STORAGE_CONF", "/nowhere/storage.conf");
    assert!(matches!(world.user(), Err(Error::Read { .. })));
}

#[test]
fn the_override_file_is_read_last() {
    let mut world = World::new();
    world.file("etc/containers/storage.conf", "[storage.options]\nadditionalimagestores=['/a']\n");
    world.file("o.conf", "[storage.options]\nadditionalimagestores=['/b',{append=true}]\n");
    let path = world.path("o.conf");
    world.set("CONTAINERS_STORAGE_CONF_OVERRIDE", path.to_str().unwrap());
    let conf = world.user().unwrap();
    assert_eq!(conf.additional_image_stores, [PathBuf::from("/a"), PathBuf::from("/b")]);
}

#[test]
fn the_systems_graph_root_is_roots() {
    let world = World::new();
    world.file("etc/containers/storage.conf", "[storage]\ngraphroot='/var/lib/containers/storage'\nrunroot='/run/x'\n");
    let conf = world.user().unwrap();
    assert_eq!(conf.graph_root, world.path("home/u/.local/share/containers/storage"));
    assert_eq!(conf.run_root, PathBuf::from("/run/user/4242424242/containers"));
    let root = Conf::resolve(&world.environment(0), &Overrides::default()).unwrap();
    assert_eq!(root.run_root, PathBuf::from("/run/x"));
    world.file("etc/containers/storage.conf", "[storage]\nrootless_storage_path='/fast/$UID'\ngraphroot='/var/lib/x'\n");
    assert_eq!(world.user().unwrap().graph_root, PathBuf::from("/fast/1000"));
}

#[test]
fn the_command_line_wins() {
    let mut world = World::new();
    world.file("etc/containers/storage.conf", "[storage]\ndriver='btrfs'\n[storage.options.overlay]\nmountopt='nodev'\n");
    let overrides = Overrides { graph_root: Some("/g".into()), driver: Some("overlay2".into()), ..Overrides::default() };
    let conf = world.with(&overrides).unwrap();
    assert_eq!(conf.graph_root, PathBuf::from("/g"));
    assert_eq!(conf.run_root, PathBuf::from("/run/user/4242424242/containers"));
    assert!(conf.options.mount_options.is_empty(), "a named driver drops the file's options");
    world.set("STORAGE_DRIVER", "overlay");
    world.set("STORAGE_OPTS", "overlay.mountopt=nosuid,vfs.unknown=none");
    assert_eq!(world.user().unwrap().options.mount_options, ["nosuid"]);
    let overrides = Overrides { options: vec!["mountopt=noexec".into()], ..Overrides::default() };
    assert_eq!(world.with(&overrides).unwrap().options.mount_options, ["noexec"]);
}

#[test]
fn the_driver_is_the_one_that_the_store_was_used_with() {
    let world = World::new();
    let store = world.path("home/u/.local/share/containers/storage");
    let chosen = || world.user().map(|conf| (conf.driver, conf.driver_is_explicit));
    assert_eq!(chosen().unwrap(), (DriverKind::Overlay, false));
    std::fs::create_dir_all(store.join("btrfs-images")).unwrap();
    let error = chosen().unwrap_err().to_string();
    assert!(error.contains("\"btrfs\"") && error.contains("not supported"), "{error}");
    std::fs::create_dir_all(store.join("vfs-images")).unwrap();
    assert_eq!(chosen().unwrap(), (DriverKind::Vfs, false));
    std::fs::create_dir_all(store.join("overlay-images")).unwrap();
    assert_eq!(chosen().unwrap(), (DriverKind::Overlay, false));
}

#[test]
fn each_driver_gets_its_own_options() {
    let mut world = World::new();
    world.file(
        "etc/containers/storage.conf",
        "[storage]\ndriver='vfs'\n[storage.options]\nmountopt='nodev'\nsync='filesystem'\n\
         [storage.options.vfs]\nignore_chown_errors='true'\n[storage.options.overlay]\nignore_chown_errors='false'\nsize='1G'\n",
    );
    let conf = world.user().unwrap();
    assert!(conf.options.ignore_chown_errors && conf.options.sync_filesystem && conf.options.mount_options.is_empty());
    world.set("STORAGE_OPTS", "vfs.ignore_chown_errors=false,overlay.mountopt=nodev");
    assert!(!world.user().unwrap().options.ignore_chown_errors);
    for option in ["mountopt=nodev", "vfs.mountopt=nodev", "force_mask=700", "mount_program=/bin/x"] {
        let overrides = Overrides { options: vec![option.to_owned()], ..Overrides::default() };
        assert!(matches!(world.with(&overrides), Err(Error::NotOfDriver { driver: "vfs", .. })), "{option}");
    }
    for option in ["ignore_chown_errors=1", ".ignore_chown_errors=true", "vfs.ignore_chown_errors=true"] {
        let overrides = Overrides { options: vec![option.to_owned()], ..Overrides::default() };
        assert!(world.with(&overrides).unwrap().options.ignore_chown_errors, "{option}");
    }
}

#[test]
fn drivers_of_other_tools_and_unknown_ones_are_told_apart() {
    let world = World::new();
    let error = |name: &str| {
        let overrides = Overrides { driver: Some(name.to_owned()), ..Overrides::default() };
        world.with(&overrides).unwrap_err().to_string()
    };
    for name in ["btrfs", "zfs", "aufs", "devicemapper"] {
        assert_eq!(error(name), format!("--storage-driver: the storage driver {name:?} is not supported"));
    }
    assert_eq!(error("vsf"), "--storage-driver: unknown storage driver \"vsf\" (overlay and vfs are known)");
}

#[test]
fn a_store_is_transient_where_the_file_or_the_command_line_says_so() {
    let world = World::new();
    world.file("etc/containers/storage.conf", "[storage]\ntransient_store=true\n");
    assert!(world.user().unwrap().transient);
    assert!(!world.with(&Overrides { transient: Some(false), ..Overrides::default() }).unwrap().transient);
    assert!(!World::new().user().unwrap().transient);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let cases = [
        ("[storage.options]\nadditionallayerstores=['/l:ref']", "additionallayerstores"),
        ("[storage.options.overlay]\nuse_composefs='true'", "composefs"),
        ("[storage.options]\nsize='10G'", "quota"),
    ];
    for (text, name) in cases {
        let world = World::new();
        world.file("etc/containers/storage.conf", text);
        let error = world.user().unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("storage.conf") && error.contains("not supported"), "{error}");
    }
    let world = World::new();
    world.file(
        "etc/containers/storage.conf",
        "[storage]\ntransient_store=false\nnew_key=1\n[storage.options.overlay]\nmount_program=''\n",
    );
    assert!(world.user().is_ok());
}

#[test]
fn wrong_files_and_options_are_named() {
    let world = World::new();
    world.file("etc/containers/storage.conf", "[storage]\n\ndriver=\n");
    let error = world.user().unwrap_err().to_string();
    assert!(error.contains("storage.conf") && error.contains("line 3"), "{error}");
    world.file("etc/containers/storage.conf", "[storage]\ndriver=7\n");
    assert!(matches!(world.user(), Err(Error::Value { key, origin, .. }) if key == "driver" && origin.ends_with(": line 2")));
    let world = World::new();
    let overrides = Overrides { options: vec!["overlay.fast=yes".into()], ..Overrides::default() };
    assert!(matches!(world.with(&overrides), Err(Error::UnknownOption { option, .. }) if option == "overlay.fast=yes"));
}

/// What a setting does here.
enum Effect {
    /// Something else is resolved with it than without.
    Changes,
    /// Nothing, as with Buildah.
    None,
    /// The store cannot be used; what the error says.
    Refused(&'static str),
}

/// Every option of containers-storage.conf(5), of today's and of Debian's, with its table.
const OPTIONS: &[(&str, &str, Effect)] = &[
    ("", "driver = 'vfs'", Effect::Changes),
    ("", "graphroot = '$HOME/g'", Effect::Changes),
    ("", "rootless_storage_path = '$HOME/g'", Effect::Changes),
    ("", "imagestore = '$HOME/i'", Effect::Changes),
    ("", "runroot = '$HOME/r'", Effect::Changes),
    ("", "driver_priority = ['zfs', 'vfs', 'overlay']", Effect::Changes),
    ("", "driver_priority = ['btrfs', 'overlay']", Effect::None),
    ("", "driver_priority = 'vfs'", Effect::Refused("line 2: driver_priority must be an array of strings")),
    ("", "transient_store = true", Effect::Changes),
    ("", "transient_store = 'true'", Effect::Changes),
    ("", "not_yet = 1", Effect::None),
    (".options", "additionalimagestores = ['/s']", Effect::Changes),
    (".options", "additionallayerstores = []", Effect::None),
    (".options", "additionallayerstores = ['/l:ref']", Effect::Refused("additional layer store")),
    (".options", "root-auto-userns-user = 'storage'", Effect::Changes),
    (".options", "auto-userns-min-size = 2048", Effect::Changes),
    (".options", "auto-userns-max-size = 4096", Effect::Changes),
    (".options", "auto-userns-max-size = '4096'", Effect::Refused("line 2: auto-userns-max-size must be a number")),
    (".options", "disable-volatile = true", Effect::Changes),
    (".options", "remap-uids = '0:1000:10'\nremap-gids = '0:1000:10'", Effect::None),
    (".options", "remap-user = 'containers'\nremap-group = 'containers'", Effect::None),
    (".options", "mountopt = 'nodev'", Effect::Changes),
    (".options", "skip_mount_home = 'true'", Effect::Changes),
    (".options", "ignore_chown_errors = 'true'", Effect::Changes),
    (".options", "ostree_repo = ''\nnot_yet = 1", Effect::None),
    (".options", "size = '10G'", Effect::Refused("line 2: a quota (size) is not supported")),
    (".options.pull_options", "enable_partial_images = 'true'\nuse_hard_links = 'true'", Effect::None),
    (".options.pull_options", "ostree_repos = '/o'\nconvert_images = 'true'", Effect::None),
    (".options.pull_options", "insecure_allow_unpredictable_image_contents = 'true'", Effect::None),
    (".options.btrfs", "min_space = '1G'\nsize = '1G'", Effect::None),
    (".options.zfs", "fsname = 'z'\nmountopt = 'nodev'\nsize = '1G'", Effect::None),
    (".options.thinpool", "size = '1'", Effect::None),
    (".options.aufs", "mountopt = 'nodev'", Effect::None),
    (".options.overlay", "ignore_chown_errors = 'true'", Effect::Changes),
    (".options.overlay", "ignore_chown_errors = 'x'", Effect::Refused("line 2: ignore_chown_errors must be true or false")),
    (".options.overlay", "inodes = ''", Effect::None),
    (".options.overlay", "inodes = '100'", Effect::Refused("line 2: a quota (inodes) is not supported")),
    (".options.overlay", "force_mask = 'shared'", Effect::Changes),
    (".options.overlay", "force_mask = 0o700", Effect::Changes),
    (".options.overlay", "mount_program = '/bin/sh'", Effect::Changes),
    (".options.overlay", "mount_program = ''", Effect::None),
    (".options.overlay", "mount_program = '/nowhere'", Effect::Refused("line 2: mount_program must be the absolute path")),
    (".options.overlay", "mountopt = 'nodev'", Effect::Changes),
    (".options.overlay", "mountopt = ['nodev']", Effect::Refused("line 2: mountopt must be a string")),
    (".options.overlay", "skip_mount_home = 'true'", Effect::Changes),
    (".options.overlay", "size = ''", Effect::None),
    (".options.overlay", "size = '1G'", Effect::Refused("line 2: a quota (size) is not supported")),
    (".options.overlay", "use_composefs = 'false'", Effect::None),
    (".options.overlay", "use_composefs = 'true'", Effect::Refused("composefs")),
    (".options.overlay", "sync = 'filesystem'", Effect::Changes),
    (".options.overlay", "not_yet = 'x'", Effect::None),
    (".options.vfs", "ignore_chown_errors = 'true'", Effect::None),
];

#[test]
fn each_option_of_a_file_changes_something_or_nothing_or_is_refused() {
    let resolved = |table: &str, line: &str| {
        let world = World::new();
        world.file("home/u/.config/containers/storage.conf", &format!("[storage{table}]\n{line}\n"));
        let resolved = world.user().map_err(|error| error.to_string());
        let root = world.path("").display().to_string();
        resolved.map(|conf| format!("{:?}", Conf { files: Vec::new(), ..conf }).replace(&root, "/"))
    };
    if lies_on_overlayfs(&World::new().path("")) {
        return;
    }
    let plain = resolved("", "").unwrap();
    for (table, line, effect) in OPTIONS {
        match (effect, resolved(table, line)) {
            (Effect::Changes, Ok(conf)) => assert_ne!(conf, plain, "[storage{table}] {line}"),
            (Effect::None, Ok(conf)) => assert_eq!(conf, plain, "[storage{table}] {line}"),
            (Effect::Refused(words), Err(error)) => assert!(error.contains(words), "[storage{table}] {line}: {error}"),
            (_, other) => panic!("[storage{table}] {line}: {other:?}"),
        }
    }
}

#[test]
fn a_run_directory_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new();
    world.variables.retain(|(name, _)| name != "XDG_RUNTIME_DIR");
    let uid = rustix::process::geteuid().as_raw();
    world.set("_CONTAINERS_ROOTLESS_UID", "1000");
    let mut environment = world.environment(uid);
    environment.rootless = true;
    let resolve = || Conf::resolve(&environment, &Overrides::default());
    assert_eq!(resolve().unwrap().run_root, world.path("tmp/storage-run-1000/containers"));
    let open = world.path("tmp/storage-run-1000");
    std::fs::create_dir_all(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(resolve(), Err(Error::RunDir { .. })));
}

#[test]
fn a_mask_is_a_word_or_an_octal_mode() {
    for (value, mask) in [("'shared'", 0o755), ("'private'", 0o700), ("'750'", 0o750), ("'0711'", 0o711)] {
        let world = World::new();
        world.file("etc/containers/storage.conf", &format!("[storage.options.overlay]\nforce_mask={value}"));
        assert_eq!(world.user().unwrap().options.force_mask, Some(mask), "{value}");
    }
    let world = World::new();
    world.file("etc/containers/storage.conf", "[storage.options]\nforce_mask=0o700");
    assert_eq!(world.user().unwrap().options.force_mask, Some(0o700));
    for value in ["'some'", "'4755'", "'055'", "'-1'", "'800'"] {
        let world = World::new();
        world.file("etc/containers/storage.conf", &format!("[storage.options.overlay]\nforce_mask={value}"));
        assert!(world.user().unwrap_err().to_string().contains("force_mask"), "{value}");
    }
}
