"""What the benchmarks share: a private home with a store, commands on it with and without the clock, and rows of medians."""

import os
import random
import secrets
import shutil
import statistics
import subprocess
import sys

from measuring import measured, store_flags

# Who is measured beside coracle.
PEER = os.environ.get("CORACLE_BENCH_PEER", "buildah")
TOOLS = ("coracle", PEER)
QUICK = sys.argv[1:] == ["quick"]
# A name of hexadecimal digits: Buildah makes image names of paths, and not every path is one.
HOME = f"/var/tmp/coracle-bench-{secrets.token_hex(4)}"
os.mkdir(HOME, 0o700)
STORE = store_flags(f"{HOME}/root", f"{HOME}/run")
# Where a tool works that has a store of its own.
STORES = {}


def store_of(tool):
    """The flags that name the store a tool works on."""
    return STORES.get(tool, STORE)


def run(tool, *words, check=True):
    """One command; its stdout without the final newline."""
    done = subprocess.run([tool, *store_of(tool), *words], capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{tool} {' '.join(words)} failed with {done.returncode}:\n{done.stderr}")
    return done.stdout.strip()


def spawned(argv):
    """Milliseconds from start to end of one process."""
    return measured(argv).seconds * 1000


def timed(tool, *words):
    """Milliseconds that one command takes."""
    return spawned([tool, *store_of(tool), *words])


class Row:
    """One line of the table: what to prepare (returns the words of the timed command), what to clean up, and who can do it here."""

    def __init__(self, label, prepare, clean=None, rounds=15, tools=TOOLS):
        self.label, self.prepare, self.clean, self.tools = label, prepare, clean, tools
        self.rounds = max(2, rounds // 4) if QUICK else rounds
        # The first round only warms the caches; a row of few, long rounds has had that from its preparation.
        self.warming = 1 if rounds > 5 else 0

    def measure(self):
        """Medians in milliseconds by tool; None where the tool can't do it here."""
        times = {tool: [] for tool in TOOLS}
        broken = set(TOOLS) - set(self.tools)
        for turn in range(self.warming + self.rounds):
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
                if turn >= self.warming:
                    times[tool].append(took)
                if self.clean:
                    self.clean(tool)
        return {tool: statistics.median(t) if t and tool not in broken else None for tool, t in times.items()}


def table(title, rows):
    print(f"\n### {title}\n\n| work | coracle | {PEER} | ratio |\n|---|---|---|---|", flush=True)
    for row in rows:
        found = row.measure()
        ours, theirs = (found[tool] for tool in TOOLS)
        cell = lambda ms: "-" if ms is None else f"{ms:.1f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"
        ratio = f"{theirs / ours:.1f} ×" if ours and theirs else "-"
        print(f"| {row.label} | {cell(ours)} | {cell(theirs)} | {ratio} |", flush=True)


def busybox_root():
    """A directory with the machine's busybox and the few names that the benchmarks call it by."""
    root = f"{HOME}/busybox"
    if not os.path.exists(root):
        os.makedirs(f"{root}/bin")
        busybox = shutil.which("busybox") or "/bin/busybox"
        shutil.copy(busybox, f"{root}/bin/busybox")
        for applet in ("sh", "true", "ls", "cat", "dd", "sha256sum"):
            os.symlink("busybox", f"{root}/bin/{applet}")
    return root


def make_busybox(name, tool="coracle"):
    """An image of it."""
    c = run(tool, "from", "scratch")
    run(tool, "copy", "-q", c, busybox_root(), "/")
    run(tool, "config", "--env", "PATH=/bin", c)
    run(tool, "commit", "-q", "--rm", c, name)


def settled(prepare):
    """The preparation, with nothing left to be written to the disk."""
    def prepare_and_sync(tool):
        words = prepare(tool)
        os.sync()
        return words
    return prepare_and_sync


def isolation(tool, state={}):
    """Debian's runtimes refuse some machines' cgroups; then Buildah is measured with its fastest isolation, chroot."""
    if tool != "buildah":
        return []
    if "isolation" not in state:
        c = run("buildah", "from", "base")
        works = subprocess.run(["buildah", *store_of("buildah"), "run", "--runtime", "runc", "--network", "host", c, "true"], capture_output=True)
        run("buildah", "rm", c)
        state["isolation"] = ["--runtime", "runc"] if works.returncode == 0 else ["--isolation", "chroot"]
        if works.returncode:
            print("# buildah run: runc refuses this machine's cgroups, measured with --isolation chroot (no pid, ipc or network namespace)", file=sys.stderr)
    return state["isolation"]


def remove_tree(path):
    """Removes a file, a directory or a store, whose files belong to other ids."""
    if os.path.isdir(path):
        subprocess.run(["coracle", *STORE, "unshare", "rm", "-rf", path], check=True)
    elif os.path.exists(path):
        os.remove(path)


def forget(*stores):
    """The end of a benchmark: stores, whose files belong to other ids, and the home."""
    subprocess.run(["coracle", *STORE, "unshare", "rm", "-rf", *stores], stderr=subprocess.DEVNULL)
    shutil.rmtree(HOME, ignore_errors=True)


def many_small_files():
    """A directory of 20,000 files, 195 MB."""
    many = f"{HOME}/many"
    for directory in range(200):
        os.makedirs(f"{many}/{directory}")
        for number in range(100):
            with open(f"{many}/{directory}/{number}", "wb") as file:
                file.write(os.urandom(9750))
    return many


def one_big_file():
    """A file of 1 GiB that does not compress."""
    big = f"{HOME}/big"
    with open(big, "wb") as file:
        for _ in range(1024):
            file.write(os.urandom(1 << 20))
    return big
