//! `build`: what its flags and variables mean, and which are refused together.

use crate::harness::{TestEnv, skip_without};

#[track_caller]
fn refusal(env: &TestEnv, arguments: &[&str]) -> String {
    env.run(["build"].iter().chain(arguments)).failure(125)
}

/// The words are Debian's Buildah's; where it has the flag it is asked as well.
#[test]
fn contradictions_are_refused_in_buildahs_words() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    let same: [(&[&str], &str); 15] = [
        (&["--dns", "1.1.1.1", "--network", "none"], "the --dns option cannot be used with --network=none"),
        (&["--dns-option", "a", "--network", "none"], "the --dns-option option cannot be used with --network=none"),
        (&["--dns-search", "a", "--network", "none"], "the --dns-search option cannot be used with --network=none"),
        (&["--logsplit"], "cannot use --logsplit without --logfile"),
        (&["--platform", "linux/amd64", "--os", "linux"], "invalid --platform may not be used with --os, --arch, or --variant"),
        (
            &["--platform", "linux/amd64,linux/arm64", "--iidfile", "x"],
            "building multiple images, but iidfile \"x\" can only be used to store one image ID",
        ),
        (&["--cache-ttl", "0", "--no-cache=false"], "cannot use --cache-ttl with duration as 0 and --no-cache=false"),
        (&["--cache-ttl", "x"], "unable to parse value provided \"x\" as --cache-ttl: time: invalid duration \"x\""),
        (&["--network", "none", "--isolation", "chroot"], "cannot set --network other than host with --isolation chroot"),
        (&["--no-hosts", "--add-host", "a:1.1.1.1"], "--no-hosts and --add-host conflict, can not be used together"),
        (&["--jobs", "-1"], "building: invalid value for jobs.  It must be a positive integer"),
        (&["--rm=false"], "'rm' and 'force-rm' can only be set with either 'layers' or 'no-cache'"),
        (&["--force-rm"], "'rm' and 'force-rm' can only be set with either 'layers' or 'no-cache'"),
        (&["--pull", "--pull-never"], "can only set one of 'pull' or 'pull-always' or 'pull-never'"),
        (&["--format", "foo"], "unrecognized image type \"foo\""),
    ];
    let newer: [(&[&str], &str); 15] = [
        (&["-t", "a", "--manifest", "a"], "the same name must not be specified for both '--tag' and '--manifest'"),
        (&["--timestamp", "1", "--source-date-epoch", "2"], "timestamp and source-date-epoch would be ambiguous"),
        (&["--source-date-epoch", "x"], "error parsing source-date-epoch offset \"x\""),
        (&["--build-arg", "SOURCE_DATE_EPOCH=x"], "error parsing SOURCE_DATE_EPOCH build-arg \"x\""),
        (&["--build-arg", "TARGETPLATFORM=x"], "parsing TARGETPLATFORM value \"x\""),
        (
            &["--platform", "linux/amd64,linux/arm64", "--metadata-file", "x"],
            "building multiple images, but metadata file \"x\"",
        ),
        (&["--pull="], "unrecognized pull policy \"\""),
        (&["--pull=foo"], "unrecognized pull policy \"foo\""),
        (&["--progress", "foo"], "invalid progress mode \"foo\""),
        (&["--allow", "foo"], "invalid entitlement \"foo\""),
        (&["--keep-failed", "--force-rm", "--layers"], "--keep-failed and --force-rm cannot be used together"),
        (&["-o", "type=foo,dest=x"], "invalid type \"foo\""),
        (&["--mount", "type=secret,ix=x"], "secret should have syntax id=id["),
        (&["--cache-to", "x:1", "--layers"], "to --cache-to: repository must contain neither a tag nor digest: x:1"),
        (&["--cache-from", "X", "--layers"], "to --cache-from: invalid repo \"X\": must contain registry and repository"),
    ];
    let buildah = !skip_without(&["buildah"]);
    for (arguments, words) in same {
        let said = refusal(&env, &[arguments, &["ctx"]].concat());
        assert!(said.contains(words), "{arguments:?}: {said}");
        if buildah {
            let output = env.tool("buildah", [&["bud", "--isolation", "chroot"], arguments, &["ctx"]].concat());
            assert!(output.failure(125).contains(words), "{arguments:?}: {output}");
        }
    }
    for (arguments, words) in newer {
        let said = refusal(&env, &[arguments, &["ctx"]].concat());
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn secrets_and_agents_are_checked_before_anything_is_built() {
    let mut env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    env.write("file", "x");
    let absolute = |name: &str| env.work().join(name).display().to_string();
    let missing = format!("could not parse secrets: stat {}: no such file or directory", absolute("nosuch"));
    for (arguments, words) in [
        (["--secret", "foo"], "incorrect secret flag format: should be --secret id=foo,src=bar[,env=ENV,type=file|env]"),
        (["--secret", "src=file"], "incorrect secret flag format"),
        (["--secret", "id=a,type=x"], "invalid secret type, must be file or env"),
        (["--secret", "id=a,src=nosuch"], missing.as_str()),
        (["--secret", "id=nosuch"], missing.as_str()),
        (["--ssh", "default"], "$SSH_AUTH_SOCK not set"),
        (["--ssh", "a=ctx"], "is a directory"),
    ] {
        let said = refusal(&env, &[arguments[0], arguments[1], "ctx"]);
        assert!(said.to_lowercase().contains(&words.to_lowercase()), "{arguments:?}: {said}");
    }
    env.set("nosuch", "value");
    for arguments in
        [["--secret", "id=nosuch"], ["--secret", "id=a,env=nosuch"], ["--secret", "id=a,src=file"], ["--ssh", "a=file"]]
    {
        env.ok(["build", "-q", arguments[0], arguments[1], "ctx"]);
    }
}

/// What the labels of the image are.
#[track_caller]
fn labels(env: &TestEnv, arguments: &[&str]) -> String {
    env.ok(["build", "-q", "-t", "labelled", "--identity-label=false"].iter().chain(arguments).chain(&["ctx"]));
    env.ok(["inspect", "--format", "{{range $k, $v := .OCIv1.Config.Labels}}{{$k}}={{$v}} {{end}}", "labelled"])
}

#[test]
fn arguments_come_from_files_flags_and_the_environment() {
    let mut env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nARG A=a B=b C=c\nLABEL A=$A B=$B C=$C\n");
    env.write("args", "# a comment\nA=file\n\nB=with = sign\n");
    env.write("more", "A=more\nC\n");
    env.set("C", "environment");
    assert_eq!(labels(&env, &[]), "A=a B=b C=c ");
    assert_eq!(labels(&env, &["--build-arg", "A=1", "--build-arg", "C"]), "A=1 B=b C=environment ");
    assert_eq!(labels(&env, &["--build-arg-file", "args"]), "A=file B=with = sign C=c ");
    let all = ["--build-arg", "B=flag", "--build-arg-file", "args", "--build-arg-file", "more"];
    assert_eq!(labels(&env, &all), "A=more B=flag C=environment ");
    // A variable that is not set takes an earlier value away.
    env.set("NOSUCH", "");
    assert_eq!(labels(&env, &["--build-arg", "A=1", "--build-arg", "A"]), "A=a B=b C=c ");
    assert!(refusal(&env, &["--build-arg-file", "nosuch", "ctx"]).contains("reading build-arg-file \"nosuch\""));
}

#[test]
fn flags_change_the_documents_of_the_image() {
    let mut env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nENV A=1 B=2\nLABEL own=1\n");
    env.set("HERE", "value");
    let flags = ["--label", "a=b", "--label", "empty", "--env", "C=3", "--env", "HERE", "--env", "NOT_HERE", "--unsetenv", "B"];
    let image = ["--annotation", "note=x", "--os-version", "9", "--timestamp", "5", "--format", "oci", "-t", "made"];
    env.ok(["build", "-q"].iter().chain(&flags).chain(&image).chain(&["ctx"]));
    let show = |template: &str| env.ok(["inspect", "--format", template, "made"]);
    assert_eq!(show("{{range $k, $v := .OCIv1.Config.Labels}}{{$k}}={{$v}} {{end}}"), "a=b empty= own=1 ");
    let variables = show("{{.OCIv1.Config.Env}}");
    assert!(variables.contains("A=1") && variables.contains("C=3") && variables.contains("HERE=value"), "{variables}");
    assert!(!variables.contains("B=2") && !variables.contains("NOT_HERE"), "{variables}");
    assert!(show("{{.Manifest}}").contains("\"note\":\"x\""), "{}", show("{{.Manifest}}"));
    assert!(show("{{.OCIv1.Created}}").starts_with("1970-01-01"), "{}", show("{{.OCIv1.Created}}"));
    // What stands on an image that has labels.
    env.write("on/Dockerfile", "FROM made\nLABEL more=1\n");
    let on = |flags: &[&str]| {
        env.ok(["build", "-q", "-t", "on", "--identity-label=false"].iter().chain(flags).chain(&["on"]));
        env.ok(["inspect", "--format", "{{range $k, $v := .OCIv1.Config.Labels}}{{$k}}={{$v}} {{end}}", "on"])
    };
    assert_eq!(on(&[]), "a=b empty= more=1 own=1 ");
    assert_eq!(on(&["--unsetlabel", "a,own"]), "empty= more=1 ");
    assert_eq!(on(&["--inherit-labels=false"]), "more=1 ");
}

#[test]
fn variables_of_the_environment_are_defaults() {
    let mut env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let kind = |env: &TestEnv| {
        env.ok(["build", "-q", "-t", "made", "ctx"]);
        env.ok(["inspect", "--format", "{{.OCIv1.Created}} {{.Manifest}}", "made"])
    };
    env.set("BUILDAH_FORMAT", "docker");
    assert!(kind(&env).contains("application/vnd.docker.distribution.manifest.v2+json"));
    env.set("CORACLE_FORMAT", "oci");
    assert!(kind(&env).contains("application/vnd.oci.image.manifest.v1+json"));
    env.set("SOURCE_DATE_EPOCH", "5");
    assert!(kind(&env).starts_with("1970-01-01"));
    let output = env.run(["build", "ctx"]).success();
    assert!(!output.contains("Using cache"), "{output}");
    env.set("BUILDAH_LAYERS", "true");
    env.ok(["build", "ctx"]);
    let output = env.run(["build", "ctx"]).success();
    assert!(output.contains("--> Using cache "), "{output}");
    for arguments in [["build", "--layers=false", "ctx"], ["build", "--no-cache", "ctx"], ["build", "--cache-ttl=0", "ctx"]] {
        let output = env.run(arguments).success();
        assert!(!output.contains("Using cache"), "{arguments:?}: {output}");
    }
}

#[test]
fn the_verb_has_other_names_and_takes_flags_after_the_context() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    for verb in ["build", "bud", "build-using-dockerfile"] {
        let id =
            env.ok([verb, "ctx", "-q", "--timestamp=1", "--compress", "--disable-content-trust", "--loglevel=3", "-D=false"]);
        assert_eq!(id, env.ok(["build", "-q", "--timestamp=1", "ctx"]));
    }
}

#[test]
fn what_documents_say_of_their_making_can_be_left_out() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY Dockerfile /a\nCOPY Dockerfile /b\n");
    let labels = "{{range $k, $v := .OCIv1.Config.Labels}}{{$k}}={{$v}} {{end}}";
    let of = |image: &str| env.ok(["inspect", "--type", "image", "--format", labels, image]);
    let manifest = |flags: &[&str]| {
        env.ok(["build", "-q", "-t", "made"].iter().chain(flags).chain(&["ctx"]));
        env.ok(["inspect", "--type", "image", "--format", "{{.Manifest}}", "made"])
    };
    assert!(manifest(&[]).contains("org.opencontainers.image.created"));
    assert!(!manifest(&["--created-annotation=false"]).contains("org.opencontainers.image.created"));
    assert!(of("made").contains("io.buildah.version="));
    manifest(&["--timestamp", "1"]);
    assert!(!of("made").contains("io.buildah.version="));
    manifest(&["--timestamp", "1", "--identity-label"]);
    assert!(of("made").contains("io.buildah.version="));
}

#[test]
fn annotations_of_the_base_are_inherited_or_not() {
    let env = TestEnv::new();
    env.write("base/Dockerfile", "FROM scratch\nCOPY Dockerfile /a\n");
    env.ok(["build", "-q", "--annotation", "one=1", "--annotation", "two=2", "-t", "base", "base"]);
    env.write("ctx/Dockerfile", "FROM base\nCOPY Dockerfile /b\n");
    for layers in ["--layers=false", "--layers"] {
        let has = |flags: &[&str]| {
            env.ok(["build", "-q", layers, "-t", "made"].iter().chain(flags).chain(&["ctx"]));
            let manifest = env.ok(["inspect", "--type", "image", "--format", "{{.Manifest}}", "made"]);
            ["\"one\":\"1\"", "\"two\":\"2\"", "image.base.name"].map(|word| manifest.contains(word))
        };
        assert_eq!(has(&[]), [true, true, true], "{layers}");
        assert_eq!(has(&["--unsetannotation", "one"]), [false, true, true], "{layers}");
        assert_eq!(has(&["--inherit-annotations=false"]), [false, false, true], "{layers}");
    }
}

#[test]
fn what_the_base_loses_is_lost_where_nothing_else_is_done() {
    let env = TestEnv::new();
    env.write("base/Dockerfile", "FROM scratch\nLABEL own=1\nENV Z=1\n");
    let base = env.ok(["build", "-q", "--annotation", "one=1", "--identity-label=false", "-t", "base", "base"]);
    // An image without a PATH.
    env.ok(["build", "-q", "--unsetenv", "PATH", "-t", "pathless", "base"]);
    let files = ["FROM base\n", "FROM base AS a\nFROM a\n", "FROM base AS a\nFROM a AS b\nFROM b\nENV A=1\n"];
    let made = |file: &str, flags: &[&str]| {
        env.write("ctx/Dockerfile", file);
        let id = env.ok(["build", "-q", "--identity-label=false", "-t", "made"].iter().chain(flags).chain(&["ctx"]));
        let shown = env.ok(["inspect", "--type", "image", "--format", "{{.OCIv1.Config}} {{.Manifest}}", "made"]);
        (id, ["own:1", "\"one\":\"1\"", "Z=1", "PATH="].map(|word| shown.contains(word)))
    };
    for (file, layers) in files.into_iter().flat_map(|file| [(file, "--layers=false"), (file, "--layers"), (file, "--layers")])
    {
        let has = |flags: &[&str]| made(file, &[flags, &[layers]].concat()).1;
        assert_eq!(has(&[]), [true, true, true, true], "{file} {layers}");
        assert_eq!(has(&["--inherit-labels=false"]), [false, true, true, true], "{file} {layers}");
        assert_eq!(has(&["--inherit-annotations=false"]), [true, false, true, true], "{file} {layers}");
        let of_pathless = made(&file.replace("base", "pathless"), &[layers]).1;
        assert_eq!(of_pathless[3], file.contains("ENV"), "{file} {layers}");
    }
    // What only says how an image is written makes none.
    for flags in [["--timestamp", "1"], ["--format", "docker"], ["--omit-history", "--created-annotation=false"]] {
        assert_eq!(made(files[0], &flags).0, base, "{flags:?}");
    }
}

#[test]
fn features_of_the_system_are_in_the_config_and_one_layer_can_go_to_a_list() {
    let env = TestEnv::new();
    env.write("base/Dockerfile", "FROM scratch\nCOPY Dockerfile /a\n");
    env.ok(["build", "-q", "-t", "base", "base"]);
    env.write("ctx/Dockerfile", "FROM base\nCOPY Dockerfile /b\nCOPY Dockerfile /c\n");
    for squash in ["--squash", "--squash-all"] {
        let list = &squash[2..];
        let flags = ["--os-feature", "win32k", "--os-version", "10.1", "-t", "made"];
        env.ok(["build", "-q", squash, "--manifest", list].iter().chain(&flags).chain(&["ctx"]));
        let config = env.ok(["inspect", "--type", "image", "--format", "{{json .OCIv1}}", "made"]);
        assert!(config.contains("\"os.features\":[\"win32k\"]") && config.contains("\"os.version\":\"10.1\""), "{config}");
        assert_eq!(config.matches("sha256:").count(), 1, "{config}");
        let shown = env.ok(["manifest", "inspect", list]);
        assert_eq!(shown.matches("\"digest\"").count(), 1, "{shown}");
        assert!(shown.contains("win32k") && shown.contains("10.1"), "{shown}");
    }
}

/// Two stages that could be built at the same time: the input is for one of them, or, if that is not to be known, for none.
#[test]
fn stages_side_by_side_do_not_share_the_standard_input() {
    let env = TestEnv::new();
    env.busybox("box");
    let stages = "FROM box AS a\nRUN cat >/a\nFROM box AS b\nRUN cat >/b\n";
    env.write("apart/Dockerfile", format!("{stages}FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n"));
    env.write("chain/Dockerfile", "FROM box AS a\nRUN cat >/a\nFROM a\nRUN cat >/b\n");
    let seen = |flags: &str, context: &str| {
        let build =
            format!("seq 9999 | coracle build -q --stdin {flags} -o out {context} >/dev/null && cat out/a out/b; rm -r out");
        env.shell(&build).success()
    };
    let all = env.shell("seq 9999").success();
    assert_eq!(seen("", "apart"), all, "all goes to the stage that is built first");
    assert_eq!(seen("--jobs 1", "apart"), all);
    assert_eq!(seen("--jobs 2", "apart"), "", "neither gets a part of it");
    assert_eq!(seen("--jobs 0", "apart"), "");
    assert_eq!(seen("--jobs 2", "chain"), all, "here nothing is built at the same time");
}

#[test]
fn commands_read_the_standard_input_only_when_they_may_and_own_files_stay() {
    let env = TestEnv::new();
    env.busybox("box");
    env.write("ctx/hosts", "own\n");
    env.write(
        "ctx/Dockerfile",
        "FROM box\nCOPY hosts /etc/hosts\nCOPY hosts /etc/hostname\nRUN cat /etc/hosts /etc/hostname >/seen; cat >>/seen\n",
    );
    let build = |flags: &str| {
        env.shell(&format!("echo input | coracle build -q {flags} -o out ctx >/dev/null")).success();
        std::fs::read_to_string(env.work().join("out/seen")).expect("what the command saw")
    };
    assert_eq!(build("--no-hosts --no-hostname"), "own\nown\n");
    assert_eq!(build("--no-hosts --no-hostname --stdin"), "own\nown\ninput\n");
    let usual = build("");
    assert!(usual.contains("localhost") && !usual.contains("own"), "{usual}");
}
