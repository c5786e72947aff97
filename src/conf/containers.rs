//! containers.conf: the defaults for containers, as containers.conf(5) describes the file, its places and its drop-ins.
//!
//! Invariant: files are merged key by key, the later one wins; a list that holds `{append=true}` adds to what was there, and so
//! do the lists of the files after it. Keys that we do not read are ignored, since other tools own them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Environment, Error, Presence, read_drop_ins, read_file};

/// The settings that we read, merged from all files. A `None` means that no file says anything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainersConf {
    /// `[containers]`
    pub containers: Containers,
    /// `[engine]`
    pub engine: Engine,
    /// `[network]`
    pub network: Network,
}

/// `[containers]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Containers {
    /// `annotations`: `key=value`.
    pub annotations: Option<Vec<String>>,
    /// `base_hosts_file`: a path, `image` or `none`.
    pub base_hosts_file: Option<String>,
    /// `cgroupns`: `private` or `host`.
    pub cgroupns: Option<String>,
    /// `container_name_as_hostname`
    pub container_name_as_hostname: Option<bool>,
    /// `default_capabilities`, with or without `CAP_`.
    pub default_capabilities: Option<Vec<String>>,
    /// `default_sysctls`: `name=value`.
    pub default_sysctls: Option<Vec<String>>,
    /// `default_ulimits`: `name=soft[:hard]`.
    pub default_ulimits: Option<Vec<String>>,
    /// `devices`: `host[:container[:rwm]]`.
    pub devices: Option<Vec<String>>,
    /// `dns_options`
    pub dns_options: Option<Vec<String>>,
    /// `dns_searches`
    pub dns_searches: Option<Vec<String>>,
    /// `dns_servers`
    pub dns_servers: Option<Vec<String>>,
    /// `env`: `name=value`.
    pub env: Option<Vec<String>>,
    /// `host_containers_internal_ip`: an address, or `none`.
    pub host_containers_internal_ip: Option<String>,
    /// `http_proxy`: hand the proxy variables on.
    pub http_proxy: Option<bool>,
    /// `ipcns`
    pub ipcns: Option<String>,
    /// `label`: SELinux separation.
    pub label: Option<bool>,
    /// `netns`
    pub netns: Option<String>,
    /// `no_hosts`
    pub no_hosts: Option<bool>,
    /// `pidns`
    pub pidns: Option<String>,
    /// `shm_size`: bytes, with a unit.
    pub shm_size: Option<String>,
    /// `umask`: octal.
    pub umask: Option<String>,
    /// `userns`
    pub userns: Option<String>,
    /// `utsns`
    pub utsns: Option<String>,
    /// `volumes`: `host:container[:options]`.
    pub volumes: Option<Vec<String>>,
}

/// `[engine]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Engine {
    /// `cgroup_manager`: `systemd` or `cgroupfs`.
    pub cgroup_manager: Option<String>,
    /// `env`: `name=value`, exported where unset.
    pub env: Option<Vec<String>>,
    /// `helper_binaries_dir`
    pub helper_binaries_dir: Option<Vec<PathBuf>>,
    /// `image_copy_tmp_dir`: a directory, or `storage`.
    pub image_copy_tmp_dir: Option<String>,
    /// `retry`
    pub retry: Option<u32>,
    /// `runtime`: a name in `runtimes`, or a path.
    pub runtime: Option<String>,
    /// `runtimes`: name to paths.
    pub runtimes: BTreeMap<String, Vec<PathBuf>>,
}

/// `[network]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// `default_network`
    pub default_network: Option<String>,
    /// `default_rootless_network_cmd`: `pasta` or `slirp4netns`.
    pub default_rootless_network_cmd: Option<String>,
    /// `pasta_options`
    pub pasta_options: Option<Vec<String>>,
}

const FILE: &str = "containers/containers.conf";

impl ContainersConf {
    /// Reads and merges all files that `environment` points to.
    ///
    /// # Errors
    ///
    /// A file named by `CONTAINERS_CONF` or `CONTAINERS_CONF_OVERRIDE` must exist. Any file that exists must be TOML with the
    /// right types.
    pub fn load(environment: &Environment) -> Result<Self, Error> {
        Self::load_below(environment, Path::new("/"))
    }

    /// As [`Self::load`], with another directory for the system's `usr/share` and `etc`.
    fn load_below(environment: &Environment, root: &Path) -> Result<Self, Error> {
        let mut merger = Merger::default();
        if let Some(path) = &environment.containers_conf {
            merger.add(path, Presence::Required)?;
        } else {
            for directory in ["usr/share", "etc"] {
                merger.add_with_drop_ins(&root.join(directory).join(FILE), Presence::Optional)?;
            }
            if let Some(home) = environment.config_home().filter(|_| environment.rootless) {
                merger.add_with_drop_ins(&home.join(FILE), Presence::Readable)?;
            }
        }
        if let Some(path) = &environment.containers_conf_override {
            merger.add(path, Presence::Required)?;
        }
        Ok(merger.conf)
    }
}

/// The settings so far, and which lists are in append mode.
#[derive(Default)]
struct Merger {
    conf: ContainersConf,
    appending: BTreeMap<&'static str, bool>,
}

/// Debian's file is 24 kB of comments around twenty lines, and the parser is four times as long about it. Lines stay lines, so that
/// an error still names the right one. In a multi-line string a `#` at the beginning of a line is no comment.
fn without_comments(text: &str) -> Cow<'_, str> {
    if text.contains("\"\"\"") || text.contains("'''") {
        return Cow::Borrowed(text);
    }
    let keep = |line: &str| !line.trim_start().starts_with('#');
    Cow::Owned(text.split('\n').map(|line| if keep(line) { line } else { "" }).collect::<Vec<_>>().join("\n"))
}

impl Merger {
    fn add_with_drop_ins(&mut self, path: &Path, presence: Presence) -> Result<(), Error> {
        self.add(path, presence)?;
        for drop_in in read_drop_ins(path)? {
            self.add(&drop_in, presence)?;
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, presence: Presence) -> Result<(), Error> {
        let Some(text) = read_file(path, presence)? else { return Ok(()) };
        let plain = without_comments(&text);
        let tables: Table = plain.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| plain.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            Error::Parse { path: path.to_owned(), message: format!("line {line}: {}", error.message()) }
        })?;
        for (name, table) in tables {
            let Value::Table(table) = table else { continue };
            for (key, value) in table {
                let mut setting = Setting { path, value, appending: &mut self.appending };
                match name.as_str() {
                    "containers" => self.conf.containers.set(&key, &mut setting)?,
                    "engine" => self.conf.engine.set(&key, &mut setting)?,
                    "network" => self.conf.network.set(&key, &mut setting)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Containers {
    fn set(&mut self, key: &str, setting: &mut Setting<'_>) -> Result<(), Error> {
        match key {
            "annotations" => setting.list("containers.annotations", &mut self.annotations),
            "base_hosts_file" => setting.text("containers.base_hosts_file", &mut self.base_hosts_file),
            "cgroupns" => setting.text("containers.cgroupns", &mut self.cgroupns),
            "container_name_as_hostname" => {
                setting.flag("containers.container_name_as_hostname", &mut self.container_name_as_hostname)
            }
            "default_capabilities" => setting.list("containers.default_capabilities", &mut self.default_capabilities),
            "default_sysctls" => setting.list("containers.default_sysctls", &mut self.default_sysctls),
            "default_ulimits" => setting.list("containers.default_ulimits", &mut self.default_ulimits),
            "devices" => setting.list("containers.devices", &mut self.devices),
            "dns_options" => setting.list("containers.dns_options", &mut self.dns_options),
            "dns_searches" => setting.list("containers.dns_searches", &mut self.dns_searches),
            "dns_servers" => setting.list("containers.dns_servers", &mut self.dns_servers),
            "env" => setting.list("containers.env", &mut self.env),
            "host_containers_internal_ip" => {
                setting.text("containers.host_containers_internal_ip", &mut self.host_containers_internal_ip)
            }
            "http_proxy" => setting.flag("containers.http_proxy", &mut self.http_proxy),
            "ipcns" => setting.text("containers.ipcns", &mut self.ipcns),
            "label" => setting.flag("containers.label", &mut self.label),
            "netns" => setting.text("containers.netns", &mut self.netns),
            "no_hosts" => setting.flag("containers.no_hosts", &mut self.no_hosts),
            "pidns" => setting.text("containers.pidns", &mut self.pidns),
            "shm_size" => setting.text("containers.shm_size", &mut self.shm_size),
            "umask" => setting.text("containers.umask", &mut self.umask),
            "userns" => setting.text("containers.userns", &mut self.userns),
            "utsns" => setting.text("containers.utsns", &mut self.utsns),
            "volumes" => setting.list("containers.volumes", &mut self.volumes),
            _ => Ok(()),
        }
    }
}

impl Engine {
    fn set(&mut self, key: &str, setting: &mut Setting<'_>) -> Result<(), Error> {
        match key {
            "cgroup_manager" => setting.text("engine.cgroup_manager", &mut self.cgroup_manager),
            "env" => setting.list("engine.env", &mut self.env),
            "helper_binaries_dir" => {
                let mut texts = self
                    .helper_binaries_dir
                    .take()
                    .map(|paths| paths.into_iter().map(|path| path.to_string_lossy().into_owned()).collect());
                setting.list("engine.helper_binaries_dir", &mut texts)?;
                self.helper_binaries_dir = texts.map(|texts| texts.into_iter().map(PathBuf::from).collect());
                Ok(())
            }
            "image_copy_tmp_dir" => setting.text("engine.image_copy_tmp_dir", &mut self.image_copy_tmp_dir),
            "retry" => {
                let number = setting.value.as_integer().and_then(|number| u32::try_from(number).ok());
                self.retry = Some(number.ok_or_else(|| setting.wrong("engine.retry", "a number that is not negative"))?);
                Ok(())
            }
            "runtime" => setting.text("engine.runtime", &mut self.runtime),
            "runtimes" => {
                let table = setting.value.as_table().ok_or_else(|| setting.wrong("engine.runtimes", "a table"))?;
                for (name, paths) in table {
                    let paths = paths.as_array().and_then(|paths| {
                        paths.iter().map(|path| path.as_str().map(PathBuf::from)).collect::<Option<Vec<_>>>()
                    });
                    let paths = paths.ok_or_else(|| setting.wrong("engine.runtimes", "a table of lists of paths"))?;
                    self.runtimes.insert(name.clone(), paths);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Network {
    fn set(&mut self, key: &str, setting: &mut Setting<'_>) -> Result<(), Error> {
        match key {
            "default_network" => setting.text("network.default_network", &mut self.default_network),
            "default_rootless_network_cmd" => {
                setting.text("network.default_rootless_network_cmd", &mut self.default_rootless_network_cmd)
            }
            "pasta_options" => setting.list("network.pasta_options", &mut self.pasta_options),
            _ => Ok(()),
        }
    }
}

/// A value on its way into a field.
struct Setting<'a> {
    path: &'a Path,
    value: Value,
    appending: &'a mut BTreeMap<&'static str, bool>,
}

impl Setting<'_> {
    fn wrong(&self, key: &'static str, wanted: &str) -> Error {
        let message = format!("expected {wanted}, found {}", self.value.type_str());
        Error::Value { path: self.path.to_owned(), key, message }
    }

    fn text(&self, key: &'static str, field: &mut Option<String>) -> Result<(), Error> {
        *field = Some(self.value.as_str().ok_or_else(|| self.wrong(key, "a string"))?.to_owned());
        Ok(())
    }

    fn flag(&self, key: &'static str, field: &mut Option<bool>) -> Result<(), Error> {
        *field = Some(self.value.as_bool().ok_or_else(|| self.wrong(key, "true or false"))?);
        Ok(())
    }

    /// A list of strings, in which `{append=true}` may stand anywhere.
    fn list(&mut self, key: &'static str, field: &mut Option<Vec<String>>) -> Result<(), Error> {
        let wrong = |this: &Self| this.wrong(key, "a list of strings, which may hold {append=true}");
        let mut append = self.appending.get(key).copied().unwrap_or_default();
        let mut items = Vec::new();
        for item in self.value.as_array().ok_or_else(|| wrong(self))? {
            match item {
                Value::String(text) => items.push(text.clone()),
                Value::Table(table) if table.len() == 1 => {
                    append = table.get("append").and_then(Value::as_bool).ok_or_else(|| wrong(self))?;
                }
                _ => return Err(wrong(self)),
            }
        }
        self.appending.insert(key, append);
        match field {
            Some(present) if append => present.append(&mut items),
            _ => *field = Some(items),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
            (SYSTEM, "[containers]\nnetns='private'\nshm_size='1k'\numask='0022'\n[engine]\nretry=3"),
            (ADMIN, "[containers]\nshm_size='2k'"),
            ("etc/containers/containers.conf.d/20-b.conf", "[containers]\numask='0002'"),
            ("etc/containers/containers.conf.d/10-a.conf", "[containers]\numask='0001'\nhttp_proxy=false"),
            ("etc/containers/containers.conf.d/ignored.txt", "not toml ["),
            (USER, "[containers]\nnetns='host'\n[network]\ndefault_rootless_network_cmd='slirp4netns'"),
            ("home/.config/containers/containers.conf.d/x.conf", "[engine]\nruntime='crun'\nruntimes.crun=['/a','/b']"),
        ];
        let conf = load(&files, |_, _| {}).unwrap();
        assert_eq!(conf.containers.netns.as_deref(), Some("host"));
        assert_eq!(conf.containers.shm_size.as_deref(), Some("2k"));
        assert_eq!(conf.containers.umask.as_deref(), Some("0002"));
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
        let env = |files: &[(&str, &str)]| load(files, |_, _| {}).unwrap().containers.env.unwrap();
        let first = (SYSTEM, "[containers]\nenv=['A=1']");
        assert_eq!(env(&[first, (ADMIN, "[containers]\nenv=['B=2']")]), ["B=2"]);
        assert_eq!(env(&[first, (ADMIN, "[containers]\nenv=[{append=true},'B=2']")]), ["A=1", "B=2"]);
        assert_eq!(
            env(&[first, (ADMIN, "[containers]\nenv=['B=2',{append=true}]"), (USER, "[containers]\nenv=['C=3']")]),
            ["A=1", "B=2", "C=3"]
        );
        let off = (USER, "[containers]\nenv=['C=3',{append=false}]");
        assert_eq!(env(&[first, (ADMIN, "[containers]\nenv=['B=2',{append=true}]"), off]), ["C=3"]);
        assert_eq!(env(&[(ADMIN, "[containers]\nenv=[]")]), [""; 0]);
        let helpers = load(
            &[(ADMIN, "[engine]\nhelper_binaries_dir=['/a',{append=true}]"), (USER, "[engine]\nhelper_binaries_dir=['/b']")],
            |_, _| {},
        );
        assert_eq!(helpers.unwrap().engine.helper_binaries_dir.unwrap(), [PathBuf::from("/a"), PathBuf::from("/b")]);
    }

    #[test]
    fn variables_name_the_only_and_the_last_file() {
        let files =
            [(ADMIN, "[containers]\nnetns='a'"), ("only", "[containers]\nnetns='b'"), ("last", "[containers]\nipcns='c'")];
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
    fn errors_name_the_file_and_the_key() {
        let error = |text: &str| load(&[(ADMIN, text)], |_, _| {}).unwrap_err().to_string();
        let cases = [
            ("\n[containers", "line 2: unclosed table"),
            ("[containers]\nnetns=1", "containers.netns: expected a string, found integer"),
            ("[containers]\nlabel='x'", "containers.label: expected true or false, found string"),
            ("[containers]\nenv='x'", "containers.env: expected a list of strings"),
            ("[containers]\nenv=[1]", "containers.env: expected a list of strings"),
            ("[containers]\nenv=[{append=1}]", "containers.env: expected a list of strings"),
            ("[engine]\nretry=-1", "engine.retry: expected a number that is not negative"),
            ("[engine]\nruntimes.x='y'", "engine.runtimes: expected a table of lists"),
        ];
        for (text, message) in cases {
            let error = error(text);
            assert!(error.contains(ADMIN) && error.contains(message) && !error.contains('\n'), "{error}");
        }
        assert!(load(&[(ADMIN, "[podman]\nx=1\n[containers]\nunknown=[1]\ny=2")], |_, _| {}).is_ok());
    }
}
