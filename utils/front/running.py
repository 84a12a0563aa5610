"""Starting the programs of steps: as new processes, or forked from the warm parent (``utils/warm.py``)."""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from typing import Protocol

from utils import environment, events, paths

__all__ = ["Process", "start"]

#: The code of a step whose process was killed together with the one that waited for it.
_KILLED = -9


class Process(Protocol):
    """A program that runs."""

    def poll(self) -> int | None:
        """Its exit code, below 0 the signal that ended it; None while it runs."""

    def wait(self) -> int:
        """Its exit code, when it has ended."""


class _Forked:
    """A step that the warm parent has started; the answer comes through a pipe."""

    def __init__(self, answer: int) -> None:
        self._answer = os.fdopen(answer, "rb", buffering=0)
        self._code: int | None = None

    def poll(self) -> int | None:
        """As ``Process``."""
        if self._code is None and select.select([self._answer], [], [], 0)[0]:
            return self.wait()
        return self._code

    def wait(self) -> int:
        """As ``Process``."""
        if self._code is None:
            with self._answer:
                self._code = int(self._answer.read() or _KILLED)
        return self._code


class _WarmParent:
    """The one of this doit; started when the first step needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, module: str, words: list[str], out: int, err: int, told: int) -> _Forked | None:
        """Let it fork into a step; None where it has ended, or cannot start."""
        heard, answer = os.pipe()
        try:
            with self._lock:
                request = json.dumps({"module": module, "words": words}).encode()
                socket.send_fds(self._connect(), [request], [out, err, told, answer])
        except OSError:
            os.close(heard)
            return None
        finally:
            os.close(answer)
        if os.read(heard, 1) == b"+":  # it waits here while TensorFlow is imported
            return _Forked(heard)
        os.close(heard)
        return None

    def _connect(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "utils.warm", str(theirs.fileno())], cwd=paths.ROOT,
                    env=environment.pinned(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )  # fmt: skip
            atexit.register(self._end)
        return self._control

    def _end(self) -> None:
        assert self._control is not None
        assert self._process is not None
        self._control.close()
        self._process.wait()


_parent = _WarmParent()


def start(command: list[str], env: dict[str, str], out: int, err: int, told: int, *, warm: bool) -> Process:
    """Start a program of ours; it ends with this doit.

    Args:
        command: its words; of a warm one ``[python, "-m", module, *words]``.
        env: its environment; a warm one has the pins.
        out: the descriptor for its stdout.
        err: the same for stderr.
        told: the same for events.
        warm: whether it is forked from a parent that has imported TensorFlow; where that does not work, it is started
            like any other.

    Raises:
        OSError: it cannot be started.
    """
    if warm and sys.platform == "linux":  # elsewhere libraries do not survive a fork
        forked = _parent.start(command[2], command[3:], out, err, told)
        if forked:
            return forked
    env = env | {"ZOO_PARENT": str(os.getpid()), events.PIPE: events.name_pipe(told)}
    return subprocess.Popen(command, cwd=paths.ROOT, env=env, stdout=out, stderr=err, pass_fds=(told,))
