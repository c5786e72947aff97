//! Every key of containers.conf (`man/containers-conf.tsv`, from the newest containers.conf(5)) against our reader: the keys that the
//! table calls read change the settings, the others do not.
//!
//! `man/coracle-settings.7` shows the table. After a change to it run `CORACLE_BLESS=1 cargo test --test settings_table` and commit the
//! page. What it says of build is kept by hand: each key and each variable that the program reads must be there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use coracle::conf::{ContainersConf, Environment};

const TABLE: &str = include_str!("../man/containers-conf.tsv");

/// The lines of the page between which this test writes.
const BEGIN: &str = ".\\\" Made by tests/settings_table.rs from here";
const END: &str = ".\\\" to here.";

struct Row {
    table: &'static str,
    key: &'static str,
    /// What its value is; `None` where it is not read.
    kind: Option<&'static str>,
    effect: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| match line.split('\t').collect::<Vec<_>>()[..] {
        [table, key, kind, effect] => Row { table, key, kind: (kind != "-").then_some(kind), effect },
        _ => panic!("no row of four cells: {line:?}"),
    };
    lines.map(row).collect()
}

/// What is read from a file with this line in this table.
fn read(table: &str, line: &str) -> Result<ContainersConf, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("containers.conf");
    fs::write(&file, format!("[{table}]\n{line}\n")).expect("a settings file");
    let variable = |name: &str| (name == "CONTAINERS_CONF").then(|| file.clone().into_os_string());
    ContainersConf::load(&Environment::from_process(&variable, false, 0)).map_err(|error| error.to_string())
}

#[test]
fn the_keys_that_are_read_are_those_that_the_table_says() {
    for Row { table, key, kind, .. } in rows() {
        let value = match kind {
            Some("flag") => "true",
            Some("number") => "7",
            Some("list") => "[\"x=1\"]",
            Some("table") => "{ x = [\"/x\"] }",
            Some("text") | None => "\"x\"",
            Some(other) => panic!("{table}.{key}: unknown kind {other:?}"),
        };
        let settings = read(table, &format!("{key} = {value}")).unwrap_or_else(|error| panic!("{table}.{key}: {error}"));
        assert_eq!(settings != ContainersConf::default(), kind.is_some(), "{table}.{key}");
        // What is read is checked, and what is not read is none of our business.
        assert_eq!(read(table, &format!("{key} = 1979-05-27")).is_err(), kind.is_some(), "{table}.{key} is a date");
    }
}

#[test]
fn a_key_has_an_effect_or_a_reason_why_it_has_none() {
    for Row { table, key, kind, effect } in rows() {
        let none = effect.starts_with("none: ") || effect.starts_with("none, in Buildah too");
        assert_eq!(none, kind.is_none(), "{table}.{key}: {effect}");
    }
}

fn page_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man/coracle-settings.7")
}

fn list() -> String {
    let mut text = String::new();
    let mut last = "";
    for Row { table, key, effect, .. } in rows() {
        if table != last {
            // Writing to a String cannot fail.
            let _ = writeln!(text, ".SS [{table}]");
            last = table;
        }
        let _ = writeln!(text, ".TP\n\\fB{key}\\fR\n{}", effect.replace('-', "\\-"));
    }
    text
}

#[test]
fn the_page_shows_the_table() {
    let page = fs::read_to_string(page_path()).expect("the page");
    let (head, rest) = page.split_once(&format!("{BEGIN}\n")).expect("where the list begins");
    let (shown, tail) = rest.split_once(END).expect("where the list ends");
    if std::env::var_os("CORACLE_BLESS").is_some() {
        fs::write(page_path(), format!("{head}{BEGIN}\n{}{END}{tail}", list())).expect("the page");
        return;
    }
    assert_eq!(shown, list(), "CORACLE_BLESS=1 cargo test --test settings_table writes the page anew");
}

/// The part of the page about build, with words that stand apart.
fn about_build() -> BTreeSet<String> {
    let page = fs::read_to_string(page_path()).expect("the page");
    let (_, rest) = page.split_once("\n.SH BUILD\n").expect("where it begins");
    let (part, _) = rest.split_once("\n.SH ").expect("where it ends");
    let plain = part.replace("\\fB", " ").replace("\\fI", " ").replace("\\fR", " ");
    plain.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').map(str::to_owned).collect()
}

#[test]
fn of_each_key_that_is_read_the_page_says_what_it_is_for_a_build() {
    let shown = about_build();
    // A build makes no variants of an image.
    let read = rows().into_iter().filter(|row| row.kind.is_some() && row.key != "add_compression");
    let missing: Vec<&str> = read.map(|row| row.key).filter(|key| !shown.contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What asks for a variable of the environment, before its name in quotes.
const ASKING: [&str; 7] = [".engine(", ".engine_switch(", ".text(", ".get(", "path(", "variable(", "std::env::var_os("];

/// The variables that this source asks for.
fn asked_for(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for asking in ASKING {
        for (at, _) in code.match_indices(asking) {
            let Some(rest) = code[at + asking.len()..].strip_prefix('"') else { continue };
            let name = rest.split('"').next().unwrap_or_default();
            let is_variable = name.len() > 2 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            let engine = asking.starts_with(".engine");
            found.extend(is_variable.then(|| if engine { format!("BUILDAH_{name}") } else { name.to_owned() }));
        }
    }
    found
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        match entry.path() {
            path if path.is_dir() => sources(&path, found),
            path if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            _ => {}
        }
    }
}

#[test]
fn of_each_variable_that_is_read_the_page_says_what_it_is_for_a_build() {
    assert_eq!(asked_for("x.engine(\"A_B\"); path(\"CDE\") #[cfg(test)] path(\"F_G\")"), ["BUILDAH_A_B", "CDE"]);
    // SHELL is what unshare runs; what begins with an underline is between processes; SUDO_USER is whose home is never relabelled.
    let elsewhere = |name: &String| ["SHELL", "SUDO_USER"].contains(&name.as_str()) || name.starts_with('_');
    let shown = about_build();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("containers-storage/src"), &mut files);
    let mut count = 0;
    for file in files {
        let source = fs::read_to_string(&file).expect("a source");
        for name in asked_for(&source).into_iter().filter(|name| !elsewhere(name)) {
            count += 1;
            assert!(shown.contains(&name), "{name}, which {} asks for", file.display());
        }
    }
    assert!(count > 20, "only {count} found: do all ask in another way?");
}
