//! Manifest lists by Debian's Buildah and by us: what is printed, what is stored, and each tool with the other's lists.

use crate::harness::{TestEnv, skip_without};

/// What stands before each script: `show NAME` prints the record and the files of a list without what differs from run to run.
const PRELUDE: &str = r#"
show() {
    dir=$HOME/.local/share/containers/storage/overlay-images
    jq -c --arg name "localhost/$1:latest" '.[] | select(.names // [] | index($name)) | [.names, ."big-data-names", .layer]' $dir/images.json
    id=$(jq -r --arg name "localhost/$1:latest" '.[] | select(.names // [] | index($name)) | .id' $dir/images.json)
    for file in manifest instances.json; do sed "s/$id/LIST/; s,/var/tmp/coracle-t[^/]*,HOME,g; s/\"size\":[0-9]*/SIZE/g" $dir/$id/$file; echo; done
}
digest() { $B inspect --type image --format '{{.FromImageDigest}}' $1; }
inspect() { $B manifest inspect $1 | jq 'del(.mediaType, .manifests[]?.size)'; }
said() { "$@" 2>&1 | grep -v '^hint'; }
"#;

/// Scripts that print the same with both tools. `one` is for this machine, `two` for arm64 in Docker's format.
const SCRIPTS: &[&str] = &[
    "$B manifest create l | wc -c; show l; inspect l",
    "$B manifest create l >/dev/null; $B manifest add l one | sed 's/.*: //'; show l; $B manifest add l two | wc -c; show l; inspect l",
    "$B manifest create l >/dev/null; $B manifest add l one >/dev/null; $B manifest add l two >/dev/null; $B manifest add l one >/dev/null; show l",
    "$B manifest create l >/dev/null; $B manifest add --annotation a=b --annotation c=d,e=f l one >/dev/null; show l; inspect l",
    "$B manifest create l >/dev/null; $B manifest add --arch x --os y --variant v --os-version 1 --os-features g1,g2 l one >/dev/null; show l; inspect l",
    "$B manifest create l >/dev/null; $B manifest add --features f1 --features f2,f3 l one >/dev/null; show l; inspect l",
    "$B manifest create l >/dev/null; $B manifest add --features f1 l one >/dev/null; $B manifest annotate --annotation k=v l $(digest one) >/dev/null; show l",
    "$B manifest create l one two | wc -c; inspect l",
    "$B manifest create l one >/dev/null; $B manifest create --amend l two | wc -c; inspect l",
    "$B manifest create l one >/dev/null; said $B manifest create l",
    "said $B manifest create one; said $B manifest create",
    "$B manifest create l one two >/dev/null; $B manifest annotate --arch z --variant w l $(digest two) | wc -c; inspect l",
    "$B manifest create l one two >/dev/null; $B manifest annotate --annotation a=b l $(digest one) >/dev/null; $B manifest annotate --annotation c=d l $(digest one) >/dev/null; show l",
    "$B manifest create l one two >/dev/null; $B manifest remove l $(digest one) | wc -c; show l; said $B manifest remove l $(digest one)",
    "$B manifest create l one two >/dev/null; $B manifest remove l $(digest one) >/dev/null; $B manifest remove l $(digest two) >/dev/null; show l | tail -1; inspect l",
    "$B manifest create l >/dev/null; $B manifest exists l; echo $?; $B manifest exists nosuch; echo $?; said $B manifest exists one",
    "said $B manifest add l one; said $B manifest add one two; said $B manifest remove nosuch $(digest one); said $B manifest annotate --os x one $(digest one)",
    "$B manifest create l one >/dev/null; said $B manifest add l; said $B manifest remove l; said $B manifest exists",
    "$B manifest create l one >/dev/null; $B manifest create m one >/dev/null; $B tag l n; $B manifest rm l m; $B manifest rm n | wc -l; $B images --format '{{.Name}}' | sort",
    "$B manifest create l one >/dev/null; $B manifest rm one 2>/dev/null; $B manifest rm nosuch 2>/dev/null; $B images --format '{{.Name}}' | sort",
    "$B manifest create l one two >/dev/null; $B from l; $B from --arch arm64 l; $B from --arch s390x l 2>/dev/null",
    "$B manifest create l one two >/dev/null; $B inspect --type image --format '{{.FromImage}}' l; $B inspect --type manifest l | jq -c '[.manifests[].platform]'",
    "$B manifest create l one two >/dev/null; $B manifest push -q --all --digestfile d l dir:out; wc -c <d; jq -c '[.manifests[].platform]' out/manifest.json; ls out | grep -c manifest.json",
    "$B manifest create l one two >/dev/null; $B manifest push -q --all=false l dir:out; ls out; $B manifest push -q --rm l dir:out; $B images --format '{{.Name}}' | sort",
    "$B manifest create l one two >/dev/null; $B manifest push -q --all l oci:out:x; jq -c '[.manifests[].annotations]' out/index.json; jq -c '[.manifests[].platform]' out/blobs/sha256/$(jq -r '.manifests[0].digest' out/index.json | cut -d: -f2)",
    "$B push -q one oci:$PWD/o:x; $B manifest create l oci:$PWD/o:x >/dev/null; show l | tail -1 | sed 's/sha256:[0-9a-f]*/D/g'; $B manifest push -q --all l dir:out; ls out | wc -l",
];

fn world() -> TestEnv {
    let env = TestEnv::new();
    env.images_of_two_machines();
    env
}

#[test]
fn outputs_and_stored_lists_are_equal() {
    if skip_without(&["buildah", "jq"]) {
        return;
    }
    let ours = std::env::var("CORACLE_TEST_BINARY").unwrap_or_else(|_| "coracle".to_owned());
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| answers("buildah"));
        let ours = answers(&ours);
        (theirs.join().expect("Buildah's answers"), ours)
    });
    let both = SCRIPTS.iter().zip(theirs.iter().zip(&ours)).filter(|(_, (theirs, ours))| theirs != ours);
    let wrong: Vec<_> =
        both.map(|(script, (theirs, ours))| format!("{script}\n--- buildah\n{theirs}--- ours\n{ours}")).collect();
    assert!(wrong.is_empty(), "{} of {} scripts differ:\n\n{}", wrong.len(), SCRIPTS.len(), wrong.join("\n\n"));
}

/// What each script prints, with its status, in one store.
fn answers(tool: &str) -> Vec<String> {
    let env = world();
    let answer = |script: &&str| {
        let output = env.shell(&format!("set +e; B={tool}; {PRELUDE}\n{script}"));
        env.shell("coracle rm -a >/dev/null; coracle manifest rm l m n >/dev/null 2>&1 || true; rm -rf out o d");
        // Ids and digests are numbered there; what follows differs in the notes that each tool makes.
        let text = output.to_string();
        let stdout = ["------- stderr -------", "[exit status: "]
            .iter()
            .fold(text.as_str(), |text, end| text.split(end).next().unwrap_or(text));
        format!("{stdout}[{:?}]\n", output.code)
    };
    SCRIPTS.iter().map(answer).collect()
}

#[test]
fn each_tool_changes_and_reads_the_lists_of_the_other() {
    if skip_without(&["buildah", "podman", "skopeo", "jq"]) {
        return;
    }
    let env = world();
    let output = env.shell(
        "buildah manifest create theirs one >/dev/null; coracle manifest add theirs two >/dev/null
         coracle manifest create ours >/dev/null; coracle manifest add ours one >/dev/null; buildah manifest add ours containers-storage:localhost/two >/dev/null
         for list in theirs ours; do
             for tool in coracle buildah podman; do $tool manifest inspect $list | jq -c '[.manifests[].platform.architecture]'; done
             coracle manifest push -q $list oci:out-$list:x
             skopeo copy -q --all oci:out-$list:x dir:dir-$list
             jq -c '[.manifests[].platform.architecture]' dir-$list/manifest.json
             buildah pull -q --arch arm64 oci:out-$list:x | wc -c
         done
         coracle manifest rm theirs ours | wc -l",
    );
    let both = "[\"amd64\",\"arm64\"]\n".repeat(4) + "65\n";
    assert_eq!(output.success(), format!("{both}{both}4"), "{output}");
    env.assert_store_is_clean();
}
