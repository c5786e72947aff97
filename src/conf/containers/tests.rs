//! containers.conf: places, precedence, lists, errors.

use std::path::{Path, PathBuf};

use super::*;

/// A tree of settings files, and what is read from it by an ordinary user whose home is `home`.
fn load(files: &[(&str, &str)], change: impl Fn(&mut Environment, &Path)) -> Result<ContainersConf, Error> {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut environment = Environment { home: Some(root.path().join("home")), rootless: true, ..Environment::default() };
    change(&mut environment, root.path());
    ContainersConf::load_below(&environment, root.path())
}

const SYSTEM: &str = "usr/share/containers/containers.conf";
const ADMIN: &str = "etc/containers/containers.conf";
const USER: &str = "home/.config/containers/containers.conf";

#[test]
fn no_file_is_no_settings() {
    assert_eq!(load(&[], |_, _| {}).unwrap(), ContainersConf::default());
}

#[test]
fn later_files_win_key_by_key() {
    let files = [
        (SYSTEM, "[containers]\nnetns='private'\nshm_size='1k'\nutsns='a'\n[engine]\nretry=3"),
        (ADMIN, "[containers]\nshm_size='2k'"),
        ("etc/containers/containers.conf.d/20-b.conf", "[containers]\nutsns='c'"),
        ("etc/containers/containers.conf.d/10-a.conf", "[containers]\nutsns='b'\nhttp_proxy=false"),
        ("etc/containers/containers.conf.d/ignored.txt", "not toml ["),
        (USER, "[containers]\nnetns='host'\n[network]\ndefault_rootless_network_cmd='slirp4netns'"),
        ("home/.config/containers/containers.conf.d/x.conf", "[engine]\nruntime='crun'\nruntimes.crun=['/a','/b']"),
    ];
    let conf = load(&files, |_, _| {}).unwrap();
    assert_eq!(conf.containers.netns.as_deref(), Some("host"));
    assert_eq!(conf.containers.shm_size.as_deref(), Some("2k"));
    assert_eq!(conf.containers.utsns.as_deref(), Some("c"));
    assert_eq!(conf.containers.http_proxy, Some(false));
    assert_eq!((conf.engine.retry, conf.engine.runtime.as_deref()), (Some(3), Some("crun")));
    assert_eq!(conf.engine.runtimes["crun"], [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(conf.network.default_rootless_network_cmd.as_deref(), Some("slirp4netns"));
    let as_root = load(&files, |environment, _| environment.rootless = false).unwrap();
    assert_eq!(as_root.containers.netns.as_deref(), Some("private"));
    let elsewhere = load(&files, |environment, root| environment.xdg_config_home = Some(root.join("nowhere"))).unwrap();
    assert_eq!(elsewhere.containers.netns.as_deref(), Some("private"));
}

#[test]
fn lists_replace_unless_they_append() {
    let env = |files: &[(&str, &str)]| load(files, |_, _| {}).unwrap().engine.env.unwrap();
    let first = (SYSTEM, "[engine]\nenv=['A=1']");
    assert_eq!(env(&[first, (ADMIN, "[engine]\nenv=['B=2']")]), ["B=2"]);
    assert_eq!(env(&[first, (ADMIN, "[engine]\nenv=[{append=true},'B=2']")]), ["A=1", "B=2"]);
    assert_eq!(
        env(&[first, (ADMIN, "[engine]\nenv=['B=2',{append=true}]"), (USER, "[engine]\nenv=['C=3']")]),
        ["A=1", "B=2", "C=3"]
    );
    let off = (USER, "[engine]\nenv=['C=3',{append=false}]");
    assert_eq!(env(&[first, (ADMIN, "[engine]\nenv=['B=2',{append=true}]"), off]), ["C=3"]);
    assert_eq!(env(&[(ADMIN, "[engine]\nenv=[]")]), [""; 0]);
    let helpers = load(
        &[(ADMIN, "[engine]\nhelper_binaries_dir=['/a',{append=true}]"), (USER, "[engine]\nhelper_binaries_dir=['/b']")],
        |_, _| {},
    );
    assert_eq!(helpers.unwrap().engine.helper_binaries_dir.unwrap(), [PathBuf::from("/a"), PathBuf::from("/b")]);
}

#[test]
fn variables_name_the_only_and_the_last_file() {
    let files = [(ADMIN, "[containers]\nnetns='a'"), ("only", "[containers]\nnetns='b'"), ("last", "[containers]\nipcns='c'")];
    let only = load(&files, |environment, root| environment.containers_conf = Some(root.join("only"))).unwrap();
    assert_eq!(only.containers.netns.as_deref(), Some("b"));
    let both = load(&files, |environment, root| {
        environment.containers_conf = Some("/dev/null".into());
        environment.containers_conf_override = Some(root.join("last"));
    });
    assert_eq!(both.map(|conf| (conf.containers.netns, conf.containers.ipcns)).unwrap(), (None, Some("c".to_owned())));
    let missing = load(&files, |environment, _| environment.containers_conf = Some("/nonexistent".into())).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent"), "{missing}");
}

#[test]
fn drop_ins_for_a_kind_of_user_or_one_user_are_read_for_them_alone() {
    let below = |name: &str| format!("etc/containers/containers.{name}.conf");
    let texts = [
        (below("conf.d/1"), "[containers]\nnetns='all'\nipcns='all'\npidns='all'"),
        (below("rootless.conf.d/2"), "[containers]\nnetns='rootless'\nipcns='rootless'"),
        (below("rootless.conf.d/7/3"), "[containers]\nnetns='seven'"),
        (below("rootful.conf.d/4"), "[containers]\nnetns='root'"),
    ];
    let files: Vec<_> = texts.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let namespaces = |uid: u32| {
        let conf = load(&files, |environment, _| (environment.uid, environment.rootless) = (Some(uid), uid != 0)).unwrap();
        [conf.containers.netns, conf.containers.ipcns, conf.containers.pidns].map(Option::unwrap)
    };
    assert_eq!(namespaces(7), ["seven", "rootless", "all"]);
    assert_eq!(namespaces(8), ["rootless", "rootless", "all"]);
    assert_eq!(namespaces(0), ["root", "all", "all"]);
}

/// What `utsns` says of the last file that has it, and `pidns` of a file of the name `x.conf`.
#[test]
fn drop_ins_are_ordered_by_name_and_one_of_a_later_directory_replaces_its_namesake() {
    let drop_in = |directory: &str, name: &str| format!("{directory}/containers.{name}.conf");
    let (usr, etc, home) = ("usr/share/containers", "etc/containers", "home/.config/containers");
    let case = |files: &[(String, &str)]| {
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let conf = load(&files, |environment, _| environment.uid = Some(7)).unwrap().containers;
        [conf.utsns, conf.pidns].map(Option::unwrap_or_default)
    };
    let first = |directory: &str, name: &str| (drop_in(directory, name), "[containers]\nutsns='first'\npidns='first'");
    let second = |directory: &str, name: &str| (drop_in(directory, name), "[containers]\nutsns='second'");
    // The newest tools' rule: a name counts once, and names are ordered over all directories of the system.
    assert_eq!(case(&[first(usr, "conf.d/x"), second(etc, "conf.d/x")]), ["second", ""]);
    assert_eq!(case(&[first(etc, "conf.d/x"), second(etc, "rootless.conf.d/x")]), ["second", ""]);
    assert_eq!(case(&[first(etc, "rootless.conf.d/x"), second(etc, "rootless.conf.d/7/x")]), ["second", ""]);
    assert_eq!(case(&[first(usr, "conf.d/2"), second(etc, "conf.d/1")]), ["first", "first"]);
    assert_eq!(case(&[second(etc, "rootless.conf.d/7/1"), first(usr, "conf.d/2")]), ["first", "first"]);
    // Main files come before all of these, also where a drop-in is the distribution's.
    assert_eq!(case(&[first(usr, "conf.d/1"), (ADMIN.to_owned(), "[containers]\nutsns='second'")]), ["first", "first"]);
    // The user's own come last; a namesake of what older tools do not read is replaced.
    assert_eq!(case(&[first(usr, "conf.d/9"), second(home, "conf.d/1")]), ["second", "first"]);
    assert_eq!(case(&[first(usr, "conf.d/x"), second(home, "conf.d/x")]), ["second", ""]);
    // Debian 12's rule where the two contradict each other.
    assert_eq!(case(&[first(etc, "conf.d/x"), second(home, "conf.d/x")]), ["second", "first"]);
    assert_eq!(case(&[first(etc, "conf.d/9"), (USER.to_owned(), "[containers]\nutsns='second'")]), ["second", "first"]);
}

#[test]
fn errors_name_the_file_and_the_key() {
    let error = |text: &str| load(&[(ADMIN, text)], |_, _| {}).unwrap_err().to_string();
    let cases = [
        ("\n[containers", "line 2: unclosed table"),
        ("[containers]\nnetns=1", "line 2: containers.netns: expected a string, found integer"),
        ("[containers]\nno_hosts='x'", "containers.no_hosts: expected true or false, found string"),
        ("[engine]\nenv='x'", "engine.env: expected a list of strings"),
        ("[engine]\nenv=[1]", "engine.env: expected a list of strings"),
        ("[engine]\nenv=[{append=1}]", "engine.env: expected a list of strings"),
        ("[engine]\nretry=-1", "engine.retry: expected a number in its range"),
        ("[engine]\nruntimes.x='y'", "engine.runtimes: expected a table of lists"),
    ];
    for (text, message) in cases {
        let error = error(text);
        assert!(error.contains(ADMIN) && error.contains(message) && !error.contains('\n'), "{error}");
    }
    assert!(load(&[(ADMIN, "[podman]\nx=1\n[containers]\nunknown=[1]\ny=2")], |_, _| {}).is_ok());
}
