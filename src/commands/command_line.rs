//! From the words of the command line to a verb and its flags, in the grammar of Buildah's parser (cobra and pflag), which
//! differs from clap's: `--flag=false` for switches, `list` values in CSV, flags that end at the first operand, and the
//! texts of its errors, which scripts look for.
//!
//! [`read`] normalises the words with what clap knows about the verb's flags, and clap does the rest. Pure: no I/O.

use std::ffi::{OsStr, OsString};
use std::num::IntErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use super::args::GlobalArgs;
use super::later;
use super::verbs::{Order, VERBS, Verb};
use super::{CommandError, csv};
use crate::golang::number::{ParseNumberError, parse_int, parse_uint};
use crate::spelling::nearest;

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// The help of the program: no verb, or `--help` before any.
    Overview,
    /// `--version`.
    Version,
    /// `VERB --help`.
    HelpOf(&'static Verb),
    /// A verb to run.
    Run {
        /// The verb.
        verb: &'static Verb,
        /// Flags that every verb takes.
        global: Box<GlobalArgs>,
        /// The verb's own flags and operands.
        matches: ArgMatches,
    },
}

/// Words of a command line, sorted: flags each in one word (`--name=value`), operands after.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sorted {
    flags: Vec<OsString>,
    operands: Vec<OsString>,
    help: bool,
    version: bool,
}

/// Reads the arguments after the program's name.
pub fn read(arguments: Vec<OsString>) -> Result<Invocation, CommandError> {
    let global = GlobalArgs::augment_args(clap::Command::new("coracle"));
    let before = sort(&global, "", Order::Verbatim, arguments)?;
    if before.help {
        return Ok(Invocation::Overview);
    }
    if before.version {
        return Ok(Invocation::Version);
    }
    let mut words = before.operands.into_iter();
    let Some(name) = words.next() else { return Ok(Invocation::Overview) };
    let (mut verb, mut words) = (find_verb(&name)?, words.collect());
    let mut between = Vec::new();
    if verb.below().next().is_some() {
        // Flags that every verb takes may stand between the two words.
        let mut sorted = sort(&global, verb.name, Order::Verbatim, words)?;
        if sorted.help || sorted.operands.is_empty() {
            return Ok(Invocation::HelpOf(verb));
        }
        verb = find_below(verb, &sorted.operands.remove(0))?;
        (between, words) = (sorted.flags, sorted.operands);
    }
    let mut parser =
        GlobalArgs::augment_args(verb.parser()).args_override_self(true).disable_help_flag(true).no_binary_name(true);
    let mut after = sort(&parser, verb.name, verb.order, words)?;
    if after.help {
        return Ok(Invocation::HelpOf(verb));
    }
    if verb.name == "run" && after.operands.get(1).is_some_and(|word| word == "--") {
        after.operands.remove(1);
    }
    // Lists are split by now; clap would split quoted values again.
    parser = parser.mut_args(|arg| if arg.get_value_delimiter().is_some() { arg.value_delimiter(None) } else { arg });
    let line = before.flags.into_iter().chain(between).chain(after.flags).chain([OsString::from("--")]).chain(after.operands);
    let matches = parser.try_get_matches_from(line).map_err(|error| CommandError::usage(words_of(&error)))?;
    let global = GlobalArgs::from_arg_matches(&matches).map_err(|error| CommandError::usage(words_of(&error)))?;
    Ok(Invocation::Run { verb, global: Box::new(global), matches })
}

fn find_verb(name: &OsStr) -> Result<&'static Verb, CommandError> {
    let name = name.to_string_lossy();
    if let Some(verb) = Verb::find(&name) {
        return Ok(verb);
    }
    if let Some(refusal) = later::verb(&name) {
        return Err(refusal.error(&name));
    }
    let known = VERBS.iter().flat_map(|verb| std::iter::once(verb.name).chain(verb.aliases.iter().copied()));
    let failure = CommandError::usage(format!("unknown command {name:?} for \"coracle\""));
    Err(failure.hinting(nearest(&name, known).map(|near| format!("did you mean \"coracle {near}\"?"))))
}

/// The verb `name` below `group`.
fn find_below(group: &'static Verb, name: &OsStr) -> Result<&'static Verb, CommandError> {
    let name = name.to_string_lossy();
    if let Some(verb) = group.below().find(|verb| verb.last_word() == name) {
        return Ok(verb);
    }
    if let Some(refusal) = later::verb(&format!("{} {name}", group.name)) {
        return Err(refusal.error(&format!("{} {name}", group.name)));
    }
    let near = nearest(&name, group.below().map(Verb::last_word));
    let near = near.map(|near| format!("did you mean \"coracle {} {near}\"?", group.name));
    Err(CommandError::usage(format!("unknown command {name:?} for \"coracle {}\"", group.name)).hinting(near))
}

/// Sorts words into flags and operands by pflag's rules.
fn sort(parser: &clap::Command, verb: &str, order: Order, words: Vec<OsString>) -> Result<Sorted, CommandError> {
    let mut sorted = Sorted::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            sorted.operands.extend(words);
            break;
        }
        if bytes.starts_with(b"--") {
            long_flag(parser, verb, &word, &mut words, &mut sorted)?;
        } else if bytes.len() > 1 && bytes.starts_with(b"-") {
            short_flags(parser, verb, &word, &mut words, &mut sorted)?;
        } else {
            sorted.operands.push(word);
            if order != Order::Mixed {
                sorted.operands.extend(words);
                break;
            }
        }
    }
    if order == Order::FlagsFirst {
        refuse_late_flags(&sorted.operands)?;
    }
    Ok(sorted)
}

fn refuse_late_flags(operands: &[OsString]) -> Result<(), CommandError> {
    // A lone "-" is refused as well: Buildah looks at the first byte only.
    match operands.iter().find(|word| word.as_bytes().starts_with(b"-")) {
        None => Ok(()),
        Some(word) => Err(CommandError::usage(format!(
            "no options ({}) can be specified after the image or container name",
            word.to_string_lossy()
        ))),
    }
}

fn long_flag(
    parser: &clap::Command,
    verb: &str,
    word: &OsStr,
    words: &mut std::vec::IntoIter<OsString>,
    sorted: &mut Sorted,
) -> Result<(), CommandError> {
    let body = &word.as_bytes()[2..];
    let (name, value) = match body.iter().position(|&byte| byte == b'=') {
        Some(at) => (&body[..at], Some(OsString::from_vec(body[at + 1..].to_vec()))),
        None => (body, None),
    };
    let name = String::from_utf8_lossy(name);
    if name.is_empty() || name.starts_with('-') {
        return Err(CommandError::usage(format!("bad flag syntax: {}", word.to_string_lossy())));
    }
    if name == "help" {
        sorted.help = true;
        return Ok(());
    }
    if name == "version" && verb.is_empty() {
        sorted.version = true;
        return Ok(());
    }
    let Some(flag) = parser.get_arguments().find(|arg| is_long(arg, &name)) else {
        return Err(unknown_long(parser, verb, &name));
    };
    let value = match value {
        Some(value) => Some(value),
        None if takes_value(flag) => {
            Some(words.next().ok_or_else(|| CommandError::usage(format!("flag needs an argument: --{name}")))?)
        }
        None => None,
    };
    push_flag(flag, value, sorted)
}

fn short_flags(
    parser: &clap::Command,
    verb: &str,
    word: &OsStr,
    words: &mut std::vec::IntoIter<OsString>,
    sorted: &mut Sorted,
) -> Result<(), CommandError> {
    let whole = word.to_string_lossy();
    let mut rest = &word.as_bytes()[1..];
    while let Some((&letter, after)) = rest.split_first() {
        let letter = char::from(letter);
        if letter == 'h' {
            sorted.help = true;
            return Ok(());
        }
        if letter == 'v' && verb.is_empty() {
            sorted.version = true;
            return Ok(());
        }
        let Some(flag) = parser.get_arguments().find(|arg| is_short(arg, letter)) else {
            if let Some(refusal) = later::short_flag(verb, letter) {
                return Err(refusal.error(&flag_of(&format!("-{letter}"), verb)));
            }
            return Err(CommandError::usage(format!("unknown shorthand flag: '{}' in {whole}", letter.escape_debug())));
        };
        if let Some(value) = after.strip_prefix(b"=") {
            return push_flag(flag, Some(OsString::from_vec(value.to_vec())), sorted);
        }
        if takes_value(flag) {
            let value = if after.is_empty() {
                words.next().ok_or_else(|| CommandError::usage(format!("flag needs an argument: '{letter}' in {whole}")))?
            } else {
                OsString::from_vec(after.to_vec())
            };
            return push_flag(flag, Some(value), sorted);
        }
        push_flag(flag, None, sorted)?;
        rest = after;
    }
    Ok(())
}

/// Appends a flag in a form that clap reads the same way.
fn push_flag(flag: &Arg, value: Option<OsString>, sorted: &mut Sorted) -> Result<(), CommandError> {
    let name = match (flag.get_long(), flag.get_short()) {
        (None, Some(letter)) => format!("-{letter}"),
        (long, _) => format!("--{}", long.unwrap_or_default()),
    };
    let mut push = |value: Option<&OsStr>| {
        let mut word = OsString::from(&name);
        if let Some(value) = value {
            word.push("=");
            word.push(value);
        }
        sorted.flags.push(word);
    };
    match (flag.get_action(), value) {
        (ArgAction::SetTrue, Some(value)) => {
            if parse_bool(flag, &value)? {
                push(None);
            } else {
                // The last one counts, and clap has no word for "off": forget the earlier ones.
                sorted.flags.retain(|word| word.as_os_str() != OsStr::new(&name));
            }
        }
        (ArgAction::Set, Some(value)) if is_switch(flag) => {
            push(Some(OsStr::new(if parse_bool(flag, &value)? { "true" } else { "false" })));
        }
        (_, Some(value)) if flag.get_value_delimiter().is_some() => {
            for item in split_list(flag, &value)? {
                if number_of(flag).is_some() {
                    check_atoi(flag, &value, &item)?;
                }
                push(Some(&item));
            }
        }
        (ArgAction::Set, Some(value)) => match number_of(flag) {
            Some(number) => push(Some(OsStr::new(&go_number(flag, &value, number)?))),
            None => push(Some(&value)),
        },
        (_, value) => push(value.as_deref()),
    }
    Ok(())
}

/// Which numbers a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Signed,
    Unsigned,
}

/// Which numbers a flag takes, if it takes any. What is a count in this program is signed in Buildah's parser.
fn number_of(flag: &Arg) -> Option<Number> {
    let kind = flag.get_value_parser().type_id();
    let is = |parser: clap::builder::ValueParser| parser.type_id() == kind;
    if is(clap::value_parser!(u64).into()) {
        return Some(Number::Unsigned);
    }
    let signed =
        is(clap::value_parser!(i64).into()) || is(clap::value_parser!(i32).into()) || is(clap::value_parser!(u32).into());
    signed.then_some(Number::Signed)
}

/// A number in decimals, from any form that Go's `strconv` takes; its complaint in pflag's words.
fn go_number(flag: &Arg, value: &OsStr, number: Number) -> Result<String, CommandError> {
    let text = value.to_string_lossy();
    let (function, read) = match number {
        Number::Signed => ("ParseInt", parse_int(&text).map(|number| number.to_string())),
        Number::Unsigned => ("ParseUint", parse_uint(&text).map(|number| number.to_string())),
    };
    read.map_err(|problem| invalid(flag, &text, format!("strconv.{function}: parsing {text:?}: {problem}")))
}

/// The same for an item of a list, which Go reads in decimals only.
fn check_atoi(flag: &Arg, value: &OsStr, item: &OsStr) -> Result<(), CommandError> {
    let (value, item) = (value.to_string_lossy(), item.to_string_lossy());
    let problem = match item.parse::<i64>() {
        Ok(_) => return Ok(()),
        Err(problem) => problem,
    };
    let problem = match problem.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => ParseNumberError::Range,
        _ => ParseNumberError::Syntax,
    };
    Err(invalid(flag, &value, format!("strconv.Atoi: parsing {item:?}: {problem}")))
}

/// A wrong value in pflag's words.
fn invalid(flag: &Arg, value: &str, reason: impl std::fmt::Display) -> CommandError {
    CommandError::usage(format!("invalid argument {value:?} for \"{}\" flag: {reason}", spelling(flag)))
}

/// A switch whose default is on, or that knows `=false`: its values are true and false.
fn is_switch(flag: &Arg) -> bool {
    flag.get_value_parser().type_id() == clap::builder::ValueParser::bool().type_id()
}

pub(super) fn is_long(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

pub(super) fn is_short(arg: &Arg, letter: char) -> bool {
    arg.get_short() == Some(letter) || arg.get_all_short_aliases().is_some_and(|aliases| aliases.contains(&letter))
}

/// Whether the next word is the flag's value. A flag that may stand alone (`--pull`) takes one only with `=`.
pub(super) fn takes_value(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Set | ArgAction::Append) && !flag.is_require_equals_set()
}

/// Go's `strconv.ParseBool`, with pflag's complaint.
fn parse_bool(flag: &Arg, value: &OsStr) -> Result<bool, CommandError> {
    match value.as_bytes() {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Ok(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Ok(false),
        _ => {
            let value = value.to_string_lossy();
            Err(invalid(flag, &value, format!("strconv.ParseBool: parsing {value:?}: invalid syntax")))
        }
    }
}

/// A flag as pflag's messages spell it: `-a, --all`.
fn spelling(flag: &Arg) -> String {
    let long = flag.get_long().unwrap_or_default();
    match flag.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}

/// The items of a list. A value that is no text is one item, since it can only be a path.
fn split_list(flag: &Arg, value: &OsStr) -> Result<Vec<OsString>, CommandError> {
    let Some(value) = value.to_str() else { return Ok(vec![value.to_os_string()]) };
    csv::record(value)
        .map(|items| items.into_iter().map(OsString::from).collect())
        .map_err(|reason| invalid(flag, value, reason))
}

fn unknown_long(parser: &clap::Command, verb: &str, name: &str) -> CommandError {
    if let Some(refusal) = later::flag(verb, name) {
        return refusal.error(&flag_of(&format!("--{name}"), verb));
    }
    let known = parser.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long);
    let near = nearest(name, known).map(|near| format!("did you mean --{near}?"));
    CommandError::usage(format!("unknown flag: --{name}")).hinting(near)
}

/// A flag and its place, for a refusal.
fn flag_of(flag: &str, verb: &str) -> String {
    let place = if verb.is_empty() { String::new() } else { format!(" of \"coracle {verb}\"") };
    format!("flag {flag}{place}")
}

/// The words for what clap did not accept.
pub(super) fn words_of(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let flag = text(ContextKind::InvalidArg);
            let flag = flag.split([' ', '=']).next().unwrap_or_default().to_owned();
            let value = text(ContextKind::InvalidValue);
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let known = text(ContextKind::ValidValue);
            let known = if known.is_empty() { String::new() } else { format!(": must be one of {known}") };
            format!("invalid argument {:?} for \"{flag}\" flag{cause}{known}", value)
        }
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        ErrorKind::MissingRequiredArgument => format!("{} must be specified", text(ContextKind::InvalidArg)),
        ErrorKind::ArgumentConflict => {
            format!("{} cannot be used with {}", text(ContextKind::InvalidArg), text(ContextKind::PriorArg))
        }
        ErrorKind::UnknownArgument => format!("unexpected argument {:?}", text(ContextKind::InvalidArg)),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parser() -> clap::Command {
        clap::Command::new("verb")
            .arg(Arg::new("all").short('a').long("all").action(ArgAction::SetTrue))
            .arg(Arg::new("quiet").short('q').long("quiet").action(ArgAction::SetTrue))
            .arg(Arg::new("filter").short('f').long("filter").action(ArgAction::Append).value_delimiter(','))
            .arg(Arg::new("env").short('e').long("env").action(ArgAction::Append))
            .arg(Arg::new("pull").long("pull").num_args(0..=1).require_equals(true).default_missing_value("always"))
            .arg(Arg::new("shares").short('c').long("cpu-shares").value_parser(clap::value_parser!(u64)))
            .arg(Arg::new("retry").long("retry").value_parser(clap::value_parser!(u32)))
            .arg(
                Arg::new("codes")
                    .long("codes")
                    .action(ArgAction::Append)
                    .value_delimiter(',')
                    .value_parser(clap::value_parser!(i32)),
            )
            .arg(Arg::new("tty").short('t').long("terminal").alias("tty").action(ArgAction::SetTrue))
    }

    fn sorted(order: Order, words: &[&str]) -> Result<(String, String), String> {
        let words = words.iter().map(OsString::from).collect();
        let sorted = sort(&parser(), "verb", order, words).map_err(|error| error.text())?;
        let join = |words: Vec<OsString>| words.join(OsStr::new(" ")).to_string_lossy().into_owned();
        Ok((join(sorted.flags), join(sorted.operands)))
    }

    #[test]
    fn words_are_sorted_by_the_rules_of_pflag() {
        use Order::{FlagsFirst, Mixed, Verbatim};
        let cases: [(Order, &[&str], (&str, &str)); 16] = [
            (FlagsFirst, &["-aq", "x"], ("--all --quiet", "x")),
            (FlagsFirst, &["-f", "x", "y"], ("--filter=x", "y")),
            (FlagsFirst, &["-fx", "y"], ("--filter=x", "y")),
            (FlagsFirst, &["-f=x,z", "y"], ("--filter=x --filter=z", "y")),
            (FlagsFirst, &["-af", "x"], ("--all --filter=x", "")),
            (FlagsFirst, &["--filter", "-a", "y"], ("--filter=-a", "y")),
            (FlagsFirst, &["-e", "a,b"], ("--env=a,b", "")),
            (FlagsFirst, &["--all", "--all=false", "x"], ("", "x")),
            (FlagsFirst, &["-c0x10", "--retry", "1_0"], ("--cpu-shares=16 --retry=10", "")),
            (FlagsFirst, &["--codes", "1,-2"], ("--codes=1 --codes=-2", "")),
            (FlagsFirst, &["--pull", "x"], ("--pull", "x")),
            (FlagsFirst, &["--pull=never", "x"], ("--pull=never", "x")),
            (FlagsFirst, &["--", "x", "y"], ("", "x y")),
            (Mixed, &["x", "-a", "y", "--", "-q"], ("--all", "x y -q")),
            (Verbatim, &["-a", "x", "ls", "-q", "--", "z"], ("--all", "x ls -q -- z")),
            (Verbatim, &["--tty", "x"], ("--terminal", "x")),
        ];
        for (order, words, (flags, operands)) in cases {
            assert_eq!(sorted(order, words), Ok((flags.to_owned(), operands.to_owned())), "{words:?}");
        }
    }

    #[test]
    fn what_pflag_refuses_is_refused_in_its_words() {
        let cases: [(&[&str], &str); 10] = [
            (&["--nosuch"], "unknown flag: --nosuch"),
            (&["-az"], "unknown shorthand flag: 'z' in -az"),
            (&["--filter"], "flag needs an argument: --filter"),
            (&["-f"], "flag needs an argument: 'f' in -f"),
            (&["x", "-a"], "no options (-a) can be specified after the image or container name"),
            (
                &["-cx"],
                "invalid argument \"x\" for \"-c, --cpu-shares\" flag: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                &["--cpu-shares", "-1"],
                "invalid argument \"-1\" for \"-c, --cpu-shares\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
            (
                &["--retry=99999999999999999999"],
                "invalid argument \"99999999999999999999\" for \"--retry\" flag: strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
            ),
            (&["--codes=1,x"], "invalid argument \"1,x\" for \"--codes\" flag: strconv.Atoi: parsing \"x\": invalid syntax"),
            (&["--all=x"], "invalid argument \"x\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"x\": invalid syntax"),
        ];
        for (words, want) in cases {
            assert_eq!(sorted(Order::FlagsFirst, words), Err(want.to_owned()), "{words:?}");
        }
    }
}
