"""Outlook: what a build will do, what it has to download, and how long that takes, from the times of earlier runs.

``build/times.json`` has the seconds that each step last took on this machine. It stays when a model is cleaned, and
nothing depends on it: a damaged one is begun anew.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import os
import statistics
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, RootModel

from utils import files, limits, paths
from utils.errors import StorageError, ZooError
from utils.graph.step import Step
from utils.sources import cache
from utils.sources.source import Source
from utils.terminal import format_size
from utils.untrusted import parse_as, read_bounded

__all__ = ["Outlook", "Times", "find_missing", "format_estimate", "is_current", "look_ahead", "remaining_s"]

#: How long it counts that a step was found up to date, in seconds.
_FRESH_S = 30.0

#: When a step was last found up to date, by its name.
_current: dict[str, float] = {}


class _Seconds(RootModel[dict[str, Annotated[float, Field(ge=0, lt=1e7)]]]):
    pass


class Times:
    """How long steps took."""

    def __init__(self) -> None:
        self._file = paths.BUILD / "times.json"
        self._known: dict[str, float] = {}
        with contextlib.suppress(OSError, ZooError):
            text = read_bounded(self._file, limits.JSON_BYTES)
            self._known = parse_as(_Seconds, text, where=str(self._file), error=StorageError).root

    def guess(self, name: str) -> float | None:
        """Seconds that a step will take: as last time, or as the same step of other models; None where none ran."""
        if name in self._known:
            return self._known[name]
        kind = name.partition(":")[2]
        alike = [seconds for other, seconds in self._known.items() if kind and other.partition(":")[2] == kind]
        return statistics.median(alike) if alike else None

    def note(self, name: str, seconds: float) -> None:
        """Remember a step that ended well."""
        self._known[name] = round(seconds, 2)
        with contextlib.suppress(OSError):  # a full disk stops the steps, and they say so
            self._file.parent.mkdir(parents=True, exist_ok=True)
            files.write_whole(self._file, files.dump_json(dict(sorted(self._known.items()))))


@dataclass
class Outlook:
    """What a build will do, as far as it is known before it begins.

    Attributes:
        needs: every step that is asked for, and the steps that it waits for.
        to_run: those that will run, unless what they read comes out as it was.
        models: those of the steps that will run.
        missing: sources that are not in the cache.
    """

    needs: dict[str, set[str]] = field(default_factory=dict)
    to_run: set[str] = field(default_factory=set)
    models: list[str] = field(default_factory=list)
    missing: list[Source] = field(default_factory=list)


def is_current(step: Step) -> bool:
    """Whether a step is up to date; looked up once, where the outlook and then doit ask.

    That it was so for the outlook holds for doit: no step that it reads from was to run, else it was not looked at.
    """
    if time.monotonic() - _current.get(repr(step), -math.inf) < _FRESH_S:
        return True
    found = step.is_current()
    if found:
        _current[repr(step)] = time.monotonic()
    return found


def look_ahead(tasks: Mapping[str, Any], selected: Iterable[str]) -> Outlook:
    """Find out which steps of the selected tasks will run, and what they have to download."""
    outlook, steps = Outlook(), _find_steps(tasks, selected)
    wanted: list[Source] = []
    for name, (found, needed) in steps.items():
        outlook.needs[name] = needed
        if outlook.to_run & needed or not all(map(is_current, found)):
            outlook.to_run.add(name)
            outlook.models += [step.model for step in found if step.model not in outlook.models]
            wanted += [source for step in found for source in step.fetches]
    outlook.missing = find_missing(wanted)
    return outlook


def _find_steps(tasks: Mapping[str, Any], selected: Iterable[str]) -> dict[str, tuple[list[Step], set[str]]]:
    """The steps behind tasks, each with the steps right before it, which stand before it."""
    found: dict[str, tuple[list[Step], set[str]]] = {}
    seen: dict[str, set[str]] = {}  # task -> itself if it has steps, else those that it stands for

    def visit(name: str) -> set[str]:
        if name not in seen:
            seen[name] = set()
            before = set().union(*(visit(other) for other in tasks[name].task_dep))
            steps = (tasks[name].meta or {}).get("steps")
            if steps:
                found[name] = (steps, before)
            seen[name] = {name} if steps else before
        return seen[name]

    for name in selected:
        visit(name)
    return found


def find_missing(sources: Iterable[Source]) -> list[Source]:
    """The sources that are not in the cache, each once."""
    missing: dict[str, Source] = {}
    for source in sources:
        with contextlib.suppress(ZooError):  # a cache that cannot be read: the step says so
            if source.key not in missing and cache.cached(source) is None:
                missing[source.key] = source
    return list(missing.values())


def remaining_s(
    waiting: Mapping[str, Collection[str]], guesses: Mapping[str, float], running: Mapping[str, float], workers: int
) -> float:
    """Seconds until all is done, if each step begins as soon as what it needs is done and a worker is free.

    Args:
        waiting: steps that have not begun, each with the steps that it waits for.
        guesses: seconds of each step.
        running: steps that run, each with the seconds that it has left.
        workers: how many run side by side.
    """
    clock, left = 0.0, dict(waiting)
    ends = [(seconds, name) for name, seconds in running.items()]
    heapq.heapify(ends)
    undone = set(left) | set(running)
    while ends or left:
        ready = [name for name, needed in left.items() if not undone & set(needed)]
        for name in ready[: max(workers - len(ends), 0)]:
            del left[name]
            heapq.heappush(ends, (clock + guesses[name], name))
        if not ends:
            break
        clock, name = heapq.heappop(ends)
        undone.discard(name)
    return clock


def format_estimate(seconds: float) -> str:
    """A guess in words, no finer than it is known."""
    if seconds < 55:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def describe_download(missing: list[Source]) -> str:
    """What has to be downloaded, in words."""
    if not missing:
        return "nothing to download"
    known = [source.size for source in missing if source.size is not None]
    mirror = os.environ.get("ZOO_MIRROR", "")
    here = (
        sum(bool(source.sha256) and Path(mirror, source.sha256 or "").is_file() for source in missing) if mirror else 0
    )
    unknown = len(missing) - len(known)
    text = f"{len(missing):,} file{'s' if len(missing) > 1 else ''} to download, {format_size(sum(known))}"
    text += f" and {unknown} of unknown size" if unknown else ""
    return text + (f" ({here:,} of them are in the mirror)" if here else "")
