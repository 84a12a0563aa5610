"""Progress: what a fetch reports, and how people hear of it.

The doit that runs a download draws its bar (``utils/events.py``); a program that was started by hand writes lines.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import Literal, Protocol, TextIO

from utils import events
from utils.terminal import format_size

__all__ = ["Event", "Report", "Terminal"]

_LARGE_BYTES = 1_000_000  # smaller files get no line at their start


@dataclass(frozen=True)
class Event:
    """One step of a fetch: ``say`` carries a sentence, the others the file and where it comes from.

    ``plan`` comes first: ``count`` files, of ``total`` bytes together. ``name`` is for people; ``key``, the source's
    own, tells two files of one name apart.
    """

    kind: Literal["plan", "start", "bytes", "done", "failed", "say"]
    name: str = ""
    have: int = 0  # bytes so far
    total: int | None = None  # bytes
    text: str = ""
    key: str = ""
    count: int = 0  # files


class Report(Protocol):
    """Whatever is told about progress; it is called from several threads (``list.append`` will do)."""

    def __call__(self, event: Event, /) -> object:
        """Take note of one event."""


class Terminal:
    """Progress for people: to the doit that draws, or else lines on a stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to ``stream``; None: to doit, or to stderr where no doit listens."""
        self._stream = stream
        self._have: dict[str, int] = {}  # bytes of each file
        self._plan = Event("plan")
        self._done = 0  # files
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            if self._stream is None and events.has_listener():
                self._send(event)
            else:
                self._print(event)

    def _send(self, event: Event) -> None:
        if event.kind == "plan":
            self._plan = event
        elif event.kind == "say":
            events.send(events.Event("note", event.text))
        else:
            self._done += event.kind == "done"
            self._have[event.key] = event.have if event.kind != "failed" else 0
            if event.kind == "done":
                events.send(events.Event("say", _fetched(event)))
        if event.kind != "say":
            have, total = sum(self._have.values()), self._plan.total
            of = "" if total is None else f" of {format_size(total)}"
            text = f"{self._done} of {self._plan.count} files, {format_size(have)}{of}"
            events.send_progress(have if total else self._done, total or self._plan.count, text)

    def _print(self, event: Event) -> None:
        stream = self._stream or sys.stderr
        if event.kind == "say":
            print(event.text, file=stream, flush=True)
        elif event.kind == "done":
            print(_fetched(event), file=stream, flush=True)
        elif event.kind == "start" and (event.total is None or event.total >= _LARGE_BYTES):
            resumed = f", going on after {format_size(event.have)}" if event.have else ""
            text = f"fetching {event.name} {format_size(event.total)} from {event.text}{resumed}"
            print(text, file=stream, flush=True)


def _fetched(event: Event) -> str:
    return f"fetched {event.name} {format_size(event.have)} from {event.text}"
