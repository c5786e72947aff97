//! `build`: stages, steps, what is printed, what is left behind.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::TestEnv;

/// An environment with the image `base`, and a context with a file.
fn env() -> TestEnv {
    let env = TestEnv::new();
    env.busybox("base");
    env.write("ctx/f", "content\n");
    env
}

fn build(env: &TestEnv, dockerfile: &str, flags: &[&str]) -> crate::harness::CommandOutput {
    env.write("Dockerfile", dockerfile);
    env.run(["build", "-f", "Dockerfile"].iter().chain(flags).chain(&["ctx"]))
}

/// The output with IDs and digests by their length only.
fn without_ids(text: &str) -> String {
    let word = |word: &str| {
        let is_id = word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { format!("<{}>", word.len()) } else { word.to_owned() }
    };
    text.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n").collect()
}

/// A member of the image's config: a template of `inspect`.
fn inspect(env: &TestEnv, image: &str, template: &str) -> String {
    env.ok(["inspect", "--type", "image", "--format", template, image])
}

fn history(env: &TestEnv, image: &str) -> Vec<String> {
    let text = inspect(env, image, "{{range .OCIv1.History}}{{.CreatedBy}}|{{.EmptyLayer}}\n{{end}}");
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What a file of an image says.
fn cat(env: &TestEnv, image: &str, script: &str) -> String {
    let container = env.ok(["from", "--pull-never", image]);
    let text = env.inside(&container, script);
    env.ok(["rm", &container]);
    text
}

/// Nothing is left but images.
#[track_caller]
fn assert_no_containers(env: &TestEnv) {
    assert_eq!(env.ok(["containers", "-q"]), "");
    env.assert_store_is_clean();
}

#[test]
fn a_stage_is_one_layer_and_prints_what_buildah_prints() {
    let env = env();
    let file = "ARG V=1\nFROM base\nARG V\nENV A=x\nRUN echo $A $V >/x; echo said\nCOPY f /g\nCMD [\"sh\"]\n";
    let out = build(&env, file, &["-t", "app", "-t", "more:2", "--build-arg", "Z=1"]);
    let expected = "STEP 1/6: FROM base\nSTEP 2/6: ARG V\nSTEP 3/6: ENV A=x\nSTEP 4/6: RUN echo $A $V >/x; echo said\nsaid\n\
                    STEP 5/6: COPY f /g\nSTEP 6/6: CMD [\"sh\"]\nCOMMIT app\n--> <12>\n\
                    [Warning] one or more build args were not consumed: [Z]\nSuccessfully tagged localhost/app:latest\n\
                    Successfully tagged localhost/more:2\n<64>\n";
    assert_eq!(without_ids(&(out.success() + "\n")), expected);
    let base = inspect(&env, "base", "{{len .OCIv1.RootFS.DiffIDs}}").parse::<usize>().expect("a number");
    assert_eq!(inspect(&env, "app", "{{len .OCIv1.RootFS.DiffIDs}}"), (base + 1).to_string());
    let history = history(&env, "app");
    let own: Vec<&str> = history.iter().skip(history.len() - 5).map(String::as_str).collect();
    assert_eq!(own[0], "/bin/sh -c #(nop) ARG V|true");
    assert_eq!(own[1], "/bin/sh -c #(nop) ENV A=x|true");
    assert_eq!(own[2], "|1 V=1 /bin/sh -c echo $A $V >/x; echo said|true");
    assert!(own[3].starts_with("/bin/sh -c #(nop) COPY file:") && own[3].ends_with(" in /g |true"), "{}", own[3]);
    assert_eq!(own[4], "/bin/sh -c #(nop) CMD [\"sh\"]|false");
    assert_eq!(cat(&env, "app", "cat /x /g"), "x 1\ncontent");
    assert_no_containers(&env);
}

#[test]
fn with_layers_each_step_is_an_image_that_lists_hide() {
    let env = env();
    let file = "FROM base\nENV A=x\nRUN echo 1 >/x\nWORKDIR /made/here\nLABEL a=b\n";
    let first = build(&env, file, &["-t", "app", "--layers"]).success();
    let expected = "STEP 1/5: FROM base\nSTEP 2/5: ENV A=x\n--> <12>\nSTEP 3/5: RUN echo 1 >/x\n--> <12>\n\
                    STEP 4/5: WORKDIR /made/here\n--> <12>\nSTEP 5/5: LABEL a=b\nCOMMIT app\n--> <12>\n\
                    Successfully tagged localhost/app:latest\n<64>\n";
    assert_eq!(without_ids(&(first.clone() + "\n")), expected);
    let again = build(&env, file, &["-t", "app", "--layers"]).success();
    assert_eq!(again.matches("--> Using cache ").count(), 4, "{again}");
    assert_eq!(first.lines().last(), again.lines().last());
    let listed = |flags: &[&str]| env.ok(["images", "-q", "-n"].iter().chain(flags)).lines().count();
    assert_eq!((listed(&[]), listed(&["-a"])), (2, 5));
    assert_eq!(cat(&env, "app", "test -d /made/here && pwd"), "/made/here");
    assert_no_containers(&env);
    env.ok(["rmi", "app"]);
    assert_eq!(listed(&["-a"]), 1, "what only the image needed goes with it");
}

#[test]
fn stages_hand_over_files_settings_and_arguments() {
    let env = env();
    let file = "ARG W=global\nFROM base AS one\nARG W\nENV E=one\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\nRUN echo $W >/w\n\
                FROM base AS unused\nRUN exit 9\n\
                FROM one AS two\nRUN false || true; echo $W-$E >/we\n\
                FROM scratch\nCOPY --from=two /we /a\nCOPY --from=0 /w /b\n";
    for flags in [&["-t", "app"][..], &["-t", "app", "--layers"], &["-t", "app", "--jobs", "1"]] {
        let out = build(&env, file, flags);
        let text = out.success();
        assert!(!text.contains("unused"), "{text}");
        assert!(text.contains("[4/4] STEP 3/3: COPY --from=0 /w /b"), "{text}");
        let container = env.ok(["from", "--pull-never", "base"]);
        env.ok(["copy", "--from", "app", &container, "/a", "/b", "/"]);
        assert_eq!(env.inside(&container, "cat /a /b"), "global-one\nglobal");
        env.ok(["rm", &container]);
        assert_no_containers(&env);
    }
}

#[test]
fn intermediate_images_of_a_build_without_layers_go_with_it() {
    let env = env();
    build(&env, "FROM base AS a\nRUN echo 1 >/a\nFROM a\nRUN echo 2 >/b\n", &["-t", "app"]).success();
    assert_eq!(env.ok(["images", "-a", "-q", "-n"]).lines().count(), 2);
    assert_eq!(cat(&env, "app", "cat /a /b"), "1\n2");
    assert_no_containers(&env);
}

#[test]
fn independent_stages_run_side_by_side_and_their_output_is_told_apart() {
    let env = env();
    let file = "FROM base AS a\nRUN echo from-a; sleep 1\nRUN touch /a\nFROM base AS b\nRUN echo from-b; sleep 1\nRUN touch /b\n\
                FROM base\nCOPY --from=a /a /\nCOPY --from=b /b /\nRUN echo alone\n";
    let begun = Instant::now();
    let out = build(&env, file, &["-t", "app"]).success();
    let both = begun.elapsed();
    assert!(out.contains("[1/3] from-a\n") && out.contains("[2/3] from-b\n") && out.contains("\nalone\n"), "{out}");
    let begun = Instant::now();
    let out = build(&env, file, &["-t", "app", "--jobs", "1"]).success();
    let in_turn = begun.elapsed();
    assert!(out.contains("\nfrom-a\n") && out.contains("\nfrom-b\n"), "{out}");
    assert!(in_turn > both, "{in_turn:?} one after the other, {both:?} at the same time");
    assert_no_containers(&env);
}

#[test]
fn a_failure_names_its_place_and_leaves_nothing() {
    let env = env();
    let failed = build(&env, "FROM base\n\nRUN echo a && \\\n    exit 7\n", &["-t", "app"]);
    let text = failed.failure(7);
    assert!(
        text.contains("Error: building at STEP \"RUN echo a &&     exit 7\": while running runtime: exit status 7\n"),
        "{text}"
    );
    assert!(text.contains("Dockerfile:3\n"), "{text}");
    let failed =
        build(&env, "FROM base AS a\nRUN sleep 60\nFROM base AS b\nRUN sleep 1; exit 5\nFROM a\nCOPY --from=b /x /x\n", &[]);
    assert!(failed.failure(5).contains("exit status 5"), "the other stage is ended");
    let cases = [
        ("FROM base\nFOO x\n", "Unknown instruction: \"FOO\""),
        ("FROM base\nCOPY nope /x\n", "copier: stat: \"/nope\": no such file or directory"),
        ("FROM base\nCOPY https://example.com/x /x\n", "source can't be a URL for COPY"),
        ("FROM localhost/missing\n", "creating build container: "),
        ("FROM base AS a\nCOPY --from=a /x /x\n", "which it is itself part of"),
        ("FROM base\nUSER nobody-here\nRUN true\n", "unknown user"),
    ];
    for (file, words) in cases {
        let text = build(&env, file, &["--layers"]).failure(125);
        assert!(text.contains(words), "{file:?}: {text}");
    }
    let refused = build(&env, "FROM base\n", &["--target", "zz"]).failure(125);
    assert_eq!(refused.lines().next(), Some("Error: the target \"zz\" was not found in the provided Dockerfile"));
    assert_no_containers(&env);
}

#[test]
fn a_failed_step_can_be_kept_for_a_look() {
    let env = env();
    build(&env, "FROM base\nENV A=here\nRUN echo half >/state; exit 3\n", &["--keep-failed"]).failure(3);
    let kept = env.ok(["containers", "-q"]);
    assert_eq!(env.inside(kept.trim(), "cat /state; echo $A"), "half\nhere");
    env.ok(["rm", kept.trim()]);
}

/// A step whose layer takes long enough to hash that the next step is begun before.
const LARGE: &str = "FROM base\nRUN dd if=/dev/zero of=/large bs=1 count=0 seek=40000000; echo 1 >/one; rm /etc/group\n";

#[test]
fn the_image_of_a_large_step_is_made_while_the_next_one_runs_and_is_the_same() {
    let env = env();
    let second = "ENV A=1\nRUN dd if=/dev/zero of=/more bs=1 count=0 seek=40000000; cat /one >/two; rm /one; mkdir /d\n";
    let third = "COPY f /d/f\nRUN ls -a / /d >/listed; test ! -e /etc/group; test -e /large\n";
    let (two, all) = (format!("{LARGE}{second}"), format!("{LARGE}RUN cat /one\n{second}{third}"));
    let flags = ["--layers", "--timestamp", "0", "-t", "app"];
    let out = build(&env, &all, &flags).success();
    let said = out
        .lines()
        .map(|line| line.get(..6).unwrap_or(line))
        .filter(|line| line.starts_with("STEP") || line.starts_with("-->"));
    let said: Vec<&str> = said.collect();
    let steps =
        ["STEP 1", "STEP 2", "STEP 3", "--> ", "--> ", "STEP 4", "--> ", "STEP 5", "STEP 6", "--> ", "--> ", "STEP 7", "--> "];
    assert!(said.iter().zip(steps).all(|(said, wanted)| said.starts_with(wanted)) && said.len() == steps.len(), "{said:?}");
    let image = inspect(&env, "app", "{{.FromImageID}}");
    assert_no_containers(&env);

    // Each step as the last one of its build, then found again.
    env.ok(["rmi", "-f", "app"]);
    env.ok(["rmi", "--prune", "--force"]);
    let written: Vec<&str> = all.lines().collect();
    for count in 2..=written.len() {
        build(&env, &format!("{}\n", written[..count].join("\n")), &flags).success();
    }
    assert_eq!(inspect(&env, "app", "{{.FromImageID}}"), image);
    assert!(build(&env, &all, &flags).success().matches("Using cache").count() == 6, "all of it is known");
    // Where another image has the layer already, that one is used.
    build(&env, &two, &["--layers", "--timestamp", "0", "--no-cache", "-t", "again"]).success();
    assert_no_containers(&env);
}

#[test]
fn a_step_that_fails_beside_the_image_of_the_one_before_leaves_that_image() {
    let env = env();
    let flags = ["--layers", "--keep-failed"];
    let out = build(&env, &format!("{LARGE}RUN cat /one >/state; exit 3\n"), &flags);
    assert_eq!(out.code, Some(3), "{out}");
    let kept = env.ok(["containers", "-q"]);
    assert_eq!(env.inside(kept.trim(), "cat /state; test -e /large; ls /etc/group 2>&1 | grep -c No"), "1\n1");
    env.ok(["rm", kept.trim()]);
    let out = build(&env, &format!("{LARGE}RUN cat /one\n"), &["--layers"]).success();
    assert!(out.contains("Using cache"), "the large step is known: {out}");
    assert_no_containers(&env);
}

#[test]
fn a_build_that_is_interrupted_tidies_up() {
    // No step has failed then.
    let with_keep = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT].map(|signal| (signal, "--keep-failed"));
    for (signal, keep) in [(libc::SIGINT, "--layers"), (libc::SIGTERM, "--layers")].into_iter().chain(with_keep) {
        let env = env();
        env.write("Dockerfile", "FROM base\nRUN echo begun; sleep 60\n");
        let mut command = env.command(&crate::harness::binary().to_string_lossy());
        command.args(["build", keep, "-t", "app", "-f", "Dockerfile", "ctx"]).stdin(Stdio::null()).process_group(0);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("coracle");
        let mut out = std::io::BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while line != "begun\n" {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut out, &mut line).expect("a line") > 0, "it ended too soon");
        }
        let begun = Instant::now();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::try_from(signal).expect("a signal")).expect("it lives");
        let status = child.wait().expect("its end");
        assert_eq!(status.code(), Some(128 + signal));
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_no_containers(&env);
    }
}

#[test]
fn a_build_that_is_killed_leaves_a_valid_store() {
    let env = env();
    env.write("Dockerfile", "FROM base AS a\nRUN touch /x\nFROM a\nRUN sleep 1\n");
    for (flags, seconds) in [("", "0.3"), ("--layers", "0.5")] {
        env.shell(&format!("timeout -s KILL {seconds} coracle build {flags} -f Dockerfile ctx || true")).success();
        // The process of a stage notices at its next word.
        std::thread::sleep(Duration::from_millis(2500));
    }
    for container in env.ok(["containers", "-q"]).lines() {
        env.ok(["rm", container.trim()]);
    }
    env.run(["check", "--repair"]);
    env.assert_store_is_clean();
    assert_eq!(cat(&env, "base", "echo well"), "well");
}

#[test]
fn a_trigger_of_the_base_is_a_step_after_from() {
    let env = env();
    build(&env, "FROM base\nONBUILD COPY f /copied\nONBUILD RUN echo ran >/ran\n", &["-t", "parent", "--format", "docker"])
        .success();
    for flags in [&["-t", "app"][..], &["-t", "app", "--layers"]] {
        let out = build(&env, "FROM parent\nRUN echo own >/own\n", flags).success();
        assert!(out.contains("STEP 2/4: COPY f /copied\n") && out.contains("STEP 4/4: RUN echo own >/own\n"), "{out}");
        assert_eq!(cat(&env, "app", "cat /copied /ran /own"), "content\nran\nown");
        assert_eq!(inspect(&env, "app", "{{.Docker.Config.OnBuild}}"), "[]");
    }
}

/// Of a base that is in the store; one that comes from elsewhere has to be here first.
#[test]
fn the_number_of_steps_counts_triggers_from_the_first_line_on() {
    let env = env();
    let triggers = "ONBUILD LABEL one=1\nONBUILD LABEL two=2\n";
    build(&env, &format!("FROM base\n{triggers}"), &["-t", "parent", "--format", "docker"]).success();
    let steps = |file: &str, flags: &[&str]| {
        let flags = [&["-t", "app", "--label", "a=b", "--env", "c=d"], flags].concat();
        let out = build(&env, file, &flags).success();
        let of_last = |line: &str| line.strip_prefix("[2/2] ").unwrap_or(line).strip_prefix("STEP ").map(str::to_owned);
        let steps: Vec<String> = out.lines().filter_map(of_last).collect();
        steps.iter().filter_map(|step| step.split_once(':')).map(|(count, _)| format!("{count} ")).collect::<String>()
    };
    let in_the_file = format!("FROM base AS up\nRUN true\n{triggers}FROM up\nENV x=y\n");
    // The image is looked at by the build's own process with layers, and by one of the stage's own without.
    for layers in ["--layers", "--layers", "--layers=false"] {
        for pull in ["--pull=missing", "--pull=false"] {
            assert_eq!(steps("FROM parent\nENV x=y\n", &[layers, pull]), "1/6 2/6 3/6 4/6 5/6 6/6 ", "{layers} {pull}");
        }
        assert_eq!(steps(&in_the_file, &[layers, "--format", "docker"]), "1/6 2/6 3/6 4/6 5/6 6/6 ", "{layers}");
    }
    env.ok(["push", "-q", "parent", "docker-archive:elsewhere.tar"]);
    assert_eq!(steps("FROM docker-archive:elsewhere.tar\nENV x=y\n", &["--layers"]), "1/4 2/6 3/6 4/6 5/6 6/6 ");
}

#[test]
fn settings_are_those_of_the_last_instruction() {
    let env = env();
    let file = "FROM base\nCMD [\"old\"]\nENTRYPOINT [\"/e\"]\nUSER user\nWORKDIR sub/dir\nEXPOSE 80 53/udp\nVOLUME /data\n\
                STOPSIGNAL SIGINT\nENV A=1 B=$A\nENV B=$A\nLABEL l=\"$B\"\n";
    build(&env, file, &["-t", "app"]).success();
    let settings = "{{.OCIv1.Config.Cmd}} {{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.User}} {{.OCIv1.Config.WorkingDir}} \
                    {{.OCIv1.Config.StopSignal}} {{.OCIv1.Config.Env}}";
    assert_eq!(inspect(&env, "app", settings), "[old] [/e] user /sub/dir SIGINT [PATH=/bin A=1 B=1]");
    assert_eq!(cat(&env, "app", "stat -c %U /sub/dir"), "user");
    build(&env, "FROM app\nENTRYPOINT [\"/new\"]\n", &["-t", "above"]).success();
    assert_eq!(inspect(&env, "above", "{{.OCIv1.Config.Cmd}}{{.OCIv1.Config.Entrypoint}}"), "[][/new]");
}

#[test]
fn what_commands_do_below_a_volume_is_undone_when_asked_for() {
    let env = env();
    let file =
        "FROM base\nRUN mkdir /v && echo before >/v/a\nVOLUME /v\nRUN echo changed >/v/a; echo new >/v/b; touch /beside\n";
    build(&env, file, &["-t", "kept"]).success();
    assert_eq!(cat(&env, "kept", "cat /v/a; ls /v /beside"), "changed\n/beside\n\n/v:\na\nb");
    build(&env, file, &["-t", "undone", "--compat-volumes"]).success();
    assert_eq!(cat(&env, "undone", "cat /v/a; ls /v /beside"), "before\n/beside\n\n/v:\na");
}

#[test]
fn a_squashed_image_has_one_layer() {
    let env = env();
    for flags in [&["-t", "app", "--squash"][..], &["-t", "app", "--squash", "--layers"]] {
        build(&env, "FROM base\nRUN echo 1 >/x\nLABEL a=b\n", flags).success();
        assert_eq!(
            inspect(&env, "app", "{{len .OCIv1.RootFS.DiffIDs}} {{len .OCIv1.History}} {{.OCIv1.Config.Labels.a}}"),
            "1 1 b"
        );
        assert_eq!(cat(&env, "app", "cat /x"), "1");
        assert_no_containers(&env);
    }
}

#[test]
fn equal_builds_at_a_fixed_time_are_the_same_image() {
    let env = env();
    let file = "FROM base\nRUN echo 1 >/x\nCOPY f /g\nENV A=b\n";
    for layers in ["--layers=false", "--layers"] {
        let flags = ["-q", "--timestamp", "7", "--no-cache", layers];
        let (first, second) = (build(&env, file, &flags).success(), build(&env, file, &flags).success());
        assert_eq!(first, second, "{layers}");
    }
}
