"""The engine: hands steps to the workers of a cluster, and waits for what becomes of them.

One link (``utils/shared/link.py``) a doit, started with the first step that has to run. The scheduler chooses the
worker. A worker that refuses an order has another checkout: it is told of once, and asked for nothing more.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from utils import environment, limits, paths
from utils.errors import CorruptError, EngineError
from utils.graph.step import Step
from utils.shared.cluster import Cluster, find_engine_folder
from utils.shared.http import ServerError
from utils.shared.inputs import share_inputs
from utils.shared.order import Answer, Order, describe_files, make_order
from utils.shared.restore import Cache
from utils.untrusted import as_text, parse_as

__all__ = ["Engine"]

#: What a worker starts; ``doit worker`` sees to it that this ``python`` and the folder are those of its checkout.
_COMMAND = ("python", "-m", "utils.shared.carry_out")

#: Seconds that the link takes to say that it is connected: it gives up itself before.
_CONNECT_S = 60

#: Refused workers that an error shows in full.
_SHOWN = 5

#: How often a step is tried again whose program a signal has ended, and seconds between: its worker is being stopped.
_TRIES, _PAUSE_S = 3, 1.0


class Engine:
    """A cluster's workers, for one doit; threads may call it.

    Attributes:
        has_failed: whether the scheduler was lost, or no worker took a step.

    Args:
        cluster: where the scheduler is.
        cache: the step cache, through which files go to and fro.
        say: takes a line for the user.
    """

    def __init__(self, cluster: Cluster, cache: Cache, say: Callable[[str], object]) -> None:
        self._cluster, self._cache, self._say = cluster, cache, say
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[str] | None = None
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._refused: dict[str, str] = {}  # worker -> why
        self._stored: set[str] = set()  # sha256 of what the step cache has
        self._lost = ""
        self.has_failed = False

    def run(self, step: Step) -> Answer | None:
        """Have a worker run a step, and take its results.

        Returns:
            What became of it, ``done`` or ``failed``; None: its program has to be started here, for the step is
            current, is not shared (user-supplied weights, reports of boards), or the step cache cannot carry it.

        Raises:
            EngineError: as ``carry_out``.
        """
        if self._stays(step):
            return None
        order = make_order(step)
        try:
            if self._cache.settings.writes and self._cache.store:
                share_inputs(order, self._cache.store, self._stored)
        except (CorruptError, ServerError, OSError) as error:
            self._say(f"{step!r} runs here: its inputs cannot be shared: {error}")
            return None
        try:
            answer = self.carry_out(order)
        except EngineError:
            self.has_failed = True
            raise
        if answer.outcome == "failed":
            return answer
        for note in answer.notes[: limits.SHOWN_LINES]:
            self._say(f"{step!r} {as_text(note)}")
        if answer.outcome == "unshared":
            self._stored.clear()  # the step cache may have lost something
            self._say(f"{step!r} runs here: the worker {as_text(answer.worker, 100)} says: {as_text(answer.said)}")
            return None
        if self._cache.restore(step) is None and not step.is_current():
            self._say(f"{step!r} runs here: its results are not in the step cache")
            return None
        self._stored |= {file.sha256 for file in answer.writes.values()}
        if describe_files(step) != answer.writes:
            what = f"the worker {as_text(answer.worker, 100)} made other files than those in the step cache, which stay"
            self._say(f"warning: {step!r}: {what}")
        return answer

    def _stays(self, step: Step) -> bool:
        if step.own is not None or not self._cache.is_read or self._cache.find_action(step) is None:
            return True
        return step.record.is_file() and step.is_current()

    def carry_out(self, order: Order) -> Answer:
        """Have a worker carry out an order; it waits as long as that takes, also for a worker.

        Returns:
            An answer that is no refusal.

        Raises:
            EngineError: the scheduler is gone, every worker refuses, or none could run the step to its end.
        """
        text, name, ended = order.model_dump_json(), f"{order.model}:{order.step}", 0
        while True:
            with self._lock:
                avoid = sorted(self._refused)
            found = self._ask({"name": name, "command": _COMMAND, "input": text, "avoid": avoid})
            if found["kind"] == "nobody":
                raise self._explain_refusals()
            if found["kind"] == "failed":
                hint = "look at the output of its workers; not enough memory is the usual cause"
                raise EngineError(f"no worker could run it: {as_text(found['why'])}", where=name, hint=hint)
            if found["code"] < 0 and (ended := ended + 1) <= _TRIES:
                time.sleep(_PAUSE_S)
                continue
            answer = _parse(found, name)
            if answer.outcome != "refused":
                return answer
            if answer.worker in avoid:
                what = f"a worker says that it is {as_text(answer.worker, 100)}; the scheduler has another name for it"
                raise EngineError(what, where=name, hint="start workers with `doit worker`")
            self._refuse(answer)

    def _refuse(self, answer: Answer) -> None:
        lines = [as_text(line) for line in answer.differs[: limits.SHOWN_LINES]]
        with self._lock:
            is_new = answer.worker not in self._refused
            self._refused[answer.worker] = "\n    ".join([f"  {as_text(answer.worker, 100)}:", *lines])
        if is_new:
            head = f"the worker {as_text(answer.worker, 100)} has another checkout, and gets no step:"
            self._say("\n  ".join([head, *lines]))

    def _explain_refusals(self) -> EngineError:
        why = [*self._refused.values()]
        more = [f"  and {len(why) - _SHOWN} more"] if len(why) > _SHOWN else []
        what = "\n".join(["every worker has another checkout:", *why[:_SHOWN], *more])
        hint = "check out the same commit there, without changes, and start `doit worker` again"
        return EngineError(what, where=self._cluster.address, hint=hint)

    def _ask(self, words: dict[str, Any]) -> dict[str, Any]:
        """Send a line to the link, and wait for the answer."""
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self._lock:
            link = self._connect()
            number = next(self._numbers)
            self._waiting[number] = answers
            assert link.stdin
            with contextlib.suppress(OSError):  # it has ended: the thread that listens to it says so
                link.stdin.write(json.dumps({"id": number, **words}) + "\n")
                link.stdin.flush()
        found = answers.get()
        if found["kind"] == "lost":
            raise self._explain_loss()
        return found

    def _connect(self) -> subprocess.Popen[str]:
        """The link; started where there is none. The caller holds the lock."""
        if self._lost:
            raise self._explain_loss()
        if self._process is None:
            given = {"address": self._cluster.address, "certificate": self._cluster.certificate}
            command = [str(find_engine_folder() / "bin" / "python"), "-m", "utils.shared.link"]
            process = subprocess.Popen(
                command, cwd=paths.ROOT, env=environment.pinned(), text=True, encoding="utf-8", errors="replace",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert process.stdin
            assert process.stdout
            ready: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
            threading.Thread(target=self._listen, args=(process.stdout, ready), daemon=True).start()
            atexit.register(_end, process)
            with contextlib.suppress(OSError):
                process.stdin.write(json.dumps(given) + "\n")
                process.stdin.flush()
            try:
                first = ready.get(timeout=_CONNECT_S)
            except queue.Empty:
                first = {"kind": "lost", "why": f"no answer within {_CONNECT_S} s"}
            if first["kind"] == "lost":
                self._lost = str(first["why"])
                raise self._explain_loss()
            self._process = process
        return self._process

    def _listen(self, lines: Any, ready: queue.SimpleQueue[dict[str, Any]]) -> None:
        """Hand each answer to the thread that waits for it, until the link ends."""
        for line in lines:
            found = json.loads(line)
            if found["kind"] == "ready":
                ready.put(found)
            elif found["kind"] == "waits":
                self._say(f"{self._cluster.address} has no worker: waiting for one (`doit worker` starts it)")
            elif found["kind"] == "lost":
                self._lost = as_text(found["why"])
                break
            elif (answers := self._waiting.pop(found["id"], None)) is not None:
                answers.put(found)
        self._lost = self._lost or "the program that talks to it ended"
        lost = {"kind": "lost", "why": self._lost}
        ready.put(lost)  # first: who waits for it holds the lock
        with self._lock:
            waiting = [*self._waiting.values()]
        for answers in waiting:
            answers.put(lost)

    def _explain_loss(self) -> EngineError:
        hint = "start it again (`doit scheduler`), or unset ZOO_ENGINE to build here; finished steps are kept"
        return EngineError(f"the scheduler cannot be reached: {self._lost}", where=self._cluster.address, hint=hint)


def _parse(found: dict[str, Any], name: str) -> Answer:
    """The answer of a worker; what it says is untrusted text."""
    if found["code"] != 0 or not found["out"]:
        said = as_text(found["err"].strip().rpartition("\n")[2]) or "it said nothing"
        hint = "start workers with `doit worker`; their output says more"
        raise EngineError(f"a worker ended with exit code {found['code']}: {said}", where=name, hint=hint)
    return parse_as(Answer, found["out"], where=f"the answer to {name}", error=EngineError)


def _end(process: subprocess.Popen[str]) -> None:
    """End the link: it goes with its input."""
    assert process.stdin
    with contextlib.suppress(OSError):  # it has ended, and a line to it is left
        process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
