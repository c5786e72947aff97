//! The shape of the source: imports point down one ladder, `unsafe` stays behind one fence, one module prints.
//!
//! The ladder is that of the crate's documentation. A module may import what stands on a lower rung, never what stands on its own
//! rung or above.

use std::fs;
use std::path::{Path, PathBuf};

/// The rungs, lowest first. Every module of `src/lib.rs` stands on exactly one.
const LADDER: &[&[&str]] = &[
    &["sys", "golang", "spelling"],
    &["dockerfile", "image", "conf", "http", "template", "userns"],
    &["run", "copier", "transport"],
    &["container"],
    &["build"],
    &["commands"],
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `dir`, with its text.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("a source directory") {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 5, "{dir:?} has hardly any source");
    found
}

/// The lines of a file that are no comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(at, line)| (at + 1, line))
}

fn rung(module: &str) -> Option<usize> {
    LADDER.iter().position(|rung| rung.contains(&module))
}

/// The modules of our own crate that a line names: `crate::X`, and `X` and `Y` of `crate::{X::…, Y::…}`.
fn imported(line: &str) -> Vec<&str> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(rest.split(|letter| !is_word(letter)).next().unwrap_or_default()),
            Some(list) => {
                let mut depth = 0;
                for part in list.split(',') {
                    if depth == 0 {
                        found.push(part.trim().split(|letter| !is_word(letter)).next().unwrap_or_default());
                    }
                    depth += part.matches('{').count() as i32 - part.matches('}').count() as i32;
                }
            }
        }
    }
    found
}

#[test]
fn the_words_of_an_import_are_found() {
    assert_eq!(imported("use crate::image::Change;"), ["image"]);
    assert_eq!(imported("use crate::{run, conf::X};"), ["run", "conf"]);
    assert_eq!(imported("use crate::{conf::{A, B}, sys};"), ["conf", "sys"]);
    assert_eq!(imported("    let x = crate::container::list::list();"), ["container"]);
    assert_eq!(imported("pub(crate) fn x()"), Vec::<&str>::new());
}

#[test]
fn every_module_stands_on_the_ladder() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let modules = code(&lib).filter_map(|(_, line)| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    let unknown: Vec<&str> = modules.filter(|module| rung(module).is_none()).collect();
    assert!(unknown.is_empty(), "give these modules a rung in LADDER: {unknown:?}");
}

#[test]
fn imports_point_down() {
    let src = root().join("src");
    let mut wrong = Vec::new();
    for (path, text) in sources(&src) {
        let below = path.strip_prefix(&src).expect("a path below src");
        let own = below.iter().next().expect("a component").to_string_lossy().trim_end_matches(".rs").to_owned();
        let Some(own_rung) = rung(&own) else { continue };
        for (number, line) in code(&text) {
            for module in imported(line) {
                if module != own && rung(module).is_some_and(|rung| rung >= own_rung) {
                    wrong.push(format!("{}:{number}: {own} uses {module}", below.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_sys_only() {
    let src = root().join("src");
    let starts = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code)"];
    let mut wrong = Vec::new();
    for (path, text) in sources(&src) {
        let below = path.strip_prefix(&src).expect("a path below src");
        // The fence itself is put up in lib.rs.
        if below.starts_with("sys") || below == Path::new("lib.rs") {
            continue;
        }
        let lines = code(&text).filter(|(_, line)| starts.iter().any(|start| line.contains(start)));
        wrong.extend(lines.map(|(number, _)| format!("{}:{number}", below.display())));
    }
    assert!(wrong.is_empty(), "unsafe outside of src/sys: {wrong:?}");
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    assert!(lib.contains("#![deny(unsafe_code)]"), "the compiler must hold the fence as well");
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&root().join("src")).into_iter().filter(|(path, _)| path.starts_with(root().join("src/sys"))) {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_block = line.contains("unsafe {") && !line.trim_start().starts_with("//");
            let explained = lines[at.saturating_sub(8)..at].iter().any(|line| line.contains("SAFETY:"));
            if is_block && !explained {
                wrong.push(format!("{}:{}", path.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "no SAFETY comment: {wrong:?}");
}

#[test]
fn the_store_knows_nothing_of_us() {
    let crate_dir = root().join("containers-storage");
    let manifest = fs::read_to_string(crate_dir.join("Cargo.toml")).expect("its Cargo.toml");
    assert!(!manifest.contains("coracle"), "containers-storage must not depend on the program");
    let lib = fs::read_to_string(crate_dir.join("src/lib.rs")).expect("its lib.rs");
    assert!(lib.contains("#![forbid(unsafe_code)]"));
    let prints = ["println!(", "print!(", "eprintln!(", "eprint!(", "coracle::"];
    let mut wrong = Vec::new();
    for (path, text) in sources(&crate_dir.join("src")) {
        let lines = code(&text).filter(|(_, line)| prints.iter().any(|print| line.contains(print)));
        wrong.extend(lines.map(|(number, _)| format!("{}:{number}", path.display())));
    }
    assert!(wrong.is_empty(), "the store prints, or uses the program: {wrong:?}");
}

#[test]
fn one_module_prints() {
    let src = root().join("src");
    let prints = ["println!(", "print!(", "eprintln!(", "eprint!("];
    let mut wrong = Vec::new();
    for (path, text) in sources(&src) {
        let lines = code(&text).filter(|(_, line)| prints.iter().any(|print| line.contains(print)));
        wrong.extend(lines.map(|(number, _)| format!("{}:{number}", path.display())));
    }
    assert!(wrong.is_empty(), "everything printed goes through commands::Ui: {wrong:?}");
}

#[test]
fn every_file_says_what_it_owns() {
    let mut wrong = Vec::new();
    for dir in ["src", "containers-storage/src"] {
        let files = sources(&root().join(dir)).into_iter();
        wrong.extend(files.filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path));
    }
    assert!(wrong.is_empty(), "files without a //! opening: {wrong:?}");
}

#[test]
fn nothing_is_left_to_be_written() {
    let marks = ["todo!(", "unimplemented!(", "TODO", "FIXME", "To be written."];
    let mut wrong = Vec::new();
    for dir in ["src", "containers-storage/src"] {
        for (path, text) in sources(&root().join(dir)) {
            let lines = text.lines().enumerate().filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
            wrong.extend(lines.map(|(at, _)| format!("{}:{}", path.display(), at + 1)));
        }
    }
    assert!(wrong.is_empty(), "left to be written: {wrong:?}");
}
