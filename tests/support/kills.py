"""Kills a piece of work at every moment at which it asks the system for something."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

__all__ = ["at_every_moment", "fork", "killed_at"]

#: Beginnings of audit events that stand for system calls on files: https://docs.python.org/3/library/audit_events.html
_ASKS = ("open", "os.", "shutil.", "fcntl.", "ctypes.", "pathlib.", "tempfile.")


def fork(work: Callable[[], object]) -> int:
    """Do ``work`` in another process; its pid. It ends with 0, or with 1 if the work fails."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:
        sys.__stderr__.write(f"{type(error).__name__}: {error}\n")  # type: ignore[union-attr]
    finally:
        os._exit(code)


def killed_at(moment: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in another process that is killed at its ``moment``-th request; False if it was done before."""

    def counted() -> None:
        seen = 0

        def count(event: str, _arguments: object) -> None:
            nonlocal seen
            if event.startswith(_ASKS):
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        work()

    _, status = os.waitpid(fork(counted), 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def at_every_moment(prepare: Callable[[], object], work: Callable[[], object], *, step: int = 1) -> Iterator[int]:
    """Kill ``work`` at one moment after the other, each after ``prepare``; ends when a run was done before its kill."""
    moment = 1
    while True:
        prepare()
        if not killed_at(moment, work):
            return
        yield moment
        moment += step
