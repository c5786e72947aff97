//! `ARG name[=default] …`

use super::super::words::split_words;
use super::{Arguments, Instruction, ParseError};

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let words = split_words(arguments.some()?, arguments.escape);
    let argument = |word| match str::split_once(word, '=') {
        Some((name, value)) => Ok((arguments.name(name)?, Some(arguments.expand(value, word)?))),
        None => Ok((arguments.name(word)?, None)),
    };
    Ok(Instruction::Arg(words.into_iter().map(argument).collect::<Result<_, _>>()?))
}
