//! One record of CSV: how pflag's `StringSlice` splits the value of a flag (RFC 4180, as strict as Go's `encoding/csv`).

/// The fields of one record; none for an empty text.
pub(super) fn record(text: &str) -> Result<Vec<String>, &'static str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return Err("parse error: bare \" in non-quoted-field");
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match tail.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// A field after its opening quote, and what follows its closing one.
fn quoted_field(text: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(at) = rest.find('"') else { return Err("parse error: extraneous or missing \" in quoted-field") };
        field.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(more) = rest.strip_prefix('"') {
            field.push('"');
            rest = more;
        } else if rest.is_empty() || rest.starts_with(',') {
            return Ok((field, rest));
        } else {
            return Err("parse error: extraneous or missing \" in quoted-field");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_values_are_records_of_csv() {
        let cases: [(&str, Option<&[&str]>); 11] = [
            ("", Some(&[])),
            ("a", Some(&["a"])),
            ("a,b", Some(&["a", "b"])),
            (",", Some(&["", ""])),
            ("a, b", Some(&["a", " b"])),
            ("\"a,b\",c", Some(&["a,b", "c"])),
            ("\"a\"\"b\"", Some(&["a\"b"])),
            ("k=\"v\"", None),
            ("\"a", None),
            ("\"a\"b", None),
            ("a\\,b", Some(&["a\\", "b"])),
        ];
        for (text, want) in cases {
            let want = want.map(|want| want.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>());
            assert_eq!(record(text).ok(), want, "{text:?}");
        }
    }
}
