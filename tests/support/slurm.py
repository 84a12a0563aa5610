"""A Slurm of one node from Debian's packages, all of it in one folder: nothing of the machine's own is touched."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.checkouts import clean_env
from tests.support.clusters import find_port, wait_until

__all__ = ["Slurm", "running_slurm"]

#: The programs, and the packages that have them.
_PROGRAMS = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}

#: The node need not have what it says it has: nothing of the test depends on how jobs share it.
_CONF = """\
ClusterName=zoo
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={controller}
SlurmdPort={node}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=16000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    """A running Slurm.

    Attributes:
        folder: where all of it is.
    """

    folder: Path

    def run(self, *command: str | Path, cwd: Path | None = None, **env: str) -> str:
        """Run one of Slurm's commands; what it prints."""
        full = {**clean_env(), "SLURM_CONF": str(self.folder / "slurm.conf"), **env}
        done = subprocess.run(command, cwd=cwd, env=full, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        return done.stdout

    def log(self) -> str:
        """What its servers said."""
        return "".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in sorted(self.folder.glob("*.log")))


@contextlib.contextmanager
def running_slurm(folder: Path) -> Iterator[Slurm]:
    """Run Slurm's servers until the block ends; skip where they are not installed."""
    missing = [package for program, package in _PROGRAMS.items() if not _find(program)]
    if missing or os.getuid():
        pytest.skip(f"needs root and apt-get install {' '.join(missing or _PROGRAMS.values())}")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)  # munge refuses a socket that others cannot reach
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    conf = _CONF.format(folder=folder, host=host, controller=find_port(), node=find_port(), cores=os.cpu_count())
    (folder / "slurm.conf").write_text(conf)
    made, servers = Slurm(folder), list[subprocess.Popen[bytes]]()
    env = {**clean_env(), "SLURM_CONF": str(folder / "slurm.conf")}
    # --force: it says that a folder below /tmp is not safe, and this one guards nothing.
    places = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "seed-file": "munge.seed"}
    munged = [_find("munged"), "--foreground", "--force"]
    munged += [f"--{option}={folder / name}" for option, name in {**places, "log-file": "munged.log"}.items()]
    try:
        for command in (munged, [_find("slurmctld"), "-D"], [_find("slurmd"), "-D", "-N", host]):
            with (folder / f"{Path(command[0]).name}.out.log").open("wb") as log:
                servers.append(
                    subprocess.Popen(
                        command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                    )
                )
            time.sleep(0.5)
        wait_until(lambda: "idle" in made.run("sinfo", "-h", "-o", "%T"), why=made.log())
        yield made
    finally:
        with contextlib.suppress(AssertionError):
            made.run("scancel", "--user=root", "--full")
            wait_until(lambda: not made.run("squeue", "-h").strip(), 30)
        for server in reversed(servers):
            server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(20)
            server.kill()
            server.wait()


def _find(program: str) -> str:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or ""
