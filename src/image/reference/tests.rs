//! Tables: what is a reference, what an operand of a command line means, and which names it is looked up under.

use proptest::prelude::*;

use super::*;

const HEX: &str = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

fn lookup(text: &str) -> Lookup {
    match parse_operand(text) {
        Ok(Operand::Stored(lookup)) => lookup,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn names_for_new_images() {
    let digest = format!("@sha256:{HEX}");
    let cases = [
        ("foo".to_owned(), "localhost/foo:latest".to_owned()),
        ("foo:1".into(), "localhost/foo:1".into()),
        ("foo:BAR".into(), "localhost/foo:BAR".into()),
        ("foo:_x".into(), "localhost/foo:_x".into()),
        ("foo/bar".into(), "localhost/foo/bar:latest".into()),
        ("localhost/x".into(), "localhost/x:latest".into()),
        ("localhost:5000/x".into(), "localhost:5000/x:latest".into()),
        ("a.b/c".into(), "a.b/c:latest".into()),
        ("A.B/c".into(), "A.B/c:latest".into()),
        ("a.b:5000/c:t".into(), "a.b:5000/c:t".into()),
        ("[::1]:5000/x".into(), "[::1]:5000/x:latest".into()),
        ("docker.io/foo".into(), "docker.io/library/foo:latest".into()),
        ("docker.io/library/foo".into(), "docker.io/library/foo:latest".into()),
        ("index.docker.io/a/foo".into(), "docker.io/a/foo:latest".into()),
        ("docker.io".into(), "localhost/docker.io:latest".into()),
        ("a__b/c--d/e.f".into(), "localhost/a__b/c--d/e.f:latest".into()),
        ("containers-storage:foo".into(), "localhost/foo:latest".into()),
        (format!("foo{digest}"), format!("localhost/foo{digest}")),
        (format!("foo:1{digest}"), format!("localhost/foo{digest}")),
    ];
    for (text, name) in cases {
        assert_eq!(Reference::for_new_image(&text).map(|r| r.to_string()), Ok(name), "{text:?}");
    }
}

#[test]
fn refused_names() {
    let cases = [
        ("", Error::Empty),
        ("Foo", Error::UpperCase),
        ("foo/Bar", Error::UpperCase),
        ("FOO/bar", Error::UpperCase),
        ("localhost/Foo:x", Error::UpperCase),
        ("Bad:Name:X", Error::Format),
        ("foo:1:2", Error::Format),
        ("foo:", Error::Format),
        ("foo@", Error::Format),
        ("foo:.x", Error::Format),
        ("foo:-x", Error::Format),
        ("foo:x!", Error::Format),
        ("fo o", Error::Format),
        (":", Error::Format),
        ("@", Error::Format),
        ("foo/", Error::Format),
        ("/foo", Error::Format),
        ("foo//bar", Error::Format),
        ("docker.io/", Error::Format),
        ("docker://x/y", Error::Format),
        ("a___b", Error::Format),
        ("a-_b", Error::Format),
        ("a..b", Error::Format),
        ("a-", Error::Format),
        ("-a", Error::Format),
        ("-a.b/c", Error::Format),
        ("a.b:/c", Error::Format),
        ("a.b:x/c", Error::Format),
        ("..", Error::Format),
        ("../x", Error::Format),
        ("localhost/../x", Error::Format),
        ("foo@md5:abc", Error::Format),
        ("foo@sha256:abc", Error::Format),
        ("föö", Error::Format),
        ("foo\n", Error::Format),
        (HEX, Error::IdAsName(HEX.to_owned())),
    ];
    for (text, error) in cases {
        assert_eq!(Reference::for_new_image(text), Err(error), "{text:?}");
    }
    assert_eq!(Reference::for_new_image(&"a".repeat(246)), Err(Error::TooLong));
    assert!(Reference::for_new_image(&"a".repeat(245)).is_ok());
    assert_eq!(Reference::for_new_image(&format!("a:{}", "t".repeat(129))), Err(Error::Format));
    assert_eq!(Error::Format.to_string(), "invalid reference format");
    assert_eq!(Error::UpperCase.to_string(), "repository name must be lowercase");
}

#[test]
fn candidates_of_a_short_name_in_order() {
    let candidates = |text: &str, alias: Option<&str>, search: &[&str]| {
        let lookup = lookup(text);
        let search: Vec<String> = search.iter().map(ToString::to_string).collect();
        let candidates = lookup.short.map(|short| short.candidates(alias, &search)).transpose()?;
        let names = lookup.name.into_iter().chain(candidates.into_iter().flatten());
        Ok::<_, Error>(names.map(|name| name.to_string()).collect::<Vec<_>>().join(" "))
    };
    let digest = format!("@sha256:{HEX}");
    let cases: [(&str, Option<&str>, &[&str], &str); 9] = [
        ("foo", None, &[], "localhost/foo:latest docker.io/library/foo:latest"),
        ("foo/bar:1", None, &["quay.io"], "localhost/foo/bar:1 quay.io/foo/bar:1 docker.io/foo/bar:1"),
        ("foo", None, &["docker.io", "a.b"], "localhost/foo:latest docker.io/library/foo:latest a.b/foo:latest"),
        ("foo:2", Some("q.io/x/y"), &["a.b"], "q.io/x/y:2 localhost/foo:2 a.b/foo:2 docker.io/library/foo:2"),
        ("foo", Some("docker.io/library/foo"), &[], "docker.io/library/foo:latest localhost/foo:latest"),
        (
            "foo",
            Some("localhost/x"),
            &["local:5000"],
            "localhost/x:latest localhost/foo:latest local:5000/foo:latest docker.io/library/foo:latest",
        ),
        ("quay.io/foo", Some("a.b/c"), &["docker.io"], "quay.io/foo:latest"),
        (&format!("foo:1{digest}"), None, &[], &format!("localhost/foo{digest} docker.io/library/foo{digest}")),
        (
            &format!("foo{digest}"),
            Some("a.b/c"),
            &[],
            &format!("a.b/c{digest} localhost/foo{digest} docker.io/library/foo{digest}"),
        ),
    ];
    for (text, alias, search, names) in cases {
        assert_eq!(candidates(text, alias, search).as_deref(), Ok(names), "{text}");
    }
    for (alias, search) in [(Some("x"), ""), (Some("A B/c"), ""), (None, "quay.io/x"), (None, "-"), (None, "a b")] {
        assert_eq!(candidates("foo", alias, &[search]), Err(Error::Format), "{alias:?} {search:?}");
    }
}

#[test]
fn ids_and_prefixes() {
    let id = |text: &str| lookup(text).id.map(|id| id.to_string());
    assert_eq!(id(HEX).as_deref(), Some(HEX));
    assert_eq!(id(&format!("sha256:{HEX}")).as_deref(), Some(HEX));
    assert_eq!(id(&format!("containers-storage:{HEX}")).as_deref(), Some(HEX));
    assert_eq!(lookup("5f70b").id_prefix.as_deref(), Some("5f70b"));
    assert!(lookup("5f70b").short.is_some());
    assert_eq!(lookup("foo").id_prefix, None);
    assert_eq!(lookup("beef:1").id_prefix, None);
    let error = parse_operand("sha256:abc").unwrap_err().to_string();
    assert_eq!(error, "sha256:abc: invalid format: no 64-byte hexadecimal value");
}

#[test]
fn transports_are_recognised_by_name() {
    let cases = [
        ("dir:/x", Some(("dir", "/x"))),
        ("docker://quay.io/x", Some(("docker", "//quay.io/x"))),
        ("docker:20", None),
        ("oci-archive:a.tar", Some(("oci-archive", "a.tar"))),
        ("docker-archive:a.tar:x", Some(("docker-archive", "a.tar:x"))),
        ("directory:x", None),
        ("dir", None),
    ];
    for (text, split) in cases {
        assert_eq!(Transport::split(text).map(|(t, rest)| (t.name(), rest)), split, "{text:?}");
        assert_eq!(matches!(parse_operand(text), Ok(Operand::Elsewhere { .. })), split.is_some());
        assert_eq!(matches!(parse_destination(text), Ok(Destination::Elsewhere { .. })), split.is_some());
    }
}

#[test]
fn prefixes_of_working_containers() {
    let cases = [
        ("quay.io/a/fedora:40", "fedora"),
        ("fedora", "fedora"),
        ("localhost:5000/foo", "foo"),
        (HEX, "5f70bf18a086"),
        (&format!("sha256:{HEX}"), "5f70bf18a086"),
        (&format!("foo:1@sha256:{HEX}"), "foo"),
        ("", ""),
    ];
    for (image, prefix) in cases {
        assert_eq!(working_container_prefix(image), prefix, "{image:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "[-a-zA-Z0-9._:/@\\[\\]é\\n]{0,40}") {
        let _ = parse_operand(&text);
        let _ = working_container_prefix(&text);
    }

    #[test]
    fn normalising_is_idempotent(text in "([a-z]{1,3}[.:]?[0-9]{0,2}/)?[a-z0-9]{1,3}([._-]{0,2}[a-z]{1,2})?(/[a-z]{1,3})?(:[a-zA-Z0-9._-]{1,5})?(@sha256:[0-9a-f]{64})?") {
        if let Ok(name) = Reference::for_new_image(&text) {
            prop_assert_eq!(Reference::for_new_image(&name.to_string()), Ok(name.clone()));
            prop_assert_eq!(Reference::parse_qualified(&name.to_string()), Ok(name));
        }
    }
}
