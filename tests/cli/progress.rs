//! What is shown while an image is copied: bars on a terminal, Buildah's lines elsewhere, nothing with `--quiet`.
//!
//! The terminal is one of script(1).

use crate::harness::registry::{Answer, PROGRAM, Proxy, Registry};
use crate::harness::{TestEnv, skip_without};

/// An image of one layer of some 700 kB at the registry; its ID.
fn at_registry(env: &TestEnv, registry: &Registry) -> String {
    let container = env.ok(["from", "scratch"]);
    let noise: Vec<u8> = (0_u64..700_000).map(|n| (n.wrapping_mul(n ^ 0x9E37_79B9_7F4A_7C15) >> 29) as u8).collect();
    let file = env.write("noise", noise);
    env.ok(["copy", "-q", &container, &file.to_string_lossy(), "/noise"]);
    let id = env.ok(["commit", "-q", "--rm", &container, "box"]);
    env.ok(["push", "-q", "--tls-verify=false", "box", &registry.name("box")]);
    env.ok(["rmi", "-af"]);
    id
}

/// What a terminal of 60 columns is sent by a command.
fn on_terminal(env: &TestEnv, command: &str) -> String {
    let script = format!("export TERM=xterm; stty cols 60 rows 20; {command}");
    let shown = env.tool("script", ["-qec", &script, "/dev/null"]);
    String::from_utf8_lossy(&shown.stdout).replace("\r\n", "\n")
}

#[test]
fn a_terminal_has_a_bar_for_each_layer_that_moves() {
    if skip_without(&[PROGRAM, "script"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = at_registry(&env, &registry);
    let name = registry.name("box");
    let shown = on_terminal(&env, &format!("coracle pull --tls-verify=false {name}"));
    assert!(shown.contains("\x1b[1A\r\x1b[J"), "redrawn in place: {shown:?}");
    assert!(shown.contains("Copying blob ") && shown.contains(" done   | "), "{shown}");
    assert!(shown.contains("Writing manifest to image destination\n") && shown.ends_with(&format!("{id}\n")), "{shown:?}");
    for line in shown.split(['\n', '\r']).map(|line| line.trim_start_matches("\x1b[J")).filter(|line| line.contains('[')) {
        assert!(line.len() < 60, "{line:?}");
    }
    assert!(!shown.contains("\x1b[3") && !shown.contains("\x1b[?"), "no colour, no hidden cursor: {shown:?}");

    env.ok(["rmi", "-af"]);
    assert_eq!(on_terminal(&env, &format!("coracle pull -q --tls-verify=false {name}")), format!("{id}\n"));
    env.ok(["rmi", "-af"]);
    let dumb = on_terminal(&env, &format!("TERM=dumb coracle pull --tls-verify=false {name}"));
    assert!(!dumb.contains('\x1b') && dumb.contains("\nCopying blob sha256:"), "{dumb:?}");
}

#[test]
fn an_error_stands_below_the_bars() {
    if skip_without(&[PROGRAM, "script"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    at_registry(&env, &registry);
    // The config is shorter than that.
    let proxy = Proxy::start(Some(&registry), |head, _| match head.starts_with("GET /v2/box/blobs/") {
        true => Answer::CutAfter(10_000),
        false => Answer::Pass,
    });
    let shown = on_terminal(&env, &format!("coracle pull --retry 0 --tls-verify=false {} || true", proxy.name("box")));
    let error = shown.lines().last().unwrap_or_default();
    assert!(error.starts_with("Error: ") && shown.contains("Copying blob "), "{shown:?}");
}

#[test]
fn elsewhere_the_lines_are_buildahs() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = at_registry(&env, &registry);
    let pulled = env.run(["pull", "--tls-verify=false", &registry.name("box")]);
    assert_eq!(pulled.success(), id);
    let lines: Vec<String> =
        pulled.err().lines().map(|line| line.split(" sha256:").next().unwrap_or_default().to_owned()).collect();
    let want = ["Getting image source signatures", "Copying blob", "Copying config", "Writing manifest to image destination"];
    assert_eq!(lines[1..], want, "{pulled}");
}

/// The terminal is as it was, and nothing of the image is in the store; the next pull takes what is left away.
#[test]
fn an_interrupted_pull_leaves_terminal_and_store_as_they_were() {
    if skip_without(&[PROGRAM, "script"]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    let id = at_registry(&env, &registry);
    let asked = env.path("tmp/asked");
    let told = asked.clone();
    let proxy = Proxy::start(Some(&registry), move |head, _| match head.starts_with("GET /v2/box/blobs/") {
        true => {
            std::fs::write(&told, "").expect("a file");
            Answer::HoldAfter(10_000)
        }
        false => Answer::Pass,
    });
    let pull = format!(
        "trap : INT; stty -g >before; coracle pull --tls-verify=false {}; echo code $?; stty -g >after",
        proxy.name("box")
    );
    env.write("pull.sh", pull);
    let asked = asked.display();
    // By the key: the terminal sends the signal to all that runs on it.
    let shown = env.shell(&format!(
        "(until [ -e {asked} ]; do sleep 0.05; done; sleep 0.5; printf '\\003'; sleep 1) | TERM=xterm script -qec 'trap : INT; stty cols 60 rows 20; sh ./pull.sh' /dev/null
         cmp before after"
    ));
    let shown = shown.success();
    assert!(shown.contains("Copying blob ") && shown.contains("code 130"), "{shown:?}");
    assert!(!shown.contains("\x1b[?25l"), "no hidden cursor: {shown:?}");
    assert_eq!(env.ok(["images", "-aq"]), "");
    assert_eq!(env.ok(["pull", "-q", "--tls-verify=false", &registry.name("box")]), id);
    env.assert_store_is_clean();
}
