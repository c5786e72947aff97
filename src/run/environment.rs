//! The environment of the process: composed from named sources, never inherited.
//!
//! Invariant: a value of the caller's environment enters only under a name that the caller's own flags or `http_proxy` ask for;
//! an entry of an image without `=` is dropped, never looked up (CVE-2026-57231).

/// The `PATH` of a container whose image sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The names that `http_proxy = true` passes on when the caller has them set, in both cases.
pub const PROXY_NAMES: &[&str] =
    &["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY"];

/// Joins the sources, later ones override earlier ones: `proxy` variables, the default `PATH`, the image's `config` entries, the
/// caller's `extra` (`--env`, already `NAME=value`). An entry that is not `NAME=value` with a name is dropped.
pub fn compose(proxy: &[(String, String)], config: &[String], extra: &[String]) -> Vec<String> {
    let mut env: Vec<(String, String)> = Vec::new();
    let path = [("PATH".to_string(), DEFAULT_PATH.to_string())];
    let entries = config.iter().chain(extra).filter_map(|entry| entry.split_once('='));
    let entries = entries.map(|(name, value)| (name.to_string(), value.to_string()));
    for (name, value) in proxy.iter().cloned().chain(path).chain(entries) {
        if name.is_empty() || name.contains('\0') || value.contains('\0') {
            continue;
        }
        match env.iter_mut().find(|(known, _)| *known == name) {
            Some(found) => found.1 = value,
            None => env.push((name, value)),
        }
    }
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_string()).collect()
    }

    #[test]
    fn later_sources_win_and_keep_the_place_of_the_first() {
        let env =
            compose(&[("no_proxy".into(), "a".into())], &strings(&["PATH=/x", "A=1", "no_proxy=b"]), &strings(&["A=2", "B="]));
        assert_eq!(env, ["no_proxy=b", "PATH=/x", "A=2", "B="]);
    }

    #[test]
    fn entries_without_a_name_or_a_value_are_inert() {
        let env = compose(&[], &strings(&["TOKEN", "AWS_*", "=x", "", "N=a\0b"]), &[]);
        assert_eq!(env, [format!("PATH={DEFAULT_PATH}")]);
    }
}
