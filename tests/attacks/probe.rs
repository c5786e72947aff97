//! The probe: a static program that is run in containers and says what it finds (`probe.c`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::harness::TestEnv;

/// A working container with busybox, and the probe at hand.
pub struct Probed {
    pub env: TestEnv,
    pub container: String,
    program: PathBuf,
}

impl Probed {
    /// Makes both.
    pub fn new() -> Self {
        Self::in_env(TestEnv::new())
    }

    /// Makes both in an environment that was prepared.
    pub fn in_env(env: TestEnv) -> Self {
        env.busybox("busybox");
        let container = env.ok(["from", "--pull-never", "busybox"]);
        let program = env.write("probe", fs::read(compiled()).expect("the probe"));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
        Self { env, container, program }
    }

    /// The arguments of a `run` with these flags.
    pub fn arguments(&self, flags: &[&str], command: &[&str]) -> Vec<String> {
        let volume = format!("{}:/probe:ro", self.program.display());
        let words = [&["run", "--volume", volume.as_str()], flags, &[self.container.as_str(), "--"], command].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    /// What the probe says about `what` in a `run` on the host's network with these flags.
    #[track_caller]
    pub fn ask(&self, flags: &[&str], what: &[&str]) -> Value {
        let flags = [&["--network", "host"], flags].concat();
        let output = self.env.run(self.arguments(&flags, &[&["/probe"], what].concat()));
        serde_json::from_str(&output.success()).expect("the probe's JSON")
    }

    /// Runs a shell script inside, on the host's network.
    pub fn shell(&self, flags: &[&str], script: &str) -> crate::harness::CommandOutput {
        let flags = [&["--network", "host"], flags].concat();
        self.env.run(self.arguments(&flags, &["/bin/sh", "-c", script]))
    }

    /// Runs a shell script outside, in the container's root file system.
    #[track_caller]
    pub fn change(&self, script: &str) {
        let script = format!("cd \"$(coracle mount {})\"; {script}", self.container);
        self.env.ok(["unshare", "sh", "-euc", &script]);
    }

    /// Every name below the container's own layer, `.` excluded.
    pub fn layer(&self) -> Vec<String> {
        let script = format!("cd \"$(coracle mount {})\"; find . -mindepth 1 | sort", self.container);
        self.env.ok(["unshare", "sh", "-euc", &script]).lines().map(str::to_owned).collect()
    }
}

fn compiled() -> &'static Path {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("probe");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks/probe.c");
        let built = Command::new("cc").args(["-static", "-no-pie", "-O1", "-o"]).arg(&path).arg(source).status();
        assert!(built.expect("a C compiler").success(), "the probe does not compile");
        (dir, path)
    });
    path
}
