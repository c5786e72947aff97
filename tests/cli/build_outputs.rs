//! `build`: what it prints and writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::TestEnv;

fn context(env: &TestEnv) {
    env.write("ctx/Dockerfile", "FROM scratch AS first\nCOPY file /d/file\nFROM scratch\nCOPY --from=first /d /e\n");
    env.write("ctx/file", "content\n");
}

#[test]
fn standard_output_has_the_steps_and_the_id() {
    let env = TestEnv::new();
    context(&env);
    let image = env.run(["build", "-t", "app", "-t", "other:1", "ctx"]).success();
    let id = image.lines().last().expect("an ID").to_owned();
    let short = &id[..12];
    let want = format!(
        "[1/2] STEP 1/2: FROM scratch AS first
[1/2] STEP 2/2: COPY file /d/file
[2/2] STEP 1/2: FROM scratch
[2/2] STEP 2/2: COPY --from=first /d /e
[2/2] COMMIT app
--> {short}
Successfully tagged localhost/app:latest
Successfully tagged localhost/other:1
{id}"
    );
    let lines = |text: &str| {
        text.lines().filter(|line| !line.starts_with("--> ") || line.contains(short)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(lines(&image), want);
    let again = env.run(["build", "-q", "ctx"]).success();
    assert_eq!(again.len(), 64, "{again}");
}

/// Scripts take the whole of standard output for the ID, or for an archive.
#[test]
fn commands_do_not_print_between_an_answer() {
    let env = TestEnv::new();
    env.busybox("busybox");
    let stages = "FROM busybox AS a\nRUN echo one; echo wrong >&2\nFROM busybox AS b\nRUN echo two\nFROM busybox\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\nRUN echo three\n";
    env.write("stages/Dockerfile", stages);
    env.write("one/Dockerfile", "FROM busybox\nRUN echo one; echo wrong >&2\n");
    for context in ["one", "stages"] {
        for flag in ["-q", "--progress=quiet"] {
            let output = env.run(["build", flag, context]);
            assert_eq!(output.out().len(), 65, "{context} {flag}: {output}");
            assert!(output.err().contains("wrong"), "{context} {flag}: {output}");
        }
        for output in ["-", "type=tar,dest=-"] {
            let listed = env.shell(&format!("coracle build -o {output} {context} 2>said | tar t; cat said")).success();
            assert!(listed.contains("etc/passwd\n") && listed.contains("wrong"), "{context} {output}: {listed}");
        }
        env.ok(["build", "-q", "--logfile", "log", context]);
        let log = env.shell("cat log").success();
        assert!(log.contains("wrong") && !log.contains("one"), "{log}");
    }
}

/// Nothing is written for an image that is there already and gets no name.
#[test]
fn names_are_told_once() {
    let env = TestEnv::new();
    context(&env);
    let id = env.ok(["build", "-q", "--layers", "ctx"]);
    assert!(!env.ok(["build", "--layers", "ctx"]).contains("COMMIT"));
    let named = env.ok(["build", "--layers", "-t", "a", "-t", "localhost/a:latest", "ctx"]);
    let short = &id[..12];
    let end = format!("[2/2] COMMIT a\n--> {short}\nSuccessfully tagged localhost/a:latest\n{id}");
    assert!(named.ends_with(&end), "{named}");
    // Those of other builds that made the same come after its own.
    let other = env.ok(["build", "--layers", "-t", "b", "ctx"]);
    let end =
        format!("COMMIT b\n--> {short}\nSuccessfully tagged localhost/b:latest\nSuccessfully tagged localhost/a:latest\n{id}");
    assert!(other.ends_with(&end), "{other}");
    assert!(!env.ok(["build", "--layers", "ctx"]).contains("tagged"));
    // A place is a name, too.
    assert!(env.ok(["build", "--layers=false", "-t", "oci:out:x", "ctx"]).contains("[2/2] COMMIT oci:out:x\n"));
}

#[test]
fn ids_and_descriptions_go_to_files() {
    let env = TestEnv::new();
    context(&env);
    let read = |name: &str| fs::read_to_string(env.work().join(name)).expect(name);
    let id = env.ok(["build", "-q", "--timestamp=1", "ctx"]);
    let output =
        env.run(["build", "--timestamp=1", "--iidfile", "id", "--metadata-file", "meta", "-t", "named", "ctx"]).success();
    assert_eq!(read("id"), format!("sha256:{id}"));
    assert!(!output.contains(&id[..12]), "{output}");
    let meta: serde_json::Value = serde_json::from_str(&read("meta")).expect("JSON");
    assert_eq!(meta["containerimage.config.digest"], format!("sha256:{id}"));
    let digest = env.ok(["inspect", "--format", "{{.FromImageDigest}}", "named"]);
    assert_eq!(meta["containerimage.digest"], digest.as_str());
    assert_eq!(meta["image.name"], "localhost/named:latest");
    assert_eq!(meta["containerimage.descriptor"]["digest"], digest.as_str());
    assert_eq!(meta["containerimage.descriptor"]["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert!(meta["containerimage.descriptor"]["size"].as_u64().is_some_and(|size| size > 100), "{meta}");
    assert_eq!(env.ok(["build", "-q", "--timestamp=1", "--raw-iidfile", "raw", "ctx"]), "");
    assert_eq!(read("raw"), id);
    let said = env.run(["build", "-q", "--iidfile", "/nosuch/x", "ctx"]).failure(125);
    assert!(said.contains("failed to write image ID to file \"/nosuch/x\": open /nosuch/x: "), "{said}");
}

#[test]
fn what_cannot_be_in_the_end_is_said_at_the_start() {
    let env = TestEnv::new();
    context(&env);
    let id = env.ok(["build", "-q", "-t", "image", "ctx"]);
    env.shell("mkdir shut dir; chmod 500 shut; touch file; chmod 400 file").success();
    let cases: [(&[&str], &str); 10] = [
        (
            &["--iidfile", "/nosuch/x"],
            "failed to write image ID to file \"/nosuch/x\": open /nosuch/x: No such file or directory",
        ),
        (&["--iidfile-raw", "shut/x"], "failed to write image ID to file \"shut/x\": open shut/x: Permission denied"),
        (&["--iidfile", "file"], "failed to write image ID to file \"file\": open file: Permission denied"),
        (&["--metadata-file", "nosuch/x"], "writing \"nosuch/x\": "),
        (&["--metadata-file", "dir"], "writing \"dir\": "),
        (&["--manifest", "UPPER"], "repository name must be lowercase"),
        (&["--manifest", "localhost/image"], "which is no manifest list"),
        (&["--timestamp", "99999999999999"], "99999999999999 seconds since 1970 is no time that an image can bear"),
        (&["--source-date-epoch", "99999999999999"], "is no time that an image can bear"),
        (&["--sign-by", "nobody@nowhere"], "nobody@nowhere"),
    ];
    for (flags, words) in cases {
        let output = env.run(["build", "--no-cache", "-t", "made"].iter().chain(flags).chain(&["ctx"]));
        assert_eq!((output.code, output.out().as_str()), (Some(125), ""), "nothing has begun: {output}");
        assert!(output.err().to_lowercase().contains(&words.to_lowercase()), "{flags:?}: {output}");
    }
    assert_eq!(env.ok(["images", "-a", "-q", "--no-trunc"]).trim_start_matches("sha256:"), id);
    // What another output makes may be the place of the file; a link may lead to a file that is not there.
    env.shell("ln -s later link").success();
    env.ok(["build", "-q", "-o", "made/here", "--iidfile", "made/id", "--metadata-file", "link", "ctx"]);
    env.shell("test -s made/id && test -s later").success();
}

#[test]
fn the_files_of_an_image_are_written_out() {
    let env = TestEnv::new();
    context(&env);
    env.busybox("busybox");
    env.write(
        "setuid/Dockerfile",
        "FROM busybox\nRUN mkdir /s && cp /bin/busybox /s/p && chmod 6755 /s/p && ln -s /etc/passwd /s/l && chown 5:6 /s/l\n",
    );
    let id = env.ok(["build", "-q", "--timestamp=1", "-o", "out", "-o", "type=tar,dest=out.tar", "ctx"]);
    assert_eq!(id.len(), 64);
    assert_eq!(fs::read_to_string(env.work().join("out/e/file")).expect("the file"), "content\n");
    let owner = env.shell("stat -c %U:%G out/e/file; id -un; id -gn").success();
    let mut lines = owner.lines();
    assert_eq!(lines.next(), Some(format!("{}:{}", lines.next().unwrap(), lines.next().unwrap()).as_str()));
    assert_eq!(env.shell("tar tf out.tar").success(), "e/\ne/file");
    // On standard output there is nothing else.
    let piped = env.run(["build", "--timestamp=1", "-o", "-", "ctx"]);
    piped.success();
    assert_eq!(piped.stdout, fs::read(env.work().join("out.tar")).expect("the archive"));
    // What is there stays or is replaced, and nobody gets rights that were another's.
    env.write("out2/keep", "k");
    env.write("out2/s/p", "old");
    env.ok(["build", "-q", "-o", "type=local,dest=out2", "setuid"]);
    let mode = fs::metadata(env.work().join("out2/s/p")).expect("the program").permissions().mode() & 0o7777;
    assert_eq!((mode, env.work().join("out2/keep").exists()), (0o755, true));
    // An image without files.
    env.write("none/Dockerfile", "FROM scratch\nLABEL a=b\n");
    env.ok(["build", "-q", "-o", "empty", "-o", "type=tar,dest=empty.tar", "none"]);
    assert_eq!(fs::read_dir(env.work().join("empty")).expect("a directory").count(), 0);
    assert_eq!(env.shell("tar tf empty.tar").success(), "");
    env.assert_store_is_clean();
}

#[test]
fn a_log_gets_all_that_is_said() {
    let env = TestEnv::new();
    env.busybox("busybox");
    env.write("ctx/Dockerfile", "FROM busybox\nRUN echo out; echo err >&2\n");
    env.write("log", "of an earlier build\n");
    let output = env.run(["build", "--network", "host", "--logfile", "log", "ctx"]);
    output.success();
    assert_eq!((output.out().as_str(), output.err().as_str()), ("", ""));
    let log = fs::read_to_string(env.work().join("log")).expect("the log");
    let at = |text: &str| log.lines().position(|line| line == text).unwrap_or_else(|| panic!("{text:?} is not in {log}"));
    assert!(at("STEP 2/2: RUN echo out; echo err >&2") < at("out") && at("out") < at("COMMIT"), "{log}");
    assert!(at("err") < at("COMMIT") && !log.contains("earlier"), "{log}");
    // A failure is said where the caller sees it.
    env.write("ctx/Dockerfile", "FROM busybox\nRUN false\n");
    let said = env.run(["build", "--network", "host", "--logfile", "log", "ctx"]).failure(1);
    assert!(said.starts_with("Error: "), "{said}");
    let said = env.run(["build", "--logfile", "/nosuch/x", "ctx"]).failure(125);
    assert!(said.contains("open /nosuch/x"), "{said}");
}

#[test]
fn programs_get_one_object_a_line() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nARG X=1\nCOPY Dockerfile /\n");
    let arguments = ["build", "--progress=json", "--layers", "--build-arg", "Y=1", "-t", "app", "ctx"];
    let output = env.run(arguments);
    let id = output.success();
    assert_eq!(id.len(), 64, "{output}");
    let events =
        |text: &str| -> Vec<serde_json::Value> { text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect() };
    let all = events(&output.err());
    let of = |kind: &str| all.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    let steps: Vec<_> = of("step").iter().map(|event| event["text"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(steps, ["FROM scratch", "ARG X=1", "COPY Dockerfile /"]);
    assert_eq!(of("step")[2]["step"], 3);
    assert_eq!(of("step")[2]["steps"], 3);
    assert_eq!(of("tagged")[0]["name"], "localhost/app:latest");
    assert_eq!(of("unused-arguments")[0]["names"][0], "Y");
    assert!(of("image").iter().any(|event| event["image"] == id.as_str()));
    let again = env.run(arguments);
    again.success();
    assert!(events(&again.err()).iter().any(|event| event["event"] == "cached"), "{again}");
}

/// As with BuildKit.
#[test]
fn each_of_several_platforms_has_a_directory_of_its_own() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /file\nCOPY $TARGETARCH /$TARGETARCH\n");
    env.write("ctx/amd64", "one\n");
    env.write("ctx/arm64", "two\n");
    env.write("ctx/arm", "three\n");
    let build = |platforms: &str, output: &str| env.run(["build", "-q", "--platform", platforms, "-o", output, "ctx"]);
    let files =
        |dir: &str| env.shell(&format!("cd {dir}; find . -type f | sort; find . -name file | sort | xargs cat")).success();
    build("linux/amd64,linux/arm/v7", "each").success();
    assert_eq!(files("each"), "./linux_amd64/amd64\n./linux_amd64/file\n./linux_arm_v7/arm\n./linux_arm_v7/file\none\nthree");
    build("linux/arm64", "alone").success();
    assert_eq!(files("alone"), "./arm64\n./file\ntwo");
    build("linux/amd64,linux/arm64", "type=local,dest=shared,platform-split=false").success();
    assert_eq!(files("shared"), "./amd64\n./arm64\n./file\ntwo");
    for output in ["-", "type=tar,dest=t.tar"] {
        let said = build("linux/amd64,linux/arm64", output).failure(125);
        assert!(said.contains("an archive holds the files of one platform"), "{said}");
    }
    assert!(!env.work().join("t.tar").exists());
}

#[test]
fn each_platform_is_built_and_listed() {
    let env = TestEnv::new();
    env.write("ctx/Dockerfile", "FROM scratch\nARG TARGETPLATFORM\nLABEL platform=$TARGETPLATFORM\nCOPY Dockerfile /\n");
    let arguments =
        ["build", "--platform", "linux/amd64,linux/arm64", "--manifest", "list", "--logfile", "log", "--logsplit", "ctx"];
    assert_eq!(env.run(arguments).success(), "");
    for architecture in ["amd64", "arm64"] {
        let log = fs::read_to_string(env.work().join(format!("log_linux_{architecture}"))).expect("a log");
        assert!(log.starts_with(&format!("[linux/{architecture}] STEP 1/4: FROM scratch\n")), "{log}");
        assert!(log.trim_end().lines().last().is_some_and(|line| line.len() == 64), "{log}");
    }
    let list: serde_json::Value = serde_json::from_str(&env.ok(["manifest", "inspect", "list"])).expect("JSON");
    let platforms: Vec<_> =
        list["manifests"].as_array().expect("a list").iter().map(|image| image["platform"]["architecture"].clone()).collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    let ids = env.run(["build", "-q", "--platform", "linux/amd64", "--platform", "linux/arm64", "-t", "last", "ctx"]).success();
    assert_eq!(ids.lines().count(), 2, "{ids}");
    assert_eq!(
        env.ok(["inspect", "--format", "{{.OCIv1.Architecture}} {{index .OCIv1.Config.Labels \"platform\"}}", "last"]),
        "arm64 linux/arm64"
    );
}

#[test]
fn a_program_of_another_processor_is_named_as_one() {
    let env = TestEnv::new();
    // The headers of an ELF file for a processor that no machine of ours has (elf(5): EM_S390).
    let mut program = b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16\0\0\0\x01".to_vec();
    program.resize(512, 0);
    let path = env.write("ctx/program", program);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
    env.write("ctx/Dockerfile", "FROM scratch\nCOPY program /bin/sh\nRUN true\n");
    if fs::metadata("/proc/sys/fs/binfmt_misc/qemu-s390x").is_ok() {
        eprintln!("skipped: this machine runs programs for s390x");
        return;
    }
    let said = env.run(["build", "--network", "host", "--platform", "linux/s390x", "ctx"]).failure(1);
    assert!(said.contains("exec format error") && said.contains("Dockerfile:3") && said.contains("qemu-user-static"), "{said}");
}
