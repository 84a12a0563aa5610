"""What `doit` says on the terminal: which step begins, what failed, and a last line that sums it up."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from doit.action import PythonAction
from doit.exceptions import UnmetDependency
from doit.reporter import ConsoleReporter

from utils import program

__all__ = ["Cleaning", "Report"]


class Cleaning(PythonAction):  # type: ignore[misc]  # doit is untyped
    """A clean action that says what it removes; doit would show the function."""

    def __init__(self, remove: Callable[[], object], what: str) -> None:
        def remove_or_end() -> None:
            try:
                remove()
            except OSError as error:  # doit would show where in the code, and exit with 0
                program.end(error)

        super().__init__(remove_or_end)
        self._what = what

    def __str__(self) -> str:
        return f"remove {self._what}"


class Report(ConsoleReporter):  # type: ignore[misc]  # doit is untyped
    """doit's console reporter without noise: steps print their own lines and their own errors."""

    desc = "a line a step, and a summary"

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(outstream, options)
        self._begin = time.monotonic()
        self._begun = self._ran = self._current = 0
        sys.excepthook = _on_error

    def execute_task(self, task: Any) -> None:
        """A step begins."""
        if task.actions:
            self._begun += 1
            self.write(f"{task.name} ... {task.doc}\n")
            self.outstream.flush()

    def add_success(self, task: Any) -> None:
        """A step ended well."""
        self._ran += bool(task.actions)

    def skip_uptodate(self, task: Any) -> None:
        """A step has nothing to do."""
        self._current += bool(task.actions)

    def add_failure(self, task: Any, fail: Any) -> None:
        """A step failed, or another step that it needs did."""
        self.failures.append({"task": task, "exception": fail, "begun": self._begun})

    def complete_run(self) -> None:
        """All is done that can be done."""
        if sys.exc_info()[0] is not None:  # Ctrl-C: nothing is done
            return
        for line in self.runtime_errors:
            self.write(f"{line}\n")
        seconds = time.monotonic() - self._begin
        if self.failures:
            left_out = [entry["task"] for entry in self.failures if isinstance(entry["exception"], UnmetDependency)]
            for failure in self.failures:
                task, recent = failure["task"], failure["begun"] == self._begun
                if task not in left_out:
                    self.write(f"FAILED {task.name}: {_why(task, failure['exception'], recent)}\n")
            if steps := [task.name for task in left_out if task.actions]:
                self.write(f"not run, for want of it: {', '.join(steps)}\n")
            models = sorted({failure["task"].name.partition(":")[0] for failure in self.failures})
            self.write(f"not finished: {', '.join(models)}; {self._ran} steps run, {self._current} up to date\n")
        elif self._ran:
            self.write(f"done: {self._ran} steps run, {self._current} up to date, {seconds:.0f} s\n")
        elif self._current:
            self.write(f"nothing to do: {self._current} steps are up to date\n")


def _on_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C is no defect: doit would show where in itself it waited."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("\ninterrupted: finished steps are kept, the next doit goes on from there\n")
    else:
        sys.__excepthook__(kind, error, trace)


def _why(task: Any, fail: Any, recent: bool) -> str:
    """The reason in words; what a step said itself is said again when much was said after it."""
    message = str(fail.get_msg()).strip()
    code = re.search(r"returned (-?\d+)", message)
    if not task.executed or not code:
        return message
    stem = f"build/{task.name.replace(':', '/records/')}"
    if int(code[1]) >= 0:
        said = Path(f"{stem}.error")
        return f"exit code {code[1]}, its message is above" if recent or not said.is_file() else said.read_text()
    log = f"{stem}.log"
    cause = "out of memory? give it more, or run `doit -n 1`" if code[1] == "-9" else f"see {log}"
    return f"was ended by signal {-int(code[1])}: {cause}"
