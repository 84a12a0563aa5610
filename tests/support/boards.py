"""A real sshd on loopback whose board is a folder of this machine, and what doit runs to measure on a board."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkouts import Checkout
from utils.board import Bundle

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")

MODEL = "demo_nearest"


@dataclass(frozen=True)
class Sshd:
    """One sshd, and what a client needs to be let in.

    Attributes:
        folder: its keys and settings.
        port: where it listens, on loopback.
        process: the one that waits for connections.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def target(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def home(self) -> Path:
        """The board's home."""
        return self.folder / "home"

    @property
    def python(self) -> Path:
        """What ``python3`` is on the board; the only program on its PATH."""
        return self.folder / "bin" / "python3"

    @property
    def options(self) -> str:
        """ZOO_SSH_OPTIONS for it."""
        return f"-F /dev/null -i {self.folder}/user -o IdentitiesOnly=yes -o UserKnownHostsFile={self.folder}/known"

    def board(self, script: str) -> None:
        """What the board does with a command, ``$SSH_ORIGINAL_COMMAND``."""
        (self.folder / "board").write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "board").chmod(0o755)

    def is_python(self, script: str) -> None:
        """Let ``python3`` on the board be this shell script."""
        self.python.unlink(missing_ok=True)
        self.python.write_text(f"#!/bin/sh\n{script}\n")
        self.python.chmod(0o755)

    def sessions(self) -> list[int]:
        """The processes that serve connections."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for file in children for pid in file.read_text().split()]


@contextmanager
def start(folder: Path) -> Iterator[Sshd]:
    """An sshd with keys of its own, ended with all its sessions."""
    if SSHD is None:
        pytest.skip("no sshd here: apt-get install openssh-server")
    for name in ("home", "bin"):
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o755)  # whatever the umask: a board's home is its user's
    folder.chmod(0o755)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shutil.copy(folder / "user.pub", folder / "authorized")
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized\nPasswordAuthentication yes\nPermitRootLogin yes\nUseDNS no\n"
        f"ForceCommand {folder}/board\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=log, start_new_session=True)
    sshd = Sshd(folder, port, process)
    sshd.is_python(f'exec {sys.executable} "$@"')
    sshd.board(f'export HOME={sshd.home} PATH={sshd.python.parent}; cd && exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
    try:
        _wait(sshd)
        yield sshd
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(sshd: Sshd) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert sshd.process.poll() is None, (sshd.folder / "log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", sshd.port), timeout=1) as client:
                assert client.recv(4) == b"SSH-"
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail((sshd.folder / "log").read_text())


def measure(
    checkout: Checkout, targets: str, env: dict[str, str], model: str = MODEL
) -> subprocess.CompletedProcess[str]:
    """What doit runs for one model, without doit."""
    return checkout.run(sys.executable, "-m", "utils.board", "run", targets, model, env=env)


#: What stands in for a bundle's example.py: it says what report.json has.
EXAMPLE = "import argparse\nprint(open('report.json').read())\n"


def make_bundle(folder: Path, size: int = 1000) -> Bundle:
    """A bundle whose models are noise, and whose example.py knows its report by heart."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, variant in enumerate(("float32", "int8")):
        (folder / f"{MODEL}_{variant}.tflite").write_bytes(bytes([number]) * size)
    (folder / "example.py").write_text(EXAMPLE)
    (folder / "report.json").write_text(json.dumps(make_report(folder), indent=2))
    return bundle_in(folder)


def bundle_in(folder: Path) -> Bundle:
    """The files of a folder as a bundle."""
    names = sorted(file.name for file in folder.iterdir())
    return Bundle(MODEL, folder, {name: _sha256(folder / name) for name in names})


def make_report(folder: Path) -> dict[str, Any]:
    """What a board says with which all is well."""
    check = {
        "verdict": "PASS", "inputs": 10, "top1_agreement": 1.0, "max_error": 1.0, "mean_error": 0.1, "tolerance": 20.0,
        "unit": "steps",
    }  # fmt: skip
    steady = {"min": 0.1, "median": 0.2, "p90": 0.3, "runs": 20}
    models = [
        {
            "file": file.name, "sha256": _sha256(file), "variant": file.stem.rpartition("_")[2], "delegate": "cpu",
            "first_ms": 1.5, "steady_ms": dict(steady), "check": dict(check),
        }
        for file in sorted(folder.glob("*.tflite"))
    ]  # fmt: skip
    return {
        "format": 1,
        "runtime": {"name": "tflite_runtime", "version": "2.14.0"},
        "delegate": {"name": "cpu", "library": None, "sha256": None, "options": {}, "note": "no NPU"},
        "models": models,
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
