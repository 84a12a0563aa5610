"""Progress: what a fetch reports, and how a terminal shows it."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TextIO

__all__ = ["Event", "Report", "Terminal", "format_size"]

_LARGE_BYTES = 1_000_000  # without a tty, smaller files get no line at their start


@dataclass(frozen=True)
class Event:
    """One step of a fetch: ``say`` carries a sentence, the others the file and where it comes from.

    ``name`` is for people; ``key``, the source's own, tells two files of one name apart.
    """

    kind: Literal["start", "bytes", "done", "failed", "say"]
    name: str
    have: int = 0  # bytes so far
    total: int | None = None  # bytes
    text: str = ""
    key: str = ""


class Report(Protocol):
    """Whatever is told about progress; it is called from several threads (``list.append`` will do)."""

    def __call__(self, event: Event, /) -> object:
        """Take note of one event."""


class Terminal:
    """Progress for a person: a bar for each running file on a tty, plain lines elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to ``stream`` (stderr if None)."""
        self._stream = stream or sys.stderr
        self._bars: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            tty = self._stream.isatty()
            if tty:
                self._draw_bar(event)
            if event.kind == "say":
                self._write_line(event.text)
            elif event.kind == "done":
                self._write_line(f"fetched {event.name} {format_size(event.have)} from {event.text}")
            elif event.kind == "start" and not tty and (event.total is None or event.total >= _LARGE_BYTES):
                resumed = f", going on after {format_size(event.have)}" if event.have else ""
                self._write_line(f"fetching {event.name} {format_size(event.total)} from {event.text}{resumed}")

    def _draw_bar(self, event: Event) -> None:
        from tqdm import tqdm

        if event.kind in ("done", "failed"):
            if bar := self._bars.pop(event.key, None):
                bar.close()
        elif event.kind == "bytes":
            if event.key not in self._bars:
                shape: dict[str, Any] = {"unit": "B", "unit_scale": True, "leave": False}
                self._bars[event.key] = tqdm(total=event.total, desc=event.name, file=self._stream, **shape)
            self._bars[event.key].update(event.have - self._bars[event.key].n)

    def _write_line(self, text: str) -> None:
        if self._bars:
            from tqdm import tqdm

            tqdm.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)


def format_size(size: int | None) -> str:
    """Return a size in bytes as a person reads it."""
    if size is None:
        return "of unknown size"
    for unit, name in ((1_000_000, "MB"), (1000, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
