//! The same copies by Debian's Buildah and by us: printed digests, exit statuses and the trees in the containers are equal.

use crate::harness::{TestEnv, skip_without};

/// What is copied from. Times are whole seconds, because Buildah's copies have no others.
const FIXTURE: &str = r#"
mkdir -p src/dir/sub src/dir/empty src/other/deep/er src/glob src/big
head -c 41000007 /dev/zero | tr '\0' 'x' > src/big/large; head -c 9000001 /dev/zero > src/big/zeros; truncate -s 20M src/big/hole; printf end >> src/big/hole
printf 'one\n' > src/one; printf 'two\n' > src/two; : > src/none
printf 'in dir\n' > src/dir/file; printf 'in sub\n' > src/dir/sub/file; ln src/dir/file src/dir/sub/hard
ln -s ../file src/dir/sub/link; ln -s /nowhere src/dir/dangling; ln -s one src/link; ln -s dir src/dirlink
mkfifo src/dir/fifo; printf 'p\n' > src/dir/prog; chmod 4755 src/dir/prog; chmod 1777 src/dir/sub; chmod 0600 src/two
printf 'x\n' > src/other/deep/er/x; printf 'a\n' > src/glob/a.txt; printf 'b\n' > src/glob/b.txt; printf 'c\n' > src/glob/c.bin
printf 'u\n' > "src/other/$(printf '\303\274')mlaut"; printf 'l\n' > src/other/$(printf 'n%.0s' $(seq 140))
truncate -s 3M src/other/sparse; head -c 400000 /dev/zero | tr '\0' 'z' > src/other/large
tar -C src --sort=name --owner=1001 --group=50 --format=gnu -cf src/gnu.tar dir glob
tar -C src --sort=name --owner=ann:1001 --group=staff:50 --format=pax -czf src/pax.tgz other
mkdir -p src/links/below src/over/gone src/over/file; echo o >src/over/gone/o; echo o >src/over/file/o; ln -s /gone src/links/below/gone; ln -s /one src/links/below/file
ln -s /made/here src/links/to-nothing; ln -s ../../../../up-there src/links/up; ln -s three src/links/two; ln -s /four src/links/three
ln -s two-3 src/links/two-2; ln -s deep/er src/links/two-3; ln -s made2 src/links/to-nothing-2; ln -s made3/ src/links/to-nothing-3
ln -s one/x src/links/through-a-file; ln -s circle src/links/circle
gzip -nc src/one > src/one.gz; printf 'root:x:0:0::/:\nbob:x:7:8::/:\n' > src/passwd; printf 'staff:x:50:\n' > src/group
find src -exec touch -h -d @1000000000 {} +
"#;

/// Operands and flags, one call each, in both tools' containers. `C` is the container.
const CALLS: &[&str] = &[
    "copy C src/one /one",
    "copy C src/one /slash/",
    "copy C src/one relative/name",
    "copy C src/one",
    "copy C src/none /none",
    "copy C src/two /one",
    "copy C src/one src/two /both",
    "copy C src/one src/two /both/",
    "copy C src/dir /dir",
    "copy C src/dir/ /dir2/",
    "copy C src/dir src/one /mixed/",
    "copy C src/other /other",
    "copy C src/other /other",
    "copy C src/link /link",
    "copy C src/dirlink /dirlink",
    "copy C src/dir/dangling /slash/",
    "copy C src/glob/*.txt /texts/",
    "copy C src/glob/[ab].txt /last",
    "copy C src/gl*b /globbed",
    "copy C src/gnu.tar /gnu.tar",
    // So large that the copy is read again for its digest.
    "copy C src/big/large /big-one",
    "copy C src/big /big",
    "copy C src/big/zeros src/one src/big/hole /big-and-small/",
    "copy --chown 5:6 --chmod 600 C src/big /big-and-owned",
    "copy C src/passwd /etc/passwd",
    "copy C src/group /etc/group",
    "copy --chown 5:6 C src/dir /owned/by/numbers",
    "copy --chown 5 C src/one /owned/five",
    "copy --chown bob C src/one /owned/bob",
    "copy --chown bob:staff C src/dir /owned/staff",
    "copy --chmod 0640 C src/dir /chmod/dir",
    "copy --chmod 4711 C src/one /chmod/one",
    "copy -q C src/one /quiet",
    "add C src/one /added/one",
    "add C src/gnu.tar /gnu",
    "add C src/pax.tgz /pax",
    "add C src/pax.tgz src/one /pax-and-one",
    "add C src/one.gz /one.gz",
    "copy C src/dir/file /dir",
    "copy C src/one src/two /two-sources-to-a-file",
    "copy C src/one src/two /one",
    // Links that lead to nothing are followed, and a file goes into the directory that is made there.
    "copy C src/links /",
    "copy C src/one /to-nothing",
    "copy C src/one /up/x/y",
    "copy C src/dir /two",
    "copy C src/glob /two-2",
    "copy C src/one src/two /to-nothing-2",
    "add C src/gnu.tar /to-nothing-3/below",
    "copy C src/dir /through-a-file",
    "copy C src/one /circle",
    "copy C src/over /below",
    "copy C src/missing /x",
    "copy C src/miss* /x",
    "copy C src/miss* src/none? /x",
    "copy C src/one src/miss* /beside-nothing/",
    "copy C src/miss* src/one /beside-nothing-2",
    "copy --chown nobodyknows C src/one /x",
    "copy --chmod 9 C src/one /x",
    "copy --ignorefile src/one C src/one /x",
    "copy C",
];

/// All that is in a container. Of what was made by the tool itself (directories on the way) the time is not compared.
const LISTING: &str = r#"cd "$m"; find . -mindepth 1 \( -not -newermt 2010-01-01 -printf '%p %y %m %U:%G %n %l %Ts\n' \) -o -printf '%p %y %m %U:%G %n %l\n' |
 sort; find . -type f -exec sha256sum {} + | sort"#;

struct Answer {
    call: String,
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(env: &TestEnv, tool: &str) -> (Vec<Answer>, String) {
    let container = env.tool(tool, ["from", "--name", &format!("by-{tool}"), "scratch"]).success();
    let answers = CALLS.iter().map(|call| {
        let line =
            call.split(' ').map(|word| if word == "C" { container.as_str() } else { word }).collect::<Vec<_>>().join(" ");
        // Through a shell, with patterns left to the tool.
        let output = env.shell(&format!("set -f; {tool} {line}"));
        Answer { call: (*call).to_owned(), status: output.code, stdout: output.out(), stderr: output.err() }
    });
    let answers = answers.collect();
    let listing = env.tool("buildah", ["unshare", "sh", "-euc", &format!("m=$(buildah mount {container}); {LISTING}")]);
    (answers, listing.success())
}

#[test]
fn copies_of_both_tools_are_equal() {
    if skip_without(&["buildah", "tar"]) {
        return;
    }
    let env = TestEnv::new();
    env.shell(FIXTURE).success();
    let (theirs, their_tree) = run(&env, "buildah");
    let (ours, our_tree) = run(&env, "coracle");
    let mut different = Vec::new();
    for (theirs, ours) in theirs.iter().zip(&ours) {
        if (theirs.status, &theirs.stdout) != (ours.status, &ours.stdout) {
            different.push(format!(
                "{}\n  buildah: {:?} {:?} {}\n  coracle: {:?} {:?} {}",
                theirs.call, theirs.status, theirs.stdout, theirs.stderr, ours.status, ours.stdout, ours.stderr
            ));
        }
    }
    let (their_lines, our_lines): (Vec<_>, Vec<_>) = (their_tree.lines().collect(), our_tree.lines().collect());
    assert!(their_lines.len() > 100, "{their_tree}");
    different.extend(their_lines.iter().filter(|line| !our_lines.contains(line)).map(|line| format!("only buildah: {line}")));
    different.extend(our_lines.iter().filter(|line| !their_lines.contains(line)).map(|line| format!("only coracle: {line}")));
    assert!(different.is_empty(), "{}", different.join("\n"));
}
