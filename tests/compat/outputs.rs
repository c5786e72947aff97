//! What the verbs print and how they exit, by Debian's Buildah and by us: stdout and status equal to the letter, IDs by form.
//! Lines on which the newest Buildah differs from Debian's (1.28) are not in this table; `tests/cli` has them.

use crate::harness::{TestEnv, skip_without};

/// Scripts in which `$B` is the tool. Each runs in a store of its own, so that names and lists are the same for both.
const SCRIPTS: &[&str] = &[
    // Names of working containers.
    "$B from busybox; $B from busybox; $B from scratch; $B from --name mine busybox",
    "$B from --name mine busybox; $B from --name mine busybox",
    "$B from --cidfile id busybox; wc -c < id | tr -d ' '",
    "$B from -q busybox",
    "$B from nosuch/image:tag 2>/dev/null",
    "$B from --pull-never nosuch 2>/dev/null",
    // Lists.
    "$B containers",
    "$B containers -q",
    "$B containers --json",
    "c=$($B from busybox); $B containers; $B ps -n; $B ls --format '{{.ContainerName}} {{.ImageName}} {{.Builder}}'",
    "c=$($B from busybox); $B containers -q --filter name=box; $B containers --filter ancestor=busybox --format '{{.ContainerName}}'",
    "$B images --format '{{.Name}}:{{.Tag}}'; $B images -q | wc -c; $B images -n | awk '{ print $1, $2 }'",
    "$B images nosuch",
    "$B images -q --no-trunc busybox; $B images --filter dangling=true -q",
    "$B images --json | jq -c '.[] | keys_unsorted'",
    // A stdout that is closed loses what was asked for, but not what is said by the way.
    "for what in images 'images -q' 'images --json' containers 'containers -q' 'inspect busybox' version --version 'from busybox' 'rm busybox-working-container' 'tag busybox b' 'rmi b'; do $B $what >&- 2>e; echo \"$what $? $(grep -v '^write' e)\"; done",
    "for what in images 'images -q' 'images --format {{.ID}}' 'inspect busybox' 'inspect -f {{.FromImageID}} busybox' --version; do $B $what 2>e >/dev/full; echo \"$what $? $(grep ^Error e)\"; done",
    // Names that are empty.
    "$B from ''; $B from --name= busybox; for verb in inspect rm rmi tag pull push run commit config copy 'inspect --type image' 'tag busybox b' 'manifest exists'; do $B $verb '' 2>e; echo \"$verb $?\"; done",
    "$B inspect '' 2>&1; $B rm '' 2>&1; $B rmi '' 2>&1; $B tag '' x 2>&1; $B pull '' 2>&1; $B commit '' x 2>&1; $B config --label a=b '' 2>&1; $B push '' 2>&1; $B push busybox '' 2>&1; $B rmi UPPER 2>&1; $B from UPPER 2>&1; $B images UPPER 2>&1; $B rmi a:b:c 2>&1; true",
    // Inspect.
    "$B inspect --type image --format '{{.OCIv1.Config.Cmd}} {{.Docker.Config.Env}} {{.FromImage}}' busybox",
    "$B inspect --type image --format '{{range .OCIv1.Config.Env}}<{{.}}>{{end}}' busybox",
    "c=$($B from busybox); $B config --label a=b --env X=y $c; $B inspect --format '{{.OCIv1.Config.Labels}} {{len .OCIv1.Config.Env}}' $c",
    "c=$($B from busybox); $B config --volume /v --port 80 $c; $B inspect --format '{{.OCIv1.Config.Volumes}} {{.Docker.Config.ExposedPorts}}' $c",
    "c=$($B from busybox); $B config --healthcheck true --healthcheck-interval 90s --healthcheck-timeout 1500ms $c 2>/dev/null; $B inspect --format '{{.Docker.Config.Healthcheck.Interval}} {{printf \"%v %d %s\" .Docker.Config.Healthcheck.Timeout .Docker.Config.Healthcheck.Timeout .Docker.Config.Healthcheck.StartPeriod}}' $c",
    "$B inspect nosuch",
    "$B inspect --format nothing busybox",
    // Copies.
    "c=$($B from busybox); $B copy $c f; $B copy $c f /dir/; $B copy $c f t /two; $B copy $c t /t",
    "c=$($B from busybox); $B copy $c nosuch /x",
    "c=$($B from busybox); $B copy $c 'no*' /x",
    "c=$($B from busybox); $B copy $c f --chown 1:1 /x",
    "c=$($B from busybox); $B copy -q $c f; $B add $c a.tar /; $B add -q $c a.tar /b",
    "c=$($B from busybox); for s in $PWD/t/a /b $PWD/t; do $B copy -q --contextdir $PWD/t $c $s /in/; done; $B run $F $c ls /in",
    "$B copy nosuch f /",
    // Into itself, but not below what is copied: with Buildah it is chance how much of what comes there is copied as well.
    "c=$($B from scratch); $B copy $c f /d/f; $B copy --from $c $c /d /e; $B copy --from $c $c /d /; $B commit -q $c self >/dev/null; n=$($B from busybox); $B copy -q --from self $n / /self; $B run $F $n sh -c 'cd /self; find . | sort'",
    "c=$($B from busybox); $B copy --chown '' --chmod '' --from '' --contextdir '' $c f /f",
    "c=$($B from busybox); $B copy --chown 5 --chmod 0640 $c f /f; $B copy --chmod u+q $c f /f 2>/dev/null",
    "c=$($B from busybox); $B copy --chown : $c f /f 2>/dev/null",
    "c=$($B from busybox); $B copy --chown nobodyknows $c f /f 2>/dev/null",
    "c=$($B from busybox); $B copy --from busybox $c /etc/passwd /p; $B copy --from busybox $c '/etc/p*' /q; $B copy --from busybox $c ../../etc/group /g",
    "c=$($B from busybox); $B copy --from nosuch $c /x /y 2>/dev/null",
    "c=$($B from busybox); BUILDAH_HISTORY=1 $B copy -q $c f /f; BUILDAH_HISTORY=yes $B add -q $c f /f; BUILDAH_HISTORY=true $B add -q --add-history=false $c f /g; $B inspect --format '{{range .History}}{{.CreatedBy}}|{{end}}' $c",
    // Config.
    "c=$($B from busybox); $B config --env =x --env A=a=b --env 'B= $A' $c; $B inspect --format '{{.OCIv1.Config.Env}}' $c",
    "c=$($B from busybox); $B config --env '' $c",
    "c=$($B from busybox); $B config --label =x --label a --label b= --label '' $c; $B inspect --format '{{.OCIv1.Config.Labels}}' $c",
    "c=$($B from busybox); $B config --healthcheck-interval 5 $c 2>/dev/null",
    "c=$($B from busybox); $B config --healthcheck-retries x $c 2>/dev/null",
    "c=$($B from busybox); $B config --cmd \"'\" $c 2>/dev/null",
    "c=$($B from busybox); $B config --entrypoint '[1]' $c; $B inspect --format '{{.OCIv1.Config.Entrypoint}}' $c",
    "c=$($B from busybox); $B config $c x",
    "c=$($B from busybox); $B config --env NOVALUE_X $c",
    "$B config --env A=b nosuch",
    "$B config",
    "c=$($B from busybox); $B config $c",
    // Commit.
    "c=$($B from busybox); $B commit -q $c one | wc -c; $B commit -q --iidfile id $c two; wc -c < id | tr -d ' '; head -c 7 id",
    "c=$($B from busybox); $B commit -q $c Bad:Name:X",
    "$B commit nosuch x",
    "c=$($B from busybox); $B commit -q --rm $c one >/dev/null; $B containers -q; $B images --format '{{.Name}}'",
    "c=$($B from busybox); $B commit -q $c '' | wc -c; $B images --format '{{.Name}}' | sort",
    "c=$($B from busybox); $B commit -q $c app@sha256:$(printf '%064d' 0) 2>/dev/null; echo $?; $B images --format '{{.Name}}'",
    "$B tag busybox plain; c=$($B from busybox); $B commit -q --manifest plain $c 2>/dev/null",
    "c=$($B from busybox); $B commit -q --manifest list $c one | wc -c; $B commit -q --rm --manifest list $c | wc -c; $B images --format '{{.Name}}' | sort",
    "c=$($B from busybox); $B commit -q --format nosuch $c x",
    "c=$($B from busybox); $B commit -q --timestamp x $c x",
    "c=$($B from busybox); $B commit $c x y",
    "$B inspect --type image busybox | jq 'del(.GroupAdd, .DeviceSpecs, .CDIConfigDir, .TopLayerAnnotations)' | sed 's/20[0-9-]*T[0-9:.]*Z/TIME/g; s/size[^0-9]*[0-9]*/size/g'",
    "c=$($B from busybox); $B commit -q --format docker $c d >/dev/null; $B inspect --type image d | jq 'del(.GroupAdd, .DeviceSpecs, .CDIConfigDir, .TopLayerAnnotations)' | grep -v 'created\\|: \"sha256\\|ID\\|Config\\|Manifest\\|version\\|container\"'",
    // Names of images.
    "$B tag busybox other other:2; $B images --format '{{.Name}}:{{.Tag}}' | sort; $B rmi other; $B rmi other:2",
    "$B tag nosuch x",
    "$B rmi nosuch 2>/dev/null",
    "$B tag busybox other; $B rmi $($B images -q busybox | head -1) 2>/dev/null",
    "$B from busybox; $B rmi busybox 2>/dev/null",
    "$B rmi",
    "$B rmi -a busybox",
    // (1.28 does not print the IDs of parents that follow.)
    "c=$($B from busybox); $B commit -q $c one >/dev/null; $B commit -q --rm $c two >/dev/null; c=$($B from localhost/one); $B commit -q --rm $c child >/dev/null; $B rmi -a | grep untagged; $B images -aq",
    // Containers' names.
    "c=$($B from busybox); $B rename $c new; $B containers --format '{{.ContainerName}}'; $B rename new new",
    "$B rename nosuch x",
    "c=$($B from busybox); $B rm $c | wc -c; $B rm $c",
    "$B rm nosuch",
    "$B rm",
    "$B from busybox; $B from busybox; $B rm -a | wc -l",
    "$B rm -a",
    // Run.
    "c=$($B from busybox); $B run $F $c -- sh -c 'exit 42'",
    "c=$($B from busybox); $B run $F $c -- sh -c 'echo out; echo err >&2' 2>/dev/null",
    "c=$($B from busybox); $B run $F $c echo a b",
    "c=$($B from busybox); $B run $F $c nosuchprogram 2>/dev/null",
    "c=$($B from busybox); $B run $F --user nosuch $c id 2>/dev/null",
    "c=$($B from busybox); $B run $F --user user $c -- id; $B run $F --user 5:6 $c -- id; $B run $F --user user:extra $c -- id",
    "c=$($B from busybox); $B run $F --workingdir /new/dir $c pwd",
    "c=$($B from busybox); $B config --env A=1 --user 1000 --workingdir /home $c; $B run $F --env B=2 $c -- sh -c 'echo $A $B; id -u; pwd; echo $HOME'",
    "c=$($B from busybox); echo in | $B run $F $c cat",
    "c=$($B from busybox); $B run $F $c",
    "c=$($B from busybox); $B run $F $c -- grep Cap /proc/self/status",
    "c=$($B from busybox); $B run $F --cap-add CAP_SYS_ADMIN --cap-drop CAP_CHOWN $c -- grep CapEff /proc/self/status",
    "c=$($B from busybox); $B run $F --volume $PWD/t:/mnt:ro $c -- sh -c 'ls /mnt; touch /mnt/x 2>/dev/null || echo refused'",
    "c=$($B from busybox); $B run $F --mount type=tmpfs,target=/tt $c -- sh -c 'touch /tt/x && ls /tt'",
    // Mount outside and inside unshare.
    "c=$($B from busybox); $B mount $c 2>&1 >/dev/null | sed 's/coracle/buildah/g'",
    "c=$($B from busybox); $B unshare sh -c \"m=\\$($B mount $c); ls \\$m; echo x > \\$m/x; $B umount $c\" | sed 's/^[0-9a-f]*$/ID/'; $B run $F $c cat /x",
    "c=$($B from busybox); $B unshare --mount M=$c sh -c 'ls $M'",
    "$B unshare sh -c 'exit 7'",
    "$B unshare id -u",
    "$B unshare nosuchcommand 2>/dev/null",
    "$B unshare /etc/passwd 2>/dev/null",
    "SHELL= $B unshare 2>/dev/null",
    "$B unshare --mount nosuch true",
    "c=$($B from busybox); $B unshare -m A=$c,B=$c sh -c 'ls $A $B | wc -l'",
    "$B umount nosuch 2>/dev/null",
    // The grammar.
    "$B nosuchverb 2>/dev/null",
    "$B from --nosuchflag 2>/dev/null",
    "$B from",
    "$B version >/dev/null; $B --version >/dev/null; $B --help >/dev/null; $B from --help >/dev/null",
];

#[test]
fn stdout_and_status_are_equal() {
    if skip_without(&["buildah", "jq"]) {
        return;
    }
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                scope.spawn(move || {
                    SCRIPTS.iter().skip(worker).step_by(2).filter_map(|script| lasting_difference(script)).collect::<Vec<_>>()
                })
            })
            .collect();
        for worker in workers {
            wrong.extend(worker.join().expect("a worker"));
        }
    });
    assert!(wrong.is_empty(), "{} of {} scripts differ:\n\n{}", wrong.len(), SCRIPTS.len(), wrong.join("\n\n"));
}

/// A difference that shows again: Buildah's chroot isolation now and then loses what its command printed.
fn lasting_difference(script: &str) -> Option<String> {
    difference(script).and_then(|_| difference(script)).and_then(|_| difference(script))
}

/// How the two answers to one script differ.
fn difference(script: &str) -> Option<String> {
    let answer = |tool: &str| {
        let env = TestEnv::new();
        env.busybox("localhost/busybox:latest");
        env.write("f", "content\n");
        env.write("t/a", "a");
        env.write("t/b", "b");
        env.shell("touch -h -d @1600000000 f t/a t/b t; tar --numeric-owner --owner 0 --group 0 -cf a.tar t f").success();
        let flags = env.isolation_of(tool);
        // Only stdout and the status of the last command count; an error's words are compared where the verbs' own tests are.
        let output = env.shell(&format!("set +e; B={tool}; F='{flags}'; {script}"));
        (output.to_string(), output.code)
    };
    let (theirs, their_code) = answer("buildah");
    let (ours, our_code) = answer("coracle");
    let stdout = |text: &str| text.split("------- stderr -------").next().unwrap_or_default().to_owned();
    if stdout(&theirs) == stdout(&ours) && their_code == our_code {
        return None;
    }
    Some(format!("{script}\n--- buildah\n{theirs}--- coracle\n{ours}"))
}
