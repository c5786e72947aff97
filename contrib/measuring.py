"""One command, from its start to its end as a parent process sees it: what all benchmarks here measure with."""

import os
import tempfile
import time
from typing import NamedTuple


class Cost(NamedTuple):
    """What a command took. CPU and memory are those of the process and of all children that it waited for."""

    seconds: float
    cpu_seconds: float
    # Of the largest of them.
    mebibytes: float


def store_flags(root, run_root):
    """The words that every tool takes for a store of its own."""
    return ["--root", root, "--runroot", run_root, "--storage-driver", "overlay"]


def measured(argv):
    """The cost of one command, which must succeed. posix_spawn, since subprocess itself takes more than a fast verb does."""
    with tempfile.TemporaryFile() as errors:
        null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)]
        start = time.perf_counter()
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[*null, (os.POSIX_SPAWN_DUP2, errors.fileno(), 2)])
        _, status, usage = os.wait4(pid, 0)
        took = time.perf_counter() - start
        if status:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(argv)}: {errors.read().decode().strip()}")
    return Cost(took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
