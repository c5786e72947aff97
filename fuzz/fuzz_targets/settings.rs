//! Any text as storage.conf, containers.conf, registries.conf, the aliases of short names, and policy.json: no panic.
#![no_main]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

use containers_storage::conf::{Conf, Environment as StorageEnvironment, Overrides};
use coracle::conf::{ContainersConf, Environment, Policy, Registries};
use libfuzzer_sys::fuzz_target;

/// A file of this process, and no other file of the machine.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("coracle-fuzz-{}.conf", std::process::id())));

fuzz_target!(|text: &[u8]| {
    let file = FILE.clone();
    std::fs::write(&file, text).expect("a temporary file");
    let nowhere = PathBuf::from("/nonexistent");
    let environment = Environment {
        home: Some(nowhere.clone()),
        containers_conf: Some(file.clone()),
        rootless: true,
        ..Environment::default()
    };
    let _ = ContainersConf::load(&environment);
    let _ = Registries::new(environment.clone(), Some(file.clone()), None).short_names();
    let _ = Registries::new(environment.clone(), None, Some(file.clone())).short_names();
    if let Ok(policy) = Policy::load(&environment, Some(&file)) {
        let _ = (policy.local_store(), policy.verdict("docker", &["example.com/a".to_owned(), "example.com".to_owned()]));
    }
    let variables = [("HOME", nowhere.as_os_str()), ("CONTAINERS_STORAGE_CONF", file.as_os_str())];
    let variables = variables.map(|(name, value)| (name.to_owned(), OsString::from(value)));
    let mut environment = StorageEnvironment::new(1000, true, variables);
    environment.system = nowhere;
    let _ = Conf::resolve(&environment, &Overrides::default());
});
