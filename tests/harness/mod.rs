//! What every test of the program stands on: the binary, run as an unprivileged user in a private home, with a store of its own.
//!
//! As root (CI), the user is `coracle-test` (or `$CORACLE_TEST_USER`), which `contrib/test` creates with subordinate ids; as anybody
//! else it is the caller. Nothing of the caller's environment reaches the program but what is set here.
#![allow(dead_code)] // each test program uses a part of it

mod peers;
pub mod registry;
mod render;
mod user;

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[allow(unused_imports)] // each test program uses a part of it
pub use peers::{have, skip_without};
#[allow(unused_imports)]
pub use render::CommandOutput;
#[allow(unused_imports)]
pub use user::{TestUser, am_root, binary, busybox_tar, test_user};

/// The start of a script that signs: a key `a@test` in a keyring of its own, its `$fingerprint`, and `a.gpg` to verify with.
pub const SIGNER: &str = r#"
export GNUPGHOME=$PWD/gnupg; mkdir -p -m 700 gnupg
trap 'gpgconf --kill all' EXIT
[ -e a.gpg ] || gpg --batch --quiet --passphrase '' --quick-generate-key a@test ed25519 sign never 2>/dev/null
gpg --export a@test >a.gpg
fingerprint=$(gpg --batch --with-colons --list-keys a@test 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }')
"#;

/// A private home, store and working directory. All of it is removed when the value is dropped.
pub struct TestEnv {
    dir: tempfile::TempDir,
    user: TestUser,
    variables: Vec<(String, String)>,
}

impl TestEnv {
    /// A fresh environment with an empty store, on overlay.
    pub fn new() -> Self {
        Self::on("overlay")
    }

    /// A fresh environment with an empty store of this driver, which all tools take.
    pub fn on(driver: &str) -> Self {
        Self::of(test_user(), driver)
    }

    /// The same for real root, on overlay; none if the tests are run by somebody else.
    pub fn of_root() -> Option<Self> {
        if !user::am_root() {
            return None;
        }
        let mut env = Self::of(TestUser { name: "root".to_owned(), uid: 0, gid: 0 }, "overlay");
        let (graph_root, run_root) = (env.graph_root(), env.path("run/containers"));
        let conf = format!("[storage]\ndriver = \"overlay\"\ngraphroot = {graph_root:?}\nrunroot = {run_root:?}\n");
        let conf = env.write_home("storage.conf", conf);
        env.set("CONTAINERS_STORAGE_CONF", &conf.to_string_lossy());
        Some(env)
    }

    /// Whether commands are run by real root.
    pub fn is_root(&self) -> bool {
        self.user.uid == 0
    }

    fn of(user: TestUser, driver: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("coracle-t").tempdir_in("/var/tmp").expect("a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("its mode");
        let env = Self { dir, user, variables: Vec::new() };
        for name in ["home", "run", "work", "tmp"] {
            fs::create_dir(env.path(name)).expect("a directory of the environment");
            fs::set_permissions(env.path(name), fs::Permissions::from_mode(0o700)).expect("its mode");
            env.own(&env.path(name));
        }
        // Debian's rootless podman and buildah would take vfs in an empty home.
        env.write_home(".config/containers/storage.conf", format!("[storage]\ndriver = \"{driver}\"\n"));
        // No test asks a registry of the world: a name that is nowhere is refused at once, with the same words everywhere.
        env.write_home(".config/containers/registries.conf", "unqualified-search-registries = [\"localhost:1\"]\n");
        env.write_home(".config/containers/policy.json", "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n");
        env
    }

    /// A path below the environment's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The working directory in which commands run.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// The graph root of the store that all tools use here.
    pub fn graph_root(&self) -> PathBuf {
        self.path("home/.local/share/containers/storage")
    }

    /// Puts a directory of programs before all others in the PATH of every later command.
    pub fn put_in_path(&mut self, dir: &Path) {
        self.set("PATH", &format!("{}:/usr/bin:/bin", dir.display()));
    }

    /// Sets an environment variable for every later command.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a file in the working directory, owned by the user; parents are made.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.write_below(&self.work(), name, content.as_ref())
    }

    /// Writes a file in the home directory.
    pub fn write_home(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.write_below(&self.path("home"), name, content.as_ref())
    }

    fn write_below(&self, top: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = top.join(name);
        let mut made = top.to_path_buf();
        for part in Path::new(name).parent().into_iter().flat_map(Path::components) {
            made.push(part);
            if !made.exists() {
                fs::create_dir(&made).expect("a parent directory");
                self.own(&made);
            }
        }
        fs::write(&path, content).expect("a test file");
        self.own(&path);
        path
    }

    /// Runs `coracle` with these arguments.
    pub fn run<I, S>(&self, arguments: I) -> CommandOutput
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.tool(&user::binary().to_string_lossy(), arguments)
    }

    /// Runs `coracle`, which must succeed, and returns its stdout without the final newline.
    #[track_caller]
    pub fn ok<I, S>(&self, arguments: I) -> String
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.run(arguments).success()
    }

    /// Runs any program as the test's user.
    pub fn tool<I, S>(&self, program: &str, arguments: I) -> CommandOutput
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.command(program);
        command.args(arguments);
        self.output(command, b"")
    }

    /// The flag for commands that `tool` runs. Buildah's own isolation wants a control group, which is not everywhere; `coracle` may be
    /// Buildah in its place.
    pub fn isolation_of(&self, tool: &str) -> &'static str {
        let is_buildah = self.shell(&format!("{tool} --version")).success().starts_with("buildah");
        if is_buildah { "--isolation chroot" } else { "" }
    }

    /// Runs a script with `sh -eu`; `coracle` is in its PATH.
    pub fn shell(&self, script: &str) -> CommandOutput {
        let mut command = self.command("/bin/sh");
        command.args(["-euc", script]);
        self.output(command, b"")
    }

    /// Makes the image `one` of a single small file.
    pub fn small_image(&self) {
        self.write("f", "content\n");
        self.shell("c=$(coracle from scratch); coracle copy -q $c f /f; coracle commit -q --rm $c one >/dev/null").success();
    }

    /// Makes two images for lists: `one` for this machine, `two` for arm64 in Docker's format.
    pub fn images_of_two_machines(&self) {
        self.busybox("localhost/one:latest");
        self.write("f", "content\n");
        self.shell(
            "c=$(coracle from scratch); coracle copy -q $c f /f; coracle config --arch arm64 --variant v8 $c
             coracle commit -q --rm --format docker $c localhost/two:latest >/dev/null",
        )
        .success();
    }

    /// Runs one command by the shell; what it said, and the most memory that it ever held, in bytes.
    pub fn peak_of(&self, command: &str) -> (CommandOutput, u64) {
        let said = self.shell(&format!(
            "{command} & pid=$!
             while line=$(grep VmHWM /proc/$pid/status 2>/dev/null); do echo \"$line\" >peak; sleep 0.02; done
             wait $pid"
        ));
        let peak = fs::read_to_string(self.work().join("peak")).unwrap_or_default();
        let kibibytes: u64 = peak.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
        (said, kibibytes << 10)
    }

    /// Runs a script where root can make no namespace and mount nothing, as in an ordinary container: without CAP_SYS_ADMIN, and
    /// with no further user namespace allowed. The graph root is
    /// `home/caged`, the driver vfs.
    pub fn caged(&self, script: &str) -> CommandOutput {
        let unset =
            "env -u _CONTAINERS_USERNS_CONFIGURED -u _CONTAINERS_ROOTLESS_UID -u _CONTAINERS_ROOTLESS_GID -u BUILDAH_ISOLATION";
        let conf = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            self.path("home/caged"),
            self.path("run/caged")
        );
        let conf = self.write("caged.conf", conf);
        let outer = format!(
            "echo 0 >/proc/sys/user/max_user_namespaces && export CONTAINERS_STORAGE_CONF={conf:?} && \
             exec {unset} setpriv --bounding-set=-sys_admin --inh-caps=-all sh -euc \"$0\""
        );
        self.tool(&user::binary().to_string_lossy(), ["unshare", "sh", "-euc", &outer, script])
    }

    /// Runs a script as the user, where `newuidmap` and `newgidmap` are hidden, so that one id is mapped. Needs root.
    pub fn with_one_id(&self, script: &str) -> CommandOutput {
        self.with_mounts("mount --bind /dev/null /usr/bin/newuidmap; mount --bind /dev/null /usr/bin/newgidmap", script)
    }

    /// Runs a script as the user, where `mounts`, a script of root's, was run before in a mount namespace of its own. Needs root.
    pub fn with_mounts(&self, mounts: &str, script: &str) -> CommandOutput {
        let inner = format!(
            "{mounts}
             exec setpriv --reuid {} --regid {} --clear-groups -- sh -euc \"$0\"",
            self.user.uid, self.user.gid
        );
        let own = self.command("sh");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-euc", &inner, script]).env_clear().current_dir(self.work());
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.output(command, b"")
    }

    /// Runs a prepared command with `input` on its stdin and collects what it says.
    pub fn output(&self, mut command: Command, input: &[u8]) -> CommandOutput {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let mut stdin = child.stdin.take().expect("a piped stdin");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("the output of the command");
        writer.join().expect("the thread that writes stdin");
        CommandOutput {
            stdout: output.stdout,
            stderr: output.stderr,
            code: output.status.code(),
            signal: output.status.signal(),
            private: self.dir.path().to_path_buf(),
        }
    }

    /// A command that will run as the test's user, in the private home, with nothing else of the caller's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.work());
        let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", user::bin_dir().display());
        command.env("PATH", path).env("HOME", self.path("home")).env("USER", &self.user.name);
        command.env("XDG_RUNTIME_DIR", self.path("run")).env("TMPDIR", self.path("tmp")).env("LC_ALL", "C.UTF-8");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if user::am_root() {
            // std drops root's supplementary groups when it sets another uid as root.
            command.uid(self.user.uid).gid(self.user.gid);
        }
        command
    }

    /// Makes an image `name` whose root file system is the machine's static busybox: applets in /bin, root and one user in
    /// /etc/passwd, an empty /tmp. Returns its ID.
    #[track_caller]
    pub fn busybox(&self, name: &str) -> String {
        let tar = user::busybox_tar();
        let container = self.ok(["from", "scratch"]);
        self.ok(["add", "-q", &container, &tar.to_string_lossy(), "/"]);
        self.ok(["config", "--cmd", "/bin/sh", "--env", "PATH=/bin", &container]);
        let id = self.ok(["commit", "-q", "--rm", &container, name]);
        assert_eq!(id.len(), 64, "an image ID");
        id
    }

    /// A working container of a new image `name`, which is made as by [`Self::busybox`].
    #[track_caller]
    pub fn busybox_container(&self, name: &str) -> String {
        self.busybox(name);
        self.ok(["from", "--pull-never", name])
    }

    /// Runs a script with the container's own `sh`, which must succeed, and returns its stdout without the final newline.
    #[track_caller]
    pub fn inside(&self, container: &str, script: &str) -> String {
        self.ok(["run", container, "--", "sh", "-c", script])
    }

    /// Every file of the store must be accounted for.
    #[track_caller]
    pub fn assert_store_is_clean(&self) {
        let report = self.run(["check"]);
        assert_eq!((report.code, report.out().as_str()), (Some(0), ""), "coracle check:\n{report}");
    }

    fn own(&self, path: &Path) {
        if user::am_root() {
            std::os::unix::fs::lchown(path, Some(self.user.uid), Some(self.user.gid)).expect("the owner of a test file");
        }
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        peers::end_pause_process(&self.path("run"));
        if !user::am_root() {
            // Files of subordinate ids can be removed only inside the namespace.
            let mut command = self.command(&user::binary().to_string_lossy());
            command.args(["unshare", "rm", "-rf"]).arg(self.path("home")).arg(self.path("work"));
            drop(command.output());
        }
    }
}
