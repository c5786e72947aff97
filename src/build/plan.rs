//! Which stages are built, and in which order: edges between stages, what the target needs, what is refused before anything runs.
//!
//! An edge is a FROM of a stage, `--after`, `COPY --from` and `RUN --mount from=`. Each leads to an earlier stage, so that the order of the
//! file is an order in which they can be built. Names are resolved as the other builders do: further contexts first, then stages, then
//! images.
//!
//! Pure, and linear in the file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::args::{Heading, Scope};
use super::options::{Selection, UnusedStages};
use crate::container::find_image::SCRATCH;
use crate::dockerfile::instruction::from::Base as Written;
use crate::dockerfile::instruction::run::Mount;
use crate::dockerfile::instruction::{Instruction, Metadata};
use crate::dockerfile::{self, Dockerfile, Keyword, Lookup, ParseError, Span, Step};
use crate::run::mount_args::StepMount;
use crate::spelling::nearest;

/// What is to be built.
#[derive(Debug)]
pub struct Plan {
    /// The stages up to the one that was asked for, which is the last.
    pub stages: Vec<Planned>,
    names: Names,
}

/// A stage.
#[derive(Debug)]
pub struct Planned {
    /// What it is made on.
    pub base: Base,
    /// `FROM --platform`
    pub platform: Option<String>,
    /// `AS name`
    pub name: Option<String>,
    /// The stages that have to be built before.
    pub needs: BTreeSet<usize>,
    /// Whether it is built at all.
    pub is_needed: bool,
    /// Whether a stage that is built is made on it.
    pub is_base: bool,
    /// The stages that it takes files from, or that it waits for.
    pub reads: BTreeSet<usize>,
    /// The stage that is made on it, where that is all that it is built for.
    pub heir: Option<usize>,
}

/// What a stage is made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// The files of a further context, by its name.
    Files(String),
    /// An image, or the further context that stands for one, by its name.
    Other(String),
}

/// What a further context has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Further {
    /// A directory.
    Files,
    /// The name of an image.
    Image,
}

/// Why a file cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A FROM or an ARG before the first one cannot be read.
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// There is no such stage. Scripts look for the words.
    #[error("the target {name:?} was not found in the provided Dockerfile")]
    Target {
        /// What was asked for.
        name: String,
        /// The stage that was probably meant.
        nearest: Option<String>,
    },
    /// A stage is named before it begins.
    #[error("{user} takes from the stage {name:?}, which begins only after it")]
    Forward {
        /// The instruction.
        user: String,
        /// The stage.
        name: String,
        /// Where.
        span: Span,
    },
    /// A stage takes something from itself.
    #[error("{user} takes from the stage {name:?}, which it is itself part of")]
    Circle {
        /// The instruction.
        user: String,
        /// The stage.
        name: String,
        /// Where.
        span: Span,
    },
    /// A mount of RUN that could not be made, whatever the variables.
    #[error("RUN --mount={text}: {problem}")]
    Mount {
        /// As written.
        text: String,
        /// What is wrong.
        problem: String,
        /// Where.
        span: Span,
    },
    /// `--after` names no stage.
    #[error("FROM --after={name}: there is no such stage before it")]
    After {
        /// What it names.
        name: String,
        /// Where.
        span: Span,
    },
}

impl Error {
    /// The place in the file, if there is one.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Parse(error) => Some(error.span),
            Self::Target { .. } => None,
            Self::Forward { span, .. } | Self::Circle { span, .. } | Self::Mount { span, .. } | Self::After { span, .. } => {
                Some(*span)
            }
        }
    }
}

/// The names of the stages, in the order of the file.
#[derive(Debug, Default)]
struct Names {
    exact: HashMap<String, Vec<usize>>,
    folded: HashMap<String, Vec<usize>>,
    count: usize,
}

impl Names {
    fn of(stages: &[Written]) -> Self {
        let mut names = Self { count: stages.len(), ..Self::default() };
        for (index, stage) in stages.iter().enumerate() {
            if let Some(name) = &stage.name {
                names.exact.entry(name.clone()).or_default().push(index);
                names.folded.entry(name.to_lowercase()).or_default().push(index);
            }
        }
        names
    }

    /// The last stage before `limit` of that name, whatever its case if none has the very name; else that of the number.
    fn before(&self, name: &str, limit: usize) -> Option<usize> {
        let last = |indices: &Vec<usize>| indices.get(indices.partition_point(|index| *index < limit).checked_sub(1)?).copied();
        let named = self.exact.get(name).and_then(last).or_else(|| self.folded.get(&name.to_lowercase()).and_then(last));
        named.or_else(|| name.parse().ok().filter(|number| *number < limit))
    }

    /// The name of a stage before `limit` that was probably meant by an unknown one.
    fn near(&self, name: &str, limit: usize) -> Option<&str> {
        let known = self.exact.iter().filter(|(_, indices)| indices.first().is_some_and(|first| *first < limit));
        let mut known: Vec<&str> = known.map(|(name, _)| name.as_str()).collect();
        known.sort_unstable();
        nearest(name, known.into_iter())
    }

    /// The first stage from `limit` on of that name, or number.
    fn from(&self, name: &str, limit: usize) -> Option<usize> {
        let next = |indices: &Vec<usize>| indices.get(indices.partition_point(|index| *index < limit)).copied();
        let named = self.exact.get(name).and_then(next).or_else(|| self.folded.get(&name.to_lowercase()).and_then(next));
        named.or_else(|| name.parse().ok().filter(|number| *number < self.count))
    }
}

impl Plan {
    /// The stages that are built, in an order in which they can be.
    pub fn needed(&self) -> impl Iterator<Item = usize> {
        self.stages.iter().enumerate().filter(|(_, stage)| stage.is_needed).map(|(index, _)| index)
    }

    /// Whether each stage needs the one before it, so that no two can be built at the same time.
    pub fn is_chain(&self) -> bool {
        let mut depths = vec![0_usize; self.stages.len()];
        let (mut count, mut deepest) = (0, 0);
        for index in self.needed() {
            depths[index] = 1 + self.stages[index].needs.iter().map(|need| depths[*need]).max().unwrap_or(0);
            (count, deepest) = (count + 1, deepest.max(depths[index]));
        }
        count == deepest
    }

    /// The stage, and those that it needs, directly or not.
    pub fn with_needs(&self, index: usize) -> BTreeSet<usize> {
        reachable(&self.stages, index)
    }

    /// Whether the file has a stage of that name in any case, or of that number.
    pub fn has_stage(&self, name: &str) -> bool {
        self.names.from(name, 0).is_some()
    }

    /// The stage before `index` that `name` stands for.
    pub fn stage(&self, name: &str, index: usize) -> Option<usize> {
        self.names.before(name, index)
    }

    /// The stage before `index` that was probably meant by a name that is none.
    pub fn stage_near(&self, name: &str, index: usize) -> Option<&str> {
        self.names.near(name, index)
    }
}

/// Makes the plan. `heading` has the ARGs before the first FROM declared afterwards, and notes the ARGs of all stages. `env` is set at the
/// beginning of each stage. `further` says which names are those of further contexts.
pub fn plan(
    file: &Dockerfile,
    heading: &Heading,
    selection: &Selection,
    env: &[(String, String)],
    further: &dyn Fn(&str) -> Option<Further>,
) -> Result<Plan, Error> {
    let lookup = |name: &str| heading.lookup(name);
    let written = file.stages.iter().map(|stage| stage.from.base(&lookup)).collect::<Result<Vec<_>, _>>()?;
    let names = Names::of(&written);
    let target = match selection.target.as_deref().filter(|target| !target.is_empty()) {
        None => file.stages.len().saturating_sub(1),
        Some(name) => {
            let last = file.stages.len();
            let unknown = || Error::Target { name: name.to_owned(), nearest: names.near(name, last).map(str::to_owned) };
            names.before(name, last).ok_or_else(unknown)?
        }
    };
    let mut reader = Reader { file, written: &written, names: &names, heading, env, further, seen: Vec::new() };
    let mut stages = Vec::with_capacity(target + 1);
    for index in 0..file.stages.len() {
        let planned = reader.stage(index, selection)?;
        // What comes after the target is read for its ARGs only.
        if index <= target {
            stages.push(planned);
        }
    }
    let built = match selection.unused_stages {
        UnusedStages::Skip => reachable(&stages, target),
        UnusedStages::Build => (0..=target).collect(),
    };
    for index in &built {
        stages[*index].is_needed = true;
        if let Base::Stage(base) = stages[*index].base {
            stages[base].is_base = true;
        }
    }
    for (base, heir) in heirs(&stages, &built) {
        stages[base].heir = Some(heir);
    }
    Ok(Plan { stages, names })
}

/// The stages that are built for one other stage, which is made on them, and those others.
fn heirs(stages: &[Planned], built: &BTreeSet<usize>) -> Vec<(usize, usize)> {
    let mut users: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in built {
        stages[*index].needs.iter().for_each(|need| users.entry(*need).or_default().push(*index));
    }
    let only = |(base, users): (usize, Vec<usize>)| match users.as_slice() {
        [user] if stages[*user].base == Base::Stage(base) && !stages[*user].reads.contains(&base) => Some((base, *user)),
        _ => None,
    };
    users.into_iter().filter_map(only).collect()
}

fn reachable(stages: &[Planned], target: usize) -> BTreeSet<usize> {
    let (mut found, mut waiting) = (BTreeSet::from([target]), vec![target]);
    while let Some(index) = waiting.pop() {
        for need in &stages[index].needs {
            if found.insert(*need) {
                waiting.push(*need);
            }
        }
    }
    found
}

/// Variables as far as the file alone tells them.
#[derive(Clone)]
struct Known<'h> {
    scope: Scope<'h>,
    env: BTreeMap<String, String>,
}

impl Known<'_> {
    fn lookup(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned().or_else(|| self.scope.lookup(name))
    }
}

struct Reader<'f, 'h> {
    file: &'f Dockerfile,
    written: &'f [Written],
    names: &'f Names,
    heading: &'h Heading,
    env: &'f [(String, String)],
    further: &'f dyn Fn(&str) -> Option<Further>,
    /// What is known at the end of each stage.
    seen: Vec<Known<'h>>,
}

impl Reader<'_, '_> {
    fn stage(&mut self, index: usize, selection: &Selection) -> Result<Planned, Error> {
        let stage = &self.file.stages[index];
        let (heading, written) = (self.heading, &self.written[index]);
        let replaced = selection.base.as_ref().filter(|base| index == 0 && !base.is_empty());
        let image = replaced.unwrap_or(&written.image);
        let mut reads = BTreeSet::new();
        let base = if let Some(further) = (self.further)(image) {
            match further {
                Further::Files => Base::Files(image.clone()),
                Further::Image => Base::Other(image.clone()),
            }
        } else if let Some(base) = self.names.before(image, index).filter(|_| replaced.is_none()) {
            Base::Stage(base)
        } else if image == SCRATCH {
            Base::Scratch
        } else {
            Base::Other(image.clone())
        };
        if let Some(name) = &written.after {
            let missing = || Error::After { name: name.to_owned(), span: stage.span() };
            reads.insert(self.names.before(name, index).ok_or_else(missing)?);
        }
        let mut known = match base {
            Base::Stage(base) => self.seen[base].clone(),
            _ => Known { scope: Scope::new(heading), env: BTreeMap::new() },
        };
        if let Base::Stage(base) = base {
            self.triggers(index, base, &mut known, &mut reads)?;
        }
        known.env.extend(self.env.iter().cloned());
        for step in &stage.steps {
            self.step(index, (step, step.span()), &mut known, &mut reads)?;
        }
        self.seen.push(known);
        let mut needs = reads.clone();
        if let Base::Stage(base) = base {
            needs.insert(base);
        }
        let (platform, name) = (written.platform.clone(), written.name.clone());
        Ok(Planned { base, platform, name, needs, is_needed: false, is_base: false, reads, heir: None })
    }

    /// The triggers that the stage `index` takes over from the stage `base`.
    fn triggers(&self, index: usize, base: usize, known: &mut Known<'_>, reads: &mut BTreeSet<usize>) -> Result<(), Error> {
        for step in self.file.stages[base].steps.iter().filter(|step| step.keyword == Keyword::OnBuild) {
            let Ok(Instruction::Metadata(Metadata::OnBuild(text))) = step.instruction(&|name: &str| known.lookup(name)) else {
                continue;
            };
            if let Ok(trigger) = dockerfile::parse_trigger(&text) {
                self.step(index, (&trigger, step.span()), known, reads)?;
            }
        }
        Ok(())
    }

    fn step(
        &self,
        index: usize,
        (step, span): (&Step, Span),
        known: &mut Known<'_>,
        reads: &mut BTreeSet<usize>,
    ) -> Result<(), Error> {
        let read = {
            let lookup = |name: &str| known.lookup(name);
            step.instruction(&lookup as Lookup<'_>)
        };
        // What cannot be read without the image's variables is read again when the step is reached.
        let Ok(instruction) = read else { return Ok(()) };
        match instruction {
            Instruction::Arg(arguments) => {
                for (name, default) in arguments {
                    known.scope.declare(&name, default);
                }
            }
            Instruction::Metadata(Metadata::Env(pairs)) => known.env.extend(pairs),
            other => {
                if let Instruction::Run(run) = &other {
                    check_mounts(&run.mounts, span)?;
                }
                for name in taken_from(&other) {
                    reads.extend(self.edge(index, (step, span), &name)?);
                }
            }
        }
        Ok(())
    }

    fn edge(&self, index: usize, (step, span): (&Step, Span), name: &str) -> Result<Option<usize>, Error> {
        if name.is_empty() || (self.further)(name).is_some() {
            return Ok(None);
        }
        if let Some(stage) = self.names.before(name, index) {
            return Ok(Some(stage));
        }
        let (user, name) = (step.keyword.to_string(), name.to_owned());
        match self.names.from(&name, index) {
            None => Ok(None),
            Some(stage) if stage == index => Err(Error::Circle { user, name, span }),
            Some(_) => Err(Error::Forward { user, name, span }),
        }
    }
}

/// Refuses mounts that no variable can mend, before anything runs.
fn check_mounts(mounts: &[Mount], span: Span) -> Result<(), Error> {
    for mount in mounts.iter().filter(|mount| !mount.has_variables()) {
        if let Err(problem) = StepMount::parse(&mount.joined()) {
            return Err(Error::Mount { text: mount.text.escape_debug().to_string(), problem, span });
        }
    }
    Ok(())
}

/// The names that an instruction takes files from.
pub(super) fn taken_from(instruction: &Instruction) -> Vec<String> {
    match instruction {
        Instruction::Copy(copy) => copy.from.iter().cloned().collect(),
        Instruction::Run(run) => {
            let options = run.mounts.iter().flat_map(|mount| &mount.options);
            options.filter(|(name, _)| name == "from").filter_map(|(_, value)| value.clone()).collect()
        }
        Instruction::Add(_) | Instruction::Arg(_) | Instruction::Metadata(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::BuiltIn;
    use super::*;
    use crate::dockerfile;
    use crate::transport::copy::Platform;

    fn planned(text: &str, selection: &Selection) -> Result<Plan, Error> {
        let file = dockerfile::parse(text).unwrap();
        let machine = Platform::of_this_machine();
        let built_in = BuiltIn { target: &machine, machine: &machine, stage: None, epoch: None };
        let mut heading = Heading::new(&selection.args, &built_in);
        for step in &file.args {
            if let Ok(Instruction::Arg(arguments)) = step.instruction(&|name: &str| heading.lookup(name)) {
                arguments.into_iter().for_each(|(name, default)| heading.declare(&name, default));
            }
        }
        let env = [("FLAG".to_owned(), "flagged".to_owned())];
        plan(&file, &heading, selection, &env, &|name| (name == "ctx").then_some(Further::Files))
    }

    /// The stages that are built, each with those that it needs.
    fn needed(text: &str, target: Option<&str>) -> Vec<(usize, Vec<usize>)> {
        let selection = Selection { target: target.map(str::to_owned), ..Selection::default() };
        let plan = planned(text, &selection).unwrap();
        let stages = plan.stages.iter().enumerate().filter(|(_, stage)| stage.is_needed);
        stages.map(|(index, stage)| (index, stage.needs.iter().copied().collect())).collect()
    }

    #[test]
    fn what_the_target_does_not_need_is_left_out() {
        let text = "FROM a AS one\nFROM b AS two\nRUN x\nFROM one\nCOPY --from=0 /a /b\nFROM c AS four\nRUN --mount=from=two,target=/t y\n";
        assert_eq!(needed(text, None), [(1, vec![]), (3, vec![1])]);
        assert_eq!(needed(text, Some("2")), [(0, vec![]), (2, vec![0])]);
        assert_eq!(needed(text, Some("one")), [(0, vec![])]);
        assert_eq!(needed(text, Some("FOUR")), [(1, vec![]), (3, vec![1])]);
    }

    #[test]
    fn a_stage_that_is_only_a_base_has_one_heir() {
        let heirs = |text: &str| {
            let plan = planned(text, &Selection::default()).unwrap();
            plan.stages.iter().map(|stage| stage.heir).collect::<Vec<_>>()
        };
        assert_eq!(heirs("FROM x AS a\nFROM a AS b\nRUN y\nFROM b\n"), [Some(1), Some(2), None]);
        assert_eq!(heirs("FROM x AS a\nFROM a AS b\nFROM a\nCOPY --from=b /f /f\n"), [None, None, None]);
        // Its files are read after the first step as well.
        assert_eq!(heirs("FROM x AS a\nFROM a\nENV A=1\nCOPY --from=a /f /g\n"), [None, None]);
        assert_eq!(heirs("FROM x AS a\nFROM y\nCOPY --from=a /f /g\n"), [None, None]);
        // What is not built needs nothing.
        assert_eq!(heirs("FROM x AS a\nFROM a AS b\nFROM a\n"), [Some(2), None, None]);
    }

    #[test]
    fn unused_stages_are_built_when_asked_for() {
        let selection = Selection { unused_stages: UnusedStages::Build, ..Selection::default() };
        let plan = planned("FROM a\nFROM b\nFROM c\n", &selection).unwrap();
        assert!(plan.stages.iter().all(|stage| stage.is_needed));
    }

    #[test]
    fn names_are_contexts_then_earlier_stages_then_images() {
        let bases = |text: &str| {
            let plan = planned(text, &Selection::default()).unwrap();
            plan.stages.into_iter().map(|stage| stage.base).collect::<Vec<_>>()
        };
        let other = |name: &str| Base::Other(name.to_owned());
        assert_eq!(bases("FROM golang AS golang\nFROM golang"), [other("golang"), Base::Stage(0)]);
        assert_eq!(bases("FROM x AS ctx\nFROM ctx"), [other("x"), Base::Files("ctx".into())]);
        assert_eq!(bases("FROM late\nFROM x AS late"), [other("late"), other("x")]);
        assert_eq!(bases("FROM x AS A\nFROM y AS a\nFROM A\nFROM a"), [other("x"), other("y"), Base::Stage(0), Base::Stage(1)]);
        assert_eq!(bases("FROM x AS Build\nFROM build"), [other("x"), Base::Stage(0)]);
        assert_eq!(bases("FROM x AS a\nFROM y AS a\nFROM a"), [other("x"), other("y"), Base::Stage(1)]);
        assert_eq!(bases("FROM scratch\nFROM 0\nFROM 7"), [Base::Scratch, Base::Stage(0), other("7")]);
        assert_eq!(bases("ARG B=one\nFROM x AS one\nFROM $B"), [other("x"), Base::Stage(0)]);
        assert_eq!(bases("ARG B=one\nFROM x AS $B\nFROM one"), [other("x"), Base::Stage(0)]);
    }

    #[test]
    fn edges_follow_arguments_and_environment() {
        let text =
            "ARG S=one\nFROM a AS one\nFROM b AS two\nFROM c\nARG S\nENV T=two\nCOPY --from=$S /a /a\nCOPY --from=${T} /b /b\n";
        assert_eq!(needed(text, None), [(0, vec![]), (1, vec![]), (2, vec![0, 1])]);
        assert_eq!(needed("FROM a AS one\nFROM --after=one b\n", None), [(0, vec![]), (1, vec![0])]);
        assert_eq!(needed("FROM a AS flagged\nFROM b\nCOPY --from=$FLAG /a /a\n", None), [(0, vec![]), (1, vec![0])]);
        assert_eq!(needed("FROM a AS flagged\nFROM b\nENV FLAG=c\nCOPY --from=$FLAG /a /a\n", None), [(1, vec![])]);
        assert_eq!(needed("FROM a AS base\nARG S=base\nFROM base\nCOPY --from=$S /a /b\n", None), [(0, vec![]), (1, vec![0])]);
    }

    #[test]
    fn triggers_of_a_stage_are_those_of_what_is_made_on_it() {
        let text = "FROM a AS files\nFROM b AS base\nARG S=files\nONBUILD COPY --from=$S /a /b\nFROM base\nRUN x\n";
        assert_eq!(needed(text, None), [(0, vec![]), (1, vec![]), (2, vec![0, 1])]);
        assert_eq!(needed(text, Some("base")), [(1, vec![])]);
        let late = "FROM b AS base\nONBUILD COPY --from=late /a /b\nFROM base\nFROM c AS late\n";
        let error = planned(late, &Selection::default()).unwrap_err();
        assert!(error.to_string().contains("begins only after it"), "{error}");
        assert_eq!(error.span().map(|span| span.start), Some(15));
    }

    #[test]
    fn the_base_of_the_command_line_replaces_the_first_one_only() {
        let selection = Selection { base: Some("other".into()), ..Selection::default() };
        let plan = planned("FROM a AS one\nFROM b\nCOPY --from=one /a /a", &selection).unwrap();
        assert_eq!(plan.stages[0].base, Base::Other("other".into()));
        assert_eq!(plan.stages[1].base, Base::Other("b".into()));
    }

    #[test]
    fn what_cannot_be_built_is_refused_with_its_place() {
        let cases = [
            ("FROM a\nCOPY --from=late /a /b\nFROM b AS late", "begins only after it", Some(7)),
            ("FROM a\nCOPY --from=1 /a /b\nFROM b", "begins only after it", Some(7)),
            ("FROM a AS me\nCOPY --from=me /a /b", "itself part of", Some(13)),
            ("FROM a AS me\nRUN --mount=from=0,target=/t x", "itself part of", Some(13)),
            ("FROM a\nFROM --after=x b", "no such stage", Some(7)),
        ];
        for (text, words, start) in cases {
            let error = planned(text, &Selection::default()).unwrap_err();
            assert!(error.to_string().contains(words), "{text:?}: {error}");
            assert_eq!(error.span().map(|span| span.start), start, "{text:?}");
        }
        let selection = Selection { target: Some("zz".into()), ..Selection::default() };
        let error = planned("FROM a", &selection).unwrap_err();
        assert_eq!(error.to_string(), "the target \"zz\" was not found in the provided Dockerfile");
    }

    #[test]
    fn ten_thousand_stages_are_planned_in_no_time() {
        let text: String = (0..10_000).map(|index| format!("FROM s{} AS s{index}\n", index - 1)).collect();
        let text = text.replace("FROM s-1", "FROM scratch");
        let begun = std::time::Instant::now();
        assert_eq!(needed(&text, None).len(), 10_000);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }
}
