#!/usr/bin/env python3
"""Builds of the same Dockerfiles by coracle and by buildah, in turns, each on a store of its own, and a table of medians. Where
CORACLE_BENCH_PEER is docker, it is docker build (BuildKit) instead, whose daemon runs already and as root.

Run by contrib/bench, which prepares the machine; words choose tables: steps, stages, big, many. Commands run on the host's network in
both: Buildah's chroot isolation has no other, and the daemon has made none.
"""

import itertools
import os
import subprocess
import sys
import time

from measuring import store_flags
from sidebyside import (HOME, PEER, STORES, TOOLS, Row, busybox_root, forget, isolation, make_busybox, many_small_files, one_big_file, run,
                        settled, table)

for each in TOOLS:
    STORES[each] = store_flags(f"{HOME}/{each}", f"{HOME}/run-{each}")
if PEER == "docker":
    STORES[PEER] = []

COUNTER = itertools.count()
CONTEXT = f"{HOME}/context"


def context(name, dockerfile):
    """A build context of its own."""
    place = f"{CONTEXT}/{name}"
    os.makedirs(place, exist_ok=True)
    with open(f"{place}/Dockerfile", "w") as file:
        file.write(dockerfile)
    return place


def build(tool, place, *flags):
    """The words of a build that is quiet. BuildKit always makes layers, and as many stages at once as it can."""
    if tool == "docker":
        flags = [flag for flag in flags if flag == "--no-cache"]
    return ["build", "-q", *isolation(tool), "--network", "host", "-t", "out", *flags, place]


def drop(tool):
    """Takes away what a build left, its steps included."""
    run(tool, "rmi", "-f", "out", check=False)
    prune = ("builder", "prune", "--all", "--force") if tool == "docker" else ("rmi", "--prune", "--force")
    run(tool, *prune, check=False)


def make_base(tool):
    """The image that all builds begin with."""
    if tool == "docker":
        subprocess.run(["tar", "--owner=0", "--group=0", "-C", busybox_root(), "-cf", f"{HOME}/base.tar", "."], check=True)
        run(tool, "import", "--change", "ENV PATH=/bin", f"{HOME}/base.tar", "base")
    else:
        make_busybox("base", tool)


def trivial():
    return "FROM base\n" + "".join(f"RUN : {step}\n" for step in range(10))


def changing():
    before, after = ("".join(f"RUN : {step}\n" for step in steps) for steps in (range(5), range(5, 9)))
    return f"FROM base\n{before}COPY file /file\n{after}"


def change(place):
    with open(f"{place}/file", "w") as file:
        file.write(f"{next(COUNTER)}\n")


# What a stage's command does where its own time is to count: 200 MiB through SHA-256.
WORK = "dd if=/dev/zero bs=1M count=200 2>/dev/null | sha256sum"


def stages(work):
    """Six stages of some work each, and one that gathers what they made."""
    made = "".join(f"FROM base AS s{number}\n{work(number)}\n" for number in range(6))
    return made + "FROM scratch\n" + "".join(f"COPY --from=s{number} /made /{number}\n" for number in range(6))


def own_time():
    """Milliseconds that the commands of six such stages take without a builder, as many at once as there are cores."""
    begun = time.perf_counter()
    rest = [["busybox", "sh", "-c", WORK.replace("dd ", "busybox dd ").replace("sha256sum", "busybox sha256sum")]] * 6
    running = []
    while rest or running:
        while rest and len(running) < os.cpu_count():
            running.append(subprocess.Popen(rest.pop(), stdout=subprocess.DEVNULL))
        running.pop(0).wait()
    return (time.perf_counter() - begun) * 1000


def step_rows():
    ten, ten_with_file = context("ten", trivial()), context("file", changing())

    def after_a_change(tool):
        change(ten_with_file)
        return build(tool, ten_with_file, "--layers")

    change(ten_with_file)
    yield Row("10 trivial RUN steps", lambda tool: build(tool, ten, "--no-cache"), drop, 5)
    yield Row("the same, each a layer", lambda tool: build(tool, ten, "--no-cache", "--layers"), drop, 5)
    for tool in TOOLS:
        run(tool, *build(tool, ten, "--layers"))
        run(tool, *build(tool, ten_with_file, "--layers"))
    yield Row("the same, all cached", lambda tool: build(tool, ten, "--layers"), None, 15)
    yield Row("10 steps, the file of the 6th changed", after_a_change, None, 5)


def stage_rows():
    """What the builder does in six stages: its own work, and that of commands, which no builder can shorten."""
    copying = context("copying", stages(lambda number: f"COPY data /made/data\nRUN echo {number} > /made/number"))
    os.rename(some_small_files(), f"{copying}/data")
    working = context("working", stages(lambda number: f"RUN : {number}; {WORK} > /made"))
    for label, place in (("6 independent stages, 1,000 files each", copying), ("6 independent stages with long commands", working)):
        yield Row(label, lambda tool, place=place: build(tool, place, "--no-cache", "--jobs", "6"), drop, 5)


def some_small_files():
    """A directory of 1,000 files, 10 MB."""
    some = f"{HOME}/some"
    os.makedirs(some)
    for number in range(1000):
        with open(f"{some}/{number}", "wb") as file:
            file.write(os.urandom(9750))
    return some


def content_rows(label, place):
    """Nothing is removed before the end: where many files were, an ext4 without a journal makes new ones ten times slower for
    minutes."""
    for flag, kind in (("--layers=false", ""), ("--layers", ", a layer each")):
        yield Row(f"COPY of {label}{kind}", settled(lambda tool, flag=flag: build(tool, place, "--no-cache", flag)), None, 3)
    for tool in TOOLS:
        run(tool, *build(tool, place, "--layers"))
    yield Row(f"COPY of {label}, cached", lambda tool: build(tool, place, "--layers"), None, 5)


def big_table():
    big = context("big", COPY)
    os.rename(one_big_file(), f"{big}/data")
    table("build: one file of 1 GiB", content_rows("1 GiB", big))
    os.remove(f"{big}/data")


def many_table():
    many = context("many", COPY)
    os.rename(many_small_files(), f"{many}/data")
    table("build: 20,000 files of 195 MB", content_rows("20,000 files", many))


def stages_table():
    table("build: stages", stage_rows())
    print(f"\nThe long commands alone, {os.cpu_count()} at a time and without a builder, take {own_time() / 1000:.2f} s.")


COPY = "FROM base\nCOPY data /data\n"
# Each with what it measures; the one of many files has the disk as the others have left it, and is best run alone on a fresh file system.
TABLES = {"steps": lambda: table("build: steps", step_rows()), "stages": stages_table, "big": big_table, "many": many_table}


def main():
    print(f"{run('coracle', '--version')}; {run(PEER, '--version')}; {os.cpu_count()} cores, Linux {os.uname().release}")
    if PEER == "docker":
        print("coracle is an unprivileged user's and starts with each build; docker's BuildKit is a daemon of root's that runs already")
    for tool in TOOLS:
        make_base(tool)
    wanted = sys.argv[1:] or TABLES
    for name, measure in TABLES.items():
        if name in wanted:
            measure()


try:
    main()
finally:
    forget(*(f"{HOME}/{name}" for tool in TOOLS for name in (tool, f"run-{tool}") if STORES[tool]))
