//! `HEALTHCHECK [--interval= --timeout= --start-period= --start-interval= --retries=] CMD command`, `HEALTHCHECK NONE`

use super::{Arguments, Command, Healthcheck, Instruction, Metadata, ParseError, cmd, cut};
use crate::golang::duration::parse_duration;

/// The values of the flags, in the order of [`FLAGS`].
#[derive(Default)]
struct Flags([i64; 5]);

/// The shortest time, in nanoseconds (Docker's API, `HealthConfig`).
const SHORTEST: i64 = 1_000_000;

const FLAGS: [&str; 5] = ["interval", "timeout", "start-period", "start-interval", "retries"];

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let mut flags = Flags::default();
    for (place, name) in FLAGS.iter().enumerate() {
        if let Some((flag, value)) = arguments.flag(name)? {
            flags.0[place] = number(name, value).map_err(|problem| arguments.error_at(flag.source, problem))?;
        }
    }
    let text = arguments.some()?;
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim_start();
    let check = match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() => Healthcheck::None,
        "NONE" => return Err(arguments.error("NONE takes no arguments")),
        "CMD" => flags.check(test(arguments, rest)?),
        other => return Err(arguments.error_at(kind, format!("has an unknown type {:?} (try CMD)", cut(other)))),
    };
    Ok(Instruction::Metadata(Metadata::Healthcheck(check)))
}

/// The value of a flag.
fn number(name: &str, value: &str) -> Result<i64, String> {
    // As one that is not given.
    if value.is_empty() {
        return Ok(0);
    }
    if name == "retries" {
        let retries = value.parse::<i32>().ok().filter(|retries| *retries >= 0).map(i64::from);
        return retries
            .ok_or_else(|| format!("--retries must be a number, and not negative (not {})", cut(value).escape_debug()));
    }
    match parse_duration(value) {
        Ok(duration) if duration < 0 => Err(format!("Interval {name:?} must not be negative")),
        // A zero asks for what whoever runs the image takes by default, as a flag that is not given.
        Ok(1..SHORTEST) => Err(format!("Interval {name:?} cannot be less than 1ms")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("--{name}: {}", error.about(&cut(value)))),
    }
}

fn test(arguments: &Arguments<'_>, text: &str) -> Result<Command, ParseError> {
    let command = cmd::command(&Arguments { text, ..*arguments })?;
    if command == Command::Exec(Vec::new()) {
        return Err(arguments.error("CMD has no command"));
    }
    Ok(command)
}

impl Flags {
    fn check(self, command: Command) -> Healthcheck {
        let [interval, timeout, start_period, start_interval, retries] = self.0;
        Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed;
    use super::*;

    fn check(command: Command, numbers: [i64; 5]) -> Result<Metadata, String> {
        Ok(Metadata::Healthcheck(Flags(numbers).check(command)))
    }

    #[test]
    fn forms() {
        let shell = |text: &str| Command::Shell(text.into());
        assert_eq!(changed("HEALTHCHECK NONE"), Ok(Metadata::Healthcheck(Healthcheck::None)));
        assert_eq!(changed("healthcheck cmd a b"), check(shell("a b"), [0; 5]));
        assert_eq!(changed(r#"HEALTHCHECK CMD ["a","b"]"#), check(Command::Exec(vec!["a".into(), "b".into()]), [0; 5]));
        assert_eq!(
            changed("HEALTHCHECK --interval=5s --timeout=1m  --start-period=2s --start-interval=1500us --retries=4 CMD a"),
            check(shell("a"), [5_000_000_000, 60_000_000_000, 2_000_000_000, 1_500_000, 4])
        );
        assert_eq!(changed("HEALTHCHECK --interval= --retries= CMD a"), check(shell("a"), [0; 5]));
        assert_eq!(changed("HEALTHCHECK --timeout=1ms --retries=+2 CMD a"), check(shell("a"), [0, 1_000_000, 0, 0, 2]));
        let zeros = "--interval=0 --timeout=0s --start-period=0s --start-interval=-0h0m --retries=0";
        assert_eq!(changed(&format!("HEALTHCHECK {zeros} CMD a")), check(shell("a"), [0; 5]));
    }

    #[test]
    fn errors() {
        let cases = [
            ("", "requires at least one argument"),
            ("foo", "has an unknown type \"FOO\" (try CMD)"),
            ("NONE x", "NONE takes no arguments"),
            ("CMD", "CMD has no command"),
            ("CMD []", "CMD has no command"),
            ("--interval=x CMD a", "--interval: invalid duration \"x\""),
            ("--interval CMD a", "--interval needs a value: --interval=…"),
            ("--retries=1 --retries=2 CMD a", "--retries is given more than once"),
            ("--interval=-1s CMD a", "Interval \"interval\" must not be negative"),
            ("--start-period=-1ns CMD a", "Interval \"start-period\" must not be negative"),
            ("--start-interval=1ns CMD a", "Interval \"start-interval\" cannot be less than 1ms"),
            ("--timeout=999us CMD a", "Interval \"timeout\" cannot be less than 1ms"),
            ("--interval=5 CMD a", "--interval: missing unit in duration \"5\""),
            ("--retries=2147483648 CMD a", "--retries must be a number, and not negative (not 2147483648)"),
            ("--retries=x CMD a", "--retries must be a number, and not negative (not x)"),
            ("--retries=-1 CMD a", "--retries must be a number, and not negative (not -1)"),
            ("--foo=1 CMD a", "has an unknown flag: --foo"),
            ("--retries=1", "requires at least one argument"),
        ];
        for (text, problem) in cases {
            assert_eq!(changed(&format!("HEALTHCHECK {text}")), Err(format!("HEALTHCHECK {problem}")), "{text:?}");
        }
    }
}
