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
        // A continuation of nothing.
        if line.text.trim_start().is_empty() {
            continue;
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sources of the steps of each stage, FROM first.
    fn stages(file: &Dockerfile) -> Vec<Vec<&str>> {
        file.stages
            .iter()
            .map(|stage| std::iter::once(&stage.from.step).chain(&stage.steps).map(Step::source).collect())
            .collect()
    }

    #[test]
    fn stages_and_heading_arguments() {
        let file = parse("# syntax=x\nARG V=1\nARG W\n\nFROM a:$V AS one\nRUN x\nFROM scratch\nCOPY --from=one a /\nCMD b\n")
            .expect("a file");
        assert_eq!(file.directives.syntax.as_deref(), Some("x"));
        assert_eq!(file.args.iter().map(Step::source).collect::<Vec<_>>(), ["ARG V=1", "ARG W"]);
        assert_eq!(stages(&file), [vec!["FROM a:$V AS one", "RUN x"], vec!["FROM scratch", "COPY --from=one a /", "CMD b"]]);
    }

    #[test]
    fn steps_know_their_text_and_place() {
        let text = "FROM a\nrun  --network=none \\\n# c\n  echo  'x'  \nRUN <<E >f\nbody\nE\nCMD z\n";
        let file = parse(text).expect("a file");
        let [first, second, third] = &file.stages[0].steps[..] else { panic!("not three steps") };
        assert_eq!((first.keyword, first.source()), (Keyword::Run, "run  --network=none   echo  'x'  "));
        assert_eq!(first.arguments(), "--network=none   echo  'x'");
        assert_eq!(&text[second.span().start..second.span().end], "RUN <<E >f\nbody\nE\n");
        assert_eq!(second.heredocs[0].text, "body\n");
        assert_eq!(&text[third.span().start..third.span().end], "CMD z");
    }

    #[test]
    fn what_needs_no_variable_is_found_before_anything_runs() {
        let cases = [
            ("", "no stages to build", ""),
            ("# only\nARG a\n", "no stages to build", ""),
            ("RUN x\nFROM a\n", "no stage to put RUN into", "RUN x"),
            ("FROM a\nFOO x\n", "Unknown instruction: \"FOO\"", "FOO"),
            ("FROM a\nCOPY --form=b c d\n", "COPY has an unknown flag: --form", "--form=b"),
            ("FROM a\nENV a=1 \\\n  b\n", "ENV can't find = in \"b\"", "b"),
            ("FROM a\nENV a=1 \\\n  b=${x\n", "ENV \"${x\": syntax error: missing '}'", "b=${x"),
            ("FROM a\nSTOPSIGNAL nope\n", "STOPSIGNAL Invalid signal: nope", "nope"),
            ("FROM a\nONBUILD ONBUILD RUN x\n", "ONBUILD can't be chained", "ONBUILD"),
            ("FROM a\nONBUILD RUNN x\n", "Unknown instruction: \"RUNN\"", "RUNN"),
            ("FROM a\nONBUILD COPY --form=b c d\n", "COPY has an unknown flag: --form", "--form=b"),
            ("FROM a\nSHELL bash\n", "SHELL requires the arguments to be in JSON form", "bash"),
            ("FROM a\nRUN cat <<E\nx\n", "unterminated heredoc: no line \"E\" follows", "<<E"),
            ("FROM a\nCOPY <<E /\nx\n  y ${z\n w\nE\n", "COPY E: unsupported modifier (\\n)", "${z"),
            (
                "FROM a\nCOPY <<-E <<F /\n\tx $x\n\tE\n\tb ${v:-${}}  \r\nF\n",
                "COPY F: syntax error: bad substitution",
                "${v:-${}}",
            ),
            ("FROM a\nCOPY <<-E /\n\t\tx\n\t\t$x ${é}${,} \\$ é\n\tE\n", "COPY E: syntax", "${,} \\$ é"),
            ("FROM a\nONBUILD COPY <<E /\n${x?\nE\n", "COPY E: syntax error", "${x?"),
            ("FROM a\nCMD --x\n", "CMD has an unknown flag: --x", "--x"),
        ];
        for (text, problem, place) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().starts_with(problem), "{text:?}: {error}");
            assert_eq!(&text[error.span.start..error.span.end], place, "{text:?}");
        }
    }

    #[test]
    fn what_a_variable_decides_waits_for_it() {
        let file = parse("FROM a\nSTOPSIGNAL $A\nRUN --network=$A x\nCOPY --from=$A a b\nENV $A=b\nARG x=${A:?needed}\n")
            .expect("a file");
        for step in &file.stages[0].steps {
            assert!(step.instruction(&|_| None).is_err(), "{}", step.source());
        }
        assert!(file.stages[0].steps[0].instruction(&|_| Some("TERM".to_owned())).is_ok());
    }

    #[test]
    fn the_escape_of_the_directive_holds_everywhere() {
        let file = parse("# escape=`\nFROM a\nENV x=a` b y=\"`$A\" `\n z=c:\\d\n").expect("a file");
        let found = file.stages[0].steps[0].metadata(&|_| Some("1".to_owned())).expect("an ENV");
        let pairs = [("x", "a b"), ("y", "$A"), ("z", "c:\\d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, super::super::Metadata::Env(pairs.to_vec()));
    }

    #[test]
    fn several_texts_are_one_file() {
        let file = parse_all(["# escape=`\nFROM a\nRUN x `\n y\n", "RUN z \\\n w\nFROM b\n"]).expect("a file");
        assert_eq!(stages(&file), [vec!["FROM a", "RUN x  y", "RUN z  w"], vec!["FROM b"]]);
        assert_eq!(file.stages[1].span(), Span { file: 1, start: 11, end: 17 });
        assert_eq!(parse_all(["FROM a\n", "\nFOO\n"]).unwrap_err().span, Span { file: 1, start: 1, end: 4 });
        assert_eq!(parse_all([]).unwrap_err().kind, ParseErrorKind::NoStages);
    }

    #[test]
    fn a_trigger_is_one_instruction() {
        assert_eq!(parse_trigger("RUN x").expect("a trigger").keyword, Keyword::Run);
        assert_eq!(parse_trigger("COPY <<E /\na\nE").expect("a trigger").heredocs[0].text, "a\n");
        for text in ["", "RUN x\nRUN y", "FROM a", "ONBUILD RUN x", "MAINTAINER x", "FOO"] {
            assert!(parse_trigger(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_editors_leave_change_nothing() {
        let plain = parse("FROM a\nRUN x \\\n y\n").expect("a file");
        let odd = parse("\u{feff}FROM a\r\nRUN x \\ \r\n y").expect("a file");
        assert_eq!(stages(&plain), stages(&odd));
        assert_eq!(parse("\u{feff}# escape=`\r\nFROM a").expect("a file").directives.escape, '`');
        assert_eq!(stages(&parse("FROM a\n\\\n").expect("a file")), [vec!["FROM a"]]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_file_or_an_error_with_a_place(
            text in "(FROM |RUN |COPY |ENV |ARG |ONBUILD |HEALTHCHECK |# escape=`|--from=|--mount=|<<E|<<-'F'|E|\\[\"|\"\\]|\\$\\{|\\}|\\\\|`|[ \t\r\n\"'a=$é,-]){0,40}",
        ) {
            match parse(&format!("FROM a\n{text}")) {
                Ok(file) => {
                    for step in file.stages.iter().flat_map(|stage| &stage.steps) {
                        let _ = step.instruction(&|name| (name == "a").then(|| "1 2".to_owned()));
                        prop_assert!(step.span().end <= text.len() + 7);
                    }
                }
                Err(error) => prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len() + 7),
            }
        }

        #[test]
        fn a_step_that_can_be_read_was_found_sound_before(
            keyword in 0..Keyword::ALL.len(), text in "[-a-z =\\[\\]\"',$A{}:?#%/\\\\0-9é<]{0,30}",
        ) {
            // What the check refuses can't be read with any value.
            let line = format!("{} {text}", Keyword::ALL[keyword]);
            let mut refused = None;
            each_step(&line, 0, '\\', |step| {
                let check = step.check();
                let read = step.instruction(&|_| Some("1".to_owned()));
                refused = Some((check.is_err(), read.is_err()));
                Ok(())
            }).ok();
            if let Some((check, read)) = refused {
                prop_assert!(!check || read, "{}", line);
            }
        }
    }
}
