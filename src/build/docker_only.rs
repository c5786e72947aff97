//! Settings that only Docker's format has a place for: HEALTHCHECK, SHELL and ONBUILD. Where nobody chose a format, an image that would have
//! one is written in Docker's, and where somebody chose OCI it is said what gets lost.
//!
//! A setting counts if it reaches an image that stays: the shell of a stage that only hands files on is of use while it is built.
//!
//! Pure: the file and the plan come in, a place in the file comes out.

use std::collections::BTreeSet;

use super::options::Stages;
use super::plan::{Base, Plan};
use crate::dockerfile::{Dockerfile, Keyword, Step};
use crate::image::ImageConfig;

/// The first instruction that only Docker's format has a place for.
pub(super) fn first<'f>(file: &'f Dockerfile, plan: &Plan, stages: Stages) -> Option<&'f Step> {
    let shaping = shaping(plan, stages);
    let kept = kept(plan, stages);
    shaping.iter().find_map(|index| {
        let own = file.stages[*index].steps.iter().find(|step| match step.keyword {
            Keyword::Healthcheck | Keyword::Shell => true,
            // Triggers are taken by the stage that is made on it, and then are gone.
            Keyword::OnBuild => kept.contains(index),
            _ => false,
        });
        own.or_else(|| match plan.stages[*index].base {
            Base::Stage(base) => file.stages[base].steps.iter().find(|step| triggers_setting(step)),
            Base::Scratch | Base::Files(_) | Base::Other(_) => None,
        })
    })
}

/// `ONBUILD HEALTHCHECK` and `ONBUILD SHELL`
fn triggers_setting(step: &Step) -> bool {
    let word = step.arguments().split_whitespace().next().unwrap_or_default();
    step.keyword == Keyword::OnBuild && matches!(Keyword::find(word), Some(Keyword::Healthcheck | Keyword::Shell))
}

/// The stages whose settings reach an image that stays.
pub(super) fn shaping(plan: &Plan, stages: Stages) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for index in kept(plan, stages) {
        let mut next = Some(index);
        while let Some(stage) = next.filter(|stage| found.insert(*stage)) {
            next = match plan.stages[stage].base {
                Base::Stage(base) => Some(base),
                Base::Scratch | Base::Files(_) | Base::Other(_) => None,
            };
        }
    }
    found
}

/// The stages that become images that stay.
fn kept(plan: &Plan, stages: Stages) -> BTreeSet<usize> {
    match stages {
        Stages::Remove => plan.stages.len().checked_sub(1).into_iter().collect(),
        Stages::Keep | Stages::Label => plan.needed().collect(),
    }
}

/// What an image made on one with this configuration loses in the OCI format. Triggers are taken when it is built on.
pub(super) fn lost(config: &ImageConfig) -> Vec<&'static str> {
    let settings = &config.config;
    let healthcheck = settings.healthcheck.is_some().then_some("HEALTHCHECK");
    let shell = (!settings.shell.is_empty()).then_some("SHELL");
    healthcheck.into_iter().chain(shell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::args::{BuiltIn, Heading};
    use crate::build::options::Selection;
    use crate::build::plan;
    use crate::dockerfile;
    use crate::transport::copy::Platform;

    #[test]
    fn what_reaches_an_image_that_stays_chooses_the_format() {
        let cases = [
            ("FROM a\nRUN x\n", Stages::Remove, None),
            ("FROM a\nHEALTHCHECK CMD x\nSHELL [\"x\"]\n", Stages::Remove, Some("HEALTHCHECK CMD x")),
            ("FROM a AS one\nSHELL [\"x\"]\nFROM one\nRUN x\n", Stages::Remove, Some("SHELL [\"x\"]")),
            ("FROM a\nONBUILD RUN x\n", Stages::Remove, Some("ONBUILD RUN x")),
            ("FROM a AS one\nONBUILD RUN x\nFROM one\n", Stages::Remove, None),
            ("FROM a AS one\nONBUILD RUN x\nFROM one\n", Stages::Keep, Some("ONBUILD RUN x")),
            ("FROM a AS one\nONBUILD SHELL [\"x\"]\nFROM one\n", Stages::Remove, Some("ONBUILD SHELL [\"x\"]")),
            ("FROM a AS one\nSHELL [\"x\"]\nFROM b\nCOPY --from=one /a /a\n", Stages::Remove, None),
            ("FROM a AS one\nSHELL [\"x\"]\nFROM b\nCOPY --from=one /a /a\n", Stages::Label, Some("SHELL [\"x\"]")),
            ("FROM a AS one\nHEALTHCHECK NONE\nFROM b\nRUN x\n", Stages::Keep, None),
        ];
        for (text, stages, want) in cases {
            let file = dockerfile::parse(text).unwrap();
            let machine = Platform::of_this_machine();
            let built_in = BuiltIn { target: &machine, machine: &machine, stage: None, epoch: None };
            let heading = Heading::new(&[], &built_in);
            let plan = plan::plan(&file, &heading, &Selection::default(), &[], &|_| None).unwrap();
            assert_eq!(first(&file, &plan, stages).map(Step::source), want, "{text}");
        }
    }
}
