"""The terminal: a line for each running step on a tty, whole lines above them, and plain lines elsewhere.

One object of one process draws. Steps are processes of their own and send it events (``utils/events.py``), so no two
lines mix. Without a tty, or with ``TERM=dumb``, nothing is drawn: each line is written once, with no carriage return.
``NO_COLOR`` takes the colours away.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from utils.untrusted import as_lines

__all__ = ["Row", "Screen", "bar", "format_duration", "format_size"]

#: How often the rows are drawn: twice a second costs less than 1 % of a core.
_FRAMES_PER_S = 2

_BAR_CELLS = 12


@dataclass
class Row:
    """One running step.

    Attributes:
        name: of the step.
        expected_s: how long it took before; 0 where that is unknown.
        text: what it said last.
        share: how much of it is done, 0 to 1; None where only its time tells.
        begun_s: when it began, by ``time.monotonic``.
    """

    name: str
    expected_s: float = 0.0
    text: str = ""
    share: float | None = None
    begun_s: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.begun_s

    @property
    def done(self) -> float | None:
        """The part that is done, by what it says or by its time; None where neither is known."""
        if self.share is not None:
            return min(max(self.share, 0.0), 1.0)
        return min(self.elapsed_s / self.expected_s, 0.99) if self.expected_s else None


class Screen:
    """Where doit writes; threads may call it.

    Args:
        out: for results.
        err: for errors.
        verbosity: 0: errors and the last lines; 1: also a line a step; 2: also what steps say.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None, verbosity: int = 1) -> None:
        self.out, self.err, self.verbosity = out or sys.stdout, err or sys.stderr, verbosity
        self.is_live = _can_draw(self.out) and verbosity > 0
        self.footer: Callable[[], str] = str  # the line below the rows; empty: none
        self._rows: dict[str, Row] = {}
        self._lock = threading.RLock()
        self._live: Any = None
        self._console: Any = None

    def begin(self, row: Row) -> None:
        """Show a step that begins."""
        with self._lock:
            self._rows[row.name] = row
            if self.is_live and self._live is None:
                self._start()

    def end(self, name: str) -> Row | None:
        """Show a step no longer; its row, if it had one."""
        with self._lock:
            return self._rows.pop(name, None)

    @property
    def rows(self) -> list[Row]:
        """The running steps; takes no lock: who draws holds rich's, and who writes waits for rich with ours."""
        return list(self._rows.values())

    def progress(self, name: str, share: float | None, text: str) -> None:
        """Show how far a step is."""
        if row := self._rows.get(name):
            row.share = row.share if share is None else share
            row.text = text or row.text

    def write(self, text: str, *, fits: bool = False) -> None:
        """Write lines above the rows; on a tty, one that should ``fit`` is cut at the terminal's width."""
        self._write(self.out, text, fits=fits)

    def write_error(self, text: str) -> None:
        """Write lines where errors go."""
        self._write(self.err, text, fits=False)

    def close(self) -> None:
        """Draw no more; what was written stays."""
        with self._lock:
            if self._live is not None:
                self._rows.clear()
                self.footer = str
                self._live.stop()
                self._live = None

    def _write(self, stream: TextIO, text: str, *, fits: bool) -> None:
        text = text.removesuffix("\n")
        with self._lock:
            drawn = self._live is not None and stream.isatty()
            if drawn or (fits and self.is_live):
                from rich.text import Text

                shown = Text(as_lines(text.expandtabs()))
                if fits:
                    shown.truncate(self._make_console().width, overflow="ellipsis")
                self._make_console().print(shown, soft_wrap=True)
            else:
                stream.write(f"{text}\n")
                stream.flush()

    def _make_console(self) -> Any:
        if self._console is None:
            from rich.console import Console

            # An exported COLUMNS may be of another terminal: this one is asked, each time.
            own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
            self._console = Console(file=self.out, highlight=False, markup=False, emoji=False, _environ=own)
        return self._console

    def _start(self) -> None:
        from rich.live import Live

        self._live = Live(
            console=self._make_console(),
            get_renderable=self._draw,
            refresh_per_second=_FRAMES_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        self._console.show_cursor(True)  # a killed doit leaves it as it is

    def _draw(self) -> Any:
        from rich.text import Text

        width = self._console.width
        lines = [_draw_row(row, width, self._plain_bar) for row in self.rows]
        if footer := self.footer():
            lines.append(Text(footer, style="bold"))
        for line in lines:
            line.truncate(width - 1, overflow="ellipsis")  # in its last column a terminal may wrap
            line.no_wrap = True
        return Text("\n").join(lines)

    @property
    def _plain_bar(self) -> bool:
        return not (self.out.encoding or "").lower().startswith("utf")


def _can_draw(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "dumb").lower() not in ("", "dumb", "unknown")


def _draw_row(row: Row, width: int, plain: bool) -> Any:
    from rich.text import Text

    expected = f" / {format_duration(row.expected_s)}" if row.expected_s else ""
    percent = "     " if row.done is None else f"{100 * row.done:3.0f} %"
    name = row.name if width >= 100 else row.name[:26]
    line = Text(f"{name:<24} ")
    line.append(bar(row.done, _BAR_CELLS, plain=plain), style="cyan")
    line.append(f" {percent}  {format_duration(row.elapsed_s) + expected:<13} ")
    return line.append(as_lines(row.text.replace("\n", " ")), style="dim")


def bar(done: float | None, cells: int, *, plain: bool) -> str:
    """A bar of so many characters; an empty one where nobody knows how much is done."""
    full = 0 if done is None else round(done * cells)
    return ("#" if plain else "━") * full + ("-" if plain else "╌") * (cells - full)


def format_duration(seconds: float) -> str:
    """Seconds as a clock shows them: ``0:07``, ``12:05``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_size(size: float | None) -> str:
    """Bytes as people read them."""
    if size is None:
        return "of unknown size"
    for unit, name in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} B"
