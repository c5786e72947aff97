#!/usr/bin/env python3
"""Builds of the same Dockerfiles by coracle and by buildah, in turns, each on a store of its own, and a table of medians.

Run by contrib/bench, which prepares the machine. Commands run on the host's network in both: Buildah's chroot isolation has no other.
"""

import itertools
import os

from measuring import store_flags
from sidebyside import HOME, STORES, TOOLS, Row, forget, isolation, make_busybox, many_small_files, one_big_file, run, settled, table

for each in TOOLS:
    STORES[each] = store_flags(f"{HOME}/{each}", f"{HOME}/run-{each}")

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
    """The words of a build that is quiet."""
    return ["build", "-q", *isolation(tool), "--network", "host", "-t", "out", *flags, place]


def drop(tool):
    """Takes away what a build left, its steps included."""
    run(tool, "rmi", "-f", "out", check=False)
    run(tool, "rmi", "--prune", "--force", check=False)


def trivial():
    return "FROM base\n" + "".join(f"RUN : {step}\n" for step in range(10))


def changing():
    before, after = ("".join(f"RUN : {step}\n" for step in steps) for steps in (range(5), range(5, 9)))
    return f"FROM base\n{before}COPY file /file\n{after}"


def change(place):
    with open(f"{place}/file", "w") as file:
        file.write(f"{next(COUNTER)}\n")


def stages():
    """Six stages of some work each, and one that gathers what they made."""
    work = "dd if=/dev/zero bs=1M count=200 2>/dev/null | sha256sum > /made"
    made = "".join(f"FROM base AS s{number}\nRUN : {number}; {work}\n" for number in range(6))
    return made + "FROM scratch\n" + "".join(f"COPY --from=s{number} /made /{number}\n" for number in range(6))


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
    independent = context("stages", stages())
    yield Row("6 independent stages with work", lambda tool: build(tool, independent, "--no-cache", "--jobs", "6"), drop, 3)


def content_rows(label, place):
    for flag, kind in (("--layers=false", ""), ("--layers", ", a layer each")):
        yield Row(f"COPY of {label}{kind}", settled(lambda tool, flag=flag: build(tool, place, "--no-cache", flag)), drop, 3)
    for tool in TOOLS:
        run(tool, *build(tool, place, "--layers"))
    yield Row(f"COPY of {label}, cached", lambda tool: build(tool, place, "--layers"), None, 5)


def main():
    print(f"{run('coracle', '--version')}; {run('buildah', '--version')}; {os.cpu_count()} cores, Linux {os.uname().release}")
    for tool in TOOLS:
        make_busybox("base", tool)
    table("build: steps", step_rows())
    dockerfile = "FROM base\nCOPY data /data\n"
    big = context("big", dockerfile)
    os.rename(one_big_file(), f"{big}/data")
    table("build: one file of 1 GiB", content_rows("1 GiB", big))
    os.remove(f"{big}/data")
    # Last: ext4 creates files ten times slower for minutes after many were deleted.
    many = context("many", dockerfile)
    os.rename(many_small_files(), f"{many}/data")
    table("build: 20,000 files of 195 MB", content_rows("20,000 files", many))


try:
    main()
finally:
    forget(*(f"{HOME}/{name}" for tool in TOOLS for name in (tool, f"run-{tool}")))
