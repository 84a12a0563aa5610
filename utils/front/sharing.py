"""Sharing: the step cache and the cluster of this doit, and the action of a step: restored, or run here or there."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any

from doit.exceptions import TaskError, TaskFailed

from utils import environment
from utils.errors import UsageError, ZooError
from utils.front import stage
from utils.front.action import Program, ProgramFailed
from utils.graph.step import Step
from utils.shared.cluster import Cluster, find_cluster
from utils.shared.settings import Settings, read_settings
from utils.untrusted import as_lines, as_text

__all__ = ["StepProgram", "cluster_has_failed", "is_restored", "prepare_sharing", "require_cluster", "run_step"]

#: Tasks that hand no step to a cluster: parts of one, and those that run none here.
_WITHOUT_STEPS = {
    "worker", "scheduler", "steps:check", "new", "mirror", "refetch", "lock", "verify", "release", "release:check",
    "publish", "catalogue", "completion",
}  # fmt: skip

#: Held while the step cache or the engine is opened: each exists once.
_opening = threading.RLock()


@cache
def _settings() -> Settings:
    return read_settings()


@cache
def _cluster() -> Cluster | None:
    return find_cluster() if os.environ.get("ZOO_STEPS") != "" else None  # empty: what is built, is built here


@cache
def _open_cache() -> Any:
    """The step cache; None: there is none. The caller holds ``_opening``."""
    if not _settings().server:
        return None
    from utils.shared.restore import Cache  # requests and cryptography: not before a step needs them

    def warn(text: str) -> None:
        stage.find_screen().write_error(f"warning: {text}\n")

    return Cache(_settings(), warn)


@cache
def _open_engine() -> Any:
    """The cluster's workers; None: steps run here. The caller holds ``_opening``."""
    cluster = _cluster()
    if cluster is None:
        return None
    from utils.shared.engine import Engine

    return Engine(cluster, _open_cache(), stage.find_screen().write)


def cluster_has_failed() -> bool:
    """Whether the scheduler could not be reached or went away, or no worker took a step."""
    is_open = _open_engine.cache_info().currsize > 0
    return is_open and _open_engine() is not None and bool(_open_engine().has_failed)


def prepare_sharing() -> None:
    """Read the settings, before anything is done.

    Raises:
        UsageError: they are malformed, or contradict each other.
    """
    _settings()
    _cluster()


def require_cluster(names: Collection[str]) -> None:
    """Refuse to build for a cluster that cannot take a step.

    Args:
        names: of the tasks.

    Raises:
        UsageError: there is no step cache to carry files, or this environment does not make the promised bytes.
    """
    cluster = _cluster()
    if cluster is None or (names and _WITHOUT_STEPS.issuperset(names)):
        return
    if not _settings().server:
        hint = "set ZOO_STEPS to a step cache that the workers reach, too; or unset ZOO_ENGINE"
        raise UsageError("a cluster needs a step cache", where=f"ZOO_ENGINE={cluster.address}", hint=hint)
    if not environment.describe()["bit_identical"]:
        hint = "use docker/run on an x86-64 machine with AVX2, or unset ZOO_ENGINE"
        what = "this environment does not promise the bytes that workers make"
        raise UsageError(what, where=f"ZOO_ENGINE={cluster.address}", hint=hint)


class StepProgram(Program):
    """The action of a step: it is restored where the step cache has its result, else run, here or by a worker.

    Attributes:
        restored: whether it was restored.

    Args:
        command: its words.
        plan: gives the step, as it is planned when it is its turn.
        warm: as ``Program`` takes it.
        travels: whether a worker may run it: not where its plan depends on what there is in this checkout.
    """

    def __init__(
        self, command: list[str], plan: Callable[[], Step], *, warm: bool = False, travels: bool = True
    ) -> None:
        super().__init__(command, talks=False, pins=True, warm=warm)
        self._plan, self._travels, self.restored = plan, travels, False

    def execute(self, out: Any = None, err: Any = None) -> TaskFailed | TaskError | None:
        """Restore it or run it; None when it ended well."""
        try:
            with _opening:
                cache, engine = _open_cache(), _open_engine()
            if cache is None:
                return super().execute(out, err)
            step = self._plan()
        except ZooError as error:
            return TaskFailed(str(error))
        screen, name = stage.find_screen(), self.task.name

        def show(done: int, total: int) -> None:
            screen.progress(name, done / total if total else None, "from the step cache")

        found = cache.restore(step, show)
        self.restored = found is not None
        if found is not None:
            signer = f", signed by {found.signer[:16]}" if found.signer else ""
            screen.progress(name, None, f"restored{f' from {found.worker}' if found.worker else ''}{signer}")
            return None
        if engine is not None and self._travels:
            screen.progress(name, None, "on the cluster")
            try:
                answer = engine.run(step)
            except ZooError as error:
                return TaskFailed(str(error))
            if answer is not None:
                return self._end(step, answer)
        failed = super().execute(out, err)
        if failed is None:
            cache.push(step)
        return failed

    def _end(self, step: Step, answer: Any) -> ProgramFailed | None:
        """Take over what a worker says of the step that it ran."""
        if answer.outcome == "done":
            stage.find_screen().progress(self.task.name, None, f"on {as_text(answer.worker)}: {as_text(answer.said)}")
            return None
        said = as_lines(answer.said)
        with contextlib.suppress(OSError):  # for the summary at the end
            step.message.parent.mkdir(parents=True, exist_ok=True)
            step.message.write_text(said, encoding="utf-8", errors="backslashreplace")
        return ProgramFailed(answer.code, f"{self.task.name} failed on {as_text(answer.worker)}:\n{said}")


def run_step(step: Step) -> StepProgram:
    """The action of a step whose plan depends on nothing that other steps leave."""
    return StepProgram(step.command, lambda: step, warm=step.warm)


def is_restored(actions: Iterable[object]) -> bool:
    """Whether no step among a task's actions had to run."""
    steps = [action for action in actions if isinstance(action, StepProgram)]
    return bool(steps) and all(step.restored for step in steps)
