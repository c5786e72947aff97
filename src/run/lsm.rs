//! `--security-opt apparmor=…, label=…`: what the machine's security modules are told of the process.
//!
//! What the modules are asked for is applied, or it is an error, but for what Buildah passes over too: labels where SELinux is off, and a
//! profile under `--isolation chroot` where AppArmor is off.
//!
//! Must not: apply anything; that is the runtime's part, ours (`native::lsm`) or an external one's.

use std::path::Path;

use super::{Error, Isolation};

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The AppArmor profile.
    pub profile: Option<String>,
    /// Words of `label=`, in their order.
    pub labels: Vec<String>,
    /// The SELinux label of processes that the container has already (`ProcessLabel`, as another tool noted it); empty: none.
    pub process_label: String,
    /// That of its mounts (`MountLabel`).
    pub mount_label: String,
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
        Self {
            apparmor: enabled.is_ok_and(|text| text.starts_with(b"Y")),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        }
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
        if !machine.selinux || self.labels.iter().any(|word| word == "disable") {
            return Ok(Resolved { profile, ..Resolved::default() });
        }
        if let Some(word) = self.labels.first() {
            let text = format!("--security-opt \"label={word}\": SELinux labels cannot be put together by this version");
            return Err(Error::Request(text));
        }
        let label = |label: &str| (!label.is_empty()).then(|| label.to_owned());
        Ok(Resolved { profile, process_label: label(&self.process_label), mount_label: label(&self.mount_label) })
    }
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
        let mut options = Options { process_label: "p".into(), mount_label: "m".into(), ..Options::default() };
        assert_eq!(options.resolve(&Isolation::Native, NEITHER).unwrap(), Resolved::default());
        let resolved = options.resolve(&Isolation::Native, BOTH).unwrap();
        assert_eq!((resolved.process_label.as_deref(), resolved.mount_label.as_deref()), (Some("p"), Some("m")));
        options.labels = vec!["type:x".to_owned()];
        assert_eq!(options.resolve(&Isolation::Native, NEITHER).unwrap(), Resolved::default(), "as Buildah");
        assert!(options.resolve(&Isolation::Native, BOTH).is_err());
        options.labels.push("disable".to_owned());
        assert_eq!(options.resolve(&Isolation::Native, BOTH).unwrap(), Resolved::default());
    }
}
