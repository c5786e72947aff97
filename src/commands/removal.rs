//! Removing images: when a name goes, when the image, and what follows. The rules of `rmi` and `prune`.
//!
//! ```text
//! named by one of several names  → that name goes
//! else                           → the image goes, then its parents as long as they are unnamed and have no other children
//! others were made on top of it  → it goes all the same, its layers stay; its ID is not printed, since it frees nothing
//! ```
//!
//! Work goes on after a failure; the failures are reported together at the end.

use containers_storage::ImageId;
use containers_storage::images::Listed;
use containers_storage::store::{Deleted, NameChange, Store};

use crate::conf::Registries;
use crate::container::{self, find_image::find_image, mounted};
use crate::userns::Notice;

use super::image_set::ImageSet;
use super::{CommandError, Context, Ui};

/// Deletions that wait for their files to be deleted: each holds open files, of which a process has a thousand.
const WAITING: usize = 64;

/// What to do about containers that were made from an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InUse {
    /// Refuse to remove the image.
    Refuse,
    /// Remove the containers as well.
    RemoveContainers,
}

/// Which images to remove without naming them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Those without containers.
    Unused,
    /// Those without a name on top of which nothing was made.
    Dangling,
    /// Dangling ones without containers.
    UnusedDangling,
}

/// A removal in progress: what was done, and what failed.
#[derive(Debug)]
pub(super) struct Removal<'a> {
    store: &'a Store,
    registries: &'a Registries,
    set: ImageSet<'a>,
    in_use: InUse,
    untagged: Vec<String>,
    removed: Vec<ImageId>,
    deleted: Vec<Deleted>,
    errors: Vec<CommandError>,
    /// What the person should know about the user namespace, if one was entered.
    notices: Vec<Notice>,
}

impl<'a> Removal<'a> {
    /// Reads the images.
    pub(super) fn new(context: &'a Context, in_use: InUse) -> Result<Self, CommandError> {
        let (store, registries) = (context.store()?, context.registries()?);
        let set = ImageSet::read(store)?;
        Ok(Self {
            store,
            registries,
            set,
            in_use,
            untagged: Vec::new(),
            removed: Vec::new(),
            deleted: Vec::new(),
            errors: Vec::new(),
            notices: Vec::new(),
        })
    }

    /// Removes what `operand`, a name or an ID, stands for.
    pub(super) fn remove(&mut self, operand: &str) {
        if let Err(error) = self.try_remove(operand) {
            self.errors.push(error);
        }
    }

    /// Notes that an operand cannot be removed.
    pub(super) fn failed(&mut self, error: CommandError) {
        self.errors.push(error);
    }

    /// Removes every image of a kind, in the store's order, as Buildah does.
    pub(super) fn remove_all(&mut self, which: Which) -> Result<(), CommandError> {
        let mut ids = Vec::new();
        for image in self.set.all().filter(|image| !image.read_only) {
            let wanted = match which {
                Which::All => true,
                Which::Unused => self.set.containers_of(&image.id)?.is_empty(),
                Which::Dangling => self.set.is_dangling(image)?,
                Which::UnusedDangling => self.set.is_dangling(image)? && self.set.containers_of(&image.id)?.is_empty(),
            };
            if wanted {
                ids.push(image.id.clone());
            }
        }
        if self.in_use == InUse::RemoveContainers {
            // All of them first: on a full disk theirs is the room in which names can be taken away. What fails is reported below.
            ids.iter().for_each(|id| drop(self.clear_containers(id)));
        }
        for id in ids {
            if let Err(error) = self.remove_image(&id) {
                self.errors.push(error);
            }
        }
        Ok(())
    }

    fn try_remove(&mut self, operand: &str) -> Result<(), CommandError> {
        let found = find_image(self.store, self.registries, operand)?;
        let Some(image) = self.set.get(&found.id) else {
            // An image that went together with an earlier operand.
            return Err(find_image_again(operand));
        };
        if image.read_only {
            return Err(containers_storage::store::Error::ReadOnlyImage(found.id).into());
        }
        if image.names.len() > 1 {
            let force = self.in_use == InUse::RemoveContainers;
            match found.name.filter(|name| is_by_name(name, operand, &found.id)) {
                Some(name) => return self.untag(&found.id, vec![name]),
                None if !force => {
                    return Err(CommandError::usage(format!(
                        "unable to delete image \"{}\" by ID with more than one tag ([{}]): please force removal",
                        image.id,
                        image.names.join(" ")
                    )));
                }
                None => {}
            }
        }
        self.remove_image(&found.id)
    }

    fn untag(&mut self, id: &ImageId, names: Vec<String>) -> Result<(), CommandError> {
        let image = self.store.change_image_names(id, NameChange::Remove, &names)?;
        self.set.rename(id, image.names);
        self.untagged.extend(names);
        Ok(())
    }

    fn remove_image(&mut self, id: &ImageId) -> Result<(), CommandError> {
        let Some(image) = self.set.get(id).cloned() else { return Ok(()) };
        self.clear_containers(id)?;
        self.delete_upward(image)
    }

    /// Removes the containers of an image, or refuses.
    fn clear_containers(&mut self, id: &ImageId) -> Result<(), CommandError> {
        for container in self.set.containers_of(id)? {
            if self.in_use == InUse::Refuse {
                return Err(CommandError::usage(format!(
                    "image used by {container}: image is in use by a container: \
                     consider listing external containers and force-removing image"
                ))
                .hinting(Some(
                    "\"coracle containers --all\" lists them, \"coracle rmi --force\" removes them as well".to_owned(),
                )));
            }
            container::remove::remove(self.store, container.as_str())?;
            self.set.forget_container(&container);
        }
        Ok(())
    }

    fn delete_upward(&mut self, image: Listed) -> Result<(), CommandError> {
        let mut next = Some(image);
        while let Some(image) = next {
            let parent = self.set.parent(&image)?.map(|parent| parent.id.clone());
            let is_parent = !self.set.children(&image)?.is_empty();
            if self.has_foreign_layers(&image)? {
                self.notices.extend(mounted::enter_for_files(self.store)?);
            }
            self.deleted.push(self.store.delete_image(&image.id)?);
            if self.deleted.len() >= WAITING {
                self.delete_files()?;
            }
            self.untagged.extend(image.names);
            self.set.forget(&image.id);
            if !is_parent {
                self.removed.push(image.id);
            }
            next = match parent.and_then(|id| self.set.get(&id).cloned()) {
                Some(parent)
                    if !parent.read_only
                        && self.set.is_dangling(&parent)?
                        && self.set.containers_of(&parent.id)?.is_empty() =>
                {
                    Some(parent)
                }
                _ => None,
            };
        }
        Ok(())
    }

    /// Prints what was done, deletes the files, and reports what failed.
    pub(super) fn finish(mut self, ui: &mut Ui) -> Result<(), CommandError> {
        for name in &self.untagged {
            ui.data(format_args!("untagged: {name}"))?;
        }
        for id in &self.removed {
            ui.data(id)?;
        }
        self.delete_files()?;
        self.notices.iter().for_each(|notice| ui.note(notice));
        if self.errors.is_empty() { Ok(()) } else { Err(CommandError::several(self.errors)) }
    }

    /// Whether a layer of the image cannot even be moved away from outside the user namespace.
    fn has_foreign_layers(&self, image: &Listed) -> Result<bool, CommandError> {
        let (driver, layers) = (self.store.driver()?, self.store.layers()?);
        for top in image.layer.iter().chain(&image.mapped_layers).filter(|top| layers.contains(top)) {
            if layers.chain(top)?.iter().any(|layer| container::remove::is_foreign(driver, &layer.id)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes the files of what was removed; enters the user namespace only if some belong to other ids.
    fn delete_files(&mut self) -> Result<(), CommandError> {
        let mut left = Vec::new();
        for mut deleted in std::mem::take(&mut self.deleted) {
            if !deleted.finish()? {
                left.push(deleted);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        self.notices.extend(mounted::enter_for_files(self.store)?);
        for mut deleted in left {
            let _ = deleted.finish()?;
        }
        Ok(())
    }
}

fn find_image_again(operand: &str) -> CommandError {
    container::find_image::Error::NotKnown { operand: operand.to_owned() }.into()
}

/// Whether `operand` is a way to write `name` and not the ID.
fn is_by_name(name: &str, operand: &str, id: &ImageId) -> bool {
    let digits = operand.strip_prefix("sha256:").unwrap_or(operand);
    if !id.as_str().starts_with(digits) {
        return true;
    }
    let operand = operand.strip_prefix("containers-storage:").unwrap_or(operand);
    let untagged = name.rsplit_once(':').map_or(name, |(repository, _)| repository);
    [name, untagged].iter().any(|form| *form == operand || form.ends_with(&format!("/{operand}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operand_is_a_name_or_an_id() {
        let id: ImageId = "abc0".repeat(16).parse().expect("an ID");
        let cases = [
            ("localhost/web:latest", "web", true),
            ("localhost/web:latest", "localhost/web:latest", true),
            ("localhost/abc:latest", "abc", true),
            ("localhost/web:latest", "abc", false),
            ("localhost/web:latest", &format!("sha256:{id}"), false),
        ];
        for (name, operand, want) in cases {
            assert_eq!(is_by_name(name, operand, &id), want, "{operand}");
        }
    }
}
