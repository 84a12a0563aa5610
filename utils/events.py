"""Events: what a program that doit started tells doit, which alone draws on the terminal.

The pipe is named by ``ZOO_EVENTS=NUMBER:INODE``; each event is a line of JSON. A program that was started by hand has
no pipe, and prints.
"""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from dataclasses import asdict, dataclass
from typing import Literal, get_args

__all__ = ["PIPE", "Event", "has_listener", "name_pipe", "parse_event", "send", "send_progress"]

#: The variable that names the pipe.
PIPE = "ZOO_EVENTS"

#: Seconds between two reports of progress: people read no faster, and drawing costs time.
_PAUSE_S = 0.25

_lock = threading.Lock()
_last_s = 0.0


Kind = Literal["say", "note", "progress"]


@dataclass(frozen=True)
class Event:
    """One line of the pipe.

    Attributes:
        kind: ``say``: how far it is, for who watches; ``note``: what the user should know; ``progress``.
        text: a sentence, or what the progress is about.
        done: of ``total``, in any unit.
        total: 0 where it is unknown.
    """

    kind: Kind
    text: str = ""
    done: float = 0
    total: float = 0


def name_pipe(descriptor: int) -> str:
    """The value of ``ZOO_EVENTS`` for the write end of a pipe."""
    return f"{descriptor}:{os.fstat(descriptor).st_ino}"


def _find_pipe() -> int | None:
    """The write end; None where there is none, or where the number has become another file's."""
    number, _, inode = os.environ.get(PIPE, "").partition(":")
    if not (number.isdecimal() and inode.isdecimal()):
        return None
    try:
        status = os.fstat(int(number))
    except OSError:
        return None
    return int(number) if stat.S_ISFIFO(status.st_mode) and status.st_ino == int(inode) else None


def has_listener() -> bool:
    """Whether doit started this program and shows what it sends."""
    return _find_pipe() is not None


def send(event: Event) -> bool:
    """Send an event; False where nobody listens. Threads may call it."""
    pipe = _find_pipe()
    if pipe is None:
        return False
    line = json.dumps(asdict(event)).encode() + b"\n"
    try:
        with _lock:
            while line:
                line = line[os.write(pipe, line) :]
    except OSError:  # doit has gone, and this program goes with it
        return False
    return True


def send_progress(done: float, total: float, text: str = "") -> bool:
    """Send how far the program is, at most four times a second; the end is always sent. False where nobody listens."""
    global _last_s  # noqa: PLW0603  # one pipe a process
    if time.monotonic() - _last_s < _PAUSE_S and done != total:
        return has_listener()
    _last_s = time.monotonic()
    return send(Event("progress", text, done, total))


def parse_event(line: bytes) -> Event | None:
    """The event of a line; None where it is none, for example of a program that was killed in the middle."""
    try:
        found = json.loads(line)
        if found["kind"] not in get_args(Kind):
            return None
        return Event(found["kind"], str(found["text"]), float(found["done"]), float(found["total"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
