"""Runs the areas of the campaign side by side, with as much time for one as for another, and keeps what was found."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaign.case import Outcome

__all__ = ["AREAS", "BAD", "Campaign", "known_areas"]

AREAS = (
    "boards", "releases", "registries", "sources", "models", "core", "structures", "readers", "disks", "kills",
)  # fmt: skip

#: Areas that need what not every machine has.
_NEEDS: dict[str, Callable[[], bool]] = {
    "readers": lambda: importlib.util.find_spec("atheris") is not None,
    "disks": lambda: os.geteuid() == 0 and shutil.which("unshare") is not None,  # for mounts
}
BAD = (Outcome.TRACEBACK, Outcome.HANG, Outcome.WRONG, Outcome.LOST)

#: Between two cases an area may do what takes longest: build a small model to begin with.
PREPARATION_S = 600.0

ROOT = Path(__file__).resolve().parents[2]


def known_areas() -> list[str]:
    """The areas that can be tried on this machine."""
    return [name for name in AREAS if name not in _NEEDS or _NEEDS[name]()]


@dataclass
class Area:
    """One area, its driver and what came of its cases."""

    name: str
    driver: subprocess.Popen[str]
    used_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    busy: bool = False
    broken: bool = False

    def ask(self, word: str) -> dict[str, Any]:
        """Let the driver do one thing; what it answers."""
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        begin = time.monotonic()
        late = threading.Timer(PREPARATION_S, self.driver.kill)
        late.start()
        try:
            self.driver.stdin.write(f"{word}\n")
            self.driver.stdin.flush()
            line = self.driver.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late.cancel()
        self.used_s += time.monotonic() - begin
        if not line:
            gone = {"what": "the area itself", "outcome": Outcome.HANG.value, "said": "its driver ended", "number": -1}
            return gone | {"broken": True}
        answer: dict[str, Any] = json.loads(line)
        return answer


class Campaign:
    """A run of some areas with one seed.

    Args:
        seed: any text; each area's chance comes from it and the area's name.
        areas: which.
        folder: where cases may write.
        findings: the file that gets a line of JSON for each defect.
        cores: cases to run side by side.
    """

    def __init__(self, seed: str, areas: list[str], folder: Path, findings: Path, cores: int) -> None:
        self.seed, self.findings, self.cores = seed, findings, cores
        self.found: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._areas = [Area(name, self._start(name, folder)) for name in areas]

    def _start(self, area: str, folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.campaign.driver", area, self.seed, str(folder)]
        env = {key: value for key, value in os.environ.items() if not key.startswith(("ZOO_", "PYTEST"))}
        return subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, seconds: float) -> None:
        """Try cases until the time is over; what has begun then is finished."""
        end = time.monotonic() + seconds

        def work() -> None:
            while time.monotonic() < end and (area := self._next()):
                answer = area.ask("run")
                self._note(area, answer)
                area.busy = False

        workers = [threading.Thread(target=work) for _ in range(self.cores)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def run_one(self, number: int) -> dict[str, Any]:
        """Try one case of the one area."""
        (area,) = self._areas
        for _ in range(number):
            if area.ask("skip").get("broken"):
                break
        answer = area.ask("run")
        self._note(area, answer)
        return answer

    def close(self) -> None:
        """End the drivers."""
        for area in self._areas:
            with area.driver as driver:  # which closes its pipes
                assert driver.stdin is not None
                try:
                    driver.stdin.close()
                    driver.wait(30)
                except (subprocess.TimeoutExpired, BrokenPipeError):
                    driver.kill()

    def table(self) -> str:
        """A line for each area: how many cases, and what came of them."""
        names = [outcome.value for outcome in Outcome]
        heads = ["area", "tried", "right", "clear errors", "tracebacks", "hangs", "wrong", "lost"]
        rows = [heads]
        for area in self._areas:
            rows.append([area.name, str(area.counts.total()), *(str(area.counts[name]) for name in names)])
        totals = [sum(int(row[column]) for row in rows[1:]) for column in range(1, len(heads))]
        rows.append(["all", *(str(total) for total in totals)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        return "\n".join(
            "  ".join(cell.rjust(width) if column else cell.ljust(width)
                      for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        )  # fmt: skip

    def _next(self) -> Area | None:
        """The area that had the least time and is not at work; None where there are fewer areas than cores."""
        with self._lock:
            free = [area for area in self._areas if not area.broken and not area.busy]
            if not free:
                return None
            area = min(free, key=lambda area: area.used_s)
            area.busy = True
            return area

    def _note(self, area: Area, answer: dict[str, Any]) -> None:
        with self._lock:
            area.counts[answer["outcome"]] += 1
            area.broken = "broken" in answer
            if answer["outcome"] in [outcome.value for outcome in BAD]:
                finding = {"seed": self.seed, "area": area.name, **answer}
                self.found.append(finding)
                self.findings.parent.mkdir(parents=True, exist_ok=True)
                with self.findings.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(finding) + "\n")
