"""Prints what two images of one Dockerfile are, the first built without --layers, the second with: annotations, config, history and
files. What both have is printed once. Times, IDs and the builder's version are left out, and the base image that the cases share.

usage: outline.py BASE IMAGE…      each IMAGE stands for itself and for IMAGE-layers; prints a JSON object of texts
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tarfile

from describe import STUBS, member, scrub

# Files that a case brings with a time of its own have an older one.
NOW = 1_700_000_001
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


def stored(image):
    """How skopeo names an image of the store."""
    return f"containers-storage:localhost/{image}:latest"


def read(source):
    """Manifest, config and the place of the blobs; None where there is no such image."""
    out = pathlib.Path(f"outline-{source.replace('/', '_').replace(':', '_')}")
    shutil.rmtree(out, ignore_errors=True)
    copied = subprocess.run(["skopeo", "copy", "-q", source, f"dir:{out}"], capture_output=True, text=True)
    if copied.returncode:
        return None
    manifest = json.loads((out / "manifest.json").read_text())
    config = json.loads((out / manifest["config"]["digest"].removeprefix("sha256:")).read_text())
    return manifest, config, out


def remove(files, name):
    """Takes a file, or all of a directory, away from what lower layers have."""
    for path in [path for path in files if path == name or path.startswith(f"{name}/")]:
        del files[path]


def merge(files, archive, base):
    """Puts a layer on the files of those below, but for the base's, of which only removals and changes are noted."""
    entries = list(archive)
    for entry in entries:
        directory, _, name = entry.name.rpartition("/")
        if name == OPAQUE:
            for path in [path for path in files if path.startswith(f"{directory}/")]:
                del files[path]
            if directory in base:
                files[entry.name] = f"{entry.name} whiteout"
        elif name.startswith(WHITEOUT):
            gone = f"{directory}/{name.removeprefix(WHITEOUT)}".strip("/")
            remove(files, gone)
            if gone in base:
                files[entry.name] = f"{entry.name} whiteout"
    for entry in entries:
        name = entry.name.rstrip("/")
        directory, _, last = name.rpartition("/")
        if last.startswith(WHITEOUT) or STUBS.fullmatch(name):
            continue
        files.pop(f"{directory}/{WHITEOUT}{last}".lstrip("/"), None)
        if not entry.isdir():
            remove(files, name)
        files[name] = line(entry, archive)


def line(entry, archive):
    time = f" @{int(entry.mtime)}" if entry.mtime < NOW and not entry.isdir() else ""
    return member(entry, archive).removeprefix("./") + time


def without_empty(value):
    """What is null, empty or missing means the same, and builders choose as they like."""
    if isinstance(value, dict):
        return {key: each if key in ("ExposedPorts", "Volumes", "Labels") else without_empty(each)
                for key, each in value.items() if each not in (None, [], {}, "")}
    return value


def outline(image, base_ids, base):
    manifest, config, out = image
    ids = config["rootfs"]["diff_ids"]
    own = ids[len(base_ids):] if ids[:len(base_ids)] == base_ids else ids
    files = {}
    for descriptor in manifest["layers"][len(ids) - len(own):]:
        with tarfile.open(out / descriptor["digest"].removeprefix("sha256:")) as archive:
            merge(files, archive, base if own is not ids else {})
    annotations = {key: value for key, value in manifest.get("annotations", {}).items() if not key.startswith("org.opencontainers.image.base.")
                   and key != "org.opencontainers.image.created"}
    history = [scrub(entry) for entry in config.pop("history", [])]
    config.pop("rootfs")
    # Of the ports and volumes of a container that is not there only the docker format tells, and twice.
    config.pop("container_config", None)
    config = without_empty(scrub(config))
    texts = {
        "annotations": [json.dumps(annotations, sort_keys=True)] if annotations else [],
        "config": json.dumps({"mediaType": manifest["mediaType"], **config}, indent=1, sort_keys=True, ensure_ascii=False).splitlines(),
        "files": [files[name] for name in sorted(files) if files[name] != base.get(name)],
    }
    return texts, history, f"{len(own)} of its own on {len(ids) - len(own)}"


def event(entry):
    """An entry of the history, without the spaces that Buildah's versions end it with."""
    rest = {key: value for key, value in entry.items() if key not in ("created_by", "empty_layer")}
    return json.dumps([entry.get("created_by", "").rstrip(), *([rest] if rest else [])], ensure_ascii=False)


def both(title, one, other):
    if one == other:
        return [f"--- {title}", *one]
    return [f"--- {title}, without --layers", *one, f"--- {title}, with --layers", *other]


def histories(one, other):
    """One list where the same things happened, with the marks of who made a layer: without --layers, and with."""
    if [event(entry) for entry in one] != [event(entry) for entry in other]:
        mark = lambda entry: f"{'.' if entry.get('empty_layer') else 'L'} {event(entry)}"
        return both("history", [mark(entry) for entry in one], [mark(entry) for entry in other])
    mark = lambda entry: "." if entry.get("empty_layer") else "L"
    return ["--- history", *(f"{mark(left)}{mark(right)} {event(left)}" for left, right in zip(one, other))]


def compose(case, base_ids, base):
    pair = [read(stored(case)), read(stored(f"{case}-layers"))]
    if None in pair:
        return f"images: {', '.join('none' if image is None else 'one' for image in pair)}\n"
    (one, history, layers), (other, other_history, other_layers) = (outline(image, base_ids, base) for image in pair)
    lines = both("layers", [layers], [other_layers])
    for title in ("annotations", "config"):
        if one[title] or other[title]:
            lines += both(title, one[title], other[title])
    lines += histories(history, other_history)
    lines += both("files", one["files"], other["files"])
    for image in pair:
        shutil.rmtree(image[2])
    return "\n".join(lines) + "\n"


def base_of(source):
    """The IDs of an image's layers, and its files."""
    manifest, config, out = read(source)
    files = {}
    for descriptor in manifest["layers"]:
        with tarfile.open(out / descriptor["digest"].removeprefix("sha256:")) as archive:
            files |= {entry.name.removeprefix("./").rstrip("/"): line(entry, archive) for entry in archive}
    return config["rootfs"]["diff_ids"], files


def main():
    ids, files = base_of(stored(sys.argv[1]))
    print(json.dumps({case: compose(case, ids, files) for case in sys.argv[2:]}))


if __name__ == "__main__":
    main()
