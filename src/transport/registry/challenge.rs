//! `WWW-Authenticate` (RFC 9110, section 11.6.1): what a registry wants to see. Pure.

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user and a password.
    Basic,
    /// A token, to be had at `realm`.
    Bearer {
        /// The address of the token server.
        realm: String,
        /// For whom the token is.
        service: String,
        /// What the token must allow.
        scope: String,
    },
}

/// The challenge to answer: the first for a token, else the first for a password.
pub(super) fn choose<'h>(headers: impl Iterator<Item = &'h str>) -> Option<Challenge> {
    let all: Vec<Challenge> = headers.flat_map(parse).collect();
    let bearer = all.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(all.first()).cloned()
}

/// All challenges of one header that are understood.
fn parse(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=']).unwrap_or(rest.len());
        let scheme = rest[..end].to_ascii_lowercase();
        let (parameters, after) = parameters(&rest[end..]);
        let get = |name: &str| {
            let value = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            value.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        match scheme.as_str() {
            "basic" => found.push(Challenge::Basic),
            "bearer" => {
                found.push(Challenge::Bearer { realm: get("realm"), service: get("service"), scope: get("scope") });
            }
            _ => {}
        }
        let next = after.trim_start_matches([' ', ',']);
        if next.len() == rest.len() {
            break;
        }
        rest = next;
    }
    found
}

/// The parameters at the beginning of `text`, and what follows them: the next challenge.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start_matches([' ', ',']);
        let name_end = trimmed.find(['=', ' ', ',']).unwrap_or(trimmed.len());
        // A word without a value begins the next challenge.
        let Some(value) = trimmed[name_end..].strip_prefix('=').filter(|_| name_end > 0) else { return (found, rest) };
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = value.find([',', ' ']).unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        found.push((trimmed[..name_end].to_owned(), value));
        rest = after;
    }
}

/// The text up to the closing quotation mark, and what follows.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.into(), service: service.into(), scope: scope.into() })
    }

    #[test]
    fn challenges_are_read_in_every_form() {
        let cases = [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a:pull,push\"",
                bearer("https://a/t", "s", "repository:a:pull,push"),
            ),
            ("bearer realm=https://a/t , service=s", bearer("https://a/t", "s", "")),
            ("Basic realm=\"x\", Bearer realm=\"https://a/t\"", bearer("https://a/t", "", "")),
            ("Negotiate, Basic realm=\"a, b\"", Some(Challenge::Basic)),
            ("Bearer realm=\"a\\\"b\"", bearer("a\"b", "", "")),
            ("Bearer", bearer("", "", "")),
            ("Basic", Some(Challenge::Basic)),
            ("", None),
            ("Digest x=y", None),
            ("===,,,\"", None),
            ("Bearer realm=\"unclosed", bearer("unclosed", "", "")),
        ];
        for (header, want) in cases {
            assert_eq!(choose([header].into_iter()), want, "{header}");
        }
        assert_eq!(choose(["Basic realm=x", "Bearer realm=y"].into_iter()), bearer("y", "", ""));
    }
}
