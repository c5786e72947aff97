//! Man pages against the program, in both directions: every verb and every visible flag has its place in `man/`, and the pages name
//! nothing that does not exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use coracle::commands::{VERBS, whole_parser};
use coracle::dockerfile::Keyword;

/// What lies in `man/` and belongs to no single verb.
const OTHERS: [&str; 7] = [
    "coracle.1",
    "coracle-buildah.7",
    "coracle-dockerfile.5",
    "coracle-format.7",
    "coracle-settings.7",
    "buildah-flags.tsv",
    "containers-conf.tsv",
];

fn man_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// The name of a verb's page: `coracle-manifest-add.1`.
fn page_of(verb: &str) -> String {
    format!("coracle-{}.1", verb.replace(' ', "-"))
}

fn page(name: &str) -> String {
    let path = man_dir().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of one section of a page.
fn section<'p>(page: &'p str, name: &str) -> Option<Vec<&'p str>> {
    let heading = format!(".SH {name}");
    let mut lines = page.lines().skip_while(|line| *line != heading);
    lines.next()?;
    Some(lines.take_while(|line| !line.starts_with(".SH ")).collect())
}

/// The flags that a page describes: the words of the tag lines (`.TP`) of its OPTIONS that begin with a dash.
fn described(page: &str) -> BTreeSet<String> {
    let lines = section(page, "OPTIONS").unwrap_or_default();
    let tags = lines.windows(2).filter(|pair| pair[0] == ".TP").map(|pair| pair[1]);
    let plain = |tag: &str| tag.replace("\\fB", "").replace("\\fR", "").replace("\\fI", "").replace("\\-", "-");
    let words = tags.flat_map(|tag| plain(tag).split([' ', ',', '=', '[']).map(str::to_owned).collect::<Vec<_>>());
    words.filter(|word| word.starts_with('-')).collect()
}

/// The flags of a parser that its help shows.
fn visible(parser: &Command) -> BTreeSet<String> {
    let flags = parser.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    flags
        .flat_map(|flag| {
            let long = flag.get_long().map(|long| format!("--{long}"));
            long.into_iter().chain(flag.get_short().map(|short| format!("-{short}")))
        })
        .filter(|flag| {
            !["--help", "-h", "--version", "-v"].contains(&flag.as_str()) || flag == "-v" && parser.get_name() != "coracle"
        })
        .collect()
}

#[test]
fn the_flags_of_every_verb_and_its_page_are_the_same() {
    let mut wrong = Vec::new();
    for verb in VERBS {
        let (page, parser) = (described(&page(&page_of(verb.name))), visible(&verb.parser()));
        for flag in parser.difference(&page) {
            wrong.push(format!("{} lacks {flag}", page_of(verb.name)));
        }
        for flag in page.difference(&parser) {
            wrong.push(format!("{} describes {flag}, which does not exist", page_of(verb.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_global_flags_and_the_main_page_are_the_same() {
    let mut page = described(&page("coracle.1"));
    for flag in ["-h", "--help", "-v", "--version"] {
        assert!(page.remove(flag), "coracle.1 lacks {flag}");
    }
    assert_eq!(page, visible(&whole_parser()));
}

#[test]
fn the_main_page_lists_the_verbs() {
    let page = page("coracle.1");
    let lines = section(&page, "VERBS").expect("the section VERBS");
    let listed = lines.iter().filter_map(|line| line.strip_prefix("\\fBcoracle\\-")?.strip_suffix("\\fR(1)"));
    let listed: BTreeSet<String> = listed.map(|name| name.replace("\\-", " ")).collect();
    assert_eq!(listed, VERBS.iter().map(|verb| verb.name.to_owned()).collect());
}

#[test]
fn every_page_belongs_to_a_verb() {
    let names =
        fs::read_dir(man_dir()).expect("man/").map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let known: BTreeSet<String> = VERBS.iter().map(|verb| page_of(verb.name)).chain(OTHERS.map(str::to_owned)).collect();
    assert_eq!(names.collect::<BTreeSet<String>>(), known);
}

#[test]
fn the_page_of_the_language_has_every_instruction_and_flag() {
    let page = page("coracle-dockerfile.5");
    let mut missing = Vec::new();
    for keyword in Keyword::ALL {
        if !page.lines().any(|line| line.starts_with(&format!("\\fB{keyword}")) || line.contains(&format!(", \\fB{keyword}"))) {
            missing.push(keyword.to_string());
        }
        let flags = keyword.flags().iter().map(|flag| format!("\\-\\-{}", flag.replace('-', "\\-")));
        missing.extend(flags.filter(|flag| !page.contains(flag)).map(|flag| format!("{keyword} {flag}")));
    }
    assert!(missing.is_empty(), "coracle-dockerfile.5 lacks {missing:?}");
}

/// The variables of the environment that a file of the program names where it reads one, but for those that tools of the family hand to
/// their own children (`_CONTAINERS_…`).
fn variables_of(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut names = BTreeSet::new();
    for call in ["text", "get", "var", "var_os", "variable", "path", "engine", "engine_switch"] {
        for (at, _) in code.match_indices(&format!("{call}(\"")) {
            let is_whole = !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            let name = code[at + call.len() + 2..].split('"').next().unwrap_or_default();
            let is_variable = name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            if is_whole && is_variable && !name.starts_with('_') {
                names.insert(if call.starts_with("engine") { format!("BUILDAH_{name}") } else { name.to_owned() });
            }
        }
    }
    names
}

fn sources_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of sources").flatten() {
        let path = entry.path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("tests" | "tests.rs") => {}
            _ if path.is_dir() => sources_below(&path, found),
            _ => found.push(path),
        }
    }
}

#[test]
fn the_main_page_lists_every_variable_that_the_program_reads() {
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for dir in ["src", "containers-storage/src"] {
        sources_below(&top.join(dir), &mut files);
    }
    let mut read: BTreeSet<String> =
        files.iter().flat_map(|path| variables_of(&fs::read_to_string(path).unwrap_or_default())).collect();
    for known in ["BUILDAH_LAYERS", "BUILDAH_NOPIVOT", "BUILDAH_CPPFLAGS", "REGISTRY_AUTH_FILE", "TMPDIR", "STORAGE_OPTS"] {
        assert!(read.contains(known), "the sources are not understood: {known} is not found");
    }
    read.extend(["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY"].map(str::to_owned));
    let page = page("coracle.1");
    let lines = section(&page, "ENVIRONMENT").expect("the section");
    let tags = lines.windows(2).filter(|pair| pair[0] == ".TP").map(|pair| pair[1].replace("\\fB", "").replace("\\fR", ""));
    let listed: BTreeSet<String> = tags.flat_map(|tag| tag.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect();
    let missing: Vec<_> = read.difference(&listed).collect();
    assert!(missing.is_empty(), "read by the program and not in coracle(1), ENVIRONMENT: {missing:?}");
    let stale: Vec<_> = listed.difference(&read).filter(|name| *name != "NO_COLOR").collect();
    assert!(stale.is_empty(), "in coracle(1), ENVIRONMENT, and read by nobody: {stale:?}");
}

#[test]
fn every_page_has_its_sections() {
    for verb in VERBS {
        let page = page(&page_of(verb.name));
        for name in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"] {
            let lines = section(&page, name).unwrap_or_else(|| panic!("{} has no section {name}", page_of(verb.name)));
            assert!(!lines.is_empty(), "section {name} of {} is empty", page_of(verb.name));
        }
        let synopsis = section(&page, "SYNOPSIS").unwrap_or_default().join(" ").replace("\\-", "-");
        for alias in verb.aliases {
            assert!(synopsis.contains(&format!("coracle {alias}")), "{} lacks the alias {alias}", page_of(verb.name));
        }
    }
}

#[test]
fn pages_refer_to_pages_that_exist() {
    let known: BTreeSet<String> = VERBS.iter().map(|verb| verb.name.replace(' ', "-")).collect();
    for verb in VERBS {
        let page = page(&page_of(verb.name));
        for (name, rest) in page.split("\\fBcoracle\\-").skip(1).filter_map(|rest| rest.split_once("\\fR(")) {
            let name = name.replace("\\-", "-");
            let known = known.contains(&name) || OTHERS.contains(&format!("coracle-{name}.{}", &rest[..1]).as_str());
            assert!(known, "{} refers to coracle-{name}({})", page_of(verb.name), &rest[..1]);
        }
    }
}
