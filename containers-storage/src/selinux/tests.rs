//! Contexts, words, levels; and a made-up policy on disk.

use std::cell::Cell;
use std::fs;

use super::*;

const PROCESS: &str = "system_u:system_r:container_t:s0";
const FILE: &str = "system_u:object_r:container_file_t:s0";

fn contexts() -> Contexts {
    Contexts { process: Context::parse(PROCESS).ok(), file: Context::parse(FILE).ok() }
}

fn chosen(words: &[&str]) -> Result<Labels, Error> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    LabelChoice::new(contexts(), &words)?.choose(&|_| false)
}

#[test]
fn a_context_has_three_parts_or_four() {
    for label in ["u:r:t", PROCESS, "u:r:t:s0-s0:c0.c1023", "u:r:t:s0:c1,c2"] {
        assert_eq!(Context::parse(label).unwrap().to_string(), label);
    }
    assert_eq!(Context::parse("u:r:t:s0:c1,c2").unwrap().level, "s0:c1,c2");
    for label in ["", "u", "u:r", "u:r:t\n", "u:r:t:s0 x", "u:r:t\"", "u:r:\0", "u:r:ü"] {
        assert!(Context::parse(label).is_err(), "{label:?}");
    }
}

#[test]
fn both_labels_get_one_level_of_two_categories() {
    for _ in 0..200 {
        let labels = chosen(&[]).unwrap();
        let level = labels.process.strip_prefix("system_u:system_r:container_t:s0:c").unwrap();
        let (low, high) = level.split_once(",c").unwrap();
        let (low, high): (u16, u16) = (low.parse().unwrap(), high.parse().unwrap());
        assert!(low < high && high < 1024, "{level}");
        assert_eq!(labels.mount, format!("system_u:object_r:container_file_t:s0:c{low},c{high}"));
    }
}

#[test]
fn a_level_that_another_container_has_is_not_given_again() {
    let choice = LabelChoice::new(contexts(), &[]).unwrap();
    let free = "s0:c17,c1001";
    assert!(choice.choose(&|level| level != free).unwrap().mount.ends_with(free), "the only one that is left");
    let asked = Cell::new(0);
    let full = choice.choose(&|_| {
        asked.set(asked.get() + 1);
        true
    });
    assert!(matches!(full, Err(Error::NoFreeLevel)));
    assert!(asked.get() >= 1023 * 1024 / 2 - 1);
}

#[test]
fn words_change_what_they_name() {
    let labels = |words: &[&str]| {
        let mut all = vec!["level:s0:c1,c2"];
        all.extend(words);
        let labels = chosen(&all).unwrap();
        (labels.process, labels.mount)
    };
    let pair = |process: &str, mount: &str| (process.to_owned(), mount.to_owned());
    let plain = pair("system_u:system_r:container_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2");
    assert_eq!(labels(&[]), plain);
    assert_eq!(labels(&["type:spc_t"]).0, "system_u:system_r:spc_t:s0:c1,c2");
    assert_eq!(labels(&["type:spc_t"]).1, plain.1);
    assert_eq!(labels(&["role:r"]), pair("system_u:r:container_t:s0:c1,c2", &plain.1));
    assert_eq!(labels(&["user:u"]), pair("u:system_r:container_t:s0:c1,c2", "u:object_r:container_file_t:s0:c1,c2"));
    assert_eq!(labels(&["filetype:t"]), pair(&plain.0, "system_u:object_r:t:s0:c1,c2"));
    assert_eq!(labels(&["level:s0", "level:s1"]).1, "system_u:object_r:container_file_t:s1");
}

#[test]
fn disable_takes_the_process_label_and_keeps_confined_processes_off_the_files() {
    let labels = chosen(&["type:x", "disable"]).unwrap();
    assert_eq!((labels.process.as_str(), labels.mount.as_str()), ("", "system_u:object_r:container_file_t:s0:c1022,c1023"));
}

#[test]
fn wrong_words_are_refused_in_the_words_that_scripts_know() {
    for (word, text) in [
        ("nested", "bad label option \"nested\", valid options 'disable' or"),
        ("", "bad label option \"\", valid options 'disable' or"),
        ("color:x", "bad label option \"color\", valid options 'disable, user,"),
        ("disable:x", "bad label option \"disable\""),
        ("type:a b", "invalid SELinux label"),
        ("type:a:b", "invalid SELinux label"),
        ("level:s0\"", "invalid SELinux label"),
    ] {
        let error = Word::parse(word).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn one_command_may_have_other_labels() {
    let labels = Labels { process: "u:r:t:s0:c1,c2".into(), mount: "u:o:f:s0:c1,c2".into() };
    let changed = |words: &[Word]| labels.changed(words, "type:x");
    assert_eq!(changed(&[]).unwrap(), labels);
    assert_eq!(changed(&[Word::Type("x".into())]).unwrap().process, "u:r:x:s0:c1,c2");
    assert_eq!(changed(&[Word::Disable]).unwrap(), Labels { process: String::new(), mount: labels.mount.clone() });
    assert!(matches!(Labels::default().changed(&[Word::Type("x".into())], "type:x"), Err(Error::Unlabelled(_))));
    assert_eq!(Labels::default().changed(&[Word::Disable], "disable").unwrap(), Labels::default());
}

#[test]
fn contexts_come_from_the_policy_in_use() {
    let root = tempfile::tempdir().unwrap();
    let system = System::below(root.path());
    assert_eq!(system.contexts().unwrap(), Contexts::default(), "no policy");
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("etc/selinux/config", "# SELINUXTYPE=mls\nSELINUX=enforcing\nSELINUXTYPE=targeted\n");
    write(
        "etc/selinux/targeted/contexts/lxc_contexts",
        &format!("process = \"{PROCESS}\"\n; x\nfile = \"{FILE}\"\nro_file=\"a:b:c\"\n"),
    );
    assert_eq!(system.contexts().unwrap(), contexts());
    write("usr/share/containers/selinux/contexts", "process=a:b:c:s0\n");
    let shared = system.contexts().unwrap();
    assert_eq!((shared.process.unwrap().to_string(), shared.file), ("a:b:c:s0".to_owned(), None));
    write("usr/share/containers/selinux/contexts", "process=nonsense\n");
    assert!(system.contexts().is_err());
}

#[test]
fn a_policy_without_levels_has_no_categories_and_one_without_processes_no_labels() {
    let without_levels = Contexts { process: Context::parse("u:r:t").ok(), file: Context::parse("u:o:f").ok() };
    let labels = LabelChoice::new(without_levels, &[]).unwrap().choose(&|_| false).unwrap();
    assert_eq!(labels, Labels { process: "u:r:t".into(), mount: "u:o:f".into() });
    let files_only = Contexts { process: None, ..contexts() };
    let labels = LabelChoice::new(files_only, &["type:x".to_owned()]).unwrap().choose(&|_| false).unwrap();
    assert_eq!(labels, Labels { process: String::new(), mount: FILE.into() });
}

#[test]
fn the_kernel_is_asked_for_the_label_of_what_a_process_makes() {
    let root = tempfile::tempdir().unwrap();
    let files = root.path().join("sys/fs/selinux");
    fs::create_dir_all(files.join("class/fifo_file")).unwrap();
    fs::write(files.join("class/fifo_file/index"), "10").unwrap();
    // A plain file answers with what follows the question; the kernel's, with its answer.
    let (process, target) = (Context::parse("a:b:c").unwrap(), Context::parse("d:e:f").unwrap());
    let question = "a:b:c d:e:f 10";
    fs::write(files.join("create"), format!("{}u:r:made_t:s0\0", "x".repeat(question.len()))).unwrap();
    let system = System::below(root.path());
    assert_eq!(system.created(&process, &target, "fifo_file").unwrap().to_string(), "u:r:made_t:s0");
    assert!(fs::read_to_string(files.join("create")).unwrap().starts_with(question));
    assert!(system.created(&process, &target, "file").is_err(), "a class that the policy lacks");
    assert!(!system.is_mounted(), "a plain directory is no selinuxfs");
}
