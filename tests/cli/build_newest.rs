//! `build`: what Buildah has learned since Debian's version, as its manual page and release notes say it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::harness::TestEnv;

/// Two stages of which the second takes from the first; each says when it was made.
const STAGES: &str = "FROM box AS Made\nRUN echo same >/same; cat /proc/sys/kernel/random/uuid >/own\n\
    FROM box\nCOPY --from=Made /same /same\nRUN cat /proc/sys/kernel/random/uuid >/stamp\n";

#[track_caller]
fn show(env: &TestEnv, template: &str, image: &str) -> String {
    env.ok(["inspect", "--type", "image", "--format", template, image])
}

#[test]
fn a_stage_that_the_filter_names_is_built_anew_and_others_are_not() {
    let env = TestEnv::new();
    env.busybox("box");
    env.write("ctx/Dockerfile", STAGES);
    let build = |flags: &[&str]| {
        let output = env.run(["build", "--layers", "-t", "app"].iter().chain(flags).chain(&["ctx"]));
        (output.success().matches("Using cache").count(), output.err())
    };
    assert_eq!(build(&[]).0, 0);
    assert_eq!(build(&[]).0, 3);
    for word in ["Made", "made", "0"] {
        // What the second one copies has come out the same.
        assert_eq!(build(&["--no-cache-filter", word]), (2, String::new()), "{word}");
    }
    assert_eq!(build(&["--no-cache-filter", "1"]).0, 1);
    assert_eq!(build(&["--no-cache-filter=0,1"]).0, 0);
    assert_eq!(build(&["--no-cache-filter", ""]).0, 3);
    let (cached, said) = build(&["--no-cache-filter", "nosuch"]);
    assert!(cached == 3 && said.contains("--no-cache-filter=nosuch: there is no such stage"), "{said}");
}

#[test]
fn variables_of_the_command_line_are_a_step_which_the_file_may_change() {
    let mut env = TestEnv::new();
    env.set("PRE_B", "2 $X");
    env.set("PRE_A", "1");
    env.write("ctx/Dockerfile", "FROM scratch AS one\nENV KEPT=file\nFROM one\nENV E=file\n");
    let flags = ["--env", "E=flag", "--env", "KEPT=flag", "--env", "PRE_*", "--env", "NOT_HERE*"];
    for layers in ["--layers=false", "--layers"] {
        let said = env.run(["build", layers, "--jobs", "1", "-t", "app"].iter().chain(&flags).chain(&["ctx"])).success();
        let step = "ENV \"E\"=\"flag\" \"KEPT\"=\"flag\" \"PRE_A\"=\"1\" \"PRE_B\"=\"2 $X\"";
        for line in [format!("[1/2] STEP 2/3: {step}\n"), format!("[2/2] STEP 2/3: {step}\n")] {
            assert!(said.contains(&line), "{said}");
        }
        let words = show(&env, "{{range .OCIv1.Config.Env}}{{.}}|{{end}}", "app");
        for word in ["E=file|", "KEPT=flag|", "PRE_A=1|", "PRE_B=2 $X|"] {
            assert!(words.contains(word), "{words}");
        }
        let history = show(&env, "{{range .OCIv1.History}}{{.CreatedBy}}|{{end}}", "app");
        assert_eq!(history.matches(step).count(), 2, "{history}");
    }
    // It is no build of the base alone.
    env.write("ctx/Dockerfile", "FROM app\n");
    env.ok(["build", "-q", "--env", "MORE=1", "-t", "more", "ctx"]);
    assert!(show(&env, "{{.OCIv1.Config.Env}}", "more").contains("MORE=1"));
}

#[test]
fn what_is_mounted_for_every_command_may_be_a_secret_or_another_image() {
    let env = TestEnv::new();
    env.busybox("box");
    env.write("token", "hush");
    env.write("ctx/file", "content\n");
    env.write(
        "ctx/Dockerfile",
        "FROM box\nRUN cat /run/secrets/t /c/file >/first\nRUN cat /run/secrets/t >/second; test -x /other/bin/busybox\n",
    );
    let mounts = ["type=secret,id=t", "type=bind,target=/c", "type=bind,from=localhost/box,target=/other"];
    let flags = mounts.iter().flat_map(|mount| ["--mount", *mount]);
    env.ok(["build", "-q", "--secret", "id=t,src=token", "-o", "out"].into_iter().chain(flags).chain(["ctx"]));
    let read =
        |name: &str| fs::read_to_string(env.work().join("out").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!((read("first"), read("second")), ("hushcontent\n".to_owned(), "hush".to_owned()));
    assert!(!env.work().join("out/run/secrets/t").exists());
    let missing = env.run(["build", "--mount", "type=secret,id=t,required", "ctx"]).failure(125);
    assert!(missing.contains("secret required but no secret with id \"t\" found"), "{missing}");
}

#[test]
fn build_arguments_fix_the_time_and_the_platform() {
    let mut env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nARG SOURCE_DATE_EPOCH TARGETARCH\nLABEL e=$SOURCE_DATE_EPOCH a=$TARGETARCH\n");
    let built = |env: &TestEnv, flags: &[&str]| {
        let said = env.run(["build", "-t", "app"].iter().chain(flags).chain(&["ctx"])).success();
        assert!(!said.contains("not consumed"), "{said}");
        show(env, "{{.OCIv1.Created}} {{.OCIv1.Architecture}} {{.OCIv1.Config.Labels.e}} {{.OCIv1.Config.Labels.a}}", "app")
    };
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=5"];
    assert!(built(&env, &epoch).starts_with("1970-01-01 00:00:05"), "{}", built(&env, &epoch));
    let foreign = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };
    let platform = format!("TARGETPLATFORM=linux/{foreign}");
    let shown = built(&env, &["--build-arg", &platform, epoch[0], epoch[1]]);
    assert!(shown.ends_with(&format!(" {foreign} 5 {foreign}")), "{shown}");
    // The variable goes before the argument as to the time of the image, and not as to the value of ARG.
    env.set("SOURCE_DATE_EPOCH", "9");
    let shown = built(&env, &epoch);
    assert!(shown.starts_with("1970-01-01 00:00:09") && shown.contains(" 5 "), "{shown}");
    // An argument that nothing declares is no mistake either.
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    built(&env, &[epoch[0], epoch[1], "--build-arg", "TARGETARCH=x"]);
}

#[test]
fn files_of_an_output_have_the_time_that_was_fixed() {
    let env = TestEnv::new();
    env.write("ctx/file", "content\n");
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY file /d/file\n");
    for (flags, time) in [(["--timestamp", "7"], Some(7)), (["--source-date-epoch", "8"], Some(8)), (["--jobs", "1"], None)] {
        env.shell("rm -rf out out.tar").success();
        let outputs = ["-o", "out", "-o", "type=tar,dest=out.tar", "ctx"];
        env.ok(["build", "-q"].iter().chain(&flags).chain(&outputs));
        let file = fs::metadata(env.work().join("out/d/file")).expect("a file");
        assert_eq!(file.mtime() < 100, time.is_some(), "{flags:?}");
        let listed = env.shell("TZ=UTC tar --full-time -tvf out.tar | grep d/file").success();
        match time {
            Some(time) => assert!(file.mtime() == time && listed.contains(&format!("1970-01-01 00:00:0{time}")), "{listed}"),
            None => assert!(!listed.contains("1970"), "{listed}"),
        }
    }
}

#[test]
fn labels_of_steps_are_none_of_the_image_that_was_asked_for() {
    let labels = "{{range $k, $v := .OCIv1.Config.Labels}}{{$k}}={{$v}} {{end}}";
    for layers in ["--layers=false", "--layers"] {
        let env = TestEnv::new();
        env.write("ctx/Dockerfile", "FROM scratch AS one\nLABEL own=1\nCOPY . /1\nFROM one\nCOPY . /2\nLABEL last=1\n");
        let flags = [layers, "--save-stages", "--identity-label=false", "--layer-label", "step=1", "--layer-label", "own=2"];
        env.ok(["build", "-q", "-t", "app"].iter().chain(&flags).chain(&["ctx"]));
        assert_eq!(show(&env, labels, "app"), "last=1 own=1 ", "{layers}");
        let app = env.ok(["images", "--quiet", "--no-trunc", "app"]);
        let all = env.ok(["images", "--all", "--quiet", "--no-trunc"]);
        let others = all.lines().filter(|id| *id != app);
        let all: Vec<String> = others.map(|id| show(&env, labels, id.trim_start_matches("sha256:"))).collect();
        assert!(!all.is_empty() && all.iter().all(|labels| labels.contains("own=1 step=1")), "{layers}: {all:?}");
    }
}

#[test]
fn both_files_may_have_the_id() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    env.ok(["build", "--iidfile", "id", "--iidfile-raw", "raw", "-t", "app", "ctx"]);
    let read = |name: &str| fs::read_to_string(env.work().join(name)).expect("an ID");
    assert_eq!(read("id"), format!("sha256:{}", read("raw")));
}

#[test]
fn layers_for_other_places_are_compressed_where_that_was_asked_for() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let layers = |flags: &[&str]| {
        env.shell("rm -rf out").success();
        env.ok(["build", "-q", "-t", "oci:out:x"].iter().chain(flags).chain(&["ctx"]));
        let said = env.shell("grep -rho 'image.layer.v1.tar[+a-z]*' out | sort -u").success();
        said.trim().to_owned()
    };
    assert_eq!(layers(&[]), "image.layer.v1.tar");
    assert_eq!(layers(&["-D=false"]), "image.layer.v1.tar+gzip");
    assert_eq!(layers(&["--disable-compression=true"]), "image.layer.v1.tar");
    assert_eq!(layers(&["--compression-format", "zstd"]), "image.layer.v1.tar+zstd");
    assert_eq!(layers(&["-D", "--compression-format", "zstd"]), "image.layer.v1.tar+zstd");
    assert_eq!(layers(&["--compression-level", "9"]), "image.layer.v1.tar");
    env.write_home(".config/containers/containers.conf", "[engine]\ncompression_format = \"zstd\"\n");
    assert_eq!(layers(&[]), "image.layer.v1.tar+zstd");
}

#[test]
fn a_platform_may_be_a_processor_or_a_system_alone() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nLABEL a=b\n");
    let made = |word: &str| {
        env.ok(["build", "-q", "--platform", word, "-t", "made", "ctx"]);
        env.ok(["inspect", "--type", "image", "--format", "{{.OCIv1.OS}}/{{.OCIv1.Architecture}}/{{.OCIv1.Variant}}", "made"])
    };
    for (word, platform) in [("s390x", "linux/s390x/"), ("armhf", "linux/arm/v7"), ("linux/arm64/", "linux/arm64/")] {
        assert_eq!(made(word), platform, "{word}");
    }
    assert!(made("windows").starts_with("windows/"));
    assert!(env.run(["build", "--platform", "zz", "ctx"]).failure(125).contains("invalid platform syntax for \"zz\""));
}

#[test]
fn names_of_stages_may_be_variables_but_not_nothing() {
    let env = TestEnv::new();
    env.write("ctx/file", "content\n");
    let build = |flags: &[&str], text: &str| {
        env.write("ctx/Dockerfile", text);
        env.run(["build", "--pull-never", "-o", "out"].iter().chain(flags).chain(&["ctx"]))
    };
    let stages = "ARG N=made\nFROM scratch AS $N\nCOPY file /f\n";
    let said = build(&[], &format!("{stages}FROM scratch\nCOPY --from=made /f /a\n")).success();
    assert!(said.contains("[1/2] STEP 1/2: FROM scratch AS made\n"), "{said}");
    // A variable of the command line is known before the first step, as to which stages are needed.
    build(&["--env", "FROM_HERE=made"], &format!("{stages}FROM scratch\nCOPY --from=$FROM_HERE /f /b\n")).success();
    assert!(env.work().join("out/a").is_file() && env.work().join("out/b").is_file());
    for (line, words) in [
        ("COPY --from=$N /f /f", "COPY has no value specified for --from="),
        ("FROM --platform=$P scratch", "FROM has no value specified for --platform="),
        ("FROM --after=$P scratch", "FROM has no value specified for --after="),
        ("FROM scratch AS $P", "FROM has an empty name for the stage"),
    ] {
        let said = build(&[], &format!("{stages}FROM scratch\n{line}\n")).failure(125);
        assert!(said.contains(words) && said.contains(&format!("  5 | {line}")), "{line}: {said}");
    }
}
