"""Timing: where the time of a build goes. ``tests/bench/test_breakdown.py`` asks for it; a build measures nothing.

With ``ZOO_TIMES=FILE`` every program of ours adds a line of JSON to that file when it ends: its name, and of each phase
the seconds and the CPU seconds. A phase inside another one is not counted twice.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FILE", "START", "begin", "phase", "tell"]

#: The variable that names the file; an absolute path.
FILE = "ZOO_TIMES"

#: What every program begins with: its imports, and what it reads before it works.
START = "start"


@dataclass(frozen=True, eq=False)
class _Phase:
    """One that has begun; a generator may end after one that began later."""

    name: str


_spent: dict[str, list[float]] = {}
_open: list[_Phase] = [_Phase(START)]
_last: list[float] = []
_alone: list[bool] = []


def begin(program: str, *, alone: bool = False) -> None:
    """Measure this process from its start on, where that is asked for.

    Args:
        program: what it is called in the file: ``mnist_nearest:train``.
        alone: do not count the programs that it starts: they tell of themselves.
    """
    if not os.environ.get(FILE):
        return
    if alone:
        _alone.append(True)
    ours = os.getpid()

    def leave() -> None:
        if os.getpid() == ours:  # a fork tells of itself
            tell(program)

    atexit.register(leave)


def tell(program: str) -> None:
    """Add the line of this program, as far as it has come."""
    file = os.environ.get(FILE)
    if not file:
        return
    _count()
    line = json.dumps({"program": program, "phases": _spent}) + "\n"
    with contextlib.suppress(OSError), Path(file).open("a", encoding="utf-8") as stream:
        stream.write(line)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Count the time of this block as that of ``name``; also a decorator."""
    _count()
    begun = _Phase(name)
    _open.append(begun)
    try:
        yield
    finally:
        _count()
        _open.remove(begun)


def _count() -> None:
    """Add the time since the last look to the innermost phase."""
    if not os.environ.get(FILE):
        return
    now = [time.monotonic(), time.process_time() + _children_s()]
    if not _last:
        _last[:] = [now[0] - _age_s(), 0.0]
    spent = _spent.setdefault(_open[-1].name, [0.0, 0.0])
    for number, (value, before) in enumerate(zip(now, _last, strict=True)):
        spent[number] += value - before
    _last[:] = now


def _children_s() -> float:
    """CPU seconds of the programs that this one has started and waited for."""
    if _alone:
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _age_s() -> float:
    """Seconds since the process was made, to the kernel's tick; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0.0
    fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    since_boot = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return since_boot - int(fields[19]) / os.sysconf("SC_CLK_TCK")
