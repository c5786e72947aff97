//! `build --sign-by`: an image that comes from the cache is signed like one that is made.

use crate::build_cache::Project;
use crate::harness::{SIGNER, skip_without};

#[test]
fn an_image_of_the_cache_is_signed_under_each_name_and_once() {
    if skip_without(&["gpg", "gpgv", "skopeo"]) {
        return;
    }
    let project = Project::new();
    let said = project.env.shell(&format!(
        r#"{SIGNER}
        build() {{ coracle build -q --layers "$@" ctx; }}
        signed() {{
            rm -rf out; coracle push -q "$1" dir:out; shift
            for name; do
                for file in out/signature-*; do
                    skopeo standalone-verify out/manifest.json $name $fingerprint $file >/dev/null 2>&1 && echo $name
                done
            done
            ls out | grep -c signature || true
        }}
        build -t app >first; signed app localhost/app:latest
        build -t app --sign-by $fingerprint >second; signed app localhost/app:latest
        build -t app --sign-by $fingerprint >>second; signed app localhost/app:latest
        build -t other --sign-by a@test >>second; signed other localhost/app:latest localhost/other:latest
        build -t other >>second; signed other localhost/app:latest localhost/other:latest
        sort -u first second | wc -l
        # A step that was never the last one of a build.
        printf 'RUN echo more >/more\n' >>ctx/Dockerfile
        build -t more --sign-by $fingerprint >/dev/null; signed more localhost/more:latest
        coracle rmi more >/dev/null; build -t again --sign-by $fingerprint >/dev/null; signed again localhost/again:latest
        build -t never --sign-by nobody@test 2>error || tail -1 error | cut -c1-30; coracle images -q never 2>/dev/null | wc -l"#
    ));
    let want = "0\nlocalhost/app:latest\n1\nlocalhost/app:latest\n1\nlocalhost/app:latest\nlocalhost/other:latest\n2\n\
                localhost/app:latest\nlocalhost/other:latest\n2\n1\nlocalhost/more:latest\n1\nlocalhost/again:latest\n1";
    let said = said.success();
    assert!(said.starts_with(want), "{said}");
    assert!(said.ends_with("\n0"), "an image that could not be signed has no name: {said}");
    project.env.assert_store_is_clean();
}
