//! Prints how long a store of 2,500 layers and 500 images takes to read and to change.
//!
//! `cargo bench -p containers-storage`; `TMPDIR`, below which a store is made and deleted again, decides which file system is measured.

use std::time::Instant;

use containers_storage::conf::{Conf, Environment, Overrides};
use containers_storage::store::{NewContainer, Store};
use containers_storage::{Digest, ImageId, LayerId};

const LAYERS: usize = 2_500;
const IMAGES: usize = 500;
const DEPTH: usize = 120;
const REPEATS: usize = 41;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let conf = Conf::at(&dir.path().join("g"), &dir.path().join("r"), true);
    let store = Store::open(conf.clone())?;
    fill(&store)?;
    let top = LayerId::of_image_layer(None, &digest(0));

    measure("settings, no file", || Conf::resolve(&Environment::of_process(), &Overrides::default()).map(|_| ()))?;
    measure("open", || Store::open(conf.clone()).map(|_| ()))?;
    measure("layers", || store.layers().map(|_| ()))?;
    measure("images", || store.images().map(|_| ()))?;
    measure("containers", || store.containers().map(|_| ()))?;
    let (layers, images) = (store.layers()?, store.images()?);
    measure("one layer", || layers.get(&top).map(|_| ()))?;
    let deepest = layers.all()?.into_iter().nth(DEPTH).map(|layer| layer.id).unwrap_or(top);
    // The index is made once for each reading of the table.
    measure("a chain of 120", || store.layers()?.chain(&deepest).map(|_| ()))?;
    measure("an image by name", || images.by_name("localhost/image:250").map(|_| ()))?;
    measure("every image", || images.all().map(|_| ()))?;
    let new = NewContainer::default();
    measure("create and delete a container", || {
        let made = store.create_container(&new, &mut |_| Some("c".into()), &mut |_, _| Ok(()))?;
        store.delete_container(&made.id)?.finish()?;
        Ok::<(), containers_storage::store::Error>(())
    })?;
    Ok(())
}

fn measure<E>(what: &str, mut work: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    let mut times = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed());
    }
    times.sort();
    println!("{what:32} {:9.1} µs", times[REPEATS / 2].as_secs_f64() * 1e6);
    Ok(())
}

fn digest(number: usize) -> Digest {
    Digest::of(&number.to_le_bytes())
}

/// Writes the tables only: nothing here looks at a layer's directory.
fn fill(store: &Store) -> std::io::Result<()> {
    let mut layers = Vec::with_capacity(LAYERS);
    let mut parent: Option<LayerId> = None;
    for number in 0..LAYERS {
        let diff = digest(number);
        let id = LayerId::of_image_layer(parent.as_ref(), &diff);
        let below = parent.as_ref().map_or(String::new(), |parent| format!(r#""parent":"{parent}","#));
        layers.push(format!(
            r#"{{"id":"{id}",{below}"created":"2026-11-21T01:15:51.773028382Z","compressed-diff-digest":"{diff}","compressed-size":3866,"diff-digest":"{diff}","diff-size":140288,"compression":2,"uidset":[0],"gidset":[0]}}"#
        ));
        parent = (number % 150 != 149).then_some(id);
    }
    let images: Vec<String> = (0..IMAGES)
        .map(|number| {
            let id = ImageId::of_config(&digest(number));
            let (key, manifest) = (digest(number), digest(number + 1));
            format!(
                r#"{{"id":"{id}","digest":"{manifest}","names":["localhost/image:{number}"],"names-history":["localhost/image:{number}"],"metadata":"{{}}","big-data-names":["{key}","manifest-{manifest}","manifest"],"big-data-sizes":{{"{key}":1720,"manifest":1022,"manifest-{manifest}":1022}},"big-data-digests":{{"{key}":"{key}","manifest":"{manifest}","manifest-{manifest}":"{manifest}"}},"created":"2026-11-21T01:14:06.249834388Z"}}"#
            )
        })
        .collect();
    std::fs::create_dir_all(store.layers_dir())?;
    std::fs::create_dir_all(store.images_dir())?;
    std::fs::write(store.layers_dir().join("layers.json"), format!("[{}]", layers.join(",")))?;
    std::fs::write(store.images_dir().join("images.json"), format!("[{}]", images.join(",")))
}
