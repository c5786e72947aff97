"""Prints what the images of the store are: config, history, annotations and the files of each layer, without what differs from one
run to the next (times, IDs, the builder's version). Two builders that did the same print the same.

usage: describe.py IMAGE…
"""

import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

# What a builder may leave of the mount points of `run`, and directories that only those touched.
STUBS = re.compile(r"(dev|proc|sys|run|etc|tmp|root)|run/\.containerenv|run/lock|etc/(hosts|hostname|resolv\.conf|mtab)|dev/.*")
# Compiled Python may differ in the references that it counts.
UNSTABLE = re.compile(r".*\.pyc|var/cache/ldconfig/aux-cache|etc/shadow|var/lib/dpkg/status(-old)?")


def scrub(value):
    if isinstance(value, dict):
        return {key: ("[VERSION]" if key == "io.buildah.version" else "[HOST]" if key == "Hostname" and len(str(inner)) == 12 else scrub(inner))
                for key, inner in value.items()
                # Debian's Buildah names the base at the last new entry of the history, newer ones at the first.
                if not (key == "comment" and "FROM " in str(inner)) and key not in ("created", "container", "docker_version", "diff_ids", "parent")}
    if isinstance(value, list):
        return [scrub(inner) for inner in value]
    return value


def member(entry, archive):
    if entry.name.rsplit("/", 1)[-1].startswith(".wh."):
        # The kernel links them to one inode, and Debian's Buildah writes them as links to what is deleted.
        return f"{entry.name} whiteout"
    digest = ""
    if entry.isreg() and not UNSTABLE.fullmatch(entry.name):
        digest = f"{entry.size} {hashlib.sha256(archive.extractfile(entry).read()).hexdigest()[:16]}"
    extended = " ".join(f"{key}={value!r}" for key, value in sorted(entry.pax_headers.items()) 
                        # Debian's Buildah lets marks of the overlay file system into its layers.
                        if key.startswith("SCHILY.xattr") and not key.startswith("SCHILY.xattr.user.overlay."))
    kind = entry.type.decode()
    return f"{entry.name.rstrip('/')} {kind} {entry.mode & 0o7777:o} {entry.uid}:{entry.gid} {entry.linkname} {digest} {extended}".rstrip()


def layer(path):
    with tarfile.open(path) as archive:
        return sorted(member(entry, archive) for entry in archive if not STUBS.fullmatch(entry.name.strip("/")))


def describe(image):
    out = pathlib.Path("describe.tmp")
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(["skopeo", "copy", "-q", f"containers-storage:{image}", f"dir:{out}"], check=True)
    manifest = json.loads((out / "manifest.json").read_text())
    blob = lambda descriptor: out / descriptor["digest"].removeprefix("sha256:")
    annotations = {key: value for key, value in manifest.get("annotations", {}).items() if not key.startswith("org.opencontainers.image.base.")
                   and key != "org.opencontainers.image.created"}
    print(f"=== {image} {manifest['mediaType']}")
    print(json.dumps(annotations, indent=1, sort_keys=True))
    print(json.dumps(scrub(json.loads(blob(manifest["config"]).read_text())), indent=1, sort_keys=True))
    for number, descriptor in enumerate(manifest["layers"]):
        print(f"--- layer {number}")
        print("\n".join(layer(blob(descriptor))))
    shutil.rmtree(out)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        describe(name)
