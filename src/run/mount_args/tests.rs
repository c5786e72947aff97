//! Words of `--volume` and `--mount`: what they come to, and what is refused in which words.

use super::*;

fn volume(text: &str) -> (Bind, MountRequest) {
    let request = MountRequest::parse_volume(text).unwrap();
    (request.bind().unwrap().clone(), request)
}

fn mount(text: &str) -> MountRequest {
    MountRequest::parse_mount(text).unwrap()
}

#[test]
fn volumes_become_binds() {
    let (bind, request) = volume("/h:/c:ro,Z,U,rslave,noexec");
    assert_eq!(request.target, PathBuf::from("/c"));
    assert_eq!(request.flags, MountFlags { read_only: true, noexec: true, ..MountFlags::default() });
    assert_eq!((bind.source, bind.recursive, bind.propagation), (Source::Host("/h".into()), true, Propagation::Slave));
    assert_eq!((bind.chown, bind.writes, bind.relabel), (true, Writes::Through, Some(Relabel::Private)));
    let (bind, request) = volume("/h:/c:O,bind,cached,copy,runbindable,idmap");
    assert_eq!((bind.writes, bind.recursive, bind.propagation), (Writes::Discarded, false, Propagation::Unbindable));
    assert!(!request.flags.read_only);
    assert_eq!(bind.id_map, Some(VolumeMaps::default()));
    assert_ne!(mount("type=bind,src=/h,dst=/c,idmap=uids=0-1-1;gids=0-1-1").bind().unwrap().id_map, None);
    let (bind, _) = volume("/h:/c:O,upperdir=/u,workdir=/w");
    assert_eq!(bind.writes, Writes::Kept { upper: "/u".into(), work: "/w".into() });
}

#[test]
fn wrong_volumes_are_refused_in_buildahs_words() {
    for (text, words) in [
        ("", "incorrect volume format \"\", should be host-dir:ctr-dir[:option]"),
        ("/h", "incorrect volume format \"/h\", should be host-dir:ctr-dir[:option]"),
        ("/h:/c:ro:z", "incorrect volume format"),
        ("h:/c", "invalid host path, must be an absolute path \"h\""),
        (":/c", "invalid host path, must be an absolute path \"\""),
        ("/h:c", "invalid container path \"c\", must be an absolute path"),
        ("/h:", "incorrect volume format \"/h:\", should be host-dir:ctr-dir[:option]"),
        ("/h:/c:x", "invalid option type \"x\""),
        ("/h:/c:ro=x", "invalid option type \"ro=x\""),
        ("/h:/c:source=/x", "invalid option type \"source=/x\""),
        ("/h:/c:ro,rw", "invalid options \"ro, rw\", can only specify 1 'rw' or 'ro' option"),
        ("/h:/c:O,z", "invalid options \"O, z\", can only specify 1 'z', 'Z', or 'O' option"),
        ("/h:/c:U,U", "can only specify 1 'U' option"),
        ("/h:/c:O,upperdir=/a,upperdir=/b", "can only specify 1 upperdir per overlay"),
        ("/h:/c:slave,shared", "can only specify 1 '[r]shared', '[r]private', '[r]slave' or '[r]unbindable' option"),
        ("/h:/c:O,upperdir=/a", "go together"),
        ("/h:/c:upperdir=/a,workdir=/b", "need 'O'"),
        ("/h:/c:O,upperdir=a,workdir=/b", "not an absolute path"),
        ("/h:/c:idmap=uids=0-1", "is not FROM-TO-LENGTH"),
        ("/h:/c:idmap,idmap=uids=0-1-1", "can only specify 1 'idmap' option"),
        ("/h:/c:idmap,U", "exclude each other"),
        ("/h:/c:idmap,O,upperdir=/u,workdir=/w", "exclude each other"),
        ("/h\0:/c", "incorrect volume format"),
    ] {
        let error = MountRequest::parse_volume(text).unwrap_err();
        assert!(error.contains(words), "{text:?}: {error}");
    }
}

#[test]
fn mounts_become_requests() {
    let request = mount("type=bind,src=/h,dst=/c,bind-propagation=rshared,bind-nonrecursive,consistency=cached");
    assert!(request.flags.read_only, "a bind can be read only unless it says otherwise");
    let bind = request.bind().unwrap();
    assert_eq!((bind.recursive, bind.propagation, &bind.writes), (false, Propagation::Shared, &Writes::Through));
    for text in ["type=bind,src=/h,dst=/c,rw", "src=/h,dst=/c,ro=false"] {
        let request = mount(text);
        assert_eq!((request.flags.read_only, &request.bind().unwrap().writes), (false, &Writes::Discarded), "{text}");
    }
    let source = |text: &str| mount(text).bind().unwrap().source.clone();
    assert_eq!(source("dst=/c,src=d/e"), Source::Context("d/e".into()));
    assert_eq!(source("type=bind,from=app,src=/d,dst=c"), Source::Named { name: "app".into(), path: "/d".into() });
    assert_eq!(mount("type=bind,src=/h,dst=c").below(std::path::Path::new("/w")).target, PathBuf::from("/w/c"));
    let request = mount("type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770,tmpcopyup,nosuid");
    assert_eq!(request.kind, MountKind::Tmpfs { size: Some(64 << 20), mode: Some(0o1770), copy_up: true });
    assert!(request.flags.nosuid && !request.flags.read_only);
}

#[test]
fn a_cache_has_a_name_an_owner_and_a_way_of_sharing() {
    let cache = |text: &str| match mount(text).kind {
        MountKind::Cache(cache) => cache,
        other => panic!("{other:?}"),
    };
    let plain = cache("type=cache,target=/c");
    assert_eq!((plain.id, plain.mode, plain.uid, plain.gid, plain.sharing), (None, 0o755, 0, 0, Sharing::Shared));
    let full = cache("type=cache,id=../x,dst=/c,mode=0700,uid=5,gid=6,sharing=locked,src=sub,U,ro");
    assert_eq!((full.id.as_deref(), full.mode, full.uid, full.gid), (Some("../x"), 0o700, 5, 6));
    assert_eq!((full.sharing, full.source, full.chown), (Sharing::Locked, PathBuf::from("sub"), true));
}

#[test]
fn wrong_mounts_are_refused_in_buildahs_words() {
    let syntax = "incorrect mount format: should be --mount type=<bind|tmpfs>,[src=<host-dir>,]target=<ctr-dir>[,options]";
    for (text, words) in [
        ("", syntax),
        ("type=bind", "\"type=bind\": incorrect mount format"),
        ("type=ssh", syntax),
        ("type=secret,id=x", "invalid filesystem type \"secret\""),
        ("type=ssh,id=x", "invalid filesystem type \"ssh\""),
        ("type=x,dst=/c", "invalid filesystem type \"x\""),
        ("type=,dst=/c", "invalid filesystem type \"\""),
        ("type=bind,src=/h", "must set volume destination"),
        ("type=bind,src=/h,dst=", "dst: must provide an argument for option"),
        ("type=bind,src=/h,dst=/c,foo", "foo: invalid mount option"),
        ("type=bind,src=/h,dst=/c,nosuid=x", "nosuid: must not provide an argument for option"),
        ("type=bind,src=/h,dst=/c,ro=x", "invalid value \"x\" of ro"),
        ("type=bind,src=/h,dst=/c,ro,rw", "ro or rw is given twice"),
        ("type=bind,src=/h,dst=/c,dst=/d", "target is given twice"),
        ("type=bind,type=bind,src=/h,dst=/c", "type is given twice"),
        ("type=bind,src=/h,dst=/c,bind-propagation=rw", "bind-propagation: \"rw\": invalid mount option"),
        ("type=bind,src=/h,dst=/c,bind-propagation=rprivate,suid", "suid: invalid mount option"),
        ("type=bind,src=/h,dst=/c,upperdir=/x", "upperdir: invalid mount option"),
        ("type=bind,src=/h,dst=/c,relabel=x", "relabel mount option must be 'private' or 'shared'"),
        ("type=bind,src=/h,dst=/c,id=x", "id: invalid mount option"),
        ("type=tmpfs,dst=/c,src=/h", "src: invalid mount option"),
        ("type=tmpfs,dst=/c,tmpfs-size=1x", "invalid size \"1x\""),
        ("type=tmpfs,dst=/c,tmpfs-size=99999999999999g", "invalid size"),
        ("type=tmpfs,dst=/c,tmpfs-mode=99999", "unable to parse tmpfs mode \"99999\""),
        ("type=cache,dst=/c,sharing=mine", "unrecognized value \"mine\" for field `sharing`"),
        ("type=cache,dst=/c,sharin=private", "sharin: invalid mount option: did you mean sharing?"),
        ("type=cache,dst=/c,mode=999", "unable to parse cache mode \"999\""),
        ("type=cache,dst=/c,mode=+700", "unable to parse cache mode"),
        ("type=cache,dst=/c,uid=-1", "unable to parse cache uid \"-1\""),
        ("type=cache,dst=/c,gid=x", "unable to parse cache gid \"x\""),
        ("type=bind,src=/h\0,dst=/c", syntax),
    ] {
        let error = MountRequest::parse_mount(text).unwrap_err();
        assert!(error.contains(words), "{text:?}: {error}");
    }
}
