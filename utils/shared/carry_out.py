"""Carry out an order: what a worker's Dask starts for each step, ``python -m utils.shared.carry_out``, order on stdin.

It is a process of its own in the worker's checkout, and has that checkout's code as it is now. It fetches the step's
inputs, compares the step with the order, runs the very program that doit runs, and puts the results into the cache.
It ends with its worker, and so does the step.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import traceback
from dataclasses import replace
from typing import IO

from utils import environment, events, limits, paths, program
from utils.errors import BuildError, SourceError, ZooError
from utils.graph import plan
from utils.graph.step import Step
from utils.lifeline import die_with
from utils.recipe.load import find_recipe
from utils.recipe.schema import Recipe
from utils.shared.http import ServerError
from utils.shared.inputs import fetch_inputs, require_same_sources
from utils.shared.order import Answer, Order, describe_files, find_differences
from utils.shared.restore import Cache
from utils.shared.settings import read_settings
from utils.untrusted import parse_as

__all__ = ["NAME", "main"]

#: The variable that holds the worker's name.
NAME = "ZOO_WORKER"

#: Seconds in which the pipe of a finished step must close: a child of it may hold it open.
_LINGER_S = 0.5


def main() -> None:
    """Carry out the order on stdin; the answer is one line of JSON on stdout."""
    die_with(os.environ.get("ZOO_PARENT", str(os.getppid())))
    program.prepare()
    worker = os.environ.get(NAME, "a worker without a name")
    try:
        answer = _carry_out(sys.stdin.buffer.read(limits.JSON_BYTES + 1), worker)
    except BaseException as error:
        known = program.as_zoo_error(error)
        if known is None and not isinstance(error, Exception):
            raise
        said = str(known) if known else traceback.format_exc()
        answer = Answer(worker=worker, outcome="failed", code=known.exit_code if known else 1, said=said)
    sys.stdout.write(answer.model_dump_json() + "\n")


class _RefusedError(Exception):
    """The checkout here is another one; its arguments say where."""


class _UnsharedError(Exception):
    """The step cache cannot carry the step's files; its argument says why."""


def _carry_out(text: bytes, worker: str) -> Answer:
    heard = _Heard()
    try:
        order = _parse(text)
        recipe, step = _plan(order)
        # doit's machine has decided that the step is shared; a bundle here need not say what it is made of.
        cache = Cache(replace(read_settings(), own=True), heard.notes.append)
        _fetch(order, recipe, step, cache)
        if not step.is_current() and cache.restore(step) is None:
            code, said = _run(step, heard)
            if code:
                return Answer(worker=worker, outcome="failed", code=code, said=said, notes=heard.notes)
        if cache.push(step) is None and step.origin() is None:
            why = cache.failure or (heard.notes.pop() if heard.notes else "it may not write the step cache")
            raise _UnsharedError(why)
    except _RefusedError as error:
        return Answer(worker=worker, outcome="refused", differs=[*error.args])
    except _UnsharedError as error:
        return Answer(worker=worker, outcome="unshared", said=str(error))
    return Answer(worker=worker, outcome="done", said=heard.last, notes=heard.notes, writes=describe_files(step))


def _parse(text: bytes) -> Order:
    """The order; one that this checkout does not know is of another checkout."""
    try:
        return parse_as(Order, text, where="the order", error=BuildError)
    except BuildError as error:
        raise _RefusedError(str(error)) from None


def _plan(order: Order) -> tuple[Recipe, Step]:
    """The step in this checkout, which has to be that of the order."""
    try:
        paths.require_plain_root()
        recipe = find_recipe(order.model)
        step = plan.step_of(recipe, order.step)
        differs = find_differences(order, step)
        if not differs:
            environment.require_lock()
    except ZooError as error:
        raise _RefusedError(str(error)) from None
    if differs:
        raise _RefusedError(*differs)
    return recipe, step


def _fetch(order: Order, recipe: Recipe, step: Step, cache: Cache) -> None:
    """Bring what the step reads; then its key is that of the order."""
    if cache.store is None:
        raise _UnsharedError("it has no step cache")
    if step.made_from() is None:  # the checkout is the same: what may lack is the environment of a compiler
        lacks = f"Vela {step.compiler}" if step.compiler else "an environment with the promise of identical bytes"
        raise _UnsharedError(f"it lacks {lacks}")
    try:
        fetch_inputs(order, cache.store)
        require_same_sources(recipe, step)
    except (SourceError, ServerError) as error:
        raise _UnsharedError(str(error)) from None
    if step.key() != order.key:
        raise _RefusedError("the key of the step is another one")


class _Heard:
    """What a step says while it runs."""

    def __init__(self) -> None:
        self.last = ""
        self.notes: list[str] = []

    def listen(self, pipe: IO[bytes]) -> None:
        """Read events until the pipe closes."""
        for line in pipe:
            event = events.parse_event(line)
            if event is None:
                continue
            self.last = event.text or self.last
            if event.kind == "note":
                self.notes.append(event.text)


def _run(step: Step, heard: _Heard) -> tuple[int, str]:
    """Run the step's program; its exit code, and what it said where it failed."""
    head, tail = os.pipe()
    with os.fdopen(head, "rb") as pipe, tempfile.TemporaryFile() as complaints:
        try:
            told = {"ZOO_PARENT": str(os.getpid()), events.PIPE: events.name_pipe(tail)}
            process = subprocess.Popen(
                step.command, cwd=paths.ROOT, env=environment.pinned() | told, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=complaints, pass_fds=(tail,),
            )  # fmt: skip
        finally:
            os.close(tail)
        listener = threading.Thread(target=heard.listen, args=(pipe,), daemon=True)
        listener.start()
        code = process.wait()
        listener.join(_LINGER_S)
        complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - limits.SAID_BYTES))
        return code, complaints.read().decode(errors="backslashreplace") if code else ""


if __name__ == "__main__":
    main()
