//! `$NAME` and `${NAME}` in values, as Go's `os.Expand` replaces them (`config --env`).

/// Replaces the variables in `template`. A name that `lookup` does not know stays as the bare name and is added to `unknown`.
pub(super) fn expand<'a>(template: &str, lookup: &dyn Fn(&str) -> Option<&'a str>, unknown: &mut Vec<String>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, length) = name_at(after);
        rest = after.get(length..).unwrap_or_default();
        match (name, length) {
            ("", 0) => out.push('$'),
            // Malformed braces vanish.
            ("", _) => {}
            (name, _) => match lookup(name) {
                Some(value) => out.push_str(value),
                None => {
                    unknown.push(name.to_owned());
                    out.push_str(name);
                }
            },
        }
    }
    out.push_str(rest);
    out
}

/// The variable's name right after a `$`, and how many bytes it takes there.
fn name_at(text: &str) -> (&str, usize) {
    let special =
        |byte: Option<&u8>| byte.is_some_and(|b| matches!(b, b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9'));
    let bytes = text.as_bytes();
    if bytes.first() == Some(&b'{') {
        return match text.find('}') {
            Some(1) => ("", 2),
            Some(end) => (&text[1..end], end + 1),
            None => ("", 1),
        };
    }
    if special(bytes.first()) {
        return (&text[..1], 1);
    }
    let length = bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    (&text[..length], length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_go_does() {
        let cases = [
            ("plain", "plain", &[][..]),
            ("$A", "1", &[]),
            ("${A}x$A/y", "1x1/y", &[]),
            ("$AB", "AB", &["AB"]),
            ("100$", "100$", &[]),
            ("$ x", "$ x", &[]),
            ("${}x", "x", &[]),
            ("${A", "A", &[]),
            ("$$", "$", &["$"]),
            ("${A-x}", "A-x", &["A-x"]),
            ("é$Aé", "é1é", &[]),
            ("$é", "$é", &[]),
        ];
        for (template, text, missing) in cases {
            let mut unknown = Vec::new();
            assert_eq!(expand(template, &|name| (name == "A").then_some("1"), &mut unknown), text, "{template:?}");
            assert_eq!(unknown, missing, "{template:?}");
        }
    }
}
