//! `STOPSIGNAL signal`

use super::{Arguments, Instruction, Metadata, ParseError};

/// The signals that have one name on every Linux architecture, without `SIG` (signal(7)).
const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL", "PROF",
    "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM",
    "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];
/// The largest number of a real-time signal on Linux.
const LAST: u8 = 64;

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    if arguments.text.is_empty() {
        return Err(arguments.error("requires exactly one argument"));
    }
    let signal = arguments.value(arguments.text, arguments.text, |signal| match is_signal(&signal) {
        true => Ok(signal),
        false => Err(format!("Invalid signal: {}", super::cut(&signal).escape_debug())),
    })?;
    Ok(Instruction::Metadata(Metadata::StopSignal(signal.unwrap_or_default())))
}

/// A number from 1 to 64, or a name with or without `SIG`, in any case; of the real-time signals `RTMIN+n` and `RTMAX-n`.
fn is_signal(text: &str) -> bool {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<u8>().is_ok_and(|number| (1..=LAST).contains(&number));
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = name.strip_prefix("RTMIN+").or_else(|| name.strip_prefix("RTMAX-"));
    match offset {
        Some(offset) => offset.bytes().all(|b| b.is_ascii_digit()) && offset.parse::<u8>().is_ok_and(|n| (1..=30).contains(&n)),
        None => NAMES.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    #[test]
    fn forms() {
        for signal in ["9", "64", "SIGTERM", "TERM", "sigusr1", "SIGRTMIN+3", "RTMAX-1", "SIGWINCH"] {
            assert_eq!(changed(&format!("STOPSIGNAL {signal}")), Ok(Metadata::StopSignal(signal.into())));
        }
        assert_eq!(changed("STOPSIGNAL $A"), Ok(Metadata::StopSignal("1".into())));
        for signal in ["foo", "0", "65", "-9", "999", "a b", "SIG", "SIGRTMIN+31", "SIGRTMIN+"] {
            let error = changed(&format!("STOPSIGNAL {signal}")).unwrap_err();
            assert!(error.contains(&format!("Invalid signal: {signal}")), "{error}");
        }
        assert_eq!(changed("STOPSIGNAL"), Err("STOPSIGNAL requires exactly one argument".into()));
    }
}
