#!/usr/bin/env python3
"""Times the verbs of coracle and of buildah (and pushes and pulls of skopeo) on one shared store, alternating, and prints a table of medians.

Run by contrib/bench, which prepares the machine. Each row makes its working containers before the clock starts; only the one
command is timed, from its start to its end as a parent process sees it.
"""

import base64
import copy
import hashlib
import itertools
import json
import os
import shutil
import statistics
import sys
import threading
import time

from sidebyside import HOME, QUICK, STORE, TOOLS, Row, forget, isolation, make_busybox, many_small_files, one_big_file, remove_tree, run, settled, spawned, table

state = {}


def container(image="base"):
    """A preparation that makes a fresh working container, removed by `drop`."""
    state["c"] = run("coracle", "from", image)
    return state["c"]


def drop(_tool):
    if "c" in state:
        run("coracle", "rm", state.pop("c"), check=False)
    run("coracle", "rmi", "-f", "out", check=False)


def run_rows():
    """`run` with each kind of network. Buildah's chroot isolation has no network of its own to compare with."""
    tools = {"host": TOOLS, "none": TOOLS if "chroot" not in isolation("buildah") else TOOLS[:1]}
    if shutil.which("pasta") or shutil.which("slirp4netns"):
        tools["private"] = tools["none"]
    for network in tools:
        prepare = lambda tool, network=network: ["run", *isolation(tool), "--network", network, container(), "true"]
        yield Row(f"run true, network {network}", prepare, drop, 15, tools[network])


def with_new(words, image="base"):
    """The words of a command, with the name of a fresh container in place of {}."""
    def prepare(_tool):
        c = container(image)
        return [word.replace("{}", c) for word in words]
    return prepare


def copied(source, words):
    """As with_new, after `source` has been copied into the container, and a file that makes its layer unlike all others."""
    def prepare(_tool):
        c = container()
        run("coracle", "copy", "-q", c, source, "/data")
        with open(f"{HOME}/unique", "w") as file:
            file.write(c + str(time.time()))
        run("coracle", "copy", "-q", c, f"{HOME}/unique", "/unique")
        return [word.replace("{}", c) for word in words]
    return prepare


def cheap_rows(image, rounds):
    """The verbs whose cost must not grow with the store or the image."""
    counter = iter(range(10**6))
    yield Row("config", with_new(["config", "--label", "a=b", "{}"], image), drop, rounds)
    yield Row("images", lambda _t: ["images"], None, rounds)
    yield Row("containers", with_new(["containers"], image), drop, rounds)
    yield Row("inspect (image)", lambda _t: ["inspect", "--type", "image", image], None, rounds)
    yield Row("tag", lambda _t: ["tag", image, "tagged"], None, rounds)
    yield Row("rename", lambda _t: ["rename", container(image), f"renamed-{next(counter)}"], lambda _t: run("coracle", "rm", "-a"), rounds)
    yield Row("from", lambda t: ["from", "--name", state.setdefault("c", f"bench-{t}"), image], drop, rounds)
    yield Row("rm", with_new(["rm", "{}"], image), None, rounds)
    yield Row("copy, one file", with_new(["copy", "-q", "{}", f"{HOME}/one", "/one"], image), drop, rounds)
    yield Row("commit after it", lambda t: commit_small(image, False), drop, rounds)
    yield Row("commit --rm after it", lambda t: commit_small(image, True), drop, rounds)


def step_rows():
    """Lists that must tell steps between images from images that nobody needs. Buildah compares each with all others: some seconds."""
    tables = Tables("base")
    tables.add_line("line", 121)
    tables.save()
    yield Row("images, 120 of steps", lambda _t: ["images"], None, 1)
    yield Row("images --all", lambda _t: ["images", "--all"], None, 9)
    for number in range(4):
        tables.add_line(f"line{number}", 96)
    tables.save()
    # The other one would take minutes.
    yield Row("images, 500 of steps", lambda _t: ["images"], None, 9, TOOLS[:1])
    yield Row("rmi --prune, nothing to remove", lambda _t: ["rmi", "--prune"], None, 9, TOOLS[:1])


def commit_small(image, rm):
    c = container(image)
    run("coracle", "copy", "-q", c, f"{HOME}/one", "/one")
    return ["commit", "-q", *(["--rm"] if rm else []), c, "out"]


def commit_variant(name, base):
    c = run("coracle", "from", base)
    run("coracle", "config", "--label", f"name={name}", c)
    run("coracle", "commit", "-q", "--rm", c, name)


class Tables:
    """The JSON tables of the store, for writing many images at once: to commit them would take longer than all that is measured."""

    LAYERS, IMAGES = f"{HOME}/root/overlay-layers/layers.json", f"{HOME}/root/overlay-images/images.json"

    def __init__(self, base):
        with open(self.LAYERS) as layers, open(self.IMAGES) as images:
            self.layers, self.images = json.load(layers), json.load(images)
        self.image = next(image for image in self.images if f"localhost/{base}:latest" in (image.get("names") or []))
        self.layer = next(layer for layer in self.layers if layer["id"] == self.image["layer"])
        self.manifest = json.loads(self.data("manifest"))
        self.config = json.loads(self.data(self.manifest["config"]["digest"]))

    @staticmethod
    def file(image, key):
        name = key if key == "manifest" else "=" + base64.b64encode(key.encode()).decode()
        return f"{HOME}/root/overlay-images/{image}/{name}"

    def data(self, key):
        with open(self.file(self.image["id"], key), "rb") as file:
            return file.read()

    def add(self, name, depth):
        """An image with `depth` layers, each with the base's digest."""
        top = self.stack(name, depth)[-1]
        self.image_on(name, top, depth, [f"localhost/{name}:latest"])

    def add_line(self, name, depth):
        """The same, and below each layer the unnamed image of a step."""
        tops = self.stack(name, depth)
        for step, top in enumerate(tops, 1):
            self.image_on(name, top, step, [f"localhost/{name}:latest"] if step == depth else [])

    def stack(self, name, depth):
        """The layers of such an image, the lowest first."""
        made, parent = [], None
        for step in range(depth):
            ident = hashlib.sha256(f"{name} {step}".encode()).hexdigest()
            layer = copy.deepcopy(self.layer) | {"id": ident}
            layer.pop("names", None)
            if parent:
                layer["parent"] = parent
            self.layers.append(layer)
            home, parent = f"{HOME}/root/overlay/{ident}", ident
            os.makedirs(f"{home}/diff")
            link = base64.b32encode(bytes.fromhex(ident)).decode()[:26]
            with open(f"{home}/link", "w") as file:
                file.write(link)
            os.symlink(f"../{ident}/diff", f"{HOME}/root/overlay/l/{link}")
            made.append(ident)
        return made

    def image_on(self, name, layer, depth, names):
        config, manifest = copy.deepcopy(self.config), copy.deepcopy(self.manifest)
        config.setdefault("config", {})["Labels"] = {"name": name}
        config["rootfs"]["diff_ids"] *= depth
        config["history"] *= depth
        config = json.dumps(config).encode()
        digest = "sha256:" + hashlib.sha256(config).hexdigest()
        manifest["config"] |= {"digest": digest, "size": len(config)}
        manifest["layers"] *= depth
        self.record(names, layer, digest, config, json.dumps(manifest).encode())

    def record(self, names, layer, digest, config, manifest):
        own = "sha256:" + hashlib.sha256(manifest).hexdigest()
        data = {digest: config, f"manifest-{own}": manifest, "manifest": manifest}
        image = copy.deepcopy(self.image) | {
            "id": digest.removeprefix("sha256:"), "digest": own, "layer": layer,
            "names": names, "names-history": names,
            "big-data-names": list(data), "big-data-sizes": {key: len(text) for key, text in data.items()},
            "big-data-digests": {key: "sha256:" + hashlib.sha256(text).hexdigest() for key, text in data.items()},
        }
        os.makedirs(f"{HOME}/root/overlay-images/{image['id']}")
        for key, text in data.items():
            with open(self.file(image["id"], key), "wb") as file:
                file.write(text)
        self.images.append(image)

    def save(self):
        for path, records in ((self.LAYERS, self.layers), (self.IMAGES, self.images)):
            with open(path, "w") as file:
                json.dump(records, file, separators=(",", ":"))


def floors(path):
    """What the work on one big file can't be cheaper than, from the page cache: hashing it, and copying it beside that."""
    def digest():
        with open(path, "rb") as file:
            hashlib.file_digest(file, "sha256")

    def seconds(*works):
        started = time.perf_counter()
        threads = [threading.Thread(target=work) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - started

    alone = statistics.median(seconds(digest) for _ in range(3))
    beside = []
    for _ in range(3):
        beside.append(seconds(digest, lambda: shutil.copyfile(path, f"{path}.copy")))
        os.remove(f"{path}.copy")
    print(f"\nSHA-256 of the file takes {alone:.2f} s; copying it beside that {statistics.median(beside):.2f} s.", flush=True)


def make_base():
    make_busybox("base")
    with open(f"{HOME}/one", "w") as file:
        file.write("one small file\n")
    for number in range(4):
        commit_variant(f"other{number}", "base")


def main():
    print(f"{run('coracle', '--version')}; {run('buildah', '--version')}; {os.cpu_count()} cores, Linux {os.uname().release}")
    print(f"\nStarting and ending `true` takes {statistics.median(spawned(['true']) for _ in range(25)):.1f} ms in all times below.")
    make_base()
    if sys.argv[1:] == ["transports"]:
        return transports()
    table("5 images in the store", cheap_rows("base", 25))
    table("run true", run_rows())
    if QUICK:
        return
    tables = Tables("base")
    for number in range(495):
        tables.add(f"many{number}", 5)
    tables.save()
    table("500 images and 2,480 layers in the store", cheap_rows("base", 9))
    previous = "base"
    for number in range(119):
        c = run("coracle", "from", previous)
        run("coracle", "copy", "-q", c, f"{HOME}/one", f"/layer{number}")
        run("coracle", "commit", "-q", "--rm", c, f"deep{number}")
        previous = f"deep{number}"
    table("the same, and 120 layers below", cheap_rows(previous, 9))
    table("the same, and unnamed images of steps", step_rows())
    whole_trees()
    transports()
    big_file()
    many_files()


def whole_trees():
    """The driver vfs, where each layer is a copy of the one below: its cost is that of the image."""
    tree = f"{HOME}/tree"
    for directory in range(40):
        os.makedirs(f"{tree}/{directory}")
        for number in range(50):
            with open(f"{tree}/{directory}/{number}", "wb") as file:
                file.write(os.urandom(40_000))
    before = STORE[:]
    STORE[:] = ["--root", f"{HOME}/root-vfs", "--runroot", f"{HOME}/run-vfs", "--storage-driver", "vfs"]
    make_base()
    c = container()
    run("coracle", "copy", "-q", c, tree, "/tree")
    run("coracle", "commit", "-q", "--rm", state.pop("c"), "trees")
    run_true = lambda tool: ["run", *isolation(tool), "--network", "host", container("trees"), "true"]
    rows = [
        Row("from", lambda t: ["from", "--name", state.setdefault("c", f"bench-{t}"), "trees"], drop, 9),
        Row("copy, one file", with_new(["copy", "-q", "{}", f"{HOME}/one", "/one"], "trees"), drop, 9),
        Row("commit after it", lambda t: commit_small("trees", False), drop, 9),
        Row("commit --rm after it", lambda t: commit_small("trees", True), drop, 9),
        Row("run true, network host", run_true, drop, 9),
        Row("rm", with_new(["rm", "{}"], "trees"), None, 9),
    ]
    table("driver vfs, an image of 2,000 files and 80 MB", rows)
    STORE[:] = before


def transports():
    """An image of 500 MB in five layers to an OCI directory and to a Docker archive, and back into an empty store. Beside both
    builders stands skopeo, which does nothing else."""
    make_layered("layered", 5, 100 << 20)
    places = {"oci:": (f"oci:{HOME}/layout:layered", f"{HOME}/layout"), "docker-archive:": (f"docker-archive:{HOME}/layered.tar", f"{HOME}/layered.tar")}
    tools = [tool for tool in (*TOOLS, "skopeo") if shutil.which(tool)]
    empty = (f"{HOME}/pull-root", f"{HOME}/pull-run")
    print("\n### an image of 500 MB in five layers\n\n| work | coracle | buildah | skopeo |\n|---|---|---|---|", flush=True)
    for label, (place, path) in places.items():
        pushes = {tool: moved(tool, STORE[1], STORE[3], "localhost/layered", place) for tool in tools}
        transport_row(f"push to {label}", pushes, lambda: remove_tree(path))
        pulls = {tool: moved(tool, *empty, "localhost/layered", place, back=True) for tool in tools}
        transport_row(f"pull from {label}", pulls, lambda: [remove_tree(tree) for tree in empty])
        remove_tree(path)


def moved(tool, root, run_root, name, place, back=False):
    """The command that brings an image from the store to a place, or back."""
    if tool != "skopeo":
        store = ["--root", root, "--runroot", run_root, "--storage-driver", "overlay"]
        return [tool, *store, *(["pull", "-q", place] if back else ["push", "-q", name, place])]
    stored = f"containers-storage:[overlay@{root}+{run_root}]{name}"
    return [tool, "copy", "-q", *((place, stored) if back else (stored, place))]


def transport_row(label, commands, before):
    """Three rounds of each command, in turns; before each the place is emptied. What the last one wrote stays."""
    times = {tool: [] for tool in commands}
    for _ in range(1 if QUICK else 3):
        for tool, command in commands.items():
            before()
            os.sync()
            times[tool].append(spawned(command))
    cells = [f"{statistics.median(times[tool]) / 1000:.2f} s" if tool in times else "-" for tool in (*TOOLS, "skopeo")]
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


def make_layered(name, layers, size):
    """An image whose layers hold programs and libraries of this machine: what compresses as images do."""
    paths = (os.path.join(parent, file) for parent, _, files in sorted(os.walk("/usr")) for file in sorted(files))
    usable = [path for path in paths if not os.path.islink(path) and os.access(path, os.R_OK) and 1 << 15 < os.path.getsize(path) < 1 << 25]
    source = itertools.cycle(usable)
    previous = "scratch"
    for layer in range(layers):
        tree, left = f"{HOME}/layer", size
        os.makedirs(tree)
        for number in itertools.count():
            path = next(source)
            left -= os.path.getsize(path)
            if left < 0:
                break
            shutil.copyfile(path, f"{tree}/{number}")
        c = run("coracle", "from", previous)
        run("coracle", "copy", "-q", c, tree, f"/layer{layer}")
        run("coracle", "commit", "-q", "--rm", c, name)
        shutil.rmtree(tree)
        previous = name


def big_file():
    big = one_big_file()
    table("one file of 1 GiB", content_rows(big, drop))
    floors(big)
    os.remove(big)


def many_files():
    """Comes last and deletes nothing: ext4 creates files ten times slower for minutes after many were deleted, and would charge
    whoever comes next for it."""
    table("20,000 files of 195 MB", content_rows(many_small_files(), None))


def content_rows(source, clean):
    yield Row("copy", settled(with_new(["copy", "-q", "{}", source, "/data"])), clean, 3)
    yield Row("commit", settled(copied(source, ["commit", "-q", "{}", "out"])), clean, 3)
    yield Row("commit --rm", settled(copied(source, ["commit", "-q", "--rm", "{}", "out"])), clean, 3)


try:
    main()
finally:
    forget(*(f"{HOME}/{name}" for name in ("root", "run", "root-vfs", "run-vfs")))
