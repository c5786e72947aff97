//! `from`: names, what it keeps for later runs, and what it refuses.

use crate::harness::{TestEnv, skip_without};

/// A few letters that several IDs begin with are no word for any of them, but a name.
#[test]
fn a_short_name_is_no_beginning_of_several_ids() {
    let env = TestEnv::new();
    // One more than there are digits: two begin alike.
    let script = "for i in $(seq 17); do c=$(coracle from scratch); echo $i >f; coracle copy -q $c f /f
        coracle commit -q --rm $c | cut -c 1; done | sort | uniq -d | head -n 1";
    let letter = env.shell(script).success();
    assert_eq!(letter.len(), 1, "{letter}");
    env.write("ctx/Dockerfile", format!("FROM {letter}\n"));
    for words in [&["from", "--pull-never", &letter][..], &["build", "--pull-never", "ctx"], &["push", &letter, "dir:x"]] {
        let said = env.run(words).failure(125);
        assert!(said.contains("image not known") && !said.contains("ambiguous"), "{words:?}: {said}");
    }
}

#[test]
fn scratch_gives_a_numbered_name() {
    let env = TestEnv::new();
    assert_eq!(env.ok(["from", "scratch"]), "working-container");
    assert_eq!(env.ok(["from", "scratch"]), "working-container-1");
    env.assert_store_is_clean();
}

#[test]
fn a_taken_name_names_its_holder() {
    let env = TestEnv::new();
    env.ok(["from", "--name", "c", "scratch"]);
    insta::assert_snapshot!(env.run(["from", "--name", "c", "scratch"]), @r#"
    ------- stderr -------
    Error: creating container: the container name "c" is already in use by [ID]. You have to remove that container to be able to reuse that name: that name is already in use
    [exit status: 125]
    "#);
}

#[test]
fn an_unknown_image_is_looked_for_at_the_registries_that_are_searched() {
    let env = TestEnv::new();
    let refused = "reading manifest latest in localhost:1/nosuch: connecting to https://localhost:1: connection refused";
    let output = env.run(["from", "nosuch"]);
    let want = format!("Error: nosuch: image not known: initializing source docker://localhost:1/nosuch:latest: {refused}\n");
    assert!(output.failure(125).contains(&want), "{output}");
    assert!(output.err().contains("Resolving \"nosuch\" using unqualified-search registries ("), "{output}");
    assert!(output.err().contains("Trying to pull localhost:1/nosuch:latest...\n"), "{output}");
    let output = env.run(["from", "-q", "--retry", "0", "docker://localhost:1/nosuch"]);
    let want = format!(
        "Error: pulling \"docker://localhost:1/nosuch\": initializing source docker://localhost:1/nosuch:latest: {refused}\n"
    );
    assert_eq!(output.failure(125), want);
}

#[test]
fn policies_decide_whether_a_registry_is_asked() {
    let env = TestEnv::new();
    env.busybox("image");
    for flag in ["--pull", "--pull=always", "--pull-always"] {
        let output = env.run(["from", "--retry", "0", flag, "localhost:1/image"]);
        assert!(output.failure(125).contains("connection refused"), "{flag}: {output}");
    }
    assert!(env.run(["from", "--pull=sometimes", "scratch"]).failure(125).contains("unrecognized pull policy \"sometimes\""));
    assert_eq!(env.ok(["from", "--pull=never", "image"]), "image-working-container");
    assert_eq!(env.ok(["from", "--pull=newer", "image"]), "image-working-container-1");
}

#[test]
fn the_id_file_has_no_newline() {
    let env = TestEnv::new();
    let file = env.work().join("id");
    env.ok(["from", "--cidfile", &file.to_string_lossy(), "scratch"]);
    let id = std::fs::read_to_string(file).unwrap();
    assert_eq!(env.ok(["containers", "-q"]), id);
}

#[test]
fn an_image_is_found_by_short_name_id_and_prefix() {
    let env = TestEnv::new();
    let id = env.busybox("localhost/team/app:1");
    for operand in ["team/app:1", "localhost/team/app:1", "app:1", &id, &id[..12], &format!("sha256:{id}")] {
        let name = env.ok(["from", operand]);
        let from = env.ok(["inspect", "--format", "{{.FromImage}} {{.FromImageID}}", &name]);
        assert_eq!(from, format!("localhost/team/app:1 {id}"), "{operand}");
        env.ok(["rm", &name]);
    }
}

#[test]
fn wrong_words_are_found_before_anything_is_made() {
    let env = TestEnv::new();
    for (flag, value) in [
        ("--cap-add", "NOPE"),
        ("--add-host", "db"),
        ("--ulimit", "nofile"),
        ("--shm-size", "much"),
        ("--device", "null"),
        ("--security-opt", "nope=1"),
        ("--isolation", "vm"),
        ("--format", "tar"),
        ("--pid", "elsewhere"),
    ] {
        let output = env.run(["from", flag, value, "scratch"]);
        assert!(output.failure(125).starts_with("Error: "), "{flag}: {output}");
    }
    assert_eq!(env.ok(["containers", "-q"]), "");
}

/// Devices of the Container Device Interface are refused by their name, and not as a spelling mistake.
#[test]
fn a_device_that_is_no_path_is_refused_with_the_reason() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    env.ok(["from", "--name", "c", "scratch"]);
    let device = "vendor.com/class=name";
    for words in [["from", "--device", device, "scratch"], ["build", "--device", device, "ctx"]] {
        let said = env.run(words).failure(125);
        assert!(
            said.contains(&format!("CDI device {device:?} is not part of coracle: devices are named by their paths")),
            "{said}"
        );
    }
    let said = env.run(["run", "--device", device, "c", "true"]).failure(125);
    assert!(said.contains("CDI device"), "{said}");
}

/// In Buildah's words.
#[test]
fn a_capability_is_either_added_or_dropped() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    for (verb, operand) in [("from", "scratch"), ("build", "ctx")] {
        let said = env.run([verb, "--cap-add", "chown", "--cap-drop", "CAP_CHOWN", operand]).failure(125);
        assert!(said.contains("capability \"CAP_CHOWN\" cannot be dropped and added"), "{said}");
        let said = env.run([verb, "--cap-add", "ALL", "--cap-drop", "chown,all", operand]).failure(125);
        assert!(said.contains("adding all caps and removing all caps not allowed"), "{said}");
        env.ok([verb, "--cap-add", "all,chown", "--cap-drop", "chown", operand]);
    }
    assert_eq!(env.ok(["containers", "-q"]).lines().count(), 1);
}

#[test]
fn triggers_of_the_base_are_executed_once() {
    let env = TestEnv::new();
    env.busybox("base");
    env.write("hello", "hello\n");
    let container = env.ok(["from", "--format", "docker", "base"]);
    for trigger in ["RUN --network=none echo ran > /ran", "ENV TRIGGERED=yes", "COPY --chmod=0640 hello /$TRIGGERED"] {
        env.ok(["config", "--onbuild", trigger, &container]);
    }
    let here = "ONBUILD COPY <<-E /here\n\tis $TRIGGERED\n\tE";
    env.ok(["commit", "--format", "docker", "--rm", "--change", here, &container, "parent"]);
    let output = env.run(["from", "parent"]);
    insta::assert_snapshot!(output, @r"
    parent-working-container
    ------- stderr -------
    STEP 1: RUN --network=none echo ran > /ran
    STEP 2: ENV TRIGGERED=yes
    STEP 3: COPY --chmod=0640 hello /$TRIGGERED
    STEP 4: COPY <<-E /here
    ");
    let seen = env.ok(["run", "parent-working-container", "--", "sh", "-c", "cat /ran /yes /here; stat -c %a /yes"]);
    assert_eq!(seen, "ran\nhello\nis yes\n640");
    assert_eq!(env.ok(["inspect", "--format", "{{len .Docker.Config.OnBuild}}", "parent-working-container"]), "0");
}

#[test]
fn the_status_of_a_triggers_command_is_the_verbs() {
    let env = TestEnv::new();
    env.busybox("base");
    let container = env.ok(["from", "base"]);
    env.ok(["config", "--onbuild", "RUN exit 7", &container]);
    env.ok(["commit", "--format", "docker", &container, "parent"]);
    env.run(["from", "parent"]).failure(7);
}

#[test]
fn swap_can_be_limited_alone_and_a_namespace_must_be_there() {
    let env = TestEnv::new();
    env.ok(["from", "--memory-swap", "1g", "scratch"]);
    for kind in ["network", "ipc", "uts"] {
        let error = env.run(["from", &format!("--{kind}"), "ns:/nonexistent", "scratch"]).failure(125);
        assert!(error.contains("stat /nonexistent: no such file or directory"), "{kind}: {error}");
    }
}

#[test]
fn triggers_that_need_a_build_are_refused_with_their_reason() {
    let env = TestEnv::new();
    let cases = [
        ("COPY --from=builder a /a", "ONBUILD \"COPY --from=builder a /a\": --from needs a build; `from` can not follow it"),
        ("RUN --mount=target=/c true", "--mount needs a build; `from` can not follow it"),
        ("FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD RUN x", "`ONBUILD ONBUILD` isn't allowed"),
        ("FOO x", "Unknown instruction: \"FOO\""),
        ("RUN x\nRUN y", "an ONBUILD trigger has to be one instruction"),
    ];
    for (number, (trigger, problem)) in cases.into_iter().enumerate() {
        let (container, parent) = (env.ok(["from", "scratch"]), format!("parent{number}"));
        env.ok(["config", "--onbuild", trigger, &container]);
        env.ok(["commit", "--format", "docker", "--rm", &container, &parent]);
        let error = env.run(["from", &parent]).failure(125);
        assert!(error.contains(problem), "{trigger:?}: {error}");
    }
}

#[test]
fn arguments_that_a_trigger_declares_are_passed_over_with_a_word() {
    let env = TestEnv::new();
    let container = env.ok(["from", "scratch"]);
    for trigger in ["ARG X=1", "ENV Y=2"] {
        env.ok(["config", "--onbuild", trigger, &container]);
    }
    env.ok(["commit", "--format", "docker", "--rm", &container, "parent"]);
    let output = env.run(["from", "parent"]);
    assert!(output.err().contains("warning: ONBUILD \"ARG X=1\" is of use in a build only"), "{output}");
    let quiet = env.run(["--log-level", "error", "from", "parent"]);
    quiet.success();
    assert!(!quiet.err().contains("warning"), "{quiet}");
    assert!(env.ok(["inspect", "--format", "{{.OCIv1.Config.Env}}", "parent-working-container"]).contains("Y=2"));
}

#[test]
fn buildah_works_on_our_container_and_we_on_its() {
    if skip_without(&["buildah"]) {
        return;
    }
    let mut env = TestEnv::new();
    // crun does not run in every test machine; chroot isolation needs nothing. Ours is never weaker than what the variable asks for.
    env.set("BUILDAH_ISOLATION", "chroot");
    env.busybox("base");
    let ours = env.ok(["from", "--name", "ours", "base"]);
    let theirs = env.tool("buildah", ["from", "--name", "theirs", "base"]).success();
    for name in [&ours, &theirs] {
        env.ok(["config", "--env", "A=1", name]);
        env.tool("buildah", ["config", "--env", "B=2", "--label", "x=y", name]).success();
        env.ok(["run", name, "--", "sh", "-c", "echo us > /us"]);
        env.tool("buildah", ["run", "--isolation", "chroot", name, "--", "sh", "-c", "cat /us; echo them > /them"]).success();
        assert_eq!(env.ok(["run", name, "--", "sh", "-c", "cat /them; echo $A$B"]), "them\n12", "{name}");
        let template = "{{.OCIv1.Config.Env}} {{.Docker.Config.Labels.x}}";
        let seen_by_them = env.tool("buildah", ["inspect", "--format", template, name]).success();
        assert_eq!(seen_by_them, env.ok(["inspect", "--format", template, name]), "{name}");
        env.tool("buildah", ["commit", "-q", name, &format!("{name}-1")]).success();
        env.ok(["commit", name, &format!("{name}-2")]);
    }
    env.assert_store_is_clean();
    env.tool("buildah", ["rm", &ours]).success();
    env.ok(["rm", &theirs]);
    // Buildah does not know of the lease that our verbs left for its container.
    env.ok(["check", "--repair"]);
    env.assert_store_is_clean();
}

#[test]
fn a_container_of_podman_is_taken_with_its_images_settings() {
    if skip_without(&["podman"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    env.tool("podman", ["create", "--name", "theirs", "base", "sh"]).success();
    assert_eq!(env.ok(["run", "theirs", "--", "sh", "-c", "echo $PATH"]), "/bin");
    assert!(env.run(["containers", "-q"]).success().is_empty());
    env.ok(["config", "--env", "A=1", "theirs"]);
    assert_eq!(env.ok(["run", "theirs", "--", "sh", "-c", "echo $A"]), "1");
}

#[test]
fn a_container_with_id_maps_of_its_own_that_buildah_made_is_run_and_committed() {
    if skip_without(&["buildah"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("base");
    let maps = ["--userns-uid-map", "0:1000:1000", "--userns-gid-map", "0:1000:1000"];
    env.tool("buildah", ["from", "--name", "mapped", maps[0], maps[1], maps[2], maps[3], "base"]).success();
    let command = "cat /proc/self/uid_map; echo mine >/mine; chown 7:8 /mine; stat -c %u:%g /bin/busybox /mine";
    let seen = env.ok(["run", "mapped", "--", "sh", "-c", command]);
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words, ["0", "1000", "1000", "0:0", "7:8"], "{seen}");
    env.ok(["commit", "mapped", "made"]);
    let plain = env.ok(["from", "made"]);
    assert_eq!(env.ok(["run", &plain, "--", "sh", "-c", "stat -c %u:%g /mine; cat /mine"]), "7:8\nmine");
    env.ok(["config", "--env", "A=1", "mapped"]);
    env.ok(["rm", "mapped"]);
}

#[test]
fn the_first_container_tells_of_tools_that_would_look_elsewhere() {
    if crate::harness::test_user().uid == 0 {
        return;
    }
    let env = TestEnv::new();
    env.write_home(".config/containers/storage.conf", "");
    insta::assert_snapshot!(env.run(["from", "scratch"]), @r#"
    working-container
    ------- stderr -------
    podman and buildah of Debian 12 use the driver vfs unless told otherwise, and do not see the images of this store then
    hint: put the two lines "[storage]" and "driver = \"overlay\"" into ~/.config/containers/storage.conf
    "#);
    insta::assert_snapshot!(env.run(["from", "scratch"]), @"working-container-1");
}

#[test]
fn a_container_with_owners_of_its_own_is_run_and_committed_with_the_ids_inside() {
    let env = TestEnv::new();
    env.busybox("base");
    env.ok(["from", "--name", "mapped", "--userns-uid-map", "0:2000:500", "base"]);
    let script =
        "tr -s ' ' </proc/self/uid_map; mkdir /d; echo x >/d/f; chown 7:8 /d/f; stat -c %u:%g / /bin/busybox /d/f; id -u";
    assert_eq!(env.ok(["run", "mapped", "--", "sh", "-c", script]), " 0 2000 500\n0:0\n0:0\n7:8\n0");
    let maps = env.ok(["inspect", "--format", "{{.IDMappingOptions}}", "mapped"]);
    assert!(maps.contains("2000"), "{maps}");
    env.ok(["commit", "-q", "mapped", "made"]);
    let layers = |image: &str| env.ok(["inspect", "--type", "image", "--format", "{{len .OCIv1.RootFS.DiffIDs}}", image]);
    assert_eq!((layers("base"), layers("made")), ("1".to_owned(), "2".to_owned()), "the image's own layer is below");
    let plain = env.ok(["from", "made"]);
    assert_eq!(env.ok(["run", &plain, "--", "sh", "-c", "stat -c %u:%g / /d /d/f"]), "0:0\n0:0\n7:8");
    env.ok(["from", "--name", "second", "--userns-uid-map", "0:2000:500", "base"]);
    assert_eq!(env.ok(["run", "second", "cat", "/bin/../proc/self/uid_map"]).split_whitespace().nth(1), Some("2000"));
    env.ok(["rm", "--all"]);
    env.ok(["rmi", "--all"]);
    env.assert_store_is_clean();
}

#[test]
fn automatic_ids_are_nobody_elses() {
    let env = TestEnv::new();
    env.busybox("base");
    let start = |name: &str| {
        env.ok(["from", "--name", name, "--userns", "auto:size=100", "base"]);
        let map = env.ok(["run", name, "cat", "/proc/self/uid_map"]);
        map.split_whitespace().map(|word| word.parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!((start("a"), start("b")), (vec![0, 1, 100], vec![0, 101, 100]));
    env.ok(["from", "--name", "private", "--userns", "private", "base"]);
    // While the outer one lives, no other has its number.
    let both = "readlink /proc/self/ns/user; coracle run private readlink /proc/self/ns/user";
    let both = env.ok(["unshare", "sh", "-euc", both]);
    let (outer, inner) = both.split_once('\n').expect("two lines");
    assert!(outer.starts_with("user:") && inner.starts_with("user:") && outer != inner, "{both}");
    assert_eq!(env.ok(["run", "private", "--", "sh", "-c", "touch /f; stat -c %u:%g /f /bin/busybox"]), "0:0\n0:0");
}

#[test]
fn hosts_have_several_names_or_the_hosts_own_address() {
    let env = TestEnv::new();
    env.busybox("base");
    let flags = ["--add-host", "a;b:192.0.2.1", "--add-host", "gate:host-gateway", "--add-host", "six:[2001:db8::1]"];
    let container = env.ok(["from"].into_iter().chain(flags).chain(["base"]));
    let hosts = env.ok(["run", &container, "cat", "/etc/hosts"]);
    assert!(hosts.starts_with("192.0.2.1\ta b\n"), "{hosts}");
    assert!(hosts.contains("2001:db8::1\tsix\n"), "{hosts}");
    let address = |name: &str| {
        hosts.lines().find(|line| line.split_whitespace().any(|word| word == name)).map(|line| line.split('\t').next())
    };
    assert_eq!(address("gate"), address("host.containers.internal"), "{hosts}");
}

/// As Buildah: a platform that is named holds, also this machine's; without one, and by its ID, an image of the store is taken as it is.
#[test]
fn an_image_of_the_store_for_another_machine_is_taken_unless_a_platform_was_named() {
    let env = TestEnv::new();
    env.busybox("own");
    env.write("f", "content\n");
    env.shell(
        "c=$(coracle from scratch); coracle copy -q $c f /f; coracle config --arch s390x $c; coracle commit -q --rm $c other >/dev/null",
    )
    .success();
    let id = |name: &str| env.ok(["images", "--quiet", "--no-trunc", name]).replace("sha256:", "");
    let (own_id, other_id) = (id("own"), id("other"));
    let machine = env.ok(["inspect", "--type", "image", "--format", "{{.OCIv1.Architecture}}", "own"]);
    let own = format!("linux/{machine}");
    // The platform, the image, whether it will do, whether there is a word about it.
    let cases = [
        ("", "own", true, false),
        ("", "other", true, true),
        ("", &other_id, true, false),
        ("linux/s390x", "other", true, false),
        ("linux/s390x", "own", false, false),
        ("linux/s390x", &own_id, true, false),
        (&own, "own", true, false),
        (&own, "other", false, false),
        (&own, &other_id[..12], true, false),
    ];
    for (platform, image, will_do, warns) in cases {
        env.write("ctx/Dockerfile", format!("FROM {image}\nLABEL a=b\n"));
        env.write("own/Dockerfile", format!("FROM --platform={platform} {image}\nLABEL a=b\n"));
        let platform = if platform.is_empty() { vec![] } else { vec!["--platform", platform] };
        let mut calls = vec![
            [&["from", "--pull=never"], &platform[..], &[image]].concat(),
            [&["from", "--pull=ifnewer", "--retry=0"], &platform[..], &[image]].concat(),
            [&["from", "--retry=0"], &platform[..], &[image]].concat(),
            [&["pull", "--policy=never"], &platform[..], &[image]].concat(),
            [&["build", "--pull=never"], &platform[..], &["ctx"]].concat(),
        ];
        if !platform.is_empty() {
            calls.push(vec!["build", "--pull=never", "own"]);
        }
        for call in calls {
            let output = env.run(&call);
            assert_eq!(output.code, Some(if will_do { 0 } else { 125 }), "{call:?}: {output}");
            let says = format!("image platform (linux/s390x) does not match the expected platform ({own})");
            assert_eq!(output.err().contains(&says), warns, "{call:?}: {output}");
            assert!(will_do || output.err().contains("image not known"), "{call:?}: {output}");
        }
    }
}
