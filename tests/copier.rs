//! `container::add` on directories: trees, metadata, patterns, destinations, and the digests that Buildah prints for the same.
//!
//! The cases change owners, so they run as root of a user namespace that the program enters before it does anything else; the
//! usual harness has threads and can't.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use containers_storage::Root;
use coracle::container::add::{
    self, Appearance, Archives, Error, Kind, Links, Options, Outcome, RootOwner, Selection, Source, Verb, Wildcards,
};
use coracle::copier::tree::Maps;
use coracle::userns::{self, MountNamespace};

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("digests of a file, a tree and several sources are Buildah's", digests_are_buildahs),
    ("long names, attributes and FIFOs are digested as by Buildah", odd_digests_are_buildahs),
    ("a tree arrives as it was", trees_arrive),
    ("links, holes and modes survive", metadata_survives),
    ("modes do not depend on the umask", umask_does_not_matter),
    ("owners and modes can be set", owners_and_modes),
    ("where sources go", destinations),
    ("patterns and literal names", patterns),
    ("ignored files are not reached by another name", ignored_by_any_name),
    ("what is excluded stays away", exclusions),
    ("the ignore file of a context is found and read inside it", own_ignore_file),
    ("files replace links and directories", replacements),
    ("a link to a directory in the way is followed below the root", links_in_the_way),
    ("parents are kept from the pivot on", parents),
    ("nothing is read or written outside", nothing_outside),
    ("passwd of the container that is no file is refused", hostile_passwd),
    ("archives are unpacked by add, and only by add", archives),
    ("what is no archive is copied by add", no_archives),
    ("errors say what scripts look for", errors),
    ("a directory that is swapped for a link meanwhile does not lead out", racing_destination),
    ("a source that is swapped for a link meanwhile is not read through", racing_source),
    ("deep trees end with an error", deep_trees),
];

fn main() -> ExitCode {
    if let Err(error) = userns::enter(MountNamespace::Private) {
        eprintln!("{error}: {:?}", error.hints());
        return ExitCode::FAILURE;
    }
    let filter = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let mut failed = 0;
    for (name, case) in CASES.iter().filter(|(name, _)| filter.as_ref().is_none_or(|f| name.contains(f.as_str()))) {
        let passed = catch_unwind(case).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u8::from(!passed);
    }
    ExitCode::from(failed)
}

/// A context directory and a root file system, side by side with a tree that nobody may touch.
struct Fixture {
    top: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let top = tempfile::tempdir().expect("a temporary directory");
        for directory in ["context", "root", "canary"] {
            fs::create_dir(top.path().join(directory)).expect("created");
        }
        fs::write(top.path().join("canary/secret"), "the secret").expect("written");
        Self { top }
    }

    fn context(&self, path: &str) -> PathBuf {
        self.top.path().join("context").join(path)
    }

    fn root(&self, path: &str) -> PathBuf {
        self.top.path().join("root").join(path)
    }

    fn canary(&self) -> PathBuf {
        self.top.path().join("canary")
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.context(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, content).expect("written");
    }

    fn copy(&self, sources: &[&str], destination: &str) -> Result<Outcome, Error> {
        self.copy_with(sources, destination, Selection::default(), Appearance::default())
    }

    fn copy_with(&self, sources: &[&str], to: &str, selection: Selection, appearance: Appearance) -> Result<Outcome, Error> {
        self.run(Verb::Copy, sources, to, selection, appearance)
    }

    fn run(
        &self,
        verb: Verb,
        sources: &[&str],
        to: &str,
        selection: Selection,
        appearance: Appearance,
    ) -> Result<Outcome, Error> {
        let options = Options {
            verb,
            archives: Archives::default(),
            source: Source::Host { context: Some(self.context("")) },
            landing: Default::default(),
            workdir: PathBuf::from("/work"),
            selection,
            appearance,
            fetched: &[],
            inline: &[],
            maps: Maps::default(),
            layer: None,
        };
        let sources: Vec<OsString> = sources.iter().map(OsString::from).collect();
        let destination = (!to.is_empty()).then(|| Path::new(to));
        add::add(&Root::open(&self.root("")).expect("opened"), &sources, destination, &options)
    }

    /// Names below the root, sorted.
    fn names(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.root(""), "", &mut found);
        found
    }
}

fn list(directory: &Path, below: &str, found: &mut Vec<String>) {
    let mut names: Vec<_> = fs::read_dir(directory).expect("readable").map(|entry| entry.expect("an entry")).collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        found.push(name.clone());
        if entry.file_type().expect("a type").is_dir() {
            list(&entry.path(), &format!("{name}/"), found);
        }
    }
}

fn hex(outcome: &Outcome) -> &str {
    outcome.digest.as_ref().expect("a digest").hex()
}

fn message(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

/// What `buildah copy` 1.28.2 printed for these trees, with all owners the caller.
fn digests_are_buildahs() {
    let fixture = Fixture::new();
    fixture.write("f", "hi\n");
    fixture.write("t/sub/a", "a\n");
    fixture.write("t/z", "bb\n");
    fixture.write("t/sub2/deep/x", "x\n");
    symlink("../z", fixture.context("t/sub/l")).expect("linked");
    fs::hard_link(fixture.context("t/z"), fixture.context("t/zlink")).expect("linked");
    for (path, mode) in [("f", 0o644), ("t/sub/a", 0o644), ("t/sub2/deep/x", 0o644), ("t/z", 0o4755), ("t/sub2", 0o1777)] {
        set_mode(&fixture.context(path), mode);
    }
    for path in ["t/sub", "t/sub2/deep"] {
        set_mode(&fixture.context(path), 0o755);
    }
    let file = fixture.copy(&["f"], "/f").expect("copied");
    assert_eq!((file.kind, hex(&file)), (Kind::File, "619b31c3f1b34954f5d5bfcf2bc4fe2f85cbc91e61b8fec91476a86b1474ceb3"));
    let tree = fixture.copy(&["t"], "/t2").expect("copied");
    assert_eq!((tree.kind, hex(&tree)), (Kind::Dir, "f958c7e8ab1f17441b043c6614520607fc6c5680722b0d61f2a4d39cfff78c86"));
    let several = fixture.copy(&["f", "t"], "/multi/").expect("copied");
    assert_eq!(
        (several.kind, hex(&several)),
        (Kind::Multi, "04fce8176d64e7581e8410174087c7be62e3f9e3b036a0e9a85ef55e4ba168c7")
    );
    let look = Appearance { chown: Some("5:6".to_owned()), ..Appearance::default() };
    let owned = fixture.copy_with(&["f"], "/f2", Selection::default(), look).expect("copied");
    assert_eq!(hex(&owned), "014d5482261e973eeb9388cc2496d2e49ffb7c9dd1757837ed605453a6978a15");
}

fn odd_digests_are_buildahs() {
    let fixture = Fixture::new();
    let long = "x".repeat(120);
    fixture.write(&long, "l\n");
    let nested = format!("{}/{}/ff", "d".repeat(50), "e".repeat(56));
    fixture.write(&nested, "q\n");
    fixture.write("\u{fc}mlaut", "u\n");
    symlink(&long, fixture.context("lnk")).expect("linked");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.context("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .expect("made");
    for (name, value) in [("user.foo", &b"bar"[..]), ("user.a", b"b\nc")] {
        rustix::fs::setxattr(fixture.context(&long), name, value, rustix::fs::XattrFlags::empty()).expect("set");
    }
    for path in [long.as_str(), &nested, "\u{fc}mlaut", "fifo"] {
        set_mode(&fixture.context(path), 0o644);
    }
    for path in [&"d".repeat(50), &format!("{}/{}", "d".repeat(50), "e".repeat(56))] {
        set_mode(&fixture.context(path), 0o755);
    }
    let tree = fixture.copy(&["."], "/t4").expect("copied");
    assert_eq!(hex(&tree), "22411cc2c9bfd8e2cffb724776ef55fdbc68ce563cedbeb76c0370a09475fd4c");
    let mut value = [0; 8];
    let copy = fixture.root("t4").join(&long);
    assert_eq!(rustix::fs::getxattr(&copy, "user.a", &mut value).map(|length| value[..length].to_vec()), Ok(b"b\nc".to_vec()));
    assert!(fs::symlink_metadata(fixture.root("t4/fifo")).expect("there").file_type().is_fifo());
}

fn trees_arrive() {
    let fixture = Fixture::new();
    fixture.write("a/one", "1");
    fixture.write("a/b/two", "2");
    fs::create_dir(fixture.context("a/empty")).expect("created");
    let _socket = std::os::unix::net::UnixListener::bind(fixture.context("a/sock")).expect("bound");
    let outcome = fixture.copy(&["a"], "/x").expect("copied");
    assert_eq!(fixture.names(), ["x", "x/b", "x/b/two", "x/empty", "x/one"]);
    assert_eq!(outcome.warnings, ["copier: skipping socket \"sock\""]);
    assert_eq!(fs::read_to_string(fixture.root("x/b/two")).expect("there"), "2");
}

fn metadata_survives() {
    let fixture = Fixture::new();
    fixture.write("d/f", "content");
    fs::hard_link(fixture.context("d/f"), fixture.context("d/g")).expect("linked");
    set_mode(&fixture.context("d/f"), 0o4751);
    symlink("/absolute/text", fixture.context("d/l")).expect("linked");
    let sparse = fs::File::create(fixture.context("d/sparse")).expect("created");
    sparse.set_len(32 << 20).expect("extended");
    let stamp = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(fixture.context("d/f")).and_then(|file| file.set_modified(stamp)).expect("set");
    fs::create_dir(fixture.context("d/sub")).expect("created");
    fs::write(fixture.context("d/sub/x"), "").expect("written");
    fs::File::open(fixture.context("d/sub")).and_then(|file| file.set_modified(stamp)).expect("set");
    fixture.copy(&["d"], "/d").expect("copied");

    let meta = |name: &str| fs::symlink_metadata(fixture.root("d").join(name)).expect("there");
    assert_eq!(meta("f").ino(), meta("g").ino());
    assert_eq!(mode(&fixture.root("d/f")), 0o4751);
    assert_eq!((meta("f").mtime(), meta("f").mtime_nsec()), (1_000_000_000, 123_456_789));
    assert_eq!(meta("sub").mtime(), 1_000_000_000);
    assert_eq!(fs::read_link(fixture.root("d/l")).expect("a link"), Path::new("/absolute/text"));
    assert!(meta("sparse").size() == 32 << 20 && meta("sparse").blocks() < 64);
    assert_eq!((meta("f").uid(), meta("f").gid()), (0, 0));

    let look = Appearance { timestamp: Some(42), ..Appearance::default() };
    fixture.copy_with(&["d"], "/new/e", Selection::default(), look).expect("copied");
    for name in ["new/e/f", "new/e/l", "new/e/sub", "new/e/sub/x"] {
        assert_eq!(fs::symlink_metadata(fixture.root(name)).expect("there").mtime(), 42, "{name}");
    }
}

fn umask_does_not_matter() {
    for umask in [0o000, 0o077, 0o777] {
        let fixture = Fixture::new();
        fixture.write("d/f", "");
        fixture.write("d/s/g", "");
        set_mode(&fixture.context("d/f"), 0o666);
        set_mode(&fixture.context("d/s"), 0o777);
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let result = fixture.copy(&["d"], "/p/q");
        rustix::process::umask(before);
        result.expect("copied");
        let modes = ["p", "p/q", "p/q/f", "p/q/s"].map(|name| mode(&fixture.root(name)));
        assert_eq!(modes, [0o755, 0o755, 0o666, 0o777], "umask {umask:o}");
    }
}

fn owners_and_modes() {
    let fixture = Fixture::new();
    fixture.write("d/f", "");
    symlink("f", fixture.context("d/l")).expect("linked");
    fs::create_dir(fixture.root("etc")).expect("created");
    fs::write(fixture.root("etc/passwd"), "bob:x:3:4::/:\n").expect("written");
    fs::write(fixture.root("etc/group"), "staff:x:7:\n").expect("written");
    let look = |chown: &str| Appearance { chown: Some(chown.to_owned()), chmod: Some("4711".to_owned()), timestamp: None };
    for (spec, owner) in [("bob", (3, 4)), ("bob:staff", (3, 7)), ("5", (5, 5)), ("5:6", (5, 6))] {
        fixture.copy_with(&["d"], "/new/x", Selection::default(), look(spec)).expect("copied");
        for name in ["new", "new/x", "new/x/f", "new/x/l"] {
            let meta = fs::symlink_metadata(fixture.root(name)).expect("there");
            assert_eq!((meta.uid(), meta.gid()), owner, "{spec} {name}");
        }
        assert_eq!([mode(&fixture.root("new/x")), mode(&fixture.root("new/x/f"))], [0o755, 0o4711]);
        fs::remove_dir_all(fixture.root("new")).expect("removed");
    }
}

fn destinations() {
    let cases: &[(&[&str], &str, &[&str])] = &[
        (&["f"], "/x", &["x"]),
        (&["f"], "/x/", &["x", "x/f"]),
        (&["f"], "rel", &["work", "work/rel"]),
        (&["f"], "", &["work", "work/f"]),
        (&["f"], "/work", &["work", "work/f"]),
        (&["f", "g"], "/x", &["x", "x/f", "x/g"]),
        (&["d"], "/x", &["x", "x/inner"]),
        (&["d", "f"], "/x/", &["x", "x/f", "x/inner"]),
        (&["link"], "/x", &["x"]),
        (&["dirlink"], "/x", &["x", "x/inner"]),
        (&["[fg]"], "/x", &["x"]),
        (&["[fg]"], "/x/", &["x", "x/f", "x/g"]),
        (&["."], "/x", &["x", "x/d", "x/d/inner", "x/dirlink", "x/f", "x/g", "x/link"]),
        (&["/f"], "/a/b/c", &["a", "a/b", "a/b/c"]),
        (&["../../f"], "/x", &["x"]),
    ];
    for (sources, destination, expected) in cases {
        let fixture = Fixture::new();
        fixture.write("f", "file f");
        fixture.write("g", "file g");
        fixture.write("d/inner", "");
        symlink("f", fixture.context("link")).expect("linked");
        symlink("d", fixture.context("dirlink")).expect("linked");
        fixture.copy(sources, destination).unwrap_or_else(|error| panic!("{sources:?} {destination}: {error:?}"));
        assert_eq!(fixture.names(), *expected, "{sources:?} {destination}");
    }
    // A pattern counts as one source: the last match stays.
    let fixture = Fixture::new();
    fixture.write("f", "file f");
    fixture.write("g", "file g");
    fixture.copy(&["[fg]"], "/x").expect("copied");
    assert_eq!(fs::read_to_string(fixture.root("x")).expect("there"), "file g");
    let error = fixture.copy(&["f", "g"], "/x").expect_err("a file is in the way");
    assert_eq!(message(&error), "destination /x already exists but is not a directory");
    fixture.copy(&["f"], "/x").expect("a file replaces a file");
    assert_eq!(fs::read_to_string(fixture.root("x")).expect("there"), "file f");
}

fn patterns() {
    let fixture = Fixture::new();
    fixture.write("a*b", "");
    fixture.write("axb", "");
    fixture.write("s/one.c", "");
    fixture.write("s/t/two.c", "");
    fixture.copy(&["**/*.c"], "/c/").expect("copied");
    assert_eq!(fixture.names(), ["c", "c/one.c", "c/two.c"]);
    let literal = Selection { wildcards: Wildcards::Literal, ..Selection::default() };
    fixture.copy_with(&["a*b"], "/l/", literal.clone(), Appearance::default()).expect("copied");
    assert_eq!(fixture.names(), ["c", "c/one.c", "c/two.c", "l", "l/a*b"]);
    assert!(matches!(fixture.copy_with(&["a?b"], "/l/", literal, Appearance::default()), Err(Error::Missing { .. })));
    assert!(matches!(fixture.copy(&["none*"], "/l/"), Err(Error::NoMatch { .. })));
    let empty = Selection { wildcards: Wildcards::ExpandMaybeEmpty, ..Selection::default() };
    let outcome = fixture.copy_with(&["none*"], "/l/", empty, Appearance::default()).expect("nothing to do");
    assert_eq!((outcome.kind, outcome.digest), (Kind::Empty, None));
    let keep = Selection { links: Links::Keep, ..Selection::default() };
    symlink("axb", fixture.context("link")).expect("linked");
    fixture.copy_with(&["link"], "/kept", keep, Appearance::default()).expect("copied");
    assert_eq!(fs::read_link(fixture.root("kept")).expect("a link"), Path::new("axb"));
}

fn with_ignore(fixture: &Fixture, patterns: &str) -> Selection {
    fs::write(fixture.top.path().join("ignore"), patterns).expect("written");
    Selection { ignore_file: Some(fixture.top.path().join("ignore")), ..Selection::default() }
}

/// Known attack A08.
fn ignored_by_any_name() {
    let fixture = Fixture::new();
    fixture.write("secret", "hidden");
    fixture.write("dir/secret2", "");
    fixture.write("x/other", "");
    symlink("secret", fixture.context("l")).expect("linked");
    symlink("dir", fixture.context("dl")).expect("linked");
    let selection = with_ignore(&fixture, "secret*\ndir\n");
    for name in ["secret", "l", "x/../secret", "./x/../secret", "s?cret", "/secret", "dl", "dl/secret2", "dir/"] {
        let result = fixture.copy_with(&[name], "/out/", selection.clone(), Appearance::default());
        assert!(matches!(result, Err(Error::Filtered { .. })), "{name}: {result:?}");
    }
    fixture.copy_with(&["."], "/out/", selection, Appearance::default()).expect("copied");
    assert_eq!(fixture.names(), ["out", "out/dl", "out/l", "out/x", "out/x/other"]);
}

/// Known attacks A07, A14.
fn own_ignore_file() {
    let fixture = Fixture::new();
    fixture.write("secret", "");
    fixture.write("f", "");
    fixture.write(".dockerignore", "secret\n");
    assert!(message(&fixture.copy(&["secret"], "/x").expect_err("ignored")).contains("/context/.dockerignore)"));
    fixture.copy(&["f"], "/f").expect("copied");
    fixture.write(".containerignore", "f\n");
    fixture.copy(&["secret"], "/x").expect("the other file decides");
    for target in [fixture.canary().join("secret"), PathBuf::from("nowhere"), PathBuf::from("/dev/zero")] {
        fs::remove_file(fixture.context(".containerignore")).expect("removed");
        symlink(&target, fixture.context(".containerignore")).expect("linked");
        let text = message(&fixture.copy(&["f"], "/f").expect_err("refused"));
        assert!(text.contains("reading ignore file") && !text.contains("the secret"), "{text}");
    }
}

fn exclusions() {
    let fixture = Fixture::new();
    for name in ["p/a.o", "p/a.c", "p/sub/b.o", "p/keep/c.o", "q.o"] {
        fixture.write(name, "");
    }
    let exclude =
        |patterns: &[&str]| Selection { exclude: patterns.iter().map(|&p| p.to_owned()).collect(), ..Selection::default() };
    fixture.copy_with(&["p"], "/x", exclude(&["**/*.o", "!keep/c.o"]), Appearance::default()).expect("copied");
    assert_eq!(fixture.names(), ["x", "x/a.c", "x/keep", "x/keep/c.o", "x/sub"]);
    // The directory is left out, something in it is not: it is made all the same.
    fixture.copy_with(&["p"], "/y", exclude(&["*", "!keep/c.o"]), Appearance::default()).expect("copied");
    assert_eq!(fixture.names()[5..], ["y", "y/keep", "y/keep/c.o"]);
    let error = fixture.copy_with(&["q.o"], "/z", exclude(&["*.o"]), Appearance::default()).expect_err("nothing is left");
    assert!(message(&error).contains("no items matching glob \"/q.o\" copied (1 filtered out"), "{}", message(&error));
}

fn replacements() {
    let fixture = Fixture::new();
    fixture.write("d/file", "new");
    fixture.write("d/dir/in", "new");
    symlink("new", fixture.context("d/link")).expect("linked");
    fs::create_dir_all(fixture.root("t/file/full")).expect("created");
    fs::write(fixture.root("t/dir"), "old").expect("written");
    symlink(fixture.canary(), fixture.root("t/link")).expect("linked");
    fixture.copy(&["d"], "/t").expect("copied");
    assert_eq!(fixture.names(), ["t", "t/dir", "t/dir/in", "t/file", "t/link"]);
    assert_eq!(fs::read_link(fixture.root("t/link")).expect("a link"), Path::new("new"));
    // A file in the place of a link: the link goes, what it names stays.
    fs::remove_file(fixture.root("t/file")).expect("removed");
    fs::write(fixture.root("t/old"), "old").expect("written");
    symlink("/t/old", fixture.root("t/file")).expect("linked");
    fixture.copy(&["d/file"], "/t/file").expect("copied");
    assert!(fs::symlink_metadata(fixture.root("t/file")).expect("there").is_file());
    assert_eq!(fs::read_to_string(fixture.root("t/old")).expect("there"), "old");
    // One that leads to nothing inside is a directory that is made there, whatever is outside.
    let secret = fixture.canary().join("secret");
    symlink(&secret, fixture.root("t/to-nothing")).expect("linked");
    fixture.copy(&["d/file"], "/t/to-nothing").expect("copied");
    assert!(fs::symlink_metadata(fixture.root("t/to-nothing")).expect("there").is_symlink());
    let inside = fixture.root(&secret.strip_prefix("/").expect("absolute").join("file").display().to_string());
    assert_eq!(fs::read_to_string(inside).expect("copied"), "new");
    assert_eq!(fs::read_to_string(secret).expect("there"), "the secret");
}

fn links_in_the_way() {
    let fixture = Fixture::new();
    fixture.write("d/lib/one", "");
    fixture.write("d/lib/sub/two", "");
    fs::create_dir_all(fixture.root("usr/lib")).expect("created");
    symlink("/usr/lib", fixture.root("lib")).expect("linked");
    fixture.copy(&["d"], "/").expect("copied");
    assert_eq!(fixture.names(), ["lib", "usr", "usr/lib", "usr/lib/one", "usr/lib/sub", "usr/lib/sub/two"]);
    assert!(fs::symlink_metadata(fixture.root("lib")).expect("there").is_symlink());
    fixture.copy(&["d/lib/one"], "/lib/").expect("copied");
    fixture.copy(&["d/lib/one"], "/lib/three").expect("copied");
    assert!(fixture.root("usr/lib/three").exists());
}

fn parents() {
    let fixture = Fixture::new();
    fixture.write("a/b/f", "");
    fixture.write("a/c/g", "");
    set_mode(&fixture.context("a/b"), 0o750);
    let selection = || Selection { parents: true, ..Selection::default() };
    fixture.copy_with(&["a/*/*"], "/x", selection(), Appearance::default()).expect("copied");
    assert_eq!(fixture.names(), ["x", "x/a", "x/a/b", "x/a/b/f", "x/a/c", "x/a/c/g"]);
    fixture.copy_with(&["a/./b"], "/y", selection(), Appearance::default()).expect("copied");
    assert_eq!(fixture.names()[6..], ["y", "y/b", "y/b/f"]);
    fixture.write("a/c/h", "");
    // Nothing is above the context: what leads there is left out.
    fixture
        .copy_with(&["../a/b", "./../../a/./c/g", "../a/./?/h*"], "/z/", selection(), Appearance::default())
        .expect("copied");
    assert_eq!(fixture.names()[9..], ["z", "z/a", "z/a/b", "z/a/b/f", "z/c", "z/c/g", "z/c/h"]);
    assert!(fixture.copy_with(&["a/b/../c"], "/z/", selection(), Appearance::default()).is_err());
}

/// Known attacks A01, A03, A06: links in the root, and in the context, that lead out.
fn nothing_outside() {
    let fixture = Fixture::new();
    fixture.write("f", "new");
    let canary = fixture.canary();
    symlink(&canary, fixture.root("d")).expect("linked");
    symlink(canary.join("secret"), fixture.root("s")).expect("linked");
    symlink("../../../../../../../..", fixture.root("up")).expect("linked");
    let look = || Appearance { chown: Some("7".to_owned()), chmod: Some("4777".to_owned()), timestamp: None };
    let before = fs::metadata(canary.join("secret")).expect("there");
    for destination in ["/d/x", "/s", "/d/", "/up/x", "/up/etc/x", "/../../x"] {
        // Inside or refused, as the link leads; what matters is the canary.
        let _ = fixture.copy_with(&["f"], destination, Selection::default(), look());
    }
    let after = fs::metadata(canary.join("secret")).expect("there");
    assert_eq!(fs::read_to_string(canary.join("secret")).expect("there"), "the secret");
    assert_eq!((after.mode(), after.uid(), after.mtime()), (before.mode(), before.uid(), before.mtime()));
    assert_eq!(fs::read_dir(&canary).expect("readable").count(), 1);
    assert!(fixture.root("x").exists(), "`..` is clamped to the root");

    symlink(canary.join("secret"), fixture.context("key")).expect("linked");
    symlink(&canary, fixture.context("tree")).expect("linked");
    for name in ["key", "tree", "tree/secret", "tree/*", "../canary/secret", "../canary/*"] {
        assert!(fixture.copy(&[name], "/out/").is_err(), "{name}");
    }
    fixture.copy(&["."], "/ctx").expect("copied");
    assert_eq!(
        fs::read_link(fixture.root("ctx/key")).expect("a link").as_os_str().as_bytes(),
        canary.join("secret").as_os_str().as_bytes()
    );
}

/// Known attack A12.
fn hostile_passwd() {
    type Make = fn(&Path, &Path);
    let kinds: &[(&str, Make)] = &[
        ("a FIFO", |path, _| {
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("made");
        }),
        ("a link out", |path, canary| symlink(canary.join("secret"), path).expect("linked")),
        ("a device", |path, _| symlink("/dev/zero", path).expect("linked")),
        ("too large", |path, _| fs::File::create(path).and_then(|file| file.set_len(2 << 30)).expect("created")),
        ("a directory", |path, _| fs::create_dir(path).expect("created")),
    ];
    for (kind, make) in kinds {
        let fixture = Fixture::new();
        fixture.write("f", "");
        fs::create_dir(fixture.root("etc")).expect("created");
        make(&fixture.root("etc/passwd"), &fixture.canary());
        let look = Appearance { chown: Some("bob".to_owned()), ..Appearance::default() };
        let start = std::time::Instant::now();
        let error = fixture.copy_with(&["f"], "/f", Selection::default(), look).expect_err(kind);
        assert!(matches!(error, Error::Chown { .. }), "{kind}: {error:?}");
        assert!(start.elapsed().as_secs() < 30, "{kind}");
        assert!(!message(&error).contains("the secret"));
    }
}

fn add_file(fixture: &Fixture, source: &str, to: &str, appearance: Appearance) -> Result<Outcome, Error> {
    fixture.run(Verb::Add, &[source], to, Selection::default(), appearance)
}

/// The digests are those that `buildah add` 1.28.2 printed for the same archives.
fn archives() {
    let fixture = Fixture::new();
    fixture.write("t/sub/a", "a\n");
    fixture.write("t/z", "bb\n");
    fixture.write(&format!("t/{}", "n".repeat(130)), "l\n");
    symlink("../z", fixture.context("t/sub/l")).expect("linked");
    fs::hard_link(fixture.context("t/z"), fixture.context("t/zlink")).expect("linked");
    set_mode(&fixture.context("t"), 0o755);
    set_mode(&fixture.context("t/sub"), 0o755);
    set_mode(&fixture.context("t/sub/a"), 0o644);
    set_mode(&fixture.context("t").join("n".repeat(130)), 0o644);
    set_mode(&fixture.context("t/z"), 0o4755);
    let gnu = "483a4692cfa314a7a1879a0b0da400d2708744e3a006c40721426a8c5145a278";
    let pax = "c5217339f21ea4f3119a678607383adfa17fedf288cc13f0acc1e0bd1eca0f67";
    let cases = [("gnu", "-c", gnu), ("pax", "-c", pax), ("gnu", "-cz", gnu), ("pax", "-cJ", pax), ("gnu", "-cj", gnu)];
    for (number, (format, how, digest)) in cases.into_iter().enumerate() {
        let name = format!("{number}.data");
        let status = std::process::Command::new("tar")
            .args(["-C", "t", &format!("--format={format}"), "--sort=name", "--owner=ann:1001", "--group=staff:50"])
            .args([how, "-f", &name, "."])
            .current_dir(fixture.context(""))
            .status();
        assert!(status.expect("tar").success(), "{format} {how}");
        let to = format!("/{number}");
        let outcome = add_file(&fixture, &name, &to, Appearance::default()).expect("unpacked");
        assert_eq!((outcome.kind, hex(&outcome)), (Kind::File, digest), "{format} {how}");
        let meta = fs::symlink_metadata(fixture.root(&format!("{number}/zlink"))).expect("there");
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.nlink()), (1001, 50, 0o4755, 2));
    }
    // `copy` takes it as it is, and a destination without a slash is a directory for `add` all the same.
    fixture.copy(&["0.data"], "/as-is").expect("copied");
    assert!(fs::symlink_metadata(fixture.root("as-is")).expect("there").is_file());
    assert!(matches!(add_file(&fixture, "0.data", "/as-is", Appearance::default()), Err(Error::NotADirectory(_))));
    let look = Appearance { chown: Some("7:8".to_owned()), chmod: None, timestamp: Some(77) };
    add_file(&fixture, "1.data", "/owned", look).expect("unpacked");
    let meta = fs::symlink_metadata(fixture.root("owned/sub/a")).expect("there");
    assert_eq!((meta.uid(), meta.gid(), meta.mtime()), (7, 8, 77));
}

fn no_archives() {
    let fixture = Fixture::new();
    fixture.write("empty.tar", "");
    fixture.write("text.tar.gz", "not compressed");
    fs::write(fixture.context("cut.gz"), [0x1f, 0x8b, 8, 0]).expect("written");
    fs::write(fixture.context("zeros.tar"), [0; 10_240]).expect("written");
    for name in ["empty.tar", "text.tar.gz", "cut.gz", "zeros.tar"] {
        add_file(&fixture, name, &format!("/{name}"), Appearance::default()).expect("copied");
        assert!(fs::symlink_metadata(fixture.root(name)).expect("there").is_file(), "{name}");
    }
}

fn errors() {
    let fixture = Fixture::new();
    fixture.write("f", "");
    let look = |chown: Option<&str>, chmod: Option<&str>| Appearance {
        chown: chown.map(str::to_owned),
        chmod: chmod.map(str::to_owned),
        timestamp: None,
    };
    let none = Selection::default;
    let alone = Selection { ignore_file: Some("x".into()), ..none() };
    let plain = || look(None, None);
    let cases = [
        (fixture.copy(&["nope"], "/x"), "copier: stat: \"/nope\": no such file or directory"),
        (fixture.copy(&["no*"], "/x"), "copier: stat: globs [/no*] matched nothing"),
        (fixture.copy(&["no*", "x?"], "/x"), "copier: stat: globs [/no*] matched nothing"),
        (fixture.copy(&["f", "no*", "nope"], "/x"), "copier: stat: \"/nope\": no such file or directory"),
        (fixture.copy(&["git@h:x"], "/x"), "from elsewhere come http and https addresses"),
        (
            fixture.copy_with(&["f"], "/x", none(), look(Some("bob"), None)),
            "looking up UID/GID for \"bob\": determining run uid: user: unknown user error looking up user \"bob\"",
        ),
        (fixture.copy_with(&["f"], "/x", none(), look(None, Some("9"))), "parsing chmod \"9\""),
        (fixture.copy_with(&["f"], "/x", none(), look(None, Some("10000"))), "parsing chmod \"10000\""),
        (fixture.copy_with(&["f"], "/x", alone, plain()), "reading ignore file \"x\""),
    ];
    for (result, phrase) in cases {
        let text = message(&result.expect_err(phrase));
        assert!(text.contains(phrase), "{text}");
    }
    assert!(fixture.names().is_empty(), "{:?}", fixture.names());
}

/// Swaps a directory for a link to the canary and back as fast as it can, until it is dropped.
struct Racer {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Racer {
    /// `directory` is swapped with `link`; both have to be there.
    fn start(directory: PathBuf, link: PathBuf) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut rounds = 0;
            while !seen.load(std::sync::atomic::Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &directory, rustix::fs::CWD, &link, flags).expect("exchanged");
                rounds += 1;
            }
            rounds
        });
        Self { stop, thread: Some(thread) }
    }

    fn stop(mut self) -> u64 {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.take().expect("started").join().expect("the racer")
    }
}

const ROUNDS: usize = 2000;

/// Known attacks A01, A02, A03: the destination. The control writes by path, as the builders did that were hit.
fn racing_destination() {
    let fixture = Fixture::new();
    fixture.write("f", "content");
    fixture.write("tree/d/g", "content");
    fs::create_dir(fixture.root("d")).expect("created");
    symlink(fixture.canary(), fixture.root("link")).expect("linked");
    let racer = Racer::start(fixture.root("d"), fixture.root("link"));
    let hit = (0..200_000).any(|_| {
        let _ = fs::write(fixture.root("d/naive"), "");
        fixture.canary().join("naive").exists()
    });
    assert!(hit, "the race hits nobody: it proves nothing");
    fs::remove_file(fixture.canary().join("naive")).expect("removed");

    let look = || Appearance { chown: Some("7:8".to_owned()), chmod: Some("4777".to_owned()), timestamp: Some(5) };
    let before = fs::metadata(fixture.canary()).expect("there");
    let mut arrived = 0;
    for _ in 0..ROUNDS {
        arrived += u32::from(fixture.copy_with(&["f"], "/d/x", Selection::default(), look()).is_ok());
        arrived += u32::from(fixture.copy_with(&["f"], "/d/new/sub/", Selection::default(), look()).is_ok());
        arrived += u32::from(fixture.copy_with(&["tree"], "/", Selection::default(), look()).is_ok());
    }
    assert!(racer.stop() > 1000 && arrived > 0, "{arrived} copies arrived");
    let after = fs::metadata(fixture.canary()).expect("there");
    assert_eq!((before.mode(), before.uid(), before.mtime()), (after.mode(), after.uid(), after.mtime()));
    let names: Vec<_> =
        fs::read_dir(fixture.canary()).expect("readable").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(mode(&fixture.canary().join("secret")) & 0o7000, 0);
}

/// Known attacks A01, A18: the source is a root file system in which something runs.
fn racing_source() {
    let fixture = Fixture::new();
    let other = Fixture::new();
    fs::create_dir(other.root("d")).expect("created");
    fs::write(other.root("d/secret"), "inside").expect("written");
    symlink(fixture.canary(), other.root("link")).expect("linked");
    let racer = Racer::start(other.root("d"), other.root("link"));
    let hit = (0..200_000).any(|_| fs::read(other.root("d/secret")).is_ok_and(|content| content == b"the secret"));
    assert!(hit, "the race hits nobody: it proves nothing");

    let root = Root::open(&other.root("")).expect("opened");
    let target = Root::open(&fixture.root("")).expect("opened");
    let mut arrived = 0;
    for round in 0..ROUNDS {
        let options = Options {
            verb: Verb::Copy,
            archives: Archives::default(),
            source: Source::Root { root: &root, owner: RootOwner::Another },
            landing: Default::default(),
            workdir: PathBuf::from("/"),
            selection: Selection::default(),
            appearance: Appearance::default(),
            fetched: &[],
            inline: &[],
            maps: Maps::default(),
            layer: None,
        };
        let spec = ["/d/*", "/d", "/d/secret", "**/secret"][round % 4];
        let result = add::add(&target, &[spec.into()], Some(Path::new("/out/")), &options);
        arrived += u32::from(result.is_ok());
        if let Ok(content) = fs::read(fixture.root("out/secret")) {
            assert_eq!(content, b"inside", "{spec}");
        }
    }
    assert!(racer.stop() > 1000 && arrived > 0, "{arrived} copies arrived");
}

fn deep_trees() {
    let fixture = Fixture::new();
    let mut path = PathBuf::new();
    for _ in 0..500 {
        path.push("d");
    }
    fs::create_dir_all(fixture.context("").join(&path)).expect("created");
    let error = fixture.copy(&["d"], "/x").expect_err("too deep");
    assert!(message(&error).contains("directories deep"), "{}", message(&error));
}
