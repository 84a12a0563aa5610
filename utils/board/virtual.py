"""The virtual board: an aarch64 Debian root with tflite-runtime 2.14 and numpy 1.x, run by qemu-user in bubblewrap.

As bare as a board can be: read-only root and bundle, no network, one unprivileged user, no other process. Its memory
is measured, not limited: ``ulimit -v`` counts what qemu reserves and never uses, and qemu hangs when an allocation
fails. The peak of emulator and program together must stay below 512 MB.

``docker/make-board`` makes the root in ``build/board/root``, or in ``ZOO_BOARD_ROOT``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from utils import limits, paths
from utils.board import ARGUMENTS, Bundle, Outcome, Say
from utils.board.answers import Probed, Problem, parse_answer
from utils.errors import BoardError
from utils.untrusted import as_text

__all__ = ["Virtual", "root"]

#: The program that makes the root, and the files that decide its content.
MAKER = paths.DOCKER / "make-board"
LOCK = paths.DOCKER / "requirements-board.txt"

PYTHON = ("/run/qemu", "/usr/bin/python3")


def root() -> Path:
    """The folder of the board's root file system."""
    return Path(os.environ.get("ZOO_BOARD_ROOT") or paths.BUILD / "board" / "root")


class Virtual:
    """The virtual board."""

    target = "virtual"
    emulated = True
    limit = 512 << 20

    def prepare(self, say: Say) -> None:
        """Make the root if it is missing, or older than the files that define it.

        Raises:
            BoardError: a program is not installed, or this user cannot make it.
        """
        packages = {"bwrap": "bubblewrap", "qemu-aarch64-static": "qemu-user-static"}
        if not self._is_made():
            packages["debootstrap"] = "debootstrap"
        missing = [package for program, package in packages.items() if not shutil.which(program)]
        if missing:
            raise BoardError(
                f"{', '.join(missing)} is not installed",
                where=self.target,
                hint=f"apt-get install {' '.join(missing)}; in the image: ZOO_DOCKER=0 docker/run doit board ...",
            )
        if self._is_made():
            return
        if os.geteuid() != 0:
            raise BoardError(
                "only root can make the board's root",
                where=self.target,
                hint=f"run once: sudo docker/make-board {paths.relative(root())}",
            )
        say("makes the aarch64 root: some minutes, 230 MB")
        if subprocess.run([MAKER, root()], stdin=subprocess.DEVNULL).returncode:
            raise BoardError("the root could not be made", where=self.target, hint="see the lines above")

    def _is_made(self) -> bool:
        mark = root() / "etc" / "zoo-board"
        made_of = hashlib.sha256(MAKER.read_bytes() + LOCK.read_bytes()).hexdigest()
        return mark.is_file() and mark.read_text(encoding="ascii").split()[:1] == [made_of]

    def measure(self, bundle: Bundle, say: Say) -> Outcome:
        """Run the bundle's example.py in it; nothing is copied, the bundle is mounted.

        Raises:
            BoardError: the root cannot be entered, or the bundle takes too much memory or time.
        """
        remote = Path(__file__).with_name("remote.py")
        found = self._run(bundle, ["-c", remote.read_text(encoding="utf-8"), "probe", ""], b"{}")
        if found.code:
            complaint = (found.err.strip().splitlines() or [f"exit code {found.code}"])[-1]
            raise BoardError(
                f"the root cannot be entered: {as_text(complaint)}",
                where=self.target,
                hint="run as root, or in Docker with --privileged (it needs user namespaces), or make it again: "
                f"docker/make-board {paths.relative(root())}",
            )
        answer = parse_answer(Probed, found.out, self.target)
        if isinstance(answer, Problem):
            raise BoardError(
                f"the virtual board reports {as_text(answer.problem)}", where=self.target, hint="make it again"
            )
        outcome = self._run(bundle, ["-I", "example.py", *ARGUMENTS, "-n", "1"])  # times of an emulator mean nothing
        say(f"nothing to copy: the bundle is mounted; {outcome.peak / 1e6:.0f} MB of memory at peak")
        if outcome.peak > self.limit:
            raise BoardError(
                f"{outcome.peak >> 20} MB of memory at peak, {self.limit >> 20} MB are allowed",
                where=self.target,
                hint="make the model smaller: small boards cannot run it",
            )
        return Outcome(answer.bsp, outcome.code, outcome.out, outcome.err, outcome.peak)

    def _run(self, bundle: Bundle, words: list[str], stdin: bytes = b"") -> Outcome:
        """Run Python in the root, in the bundle's folder."""
        emulator = shutil.which(f"{PYTHON[0].rpartition('/')[2]}-aarch64-static") or ""
        command = [
            "sh", "-c", f'ulimit -f {limits.BOARD_OUTPUT_BYTES // 512}; exec "$@"', "sh",  # stdout and stderr are files
            "bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
            "--as-pid-1",  # so that the kernel reports its memory
            "--die-with-parent", "--new-session", "--uid", "1000", "--gid", "1000", "--hostname", "virtual",
            "--ro-bind", str(root()), "/", "--ro-bind", "/sys", "/sys", "--proc", "/proc", "--dev", "/dev",
            "--tmpfs", "/tmp", "--tmpfs", "/run", "--ro-bind", emulator, PYTHON[0],  # noqa: S108  # in there
            "--ro-bind", str(bundle.folder), "/run/bundle", "--remount-ro", "/run", "--chdir", "/run/bundle",
            "--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LC_ALL", "C.UTF-8",
            "--", *PYTHON, *words,
        ]  # fmt: skip
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            process = subprocess.Popen(command, stdin=given, stdout=out, stderr=err)
            timer = threading.Timer(limits.BOARD_RUN_S, process.kill)
            timer.start()
            _, status, usage = os.wait4(process.pid, 0)
            timer.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            if process.returncode < 0:
                raise BoardError(
                    f"ended by signal {-process.returncode} (it is killed after {limits.BOARD_RUN_S:.0f} s)",
                    where=self.target,
                    hint="too little memory on this machine, or a model too large to emulate",
                )
            said, complaint = (text.read(limits.BOARD_OUTPUT_BYTES).decode(errors="replace") for text in (out, err))
            return Outcome(None, process.returncode, said, complaint, usage.ru_maxrss << 10)
