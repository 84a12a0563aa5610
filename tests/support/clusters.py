"""A cluster on this machine: Dask from its lock, certificates, a scheduler and workers, each in its own checkout."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, Checkout, clean_env
from tests.support.shared import make_once

__all__ = ["Machines", "descendants", "find_port", "is_alive", "machines", "make_engine", "make_tls", "wait_until"]

#: Seconds in which a program of the cluster is ready: Dask is imported, on a busy machine.
READY_S = 60.0


def make_engine(factory: pytest.TempPathFactory) -> Path:
    """The environment of Dask, made once a run as docker/run makes it."""

    def make(folder: Path) -> None:
        words = [ROOT / "docker/make-engine", sys.executable, folder / "uv", folder / "engine"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return make_once(factory, "engine", make) / "engine"


def make_tls(folder: Path, *names: str) -> Path:
    """A CA and a certificate for each name, as docker/cluster/make-tls makes them."""
    done = subprocess.run([ROOT / "docker/cluster/make-tls", folder, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def find_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until(holds: Callable[[], object], seconds: float = READY_S, why: str = "") -> None:
    """Wait until something holds; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, why or "nothing happened"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def descendants(pid: int) -> dict[int, str]:
    """The processes below one, each with its command line."""
    found = {}
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, file.read_text().split()):
                words = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[child] = words
                found |= descendants(child)
    return found


@dataclass
class Machines:
    """The machines of one cluster.

    Attributes:
        folder: where all of it is.
        engine: the environment of Dask.
        cache: variables that lead to the step cache, and may write it.
        tls: the certificates, a folder a machine.
        port: of the scheduler.
        running: what was started, by name; each says what it says in ``<name>.log``.
    """

    folder: Path
    engine: Path
    cache: dict[str, str]
    tls: Path
    port: int = field(default_factory=find_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def env(self, name: str = "coordinator", tls: Path | None = None) -> dict[str, str]:
        """The variables of one machine."""
        folder = (tls or self.tls) / name
        return {"ZOO_ENGINE": f"tls://127.0.0.1:{self.port}", "ZOO_TLS": str(folder), **self.cache}

    def adopt(self, checkout: Checkout) -> Checkout:
        """Give a checkout the environment of Dask."""
        (checkout.root / "build").mkdir(exist_ok=True)
        (checkout.root / "build/engine").symlink_to(self.engine)
        return checkout

    def clone(self, checkout: Checkout, name: str) -> Checkout:
        """A checkout of its own for a machine: what is in another one, but for what was built."""
        root = self.folder / name
        shutil.copytree(checkout.root, root, ignore=shutil.ignore_patterns("build", "artifacts", "__pycache__"))
        return self.adopt(Checkout(root))

    def start(self, name: str, checkout: Checkout, *words: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a program of ours in a checkout, in a session of its own."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=checkout.root,
                env={**clean_env(), **env, "ZOO_PARENT": str(os.getpid())},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.running[name] = process
        return process

    def start_scheduler(self, checkout: Checkout, *words: str) -> subprocess.Popen[bytes]:
        """Start the scheduler, and wait until it listens."""
        words = ("utils.shared.worker", "scheduler", *(words or (f"--dashboard=127.0.0.1:{find_port()}",)))
        process = self.start("scheduler", checkout, *words, env=self.env("scheduler"))
        self.wait_for("scheduler", r"Scheduler at:")
        return process

    def start_worker(self, name: str, checkout: Checkout, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a worker that runs one step at a time, and wait until the scheduler knows it."""
        words = ("utils.shared.worker", "worker", "--steps=1", f"--name={name}")
        process = self.start(name, checkout, *words, env={**self.env("worker"), **(env or {})})
        self.wait_for(name, r"Registered to:")
        return process

    def log(self, name: str) -> str:
        """What a program has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_for(self, name: str, pattern: str) -> None:
        """Wait until a program has said something."""

        def said() -> bool:
            assert self.running[name].poll() is None, self.log(name)
            return re.search(pattern, self.log(name)) is not None

        wait_until(said, why=f"{name} does not say {pattern!r}")

    def end(self, name: str) -> None:
        """Kill a program; what it started has to end by itself."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def machines(folder: Path, engine: Path, cache: dict[str, str], tls: Path) -> Iterator[Machines]:
    """A cluster whose programs end with the block."""
    folder.mkdir(exist_ok=True)
    made = Machines(folder, engine, cache, tls)
    try:
        yield made
    finally:
        for name in [*made.running]:
            made.end(name)
