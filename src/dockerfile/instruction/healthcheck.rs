//! `HEALTHCHECK [--interval= --timeout= --start-period= --start-interval= --retries=] CMD command`, `HEALTHCHECK NONE`

use super::{Arguments, Command, Healthcheck, Instruction, ParseError, cmd, cut};
use crate::golang::duration::parse_duration;

/// The values of the flags, in the order of [`FLAGS`].
#[derive(Default)]
struct Flags([i64; 5]);

const FLAGS: [&str; 5] = ["interval", "timeout", "start-period", "start-interval", "retries"];
const RETRIES: usize = 4;

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Instruction, ParseError> {
    let mut rest = arguments.some()?;
    let mut flags = Flags::default();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        flags.set(arguments, flag)?;
        rest = after.trim_start();
    }
    let (kind, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let text = text.trim_start();
    let check = match kind.to_ascii_uppercase().as_str() {
        "NONE" if text.is_empty() => Healthcheck::None,
        "NONE" => return Err(arguments.error("NONE takes no arguments")),
        "CMD" => flags.check(test(arguments, text)?),
        "" => return Err(arguments.error("requires at least one argument")),
        other => return Err(arguments.error(format!("has an unknown type {:?} (try CMD)", cut(other)))),
    };
    Ok(Instruction::Healthcheck(check))
}

fn test(arguments: &Arguments<'_>, text: &str) -> Result<Command, ParseError> {
    let command = cmd::command(&Arguments { text, ..*arguments })?;
    if command == Command::Exec(Vec::new()) {
        return Err(arguments.error("CMD has no command"));
    }
    Ok(command)
}

impl Flags {
    /// Reads `name=value`.
    fn set(&mut self, arguments: &Arguments<'_>, flag: &str) -> Result<(), ParseError> {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let place = FLAGS.iter().position(|known| *known == name);
        let place = place.ok_or_else(|| arguments.error(format!("has an unknown flag: --{}", cut(name).escape_debug())))?;
        self.0[place] = if place == RETRIES {
            let retries = value.parse().ok().filter(|retries: &i64| *retries >= 1 && !value.starts_with('+'));
            retries
                .ok_or_else(|| arguments.error(format!("--retries must be at least 1 (not {})", cut(value).escape_debug())))?
        } else {
            let duration =
                parse_duration(value).map_err(|error| arguments.error(format!("--{name}: {error} {:?}", cut(value))))?;
            if duration < 0 {
                return Err(arguments.error(format!("--{name}: {:?} is negative", cut(value))));
            }
            duration
        };
        Ok(())
    }

    fn check(self, command: Command) -> Healthcheck {
        let [interval, timeout, start_period, start_interval, retries] = self.0;
        Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    fn check(command: Command, numbers: [i64; 5]) -> Result<Instruction, String> {
        Ok(Instruction::Healthcheck(Flags(numbers).check(command)))
    }

    #[test]
    fn forms() {
        let shell = |text: &str| Command::Shell(text.into());
        assert_eq!(parsed("HEALTHCHECK NONE"), Ok(Instruction::Healthcheck(Healthcheck::None)));
        assert_eq!(parsed("healthcheck cmd a b"), check(shell("a b"), [0; 5]));
        assert_eq!(parsed(r#"HEALTHCHECK CMD ["a","b"]"#), check(Command::Exec(vec!["a".into(), "b".into()]), [0; 5]));
        assert_eq!(
            parsed("HEALTHCHECK --interval=5s --timeout=1m  --start-period=2s --start-interval=500us --retries=4 CMD a"),
            check(shell("a"), [5_000_000_000, 60_000_000_000, 2_000_000_000, 500_000, 4])
        );
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
            ("--interval CMD a", "--interval: invalid duration \"\""),
            ("--interval=-1s CMD a", "--interval: \"-1s\" is negative"),
            ("--retries=0 CMD a", "--retries must be at least 1 (not 0)"),
            ("--retries=-1 CMD a", "--retries must be at least 1 (not -1)"),
            ("--foo=1 CMD a", "has an unknown flag: --foo"),
            ("--retries=1", "requires at least one argument"),
        ];
        for (text, problem) in cases {
            assert_eq!(parsed(&format!("HEALTHCHECK {text}")), Err(format!("HEALTHCHECK {problem}")), "{text:?}");
        }
    }
}
