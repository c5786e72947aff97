//! `coracle __complete word|next WORDS…`: what the completion scripts ask at each TAB.
//!
//! `word`: the last of the words is being typed; `next`: a new one begins. The answer is one line for each word that fits, with a tab
//! and a short description after it. A line that begins with a colon asks the shell for something of its own: `:files`, `:dirs`,
//! `:commands`, or `:nospace` for no blank after the word.
//!
//! Invariant: fails silently, changes nothing, waits for no lock.

use std::ffi::OsString;

use clap::{ArgAction, ArgMatches, Args, FromArgMatches};

use super::names;
use super::position::{self, Place, Position};
use super::stages::stages;
use super::values::{self, Kind};
use crate::commands::args::GlobalArgs;
use crate::commands::command_line::{is_long, takes_value};
use crate::commands::ui::escape;
use crate::commands::verbs::{VERBS, Verb};
use crate::commands::{CommandError, Context, Ui};

/// The hidden first argument.
pub(in crate::commands) const NAME: &str = "__complete";

/// Prints what fits after `arguments`, which follow [`NAME`].
pub(in crate::commands) fn answer(ui: &mut Ui, arguments: &[OsString]) -> Result<(), CommandError> {
    let mut words = arguments.iter().map(|word| word.to_string_lossy().into_owned());
    let state = words.next().unwrap_or_default();
    let mut words: Vec<String> = words.collect();
    let typed = if state == "word" { words.pop().unwrap_or_default() } else { String::new() };
    let Some(position) = position::after(&words) else { return Ok(()) };
    let mut answer = Answer { context: context(&words), typed, before: String::new(), lines: Vec::new() };
    answer.collect(&position);
    answer.lines.sort();
    answer.lines.dedup();
    let text: String = answer.lines.iter().map(|line| format!("{line}\n")).collect();
    ui.exact(text.as_bytes())
}

/// The context that the global flags among the words ask for, as far as they can be read.
fn context(words: &[String]) -> Context {
    let parser = GlobalArgs::augment_args(clap::Command::new("coracle")).no_binary_name(true).args_override_self(true);
    let mut known = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some((name, value)) =
            word.strip_prefix("--").map(|flag| flag.split_once('=').map_or((flag, None), |(n, v)| (n, Some(v))))
        else {
            continue;
        };
        let Some(flag) = parser.get_arguments().find(|flag| is_long(flag, name) && takes_value(flag)) else { continue };
        if let Some(value) = value.map(str::to_owned).or_else(|| rest.next().cloned()) {
            known.push(format!("--{}={value}", flag.get_long().unwrap_or_default()));
        }
    }
    let read = |matches: ArgMatches| GlobalArgs::from_arg_matches(&matches);
    Context::new(parser.try_get_matches_from(known).and_then(read).unwrap_or_default())
}

struct Answer {
    context: Context,
    /// What is typed of the word, without [`Answer::before`].
    typed: String,
    /// What stands before it in the same word: `--flag=`, the elements of a list, `VAR=`.
    before: String,
    lines: Vec<String>,
}

impl Answer {
    fn collect(&mut self, position: &Position) {
        match &position.place {
            Place::Verb if self.typed.starts_with('-') => self.flags(&position.parser),
            Place::Verb => self.kind(Kind::Verbs),
            Place::Value(flag) => self.value(position, flag),
            Place::Operand { flags: true, .. } if self.typed.starts_with('-') => self.flag_or_value(position),
            Place::Operand { .. } if position.verb.is_some_and(|verb| verb.below().next().is_some()) => {
                for verb in position.verb.into_iter().flat_map(Verb::below) {
                    let about = verb.parser().get_about().map(ToString::to_string).unwrap_or_default();
                    self.offer(verb.last_word(), &about);
                }
            }
            Place::Operand { index, .. } => {
                for kind in position.verb.map(|verb| values::of_operand(verb, *index)).unwrap_or_default() {
                    self.kind(kind);
                }
            }
        }
    }

    fn flag_or_value(&mut self, position: &Position) {
        let Some((name, value)) = self.typed.strip_prefix("--").and_then(|flag| flag.split_once('=')) else {
            return self.flags(&position.parser);
        };
        let Some(flag) = position.parser.get_arguments().find(|flag| is_long(flag, name)) else { return };
        (self.before, self.typed) = (format!("--{name}="), value.to_owned());
        self.value(position, flag);
    }

    fn value(&mut self, position: &Position, flag: &clap::Arg) {
        let is_mount = position.verb.is_some_and(|verb| verb.name == "unshare") && flag.get_long() == Some("mount");
        let divider = if is_mount { Some('=') } else { flag.get_value_delimiter() };
        if let Some(at) = divider.and_then(|divider| self.typed.rfind(divider)) {
            let rest = self.typed.split_off(at + 1);
            self.before.push_str(&self.typed);
            self.typed = rest;
        }
        for kind in values::of_flag(position.verb, flag) {
            match kind {
                Kind::Stages => {
                    let found = stages(&position.parser, &position.rest);
                    found.iter().for_each(|(word, about)| self.offer(word, about));
                }
                kind => self.kind(kind),
            }
        }
    }

    fn flags(&mut self, parser: &clap::Command) {
        for flag in parser.get_arguments().filter(|flag| !flag.is_hide_set()) {
            let Some(long) = flag.get_long() else { continue };
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            self.offer(&format!("--{long}"), help.lines().next().unwrap_or_default());
            if flag.is_require_equals_set() && matches!(flag.get_action(), ArgAction::Set | ArgAction::Append) {
                self.offer(&format!("--{long}="), help.lines().next().unwrap_or_default());
            }
        }
        self.offer("--help", "Show the help of the verb");
    }

    fn kind(&mut self, kind: Kind) {
        match kind {
            Kind::Words(words) => words.iter().for_each(|word| self.offer(word, "")),
            Kind::Alternatives(words) => words.split('|').for_each(|word| self.offer(word, "")),
            Kind::Files => self.lines.push(":files".to_owned()),
            Kind::Directories => self.lines.push(":dirs".to_owned()),
            Kind::Programs => self.lines.push(":commands".to_owned()),
            // Only a flag's value, which knows the words before it.
            Kind::Stages => {}
            Kind::Verbs => {
                for verb in VERBS.iter().filter(|verb| verb.last_word() == verb.name) {
                    let about = verb.parser().get_about().map(ToString::to_string).unwrap_or_default();
                    self.offer(verb.name, &about);
                }
            }
            Kind::Containers => {
                let found = self.context.existing_store().map(|store| names::containers(store, &self.typed));
                found.unwrap_or_default().iter().for_each(|(word, about)| self.offer(word, about));
            }
            Kind::Images => {
                let found = self.context.existing_store().map(|store| names::images(store, &self.typed));
                found.unwrap_or_default().iter().for_each(|(word, about)| self.offer(word, about));
            }
        }
    }

    /// Offers a word, if it begins with what is typed.
    fn offer(&mut self, word: &str, about: &str) {
        if !word.starts_with(&self.typed) {
            return;
        }
        if word.ends_with(['=', ':', ',']) {
            self.lines.push(":nospace".to_owned());
        }
        self.lines.push(format!("{}{word}\t{}", self.before, escape(about)));
    }
}
