//! Every verb and flag of the newest Buildah (`man/buildah-flags.tsv`) against our own command tree: each is here, with the same
//! letter and kind of value, or refused by name with the reason that the table gives; what we have beyond Buildah is named.
//!
//! `man/coracle-buildah.7` shows the outcome. Its tables are made by this test: after a change to a flag run
//! `CORACLE_BLESS=1 cargo test --test buildah_table` and commit the page. Nothing else is kept by hand, but the `topic` of a flag
//! that is not here.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};
use coracle::commands::command_line;
use coracle::commands::later::{OTHER_DEFAULT, Refusal, Row, TOPICS, refusal, rows};
use coracle::commands::{VERBS, Verb, whole_parser};

const TABLE: &str = "man/buildah-flags.tsv";

/// The lines of the page between which this test writes.
const BEGIN: &str = ".\\\" Made by tests/buildah_table.rs from here";
const END: &str = ".\\\" to here.";

/// The parser of the flags of a verb and of those that every verb takes; of these alone for the empty verb. `None` if we have no
/// such verb.
fn parser_of(verb: &str) -> Option<Command> {
    let global = whole_parser();
    if verb.is_empty() {
        return Some(global);
    }
    let parser = Verb::find(verb)?.parser();
    let own: Vec<_> = parser.get_arguments().map(|flag| flag.get_id().clone()).collect();
    let added = global.get_arguments().filter(|flag| !own.contains(flag.get_id())).cloned().collect::<Vec<_>>();
    Some(parser.args(added))
}

/// The flag `--name`, or the one of which it is an alias.
fn find<'p>(parser: &'p Command, name: &str) -> Option<&'p Arg> {
    parser
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name)))
}

/// `--help` and `--version` are no arguments of the parsers: `command_line` knows them.
fn is_built_in(row: &Row) -> bool {
    row.verb.is_empty() && ["help", "version"].contains(&row.flag)
}

/// What we have for a line of the table.
enum Ours {
    Same,
    Refused(Refusal),
    /// Neither, or both.
    Wrong(String),
}

fn ours(row: &Row) -> Ours {
    let (line, verb, flag) = (row.line, row.verb, row.flag);
    let parser = parser_of(verb);
    let present = match (&parser, flag) {
        (parser, "") => parser.is_some(),
        (Some(parser), flag) => is_built_in(row) || find(parser, flag).is_some(),
        (None, _) => false,
    };
    let never = matches!(refusal(row.topic), Some(Refusal::Never { .. }));
    match (present, refusal(row.topic)) {
        (true, _) if never => Ours::Wrong(format!(
            "{TABLE}:{line}: the topic {:?} says that {verb} --{flag} never comes, but there it is: write - or another topic",
            row.topic
        )),
        (true, _) => Ours::Same,
        (false, Some(refusal)) => Ours::Refused(refusal),
        (false, None) => Ours::Wrong(format!(
            "{TABLE}:{line}: coracle {verb} lacks --{flag}: write one of the topics of src/commands/later.rs into the last column \
             ({}), or implement it",
            TOPICS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Whether the flag, or its help, has this default.
fn shows_default(flag: &Arg, default: &str) -> bool {
    let own: Vec<_> = flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let help = flag.get_long_help().or(flag.get_help()).map(ToString::to_string).unwrap_or_default();
    let said = help.split_once("default: ").map(|(_, rest)| rest.split([')', ',', ';']).next().unwrap_or_default());
    own == [default] || said == Some(default)
}

/// How our flag differs from the table's letter, kind or default.
fn difference(row: &Row, flag: &Arg) -> Option<String> {
    let kind = row.kind.split([' ', '(']).next().unwrap_or_default();
    let is_bool = flag.get_value_parser().type_id() == clap::builder::ValueParser::bool().type_id();
    let found = match flag.get_action() {
        ArgAction::SetTrue => "switch",
        ArgAction::Append if flag.get_value_delimiter().is_some() => "list",
        ArgAction::Append => "repeated",
        _ if is_bool => "switch",
        _ => "text",
    };
    // Numbers are texts or lists that a parser of their own reads.
    let alike = match kind {
        "number" => "text",
        "numbers" => "list",
        kind => kind,
    };
    if kind != "alias" && found != alike {
        return Some(format!("{TABLE}:{}: {} --{} is {kind} for Buildah, {found} here", row.line, row.verb, row.flag));
    }
    let default = row.kind.split_once(" =").map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
    let differs = row.topic == OTHER_DEFAULT;
    // A switch is off where nothing is said of it.
    let default = if differs { default.or(Some("false")) } else { default };
    if default.is_some_and(|default| shows_default(flag, default) == differs) {
        let default = default.unwrap_or_default();
        return Some(format!(
            "{TABLE}:{}: {} --{} is {default} unless given: our help says otherwise, or the topic does",
            row.line, row.verb, row.flag
        ));
    }
    let short = flag.get_short().map(String::from).unwrap_or_default();
    // `info` shows its own `-d`, beside the hidden `--debug` of every verb.
    if kind != "alias" && short != row.short && (row.verb, row.flag) != ("info", "debug") {
        return Some(format!(
            "{TABLE}:{}: {} --{} has the letter {:?} for Buildah, {short:?} here",
            row.line, row.verb, row.flag, row.short
        ));
    }
    None
}

#[test]
fn every_verb_and_flag_of_buildah_is_here_or_refused() {
    let mut wrong = Vec::new();
    for row in rows() {
        match ours(&row) {
            Ours::Wrong(text) => wrong.push(text),
            Ours::Refused(_) => {}
            Ours::Same if row.flag.is_empty() => {
                let verb = Verb::find(row.verb).map_or("", |verb| verb.name);
                let want = row.kind.strip_prefix("alias of ").unwrap_or(row.verb);
                if verb != want {
                    wrong.push(format!("{TABLE}:{}: {} is another name of {verb}, not of {want}", row.line, row.verb));
                }
            }
            Ours::Same => {
                let parser = parser_of(row.verb).expect("a parser of what is here");
                wrong.extend(find(&parser, row.flag).and_then(|flag| difference(&row, flag)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_refused_says_its_name_and_reason() {
    for row in rows() {
        let Ours::Refused(refusal) = ours(&row) else { continue };
        // A flag of a verb that is not here is refused with that verb.
        let top = if parser_of(row.verb).is_some() { row.verb } else { row.verb.split(' ').next().unwrap_or_default() };
        let of_top = |more: Option<String>| top.split(' ').map(str::to_owned).chain(more).collect::<Vec<_>>();
        let (words, name) = match (parser_of(top).is_some(), row.flag) {
            (false, _) => (of_top(None), top.to_owned()),
            (true, flag) if row.verb.is_empty() => (vec![format!("--{flag}=1")], format!("flag --{flag}")),
            (true, flag) => (of_top(Some(format!("--{flag}=1"))), format!("flag --{flag} of \"coracle {top}\"")),
        };
        let error = command_line::read(words.iter().map(Into::into).collect()).expect_err("a refusal");
        let (text, hints) = (error.text(), error.hints());
        assert!(text.starts_with(&format!("{name} is not ")), "line {}: {words:?}: {text}", row.line);
        match refusal {
            Refusal::Coming { reason } => {
                // Of a flag whose whole verb is missing, the verb's own reason is given.
                assert!(text.contains(reason) || parser_of(top).is_none(), "line {}: {words:?}: {text}", row.line);
            }
            // A flag of a verb that comes later is refused with its verb.
            Refusal::Never { .. } if parser_of(top).is_none() && !row.flag.is_empty() => {}
            Refusal::Never { .. } => assert!(!hints.is_empty(), "line {}: {words:?} needs a hint: {text}", row.line),
        }
    }
}

#[test]
fn letters_of_refused_flags_are_refused_too() {
    for row in rows().filter(|row| !row.short.is_empty() && parser_of(row.verb).is_some()) {
        let Ours::Refused(_) = ours(&row) else { continue };
        let words = [row.verb.to_owned(), format!("-{}=1", row.short)];
        let text = command_line::read(words.iter().map(Into::into).collect()).expect_err("a refusal").text();
        assert!(text.contains(" is not "), "line {}: {words:?}: {text}", row.line);
    }
}

#[test]
fn help_shows_defaults() {
    let mut wrong = Vec::new();
    for row in rows().filter(|row| matches!(ours(row), Ours::Same) && !row.kind.contains("(hidden)")) {
        let default = row.kind.split_once('=').map(|(_, default)| default);
        let Some(default) = default.or((row.topic == OTHER_DEFAULT).then_some("false")) else { continue };
        let parser = parser_of(row.verb).expect("a parser of what is here");
        let Some(flag) = find(&parser, row.flag).filter(|flag| !flag.is_hide_set()) else { continue };
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let shown = help.contains("default: ") || flag.get_default_values().iter().any(|value| value == default);
        if !shown {
            wrong.push(format!("coracle {} --{}: the help {help:?} lacks \"(default: {default})\"", row.verb, row.flag));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn help_has_one_line_for_each_flag() {
    let mut wrong = Vec::new();
    let verbs = VERBS.iter().map(|verb| (verb.name, verb.parser())).chain([("", whole_parser())]);
    for (verb, parser) in verbs {
        for flag in parser.get_arguments().filter(|flag| !flag.is_hide_set() && !flag.is_positional()) {
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            if help.is_empty() || help.contains('\n') || help.ends_with('.') || flag.get_long_help().is_some() {
                wrong.push(format!("coracle {verb} --{}: {help:?}", flag.get_long().unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "a flag's help is one line without a full stop:\n{}", wrong.join("\n"));
}

/// Text for roff: dashes and backslashes as characters, no request at the start of a line.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

fn flag_cell(row: &Row) -> String {
    let long = format!("\\-\\-{}", roff(row.flag));
    if row.short.is_empty() { long } else { format!("\\-{}, {long}", row.short) }
}

/// The kind of value in few letters: the page's tables must fit into 80 columns.
fn kind_cell(row: &Row) -> String {
    roff(&row.kind.replace("alias of", "as").replace(" (hidden)", " *"))
}

fn ours_cell(row: &Row) -> String {
    match ours(row) {
        Ours::Same if row.topic == OTHER_DEFAULT => "other default".to_owned(),
        Ours::Same => "same".to_owned(),
        Ours::Refused(Refusal::Coming { .. }) => format!("not yet: {}", row.topic),
        Ours::Refused(Refusal::Never { .. }) => format!("no: {}", row.topic),
        Ours::Wrong(text) => panic!("{text}"),
    }
}

/// The tables of the page, from the table of Buildah and from our parsers.
fn tables() -> String {
    let mut out = String::new();
    let mut verbs: Vec<&str> = rows().map(|row| row.verb).filter(|verb| !verb.is_empty()).collect();
    verbs.dedup();
    out.push_str(".SH VERBS\n.TS\nlb lb lb\nl l l.\nverb\tsince\tcoracle\n");
    for row in rows().filter(|row| row.flag.is_empty()) {
        let name = match row.kind.strip_prefix("alias of ") {
            Some(other) => format!("{} ({})", roff(row.verb), roff(other)),
            None => roff(row.verb),
        };
        let _ = writeln!(out, "{name}\t{}\t{}", row.since, roff(&ours_cell(&row)));
    }
    out.push_str(".TE\n.SH FLAGS\n");
    for verb in std::iter::once("").chain(verbs) {
        let flags: Vec<Row> = rows().filter(|row| row.verb == verb && !row.flag.is_empty()).collect();
        if flags.is_empty() {
            continue;
        }
        let _ = writeln!(out, ".SS {}", if verb.is_empty() { "Before or after any verb".to_owned() } else { roff(verb) });
        out.push_str(".TS\nlb lb lb lb\nl l l l.\nflag\tvalue\tsince\tcoracle\n");
        for row in flags {
            let _ = writeln!(out, "{}\t{}\t{}\t{}", flag_cell(&row), kind_cell(&row), row.since, roff(&ours_cell(&row)));
        }
        out.push_str(".TE\n");
    }
    out.push_str(&reasons());
    out.push_str(&additions());
    out
}

/// The topics that are in use, with their words.
fn reasons() -> String {
    let mut out = String::from(".SH REASONS\n");
    for (topic, refusal) in TOPICS {
        if !rows().any(|row| row.topic == *topic && matches!(ours(&row), Ours::Refused(_))) {
            continue;
        }
        let words = match refusal {
            Refusal::Coming { reason } => format!("Not in this version: {reason}."),
            Refusal::Never { reason, instead } => format!("Not planned: {reason}.\nInstead: {instead}."),
        };
        let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}", roff(topic), roff(&words));
    }
    out
}

/// Our verbs and visible flags that Buildah has not.
fn additions() -> String {
    let mut out = String::from(".SH ADDITIONS\n");
    let has = |verb: &str, flag: &str| rows().any(|row| row.verb == verb && row.flag == flag);
    let mut add = |name: String, help: Option<&clap::builder::StyledStr>| {
        let help = help.map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}.", roff(&name), roff(help.lines().next().unwrap_or_default()));
    };
    for flag in whole_parser().get_arguments().filter(|flag| !flag.is_hide_set()) {
        let name = flag.get_long().unwrap_or_default();
        if !has("", name) {
            add(format!("--{name}"), flag.get_help());
        }
    }
    for verb in VERBS {
        let parser = verb.parser();
        if !has(verb.name, "") {
            add(format!("coracle {}", verb.name), parser.get_about());
            continue;
        }
        for flag in parser.get_arguments().filter(|flag| !flag.is_positional() && !flag.is_hide_set()) {
            let name =
                flag.get_long().map_or_else(|| flag.get_short().map(|c| format!("-{c}")), |long| Some(format!("--{long}")));
            let name = name.unwrap_or_default();
            let short = flag.get_short().map(String::from).unwrap_or_default();
            let known = rows().any(|row| {
                row.verb == verb.name
                    && (Some(row.flag) == flag.get_long()
                        || (flag.get_long().is_none() && row.short == short && !short.is_empty()))
            });
            if !known {
                add(format!("coracle {} {name}", verb.name), flag.get_help());
            }
        }
    }
    out
}

#[test]
fn the_page_shows_what_is_so() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("man/coracle-buildah.7");
    let page = fs::read_to_string(&path).expect("man/coracle-buildah.7");
    let (before, rest) = page.split_once(BEGIN).expect("the line that begins the tables");
    let (_, after) = rest.split_once(END).expect("the line that ends the tables");
    let fresh = format!("{before}{BEGIN}\n{}{END}{after}", tables());
    if page == fresh {
        return;
    }
    if std::env::var_os("CORACLE_BLESS").is_some() {
        fs::write(&path, fresh).expect("the page");
        return;
    }
    let (at, (old, new)) = page
        .lines()
        .zip(fresh.lines())
        .enumerate()
        .find(|(_, (old, new))| old != new)
        .unwrap_or((page.lines().count(), ("(the end)", "(more)")));
    panic!(
        "man/coracle-buildah.7:{}: is {old:?}, should be {new:?}; CORACLE_BLESS=1 cargo test --test buildah_table writes it",
        at + 1
    );
}
