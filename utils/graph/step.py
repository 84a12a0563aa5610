"""One step of one model: what it reads, writes and depends on, and whether it is current."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from utils import environment, paths
from utils.errors import ZooError
from utils.graph import record
from utils.graph.code import code_digest, code_files
from utils.graph.folder import Folder
from utils.model.own_weights import OwnWeights
from utils.npu import vela
from utils.recipe.schema import Recipe
from utils.sources.cache import cached
from utils.sources.source import Source

__all__ = ["Step", "Work"]


@dataclass(frozen=True, repr=False)
class Step:
    """One step of one model.

    Attributes:
        model: name of the model.
        name: ``download``, ``train`` or ``load``, a variant, ``evaluate``, ``validate`` or ``card``; or ``vela-`` and a
            BSP.
        module: the program: ``python -m <module> <model> <name>``.
        doc: one line for people.
        reads: files that other steps wrote, and the lock.
        code: modules of ours whose reachable code decides what it writes: the program, and a recipe's own code.
        writes: files it leaves behind.
        facts: the part of the recipe it depends on.
        fetches: sources that it leaves in the cache.
        own: the user's weights, in the place of the published ones.
        folder: what it writes appears as a whole in this folder.
        compiler: the version of the Vela that it runs; empty: it runs none.
        copies: files that it copies where they are there, and that go when it is cleaned: a folder and a pattern.
        warm: it computes with TensorFlow, which takes seconds to import: it is forked from a parent that has.
    """

    model: str
    name: str
    module: str
    doc: str
    reads: tuple[Path, ...]
    code: tuple[Path, ...]
    writes: tuple[Path, ...]
    facts: dict[str, Any]
    fetches: tuple[Source, ...] = ()
    own: OwnWeights | None = None
    folder: Folder | None = None
    compiler: str = ""
    copies: tuple[Path, str] | None = None
    warm: bool = False

    def __repr__(self) -> str:
        return f"{self.model}:{self.name}"

    @property
    def command(self) -> list[str]:
        """How to run it, in a process of its own."""
        return [sys.executable, "-m", self.module, self.model, self.name]

    @property
    def config(self) -> dict[str, Any]:
        """What it depends on beside files."""
        pins = {"set": environment.PINS, "kept out": environment.STRAY}
        return {"step": self.name, "model": self.model, "recipe": self.facts, "pins": pins}

    @cached_property
    def record(self) -> Path:
        """Where its record is kept."""
        return paths.work(self.model) / "records" / f"{self.name}.json"

    @property
    def message(self) -> Path:
        """Where it leaves the message with which it failed."""
        return self.record.with_suffix(".error")

    @property
    def log(self) -> Path:
        """What libraries said while it ran."""
        return self.record.with_suffix(".log")

    def key(self) -> str:
        """One hash over everything that its result depends on."""
        return record.key_of(self.config | {"code": self.code_digests()}, self.reads)

    def code_digests(self) -> list[str]:
        """The digests of its code, in the order of ``code``."""
        return [code_digest(module) for module in self.code]

    def code_changed_since(self, time_ns: int) -> bool:
        """Whether a file of its code is newer than that; one from the future tells nothing."""
        stats = (file.stat() for module in self.code for file in code_files(module))
        # A copy that keeps the time of its original is changed now, too.
        return any(time_ns < max(stat.st_mtime_ns, stat.st_ctime_ns) < time.time_ns() for stat in stats)

    def is_current(self) -> bool:
        """Whether it ran with exactly these inputs and left what is there now."""
        try:
            return self._is_cached() and record.is_current(self.record, self.key(), self.writes)
        except (OSError, ZooError):  # a step before it has not run, or something cannot be read: it will say so
            return False

    def made_from(self) -> tuple[str, ...] | None:
        """The sha256 of the locks that its environments were made from.

        None: one of them does not promise identical bytes on this machine.
        """
        locks = [environment.promised_lock(), *([vela.promised_lock(self.compiler)] if self.compiler else [])]
        return tuple(lock for lock in locks if lock) if all(locks) else None

    def origin(self) -> dict[str, str] | None:
        """Where its files come from, if they were restored from a step cache; None: it ran here."""
        return record.load_origin(self.record)

    def clean(self) -> None:
        """Take away what it wrote, its record, and folders that are empty then; the cache of sources stays."""
        copied = list(self.copies[0].glob(self.copies[1])) if self.copies else []
        for file in (self.record, record.origin_file(self.record), *self.writes, *copied):
            file.unlink(missing_ok=True)
        for folder in sorted({file.parent for file in (*self.writes, *copied)}, reverse=True):  # the inner ones first
            with contextlib.suppress(OSError):  # not empty, or not there
                folder.rmdir()

    def _is_cached(self) -> bool:
        kept = self.own is None or self.name != "download" or self.own.is_kept()
        return kept and all(cached(source) is not None for source in self.fetches)


#: A step's work: given the recipe, the step and where to write.
Work = Callable[[Recipe, Step, record.Outputs], None]
