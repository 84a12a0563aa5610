"""Programs as actions of doit: what they say goes to the one screen, line by line."""

from __future__ import annotations

import contextlib
import os
import selectors
from collections.abc import Callable, Mapping
from typing import Any

from doit.action import BaseAction
from doit.exceptions import TaskError, TaskFailed

from utils import environment
from utils.events import parse_event
from utils.front import running, stage
from utils.terminal import Screen

__all__ = ["Program", "ProgramFailed", "run_program"]

#: Seconds to wait for the output of a program that has ended: a child of it may hold its pipes open.
_LINGER_S = 0.5

_CHUNK_BYTES = 1 << 16


class ProgramFailed(TaskFailed):  # type: ignore[misc]  # doit is untyped
    """A program that ended with another code than 0.

    Attributes:
        code: its exit code; below 0: the signal that ended it.
        said: what it wrote to stderr, where that was not shown yet.
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"exit code {code}")
        self.code, self.said = code, said


class Program(BaseAction):  # type: ignore[misc]  # doit is untyped
    """Runs a program of ours with the pins; it ends with this doit.

    Args:
        command: its words.
        talks: whether what it prints is its result, and not words about its progress.
        pins: whether it computes what a bundle holds.
        warm: whether it is forked from a parent that has imported TensorFlow.
    """

    def __init__(self, command: list[str], *, talks: bool, pins: bool, warm: bool) -> None:
        self.command, self.talks, self.pins, self.warm = command, talks, pins, warm
        self.task: Any = None
        self.out = self.err = self.result = None
        self.values: dict[str, Any] = {}

    def __str__(self) -> str:
        return " ".join(self.command)

    def execute(self, out: Any = None, err: Any = None) -> TaskFailed | TaskError | None:
        """Run it; None when it ended well."""
        said = _Listener(stage.find_screen(), self.task.name, talks=self.talks)
        pipes = [os.pipe() for _ in range(3)]
        heads = [os.fdopen(head, "rb", buffering=0) for head, _ in pipes]
        tails = [tail for _, tail in pipes]
        with contextlib.ExitStack() as stack:
            for head in heads:
                stack.enter_context(head)
            try:
                env = environment.pinned() if self.pins else dict(os.environ)
                process = running.start(self.command, env, *tails, warm=self.warm)
            except OSError as error:
                return TaskError(f"{self.command[0]}: {error.strerror}")
            finally:
                for tail in tails:
                    os.close(tail)
            readers = dict(zip((head.fileno() for head in heads), (said.print, said.complain, said.hear), strict=True))
            _read_lines(process, readers)
            code = process.wait()
        if code == 0:
            said.flush()
            return None
        return ProgramFailed(code, "".join(said.complaints))


class _Listener:
    """What one program says, and where it goes."""

    def __init__(self, screen: Screen, name: str, *, talks: bool) -> None:
        self._screen, self._name, self._talks = screen, name, talks
        self.complaints: list[str] = []

    def hear(self, line: bytes) -> None:
        """An event."""
        event = parse_event(line)
        if event is None:
            return
        share = event.done / event.total if event.total else None
        self._screen.progress(self._name, share if event.kind == "progress" else None, event.text)
        least = {"note": 1, "say": 2, "progress": 3}[event.kind]
        if self._screen.verbosity >= least:
            self._screen.write(f"{self._name} {event.text}")

    def print(self, line: bytes) -> None:
        """A line of its stdout."""
        if self._talks or self._screen.verbosity >= 2:
            self._screen.write(line.decode(errors="replace"))

    def complain(self, line: bytes) -> None:
        """A line of its stderr; a step's are kept together, so that those of two steps do not mix."""
        text = line.decode(errors="replace")
        if self._talks:
            self._screen.write_error(text)
        else:
            self.complaints.append(text)

    def flush(self) -> None:
        """Show what a program complained of that ended well."""
        if self.complaints:
            self._screen.write_error("".join(self.complaints))


def _read_lines(process: running.Process, readers: Mapping[int, Callable[[bytes], object]]) -> None:
    """Hand every line of these descriptors to its reader, until all are closed or the program has ended."""
    left = dict.fromkeys(readers, b"")
    with selectors.DefaultSelector() as selector:
        for descriptor in readers:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout=_LINGER_S)
            if not ready and process.poll() is not None:
                break
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fd)
                *lines, left[key.fd] = (left[key.fd] + chunk).split(b"\n")
                for line in lines:
                    readers[key.fd](line + b"\n")
    for descriptor, rest in left.items():
        if rest:
            readers[descriptor](rest + b"\n")


def run_program(command: list[str], *, talks: bool = False, pins: bool = True, warm: bool = False) -> Program:
    """The action that runs a program of ours, as ``Program`` says."""
    return Program(command, talks=talks, pins=pins, warm=warm)
