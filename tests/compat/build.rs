//! `build` by Debian's Buildah and by us: scripts that call it read the same standard output, statuses, words, names and documents.
//! What the newest Buildah does otherwise than Debian's (1.28) is not in these tables; `tests/cli/build*.rs` has it.

use crate::harness::{TestEnv, skip_without};

/// What every script may use: `b` builds and shows standard output and status, `says` whether standard error has a phrase, `config` the
/// documents of an image, `tree` its files.
const PRELUDE: &str = r#"
ids() { sed -E '/^(Getting image source|Copying (blob|config)|Writing manifest|Storing sig)/d; s/[0-9a-f]{64}/ID/g; s/^--> [0-9a-f]{11,12}$/--> ID/; s/"io.buildah.version":"[^"]*"/"version"/'; }
b() { $B bud $F "$@" </dev/null >out 2>err; s=$?; ids <out; echo "status $s"; }
says() { grep -qF -- "$1" err && echo "says $1" || { echo "does not say $1:"; cat err; }; }
config() { $B inspect --type image $1 | jq -cS '.OCIv1 | .config, (.history[] | [.created_by, .empty_layer]), (.rootfs.diff_ids | length)' | ids; }
tree() { c=$($B from $1); $B unshare sh -euc "m=\$($B mount $c); cd \$m/made; find . -printf '%p %y %m %U:%G %n %l\n' | sort; $B umount $c" | ids; $B rm $c >/dev/null; }
from() { printf 'FROM busybox\n'; cat; }
"#;

/// Each is run in a directory of its own with the files of [`difference`].
const SCRIPTS: &[&str] = &[
    // Standard output.
    "from >Dockerfile <<'E'
ARG A=b
ENV C=d E=\"f g\"
RUN echo $A  $C
RUN [\"/bin/sh\",\"-c\",\"echo x\"]
COPY f /f
CMD [\"sh\"]
E
b -t one -t two:2 .; config one; $B images --format '{{.Name}}:{{.Tag}}' | grep localhost | sort
b --layers -t one .; config one; b --layers -t one .; b --layers .; b .",
    // RUN prints to standard output only where that is not for something else.
    "printf 'FROM busybox\nRUN echo out; echo err >&2\n' >Dockerfile
b -q .; cat err; b -q --layers .; b --iidfile id .; ids <id; echo; b -q --iidfile id .; b --logfile log .; ids <log; b -q --logfile log .; ids <log
$B bud $F -o - . 2>err | tar t | grep -x etc/passwd; $B bud $F -o type=tar,dest=- . 2>err | tar t | grep -x etc/passwd
b -o out .; cat out/etc/group; b --iidfile /nosuch/x . | tail -n 1; says 'failed to write image ID to file \"/nosuch/x\"'",
    // Stages.
    "printf 'FROM busybox AS a\nRUN echo a >/a\nFROM busybox AS b\nRUN echo b >/b\nFROM busybox\nCOPY --from=a /a /aa\nCOPY --from=1 /b /bb\nCOPY --from=busybox /etc/passwd /pw\nRUN cat /aa /bb\n' >Dockerfile
b --jobs 1 -t s .; b --jobs 1 --layers -t s .; config s; b --target a .; b --target nope .; says 'target \"nope\" was not found in the provided Dockerfile'",
    // Arguments.
    "printf 'FROM busybox\nARG A=1\nARG B\nARG C=${A}x\nRUN echo $A $B $C\nENV A=2\nARG D=$A\nRUN echo $A $D\n' >Dockerfile
b .; says 'missing \\\"B\\\" build argument. Try adding \\\"--build-arg B=<VALUE>\\\"' >/dev/null; b --build-arg B=2 --build-arg Z=1 --build-arg Y=2 .
b --build-arg A=9 --build-arg B=x -t a .; config a; b --build-arg B .; printf 'ARG A=x\nARG U\nFROM busybox\nARG A\nARG U\nRUN echo $A,$U\n' >Dockerfile; b --build-arg U=5 .",
    // Documents.
    "from >Dockerfile <<'E'
MAINTAINER me <me@x>
ENV old a b c
ENV PATH=$PATH:/x q=\"\\$q\" r='$r' s=${old:-x} t=${nope:+x}
LABEL l=\"a b\" \"m n\"=o
LABEL old label value
EXPOSE 80 53/udp 90-92
VOLUME /v1 /v2
VOLUME [\"/v3\"]
USER user
STOPSIGNAL 9
ENTRYPOINT [\"/bin/sh\"]
CMD -c true
RUN true
E
b -t d .; config d; b --format docker -t dd .; config dd
for i in 'CMD [\"c\"]\nENTRYPOINT [\"e\"]' 'ENTRYPOINT [\"e\"]' 'ENTRYPOINT e f' 'ENTRYPOINT []' 'CMD   a  \"b\" ' 'CMD [\"a\", b]' 'WORKDIR a/../b/./c/' 'EXPOSE 80/UDP' 'VOLUME a' 'USER 5:6' 'USER a b' 'ENV A=1 A=2' 'LABEL a='; do
printf \"FROM busybox\n$i\n\" >Dockerfile; b -q -t i .; $B inspect --type image i | jq -cS .OCIv1.config | ids; done",
    // Copies.
    "mkdir -p d/s hl sg; echo g >d/g; echo h >d/s/h; ln -s g d/lg; ln -s /etc/passwd d/abs; ln -s f lf; ln -s d ld; echo 1 >hl/x; ln hl/x hl/y; echo s >suid; chmod 6755 suid; chmod 2755 sg; echo q >sg/q; echo w >w
from >Dockerfile <<'E'
COPY f /made/1
COPY f /made/2/
COPY f w /made/3/
COPY d /made/4
COPY d/ w /made/5/
COPY lf /made/6
COPY ld /made/7
COPY hl /made/8
COPY suid sg /made/9/
COPY --chmod=4755 suid d /made/10/
COPY --chown=user suid /made/11
COPY --chown=user:extra d /made/12
COPY --chown=5:6 --chmod=600 d /made/13
COPY --chown=7 f /made/14
COPY [wf] /made/15/
COPY [\"f\",\"w\",\"/made/16/\"]
COPY f nothing* /made/17/
COPY nothing* no[12] f /made/18
COPY /../f /made/19
COPY d/../f /made/20
RUN mkdir /made/x; ln -s x /made/lx; ln -s /made/x/new /made/fl; echo >/made/x/new
COPY d /made/lx
COPY w /made/lx/deep/q
COPY w /made/fl
RUN mkdir /made/w
USER user
WORKDIR /made/w
COPY f sub/
COPY d .
COPY --from=busybox /etc/group /etc/passwd /made/21/
COPY --from=busybox etc/pass* /made/22/
ADD a.tar /made/23
ADD a.tar f /made/24/
COPY a.tar /made/25
E
b -q -t c .; tree c; b -q --layers -t c . ; tree c
printf 'FROM busybox\nWORKDIR /made\nENV E=\nCOPY f \"\"\nCOPY [\"w\", \"\"]\nCOPY lf ld $E\nVOLUME /made/v made/w /made/f\n' >Dockerfile
b -t e .; config e; tree e; b -q --layers -t e .; tree e",
    // What cannot be copied.
    "mkdir d; printf 'f\nd/*\n' >.dockerignore; touch d/x w
for i in 'COPY nope /x' 'COPY nope* /x' 'COPY nope* no? /x/' 'COPY f /x' 'COPY d /x' 'COPY w /etc/passwd/' 'COPY w d /etc/passwd' 'COPY http://x/y /x' 'COPY --chown=nobodyknows w /x' 'COPY --chmod=zz w /x' 'COPY --from= /a /b' 'COPY --from=$NOPE /a /b' 'COPY --from=nope:1 /a /b'; do
printf \"FROM busybox\n$i\n\" >Dockerfile; b --pull-never -q .; done; says 'no stage or image found with that name'",
    // What the ignore file leaves out.
    "mkdir -p a/b/c .git node_modules/x a/node_modules; for i in a/1 a/b/2 a/b/c/3 top.md keep.md a/r.md .git/HEAD node_modules/x/y a/node_modules/z '#hash' .env; do echo x >$i; done
printf 'FROM busybox\nCOPY . /n\nRUN cd /n; find . | sort\n' >Dockerfile
for i in '*.md\n!keep.md' '**/*.md' 'node_modules\n.git/' '**/node_modules' '/a/b' 'a/b/\n!a/b/c' '*\n!a/b' '**\n!a/1' '# c\n  a  \n' '\\357\\273\\277a' '\\\\#hash' './a' 'a/*/c' 'a/../top.md' 'a/?' '.*' 'a\r\n*.md\r'; do
printf \"$i\n\" >.dockerignore; echo \"== $i\"; b .; done",
    // Statuses, and where the context and its file are.
    "mkdir -p ctx e em; : >em/Dockerfile; printf 'FROM busybox\n' >ctx/Dockerfile; printf 'FROM busybox\nRUN echo c\n' >ctx/Containerfile
b a b; says 'accepts at most 1 arg(s), received 2'; b nosuch; b e; says 'cannot find Containerfile or Dockerfile in context directory: stat'; b em; says 'no contents in'
b ctx/Dockerfile; b -f ctx/Containerfile; b -f Containerfile ctx; b -f nope ctx; b --nosuch ctx; says 'unknown flag: --nosuch'
$B bud $F - <ctx/Containerfile 2>err | ids; $B bud $F -f - ctx <ctx/Containerfile 2>err | ids; tar -C ctx -c . | $B bud $F - 2>err | ids; tar -C ctx -cz . | $B bud $F -f Dockerfile - 2>err | ids
for i in 'exit 3' nosuch '[\"/nosuch\"]' 'echo \"a  b\"; false'; do printf 'FROM busybox\nRUN %s\n' \"$i\" >Dockerfile; b -q .; done; says 'building at STEP \"RUN echo \"a  b\"; false\"'
b -t A .; says 'tag A: invalid reference format: repository name must be lowercase'; b -t 'a b' .; b -t a:b:c .",
    // Users, volumes and mounts of RUN.
    "echo secret >s; from >Dockerfile <<'E'
VOLUME /vv
RUN --mount=type=secret,id=s,target=/q,mode=0444,uid=5 cat /q; ls -ln /q | cut -c1-20; echo x >/tmp/vvx
RUN --mount=type=bind,source=f,target=/m cat /m; echo x >/m || echo ro
RUN --mount=type=bind,from=busybox,source=/etc,target=/m ls /m
RUN --mount=type=tmpfs,target=/t echo x >/t/y; ls /t
RUN ls -d /t /m || true
USER user
WORKDIR /home
RUN id -u; id -g; pwd
USER 5:6
RUN id -u; id -g
USER user:
RUN id -u; id -g
E
b --secret id=s,src=s .",
    // The steps' images in lists, and what takes them away.
    "printf 'FROM busybox\nENV a=b\nCOPY f /f\nLABEL c=d\n' >Dockerfile; n() { echo $(($($B images -aq | sort -u | wc -l))) $($B images -q | sort -u | wc -l); }
n; b -q --layers -t one .; n; b -q --layers --label x=y -t two .; n; b -q --layers -t three .; n; $B rmi two >/dev/null; n; $B rmi one three >/dev/null; n; $B rmi --prune -f >/dev/null; n",
];

#[track_caller]
fn assert_equal(scripts: std::ops::Range<usize>) {
    if skip_without(&["buildah", "jq", "tar"]) {
        return;
    }
    let wrong: Vec<_> = SCRIPTS[scripts].iter().filter_map(|script| lasting_difference(script)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn standard_output_is_equal() {
    assert_equal(0..2);
}

#[test]
fn stages_arguments_and_documents_are_equal() {
    assert_equal(2..5);
}

#[test]
fn copies_of_builds_are_equal() {
    assert_equal(5..7);
}

#[test]
fn ignore_files_are_read_alike() {
    assert_equal(7..8);
}

#[test]
fn statuses_commands_and_intermediate_images_are_equal() {
    assert_equal(8..SCRIPTS.len());
}

/// A difference that shows again: Buildah's chroot isolation now and then loses what its command printed.
fn lasting_difference(script: &str) -> Option<String> {
    difference(script).and_then(|_| difference(script)).and_then(|_| difference(script))
}

/// The lines in which the two answers to one script differ.
fn difference(script: &str) -> Option<String> {
    let answer = |tool: &str| {
        let env = TestEnv::new();
        env.busybox("localhost/busybox:latest");
        env.write("f", "content\n");
        env.shell("touch -d @1600000000 f; tar --numeric-owner --owner 3 --group 4 -cf a.tar f").success();
        let flags = env.isolation_of(tool);
        env.shell(&format!("set +e; B={tool}; F='{flags}'; {PRELUDE}\n{script}")).out()
    };
    let (theirs, ours) = (answer("buildah"), answer("coracle"));
    let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.lines().collect(), ours.lines().collect());
    if theirs == ours {
        assert!(ours.len() > 5, "the script says nothing: {script}\n{}", ours.join("\n"));
        return None;
    }
    let only = |lines: &[&str], others: &[&str], sign: &str| -> String {
        lines.iter().filter(|line| !others.contains(line)).map(|line| format!("{sign} {line}\n")).collect()
    };
    Some(format!("{script}\n{}{}", only(&theirs, &ours, "- buildah:"), only(&ours, &theirs, "+ coracle:")))
}
