//! Whole texts: a Dockerfile's stages, the instructions of `commit --change`, a trigger.

use super::directives::Directives;
use super::instruction::from::{self, From};
use super::lines::Lines;
use super::step::Step;
use super::{Keyword, MAX_FILE, ParseError, ParseErrorKind, Span};

/// A Dockerfile that can be built as far as can be said without knowing a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// What the comments at the top of the first text say.
    pub directives: Directives,
    /// The ARGs before the first FROM.
    pub args: Vec<Step>,
    /// One or more.
    pub stages: Vec<Stage>,
}

/// A FROM and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its FROM.
    pub from: From,
    /// The instructions after it, in their order.
    pub steps: Vec<Step>,
}

impl Stage {
    /// Where its FROM stands.
    pub fn span(&self) -> Span {
        self.from.step.span()
    }
}

/// Reads a Dockerfile.
pub fn parse(text: &str) -> Result<Dockerfile, ParseError> {
    parse_all([text])
}

/// Reads several texts as one Dockerfile: the second goes on where the first ends. Each has directives of its own.
pub fn parse_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Dockerfile, ParseError> {
    let mut found = Dockerfile { directives: Directives::default(), args: Vec::new(), stages: Vec::new() };
    let mut end = Span::default();
    for (file, text) in texts.into_iter().enumerate() {
        let whole = Span { file, start: 0, end: text.len() };
        if text.len() > MAX_FILE {
            return Err(ParseError { kind: ParseErrorKind::FileTooLong, span: Span { end: 0, ..whole } });
        }
        let directives = Directives::read(text.trim_start_matches('\u{feff}'), file)?;
        let escape = directives.escape;
        if file == 0 {
            found.directives = directives;
        }
        each_step(text, file, escape, |step| found.add(step))?;
        end = Span { start: text.len(), ..whole };
    }
    match found.stages.is_empty() {
        true => Err(ParseError { kind: ParseErrorKind::NoStages, span: end }),
        false => Ok(found),
    }
}

/// Reads instructions that may only change the configuration: what `commit --change` takes.
pub fn parse_changes(text: &str) -> Result<Vec<Step>, ParseError> {
    let mut steps = Vec::new();
    each_step(text, 0, '\\', |step| {
        if !step.keyword.is_change() {
            return Err(ParseError { kind: ParseErrorKind::NotAChange(step.keyword), span: step.line().span });
        }
        step.check()?;
        steps.push(step);
        Ok(())
    })?;
    Ok(steps)
}

/// Reads a trigger of a base image: one instruction, which may stand behind ONBUILD.
pub fn parse_trigger(text: &str) -> Result<Step, ParseError> {
    let mut found = None;
    let whole = Span { file: 0, start: 0, end: text.len() };
    let not_one = ParseError { kind: ParseErrorKind::NotOneTrigger, span: whole };
    each_step(text, 0, '\\', |step| {
        super::instruction::on_build::allowed(&step)?;
        step.check()?;
        match found.replace(step) {
            None => Ok(()),
            Some(_) => Err(not_one.clone()),
        }
    })?;
    found.ok_or(not_one)
}

/// The first instruction of a text.
#[cfg(test)]
pub(super) fn first_step(text: &str) -> Result<Step, ParseError> {
    let mut steps = Vec::new();
    each_step(text, 0, '\\', |step| {
        step.check()?;
        steps.push(step);
        Ok(())
    })?;
    Ok(steps.swap_remove(0))
}

/// Gives each instruction of `text`, with its here-documents, to `take`.
fn each_step(
    text: &str,
    file: usize,
    escape: char,
    mut take: impl FnMut(Step) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    let mut lines = Lines::new(text, file, escape);
    while let Some(line) = lines.next_line()? {
        let mut step = Step::new(line, escape)?;
        let mut heredocs = Vec::new();
        for (mut heredoc, word) in step.announced() {
            lines.read_heredoc(&mut heredoc, step.line(), word)?;
            heredocs.push(heredoc);
        }
        if !heredocs.is_empty() {
            step.set_heredocs(heredocs, lines.position());
        }
        take(step)?;
    }
    Ok(())
}

impl Dockerfile {
    fn add(&mut self, step: Step) -> Result<(), ParseError> {
        match (step.keyword, self.stages.last_mut()) {
            (Keyword::From, _) => self.stages.push(Stage { from: from::read(step)?, steps: Vec::new() }),
            (_, Some(stage)) => {
                step.check()?;
                stage.steps.push(step);
            }
            (Keyword::Arg, None) => {
                step.check()?;
                self.args.push(step);
            }
            (keyword, None) => return Err(ParseError { kind: ParseErrorKind::NoStage(keyword), span: step.line().span }),
        }
        Ok(())
    }
}
