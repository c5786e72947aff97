//! `--security-opt apparmor=…, label=…`: what the machine's security modules are told of the process.
//!
//! What the modules are asked for is applied, or it is an error, but for what Buildah passes over too: labels where SELinux is off, and a
//! profile under `--isolation chroot` where AppArmor is off. The labels were made with the container; one command may have others.
//!
//! Must not: apply anything; that is the runtime's part, ours (`native::lsm`, `native::filesystem`) or an external one's, and `relabel`'s.

use containers_storage::selinux::{self, Context, Labels, System, Word};
use oci_spec::runtime::Spec;

use super::{Error, Isolation};

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The AppArmor profile.
    pub profile: Option<String>,
    /// Words of `label=` for this command, in their order.
    pub words: Vec<String>,
    /// The SELinux labels that the container has.
    pub labels: Labels,
}

/// What is put into the specification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// `process.apparmorProfile`
    pub profile: Option<String>,
    /// `process.selinuxLabel`
    pub process_label: Option<String>,
    /// `linux.mountLabel`
    pub mount_label: Option<String>,
    /// The label that `:Z` gives to a volume's files.
    pub file_label: Option<String>,
}

/// Which modules the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// AppArmor.
    pub apparmor: bool,
    /// SELinux.
    pub selinux: bool,
}

impl Machine {
    /// Asks the kernel.
    pub fn look() -> Self {
        let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
        Self { apparmor: enabled.is_ok_and(|text| text.starts_with(b"Y")), selinux: selinux::machine().is_some() }
    }
}

impl Options {
    /// Whether the machine has to be asked at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it comes to on this machine.
    ///
    /// # Errors
    /// What cannot be applied here.
    pub fn resolve(&self, isolation: &Isolation, machine: Machine) -> Result<Resolved, Error> {
        let profile = match (&self.profile, isolation) {
            (None, _) => None,
            (Some(profile), _) if machine.apparmor => Some(profile.clone()),
            // It says so itself.
            (Some(profile), Isolation::Oci(_)) => Some(profile.clone()),
            (Some(_), Isolation::Chroot) => None,
            // Nothing confines it.
            (Some(profile), _) if profile == "unconfined" => None,
            (Some(profile), _) => return Err(Error::NoAppArmor(profile.clone())),
        };
        if !machine.selinux {
            return Ok(Resolved { profile, ..Resolved::default() });
        }
        let words: Vec<Word> = self.words.iter().map(|word| Word::parse(word)).collect::<Result<_, _>>()?;
        let labels = self.labels.changed(&words, self.words.first().map_or("", String::as_str))?;
        let text = |label: String| Some(label).filter(|label| !label.is_empty());
        let (process_label, file_label) = (text(labels.process), text(labels.mount));
        // Without a label of its own the process may use any mount.
        let mount_label = file_label.clone().filter(|_| process_label.is_some());
        Ok(Resolved { profile, process_label, mount_label, file_label })
    }
}

/// The SELinux label of the pipes that stand for the descriptors of a command with this specification; `None` if it has no label.
pub(super) fn pipe_label(spec: &Spec) -> Result<Option<String>, Error> {
    let process = spec.process().as_ref().and_then(|process| process.selinux_label().as_deref());
    let mount = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref());
    match (process, mount, selinux::machine()) {
        (Some(process), Some(mount), Some(system)) => pipe_label_on(system, process, mount).map(Some),
        _ => Ok(None),
    }
}

fn pipe_label_on(system: &System, process: &str, mount: &str) -> Result<String, Error> {
    let (process, mount) = (Context::parse(process)?, Context::parse(mount)?);
    Ok(system.created(&process, &mount, "fifo_file")?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEITHER: Machine = Machine { apparmor: false, selinux: false };
    const BOTH: Machine = Machine { apparmor: true, selinux: true };

    fn profile(name: &str) -> Options {
        Options { profile: Some(name.to_owned()), ..Options::default() }
    }

    #[test]
    fn a_profile_is_applied_where_the_kernel_has_apparmor() {
        for isolation in [Isolation::Native, Isolation::Chroot, Isolation::Automatic] {
            for name in ["p", "unconfined"] {
                assert_eq!(profile(name).resolve(&isolation, BOTH).unwrap().profile.as_deref(), Some(name));
            }
            assert_eq!(profile("unconfined").resolve(&isolation, NEITHER).unwrap().profile, None);
        }
    }

    #[test]
    fn a_profile_is_an_error_elsewhere_but_where_buildah_passes_over_it() {
        for isolation in [Isolation::Native, Isolation::Automatic] {
            assert!(matches!(profile("p").resolve(&isolation, NEITHER), Err(Error::NoAppArmor(name)) if name == "p"));
        }
        assert_eq!(profile("p").resolve(&Isolation::Chroot, NEITHER).unwrap(), Resolved::default());
        let external = Isolation::Oci(crate::run::oci::Options::default());
        assert_eq!(profile("p").resolve(&external, NEITHER).unwrap().profile.as_deref(), Some("p"));
    }

    #[test]
    fn labels_count_where_selinux_is_on() {
        let labels = Labels { process: "u:r:t:s0:c1,c2".into(), mount: "u:o:f:s0:c1,c2".into() };
        let resolve = |labels: &Labels, words: &[&str], machine| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            Options { labels: labels.clone(), words, ..Options::default() }.resolve(&Isolation::Native, machine)
        };
        let told = |words: &[&str]| {
            let resolved = resolve(&labels, words, BOTH).unwrap();
            [resolved.process_label, resolved.mount_label, resolved.file_label].map(Option::unwrap_or_default)
        };
        assert_eq!(resolve(&labels, &["type:x", "nonsense"], NEITHER).unwrap(), Resolved::default(), "as Buildah");
        assert_eq!(told(&[]), ["u:r:t:s0:c1,c2", "u:o:f:s0:c1,c2", "u:o:f:s0:c1,c2"]);
        assert_eq!(told(&["type:x", "filetype:y"]), ["u:r:x:s0:c1,c2", "u:o:y:s0:c1,c2", "u:o:y:s0:c1,c2"]);
        assert_eq!(told(&["disable"]), ["", "", "u:o:f:s0:c1,c2"], "a volume may be relabelled all the same");
        let unlabelled = Labels::default();
        assert_eq!(resolve(&unlabelled, &[], BOTH).unwrap(), Resolved::default());
        for words in [["type:x"], ["nested"]] {
            assert!(matches!(resolve(&unlabelled, &words, BOTH), Err(Error::Label(_))), "never dropped in silence");
        }
    }

    #[test]
    fn pipes_are_labelled_as_the_policy_says() {
        let root = tempfile::tempdir().unwrap();
        let files = root.path().join("sys/fs/selinux");
        std::fs::create_dir_all(files.join("class/fifo_file")).unwrap();
        std::fs::write(files.join("class/fifo_file/index"), "7\n").unwrap();
        std::fs::write(files.join("create"), format!("{}u:o:pipe_t:s0\0", "?".repeat("a:b:c d:e:f 7".len()))).unwrap();
        let system = System::below(root.path());
        assert_eq!(pipe_label_on(&system, "a:b:c", "d:e:f").unwrap(), "u:o:pipe_t:s0");
        assert!(pipe_label_on(&system, "a", "d:e:f").is_err());
    }
}
