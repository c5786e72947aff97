#!/usr/bin/env python3
"""Times the verbs of coracle and of buildah on one shared store, alternating, and prints a table of medians.

Run by contrib/bench, which prepares the machine. Each row makes its working containers before the clock starts; only the one
command is timed, from its start to its end as a parent process sees it.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOOLS = ("coracle", "buildah")
QUICK = sys.argv[1:] == ["quick"]
HOME = tempfile.mkdtemp(prefix="coracle-bench-", dir="/var/tmp")
STORE = ["--root", f"{HOME}/root", "--runroot", f"{HOME}/run", "--storage-driver", "overlay"]


def run(tool, *words, check=True):
    """One command; its stdout without the final newline."""
    done = subprocess.run([tool, *STORE, *words], capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{tool} {' '.join(words)} failed with {done.returncode}:\n{done.stderr}")
    return done.stdout.strip()


def timed(tool, *words):
    """Milliseconds that one command takes."""
    argv = [tool, *STORE, *words]
    start = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    took = (time.perf_counter() - start) * 1000
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.decode()}")
    return took


class Row:
    """One line of the table: what to prepare (returns the words of the timed command) and what to clean up."""

    def __init__(self, label, prepare, clean=None, rounds=15):
        self.label, self.prepare, self.clean = label, prepare, clean
        self.rounds = max(2, rounds // 4) if QUICK else rounds

    def measure(self):
        """Medians in milliseconds by tool; None where the tool can't do it here."""
        times = {tool: [] for tool in TOOLS}
        broken = set()
        for turn in range(self.rounds + 1):
            for tool in random.sample(TOOLS, len(TOOLS)):
                if tool in broken:
                    continue
                words = self.prepare(tool)
                try:
                    took = timed(tool, *words)
                except RuntimeError as error:
                    print(f"# {self.label}: {error}", file=sys.stderr)
                    broken.add(tool)
                    continue
                if turn:  # the first round only warms the caches
                    times[tool].append(took)
                if self.clean:
                    self.clean(tool)
        return {tool: statistics.median(t) if t and tool not in broken else None for tool, t in times.items()}


state = {}


def container(image="base"):
    """A preparation that makes a fresh working container, removed by `drop`."""
    state["c"] = run("coracle", "from", image)
    return state["c"]


def drop(_tool=None):
    run("coracle", "rm", state.pop("c"), check=False)
    run("coracle", "rmi", "-f", "out", check=False)


def isolation(tool):
    """Debian's runtimes refuse some machines' cgroups; then Buildah is measured with its fastest isolation, chroot."""
    if tool == "coracle":
        return []
    if "isolation" not in state:
        c = run("coracle", "from", "base")
        works = subprocess.run(["buildah", *STORE, "run", "--runtime", "runc", "--network", "host", c, "true"], capture_output=True)
        run("coracle", "rm", c)
        state["isolation"] = ["--runtime", "runc"] if works.returncode == 0 else ["--isolation", "chroot"]
        if works.returncode:
            print("# buildah run: runc refuses this machine's cgroups, measured with --isolation chroot (no pid, ipc or network namespace)", file=sys.stderr)
    return state["isolation"]


def run_row(network):
    def prepare(tool):
        flags = isolation(tool)
        if "chroot" in flags and network != "host":
            raise SystemExit("unreachable")
        return ["run", *flags, "--network", network, container(), "true"]
    return prepare


def with_new(words, image="base"):
    """The words of a command on a fresh container, whose name replaces {}."""
    return lambda _tool: [word.replace("{}", container(image)) if "{}" in word else word for word in words]


def copied(source, words):
    """As with_new, after `source` has been copied into the container."""
    def prepare(_tool):
        c = container()
        run("coracle", "copy", "-q", c, source, "/data")
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


def commit_small(image, rm):
    c = container(image)
    run("coracle", "copy", "-q", c, f"{HOME}/one", "/one")
    return ["commit", "-q", *(["--rm"] if rm else []), c, "out"]


def table(title, rows):
    print(f"\n### {title}\n\n| work | coracle | buildah | ratio |\n|---|---|---|---|", flush=True)
    for row in rows:
        found = row.measure()
        ours, theirs = found["coracle"], found["buildah"]
        cell = lambda ms: "-" if ms is None else f"{ms:.1f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"
        ratio = f"{theirs / ours:.1f} ×" if ours and theirs else "-"
        print(f"| {row.label} | {cell(ours)} | {cell(theirs)} | {ratio} |", flush=True)


def make_base():
    root = f"{HOME}/busybox"
    os.makedirs(f"{root}/bin")
    busybox = shutil.which("busybox") or "/bin/busybox"
    shutil.copy(busybox, f"{root}/bin/busybox")
    for applet in ("sh", "true", "ls", "cat"):
        os.symlink("busybox", f"{root}/bin/{applet}")
    with open(f"{HOME}/one", "w") as file:
        file.write("one small file\n")
    c = run("coracle", "from", "scratch")
    run("coracle", "copy", "-q", c, root, "/")
    run("coracle", "config", "--env", "PATH=/bin", c)
    run("coracle", "commit", "-q", "--rm", c, "base")
    for number in range(4):
        commit_variant(f"other{number}", "base")


def commit_variant(name, base):
    c = run("coracle", "from", base)
    run("coracle", "config", "--label", f"name={name}", c)
    run("coracle", "commit", "-q", "--rm", c, name)


def main():
    print(f"{run('coracle', '--version')}; {run('buildah', '--version')}; {os.cpu_count()} cores, Linux {os.uname().release}")
    make_base()
    rounds = 25
    table("5 images in the store", cheap_rows("base", rounds))
    networks = ["host"] if "chroot" in isolation("buildah") else ["host", "none", "private"]
    table("run true", [Row(f"run true, network {n}", run_row(n), drop, 15) for n in networks])
    for network in {"none", "private"} - set(networks):
        ours = statistics.median(sorted(timed("coracle", "run", "--network", network, container(), "true") + 0 * bool(drop()) for _ in range(15)))
        print(f"| run true, network {network} | {ours:.1f} ms | - (needs a runtime) | - |", flush=True)
    if QUICK:
        return
    many = f"{HOME}/many"
    for directory in range(200):
        os.makedirs(f"{many}/{directory}")
        for number in range(100):
            with open(f"{many}/{directory}/{number}", "wb") as file:
                file.write(os.urandom(9750))
    big = f"{HOME}/big"
    with open(big, "wb") as file:
        for _ in range(1024):
            file.write(os.urandom(1 << 20))
    subprocess.run(["sync"])
    for label, source in (("20,000 files of 195 MB", many), ("one file of 1 GiB", big)):
        table(label, [
            Row("copy", with_new(["copy", "-q", "{}", source, "/data"]), drop, 3),
            Row("commit", copied(source, ["commit", "-q", "{}", "out"]), drop, 3),
            Row("commit --rm", copied(source, ["commit", "-q", "--rm", "{}", "out"]), drop, 3),
        ])
    shutil.rmtree(many)
    os.remove(big)
    for number in range(495):
        commit_variant(f"many{number}", "base")
    table("500 images in the store", cheap_rows("base", 9))
    previous = "base"
    for number in range(119):
        c = run("coracle", "from", previous)
        run("coracle", "copy", "-q", c, f"{HOME}/one", f"/layer{number}")
        run("coracle", "commit", "-q", "--rm", c, f"deep{number}")
        previous = f"deep{number}"
    table("500 images in the store, 120 layers below", cheap_rows(previous, 9))


try:
    main()
finally:
    subprocess.run(["coracle", *STORE, "unshare", "rm", "-rf", f"{HOME}/root", f"{HOME}/run"], stderr=subprocess.DEVNULL)
    shutil.rmtree(HOME, ignore_errors=True)
