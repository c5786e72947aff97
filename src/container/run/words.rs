//! Words that `from` and `run` have in common: host entries, sizes, host names. Pure.

use std::net::IpAddr;

/// `--add-host NAME:ADDRESS`; an IPv6 address has colons of its own.
pub fn parse_host(word: &str) -> Result<(String, IpAddr), String> {
    let (name, address) =
        word.split_once(':').ok_or_else(|| format!("unable to parse host entry {word:?}: want NAME:ADDRESS"))?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    match address.parse() {
        Ok(address) if !name.is_empty() && !name.contains(char::is_whitespace) => Ok((name.to_owned(), address)),
        _ => Err(format!("invalid IP address or host name in --add-host {word:?}")),
    }
}

/// `--shm-size`: a number of bytes with one of the units b, k, m, g, t (powers of 1024).
pub fn parse_size(word: &str) -> Result<u64, String> {
    let bad = || format!("invalid size: {word:?}");
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match word[digits.len()..].to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(bad()),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).ok_or_else(bad)
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
        assert_eq!(parse_host("db:10.0.0.1").unwrap(), ("db".to_owned(), "10.0.0.1".parse().unwrap()));
        assert_eq!(parse_host("db:::1").unwrap(), ("db".to_owned(), "::1".parse().unwrap()));
        assert_eq!(parse_host("db:[fe80::1]").unwrap(), ("db".to_owned(), "fe80::1".parse().unwrap()));
        for word in ["db", ":10.0.0.1", "db:", "db:x", "a b:10.0.0.1"] {
            assert!(parse_host(word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (word, want) in [("65536k", 64 << 20), ("1m", 1 << 20), ("2GiB", 2 << 30), ("7", 7), ("8b", 8)] {
            assert_eq!(parse_size(word).unwrap(), want, "{word}");
        }
        for word in ["", "k", "1x", "-1", "1.5m", "99999999999t"] {
            assert!(parse_size(word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn a_name_becomes_one_label() {
        assert_eq!(host_label("my_app.1-working-container"), "my-app-1-working-container");
        assert_eq!(host_label("--"), "");
    }
}
