//! Where on the command line a word stands: in which verb, as the value of which flag, as which operand. Pure.

use clap::{Arg, Args};

use crate::commands::args::GlobalArgs;
use crate::commands::command_line::{is_long, is_short, takes_value};
use crate::commands::verbs::{Order, Verb};

/// The place of the word that is being typed.
#[derive(Debug)]
pub(super) enum Place {
    /// The name of a verb.
    Verb,
    /// The value of a flag.
    Value(Box<Arg>),
    /// Flag or operand, whichever the word begins like.
    Operand {
        /// How many operands stand before it.
        index: usize,
        /// Whether a flag may stand here.
        flags: bool,
    },
}

/// What is known at the word that is being typed.
#[derive(Debug)]
pub(super) struct Position {
    /// The verb before it.
    pub(super) verb: Option<&'static Verb>,
    /// The flags of that verb and those of every verb.
    pub(super) parser: clap::Command,
    /// The words after the verb.
    pub(super) rest: Vec<String>,
    pub(super) place: Place,
}

/// The position after `words`, which follow the program's name. `None` after something that is no verb.
pub(super) fn after(words: &[String]) -> Option<Position> {
    let global = GlobalArgs::augment_args(clap::Command::new("coracle"));
    let start = walk(&global, Order::Verbatim, words);
    let Some(at) = start.first_operand else {
        let place = match start.place(Order::Verbatim) {
            Place::Operand { .. } => Place::Verb,
            value => value,
        };
        return Some(Position { verb: None, parser: global, rest: Vec::new(), place });
    };
    let (mut verb, mut rest) = (Verb::find(words.get(at)?)?, words.get(at + 1..)?);
    if verb.below().next().is_some()
        && let Some(at) = walk(&global, Order::Verbatim, rest).first_operand
    {
        verb = verb.below().find(|below| rest.get(at).is_some_and(|word| word == below.last_word()))?;
        rest = rest.get(at + 1..)?;
    }
    let parser = GlobalArgs::augment_args(verb.parser());
    let place = walk(&parser, verb.order, rest).place(verb.order);
    Some(Position { verb: Some(verb), parser, rest: rest.to_vec(), place })
}

/// Words that have been read.
#[derive(Default)]
struct Walk {
    operands: usize,
    first_operand: Option<usize>,
    /// No more flags may follow.
    ended: bool,
    /// A flag whose value comes next.
    pending: Option<Arg>,
}

impl Walk {
    fn place(self, order: Order) -> Place {
        let flags = !self.ended && (order == Order::Mixed || self.operands == 0);
        match self.pending {
            Some(flag) => Place::Value(Box::new(flag)),
            None => Place::Operand { index: self.operands, flags },
        }
    }
}

/// Reads words as `command_line` does, but takes everything.
fn walk(parser: &clap::Command, order: Order, words: &[String]) -> Walk {
    let mut walk = Walk::default();
    for (at, word) in words.iter().enumerate() {
        if walk.pending.take().is_some() {
            continue;
        }
        if !walk.ended && word == "--" {
            walk.ended = true;
        } else if !walk.ended && word.len() > 1 && word.starts_with('-') {
            walk.pending = awaiting(parser, word);
        } else {
            walk.operands += 1;
            walk.first_operand.get_or_insert(at);
            walk.ended |= order != Order::Mixed;
            if order == Order::Verbatim && parser.get_name() == "coracle" {
                break;
            }
        }
    }
    walk
}

/// The flag in `word` whose value is the next word.
fn awaiting(parser: &clap::Command, word: &str) -> Option<Arg> {
    if let Some(name) = word.strip_prefix("--") {
        return parser.get_arguments().find(|flag| is_long(flag, name)).filter(|flag| takes_value(flag)).cloned();
    }
    for (at, letter) in word.char_indices().skip(1) {
        let flag = parser.get_arguments().find(|flag| is_short(flag, letter))?;
        if takes_value(flag) {
            // What follows the letter in the same word is its value.
            return (at + letter.len_utf8() == word.len()).then(|| flag.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let Some(position) = after(&words) else { return "nothing".to_owned() };
        let verb = position.verb.map_or("", |verb| verb.name);
        match position.place {
            Place::Verb => "a verb".to_owned(),
            Place::Value(flag) => format!("{verb} --{}", flag.get_long().unwrap_or_default()),
            Place::Operand { index, flags } => format!("{verb} {index}{}", if flags { " or a flag" } else { "" }),
        }
    }

    #[test]
    fn the_place_of_a_word() {
        let cases: [(&[&str], &str); 20] = [
            (&["manifest"], "manifest 0 or a flag"),
            (&["manifest", "add"], "manifest add 0 or a flag"),
            (&["manifest", "--root", "/x", "add", "x", "--os"], "manifest add --os"),
            (&["manifest", "frob"], "nothing"),
            (&[], "a verb"),
            (&["--root"], " --root"),
            (&["--root", "/x"], "a verb"),
            (&["--root=/x", "--debug"], "a verb"),
            (&["frob"], "nothing"),
            (&["images"], "images 0 or a flag"),
            (&["images", "-q"], "images 0 or a flag"),
            (&["images", "-qf"], "images --filter"),
            (&["images", "-fx"], "images 0 or a flag"),
            (&["images", "x"], "images 1"),
            (&["ps", "--format"], "containers --format"),
            (&["tag", "x"], "tag 1 or a flag"),
            (&["tag", "x", "--"], "tag 1"),
            (&["from", "--pull"], "from 0 or a flag"),
            (&["run", "--net"], "run --network"),
            (&["run", "c", "--", "ls", "-l"], "run 4"),
        ];
        for (words, want) in cases {
            assert_eq!(shown(words), want, "{words:?}");
        }
    }
}
