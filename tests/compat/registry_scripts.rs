//! The scripts that people write against registries, run by Debian's Buildah and by us on equal registries: what is printed, the status,
//! the names and digests that are there afterwards.

use crate::harness::registry::{PROGRAM, Registry};
use crate::harness::{TestEnv, skip_without};

/// What stands before each script: `B` is the tool, `R` and `S` registries, `P` one with a login. `p` runs a command, shows what it
/// prints and its status; `there` is what a registry has. The images are the same for both.
const PRELUDE: &str = r#"
p() { echo "--- $*"; rc=0; "$@" 2>>errors || rc=$?; echo "rc $rc"; }
there() { skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://$1; }
raw() { skopeo inspect --raw --tls-verify=false docker://$1; }
names() { $B images --noheading --format '{{.Name}}:{{.Tag}} {{.ID}} {{.Digest}}' 2>>errors | tr -s ' ' | sed "s#^$R#R#; s#^$S#S#" | sort; }
made() { c=$(coracle from scratch); echo $1 >f; coracle copy -q $c f /f >/dev/null; coracle config --arch $1 $c; coracle commit -q --rm --timestamp 0 $c $1 >/dev/null; }
made amd64; made arm64
# Theirs compresses again what it pulled: only what it compressed itself keeps its digest.
buildah push -q --creds user:pass amd64 docker://$P/team/private
buildah push -q amd64 $R/app:1; buildah push -q arm64 $R/app:2; buildah push -q amd64 $S/only
coracle manifest create l amd64 arm64 >/dev/null; buildah manifest push -q --all l docker://$R/list
coracle rmi -af >/dev/null
"#;

/// What each tool's run of the script says, with the registries' names for their addresses.
fn run(tool: &str, script: &str) -> String {
    let (env, first, second, locked) = (TestEnv::new(), Registry::plain(), Registry::plain(), Registry::with_login());
    let hosts = [("R", first.host()), ("S", second.host()), ("P", locked.host())];
    let insecure: String =
        hosts.iter().map(|(_, host)| format!("[[registry]]\nlocation = '{host}'\ninsecure = true\n")).collect();
    let search = format!("unqualified-search-registries = ['{}', '{}']\n", hosts[0].1, hosts[1].1);
    env.write_home(".config/containers/registries.conf", search + &insecure);
    let variables: String = hosts.iter().map(|(name, host)| format!("{name}={host}\n")).collect();
    let said = env.shell(&format!("B={tool}\n{variables}{PRELUDE}\n{script}"));
    let errors = std::fs::read_to_string(env.path("work/errors")).unwrap_or_default();
    assert_eq!(said.code, Some(0), "{tool}: {said}\n{errors}");
    let text =
        hosts.iter().fold(String::from_utf8_lossy(&said.stdout).into_owned(), |text, (name, host)| text.replace(host, name));
    text.replace(tool, "TOOL")
}

#[track_caller]
fn same(script: &str) {
    if skip_without(&[PROGRAM, "buildah", "skopeo", "jq"]) {
        return;
    }
    let (theirs, ours) = (run("buildah", script), run("coracle", script));
    assert!(theirs.matches("\nrc 0").count() > 1, "the script does something:\n{theirs}");
    assert_eq!(ours, theirs);
}

#[test]
fn log_in_pull_what_is_private_and_log_out() {
    same(
        "p $B pull -q $P/team/private
         p $B login -u user -p wrong $P
         p $B login -u user -p pass $P
         p $B login --get-login $P
         p $B pull -q $P/team/private
         p $B from --name c $P/team/private
         p $B tag $P/team/private $P/team/copy:2; p $B push -q $P/team/copy:2
         p $B logout $P; p $B logout $P
         p $B pull -q --policy always $P/team/copy:2
         p $B pull -q --creds user:pass --policy always $P/team/copy:2
         echo pass | p $B login -u user --password-stdin $P; p $B logout --all; names",
    );
}

#[test]
fn tag_push_and_promote_by_digest() {
    same(
        "p $B pull -q $R/app:1; p $B tag $R/app:1 $S/app:candidate mine
         p $B push -q --digestfile d $S/app:candidate; D=$(cat d); echo $D; there $S/app:candidate
         p $B pull -q $S/app@$D; names; p $B rmi $S/app:candidate
         p $B pull -q --policy always $S/app@$D >/dev/null; p $B push -q $S/app@$D $S/app:stable; there $S/app:stable
         p $B push -q mine docker://$S/app:again; there $S/app:again
         p $B push -q nosuch $S/app:x; p $B push -q $R/app:1 $S/UPPER
         $B rmi -a | sed \"s#$R#R#; s#$S#S#\" | sort; names",
    );
}

#[test]
fn copy_between_registries_through_the_store() {
    same(
        "for tag in 1 2; do p $B pull -q $R/app:$tag; p $B push -q $R/app:$tag $S/moved/app:$tag; there $R/app:$tag; there $S/moved/app:$tag; done
         p $B pull -q --all-tags $S/moved/app; names; p $B pull -q -a $S/nosuch; p $B pull -q -a --policy never $S/moved/app
         p $B rmi $R/app:1 $R/app:2; names",
    );
}

#[test]
fn make_push_and_read_a_list_of_two_architectures() {
    same(
        "p $B pull -q $R/app:1 >/dev/null; p $B manifest exists m; $B manifest create m $R/app:1 >/dev/null
         $B manifest add m docker://$R/app:2 >/dev/null; p $B manifest exists m
         p $B manifest push -q --all m docker://$S/m:1; raw $S/m:1 | jq -c '[.manifests[] | .digest, .platform]'
         p $B manifest inspect $R/list; p $B manifest inspect $R/app:1; p $B manifest inspect $R/nosuch
         p $B pull -q $R/list; p $B manifest inspect $R/list
         p $B manifest rm m >/dev/null; p $B manifest exists m; p $B manifest exists $R/list; names",
    );
}

#[test]
fn of_a_list_the_wished_platform_is_taken() {
    same(
        "for words in '--arch arm64' '--arch aarch64' '--arch x86_64' '--platform linux/arm64/v8' '--os windows' '--arch arm' '--arch bogus' \
             '--platform linux/amd64,linux/arm64' '--platform linux/amd64 --arch arm64' '--platform bogus'; do
             p $B pull -q $words $R/list; names; $B rmi -af >/dev/null 2>&1
         done
         L=$(raw $R/list | sha256sum | cut -d' ' -f1)
         p $B pull -q $R/list@sha256:$L; p $B pull -q --arch arm64 $R/list@sha256:$L; names
         p $B pull -q --policy never $R/list@sha256:$L
         p $B from --name c --pull-never $R/list@sha256:$L; p $B inspect --format '{{.FromImageDigest}}' c",
    );
}

#[test]
fn a_registry_that_changed_is_asked_as_the_policy_says() {
    same(
        "for policy in missing always never bogus; do
             p $B pull -q --policy $policy $R/app:1; skopeo copy -q --src-tls-verify=false --dest-tls-verify=false docker://$R/app:2 docker://$R/app:1
             p $B pull -q --policy $policy $R/app:1; names; $B rmi -af >/dev/null 2>&1
             skopeo copy -q --src-tls-verify=false --dest-tls-verify=false docker://$S/only docker://$R/app:1
         done
         for flag in --pull-never --pull-always --pull=missing --pull; do p $B from --name c $flag $R/app:1; names; $B rm -a >/dev/null 2>&1; done
         ID=$($B images -q $R/app:1); p $B pull -q --policy always $ID; p $B pull -q $ID; p $B pull -q --policy never nosuch
         p $B from --pull-never nosuch; p $B from --pull=never nosuch",
    );
}

#[test]
fn short_names_and_limits_of_a_build() {
    same(
        "p $B pull -q app:1; p $B pull -q only; p $B pull -q nosuch; names; $B rmi -af >/dev/null 2>&1
         p env BUILD_REGISTRY_SOURCES='{\"blockedRegistries\":[\"'$S'\"]}' $B pull -q $S/only
         p env BUILD_REGISTRY_SOURCES='{\"allowedRegistries\":[\"'$S'\"]}' $B pull -q $S/only
         p env BUILD_REGISTRY_SOURCES='{\"allowedRegistries\":[\"'$S'\"]}' $B push -q $S/only $R/new
         p $B from --name c only; p $B commit -q c docker://$R/made >/dev/null; p $B rm c >/dev/null; names | cut -d' ' -f1",
    );
}

#[test]
fn steps_of_builds_go_from_store_to_store() {
    // Theirs names what it pulls, and shows a letter less of an ID.
    same(
        r#"mkdir ctx; echo one >ctx/a; echo two >ctx/b; printf 'FROM scratch\nCOPY a /a\nLABEL x=y\nCOPY b /b\n' >ctx/Dockerfile
         shown() { sed -E 's/[0-9a-f]{64}/KEY/; s/^--> [0-9a-f]{11,12}$/--> ID/; /^Successfully tagged/d'; }
         b() { s=$1; shift; rc=0; $B --root $PWD/$s --runroot $PWD/$s-run build --layers "$@" ctx 2>>errors || rc=$?; echo "rc $rc"; }
         b one --cache-to $R/cache | shown
         b one --cache-to $R/cache --cache-from $R/cache | shown
         b two --cache-from $R/cache --cache-to $R/cache | shown
         b two --cache-from $R/cache | shown
         echo changed >ctx/b
         b three --cache-from $R/cache --cache-to $R/cache | shown
         b four --cache-from $R/none | shown
         b four --cache-from $R/cache:tag; b four --cache-to $R/cache:tag; b four --cache-to UPPER/x"#,
    );
}
