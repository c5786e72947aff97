//! The same script by Debian's Buildah and by us: the images' configs, histories and file lists are equal but for times and
//! IDs. Both work in one store, on the same base image.
//!
//! Each script is also run twice by Buildah: what differs there (nothing should) can't be held against us.

use serde_json::Value;

use crate::harness::{CommandOutput, TestEnv, skip_without};

/// A script, in which `$B` is the tool and `$OUT` the name of the image to commit.
struct Case {
    name: &'static str,
    script: &'static str,
}

const CASES: &[Case] = &[
    Case { name: "scratch", script: "c=$($B from scratch); $B copy -q $c f /f; $B commit -q $c $OUT" },
    Case { name: "unchanged", script: "c=$($B from busybox); $B commit -q $c $OUT" },
    Case {
        name: "config",
        script: r#"c=$($B from busybox)
            $B config --entrypoint '["/bin/sh","-c"]' --cmd 'echo "a b" c' --env A=1 --env 'B=$A-x' --label l=1 --label m= $c
            $B config --port 80 --port 53/udp --volume /data --user 1000:1000 --workingdir /home/user --stop-signal 9 $c
            $B config --author 'A <a@b>' --annotation n=v --created-by 'the hand' --os linux --arch arm64 --variant v8 $c
            $B commit -q $c $OUT"#,
    },
    Case {
        name: "removal",
        script: r#"c=$($B from busybox)
            $B config --env A=1 --env B=2 --label x=1 --label y=2 --port 80 --port 81 --volume /v --volume /w $c
            $B config --env A- --label x- --port 80- --volume /v- --cmd '' $c
            $B commit -q $c $OUT"#,
    },
    Case {
        name: "docker format",
        script: r#"c=$($B from busybox)
            $B config --healthcheck 'CMD true' --healthcheck-interval 5s --onbuild 'RUN x' --shell '/bin/sh -e' $c
            $B config --hostname h --domainname d --comment c $c
            $B copy -q $c f /f
            $B commit -q --format docker $c $OUT"#,
    },
    Case {
        name: "history",
        script: r#"c=$($B from busybox)
            $B run --add-history $RUNFLAGS $c -- sh -c 'echo 1 > /one'
            $B copy -q --add-history $c f /f
            $B config --add-history --env H=1 --label h=1 --workingdir /w $c
            $B commit -q $c $OUT"#,
    },
    Case {
        name: "two layers",
        script: r#"c=$($B from busybox); $B copy -q $c f /f; $B commit -q $c middle
            c=$($B from middle); $B copy -q $c tree /tree; $B run $RUNFLAGS $c -- rm /f; $B commit -q --rm $c $OUT"#,
    },
    Case {
        name: "squash",
        script: r#"c=$($B from busybox); $B copy -q $c f /f; $B run $RUNFLAGS $c -- rm /etc/group; $B commit -q --squash $c $OUT"#,
    },
    Case {
        name: "timestamp",
        script: "c=$($B from busybox); $B copy -q $c tree /t; $B config --label a=b $c; $B commit -q --timestamp 1000 $c $OUT",
    },
    Case {
        name: "omit history",
        script: "c=$($B from busybox); $B copy -q $c f /f; $B commit -q --omit-history --timestamp 0 $c $OUT",
    },
    Case {
        name: "history of every setting",
        script: r#"c=$($B from busybox)
            $B config --add-history --user u --shell '/bin/sh -x' --stop-signal 9 --port 80 --port 81 --entrypoint 'a b' --cmd 'c d' $c
            $B config --add-history --volume /x --volume /y --label a=b --label c=d --workingdir /w --onbuild 'RUN x' $c
            $B config --add-history --healthcheck 'CMD x' --healthcheck-interval 5s --healthcheck-retries 3 --author me $c
            $B config --created-by hand $c
            $B commit -q --format docker $c $OUT"#,
    },
    Case {
        name: "history by the environment",
        script: r#"c=$($B from busybox); export BUILDAH_HISTORY=true
            $B copy -q $c f /f; $B add -q $c tree /tree; $B config --env A=1 $c; $B commit -q $c $OUT"#,
    },
    Case {
        name: "platform",
        script: r#"c=$($B from scratch); $B copy -q $c f /f
            $B config --os windows --os-version 10.1 --os-feature a --os-feature b --os-feature a- --arch arm --variant v7 $c
            $B commit -q $c $OUT"#,
    },
    Case {
        name: "everything removed",
        script: r#"c=$($B from busybox)
            $B config --env A=1 --label x=1 --port 80 --volume /v --annotation n=1 --os-feature f --entrypoint '["x"]' $c
            $B config --env - --label - --port - --volume - --annotation - --os-feature - --entrypoint '' --cmd '' $c
            $B commit -q --format docker $c $OUT"#,
    },
    Case {
        name: "health check in parts",
        script: r#"c=$($B from busybox); $B config --healthcheck-timeout 3s $c; $B config --healthcheck 'CMD-SHELL a b' $c
            $B config --healthcheck-start-period 1m --healthcheck-retries 0 $c; $B commit -q --format docker $c $OUT"#,
    },
    Case {
        name: "unsetenv",
        script: r#"c=$($B from busybox); $B config --env A=1 --env B=2 --env C=3 $c
            $B commit -q --unsetenv A --unsetenv C,NONE $c $OUT"#,
    },
    Case {
        name: "whiteouts",
        script: r#"c=$($B from busybox)
            $B run $RUNFLAGS $c -- sh -c 'rm -rf /home; mkdir /home; echo n > /home/n; rm /etc/passwd; ln -s x /l; ln /etc/group /hard; mkdir -p /d/e/f; chown -R 5:6 /d; chmod 4755 /d/e'
            $B commit -q $c $OUT"#,
    },
    Case {
        name: "owners and modes",
        script: r#"c=$($B from busybox)
            $B copy -q --chown 7:8 $c tree /a; $B copy -q --chown user --chmod 0600 $c f /b; $B add -q $c t.tar /c
            $B commit -q $c $OUT"#,
    },
];

/// Members that differ between two runs of any tool.
fn scrub(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for key in ["created", "container", "docker_version"] {
                map.remove(key);
            }
            if let Some(label) = map.get_mut("io.buildah.version") {
                *label = Value::from("[VERSION]");
            }
            for (key, inner) in map.iter_mut() {
                // A working container of docker format gets a random host name.
                if key == "Hostname" && inner.as_str().is_some_and(|name| name.len() == 12) {
                    *inner = Value::from("[HOST]");
                }
                scrub(inner);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(scrub),
        _ => {}
    }
}

/// What an image is: its config without times, the annotations of its manifest, and the file list of its top layer.
fn describe(env: &TestEnv, image: &str) -> (Value, Value, String) {
    let source = format!("containers-storage:localhost/{image}:latest");
    let read = |words: &[&str]| -> Value {
        let text = env.tool("skopeo", words.iter().copied().chain([source.as_str()])).success();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{image}: {error}\n{text}"))
    };
    let mut config = read(&["inspect", "--config", "--raw"]);
    let manifest = read(&["inspect", "--raw"]);
    let mut annotations = manifest.get("annotations").cloned().unwrap_or(Value::Null);
    scrub(&mut config);
    // Debian's Buildah names the base at the layer's entry, newer ones and we at the first new entry.
    if let Some(history) = config.get_mut("history").and_then(Value::as_array_mut) {
        let comments: Vec<Value> = history.iter_mut().filter_map(|entry| entry.as_object_mut()?.remove("comment")).collect();
        config["comments"] = Value::from(comments);
    }
    // The digests of layers with fresh times differ; the file list below compares what is in them.
    let layers = config.pointer("/rootfs/diff_ids").and_then(Value::as_array).map_or(0, Vec::len);
    if let Some(rootfs) = config.get_mut("rootfs") {
        rootfs["diff_ids"] = Value::from(layers);
    }
    if let Some(map) = annotations.as_object_mut() {
        map.remove("org.opencontainers.image.created");
        map.retain(|key, _| !key.starts_with("org.opencontainers.image.base."));
    }
    let layer = manifest["layers"].as_array().and_then(|list| list.last()).and_then(|layer| layer["digest"].as_str());
    let hex = layer.expect("a layer").trim_start_matches("sha256:").to_owned();
    let script = format!(
        "rm -rf out-{image}; skopeo copy -q {source} dir:out-{image} && tar --numeric-owner --utc -tvf out-{image}/{hex} |
         awk '{{ $4 = \"\"; $5 = \"\"; sub(\"/$\", \"\"); print }}' | {NO_STUBS} | sort"
    );
    (config, annotations, env.shell(&script).success())
}

/// Debian's Buildah leaves the mount points that its chroot isolation made in the layer; newer ones and we do not. Of /etc, in which
/// some of them were made, both keep a directory entry.
const NO_STUBS: &str = "grep -vE ' (dev|proc|sys|run|etc|etc/(hosts|hostname|resolv.conf))$'";

fn build(env: &TestEnv, case: &Case, tool: &str, image: &str) -> CommandOutput {
    let flags = env.isolation_of(tool);
    env.shell(&format!("B={tool}; OUT={image}; RUNFLAGS='{flags}'\n{}", case.script))
}

#[test]
fn images_of_both_tools_are_equal() {
    compare("overlay", CASES.iter().collect());
}

#[test]
fn images_of_both_tools_are_equal_on_vfs() {
    // The others do nothing to a layer that these do not.
    let about_layers = ["two layers", "squash", "whiteouts", "owners and modes", "docker format"];
    compare("vfs", CASES.iter().filter(|case| about_layers.contains(&case.name)).collect());
}

fn compare(driver: &str, cases: Vec<&Case>) {
    if skip_without(&["buildah", "skopeo"]) {
        return;
    }
    let env = TestEnv::on(driver);
    env.busybox("localhost/busybox:latest");
    env.write("f", "content\n");
    for name in ["tree/a", "tree/sub/b", "tree/sub/c"] {
        env.write(name, name);
    }
    env.shell("chmod 755 tree/a; ln -s a tree/link; ln tree/a tree/hard; touch -h -d @1600000000 f tree/a tree/link tree/sub; tar -cf t.tar tree f").success();
    let mut wrong = Vec::new();
    for (number, case) in cases.into_iter().enumerate() {
        let names = [format!("theirs{number}"), format!("again{number}"), format!("ours{number}")];
        build(&env, case, "buildah", &names[0]).success();
        build(&env, case, "buildah", &names[1]).success();
        let ours = build(&env, case, "coracle", &names[2]);
        if ours.code != Some(0) {
            wrong.push(format!("{}: {ours}", case.name));
            continue;
        }
        let [theirs, again, ours] = names.map(|name| describe(&env, &name));
        assert_eq!(theirs, again, "{}: two runs of buildah differ", case.name);
        for (what, left, right) in [("config", &theirs.0, &ours.0), ("annotations", &theirs.1, &ours.1)] {
            if left != right {
                let show = |value| serde_json::to_string_pretty(value).unwrap_or_default();
                wrong.push(format!("{}: {what} differs\n--- buildah\n{}\n--- coracle\n{}", case.name, show(left), show(right)));
            }
        }
        if theirs.2 != ours.2 {
            wrong.push(format!("{}: files differ\n--- buildah\n{}\n--- coracle\n{}", case.name, theirs.2, ours.2));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn manifest_lists_of_both_tools_grow_by_each_other() {
    if skip_without(&["buildah", "podman"]) {
        return;
    }
    let env = TestEnv::new();
    let script = r#"c=$($1 from scratch); $1 config --arch $2 $c >/dev/null; $1 commit -q --rm --manifest list $c >/dev/null"#;
    for (tool, architecture) in [("coracle", "amd64"), ("buildah", "arm64"), ("coracle", "riscv64"), ("buildah", "s390x")] {
        env.tool("sh", ["-euc", script, "sh", tool, architecture]).success();
    }
    let text = env.tool("podman", ["manifest", "inspect", "list"]).success();
    let list: Value = serde_json::from_str(&text).expect("a list");
    let entries = list["manifests"].as_array().expect("entries");
    let architectures: Vec<_> = entries.iter().filter_map(|entry| entry["platform"]["architecture"].as_str()).collect();
    assert_eq!(architectures, ["amd64", "arm64", "riscv64", "s390x"]);
    // Each entry leads to an image that the other tool finds.
    env.tool("buildah", ["manifest", "push", "--all", "list", "oci:pushed:list"]).success();
    assert_eq!(env.shell("ls pushed/blobs/sha256 | wc -l").success(), (4 * 2 + 1 + 1).to_string());
    env.assert_store_is_clean();
}

/// Everything below the directory, but for owners, which nobody but root can unpack, and times of directories.
const TREE: &str = r#"find . -mindepth 1 -printf '%p %y %m %l\n' | sort; find . -type f -exec sha256sum {} + | sort"#;

#[test]
fn other_tools_see_linked_layers_and_added_files_as_we_do() {
    if skip_without(&["buildah", "skopeo", "umoci"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    for name in ["tree/a", "tree/sub/b", "extra"] {
        env.write(name, name);
    }
    env.shell("chmod 4755 tree/a; ln -s a tree/link; ln tree/a tree/hard; tar -cf t.tar tree").success();
    let container = env.ok(["from", "busybox"]);
    env.ok(["run", &container, "--", "sh", "-c", "mkdir -m 700 /opt; ln -s /opt /link"]);
    env.ok(["copy", "-q", "--link", &container, "tree", "/opt/tree"]);
    env.ok(["add", "-q", "--link", &container, "t.tar", "/link/unpacked"]);
    env.ok(["copy", "-q", "--link", "--from", "busybox", &container, "/etc/passwd", "/opt/"]);
    env.ok(["commit", "-q", "--add-file", "extra:/opt/extra", &container, "app"]);

    let look = format!("cd $M; {TREE}");
    let ours = env.ok(["from", "app"]);
    let ours = env.ok(["unshare", "--mount", &format!("M={ours}"), "sh", "-euc", &look]);
    assert!(ours.contains("./link/unpacked/tree/sub/b f 644"), "{ours}");
    let theirs = env.tool("buildah", ["from", "app"]).success();
    let theirs = env.tool("buildah", ["unshare", "--mount", &format!("M={theirs}"), "sh", "-euc", &look]).success();
    assert_eq!(ours, theirs);
    env.shell("skopeo copy -q containers-storage:localhost/app:latest oci:layout:app; umoci unpack --rootless --image layout:app bundle")
        .success();
    let unpacked = env.shell(&format!("cd bundle/rootfs; {TREE}")).success();
    assert_eq!(ours, unpacked);
    env.assert_store_is_clean();
}
