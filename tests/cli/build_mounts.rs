//! `RUN --mount`, `--network`, `--security` and here-documents in a build.

use std::fs;
use std::process::Child;

use crate::harness::{CommandOutput, TestEnv, skip_without};

/// An environment with the image `busybox`.
pub fn env() -> TestEnv {
    let env = TestEnv::new();
    env.busybox("busybox");
    env
}

/// Builds `lines` on busybox in `ctx`, with these flags.
pub fn build(env: &TestEnv, flags: &[&str], lines: &str) -> CommandOutput {
    env.write("ctx/Dockerfile", format!("FROM busybox\n{lines}\n"));
    env.run([&["build", "--network", "host", "-t", "app"], flags, &["ctx"]].concat())
}

#[test]
fn binds_show_the_context_a_stage_and_an_image_and_leave_nothing() {
    let env = env();
    env.write("ctx/file", "of the context\n");
    env.write("other/file", "of another context\n");
    env.write(
        "ctx/Dockerfile",
        "FROM busybox AS made\nRUN mkdir /d && echo of a stage >/d/file\nFROM busybox\n\
         RUN --mount=target=/ctx cat /ctx/file; ! touch /ctx/new\n\
         RUN --mount=from=made,src=d,dst=/s,rw cat /s/file; echo changed >/s/file\n\
         RUN --mount=from=made,source=/d,target=s cat /s/file\n\
         RUN --mount=from=busybox,src=/etc,target=/i ls /i/passwd\n\
         RUN --mount=from=other,target=/o,ro=true,Z cat /o/file\n\
         RUN --mount='type=bind,src=file,\"dst=/a,b\"' cat '/a,b'\n\
         RUN ls -d /ctx /s /i /o '/a,b' 2>/dev/null | wc -l\n",
    );
    let output = env.run(["build", "--network", "host", "-q", "--build-context", "other=other", "ctx"]);
    assert_eq!(output.code, Some(0), "{output}");
    let output = env.run(["build", "--network", "host", "--build-context", "other=other", "ctx"]);
    let lines: Vec<String> = output.out().lines().filter(|line| !line.contains("STEP")).map(str::to_owned).collect();
    let heard = ["of the context", "of a stage", "of a stage", "/i/passwd", "of another context", "of the context", "0"];
    assert_eq!(lines.iter().filter(|line| heard.contains(&line.as_str())).collect::<Vec<_>>(), heard, "{output}");
    assert_eq!(fs::read_to_string(env.work().join("ctx/file")).unwrap(), "of the context\n");
    env.assert_store_is_clean();
}

#[test]
fn a_secret_is_there_for_its_command_only() {
    let mut env = env();
    env.write("key", "k1ngf1sh3r");
    env.set("TOKEN_OF_MINE", "t0k3n");
    let flags = ["--secret", "id=key,src=key", "--secret", "id=token,env=TOKEN_OF_MINE"];
    let output = build(
        &env,
        &flags,
        "RUN --mount=type=secret,id=key,mode=0440,uid=5,gid=6 stat -c '%a %u %g' /run/secrets/key; cat /run/secrets/key; echo\n\
         RUN --mount=type=secret,id=token,env=T --mount=type=secret,id=key,target=sub/key \
         echo \"$T\"; cat /sub/key; echo; test ! -e /run/secrets\n\
         RUN --mount=type=secret,id=key ! echo x >/run/secrets/key\n\
         RUN --mount=type=secret,id=missing test ! -e /run/secrets/missing\n\
         RUN env | grep ^T= || ls -d /run/secrets /sub || echo nothing",
    );
    output.success();
    let text = output.out();
    for heard in ["440 5 6", "t0k3n", "k1ngf1sh3r", "nothing"] {
        assert!(text.lines().any(|line| line == heard), "{heard}: {output}");
    }
    let image = env.ok(["inspect", "--type", "image", "app"]);
    assert!(!image.contains("t0k3n") && !image.contains("k1ngf1sh3r"), "{image}");
    let required = build(&env, &flags, "RUN --mount=type=secret,id=missing,required true");
    assert!(required.failure(125).contains("secret required but no secret with id \"missing\" found"), "{required}");
    let double = build(&env, &flags, "RUN --mount=type=secret,id=key,dst=/x --mount=type=tmpfs,dst=/x true");
    assert!(double.failure(125).contains("duplicate mount destination"), "{double}");
    for (mount, words) in [
        ("type=secret,id=key,requird", "did you mean required?"),
        ("type=secret", "secret should have syntax"),
        ("type=cache,target=/c,sharin=locked", "sharin: invalid mount option: did you mean sharing?"),
        ("type=cache,target=/c,sharing=lokced", "field `sharing`: invalid mount option: did you mean locked?"),
        ("type=foo,target=/c", "invalid mount type \"foo\"\n"),
        ("type=cach,target=/c", "invalid mount type \"cach\": did you mean cache?"),
        ("type=secert,id=key", "invalid mount type \"secert\": did you mean secret?"),
        ("type=secret,id=key,target=/proc/self/x", "the kernel's own files"),
    ] {
        let output = build(&env, &flags, &format!("RUN --mount={mount} true"));
        assert!(output.failure(125).contains(words), "{mount}: {output}");
    }
    env.assert_store_is_clean();
}

#[test]
fn keys_are_asked_for_signatures_and_stay_outside() {
    if skip_without(&["ssh-agent", "ssh-add", "ssh-keygen"]) {
        return;
    }
    let env = env();
    // The client and its libraries, for a container that has none.
    let script = "mkdir -p ctx/libs; cp /usr/bin/ssh-add ctx/; \
                  for l in $(ldd /usr/bin/ssh-add | grep -o '/[^ ]*'); do (cd ctx/libs && cp -L --parents $l .); done; \
                  for k in a b p; do ssh-keygen -q -t ed25519 -N '' -C key-$k -f $k; done; ssh-keygen -q -p -N secret -f p";
    env.shell(script).success();
    let client = "COPY libs /\nCOPY ssh-add /bin/ssh-add\n";
    let steps = format!(
        "{client}RUN --mount=type=ssh echo $SSH_AUTH_SOCK; ssh-add -l; ssh-add -D; ssh-add -x </dev/null; ssh-add -l\n\
         RUN --mount=type=ssh,id=other,target=/agent,mode=0666,uid=7 stat -c '%a %u' /agent; SSH_AUTH_SOCK=/agent ssh-add -l\n\
         RUN --mount=type=ssh,id=missing test -z \"$SSH_AUTH_SOCK\"\n\
         RUN ls /run/buildkit /agent; env | grep SSH; echo end"
    );
    let output = build(&env, &["--ssh", "default=a,b", "--ssh", "other=b"], &steps);
    output.success();
    let text = output.out();
    assert_eq!(text.matches("key-a (ED25519)").count(), 2, "{output}");
    assert_eq!(text.matches("key-b (ED25519)").count(), 3, "{output}");
    assert!(text.contains("/run/buildkit/ssh_agent.0\n") && text.contains("666 7\n") && text.contains("\nend"), "{output}");
    assert!(!text.contains("SSH_AUTH_SOCK=/run"), "{output}");
    // An agent of the caller's, which keeps its keys whatever the command wants.
    let script = format!(
        "eval $(ssh-agent) >/dev/null; trap 'kill $SSH_AGENT_PID' EXIT; ssh-add -q a; \
         printf 'FROM busybox\\n{}RUN --mount=type=ssh ssh-add -D; ssh-add -l\\n' >ctx/Dockerfile; \
         coracle build --network host --ssh default ctx; ssh-add -l",
        client.replace('\n', "\\n")
    );
    let output = env.shell(&script);
    assert_eq!(output.out().matches("key-a (ED25519)").count(), 2, "{output}");
    let output = build(&env, &["--ssh", "default=p"], "RUN --mount=type=ssh true");
    assert!(output.failure(125).contains("one with a passphrase needs an agent"), "{output}");
    let output = build(&env, &[], "RUN --mount=type=ssh,required true");
    assert!(output.failure(125).contains("ssh required but no ssh with id \"default\" found"), "{output}");
    env.assert_store_is_clean();
}

#[test]
fn a_cache_outlives_the_build_and_begins_with_what_it_is_told() {
    let env = env();
    let steps = |n: u32| {
        format!(
            "RUN --mount=type=cache,target=/c,id=x echo {n} >>/c/n; tr '\\n' . </c/n; echo\n\
             RUN --mount=type=cache,target=/p,from=busybox,source=/etc test -f /p/passwd; echo {n} >>/p/m; tr '\\n' . </p/m; echo\n\
             RUN test ! -e /c && test ! -e /p"
        )
    };
    build(&env, &[], &steps(1)).success();
    let output = build(&env, &[], &steps(2));
    output.success();
    assert_eq!(output.out().lines().filter(|line| *line == "1.2.").count(), 2, "{output}");
    assert_eq!(env.ok(["info", "--format", "{{.coracle.cacheMounts}}"]), "2");
    env.ok(["prune"]);
    assert_eq!(env.ok(["info", "--format", "{{.coracle.cacheMounts}}"]), "0");
}

#[test]
fn arguments_of_buildkit_steer_commands() {
    let env = env();
    let steps = r"RUN --mount=type=cache,target=/c echo x >>/c/n; tr '\n' . </c/n; echo; hostname";
    for (argument, lines) in [
        ("BUILDKIT_CACHE_MOUNT_NS=", ["x.", ""]),
        ("BUILDKIT_CACHE_MOUNT_NS=one", ["x.", ""]),
        ("BUILDKIT_CACHE_MOUNT_NS=one", ["x.x.", ""]),
        ("BUILDKIT_CACHE_MOUNT_NS=two", ["x.", ""]),
        ("BUILDKIT_SANDBOX_HOSTNAME=sandbox.example", ["x.x.", "sandbox.example"]),
    ] {
        let output = build(&env, &["--build-arg", argument], steps);
        output.success();
        let said = output.out();
        let is_said = |line: &&str| line.is_empty() || said.lines().any(|other| other == *line);
        assert!(lines.iter().all(is_said), "{argument}: {output}");
        assert!(!said.contains("BUILDKIT") && !output.err().contains("BUILDKIT"), "{output}");
    }
    // Another name is another key, the same one is not.
    let hosts = ["a", "a", "b"].map(|name| format!("BUILDKIT_SANDBOX_HOSTNAME={name}"));
    let cached =
        hosts.map(|name| build(&env, &["--layers", "--build-arg", &name], "RUN hostname").success().contains("Using cache"));
    assert_eq!(cached, [false, true, false]);
    let others =
        ["SYNTAX=x", "MULTI_PLATFORM=1", "INLINE_CACHE=1", "DOCKERFILE_CHECK=skip=all"].map(|name| format!("BUILDKIT_{name}"));
    let flags: Vec<&str> =
        others.iter().flat_map(|argument| ["--build-arg", argument]).chain(["--build-arg", "OTHER=1"]).collect();
    let output = build(&env, &flags, "RUN true");
    output.success();
    assert!(output.out().contains("not consumed: [OTHER]"), "{output}");
}

/// Two builds whose command waits until the other one is there, or for `seconds`.
fn two_at_once(sharing: &str, seconds: u32) -> Vec<String> {
    let env = env();
    env.write("meet/f", "");
    let meet = env.work().join("meet").display().to_string();
    let start = |name: &str| -> Child {
        let text = format!(
            "FROM busybox\nRUN --mount=type=cache,target=/c,sharing={sharing} \
             echo {name} >>/c/n; touch /meet/{name}-came; i=0; while [ $i -lt {seconds}0 ]; do \
             test -e /meet/a-came && test -e /meet/b-came && touch /meet/{name}-met && break; sleep 0.1; i=$((i+1)); done; \
             sort /c/n | tr '\\n' ' ' >/meet/{name}-saw\n"
        );
        env.write(&format!("{name}/Dockerfile"), text);
        let mut command = env.command(&crate::harness::binary().to_string_lossy());
        command.args(["build", "--network", "host", "-q", "-v", &format!("{meet}:/meet"), name]);
        command.spawn().expect("a build")
    };
    for mut child in [start("a"), start("b")] {
        assert!(child.wait().expect("its end").success());
    }
    let read = |name: &str| fs::read_to_string(env.work().join("meet").join(name)).unwrap_or_default();
    let met = ["a-met", "b-met"].iter().filter(|name| env.work().join("meet").join(name).exists()).count();
    let mut saw = vec![read("a-saw"), read("b-saw")];
    saw.sort();
    saw.push(met.to_string());
    saw
}

#[test]
fn builds_share_a_cache_or_get_their_own() {
    // A loaded machine may take seconds from the one to the other.
    assert_eq!(two_at_once("private", 60), ["a ", "b ", "2"]);
    assert_eq!(two_at_once("shared", 60), ["a b ", "a b ", "2"]);
}

#[test]
fn a_locked_cache_makes_the_other_build_wait() {
    let locked = two_at_once("locked", 2);
    // The first one waits in vain; the second one finds that the first has been there.
    assert!([["a ", "a b ", "1"], ["a b ", "b ", "1"]].iter().any(|seen| locked == *seen), "{locked:?}");
}

#[test]
fn memory_has_the_size_and_mode_that_were_asked_for() {
    let output = build(
        &env(),
        &[],
        "RUN --mount=type=tmpfs,target=/t,size=1m,mode=0711 df -k /t | tail -1 | awk '{print $2}'; stat -c %a /t; echo x >/t/x\n\
         RUN test ! -e /t",
    );
    output.success();
    assert!(output.out().contains("\n1024\n711\n"), "{output}");
}

#[test]
fn restrictions_are_lifted_only_where_the_build_allows_it() {
    let env = env();
    let step = "RUN --security=insecure grep -E 'Seccomp:|CapBnd' /proc/self/status";
    let refused = build(&env, &[], step);
    assert!(refused.failure(125).contains("--allow security.insecure"), "{refused}");
    let output = build(&env, &["--allow", "security.insecure"], &format!("{step}\nRUN grep Seccomp: /proc/self/status"));
    output.success();
    assert!(output.out().contains("Seccomp:\t0\n") && output.out().contains("Seccomp:\t2\n"), "{output}");
    let output = build(&env, &[], "RUN --network=none ip link | grep -c '^[0-9]'");
    output.success();
    assert!(output.out().contains("\n1\n"), "{output}");
    for flag in ["--security=Insecure", "--security=x", "--network=bridge"] {
        assert_eq!(build(&env, &["--allow", "security.insecure"], &format!("RUN {flag} true")).code, Some(125), "{flag}");
    }
}

#[test]
fn here_documents_are_scripts_and_input_and_leave_no_file() {
    let output = build(
        &env(),
        &[],
        "RUN <<EOF\necho by the shell\ncat\nEOF\n\
         RUN <<EOF\n#!/bin/sh -e\necho by $0\nEOF\n\
         RUN tr a-z A-Z <<EOF\nas input\nEOF\n\
         RUN ls -d /dev/pipes /EOF 2>/dev/null | wc -l",
    );
    output.success();
    for line in ["by the shell", "by /dev/pipes/EOF", "AS INPUT", "0"] {
        assert!(output.out().lines().any(|heard| heard == line), "{line}: {output}");
    }
}
