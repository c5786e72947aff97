//! `--all-platforms`: the images that a build stands on, of which each has to be there for a platform that is built for.

use super::error::{Error, StepError};
use super::options::{NamedContext, Options};
use super::plan::{self, Base};
use super::step::by_the_file;
use crate::dockerfile;

/// The images that stages which are needed are made on, each once, by the names that are looked up. A FROM with a platform of its own is not
/// asked for others.
pub fn bases(options: &Options<'_>) -> Result<Vec<String>, Error> {
    let file = dockerfile::parse_all(options.texts.iter().map(|text| text.text.as_str()))?;
    let heading = super::heading(&file, options)?;
    let plan = plan::plan(&file, &heading, &options.selection, &options.image.env, &|name| options.further(name))?;
    let mut bases = Vec::new();
    for index in plan.needed() {
        let (planned, written) = (&plan.stages[index], &file.stages[index]);
        let Base::Other(name) = &planned.base else { continue };
        // $TARGETPLATFORM and its like are what is to be found out.
        if planned.platform.is_some() && !written.from.step.source().contains("TARGET") {
            continue;
        }
        let name = match options.named_context(name) {
            Some(NamedContext::Image(image)) => Ok(image.as_str()),
            Some(NamedContext::Files(_)) => continue,
            None => by_the_file(options, name),
        };
        let image = name.and_then(|name| Ok(options.source_policy.image(name)?));
        let failed = |source: StepError| Error::Base { span: written.span(), nearest: None, source: Box::new(source) };
        let image = image.map_err(failed)?.source;
        if !bases.contains(&image) {
            bases.push(image);
        }
    }
    Ok(bases)
}
