//! Lists, filters and templates on one store, by Debian's Buildah and by us: stdout and status equal to the letter.
//!
//! Lines on which the newest Buildah differs from Debian's (1.28), and functions that it alone has, are not here: `src/template` and
//! `tests/cli` have them. Ages are left out, since they pass.

use std::fmt::Write as _;

use crate::harness::{TestEnv, skip_without};

/// What makes the store: images with several names, labels, both formats, an unnamed one, one on top of another; containers.
const STORE: &str = "
    c=$(coracle from scratch)
    echo hi > f
    coracle copy -q $c f /f
    coracle config --label a=b --label 'x y=<&>' --env A=1 --env B=2 --cmd 'sh -c x' --port 80 --volume /v --annotation an=1 \
        --author 'me <m@x>' --created-by cb $c
    coracle commit -q $c app:1 >/dev/null
    coracle tag app:1 quay.io/t/app:2 docker.io/library/z
    sleep 1
    coracle commit -q $c other >/dev/null
    coracle commit -q $c >/dev/null
    coracle commit -q --format docker $c dock >/dev/null
    coracle from app:1 >/dev/null
    coracle from --name n2 other >/dev/null
    coracle commit -q n2 child >/dev/null
    coracle rename n2 a-very-long-name-indeed
";

/// Commands that only read; `$B` is the tool.
const COMMANDS: &[&str] = &[
    // Images: flags.
    "$B images --format '{{.Name}} {{.Tag}} {{.ID}} {{.Size}}'",
    "$B images -q",
    "$B images -q --no-trunc",
    "$B images -a -q",
    "$B images -n --digests --no-trunc | sed 's/   [0-9A-Z][a-zA-Z0-9 ]* ago.*//'",
    "$B images --history --no-trunc -n | sed 's/   [0-9A-Z][a-zA-Z0-9 ]* ago */  /'",
    "$B images -q app:1",
    "$B images app:1 -q",
    "$B images a b",
    "$B images nosuch",
    "$B images app",
    "$B images --all app:1",
    "$B images --json | grep -v createdat",
    "$B images --json --no-trunc | grep -v createdat",
    "$B images --json app:1 | grep -v createdat",
    "$B images --json --filter reference=nosuch",
    // Images: templates.
    "$B images --format 'table {{.Name}} {{.Tag}} {{.ID}}'",
    "$B images -n --format 'table {{.Name}} {{.Tag}} {{.ID}}'",
    "$B images --format 'table{{.Name}}'",
    "$B images --format 'table  {{.Name}}  {{.Tag}} '",
    "$B images --format 'table {{json .Name}} {{upper .Tag}} {{lower .Tag}} {{title .ID}} {{truncate .Name 3}}'",
    "$B images --format 'table {{.Name | printf \"%s\"}} {{slice .ID 0 3}}'",
    "$B images --format '{{.Name}}\\t{{.Tag}}\\n'",
    "$B images --format '  {{.Name}} '",
    "$B images --format 'x{{.Name}} a  b {{.Size}}'",
    "$B images --format '{{.Digest}} {{.ReadOnly}} {{.History}}'",
    "$B images --format '{{.Created}} {{.CreatedAtRaw}} {{.CreatedAtRaw.Unix}} {{.CreatedAtRaw.Year}} {{.CreatedAtRaw.Month}}'",
    "$B images --format '{{.CreatedAtRaw.Format \"2006-01-02T15:04:05.999Z07:00\"}}'",
    "$B images --format '{{.CreatedAtRaw.UTC.Format \"Mon, _2 Jan 06 03:04PM\"}}'",
    "$B images --format '{{.Nope}}'",
    "$B images --format '{{.Name'",
    "$B images --format '{{foo}}'",
    "$B images --format plain",
    "$B images --format json",
    "$B images -q --format x",
    "$B images --format '{{if eq .Tag \"latest\"}}L{{else if eq .Tag \"1\"}}one{{else}}o{{end}}'",
    "$B images --format '{{if and (ne .Name \"\") (not (eq .Tag \"1\"))}}{{len .Name}}{{end}}'",
    "$B images --format '{{printf \"%-30s|\" .Name}}{{upper .Tag}}{{lower .Name}}'",
    "$B images --format '{{.Name | printf \"%q\"}}'",
    "$B images --format '{{slice .ID 0 4}}{{len .ID}}{{index .ID 0}}'",
    "$B images --format '{{split .Name \"/\"}}{{join (split .Name \"/\") \"-\"}}'",
    "$B images --format '{{range $i, $e := split .Name \"/\"}}{{$i}}={{$e}};{{else}}none{{end}}'",
    "$B images --format '{{with .Name}}{{.}}{{end}}{{with \"\"}}a{{else}}e{{end}}'",
    "$B images --format '{{$x := .Tag}}{{/* c */}}{{- $x -}} {{pad .Tag 2 3}}|{{truncate .Name 5}}|{{title .Tag}}'",
    // Images: filters.
    "$B images --filter dangling=true -q",
    "$B images --filter dangling=false -q",
    "$B images --filter dangling=maybe",
    "$B images --filter label=a -q; $B images --filter label=a=b -q; $B images --filter label=a=c -q; $B images -f label=nope -q",
    "$B images --filter label!=a -q; $B images --filter label=x\\ y -q",
    "$B images --filter reference=app --format '{{.Name}}'",
    "$B images --filter reference='*pp' --format '{{.Name}}:{{.Tag}}'",
    "$B images --filter reference='*/*' --format '{{.Name}}'; $B images --filter reference='quay.io/t/*' --format '{{.Name}}'",
    "$B images --filter reference='app:1' --filter reference=other --format '{{.Name}}:{{.Tag}}'",
    "$B images --filter reference=app,dangling=false --format '{{.Name}}'",
    "$B images --filter before=other -q; $B images --filter since=app:1 -q; $B images --filter after=app:1 -q",
    "$B images --filter before=nosuch -q",
    "$B images --filter until=1h -q; $B images --filter until=2100-01-01T00:00:00Z -q",
    "$B images --filter readonly=true -q; $B images --filter readonly=false -q",
    "$B images --filter containers=true -q; $B images --filter containers=false -q; $B images --filter manifest=true -q",
    "$B images --filter foo=bar",
    "$B images --filter dangling",
    // Containers.
    "$B containers; $B containers -a; $B ps -n; $B ls --notruncate",
    "$B containers -q; $B list -q -a",
    "$B containers --json; $B containers --json -a",
    "$B containers --format '{{.ContainerID}} {{.Builder}} {{.ImageID}} {{.ImageName}} {{.ContainerName}}'",
    "$B containers --format 'table {{.ContainerID}} {{.ContainerName}}'",
    "$B containers -n --format 'table {{.ContainerID}}\\t{{.ImageName}}'",
    "$B containers --format '{{json .}}'; $B containers --format '{{.}}'; $B containers --format ''",
    "$B containers --format '{{.Nope}}'",
    "$B containers -q --format x",
    "$B containers -f name=work; $B containers -f id=zz; $B containers -f 'name=work,id=zz'; $B containers -f ' name=work' -q",
    "for i in app app:1 localhost/app:1 pp other oth scratch t/app:2; do echo $i; $B containers -n -f ancestor=$i; done",
    "$B containers -f name",
    "$B containers -f foo=x",
    "$B containers -f name= -q",
    "$B containers x",
    // Inspect.
    "$B inspect -f '{{.OCIv1.Config}} {{.OCIv1.RootFS}} {{len .OCIv1.RootFS.DiffIDs}}' app:1",
    "$B inspect -f '{{.OCIv1.Config.Labels}} {{index .OCIv1.Config.Labels \"x y\"}} {{.OCIv1.Config.Labels.a}}' app:1",
    "$B inspect -f '{{range $k, $v := .OCIv1.Config.Labels}}{{$k}}={{$v}} {{end}}' app:1",
    "$B inspect -f '{{range .OCIv1.Config.Env}}{{.}} {{else}}no{{end}}{{range .OCIv1.Config.Entrypoint}}x{{else}}no{{end}}' app:1",
    "$B inspect -f '{{.OCIv1.Config.ExposedPorts}} {{.OCIv1.Config.Volumes}} {{.OCIv1.Config.Cmd}} {{.OCIv1.Config.Entrypoint}}' app:1",
    "$B inspect -f '{{.Docker.Config}} {{.Docker.Config.Healthcheck}}' app:1",
    "$B inspect -f '{{.Docker.Created}} {{.OCIv1.Created}} {{.Docker.Created.Unix}} {{.OCIv1.Created.Year}}' app:1",
    "$B inspect -f '{{.History}}{{range .History}}{{.CreatedBy}}|{{.Comment}}|{{.EmptyLayer}}{{end}}' app:1",
    "$B inspect -f '{{.ImageAnnotations}} {{.ImageCreatedBy}} {{.Type}} {{.FromImageID}} {{.FromImageDigest}}' app:1",
    "for i in app:1 z quay.io/t/app:2 dock child; do $B inspect --type image -f '{{.FromImage}} {{.Isolation}}' $i; done",
    "$B inspect -f '{{.Container}} {{.ContainerID}} {{.MountPoint}} {{.FromImage}}' app-working-container",
    "$B inspect -f '{{.NamespaceOptions}} {{.Isolation}} {{.ConfigureNetwork}} {{.IDMappingOptions}} {{.Capabilities}}' working-container",
    "$B inspect -f '{{.CNIPluginPath}} {{.CNIConfigDir}} {{.DefaultMountsFilePath}} {{.Devices}}' working-container",
    "$B inspect -f '{{.Manifest}} {{len .Manifest}}' dock; $B inspect -f '{{.Config}}' app:1",
    // Debian's has other nil slices and no host name in the Docker half.
    "for i in app:1 dock other; do $B inspect $i | jq -c 'del(.GroupAdd, .DeviceSpecs, .CDIConfigDir, .TopLayerAnnotations, (.Docker | .config, .container_config \
        | .OnBuild, .Hostname))'; done",
    "$B inspect --type image app:1 | jq -c '.Docker|keys_unsorted, .config|keys_unsorted?'",
    "for i in '{{.Nope}}' '{{.OCIv1.Nope}}' '{{foo}}' '{{.Type' plain; do $B inspect -f \"$i\" app:1; echo $?; done",
    "$B inspect -f '' app:1 | head -n 3",
    "$B inspect --type container app:1; echo $?; $B inspect --type image working-container; echo $?; $B inspect -t foo app:1",
    // Info.
    "$B info --format '{{.store.GraphDriverName}} {{.host.os}} {{.host.arch}} {{.host.rootless}} {{.store.GraphRoot}}'",
    "$B info --format '{{.store.RunRoot}} {{.host.cpus}} {{.host.MemTotal}} {{.host.CgroupVersion}} {{.host.Distribution}}'",
    "$B info --format '{{.store.ContainerStore.number}} {{.store.ImageStore.number}} {{.store.GraphStatus}} {{.store.GraphOptions}}'",
    "$B info --format '{{.nope}} {{.host.nope}} {{.host.nope.x}}'",
    "for i in plain '{{foo}}' '{{.x'; do $B info --format \"$i\"; echo $?; done",
    "$B info | jq -c '.host|keys_unsorted|sort'; $B info | jq -c '.store|del(.GraphImageStore, .GraphTransientStore)'",
];

#[test]
fn lists_and_templates_are_equal() {
    if skip_without(&["buildah", "jq"]) {
        return;
    }
    let env = TestEnv::new();
    env.shell(STORE).success();
    let answers = |tool: &str| {
        let mut script = format!("set +e; B={tool}\n");
        for command in COMMANDS {
            let _ = writeln!(script, "{command}\nprintf '\\001%s\\001' $?");
        }
        env.shell(&script).out()
    };
    let (theirs, ours) = (answers("buildah"), answers("coracle"));
    let split = |text: &str| text.split('\u{1}').map(str::to_owned).collect::<Vec<_>>();
    let (theirs, ours) = (split(&theirs), split(&ours));
    assert_eq!((theirs.len(), ours.len()), (COMMANDS.len() * 2 + 1, COMMANDS.len() * 2 + 1), "answers");
    let mut wrong = Vec::new();
    for (at, command) in COMMANDS.iter().enumerate() {
        let (theirs, ours) = (&theirs[2 * at..2 * at + 2], &ours[2 * at..2 * at + 2]);
        if theirs != ours {
            wrong.push(format!(
                "{command}\n--- buildah, status {}\n{}\n--- coracle, status {}\n{}",
                theirs[1], theirs[0], ours[1], ours[0]
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n\n{}", wrong.len(), COMMANDS.len(), wrong.join("\n\n"));
}
