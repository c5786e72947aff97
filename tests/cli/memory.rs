//! Memory: bounded whatever the size of an image, the number of its layers and how many of them move at once (design, section 7).

use crate::harness::registry::{PROGRAM, Registry};
use crate::harness::{TestEnv, skip_without};

/// What a command may hold beyond what the program holds by itself, in bytes.
const MOST: u64 = 64 << 20;

/// The image `box` of eight layers, 12 MB each, which compress to three quarters.
fn image(env: &TestEnv) {
    env.shell(
        "i=scratch
         for n in 1 2 3 4 5 6 7 8; do
             head -c 9000000 /dev/urandom | base64 -w 0 >f
             c=$(coracle from $i); coracle copy -q $c f /f$n; i=$(coracle commit -q --rm $c)
         done
         coracle tag $i box",
    )
    .success();
}

#[test]
fn pushes_and_pulls_hold_no_more_than_a_part_of_the_image() {
    if skip_without(&[PROGRAM]) {
        return;
    }
    let (env, registry) = (TestEnv::new(), Registry::plain());
    image(&env);
    env.small_image();
    // What the program holds by itself to speak to a registry.
    let (said, base) = env.peak_of(&format!("coracle push -q --tls-verify=false one {}", registry.name("one")));
    said.success();
    assert!(base > 1 << 20, "{base}");
    for setting in ["", "image_parallel_copies = 8\n"] {
        env.write_home(".config/containers/containers.conf", format!("[engine]\n{setting}"));
        for kind in ["gzip", "zstd"] {
            let name = registry.name(&format!("{kind}{}", setting.len()));
            let held = |command: &str| {
                let (said, peak) = env.peak_of(&format!("coracle {command}"));
                said.success();
                let held = peak.saturating_sub(base);
                println!("{command} {setting:?}: {} KiB beyond {}", held >> 10, base >> 10);
                assert!(held <= MOST, "{command}, {setting:?}: {} MiB beyond {}", held >> 20, base >> 20);
            };
            held(&format!("push -q --tls-verify=false --force-compression --compression-format {kind} box {name}"));
            // Into a store of its own, where nothing is yet.
            let store = "--root $PWD/s/r --runroot $PWD/s/rr --storage-driver overlay";
            held(&format!("{store} pull -q --tls-verify=false {name}"));
            env.shell(&format!("coracle {store} rmi -af >/dev/null")).success();
        }
    }
}
