//! Which entry of which file is for a registry, and what a file looks like afterwards.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A home directory with these files.
struct Home(tempfile::TempDir);

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = home.path(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        home
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn environment(&self) -> Environment {
        Environment {
            home: Some(self.path("")),
            xdg_runtime_dir: Some(self.path("run")),
            path: Some(format!(".:bin:{}", self.path("bin").display()).into()),
            rootless: true,
            ..Environment::default()
        }
    }

    fn auth(&self) -> Auth {
        Auth::new(self.environment(), None, None)
    }

    fn find(&self, registry: &str, repository: &str) -> Result<Option<String>, String> {
        let shown = |found: Found| match found.credentials {
            Credentials::Password { user, password } => format!("{user}:{}", password.expose()),
            Credentials::IdentityToken(token) => format!("identity {}", token.expose()),
            Credentials::RegistryToken(token) => format!("registry {}", token.expose()),
        };
        self.auth().find(registry, repository).map(|found| found.map(shown)).map_err(|error| error.to_string())
    }
}

/// `auths` with one entry for each key, whose user and password are the key's number.
fn auths(keys: &[&str]) -> String {
    let entries: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            use base64::Engine as _;
            format!("{key:?}:{{\"auth\":{:?}}}", base64::engine::general_purpose::STANDARD.encode(format!("{at}:p:{at}")))
        })
        .collect();
    format!("{{\"auths\":{{{}}}}}", entries.join(","))
}

/// A103.
#[test]
fn the_longest_key_counts_and_none_that_only_looks_alike() {
    let text = auths(&[
        "r.io",
        "r.io:5000",
        "r.io/ns",
        "r.io/ns/app",
        "https://old.io/v1/",
        "https://index.docker.io/v1/",
        "docker.io/me",
    ]);
    let home = Home::new(&[("run/containers/auth.json", &text)]);
    let cases = [
        ("r.io", "x", Some("0:p:0")),
        ("r.io", "", Some("0:p:0")),
        ("r.io:5000", "ns/app", Some("1:p:1")),
        ("r.io", "ns", Some("2:p:2")),
        ("r.io", "ns/other", Some("2:p:2")),
        ("r.io", "ns/app", Some("3:p:3")),
        ("r.io", "ns/app/deep", Some("3:p:3")),
        ("r.io", "ns2/x", Some("0:p:0")),
        ("old.io", "x", Some("4:p:4")),
        ("docker.io", "library/x", Some("5:p:5")),
        ("docker.io", "me/x", Some("6:p:6")),
        ("evilr.io", "x", None),
        ("r.io.evil", "x", None),
        ("r.io.", "x", None),
        ("r.io:443", "x", None),
        ("io", "x", None),
    ];
    for (registry, repository, want) in cases {
        assert_eq!(home.find(registry, repository), Ok(want.map(str::to_owned)), "{registry}/{repository}");
    }
}

#[test]
fn files_are_read_in_order_and_a_named_one_alone() {
    let home = Home::new(&[
        ("run/containers/auth.json", &auths(&["a.io"])),
        (".config/containers/auth.json", &auths(&["x", "a.io", "b.io"])),
        (".docker/config.json", r#"{"auths":{"c.io":{"auth":"dTpw","identitytoken":"t"},"d.io":{}},"other":1}"#),
        (".dockercfg", r#"{"https://e.io/v1/":{"auth":"dTpw"}}"#),
        ("mine.json", &auths(&["z.io"])),
    ]);
    for (registry, want) in
        [("a.io", Some("0:p:0")), ("b.io", Some("2:p:2")), ("c.io", Some("identity t")), ("d.io", None), ("e.io", Some("u:p"))]
    {
        assert_eq!(home.find(registry, ""), Ok(want.map(str::to_owned)), "{registry}");
    }
    let named = Auth::new(home.environment(), Some(home.path("mine.json")), None);
    assert!(named.find("z.io", "").unwrap().is_some() && named.find("a.io", "").unwrap().is_none());
    let given = Auth::new(home.environment(), None, Some(Credentials::parse("me:a:b").unwrap()));
    assert_eq!(given.find("any.io", "").unwrap().map(|found| found.source), Some("--creds".to_owned()));
    let environment = Environment { docker_config: Some(home.path(".docker")), ..home.environment() };
    assert!(Auth::new(environment.clone(), None, None).find("a.io", "").unwrap().is_none());
    let environment = Environment { registry_auth_file: Some(home.path("mine.json")), ..environment };
    assert!(Auth::new(environment, None, None).find("z.io", "").unwrap().is_some());
}

#[test]
fn damaged_files_are_named_without_their_secrets() {
    for (text, words) in [
        ("{\"auths\": secret", "not JSON"),
        (r#"{"auths":{"a.io":{"auth":"secret!"}}}"#, "base64"),
        (r#"{"auths":{"a.io":{"auth":"c2VjcmV0"}}}"#, "no password"),
    ] {
        let home = Home::new(&[("run/containers/auth.json", text)]);
        let error = home.find("a.io", "").unwrap_err();
        assert!(error.contains(words) && !error.contains("secret"), "{error}");
    }
    assert!(!format!("{:?}", Credentials::parse("u:hidden").unwrap()).contains("hidden"));
}

#[test]
fn a_login_keeps_everything_else_and_is_readable_by_its_owner_only() {
    let before = r#"{"auths":{"b.io":{"auth":"dTpw","x":1}},"HttpHeaders":{"A":"b"}}"#;
    let home = Home::new(&[("run/containers/auth.json", before)]);
    let path = home.path("run/containers/auth.json");
    let auth = home.auth();
    assert_eq!(auth.log_in("a.io/ns", "u", &Secret::new("p:q")).unwrap(), path.display().to_string());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\t\"HttpHeaders\": {\n\t\t\"A\": \"b\"") && text.contains("\"x\": 1"), "{text}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(home.find("a.io", "ns/x"), Ok(Some("u:p:q".to_owned())));
    auth.log_out("a.io/ns").unwrap();
    assert_eq!(auth.log_out("a.io/ns").unwrap_err().to_string(), "not logged into a.io/ns");
    auth.log_out_everywhere().unwrap();
    assert_eq!(home.find("b.io", ""), Ok(None));
    assert_eq!(std::fs::read_dir(home.path("run/containers")).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_new_file_is_made_where_all_tools_look() {
    let home = Home::new(&[]);
    home.auth().log_in("docker.io", "u", &Secret::new("p")).unwrap();
    let text = std::fs::read_to_string(home.path("run/containers/auth.json")).unwrap();
    assert_eq!(text, "{\n\t\"auths\": {\n\t\t\"docker.io\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t}\n}");
    let without = Auth::new(Environment { xdg_runtime_dir: None, ..home.environment() }, None, None);
    assert_eq!(without.file_to_write().unwrap(), home.path(".config/containers/auth.json"));
    let docker = Auth::docker_file(home.environment(), home.path("d.json"));
    docker.log_in("docker.io", "u", &Secret::new("p")).unwrap();
    assert!(std::fs::read_to_string(home.path("d.json")).unwrap().contains("https://index.docker.io/v1/"));
}

const HELPER: &str = "#!/bin/sh\nread -r server\ncase $1:$server in\nget:h.io) echo '{\"ServerURL\":\"h.io\",\"Username\":\"u\",\"Secret\":\"s\"}';;\n\
    get:token.io) echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}';;\nget:other.io) echo '{\"ServerURL\":\"evil.io\",\"Username\":\"u\",\"Secret\":\"s\"}';;\n\
    get:large.io) head -c 1000000 /dev/zero;;\nget:none.io) echo 'credentials not found in native keychain'; exit 1;;\n*) echo broken; exit 1;;\nesac\n";

/// A104.
#[test]
fn helpers_answer_for_their_server_or_are_an_error() {
    let config = r#"{"credHelpers":{"h.io":"x","token.io":"x","other.io":"x","large.io":"x","none.io":"x","broken.io":"x",
        "a.io":"../../x","b.io":"a b","c.io":"missing","d.io":"-x"},"auths":{"none.io":{"auth":"dTpw"}}}"#;
    let home = Home::new(&[("run/containers/auth.json", config), ("bin/docker-credential-x", HELPER)]);
    assert_eq!(home.find("h.io", "x"), Ok(Some("u:s".to_owned())));
    assert_eq!(home.find("token.io", "x"), Ok(Some("identity t".to_owned())));
    // A helper that has nothing is the answer: the entry beside it is not for this registry any more.
    assert_eq!(home.find("none.io", "x"), Ok(None));
    for (registry, words) in [
        ("other.io", "another server"),
        ("large.io", "more than"),
        ("broken.io", "it failed: broken"),
        ("a.io", "name is none"),
        ("b.io", "name is none"),
        ("d.io", "name is none"),
        ("c.io", "no program"),
    ] {
        let error = home.find(registry, "").unwrap_err();
        assert!(error.contains(words), "{registry}: {error}");
    }
}
