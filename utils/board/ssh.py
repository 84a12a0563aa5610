"""A real board over SSH: OpenSSH's client on this machine, only sshd and Python on the board.

Nothing prompts and nothing blocks: no password, no unknown host key, a time limit on every connection. One connection
serves all commands; a lost one is made again, and copying resumes. ``~/.ssh/config`` applies as usual;
``ZOO_SSH_OPTIONS`` adds options for ssh (``-i KEY``, ``-F FILE``, ``-J JUMP``); ``ZOO_BOARD_FOLDER`` is the folder on
the board (default ``nxp-model-zoo``, in the user's home); ``remote.py`` refuses one that others can change.

A board's output is bounded in size and time (``utils/limits.py``), and escaped when it is shown.
"""

from __future__ import annotations

import contextlib
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
from typing import TypeVar

from pydantic import BaseModel

from utils import limits, paths
from utils.board import ARGUMENTS, Bundle, Outcome, Say, file_name_of
from utils.board.answers import MARK, Probed, Problem, Received, Running, parse_answer
from utils.board.process import run_bounded
from utils.errors import BoardError, ZooError
from utils.graph import record
from utils.untrusted import as_text

__all__ = ["LostError", "Ssh"]

#: Options that make ssh fail instead of prompting or waiting. The first value of an option wins, so these come first.
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

#: Seconds to wait before each new connection after a lost one: a board may be rebooting.
RETRY_DELAYS_S = (1, 2, 5, 10, 20)

#: [USER@]HOST[:PORT]; an IPv6 address in brackets.
TARGET = re.compile(r"(?:([A-Za-z0-9_][\w.$-]*)@)?(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[A-Za-z0-9_][\w.-]*)(?::([0-9]{1,5}))?")

#: What ssh prints, what it means, and what to do; {host} and {at} are filled in.
SSH_FAILURES = (
    (
        "IDENTIFICATION HAS CHANGED",
        "the host key has changed: another board, a newly flashed board, or a man in the middle",
        "if the board was flashed: `ssh-keygen -R {known}`, then run `ssh {at}` once and compare the fingerprint",
    ),
    (
        "host key is known|Host key verification failed",
        "the host key is unknown",
        "run `ssh {at}` once, and compare the fingerprint with `ssh-keygen -lf` of /etc/ssh/*.pub there",
    ),
    (
        "Could not resolve hostname",
        "the host name is unknown",
        "write its address, or give it a name in ~/.ssh/config",
    ),
    (
        "Connection refused",
        "nothing listens on this port",
        "check that sshd runs on the board, and the port (HOST:PORT)",
    ),
    (
        "timed out|No route to host|Network is unreachable|Host is down",
        "it cannot be reached",
        "check the board's power, its network and the address",
    ),
    (
        "Permission denied|Too many authentication failures",
        "the board refused this user and key; passwords are never asked for",
        "run `ssh-copy-id {at}`, or name the key: ZOO_SSH_OPTIONS='-i KEY -o IdentitiesOnly=yes'",
    ),
)

#: The same for its own options, which it reads before it opens its log.
SETTINGS_FAILURE = (
    "[Bb]ad configuration option|command-line|illegal option|unknown option|usage: ssh|Can't open user config",
    "ssh does not understand its options",
    "check ZOO_SSH_OPTIONS and ~/.ssh/config",
)

#: The folder that messages suggest: never one below a world-writable folder.
OWN_FOLDER = "ZOO_BOARD_FOLDER=/var/lib/nxp-model-zoo"

#: Seconds in which the client must close its connection.
CLOSE_TIMEOUT_S = 10

Schema = TypeVar("Schema", bound=BaseModel)


class LostError(BoardError):
    """An established connection was lost."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(what, where=where, hint="check its power and network; the next run resumes")


class Ssh:
    """A board with sshd.

    Args:
        target: ``[USER@]HOST[:PORT]``.

    Raises:
        BoardError: the target is malformed.
    """

    emulated = False
    limit = 0

    def __init__(self, target: str) -> None:
        found = TARGET.fullmatch(target)
        if not found or int(found[3] or 1) not in range(1, 65536):
            raise BoardError(
                f"{target!r} is not a target",
                hint="write target=virtual, or target=[USER@]HOST[:PORT]; separate several with commas",
            )
        user, host, port = found.groups()
        self.target = target
        self._host = host.strip("[]")
        self._words = ["-p", port] if port else []
        self._words += ["-l", user] if user else []
        self._folder = os.environ.get("ZOO_BOARD_FOLDER") or "nxp-model-zoo"
        self._connected = False
        self._place = ""  # on this machine: the socket of the connection, and ssh's log
        self._deadline = 0.0

    def prepare(self, say: Say) -> None:
        """Check that ssh is installed; the board is contacted for the first bundle."""
        if not shutil.which("ssh"):
            raise BoardError(
                "ssh is not installed",
                where=self.target,
                hint="apt-get install openssh-client; in the image: ZOO_DOCKER=0 docker/run doit board ...",
            )

    def measure(self, bundle: Bundle, say: Say) -> Outcome:
        """Copy the missing files and run example.py; starts again when the connection drops.

        Raises:
            BoardError: the board cannot be reached, or lacks something.
        """
        # One at a time: two models would disturb each other's times. A short path: sockets allow 100 characters.
        lock = paths.BUILD / "board" / f"{file_name_of(self.target)}.json"
        waits = lambda: say("waits: another model is on this board")  # noqa: E731  # one line of one use
        with record.locked(lock, waits), tempfile.TemporaryDirectory(prefix="zoo-") as self._place:
            self._deadline = time.monotonic() + limits.BOARD_SESSION_S
            try:
                for delay_s in RETRY_DELAYS_S:
                    try:
                        return self._attempt(bundle, say)
                    except LostError as error:
                        say(f"{error.what}; again in {delay_s} s")
                        time.sleep(delay_s)
                return self._attempt(bundle, say)
            finally:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    subprocess.run(
                        self._ssh("-O", "exit"), stdin=subprocess.DEVNULL, capture_output=True, timeout=CLOSE_TIMEOUT_S
                    )

    def _attempt(self, bundle: Bundle, say: Say) -> Outcome:
        folder = f"{self._folder}/{bundle.model}"
        wanted = [json.dumps(bundle.files).encode()]
        found = self._ask(Probed, "probe", folder, wanted, limits.BOARD_ANSWER_S)
        missing = [name for name in bundle.files if name not in found.same]
        if missing:
            self._copy(bundle, folder, missing, found, say)
        else:
            say(f"nothing to copy: the board has all {len(bundle.files)} files")
        program = "example.py"
        done = self._remote("run", folder, [], limits.BOARD_RUN_S, bundle.files[program], program, *ARGUMENTS)
        out = done.stdout.decode(errors="replace")
        begin = re.search(f"^{re.escape(MARK)}.*$", out, re.MULTILINE)  # login scripts may print before it
        self._parse(Running, begin[0] if begin else out, done, folder)
        rest = out[begin.end() :] if begin else ""
        return Outcome(found.bsp, done.returncode, rest, done.stderr.decode(errors="replace"))

    def _copy(self, bundle: Bundle, folder: str, names: list[str], found: Probed, say: Say) -> None:
        offsets = {name: min(found.parts.get(bundle.files[name], 0), bundle.size(name)) for name in names}
        need = sum(bundle.size(name) - offsets[name] for name in names)
        if need > found.free:
            raise self._full(folder, f"{need / 1e6:.1f} MB needed, {found.free / 1e6:.1f} MB free")
        kept = sum(offsets.values())
        if kept:
            say(f"resumes: {kept / 1e6:.1f} MB are there already")
        begin = time.monotonic()
        timeout_s = limits.BOARD_ANSWER_S + need / limits.BOARD_BYTES_PER_S
        answer = self._ask(Received, "receive", folder, _stream(bundle, offsets), timeout_s)
        if answer.damaged:
            raise LostError(f"{as_text(', '.join(answer.damaged))} arrived damaged", where=self.target)
        say(f"copied {len(names)} of {len(bundle.files)} files, {need / 1e6:.1f} MB, {time.monotonic() - begin:.1f} s")

    def _ask(self, schema: type[Schema], verb: str, folder: str, payload: Iterable[bytes], timeout_s: float) -> Schema:
        """Send a request to remote.py, and return its answer."""
        done = self._remote(verb, folder, payload, timeout_s)
        return self._parse(schema, done.stdout.decode(errors="replace"), done, folder)

    def _remote(
        self, verb: str, folder: str, payload: Iterable[bytes], timeout_s: float, *words: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run remote.py on the board; nothing is imported from its working folder."""
        program = Path(__file__).with_name("remote.py").read_bytes()
        start = f"import sys;sys.path[:]=filter(None,sys.path);exec(sys.stdin.buffer.read({len(program)}))"
        command = shlex.join(["python3", "-c", start, verb, folder, *words])
        return self._run(command, _chain(program, payload), timeout_s)

    def _parse(self, schema: type[Schema], said: str, done: subprocess.CompletedProcess[bytes], folder: str) -> Schema:
        """Find the answer of remote.py in ``said``.

        Raises:
            BoardError: the board has no Python, reported a problem, or something else answered.
        """
        if done.returncode == 127:
            raise BoardError(
                "python3 is not installed on the board",
                where=self.target,
                hint="install it there: python3-core, python3-numpy",
            )
        if done.returncode and MARK not in said:
            complaint = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise BoardError(
                f"Python on the board failed: {as_text(' '.join(complaint))}",
                where=self.target,
                hint="it needs 3.8 or newer",
            )
        answer = parse_answer(schema, said, self.target)
        self._connected = True
        if isinstance(answer, Problem):
            raise self._explain_problem(answer, folder)
        return answer

    def _explain_problem(self, answer: Problem, folder: str) -> BoardError:
        """Turn a problem on the board into an error."""
        problem, path = answer.problem, as_text(answer.path or folder)
        if problem == "unsafe":
            return BoardError(
                f"{path} on the board {as_text(answer.why)}: its content could run as this user",
                where=self.target,
                hint="give it to this user alone (ls -ld, chmod go-w), or name another: " + OWN_FOLDER,
            )
        if problem in ("ENOSPC", "EDQUOT"):
            return self._full(path, "the disk is full")
        if problem in ("EROFS", "EACCES", "EPERM", "ENOTDIR", "EEXIST"):
            why = {"EROFS": "is read-only", "EACCES": "may not be written", "EPERM": "may not be written"}
            return BoardError(
                f"{path} on the board {why.get(problem, 'is not a folder')}",
                where=self.target,
                hint="name a folder that only this user can write: " + OWN_FOLDER,
            )
        if problem == "dropped":
            return LostError("the connection broke", where=self.target)
        return BoardError(
            f"the board cannot store {path}: {as_text(problem)}", where=self.target, hint="log in and check it"
        )

    def _full(self, path: str, why: str) -> BoardError:
        return BoardError(
            f"the board is full: {as_text(path)}: {why}",
            where=self.target,
            hint="free some space there, or name another folder: ZOO_BOARD_FOLDER=/run/media/card/nxp-model-zoo",
        )

    def _ssh(self, *words: str) -> list[str]:
        settings = [word for option in (*SETTINGS, f"ControlPath={self._place}/%C") for word in ("-o", option)]
        more = shlex.split(os.environ.get("ZOO_SSH_OPTIONS", ""))
        # ssh logs to a file: on stderr, a board could fake its messages.
        return ["ssh", "-T", *settings, *self._words, *more, "-E", self._log, *words, "--", self._host]

    @property
    def _log(self) -> str:
        return f"{self._place}/log"

    def _run(self, command: str, payload: Iterable[bytes], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Run a command on the board.

        Raises:
            LostError: the connection was established, and is lost.
            BoardError: it never was, or the command takes too long or prints too much.
        """
        Path(self._log).write_bytes(b"")
        left_s = max(1.0, self._deadline - time.monotonic())
        done = run_bounded([*self._ssh(), command], payload, timeout_s=min(timeout_s, left_s), where=self.target)
        if done.returncode == 255:
            with Path(self._log).open("rb") as log:
                own = log.read(limits.BOARD_TEXT_CHARS)
            raise self._explain_failure(own.decode(errors="replace"), done.stderr.decode(errors="replace"))
        return done

    def _explain_failure(self, own: str, stderr: str) -> ZooError:
        """Explain an error of ssh.

        Args:
            own: ssh's log.
            stderr: output of ssh before it opened the log, and of the board.
        """
        lines = own.strip().splitlines() or stderr.strip().splitlines() or ["ssh ended without a message"]
        last = as_text(lines[-1])
        if self._connected:
            return LostError(f"the connection was lost ({last})", where=self.target)
        at = shlex.join([*self._words, self._host])
        known = self._host if "-p" not in self._words else f"'[{self._host}]:{self._words[1]}'"
        for pattern, what, hint in SSH_FAILURES:
            if re.search(pattern, own):
                return BoardError(f"{what} ({last})", where=self.target, hint=hint.format(at=at, known=known))
        pattern, what, hint = SETTINGS_FAILURE
        if re.search(pattern, f"{own}\n{stderr}"):
            return BoardError(f"{what} ({last})", where=self.target, hint=hint)
        return BoardError(f"no connection: {last}", where=self.target, hint=f"try `ssh {at}`")


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _stream(bundle: Bundle, offsets: dict[str, int]) -> Iterator[bytes]:
    """Send files in the form that ``remote.py`` reads, each from its offset on."""
    for name, offset in offsets.items():
        head = {"name": name, "sha256": bundle.files[name], "offset": offset, "size": bundle.size(name)}
        yield json.dumps(head).encode() + b"\n"
        with (bundle.folder / name).open("rb") as stream:
            stream.seek(offset)
            yield from iter(lambda: stream.read(1 << 16), b"")  # read before the next round
