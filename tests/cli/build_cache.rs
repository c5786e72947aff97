//! Which steps of a build are taken again: a table of changes, each with whether the step must run.

use std::os::unix::fs::PermissionsExt as _;

use crate::harness::TestEnv;

pub struct Project {
    pub env: TestEnv,
}

/// What must become of a step after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Cached,
    Runs,
}

pub const FILE: &str =
    "FROM base\nARG VERSION=1\nENV E=1\nCOPY src /src\nRUN cat /src/a >/copied; cat /proc/sys/kernel/random/uuid >/stamp\n";

impl Project {
    pub fn new() -> Self {
        Self::on("overlay")
    }

    /// The same on a store of that driver.
    pub fn on(driver: &str) -> Self {
        let env = TestEnv::on(driver);
        env.busybox("base");
        env.write("ctx/src/a", "one\n");
        env.write("ctx/src/sub/b", "two\n");
        env.write("ctx/other", "three\n");
        env.write("ctx/Dockerfile", FILE);
        Self { env }
    }

    /// Builds, and answers whether the last step came from the cache, with why it did not.
    #[track_caller]
    pub fn build(&self, flags: &[&str]) -> (Then, String) {
        let out = self.env.run(["build", "--layers", "--progress", "plain", "-t", "app"].iter().chain(flags).chain(&["ctx"]));
        let (text, notes) = (out.success(), String::from_utf8_lossy(&out.stderr).into_owned());
        let last = text.split("STEP ").last().unwrap_or_default();
        (if last.contains("--> Using cache ") { Then::Cached } else { Then::Runs }, notes)
    }

    /// What the last command wrote when it ran.
    pub fn stamp(&self) -> String {
        let container = self.env.ok(["from", "--pull-never", "app"]);
        let stamp = self.env.inside(&container, "cat /stamp");
        self.env.ok(["rm", &container]);
        stamp
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.env.work().join("ctx").join(name)
    }
}

/// A change of something, what must become of the last step then, and what the reason must name.
type Change = (&'static str, fn(&Project), Then, &'static str);

#[test]
fn what_a_step_depends_on_decides_and_nothing_else() {
    let changes: [Change; 12] = [
        ("nothing", |_| {}, Then::Cached, ""),
        (
            "a time",
            |project| {
                let file = std::fs::File::options().write(true).open(project.path("src/a")).unwrap();
                file.set_times(std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH)).unwrap();
            },
            Then::Cached,
            "",
        ),
        ("a file that is not copied", |project| drop(project.env.write("ctx/other", "changed\n")), Then::Cached, ""),
        (
            "the content of a file",
            |project| drop(project.env.write("ctx/src/sub/b", "TWO\n")),
            Then::Runs,
            "\"src\" of the context",
        ),
        ("a new file", |project| drop(project.env.write("ctx/src/new", "")), Then::Runs, "\"src\" of the context"),
        (
            "a mode",
            |project| std::fs::set_permissions(project.path("src/a"), std::fs::Permissions::from_mode(0o755)).unwrap(),
            Then::Runs,
            "\"src\" of the context",
        ),
        (
            "a name",
            |project| {
                std::fs::rename(project.path("src/a"), project.path("src/c"))
                    .and_then(|()| std::fs::write(project.path("src/a"), "one\n"))
                    .unwrap()
            },
            Then::Runs,
            "\"src\" of the context",
        ),
        (
            "an ignore file that leaves nothing of it out",
            |project| drop(project.env.write("ctx/.dockerignore", "other\n")),
            Then::Cached,
            "",
        ),
        (
            "an ignore file that leaves a part of it out",
            |project| drop(project.env.write("ctx/.dockerignore", "src/sub\n")),
            Then::Runs,
            "\"src\" of the context",
        ),
        (
            "the command",
            |project| drop(project.env.write("ctx/Dockerfile", FILE.replace("cat /proc", "echo 1; cat /proc"))),
            Then::Runs,
            "no build ran it here before",
        ),
        (
            "a comment and blanks between instructions",
            |project| drop(project.env.write("ctx/Dockerfile", FILE.replace("COPY", "# what\n\nCOPY"))),
            Then::Cached,
            "",
        ),
        (
            "a variable before it",
            |project| drop(project.env.write("ctx/Dockerfile", FILE.replace("E=1", "E=2"))),
            Then::Runs,
            "no build ran it here before",
        ),
    ];
    for (name, change, then, reason) in changes {
        let project = Project::new();
        assert_eq!(project.build(&[]).0, Then::Runs, "{name}: the first time");
        let stamp = project.stamp();
        change(&project);
        let (found, notes) = project.build(&[]);
        assert_eq!(found, then, "{name}: {notes}");
        assert_eq!(project.stamp() == stamp, then == Then::Cached, "{name}");
        assert!(notes.contains(reason), "{name}: {notes}");
        // What was built then is found the next time.
        assert_eq!(project.build(&[]).0, Then::Cached, "{name}: again");
    }
}

#[test]
fn the_flag_that_differs_is_named() {
    let flags: [(&str, &str); 9] = [
        ("--timestamp=7", "--timestamp or --source-date-epoch"),
        ("--omit-history", "--omit-history"),
        ("--annotation=a=b", "--annotation"),
        ("--os-version=7", "--os-version"),
        ("--add-host=a:127.0.0.2", "--add-host"),
        ("--network=none", "--network"),
        ("--ulimit=nofile=64:64", "--ulimit"),
        ("--volume=/usr:/mnt:ro", "--volume"),
        ("--security-opt=no-new-privileges", "--security-opt"),
    ];
    // Of more builds of a step than a few it is forgotten what they were like.
    for flags in flags.chunks(3) {
        let project = Project::new();
        assert_eq!(project.build(&[]).0, Then::Runs);
        for (flag, name) in flags {
            let (found, notes) = project.build(&[flag]);
            assert_eq!(found, Then::Runs, "{flag}: {notes}");
            assert!(
                notes.contains(&format!("--> Not from the cache: {name} changed since the last time\n")),
                "{flag}: {notes}"
            );
            assert_eq!(project.build(&[flag]).0, Then::Cached, "{flag}");
        }
        assert_eq!(project.build(&[]).0, Then::Cached);
    }
}

#[test]
fn arguments_flags_and_bases_are_part_of_it() {
    let project = Project::new();
    assert_eq!(project.build(&[]).0, Then::Runs);
    let cases: [(&[&str], Then, &str); 9] = [
        (&["--build-arg", "VERSION=1"], Then::Cached, ""),
        (&["--build-arg", "VERSION=2"], Then::Runs, "argument VERSION changed since the last time"),
        (&["--build-arg", "UNUSED=2"], Then::Cached, ""),
        (&["--format", "docker"], Then::Runs, ": --format changed since the last time"),
        (&["--cap-add", "SYS_ADMIN"], Then::Runs, ": --cap-add or --cap-drop changed since the last time"),
        (&["--no-cache"], Then::Runs, "no step may come from the cache"),
        (&["--cache-ttl", "1ns"], Then::Runs, "too old"),
        (&["--label", "a=b"], Then::Runs, "no build ran it here before"),
        (&[], Then::Cached, ""),
    ];
    for (flags, then, reason) in cases {
        let (found, notes) = project.build(flags);
        assert_eq!(found, then, "{flags:?}: {notes}");
        assert!(notes.contains(reason), "{flags:?}: {notes}");
    }
    // Another image under the name of the base.
    project
        .env
        .shell("c=$(coracle from base); coracle config --label new=1 $c; coracle commit -q --rm $c base >/dev/null")
        .success();
    let (found, notes) = project.build(&[]);
    assert_eq!(found, Then::Runs, "{notes}");
}

#[test]
fn mounts_stages_and_removed_images_are_part_of_it() {
    let project = Project::new();
    let file = "FROM base AS tools\nCOPY other /tool\nFROM base\nRUN --mount=type=bind,source=src,target=/src cat /src/a >/x\n\
                COPY --from=tools /tool /tool\nRUN cat /proc/sys/kernel/random/uuid >/stamp\n";
    project.env.write("ctx/Dockerfile", file);
    assert_eq!(project.build(&[]).0, Then::Runs);
    assert_eq!(project.build(&[]).0, Then::Cached);
    project.env.write("ctx/src/a", "ONE\n");
    let (found, notes) = project.build(&[]);
    assert_eq!(found, Then::Runs);
    assert!(notes.contains("\"src\", which is mounted"), "{notes}");
    assert_eq!(project.build(&[]).0, Then::Cached);
    project.env.write("ctx/other", "THREE\n");
    assert_eq!(project.build(&[]).0, Then::Runs);
    assert_eq!(project.build(&[]).0, Then::Cached);
    // Without its image a step is taken again; without the index all are, and nothing else happens.
    project.env.ok(["rmi", "app"]);
    assert_eq!(project.build(&[]).0, Then::Runs);
    assert_eq!(project.build(&[]).0, Then::Cached);
    std::fs::remove_dir_all(project.env.graph_root().join("coracle/steps")).expect("the index");
    assert_eq!(project.build(&[]).0, Then::Runs);
    assert_eq!(project.build(&[]).0, Then::Cached);
    project.env.assert_store_is_clean();
}

#[test]
fn secrets_are_part_of_it_by_name_only() {
    let project = Project::new();
    let file = "FROM base\nRUN --mount=type=secret,id=s wc -c </run/secrets/s >/n; cat /proc/sys/kernel/random/uuid >/stamp\n";
    project.env.write("ctx/Dockerfile", file);
    project.env.write("secret", "one");
    let with = ["--secret", "id=s,src=secret"];
    assert_eq!(project.build(&with).0, Then::Runs);
    project.env.write("secret", "another");
    assert_eq!(project.build(&with).0, Then::Cached);
    project.env.write("ctx/Dockerfile", file.replace("id=s ", "id=s,target=/run/secrets/s "));
    assert_eq!(project.build(&with).0, Then::Runs);
}

#[test]
fn whatever_the_index_says_the_image_must_be_there() {
    let project = Project::new();
    assert_eq!(project.build(&[]).0, Then::Runs);
    let keys = project.env.graph_root().join("coracle/steps/keys");
    for entry in std::fs::read_dir(&keys).expect("the index") {
        let path = entry.expect("an entry").path();
        for damage in ["", "zz\n", "../../../etc/passwd\n", &format!("{}\n", "ab".repeat(32)), &"x".repeat(1 << 16)] {
            std::fs::write(&path, damage).expect("a damaged entry");
        }
    }
    assert_eq!(project.build(&[]).0, Then::Runs);
    assert_eq!(project.build(&[]).0, Then::Cached);
}

#[test]
fn an_image_that_is_listed_comes_from_the_cache_and_is_listed() {
    let project = Project::new();
    assert_eq!(project.build(&["--manifest", "one"]).0, Then::Runs);
    let (found, notes) = project.build(&["--manifest", "two"]);
    assert_eq!(found, Then::Cached, "{notes}");
    let digests = |list: &str| {
        let text = project.env.ok(["manifest", "inspect", list]);
        text.lines().filter(|line| line.contains("\"digest\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((digests("one").len(), digests("two")), (1, digests("one")));
    assert_eq!(project.build(&["--manifest", "two"]).0, Then::Cached);
    assert_eq!(digests("two").len(), 1, "it is listed once");
}

#[test]
fn what_is_taken_from_a_stage_counts_by_its_content() {
    let project = Project::new();
    let file = |make: &str| {
        format!(
            "FROM base AS tools\nARG ROUND\nRUN echo $ROUND >/unrelated; mkdir /tool; {make}\nFROM base\nCOPY --from=tools /tool /tool\n\
             RUN --mount=type=bind,from=tools,source=/tool,target=/t cat /t/* >/seen; cat /proc/sys/kernel/random/uuid >/stamp\n"
        )
    };
    project.env.write("ctx/Dockerfile", file("echo one >/tool/a"));
    assert_eq!(project.build(&["--build-arg", "ROUND=1"]).0, Then::Runs);
    let stamp = project.stamp();
    // The stage is built anew, to the same files but for one that nobody takes.
    let (found, notes) = project.build(&["--build-arg", "ROUND=2"]);
    assert_eq!((found, project.stamp()), (Then::Cached, stamp.clone()), "{notes}");
    assert_eq!(notes.matches("Not from the cache").count(), 2, "ARG and RUN of the stage: {notes}");
    for make in
        ["echo two >/tool/a", "echo one >/tool/a; chmod 700 /tool/a", "echo one >/tool/b", "echo one >/tool/a; ln -s a /tool/c"]
    {
        project.env.write("ctx/Dockerfile", file(make));
        let (found, notes) = project.build(&["--build-arg", "ROUND=1"]);
        assert_eq!(found, Then::Runs, "{make}: {notes}");
        assert!(notes.contains("\"/tool\" of tools changed since the last time"), "{make}: {notes}");
        assert_eq!(project.build(&["--build-arg", "ROUND=1"]).0, Then::Cached, "{make}");
    }
    // Without what is remembered of the stage's files they are looked at again.
    std::fs::remove_dir_all(project.env.graph_root().join("coracle/steps/trees")).expect("what is remembered");
    assert_eq!(project.build(&["--build-arg", "ROUND=1"]).0, Then::Cached);
    project.env.write("ctx/Dockerfile", file("echo one >/tool/a"));
    assert_eq!((project.build(&["--build-arg", "ROUND=1"]).0, project.stamp()), (Then::Cached, stamp));
    project.env.assert_store_is_clean();
}

#[test]
fn prune_leaves_nothing_that_leads_to_no_image() {
    let project = Project::new();
    project.build(&[]);
    let count = |kind: &str| {
        let directory = project.env.graph_root().join("coracle/steps").join(kind);
        std::fs::read_dir(directory).map(|entries| entries.count()).unwrap_or_default()
    };
    let steps = || project.env.ok(["info", "--format", "{{.coracle.cachedSteps}}"]);
    assert_eq!((count("keys"), steps().as_str()), (4, "4"));
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(31 * 24 * 60 * 60);
    for kind in ["keys", "last"] {
        for entry in std::fs::read_dir(project.env.graph_root().join("coracle/steps").join(kind)).expect("the index") {
            let file = std::fs::File::options().write(true).open(entry.expect("an entry").path()).expect("its file");
            file.set_times(std::fs::FileTimes::new().set_modified(old)).expect("its time");
        }
    }
    // However old, a step that has its image stays.
    project.env.ok(["prune"]);
    assert_eq!((count("keys"), count("last")), (4, 0));
    assert_eq!(project.build(&[]).0, Then::Cached);
    project.env.ok(["rmi", "app"]);
    project.env.ok(["rmi", "--prune"]);
    project.env.ok(["prune"]);
    assert_eq!((count("keys"), steps().as_str()), (0, "0"));
}
