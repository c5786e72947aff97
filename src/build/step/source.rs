//! What `--from` and `from=` name: a context, an earlier stage, an image.

use containers_storage::ContainerId;

use crate::build::error::StepError;
use crate::build::options::{Author, Context, NamedContext, Options};
use crate::build::stage::{Build, Stage, Tree};
use crate::container::find_image::SCRATCH;
use crate::container::pull::Obtained;
use crate::image::Location;

/// Where files are taken from.
pub(super) enum Source<'a> {
    /// A directory of the caller's.
    Context(&'a Context),
    /// An image of the store.
    Image(Box<Obtained>),
    /// The container of an earlier stage.
    Container(ContainerId),
    /// `scratch`, or an earlier stage that has no image, since there is nothing in it.
    Nothing,
}

impl Stage<'_, '_> {
    /// What `name` stands for; without a name the context of the build. An image of another place is pulled.
    pub(super) fn source(&self, name: Option<&str>) -> Result<Source<'_>, StepError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(Source::Context(self.build.options.context)) };
        match self.build.named_context(name) {
            Some(NamedContext::Files(context)) => return Ok(Source::Context(context)),
            Some(NamedContext::Image(image)) => return self.image(image),
            None => {}
        }
        let Some(index) = self.build.plan.stage(name, self.index) else {
            if name == SCRATCH {
                return Ok(Source::Nothing);
            }
            let image = self.image(self.build.named_by_the_file(name)?);
            let nearest = || self.build.plan.stage_near(name, self.index).map(str::to_owned);
            return image.map_err(|source| StepError::NoSource {
                name: name.to_owned(),
                nearest: nearest(),
                source: source.into(),
            });
        };
        let built = self.earlier.get(index).and_then(Option::as_ref);
        match built.map(|built| &built.tree) {
            Some(Tree::Image(Some(image))) => Ok(Source::Image(image.clone())),
            Some(Tree::Container(id)) => Ok(Source::Container(id.clone())),
            Some(Tree::Image(None)) => Ok(Source::Nothing),
            None => Err(StepError::Word(format!("the stage {name:?} was not built, since nothing in the file named it"))),
        }
    }

    /// Whether `name` stands for an earlier stage.
    pub(super) fn is_stage(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.build.named_context(name).is_none() && self.build.plan.stage(name, self.index).is_some())
    }

    fn image(&self, name: &str) -> Result<Source<'_>, StepError> {
        let permitted = self.build.options.source_policy.image(name)?;
        Ok(Source::Image(Box::new(self.build.obtain(&permitted.source, None)?)))
    }
}

impl Build<'_> {
    /// See [`by_the_file`].
    pub(in crate::build) fn named_by_the_file<'n>(&self, name: &'n str) -> Result<&'n str, StepError> {
        by_the_file(self.options, name)
    }

    /// What `--build-context` says about a name.
    pub(in crate::build) fn named_context(&self, name: &str) -> Option<&NamedContext> {
        self.options.named_context(name)
    }

    /// The image that a name stands for by `--build-context`.
    pub(in crate::build) fn image_context(&self, name: &str) -> Option<&str> {
        match self.named_context(name) {
            Some(NamedContext::Image(image)) => Some(image),
            _ => None,
        }
    }
}

/// The name of an image, if whoever wrote the Dockerfile may name it: a file from elsewhere names images of registries, and none in
/// files of this machine, or of its store, that the caller has not named (known attacks A20).
pub(in crate::build) fn by_the_file<'n>(options: &Options<'_>, name: &'n str) -> Result<&'n str, StepError> {
    let is_callers = options.author == Author::Here || options.selection.base.as_deref() == Some(name);
    match Location::parse(name) {
        Ok(Some(place)) if !is_callers && !matches!(place, Location::Registry(_)) => {
            Err(StepError::Word(format!("{name:?}: only a Dockerfile of this machine may name a place of this machine")))
        }
        _ => Ok(name),
    }
}
