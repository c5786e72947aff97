//! The flags of a RUN instruction, as options of a run.

use super::Options;
use crate::run::devices::DeviceRequest;
use crate::run::etc_files::ExtraFile;
use crate::run::mount_args::StepMount;

/// The flags of a RUN instruction, expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepFlags<'a> {
    /// `--mount`
    pub mounts: Vec<&'a str>,
    /// `--network`
    pub network: Option<&'a str>,
    /// `--security`
    pub security: Option<&'a str>,
    /// `--device`
    pub devices: Vec<&'a str>,
}

/// What RUN may ask for that weakens the separation from the machine (`--allow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// `security.insecure`
    pub insecure: bool,
}

/// Where scripts are, as in Buildah and BuildKit: on a file system that ends with the command.
const SCRIPTS: &str = "/dev/pipes";

impl Options {
    /// Adds the flags of a RUN instruction. Later words win over what is there.
    ///
    /// # Errors
    /// A word that means nothing, or what is not allowed.
    pub fn add_step(&mut self, flags: &StepFlags<'_>, allowed: Allowed) -> Result<(), String> {
        for text in &flags.mounts {
            match StepMount::parse(text)? {
                StepMount::Files(request) => self.mounts.requests.push(request),
                StepMount::Secret(mount) => self.confidential.secret_mounts.push(mount),
                StepMount::Ssh(mount) => self.confidential.agent_mounts.push(mount),
            }
        }
        for word in &flags.devices {
            self.mounts.devices.push(DeviceRequest::parse(word)?);
        }
        match flags.network {
            None | Some("default") => {}
            Some(word @ ("none" | "host")) => self.confinement.namespaces.network = Some(word.to_owned()),
            Some(other) => return Err(format!("unsupported value {other:?} for --network: there are none, host and default")),
        }
        match flags.security {
            None | Some("sandbox") => {}
            Some("insecure") if allowed.insecure => self.lift_restrictions(),
            Some("insecure") => {
                return Err("--security=insecure is not allowed: the build needs --allow security.insecure".to_owned());
            }
            Some(other) => {
                return Err(format!("unsupported value {other:?} for --security: there are insecure and sandbox"));
            }
        }
        Ok(())
    }

    /// A script that the command finds at the path that is answered, and no later command does.
    pub fn add_script(&mut self, name: &str, content: Vec<u8>) -> String {
        let is_plain = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
        let path = format!("{SCRIPTS}/{}", if is_plain { name } else { "script" });
        self.mounts.files.push(ExtraFile::new(path.as_str(), content, 0o755));
        path
    }

    /// All capabilities of the user namespace, no filter of system calls, nothing hidden: what root of that namespace can do. Without
    /// privilege on the machine that is still nothing outside of it.
    fn lift_restrictions(&mut self) {
        self.confinement.cap_add.push("ALL".to_owned());
        self.confinement.security.extend(["seccomp=unconfined", "unmask=ALL"].map(str::to_owned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_options() {
        let mut options = Options::default();
        let flags = StepFlags {
            mounts: vec!["type=cache,target=/c", "type=secret,id=s", "type=ssh"],
            network: Some("none"),
            security: Some("sandbox"),
            devices: vec!["/dev/fuse"],
        };
        options.add_step(&flags, Allowed::default()).unwrap();
        assert_eq!((options.mounts.requests.len(), options.mounts.devices.len()), (1, 1));
        assert_eq!((options.confidential.secret_mounts.len(), options.confidential.agent_mounts.len()), (1, 1));
        assert_eq!(options.confinement.namespaces.network.as_deref(), Some("none"));
        let kept = StepFlags { network: Some("default"), ..StepFlags::default() };
        options.add_step(&kept, Allowed::default()).unwrap();
        assert_eq!(options.confinement.namespaces.network.as_deref(), Some("none"), "what the build says");
    }

    #[test]
    fn restrictions_are_lifted_only_where_that_is_allowed() {
        for (word, allowed, lifted) in [
            ("insecure", true, Some(true)),
            ("insecure", false, None),
            ("sandbox", true, Some(false)),
            ("Insecure", true, None),
            ("", true, None),
            ("x", true, None),
        ] {
            let mut options = Options::default();
            let flags = StepFlags { security: Some(word), ..StepFlags::default() };
            let added = options.add_step(&flags, Allowed { insecure: allowed });
            assert_eq!(added.ok().map(|()| !options.confinement.cap_add.is_empty()), lifted, "{word}");
        }
    }

    #[test]
    fn a_script_is_one_file_in_the_directory_of_scripts() {
        for (name, path) in [("EOF", "/dev/pipes/EOF"), ("../x", "/dev/pipes/script"), ("..", "/dev/pipes/script")] {
            assert_eq!(Options::default().add_script(name, Vec::new()), path);
        }
    }
}
