//! `copy` and `add` through the binary: what is printed, where sources come from, what is refused. The rules of destinations and
//! patterns are in `tests/copier.rs`, and compared with Buildah in `tests/compat`.

use crate::harness::{TestEnv, skip_without};

#[test]
fn the_digest_is_printed_unless_quiet() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.write("file", "content\n");
    insta::assert_snapshot!(env.run(["copy", &container, "file", "/file"]), @"[ID]");
    insta::assert_snapshot!(env.run(["copy", "--quiet", &container, "file", "/file"]), @"");
}

#[test]
fn history_names_verb_kind_and_digest() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.write("dir/file", "content\n");
    let digests = [
        env.ok(["copy", "--add-history", &container, "dir/file", "/file"]),
        env.ok(["add", "--add-history", &container, "dir", "/dir"]),
    ];
    let lines = env.ok(["inspect", "--format", "{{range .History}}{{.CreatedBy}}|{{end}}", &container]);
    assert_eq!(lines, format!("/bin/sh -c #(nop) COPY file:{}|/bin/sh -c #(nop) ADD dir:{}|", digests[0], digests[1]));
}

#[test]
fn one_operand_goes_to_the_working_directory() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.ok(["config", "--workingdir", "/work", &container]);
    env.write("file", "content\n");
    env.ok(["copy", &container, "file"]);
    insta::assert_snapshot!(env.run(["diff", &container]), @r"
    A          /work
    A      8 B /work/file
    ");
}

#[test]
fn sources_can_be_in_an_image_or_a_container_that_runs() {
    let env = TestEnv::new();
    env.busybox("base");
    let (target, other) = (env.ok(["from", "scratch"]), env.ok(["from", "base"]));
    env.ok(["copy", "--from", "base", &target, "/etc/passwd", "/image"]);
    let script = format!(
        "coracle run {other} -- sh -c 'echo live > /live; touch /up; while [ ! -e /done ]; do sleep 0.02; done' &
         until coracle run {other} -- test -e /up; do sleep 0.05; done 2>/dev/null
         coracle copy -q --from {other} {target} /live /container; coracle run {other} -- touch /done; wait"
    );
    env.shell(&script).success();
    insta::assert_snapshot!(env.run(["diff", &target]).success().lines().map(|line| &line[11..]).collect::<Vec<_>>().join(" "), @"/container /image");
    let unknown = env.run(["copy", "--from", "nosuch", &target, "/x", "/y"]);
    assert!(unknown.failure(125).contains("nosuch: image not known"), "{unknown}");
    env.assert_store_is_clean();
}

#[test]
fn what_is_empty_can_be_copied_from() {
    let env = TestEnv::new();
    env.write("none/Dockerfile", "FROM scratch\nLABEL a=b\n");
    env.ok(["build", "-q", "-t", "empty", "none"]);
    let (target, scratch, of_empty) = (env.ok(["from", "scratch"]), env.ok(["from", "scratch"]), env.ok(["from", "empty"]));
    for (number, from) in ["empty", &scratch, &of_empty, "scratch"].into_iter().enumerate() {
        env.ok(["copy", "-q", "--from", from, &target, "/", &format!("/{number}/dst")]);
        let said = env.run(["copy", "--from", from, &target, "/nosuch", "/dst"]).failure(125);
        assert!(said.contains("/nosuch") && said.contains("no such file or directory"), "{from}: {said}");
    }
    let found = env.shell(&format!("coracle unshare sh -euc 'cd $(coracle mount {target}); find . -type d | sort | xargs'"));
    assert_eq!(found.success(), ". ./0 ./0/dst ./1 ./1/dst ./2 ./2/dst ./3 ./3/dst");
    env.assert_store_is_clean();
}

#[test]
fn an_archive_is_unpacked_by_add_and_kept_by_copy() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.write("dir/file", "content\n");
    env.shell("tar czf dir.tar.gz dir").success();
    env.ok(["add", "-q", &container, "dir.tar.gz", "/added"]);
    env.ok(["copy", "-q", &container, "dir.tar.gz", "/copied/"]);
    let paths: Vec<String> = env.ok(["diff", &container]).lines().map(|line| line[11..].to_owned()).collect();
    assert_eq!(paths, ["/added", "/added/dir", "/added/dir/file", "/copied", "/copied/dir.tar.gz"]);
}

/// One that is an archive is not copied as a file, whatever its first member is.
#[test]
fn an_archive_with_a_name_that_climbs_is_refused() {
    let env = TestEnv::new();
    if skip_without(&["python3"]) {
        return;
    }
    let script = "import tarfile, io
for form, ending in (('w', ''), ('w:gz', '.gz')):
    with tarfile.open('evil.tar' + ending, form) as t:
        for name in ('../climbs', 'plain'):
            i = tarfile.TarInfo(name); i.size = 1; t.addfile(i, io.BytesIO(b'x'))
open('blank', 'wb').write(bytes(512) + b'x' * 512)
";
    env.write("make.py", script);
    env.shell("python3 make.py; mkdir ctx; mv evil.tar* blank ctx").success();
    let container = env.ok(["from", "scratch"]);
    for name in ["evil.tar", "evil.tar.gz"] {
        let said = env.run(["add", &container, &format!("ctx/{name}"), "/x/"]).failure(125);
        assert!(said.contains(name) && said.contains("../climbs") && said.contains("the name climbs with"), "{said}");
        env.write("ctx/Dockerfile", format!("FROM scratch\nADD --unpack=true {name} /x/\n"));
        let said = env.run(["build", "ctx"]).failure(125);
        assert!(said.contains("the name climbs with"), "{said}");
        env.write("ctx/Dockerfile", format!("FROM scratch\nADD --unpack=false {name} /x/\nCOPY {name} /y/\n"));
        env.ok(["build", "-q", "ctx"]);
    }
    // What begins as no archive does is a file.
    env.ok(["add", "-q", &container, "ctx/blank", "/x/"]);
}

#[test]
fn what_is_missing_or_cannot_be_is_said() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.write("file", "content\n");
    insta::assert_snapshot!(env.run(["copy", &container]), @r"
    ------- stderr -------
    Error: src must be specified
    [exit status: 125]
    ");
    insta::assert_snapshot!(env.run(["copy", "--ignorefile", "x", &container, "file", "/"]), @r"
    ------- stderr -------
    Error: --ignorefile option requires that you specify a context dir using --contextdir
    [exit status: 125]
    ");
    insta::assert_snapshot!(env.run(["copy", &container, "nosuch", "/x"]), @r#"
    ------- stderr -------
    Error: adding content to container "working-container": checking on sources under "/": copier: stat: "[TEST]/work/nosuch": no such file or directory
    [exit status: 125]
    "#);
    insta::assert_snapshot!(env.run(["copy", &container, "file", "--chown", "1:1"]), @r"
    ------- stderr -------
    Error: no options (--chown) can be specified after the image or container name
    [exit status: 125]
    ");
}

#[test]
fn an_empty_value_is_none() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.write("file", "content\n");
    let plain = env.ok(["copy", &container, "file", "/file"]);
    let flags = ["--chown=", "--chmod=", "--from=", "--contextdir=", "--ignorefile="];
    assert_eq!(env.ok([&["copy"], &flags[..], &[&container, "file", "/file"]].concat()), plain);
    insta::assert_snapshot!(env.run(["copy", &container, "", "/file"]), @r"
    ------- stderr -------
    Error: empty source location
    [exit status: 125]
    ");
}

#[test]
fn history_by_the_environment_can_be_declined() {
    let mut env = TestEnv::new();
    env.set("BUILDAH_HISTORY", "1");
    let container = env.ok(["from", "scratch"]);
    env.write("file", "content\n");
    env.ok(["copy", "-q", "--add-history=false", &container, "file", "/file"]);
    env.ok(["config", "--add-history=false", "--label", "a=b", &container]);
    assert_eq!(env.ok(["inspect", "--format", "{{len .History}}", &container]), "0");
    env.ok(["copy", "-q", &container, "file", "/file"]);
    assert_eq!(env.ok(["inspect", "--format", "{{len .History}}", &container]), "1");
}

/// The store lies in the home directory; what is copied from there must not have the copy in it.
#[test]
fn a_directory_is_not_copied_into_itself() {
    for driver in ["overlay", "vfs"] {
        let env = TestEnv::on(driver);
        env.write_home("file", "content");
        let container = env.ok(["from", "scratch"]);
        let home = env.path("home").display().to_string();
        for flags in [&[][..], &["--link"]] {
            let output = env.run([&["copy"], flags, &[&container, &home, "/home"]].concat());
            assert!(output.failure(125).contains("a directory cannot be copied into itself"), "{driver} {flags:?}: {output}");
        }
        let mounted = format!("coracle copy {container} $(coracle mount {container}) /again");
        let output = env.run(["unshare", "sh", "-euc", &mounted]);
        assert!(output.failure(125).contains("a directory cannot be copied into itself"), "{driver}: {output}");
        let excluded = ["copy", "-q", "--exclude", ".local/share/containers", &container, &home, "/home2"];
        assert_eq!(env.run(excluded).code, Some(0), "{driver}: without the store it is copied");
        env.ok(["rm", &container]);
        env.assert_store_is_clean();
    }
}

#[test]
fn what_comes_below_a_directory_that_is_copied_is_not_copied_as_well() {
    for driver in ["overlay", "vfs"] {
        let env = TestEnv::on(driver);
        env.write("f", "content\n");
        let container = env.ok(["from", "scratch"]);
        env.ok(["copy", "-q", &container, "f", "/d/f"]);
        for (source, destination) in [("/", "/x"), ("/d", "/d/sub"), ("/d", "/d")] {
            env.ok(["copy", "-q", "--from", &container, &container, source, destination]);
        }
        let changes = env.ok(["diff", &container]);
        let paths = changes.lines().map(|line| line[11..].to_owned()).collect::<Vec<_>>().join(" ");
        assert_eq!(paths, "/d /d/f /d/sub /d/sub/f /d/sub/sub /x /x/d /x/d/f /x/x", "{driver}");
        env.ok(["rm", &container]);
        env.assert_store_is_clean();
    }
}

#[test]
fn only_what_matches_an_inclusion_is_copied_and_what_is_required_must_be() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    for file in ["src/a.txt", "src/b.md", "src/sub/c.txt", "src/sub/d.md"] {
        env.write(file, "content\n");
    }
    let paths = || env.ok(["diff", &container]).lines().map(|line| line[11..].to_owned()).collect::<Vec<_>>().join(" ");
    let lacking = env.run(["copy", "--include", "*.txt", "--required-path", "b.md", &container, "src", "/no"]).failure(125);
    assert!(lacking.trim_end().ends_with("required path \"b.md\" was not copied: no such file or directory"), "{lacking}");
    let alone = env.run(["add", "--required-path", "a.txt", &container, "src", "/no"]).failure(125);
    assert_eq!(alone.trim_end(), "Error: --required-path must be used with --include");
    assert!(!paths().contains(".md"), "{}", paths());
    env.ok([
        "copy",
        "--include",
        "*.txt,sub/*.txt",
        "--exclude",
        "a.txt",
        "--required-path",
        "sub/c.txt",
        &container,
        "src",
        "/x",
    ]);
    assert!(paths().ends_with("/x /x/sub /x/sub/c.txt"), "{}", paths());
}

#[test]
fn a_file_is_no_directory_to_copy_into() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    env.write("file", "content\n");
    env.ok(["copy", &container, "file", "/file"]);
    let error = env.run(["copy", &container, "file", "/file/"]).failure(125);
    assert!(error.contains("destination /file/ already exists but is not a directory"), "{error}");
}
