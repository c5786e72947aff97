#!/usr/bin/env python3
"""Pulls and pushes of coracle, buildah, podman and skopeo on one docker-registry of this machine, in turns, and a table of them.

Run by contrib/bench, which prepares the machine. Each cell has three numbers: seconds from start to end, seconds of CPU (user and
system, children included), and the most memory that one process of the command held, in MiB. Every tool pulls into a store of its
own, which is empty before; what was pushed is forgotten by the registry and by the tool before each push, but for the rows that
push again.
"""

import itertools
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time

from measuring import measured, store_flags
from sidebyside import HOME, STORE, forget, run

TOOLS = ("coracle", "buildah", "podman", "skopeo")
ROOTS = (f"{HOME}/root", f"{HOME}/run")
# Stores that were pulled into. ext4 creates files many times slower right after others were deleted, so that all stay to the end.
PULLED = []


def coracle(*words):
    """One command of ours that is not measured; its stdout."""
    return run("coracle", *words)


# What a process is charged with that has none of its own: before it was another program it was this one.
FLOOR = measured(["true"]).mebibytes


class Registry:
    """Debian's docker-registry, without TLS."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        self.data, self.server = f"{HOME}/registry", None
        with open(f"{HOME}/registry.yml", "w") as file:
            file.write(f"version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {self.data} }} }}\nhttp: {{ addr: {self.host} }}\n")

    def start(self):
        null = subprocess.DEVNULL
        self.server = subprocess.Popen(["docker-registry", "serve", f"{HOME}/registry.yml"], stdin=null, stdout=null, stderr=null)
        host, port = self.host.split(":")
        for _ in range(500):
            try:
                return socket.create_connection((host, int(port))).close()
            except OSError:
                time.sleep(0.01)
        sys.exit("docker-registry does not start")

    def stop(self):
        if self.server:
            self.server.kill()
            self.server.wait()

    def forget(self):
        """Everything it holds is gone, and whatever the server had in memory."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        self.start()

    def name(self, image):
        return f"{self.host}/{image}"


registry = Registry()


def pull(tool, name, again):
    """The command that pulls `name` into the store that is empty, or was filled before by the same command."""
    root, run_root = PULLED[-1]
    flags = store_flags(root, run_root)
    if tool == "skopeo":
        stored = f"containers-storage:[overlay@{root}+{run_root}]{name}"
        return [tool, "copy", "-q", "--src-tls-verify=false", f"docker://{name}", stored]
    # podman asks the registry anyway.
    policy = ["--policy", "always"] if again and tool != "podman" else []
    return [tool, *flags, "pull", "-q", *policy, "--tls-verify=false", name]


def push(tool, image, name, compression):
    """The command that pushes an image of the store that all have."""
    if tool == "skopeo":
        stored = f"containers-storage:[overlay@{ROOTS[0]}+{ROOTS[1]}]localhost/{image}:latest"
        given = ["--dest-compress-format", compression, "--format", "oci"] if compression == "zstd" else []
        return [tool, "copy", "-q", "--dest-tls-verify=false", *given, stored, f"docker://{name}"]
    given = ["--compression-format", compression, "--format", "oci"] if compression == "zstd" else []
    return [tool, *STORE, "push", "-q", "--tls-verify=false", *given, f"localhost/{image}", name]


def new_store(_tool):
    """The next pull goes into an empty store."""
    PULLED.append((f"{HOME}/pulled{len(PULLED)}", f"{HOME}/run{len(PULLED)}"))


def forget_pushes(tool):
    """What tools remember of blobs that they sent somewhere."""
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    for path in (f"{data}/containers/cache/blob-info-cache-v1.boltdb", f"{ROOTS[0]}/coracle/compressed"):
        if os.path.exists(path):
            os.remove(path)
    registry.forget()


def row(label, rounds, command, before, tools=TOOLS):
    """Each command in turns, `before` each what makes its place ready. Prints medians."""
    found = {tool: [] for tool in tools if shutil.which(tool)}
    for _ in range(rounds):
        for tool in random.sample(list(found), len(found)):
            before(tool)
            os.sync()
            try:
                found[tool].append(measured(command(tool)))
            except RuntimeError as error:
                print(f"# {label}: {error}", file=sys.stderr)
                del found[tool]
    cells = []
    for tool in TOOLS:
        if not found.get(tool):
            cells.append("-")
            continue
        took, cpu, memory = (statistics.median(numbers) for numbers in zip(*found[tool]))
        most = f"{memory:.0f}" if memory > FLOOR + 1 else f"≤ {FLOOR:.0f}"
        cells.append(f"{took:.2f} s, {cpu:.2f} s, {most} MiB")
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


def pulled_before(name):
    def before(tool):
        new_store(tool)
        measured(pull(tool, name, again=False))
    return before


def pushed_before(image, name):
    def before(tool):
        forget_pushes(tool)
        measured(push(tool, image, name, "gzip"))
    return before


def make_image(name, layers, tree):
    """An image of so many layers; `tree(number)` fills a directory for each."""
    previous = "scratch"
    for number in range(layers):
        directory = f"{HOME}/layer"
        os.makedirs(directory)
        tree(directory)
        container = coracle("from", previous)
        coracle("copy", "-q", container, directory, f"/layer{number}")
        coracle("commit", "-q", "--rm", container, name)
        shutil.rmtree(directory)
        previous = name


def large_tree(files, size):
    """A filler with programs, libraries and small files of this machine: what compresses as images do."""
    def fill(directory):
        left = size
        for number in itertools.count():
            path = next(files)
            left -= os.path.getsize(path)
            if left < 0:
                return
            os.makedirs(f"{directory}/{number // 100}", exist_ok=True)
            shutil.copyfile(path, f"{directory}/{number // 100}/{number}")
    return fill


def small_tree(directory):
    for number in range(20):
        with open(f"{directory}/{number}", "wb") as file:
            file.write(os.urandom(1000) + b"text that repeats itself, line by line\n" * 50)


def files_of_this_machine():
    """Regular files below /usr, mixed, again and again."""
    paths = [os.path.join(parent, file) for parent, _, files in os.walk("/usr") for file in files]
    usable = [path for path in paths if not os.path.islink(path) and os.access(path, os.R_OK) and 100 < os.path.getsize(path) < 1 << 24]
    usable.sort()
    random.Random(1).shuffle(usable)
    return itertools.cycle(usable)


def main():
    versions = [subprocess.run([tool, "--version"], capture_output=True, text=True).stdout.strip() for tool in TOOLS if shutil.which(tool)]
    print(f"\n{'; '.join(versions)}; {os.cpu_count()} cores, Linux {os.uname().release}", flush=True)
    make_image("large", 5, large_tree(files_of_this_machine(), 100 << 20))
    make_image("many", 60, small_tree)
    make_image("single", 1, large_tree(files_of_this_machine(), 500 << 20))
    print(f"\n### a registry on this machine: seconds, seconds of CPU, memory\n\n| work | {' | '.join(TOOLS)} |\n|---|---|---|---|---|", flush=True)
    names = {"gzip": registry.name("large"), "zstd": registry.name("large-zstd")}
    for kind, name in names.items():
        row(f"push 500 MB, 5 layers, {kind}", 2, lambda tool: push(tool, "large", name, kind), forget_pushes)
    many = registry.name("many")
    single = registry.name("single")
    # One layer that is streamed by one tool alone: what it takes of memory.
    row("push 500 MB, 1 layer, gzip", 1, lambda tool: push(tool, "single", single, "gzip"), forget_pushes, TOOLS[:1])
    row("push 60 small layers", 3, lambda tool: push(tool, "many", many, "gzip"), forget_pushes)
    row("push it again", 3, lambda tool: push(tool, "many", many, "gzip"), pushed_before("many", many))
    row("push 500 MB again", 2, lambda tool: push(tool, "large", names["gzip"], "gzip"), pushed_before("large", names["gzip"]))
    for kind, name in names.items():
        measured(push("coracle", "large", name, kind))
    measured(push("coracle", "many", many, "gzip"))
    measured(push("coracle", "single", single, "gzip"))
    for kind, name in names.items():
        row(f"pull 500 MB, 5 layers, {kind}", 2, lambda tool: pull(tool, name, again=False), new_store)
    row("pull 500 MB, 1 layer, gzip", 1, lambda tool: pull(tool, single, again=False), new_store, TOOLS[:1])
    row("pull 60 small layers", 3, lambda tool: pull(tool, many, again=False), new_store)
    row("pull 60 layers that are there", 3, lambda tool: pull(tool, many, again=True), pulled_before(many))


try:
    registry.start()
    main()
finally:
    registry.stop()
    if shutil.which("podman"):
        # Ends the process that podman leaves behind.
        subprocess.run(["podman", *STORE, "system", "migrate"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    forget(*itertools.chain(ROOTS, *PULLED))
