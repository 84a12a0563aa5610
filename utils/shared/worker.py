"""``doit worker`` and ``doit scheduler``: Dask's own programs, with our certificate and in our checkout.

``python -m utils.shared.worker ROLE [--steps=N] [--name=NAME] [--dashboard=HOST:PORT]`` becomes that program. A worker
runs ``carry_out`` for each step; it needs the packages of the zoo, a checkout, and a step cache that it may write.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from utils import environment, paths, program
from utils.errors import UsageError
from utils.lifeline import die_with
from utils.shared import carry_out
from utils.shared.cluster import Cluster, find_cluster, find_engine_folder
from utils.shared.restore import Cache
from utils.shared.settings import read_settings
from utils.untrusted import as_text

__all__ = ["main", "scheduler_words", "worker_words"]

#: Where the scheduler shows what runs, to browsers of its own machine: the page asks for no certificate.
_DASHBOARD = "127.0.0.1:8787"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def main(words: Sequence[str]) -> NoReturn:
    """Become a worker or the scheduler.

    Raises:
        UsageError: no cluster is named, the cache cannot be written, a key or certificate cannot be used, the engine is
            not installed, or a value is wrong.
        BuildError: this environment was made from another lock than the checkout's.
    """
    role, *rest = words
    given = dict(word.removeprefix("--").split("=", 1) for word in rest)
    cluster = find_cluster()
    if cluster is None:
        hint = "ZOO_ENGINE=tls://HOST:PORT ZOO_TLS=FOLDER docker/run doit worker"
        raise UsageError("ZOO_ENGINE names no scheduler", where="environment", hint=hint)
    if role == "worker":
        _require_cache()
        more = worker_words(cluster, given)
    else:
        more = scheduler_words(cluster, given)
    program_of_dask = str(find_engine_folder() / "bin" / "dask")
    sys.stdout.flush()
    os.chdir(paths.ROOT)
    os.execve(program_of_dask, [program_of_dask, role, *more], _environment(given, cluster))  # noqa: S606  # no shell


def worker_words(cluster: Cluster, given: Mapping[str, str]) -> list[str]:
    """What ``dask worker`` is started with.

    One process without a nanny: it computes nothing itself, and a step that needs too much memory is ended by the
    system, not by a rule about the memory of this process.
    """
    steps = given.get("steps") or str(environment.cores())
    if not (steps.isascii() and steps.isdecimal() and 0 < int(steps) <= 1024):
        raise UsageError(f"steps={as_text(steps)}: is no number of steps", where="steps=", hint="steps=2")
    words = [cluster.address, "--no-nanny", "--nthreads", steps, "--name", _name(given), "--memory-limit", "0"]
    # Without its page, Dask still serves counters over plain HTTP: to this machine alone.
    words += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--local-directory", str(paths.BUILD / "dask")]
    words += [] if cluster.tls else ["--host", cluster.host]
    return [*words, *cluster.dask_words]


def scheduler_words(cluster: Cluster, given: Mapping[str, str]) -> list[str]:
    """What ``dask scheduler`` is started with: it listens on the port of ZOO_ENGINE; plain TCP only on loopback."""
    words = ["--protocol", "tls"] if cluster.tls else ["--protocol", "tcp", "--host", cluster.host]
    words += ["--port", str(cluster.port), "--dashboard-address", given.get("dashboard") or _DASHBOARD]
    return [*words, "--no-show", *cluster.dask_words]


def _name(given: Mapping[str, str]) -> str:
    name = given.get("name") or f"{socket.gethostname()}-{os.getpid()}"
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"name={as_text(name)}: has other characters than letters, digits, '.', '_' and '-'", where="name=",
            hint="name=worker-1; each worker has a name of its own",
        )  # fmt: skip
    return name


def _require_cache() -> None:
    """A worker's results reach others through the cache alone; a key that cannot be used would fail every step."""
    found = read_settings()
    if not (found.server and found.writes):
        hint = "set ZOO_STEPS to the step cache, and ZOO_STEPS_WRITE=1"
        raise UsageError("a worker needs a step cache that it may write", where="environment", hint=hint)
    Cache(found, print)
    environment.require_lock()
    if not environment.describe()["bit_identical"]:
        hint = "use docker/run on an x86-64 machine with AVX2"
        raise UsageError("this environment does not promise identical bytes", where=sys.prefix, hint=hint)


def _environment(given: Mapping[str, str], cluster: Cluster) -> dict[str, str]:
    """The environment of Dask, and so of every step: ``python`` is ours, and the parent is the process that it gets."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = environment.pinned() | {"PATH": path, "ZOO_PARENT": str(os.getpid()), carry_out.NAME: _name(given)}
    if cluster.tls:
        env["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] = "true"
    return env


if __name__ == "__main__":
    die_with(os.environ.get("ZOO_PARENT", str(os.getppid())))
    program.prepare()
    try:
        main(sys.argv[1:])
    except Exception as problem:
        program.end(problem, sys.argv[1])
