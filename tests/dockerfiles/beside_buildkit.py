"""Prints in which lines an image of ours and one that BuildKit made of the same Dockerfile differ: config, history and files.

usage: beside_buildkit.py BASE CASE…      compares CASE-layers of the store with CASE.tar, which docker saved; prints a JSON object
                                          of texts: lines that only ours has begin with -, BuildKit's with +

Not compared is what always differs: times, IDs and formats; the label io.buildah.version; the host name that the docker format has of
the container; Docker's mark that a command is not to be quoted; and how the history words an instruction. Of each entry it is said
which instruction it is of, and whether that made a layer; ONBUILD has none from BuildKit.
"""

import difflib
import json
import os
import shutil
import sys

from outline import base_of, outline, read, stored


def instruction(entry):
    """The keyword of the instruction that made an entry of the history."""
    words = entry.get("created_by", "").removesuffix("# buildkit").split()
    if words[:2] == ["/bin/sh", "-c"] and words[2:3] == ["#(nop)"]:
        words = words[3:]
    known = {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "RUN",
             "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
    word = words[0].upper() if words else ""
    return word if word in known else "RUN"


def without_defaults(value):
    """What is false, null, empty or missing means the same."""
    if isinstance(value, dict):
        kept = {key: without_defaults(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in (None, [], {}, "", False) or key in ("ExposedPorts", "Volumes")}
    return value


def lines(image, base_ids, base):
    """An image, a line for each thing that can differ."""
    is_on_base = image[1]["rootfs"]["diff_ids"][:len(base_ids)] == base_ids
    texts, history, layers = outline(image, base_ids, base)
    config = json.loads("\n".join(texts["config"]))
    del config["mediaType"]
    settings = config.setdefault("config", {})
    settings.get("Labels", {}).pop("io.buildah.version", None)
    settings.pop("Hostname", None)
    settings.pop("ArgsEscaped", None)
    for name in ("ExposedPorts", "Volumes"):
        if not settings.get(name, True):
            del settings[name]
    config = without_defaults(config)
    own = history[1:] if is_on_base else history
    shutil.rmtree(image[2])
    return [f"layers: {layers}", *json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False).splitlines(),
            *(f"{'.' if entry.get('empty_layer') else 'L'} {instruction(entry)}" for entry in own if instruction(entry) != "ONBUILD"),
            *texts["files"]]


def compare(case, base_ids, base):
    ours, theirs = read(stored(f"{case}-layers")), read(f"docker-archive:{case}.tar")
    if os.path.exists(f"{case}.tar"):
        os.remove(f"{case}.tar")
    if ours is None or theirs is None:
        return f"images: ours {'none' if ours is None else 'one'}, BuildKit's {'none' if theirs is None else 'one'}\n"
    pair = [lines(image, base_ids, base) for image in (ours, theirs)]
    found = difflib.unified_diff(*pair, n=0, lineterm="")
    return "".join(f"{line}\n" for line in found if not line.startswith(("---", "+++", "@@")))


def main():
    base_ids, base = base_of(stored(sys.argv[1]))
    print(json.dumps({case: compare(case, base_ids, base) for case in sys.argv[2:]}))


main()
