"""The steps: each module is a program of its own, ``python -m utils.steps.train mnist_nearest train``.

:func:`main` is what all of them share: the pins, the record, errors for people, exit codes (``utils/errors.py``).
"""

from __future__ import annotations

import time

#: When this process began to read code: a file of ours that is newer may not be the one that was read.
_STARTED_NS = time.time_ns()

# ruff: noqa: E402  # nothing of ours is read before that
import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from utils import environment, events, paths, program, timing
from utils.errors import BuildError
from utils.graph import code, plan, record
from utils.graph.step import Work
from utils.lifeline import die_with
from utils.recipe.load import find_recipe, forget_recipes

__all__ = ["main", "note", "say", "show_progress"]


def say(text: str) -> None:
    """Tell who watches how far the step is; one line. The last one stands in the line of the finished step."""
    _tell(events.Event("say", text))


def note(text: str) -> None:
    """Tell what the user should know even where nobody watches."""
    _tell(events.Event("note", text))


def show_progress(done: float, total: float, text: str = "") -> None:
    """Show how much of the step is done, in any unit; costs next to nothing, and nothing where nobody watches."""
    events.send_progress(done, total, text)


def _tell(event: events.Event) -> None:
    if not events.send(event):
        print(
            f"{':'.join(sys.argv[1:])} {event.text}", file=sys.__stdout__, flush=True
        )  # also while a converter is hushed


def main(work: Work) -> None:
    """Run one step of one model, named on the command line, and exit.

    The step runs only when its record says that it has to, whatever doit thinks. Code, recipe and
    image lists are read before it waits for its lock, and looked at again after: what changed meanwhile starts it anew.
    """
    if len(sys.argv) != 3:
        sys.exit("usage: python -m utils.steps.STEP MODEL NAME (doit does this for you)")
    # A killed doit must not leave a step behind it, with yesterday's recipe in its memory.
    die_with(os.environ.get("ZOO_PARENT", str(os.getppid())))
    if not environment.is_pinned():  # the pins work only when they are there before Python starts
        _start_anew()
    model, name = sys.argv[1:]
    timing.begin(f"{model}:{name}")
    program.prepare()
    said = paths.work(model) / "records" / f"{name}.error"
    begin = time.monotonic()
    try:
        paths.require_plain_root()
        environment.require_lock()
        recipe = find_recipe(model)
        step = plan.step_of(recipe, name)
        loaded = step.code_digests()
        if step.code_changed_since(_STARTED_NS):
            _start_anew()
        with record.locked(step.record, lambda: note("waits: another doit runs this step")):
            _hush(said.with_suffix(".log"))  # only now: until here it was another's
            with contextlib.suppress(OSError):
                said.unlink(missing_ok=True)
            code.forget_files()
            forget_recipes()
            found = find_recipe(model)
            if (found, plan.step_of(found, name), step.code_digests()) != (recipe, step, loaded):
                say("starts anew: its code or its recipe changed while it waited")
                _start_anew()
            if step.is_current():
                say("is up to date")
                return
            missing = [paths.relative(file) for file in step.reads if not file.is_file()]
            if missing:
                raise BuildError(f"needs {', '.join(missing)}", hint=f"run the steps before it: doit {model}")
            kind = step.module.rpartition(".")[2]
            writing = record.writing(step.record, step.key(), step.writes, step.folder)
            with timing.phase("records"), writing as outputs, timing.phase(kind):
                work(recipe, step, outputs)
        if not events.has_listener():
            say(f"done in {time.monotonic() - begin:.1f} s")
    except BaseException as error:
        program.end(error, f"{model}:{name}", lambda known: _note(said, f"{known}\n"))


def _note(file: Path, text: str) -> None:
    """Leave a message for the summary at the end of doit."""
    with contextlib.suppress(OSError):
        file.write_text(text, encoding="utf-8", errors="backslashreplace")


def _start_anew() -> NoReturn:
    """Become a new process of the same step, with the pins and the code as it is now."""
    os.dup2(sys.stderr.fileno(), 2)  # what it says is for the terminal, also where this one is hushed
    os.execve(sys.executable, [sys.executable, "-m", _module(), *sys.argv[1:]], environment.pinned())  # noqa: S606  # ourselves, again


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else ""


def _hush(log: Path) -> None:
    """Send what C++ writes to stderr to a log: TensorFlow greets at length, and nobody would see our own words."""
    with contextlib.suppress(OSError):  # an unwritable build/ gets its own message later
        log.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
        os.dup2(target, 2)
        os.close(target)
