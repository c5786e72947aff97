//! Tables for the specification builder.

use super::*;
use crate::run::emulation::Emulation;
use crate::run::streams::Streams;
use crate::run::{
    Isolation, MountOptions, ProcessUser, RootChange, Terminal, cgroups, environment, etc_files, hooks, limits, namespaces,
    network, security,
};

fn request() -> Request {
    Request {
        process: ProcessOptions {
            args: vec!["true".into()],
            env: environment::compose(&[], &[], &[]),
            umask: crate::run::DEFAULT_UMASK,
            cwd: "/".into(),
            user: ProcessUser { uid: 0, gid: 0, groups: vec![0], home: "/root".into(), keep_groups: false },
            terminal: Terminal::Inherit,
            streams: Streams::default(),
            hostname: Some("web".into()),
        },
        security: security::Options::default(),
        namespaces: namespaces::Options::default(),
        limits: limits::Options::default(),
        mounts: MountOptions::default(),
        files: etc_files::Options::default(),
        isolation: Isolation::Native,
        cgroups: cgroups::Options::default(),
        hooks: hooks::Options::default(),
        root_change: RootChange::Pivot,
        emulation: Emulation::Leave,
        guards: rustix::mount::MountAttrFlags::empty(),
    }
}

fn built(request: &Request, connection: Connection) -> Result<Spec, Error> {
    with_facts(request, |facts| facts.connection = connection)
}

fn with_facts(request: &Request, change: impl FnOnce(&mut Facts)) -> Result<Spec, Error> {
    let mut facts = Facts {
        nofile: 4096,
        nproc: u64::MAX,
        connection: Connection::Host,
        terminal: false,
        seccomp: None,
        processor_paths: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
        message_queues: true,
        copied: Vec::new(),
        id_maps: None,
        lsm: lsm::Resolved::default(),
    };
    change(&mut facts);
    build(request, Path::new("/r"), facts)
}

fn mount_at<'a>(spec: &'a Spec, target: &str) -> Option<&'a Mount> {
    spec.mounts().iter().flatten().find(|mount| mount.destination() == Path::new(target))
}

fn namespace_kinds(spec: &Spec) -> Vec<LinuxNamespaceType> {
    spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten()).map(LinuxNamespace::typ).collect()
}

#[test]
fn root_holds_the_default_set_and_another_user_nothing() {
    for (uid, held) in [(0, 0x8004_05fbu64), (1000, 0)] {
        let mut request = request();
        request.process.user.uid = uid;
        let spec = built(&request, Connection::Host).unwrap();
        let sets = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        let bits = |set: &Option<oci_spec::runtime::Capabilities>| Set::from_spec(set.as_ref().unwrap()).0;
        assert_eq!((bits(sets.effective()), bits(sets.permitted())), (held, held), "uid {uid}");
        assert_eq!((bits(sets.bounding()), bits(sets.inheritable()), bits(sets.ambient())), (0x8004_05fb, 0, 0), "uid {uid}");
    }
}

#[test]
fn the_network_decides_about_sys_and_the_network_namespace() {
    for (connection, typ, new) in [
        (Connection::Host, "bind", false),
        (Connection::Fallback(network::Helper::Slirp4netns), "bind", false),
        (Connection::None, "sysfs", true),
    ] {
        let spec = built(&request(), connection.clone()).unwrap();
        let sys = mount_at(&spec, "/sys").unwrap();
        assert_eq!(sys.typ().as_deref(), Some(typ), "{connection:?}");
        assert!(sys.options().as_ref().unwrap().contains(&"ro".to_string()));
        assert_eq!(namespace_kinds(&spec).contains(&LinuxNamespaceType::Network), new, "{connection:?}");
    }
}

#[test]
fn host_namespaces_are_not_new_and_their_files_are_the_hosts() {
    let mut shared = request();
    shared.namespaces.pid = Namespace::Host;
    shared.namespaces.ipc = Namespace::Host;
    shared.namespaces.uts = Namespace::Host;
    let spec = built(&shared, Connection::Host).unwrap();
    assert_eq!(namespace_kinds(&spec), [LinuxNamespaceType::Mount, LinuxNamespaceType::Cgroup]);
    assert_eq!(mount_at(&spec, "/proc").unwrap().typ().as_deref(), Some("bind"));
    assert_eq!(mount_at(&spec, "/dev/shm").unwrap().typ().as_deref(), Some("bind"));
    assert_eq!(spec.hostname(), &None, "the host's name would be changed");
}

#[test]
fn parents_are_mounted_before_what_lies_below_and_requests_replace_defaults() {
    let mut request = request();
    for word in ["/h:/a/b/c", "/h:/a", "/h:/dev/shm:ro", "/h:/x/../y/./z"] {
        request.mounts.requests.push(MountRequest::parse_volume(word).unwrap());
    }
    let spec = built(&request, Connection::Host).unwrap();
    let targets: Vec<_> = spec.mounts().iter().flatten().map(|mount| mount.destination().to_str().unwrap()).collect();
    let place = |target: &str| targets.iter().position(|known| *known == target).unwrap();
    assert!(place("/a") < place("/a/b/c") && place("/dev") < place("/dev/pts"));
    assert_eq!(targets.iter().filter(|target| **target == "/dev/shm").count(), 1);
    assert_eq!(mount_at(&spec, "/dev/shm").unwrap().typ().as_deref(), Some("bind"));
    assert!(mount_at(&spec, "/y/z").is_some());
}

#[test]
fn masks_follow_the_security_options() {
    let masked = |mask: &[&str], unmask: &[&str]| {
        let mut request = request();
        request.security.mask = mask.iter().map(|word| (*word).into()).collect();
        request.security.unmask = unmask.iter().map(|word| (*word).into()).collect();
        let spec = built(&request, Connection::Host).unwrap();
        let linux = spec.linux().clone().unwrap();
        (linux.masked_paths().clone().unwrap(), linux.readonly_paths().clone().unwrap())
    };
    let (default, read_only) = masked(&[], &[]);
    for path in ["/proc/kcore", "/proc/timer_list", "/sys/firmware", "/sys/devices/system/cpu/cpu0/thermal_throttle"] {
        assert!(default.iter().any(|known| known == path), "{path}");
    }
    assert!(read_only.iter().any(|known| known == "/proc/sys"));
    assert_eq!(masked(&["/m"], &["ALL"]), (vec!["/m".to_string()], Vec::new()));
    let (some, _) = masked(&[], &["/proc/kcore", "/sys/devices/system/cpu/*/thermal_throttle"]);
    assert_eq!(some.len(), default.len() - 2);
}

#[test]
fn limits_are_the_callers_hard_ones_unless_given() {
    let mut request = request();
    request.limits.rlimits.push(limits::Rlimit::parse("nproc=10:20").unwrap());
    let spec = built(&request, Connection::Host).unwrap();
    let limits: Vec<_> = spec.process().as_ref().unwrap().rlimits().clone().unwrap();
    let found: Vec<_> = limits.iter().map(|limit| (limit.typ(), limit.soft(), limit.hard())).collect();
    assert_eq!(found, [(PosixRlimitType::RlimitNofile, 4096, 4096), (PosixRlimitType::RlimitNproc, 10, 20)]);
}

#[test]
fn kernel_parameters_of_shared_namespaces_are_left_alone() {
    let mut request = request();
    let ping = ("net.ipv4.ping_group_range".to_string(), "0 0".to_string());
    request.limits.sysctls = vec![ping, ("kernel.shmmax".to_string(), "1".to_string())];
    for (connection, count) in [(Connection::Host, 1), (Connection::None, 2)] {
        let spec = built(&request, connection).unwrap();
        assert_eq!(spec.linux().as_ref().unwrap().sysctl().as_ref().map(|set| set.len()), Some(count));
    }
    for name in ["kernel.hostname", "vm.swappiness", "net/../kernel", "net..x", "kernel.core_pattern"] {
        request.limits.sysctls = vec![(name.to_string(), "1".to_string())];
        assert!(built(&request, Connection::None).is_err(), "{name}");
    }
}

#[test]
fn what_would_hide_the_kernels_files_or_cannot_be_said_is_refused() {
    for word in ["/h:/proc", "/h:/proc/self", "/h:/x/../proc/sys", "/h:/sys/fs", "/h:/", "/h:/.."] {
        let mut request = request();
        request.mounts.requests.push(MountRequest::parse_volume(word).unwrap());
        assert!(built(&request, Connection::Host).is_err(), "{word}");
    }
    let changes: [fn(&mut Request); 6] = [
        |request| request.process.args.clear(),
        |request| request.process.args = vec![String::new()],
        |request| request.process.args.push("a\0b".into()),
        |request| request.process.cwd = "relative".into(),
        |request| request.process.hostname = Some("a\nb".into()),
        |request| request.process.hostname = Some("x".repeat(65)),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut request = request();
        change(&mut request);
        assert!(built(&request, Connection::Host).is_err(), "change {index}");
    }
}

#[test]
fn home_and_hostname_are_added_unless_set() {
    let mut request = request();
    request.process.env = vec!["HOME=/elsewhere".into()];
    let env = built(&request, Connection::Host).unwrap().process().as_ref().unwrap().env().clone().unwrap();
    assert_eq!(env, ["HOME=/elsewhere", "HOSTNAME=web"]);
}

#[test]
fn the_mode_none_is_not_taken_for_automatic() {
    assert_eq!(network::connect(&network::Mode::None, &network::Settings::default()).unwrap(), Connection::None);
    assert_eq!(network::connect(&network::Mode::Host, &network::Settings::default()).unwrap(), Connection::Host);
}

#[test]
fn what_security_modules_are_told_is_in_the_specification() {
    let (process_label, mount_label) = (Some("l".into()), Some("m".into()));
    let told = lsm::Resolved { profile: Some("p".into()), process_label, mount_label, file_label: None };
    let mut request = request();
    for word in ["type=bind,src=/a,dst=/a,rw", "type=bind,src=/b,dst=/b"] {
        request.mounts.requests.push(MountRequest::parse_mount(word).unwrap());
    }
    request.mounts.requests.push(MountRequest::parse_volume("/c:/c:O").unwrap());
    let spec = with_facts(&request, |facts| facts.lsm = told).unwrap();
    let has_context = |target| mount_at(&spec, target).unwrap().options().iter().flatten().any(|word| word == "context=m");
    assert_eq!(["/a", "/b", "/c"].map(has_context), [true, false, false]);
    let process = spec.process().as_ref().unwrap();
    assert_eq!((process.apparmor_profile().as_deref(), process.selinux_label().as_deref()), (Some("p"), Some("l")));
    assert_eq!(spec.linux().as_ref().unwrap().mount_label().as_deref(), Some("m"));
    let text = serde_json::to_string(&built(&request, Connection::Host).unwrap()).unwrap();
    assert!(!text.contains("apparmorProfile") && !text.contains("context=") && !text.contains("Label"), "{text}");
}
