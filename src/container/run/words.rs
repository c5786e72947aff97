//! Words that `from` and `run` have in common: host entries, sizes, host names. Pure.

use crate::run::etc_files::HostEntry;

/// `--add-host NAME[;NAME…]:ADDRESS`; an IPv6 address has colons of its own, and `host-gateway` stands for the host's.
pub fn parse_host(word: &str) -> Result<HostEntry, String> {
    let invalid = |why: String| format!("invalid value for add-host: {why}");
    let (names, address) = word.split_once(':').ok_or_else(|| invalid(format!("bad format for add-host: {word:?}")))?;
    let names: Vec<String> = names.split(';').map(str::to_owned).collect();
    if names.iter().any(|name| name.is_empty() || name.contains(char::is_whitespace)) {
        return Err(invalid(format!("host name in add-host is empty or has a blank: {word:?}")));
    }
    if address == "host-gateway" {
        return Ok(HostEntry { names, address: None });
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    match bare.parse() {
        Ok(address) => Ok(HostEntry { names, address: Some(address) }),
        Err(_) => Err(invalid(format!("invalid IP address in add-host: {address:?}"))),
    }
}

/// `--shm-size`: a number of bytes, perhaps with a fraction, with one of the units b, k, m, g, t (powers of 1024).
pub fn parse_size(word: &str) -> Result<u64, String> {
    let bad = || format!("invalid size: '{word}'");
    let number = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = word.get(number.len()..).unwrap_or_default().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(bad()),
    };
    let (whole, fraction) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(bad());
    }
    let bytes = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(1 << shift)).ok_or_else(bad)?;
    let part = fraction.parse::<u128>().unwrap_or(0) * (1 << shift) / 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    bytes.checked_add(u64::try_from(part).map_err(|_| bad())?).ok_or_else(bad)
}

/// A container's name as one label of a host name: other letters become dashes, at most 63 (RFC 1123).
pub(super) fn host_label(name: &str) -> String {
    let label: String = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).take(63).collect();
    label.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_split_at_the_first_colon() {
        let entry = |names: &[&str], address: &str| HostEntry {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            address: address.parse().ok(),
        };
        assert_eq!(parse_host("db:10.0.0.1").unwrap(), entry(&["db"], "10.0.0.1"));
        assert_eq!(parse_host("db:::1").unwrap(), entry(&["db"], "::1"));
        assert_eq!(parse_host("a;b:[fe80::1]").unwrap(), entry(&["a", "b"], "fe80::1"));
        assert_eq!(parse_host("db:host-gateway").unwrap(), entry(&["db"], ""));
        for word in ["db", ":10.0.0.1", "db:", "db:x", "a b:10.0.0.1", "a;:10.0.0.1", "db:[::1"] {
            assert!(parse_host(word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (word, want) in
            [("65536k", 64 << 20), ("1m", 1 << 20), ("2GiB", 2 << 30), ("7", 7), ("8b", 8), ("1.5m", 3 << 19), ("0", 0)]
        {
            assert_eq!(parse_size(word).unwrap(), want, "{word}");
        }
        for word in ["", "k", "1x", "-1", "1.x", ".5m", "1.5.5", "99999999999t"] {
            assert!(parse_size(word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn a_name_becomes_one_label() {
        assert_eq!(host_label("my_app.1-working-container"), "my-app-1-working-container");
        assert_eq!(host_label("--"), "");
    }
}
