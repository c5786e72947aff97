//! Prunes of all tools in loops beside builds of all kinds: no build loses what it made or stands on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::harness::{TestEnv, skip_without};
use crate::stress_time;

/// No build proves less.
const LEAST: u64 = 30;

/// Stages side by side, steps from the cache and new ones, settings before and after files, a layer large enough to be made ahead.
const DOCKERFILE: &str = "FROM busybox AS kept\nENV A=1\nRUN echo kept > /kept\n\
    FROM busybox AS first\nARG ROUND\nLABEL round=$ROUND\nRUN echo $ROUND > /first\nWORKDIR /new\n\
    FROM busybox AS large\nARG ROUND\nRUN dd if=/dev/zero of=/large bs=1M count=33 2>/dev/null; echo $ROUND > /round\nRUN rm /large\nENV B=2\n\
    FROM first\nCOPY --from=kept /kept /\nCOPY --from=large /round /\nRUN cat /kept /first /round > /all\nENV C=3\n";

#[test]
fn no_build_fails_beside_prunes_in_loops() {
    if skip_without(&["podman", "buildah"]) {
        return;
    }
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    env.write("context/Dockerfile", DOCKERFILE);
    let end = Instant::now() + stress_time();
    let (built, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let going = || !is_over.load(Ordering::Relaxed);
    let kinds: [&[&str]; 6] = [
        &["--layers"],
        &["--layers", "--jobs", "2"],
        &["--layers=false", "--jobs", "0"],
        &["--layers", "--squash"],
        &["--layers", "--layer-label", "a=b", "--manifest", "list"],
        &["--layers", "--save-stages"],
    ];
    std::thread::scope(|scope| {
        for words in [&["coracle", "prune"][..], &["coracle", "rmi", "--prune"], &["podman", "image", "prune", "-f"]] {
            let (env, going) = (&env, &going);
            scope.spawn(move || {
                while going() {
                    env.tool(words[0], &words[1..]);
                }
            });
        }
        let built = &built;
        let builders: Vec<_> = (0..2)
            .map(|builder| {
                let env = &env;
                scope.spawn(move || {
                    for (round, kind) in (0..).zip(kinds.into_iter().cycle()) {
                        if Instant::now() >= end && built.load(Ordering::Relaxed) >= LEAST {
                            break;
                        }
                        // Every other time all is there that the prunes have left.
                        let (name, argument) = (format!("app{builder}"), format!("ROUND={builder}.{}", round / 2));
                        let build = ["build", "-q", "--build-arg", &argument, "-t", &name].into_iter();
                        env.run(build.chain(kind.iter().copied()).chain(["context"])).success();
                        let out = format!("out{builder}");
                        let exported = ["build", "-q", "--layers", "--build-arg", &argument, "-o", &out, "context"];
                        env.run(exported).success();
                        let want = format!("kept\n{0}\n{0}", &argument["ROUND=".len()..]);
                        assert_eq!(env.shell(&format!("cat {out}/all")).success(), want, "{kind:?}");
                        built.fetch_add(2, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = builders.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a build failed after {} that did not", built.load(Ordering::Relaxed));
    });
    eprintln!("{} builds", built.load(Ordering::Relaxed));
    assert_eq!(env.ok(["containers", "-q", "-a"]), "");
    env.ok(["prune"]);
    env.assert_store_is_clean();
}
