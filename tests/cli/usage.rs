//! The grammar of the command line, and the words of its errors, which scripts look for.

use crate::harness::TestEnv;

/// The words, the exit status, and a part of stderr (of stdout for status 0).
const CASES: &[(&[&str], i32, &str)] = &[
    // Verbs.
    (&["frobnicate"], 125, "Error: unknown command \"frobnicate\" for \"coracle\"\n"),
    (&["imagez"], 125, "hint: did you mean \"coracle images\"?\n"),
    (&["source", "."], 125, "Error: source is not part of coracle"),
    (&["mkcw", "a", "b"], 125, "Error: mkcw is not part of coracle: "),
    (&["dumpbolt", "x"], 125, "hint: the store's tables are JSON files"),
    (&["commit", "--cw", "type=SNP", "x"], 125, "Error: flag --cw of \"coracle commit\" is not part of coracle: "),
    (&["help", "nosuch"], 125, "unknown help topic"),
    (&[], 0, "Usage:"),
    (&["--help"], 0, "Working containers:"),
    (&["-h"], 0, "Working containers:"),
    (&["help", "images"], 0, "--digests"),
    (&["images", "--help"], 0, "Usage: coracle images"),
    (&["run", "--help"], 0, "Run a command in a working container\n\nUsage: coracle run"),
    (&["images", "-qh"], 0, "Usage: coracle images"),
    // Flags.
    (&["images", "--nosuch"], 125, "Error: unknown flag: --nosuch\n"),
    (&["images", "--quite"], 125, "hint: did you mean --quiet?\n"),
    (&["images", "-x"], 125, "Error: unknown shorthand flag: 'x' in -x\n"),
    (&["images", "-qx"], 125, "Error: unknown shorthand flag: 'x' in -qx\n"),
    (&["--nosuch", "images"], 125, "Error: unknown flag: --nosuch\n"),
    (&["images", "--filter"], 125, "Error: flag needs an argument: --filter\n"),
    (&["images", "-f"], 125, "Error: flag needs an argument: 'f' in -f\n"),
    (&["images", "--=x"], 125, "Error: bad flag syntax: --=x\n"),
    (
        &["images", "--all=maybe"],
        125,
        "Error: invalid argument \"maybe\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax\n",
    ),
    (&["images", "-q=7"], 125, "Error: invalid argument \"7\" for \"-q, --quiet\" flag: strconv.ParseBool"),
    (&["images", "--filter", "a\"b"], 125, "bare \" in non-quoted-field"),
    (&["--cpu-profile", "/x", "images"], 125, "Error: flag --cpu-profile is not part of coracle"),
    (&["images", "--memory-profile=/x"], 125, "Error: flag --memory-profile of \"coracle images\" is not part of coracle"),
    (
        &["from", "-c", "x", "scratch"],
        125,
        "Error: invalid argument \"x\" for \"-c, --cpu-shares\" flag: strconv.ParseUint: parsing \"x\": invalid syntax\n",
    ),
    (
        &["from", "--cpu-quota", "", "scratch"],
        125,
        "Error: invalid argument \"\" for \"--cpu-quota\" flag: strconv.ParseInt: parsing \"\": invalid syntax\n",
    ),
    (
        &["push", "--encrypt-layer", "0,x", "a", "dir:b"],
        125,
        "Error: invalid argument \"0,x\" for \"--encrypt-layer\" flag: strconv.Atoi: parsing \"x\": invalid syntax\n",
    ),
    (
        &["--userns-uid-map", "bogus", "images"],
        125,
        "Error: initializing ID mappings: userns-uid-map setting is malformed expected [\"uint32:uint32:uint32\"]: [\"bogus\"]\n",
    ),
    (
        &["images", "--userns-gid-map", "0:1:1"],
        125,
        "Error: option --userns-gid-map can not be used without --userns-uid-map\n",
    ),
    (&["login", "-u", "u", "-p", "", "localhost:1"], 125, "Error: getting username and password: reading password: "),
    (&["login", "-u", "", "--password-stdin", "localhost:1"], 125, "Error: Must provide --username with --password-stdin\n"),
    (&["--log-level", "loud", "images"], 125, "Error: unable to parse log level: not a valid logrus Level: \"loud\"\n"),
    // Order.
    (&["images", "x", "-q"], 125, "Error: no options (-q) can be specified after the image or container name\n"),
    (&["rmi", "x", "--", "-f"], 125, "Error: no options (--) can be specified after the image or container name\n"),
    (&["tag", "x", "-y"], 125, "Error: unknown shorthand flag: 'y' in -y\n"),
    // Operands.
    (&["images", "a", "b"], 125, "Error: 'coracle images' requires at most 1 argument\n"),
    (&["images", "--all", "a"], 125, "Error: when using the --all switch, you may not pass any images names or IDs\n"),
    (&["images", "-q", "--format", "x"], 125, "Error: quiet and format are mutually exclusive\n"),
    (&["containers", "a"], 125, "Error: 'coracle containers' does not accept arguments\n"),
    (&["containers", "-q", "--format", "x"], 125, "Error: quiet and format are mutually exclusive\n"),
    (&["containers", "-f", "foo=bar"], 125, "Error: parsing filter: invalid filter \"foo\"\n"),
    (&["tag"], 125, "Error: requires at least 2 arg(s), only received 0\n"),
    (&["tag", "a"], 125, "Error: requires at least 2 arg(s), only received 1\n"),
    (&["rename", "a"], 125, "Error: accepts 2 arg(s), received 1\n"),
    (&["rename", "a", "b", "c"], 125, "Error: accepts 2 arg(s), received 3\n"),
    (&["inspect"], 125, "Error: container or image name must be specified\n"),
    (&["inspect", "a", "b"], 125, "Error: too many arguments specified\n"),
    (&["inspect", "-t", "foo", "x"], 125, "Error: the only recognized types are"),
    (&["inspect", "-f", "foo", "x"], 125, "Error: invalid format provided: foo\n"),
    (&["rmi"], 125, "Error: image name or ID must be specified\n"),
    (&["rmi", "-a", "x"], 125, "Error: when using the --all switch, you may not pass any images names or IDs\n"),
    (&["rmi", "-a", "-p"], 125, "Error: when using the --all switch, you may not use --prune switch\n"),
    (&["rmi", "-p", "x"], 125, "Error: when using the --prune switch, you may not pass any images names or IDs\n"),
    (&["prune", "x"], 125, "Error: unknown command \"x\" for \"coracle prune\"\n"),
    (&["info", "x"], 125, "Error: unknown command \"x\" for \"coracle info\"\n"),
    (&["version", "x"], 125, "Error: unknown command \"x\" for \"coracle version\"\n"),
    (&["diff"], 125, "Error: accepts 1 arg(s), received 0\n"),
    (&["completion"], 125, "Error: accepts 1 arg(s), received 0\n"),
    (&["completion", "csh"], 125, "no completion for the shell \"csh\""),
];

#[test]
fn mistakes_are_answered_in_the_known_words() {
    let env = TestEnv::new();
    for (words, code, part) in CASES {
        let output = env.run(*words);
        assert_eq!(output.code, Some(*code), "{words:?}\n{output}");
        let (with, without) = if *code == 0 { (output.out(), output.err()) } else { (output.err(), output.out()) };
        assert!(with.contains(part), "{words:?}: {part:?} is missing in\n{output}");
        assert_eq!(without, "", "{words:?}: data and errors are mixed");
    }
    assert!(!env.graph_root().exists(), "a wrong command line made a store");
}

#[test]
fn global_flags_stand_before_or_after_the_verb() {
    let env = TestEnv::new();
    let (root, run) = (env.work().join("root"), env.work().join("run"));
    let (root, run) = (root.to_string_lossy().into_owned(), run.to_string_lossy().into_owned());
    let format = "{{.store.GraphRoot}}";
    assert_eq!(env.ok(["--root", &root, "--runroot", &run, "info", "--format", format]), root);
    assert_eq!(env.ok(["info", "--root", &root, &format!("--runroot={run}"), "--format", format]), root);
    assert_eq!(env.ok(["--root", "/nosuch", "info", "--root", &root, "--runroot", &run, "--format", format]), root);
}

#[test]
fn a_switch_can_be_turned_off_again() {
    let env = TestEnv::new();
    assert!(env.ok(["version", "--json=false"]).starts_with("Version:"));
    assert!(env.ok(["version", "--json", "--json=F"]).starts_with("Version:"));
    assert!(env.ok(["version", "--json=0", "--json=1"]).starts_with('{'));
}

#[test]
fn names_in_errors_are_escaped() {
    let env = TestEnv::new();
    for name in ["x\x1b]0;owned\x07", "x\n::set-output name=a::b", "x\r\x08\u{9b}31m", "\u{202e}evil"] {
        for words in [vec!["inspect", name], vec!["rmi", name], vec![name], vec!["images", "-f", name], vec!["tag", name, "y"]]
        {
            let output = env.run(&words);
            let error = output.failure(125);
            let shown = error.replace(['\n', '\t'], "");
            assert!(!shown.chars().any(char::is_control) && !shown.contains('\u{202e}'), "{words:?}: {error:?}");
            assert!(!error.lines().any(|line| line.starts_with("::")), "{error:?}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let env = TestEnv::new();
    let output = env.shell("{ coracle completion bash; echo \"status $?\" >&2; } | true; sleep 0.2");
    assert_eq!(output.err().replace("status 141\n", "").replace("status 0\n", ""), "", "{output}");
}

/// coracle-buildah(7) tells people to try their scripts with a link of this name.
#[test]
fn called_as_buildah_it_does_the_same() {
    let env = TestEnv::new();
    env.busybox("localhost/busybox:latest");
    let script = "
        mkdir bin; ln -s \"$(command -v coracle)\" bin/buildah; PATH=$PWD/bin:$PATH
        ctr=$(buildah from busybox); echo $ctr
        buildah run --network host $ctr -- sh -c 'echo in $((1 + 1))'
        buildah unshare --mount DIR=$ctr sh -c 'test -d $DIR/bin && buildah containers --noheading --format {{.ContainerName}}'
        buildah commit -q --rm $ctr app >/dev/null
        buildah inspect --format '{{.FromImage}}' app
        buildah frobnicate || echo $?
    ";
    let output = env.shell(script);
    assert_eq!(output.success(), "busybox-working-container\nin 2\nbusybox-working-container\nlocalhost/app:latest125");
    assert_eq!(output.err(), "Error: unknown command \"frobnicate\" for \"coracle\"\n");
}
