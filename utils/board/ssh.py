"""A real board over SSH: OpenSSH's own client on this side, nothing but sshd and Python on the other.

Nothing asks and nothing waits: no password, no unknown host key, a time limit on every connection. One connection
serves all commands; one that drops is made again, and copying goes on where it stopped. ``~/.ssh/config`` holds as
always; ``ZOO_SSH_OPTIONS`` are more words for ssh (``-i KEY``, ``-F FILE``, ``-J JUMP``); ``ZOO_BOARD_FOLDER`` is the
folder on the board (default ``nxp-model-zoo``, in the user's home).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from utils import paths
from utils.board import ARGUMENTS, TIMEOUT_S, Bundle, Outcome, Say, file_name_of, parse_answer
from utils.errors import BoardError, ZooError
from utils.graph import record

__all__ = ["LostError", "Ssh"]

#: Settings that make ssh fail instead of asking or waiting. The first value of an option wins, so these are first.
SETTINGS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ControlMaster=auto",
    "ControlPersist=30",
    "ForwardAgent=no",
    "ClearAllForwardings=yes",
    "LogLevel=ERROR",
)

#: Seconds to wait before each new connection after a lost one: a board may be starting again.
RETRY_DELAYS_S = (1, 2, 5, 10, 20)

#: [USER@]HOST[:PORT]; an IPv6 address in brackets.
TARGET = re.compile(r"(?:([A-Za-z0-9_][\w.$-]*)@)?(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[A-Za-z0-9_][\w.-]*)(?::([0-9]{1,5}))?")

#: What ssh says, what it means, and what to do; {host} and {at} are filled in.
SSH_FAILURES = (
    (
        "IDENTIFICATION HAS CHANGED",
        "the host key is not the one that was known: another board, a board flashed anew, or somebody in between",
        "if the board was flashed: `ssh-keygen -R {known}`, then `ssh {at}` once by hand, comparing the fingerprint",
    ),
    (
        "host key is known|Host key verification failed",
        "the host key is unknown",
        "`ssh {at}` once by hand, and compare the fingerprint with `ssh-keygen -lf` of /etc/ssh/*.pub there",
    ),
    (
        "Could not resolve hostname",
        "no host has this name",
        "write its address, or give it a name in ~/.ssh/config",
    ),
    ("Connection refused", "nothing listens there", "is sshd running on the board, and is the port right (HOST:PORT)?"),
    (
        "timed out|No route to host|Network is unreachable|Host is down",
        "it cannot be reached",
        "is the board on, on this network, and the address right?",
    ),
    (
        "Permission denied|Too many authentication failures",
        "this user and key are not let in; passwords are never asked for",
        "`ssh-copy-id {at}`, or name the key: ZOO_SSH_OPTIONS='-i KEY -o IdentitiesOnly=yes'",
    ),
    (
        "[Bb]ad configuration option|command-line|illegal option|unknown option|usage: ssh|Can't open user config",
        "ssh does not understand its settings",
        "look at ZOO_SSH_OPTIONS and ~/.ssh/config",
    ),
)


class LostError(BoardError):
    """A connection that had been made was lost."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(what, where=where, hint="look at its power and network; the next run goes on from there")


class Ssh:
    """A board that sshd runs on.

    Args:
        target: ``[USER@]HOST[:PORT]``.

    Raises:
        BoardError: the target is no such thing.
    """

    emulated = False
    limit = 0

    def __init__(self, target: str) -> None:
        found = TARGET.fullmatch(target)
        if not found or int(found[3] or 1) not in range(1, 65536):
            raise BoardError(
                f"{target!r} is no target",
                hint="write target=virtual, or target=[USER@]HOST[:PORT]; several with commas",
            )
        user, host, port = found.groups()
        self.target = target
        self._host = host.strip("[]")
        self._words = ["-p", port] if port else []
        self._words += ["-l", user] if user else []
        self._folder = os.environ.get("ZOO_BOARD_FOLDER") or "nxp-model-zoo"
        self._connected = False
        self._socket = ""

    def prepare(self, say: Say) -> None:
        """Look for the client; the board is asked when there is a bundle for it."""
        if not shutil.which("ssh"):
            raise BoardError(
                "there is no ssh on this machine",
                where=self.target,
                hint="apt-get install openssh-client; the image has none: ZOO_DOCKER=0 docker/run doit board ...",
            )

    def measure(self, bundle: Bundle, say: Say) -> Outcome:
        """Copy what the board does not have, run example.py there; as often as it takes when the connection drops.

        Raises:
            BoardError: the board cannot be reached, or lacks something.
        """
        # One at a time: two models at once would measure each other. And a short path: sockets allow 100 characters.
        lock = paths.BUILD / "board" / f"{file_name_of(self.target)}.json"
        waits = lambda: say("waits: another model is on this board")  # noqa: E731  # one line of one use
        with record.locked(lock, waits), tempfile.TemporaryDirectory(prefix="zoo-") as folder:
            self._socket = f"{folder}/%C"
            try:
                for delay_s in RETRY_DELAYS_S:
                    try:
                        return self._attempt(bundle, say)
                    except LostError as error:
                        say(f"{error.what}; again in {delay_s} s")
                        time.sleep(delay_s)
                return self._attempt(bundle, say)
            finally:
                subprocess.run(self._ssh("-O", "exit"), stdin=subprocess.DEVNULL, capture_output=True)

    def _attempt(self, bundle: Bundle, say: Say) -> Outcome:
        folder = f"{self._folder}/{bundle.model}"
        found = self._remote("probe", folder, [json.dumps(bundle.files).encode()])
        missing = [name for name in bundle.files if name not in found["same"]]
        if missing:
            self._copy(bundle, folder, missing, found, say)
        else:
            say(f"nothing to copy: the board has all {len(bundle.files)} files")
        command = shlex.join(["python3", "example.py", *ARGUMENTS])
        done = self._run(f"cd {shlex.quote(found['folder'])} && exec {command}", [], TIMEOUT_S)
        return Outcome(found["bsp"], done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))

    def _copy(self, bundle: Bundle, folder: str, names: list[str], found: dict[str, Any], say: Say) -> None:
        offsets = {name: min(found["parts"].get(bundle.files[name], 0), bundle.size(name)) for name in names}
        need = sum(bundle.size(name) - offsets[name] for name in names)
        if need > found["free"]:
            raise self._full(folder, f"{need / 1e6:.1f} MB are needed, {found['free'] / 1e6:.1f} MB are free")
        kept = sum(offsets.values())
        if kept:
            say(f"goes on where the last connection stopped: {kept / 1e6:.1f} MB are there already")
        begin = time.monotonic()
        answer = self._remote("receive", folder, _stream(bundle, offsets))
        if answer["damaged"]:
            raise LostError(f"{', '.join(answer['damaged'])} arrived damaged", where=self.target)
        say(f"copied {len(names)} of {len(bundle.files)} files, {need / 1e6:.1f} MB, {time.monotonic() - begin:.1f} s")

    def _remote(self, verb: str, folder: str, payload: Iterable[bytes]) -> dict[str, Any]:
        """Run remote.py on the board."""
        program = Path(__file__).with_name("remote.py").read_bytes()
        start = f"import sys;exec(sys.stdin.buffer.read({len(program)}))"
        command = shlex.join(["python3", "-c", start, verb, folder])
        done = self._run(command, _chain(program, payload), TIMEOUT_S)
        if done.returncode == 127:
            raise BoardError(
                "there is no python3 on the board",
                where=self.target,
                hint="install it there: python3-core, python3-numpy",
            )
        if done.returncode:
            complaint = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise BoardError(
                f"Python on the board failed: {' '.join(complaint)}", where=self.target, hint="it needs 3.8 or newer"
            )
        answer = parse_answer(done.stdout.decode(errors="replace"), self.target)
        self._connected = True
        problem, path = answer.get("problem"), answer.get("path", folder)
        if problem in ("ENOSPC", "EDQUOT"):
            raise self._full(path, "the disk is full")
        if problem in ("EROFS", "EACCES", "EPERM", "ENOTDIR", "EEXIST"):
            why = {"EROFS": "is read-only", "EACCES": "may not be written", "EPERM": "may not be written"}
            raise BoardError(
                f"{path} on the board {why.get(problem, 'is no folder')}",
                where=self.target,
                hint="name a folder that this user can write: ZOO_BOARD_FOLDER=/tmp/nxp-model-zoo",
            )
        if problem == "dropped":
            raise LostError("the connection broke off", where=self.target)
        if problem:
            raise BoardError(f"the board cannot keep {path}: {problem}", where=self.target)
        return answer

    def _full(self, path: str, why: str) -> BoardError:
        return BoardError(
            f"the board is full: {path}: {why}",
            where=self.target,
            hint="free some space there, or name another folder: ZOO_BOARD_FOLDER=/run/media/card/nxp-model-zoo",
        )

    def _ssh(self, *words: str) -> list[str]:
        settings = [word for setting in (*SETTINGS, f"ControlPath={self._socket}") for word in ("-o", setting)]
        more = shlex.split(os.environ.get("ZOO_SSH_OPTIONS", ""))
        return ["ssh", "-T", *settings, *self._words, *more, *words, "--", self._host]

    def _run(self, command: str, payload: Iterable[bytes], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Run a command on the board.

        Raises:
            LostError: the connection was there, and is gone.
            BoardError: there never was one, or the command takes too long.
        """
        with subprocess.Popen(
            [*self._ssh(), command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            try:
                for block in payload:
                    process.stdin.write(block)
            except BrokenPipeError:  # its exit code says why
                pass
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise BoardError(
                    f"no answer within {timeout_s} s", where=self.target, hint="log in and look what the board does"
                ) from None
        if process.returncode == 255:
            raise self._explain_failure(err.decode(errors="replace"))
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _explain_failure(self, said: str) -> ZooError:
        """What ssh's complaint means."""
        last = (said.strip().splitlines() or ["ssh ended without a word"])[-1].strip()
        if self._connected:
            return LostError(f"the connection was lost ({last})", where=self.target)
        at = shlex.join([*self._words, self._host])
        known = self._host if "-p" not in self._words else f"'[{self._host}]:{self._words[1]}'"
        for pattern, what, hint in SSH_FAILURES:
            if re.search(pattern, said):
                return BoardError(f"{what} ({last})", where=self.target, hint=hint.format(at=at, known=known))
        return BoardError(f"no connection: {last}", where=self.target, hint=f"try `ssh {at}` by hand")


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _stream(bundle: Bundle, offsets: dict[str, int]) -> Iterator[bytes]:
    """The files as ``remote.py`` takes them in, each from its offset on."""
    for name, offset in offsets.items():
        head = {"name": name, "sha256": bundle.files[name], "offset": offset, "size": bundle.size(name)}
        yield json.dumps(head).encode() + b"\n"
        with (bundle.folder / name).open("rb") as stream:
            stream.seek(offset)
            yield from iter(lambda: stream.read(1 << 16), b"")  # read before the next round
