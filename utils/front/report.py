"""What doit says while it runs: what it will do, a line for each finished step, what failed, and a table at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from doit.action import PythonAction
from doit.exceptions import UnmetDependency
from doit.reporter import ConsoleReporter

from utils import paths, program
from utils.front import missing, outlook, stage, summary
from utils.front.action import ProgramFailed
from utils.front.sharing import is_restored
from utils.graph.step import Step
from utils.terminal import Row, format_duration

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
    """doit's reporter in our words; everything goes to the one screen.

    ``verbosity``: 0: what failed, and the last line; 1: also the outlook, a line a step, and the table; 2: also the
    beginning of each step, and what it says.
    """

    desc = "a line a step, and a table"

    #: Set by the command before doit makes the reporter, which gets neither.
    verbosity = 1
    workers = 1

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(outstream, options)
        self.screen = stage.open_screen(outstream, self.verbosity)
        self._begin = time.monotonic()
        self._begun = self._ran = self._restored = self._current = 0
        self._times = outlook.Times()
        self._ahead = outlook.Outlook()
        self._waiting: set[str] = set()
        self._selected: list[str] = []
        self._steps: dict[str, Any] = {}
        self._spent: dict[str, float] = {}  # seconds of each step that ended
        sys.excepthook = _on_error

    def initialize(self, tasks: dict[str, Any], selected_tasks: list[str]) -> None:
        """Say what will be done, before anything is."""
        super().initialize(tasks, selected_tasks)
        self._selected = selected_tasks
        self._steps = {name: task.meta["steps"] for name, task in tasks.items() if (task.meta or {}).get("steps")}
        self._ahead = ahead = outlook.look_ahead(tasks, selected_tasks)
        self._waiting = set(ahead.to_run)
        self.screen.footer = self._foot
        if ahead.to_run and self.verbosity:
            models, current = ahead.models, len(ahead.needs) - len(ahead.to_run)
            text = f"{_steps(len(ahead.to_run))} of {len(models)} model{'s' if len(models) > 1 else ''} to run"
            text += f", {current} up to date" if current else ""
            for line in (text, outlook.describe_download(ahead.missing), *self._estimate()):
                self.screen.write(line, fits=True)

    def execute_task(self, task: Any) -> None:
        """A step begins."""
        if not task.actions:
            return
        self._begun += 1
        self._waiting.discard(task.name)
        self._ahead.to_run.add(task.name)
        self.screen.begin(Row(task.name, self._times.guess(task.name) or 0.0))
        if self.verbosity > 1:
            self.screen.write(f"{task.name} ... {task.doc}")

    def add_success(self, task: Any) -> None:
        """A step ended well."""
        if not task.actions:
            return
        restored = is_restored(task.actions)
        self._ran += not restored
        self._restored += restored
        row = self.screen.end(task.name)
        if row is None:
            return
        self._spent[task.name] = row.elapsed_s
        if task.name in self._steps and not restored:
            self._times.note(task.name, row.elapsed_s)
        if self.verbosity and not _talks(task):
            self.screen.write(self._line(task.name, f"{row.elapsed_s:6.1f} s  {row.text}".rstrip()), fits=True)

    def skip_uptodate(self, task: Any) -> None:
        """A step has nothing to do."""
        self._current += bool(task.actions)
        self._waiting.discard(task.name)
        self._ahead.to_run.discard(task.name)

    def add_failure(self, task: Any, fail: Any) -> None:
        """A step failed, or another step that it needs did."""
        self._waiting.discard(task.name)
        row = self.screen.end(task.name)
        if row is not None:
            self._spent[task.name] = row.elapsed_s
            if self.verbosity and not _talks(task):
                self.screen.write(self._line(task.name, f"{row.elapsed_s:6.1f} s  FAILED"), fits=True)
        is_offline = missing.is_offline(self._steps.get(task.name, []))
        if isinstance(fail, ProgramFailed) and fail.said and not is_offline:
            self.screen.write_error(fail.said)
        self.failures.append({"task": task, "exception": fail, "begun": self._begun, "offline": is_offline})

    def complete_run(self) -> None:
        """All is done that can be done."""
        self.screen.close()
        if sys.exc_info()[0] is not None:  # Ctrl-C: nothing is done
            return
        for line in self.runtime_errors:
            self.screen.write(str(line))
        seconds = time.monotonic() - self._begin
        left_out = [entry["task"] for entry in self.failures if isinstance(entry["exception"], UnmetDependency)]
        done = self._ran + self._restored
        if self.verbosity and (done or self.failures) and self._ahead.needs:
            failed = {entry["task"].name for entry in self.failures if entry["task"] not in left_out}
            for line in summary.make_table([*self._ahead.needs], self._spent, failed):
                self.screen.write(line, fits=True)
        if self.failures:
            self._sum_up_failures(left_out)
        elif done:
            self.screen.write(f"done: {self._counts()}, {seconds:.0f} s")
        elif self._current:
            self.screen.write(f"nothing to do: {_steps(self._current)} up to date")
        if done and not self.failures and self.verbosity:
            for line in summary.name_next_commands([*self._ahead.needs]):
                self.screen.write(line, fits=True)

    def _sum_up_failures(self, left_out: list[Any]) -> None:
        offline = [entry["task"].name for entry in self.failures if entry["offline"]]
        if offline:
            self.screen.write(f"FAILED {', '.join(sorted(offline))}: ZOO_OFFLINE is set, and sources are missing")
        for failure in self.failures:
            task, recent = failure["task"], failure["begun"] == self._begun
            if task not in left_out and not failure["offline"]:
                why = _why(self._steps.get(task.name, []), failure["exception"], recent)
                self.screen.write(f"FAILED {task.name}: {why}")
        if steps := [task.name for task in left_out if task.actions]:
            shown = ", ".join(steps) if len(steps) <= 8 else f"{len(steps)} steps that need one of these"
            self.screen.write(f"not run, for want of it: {shown}")
        failed = [step for entry in self.failures for step in self._steps.get(entry["task"].name, []) if step.fetches]
        if lines := missing.describe_missing(failed):
            self.screen.write_error("\n".join(["", *lines]))
        models = sorted({failure["task"].name.partition(":")[0] for failure in self.failures})
        self.screen.write(f"not finished: {', '.join(models)}; {self._counts()}")
        if not offline and not any(_talks(entry["task"]) for entry in self.failures):
            again = f"docker/run doit {' '.join(models[:4])}"
            self.screen.write(f"  -> finished steps are kept; when the cause is mended: {again}")

    def _counts(self) -> str:
        restored = f", {self._restored} restored" if self._restored else ""
        return f"{_steps(self._ran)} run{restored}, {self._current} up to date"

    def _line(self, name: str, text: str) -> str:
        total = len(self._ahead.to_run)
        width = len(str(total))
        longest = max((len(step) for step in self._ahead.to_run), default=0)
        return f"[{len(self._spent):{width}}/{total}] {name:<{longest}} {text}"

    def _estimate(self) -> list[str]:
        guesses = {name: self._times.guess(name) for name in self._waiting}
        unknown = sum(seconds is None for seconds in guesses.values())
        if unknown == len(guesses):
            return ["no estimate: these steps did not run here before"]
        text = f"{outlook.format_estimate(self._left_s())}, as before, {self.workers} steps at a time"
        return [text, *([f"and {_steps(unknown)} that did not run here before"] if unknown else [])]

    def _left_s(self) -> float:
        guesses = {name: self._times.guess(name) or 0.0 for name in self._waiting}
        running = {row.name: max(row.expected_s - row.elapsed_s, 0.0) for row in self.screen.rows}
        for row in self.screen.rows:
            if row.share and row.share > 0.1:  # it knows better than its past
                running[row.name] = row.elapsed_s * (1 / row.share - 1)
        waiting = {name: self._ahead.needs.get(name, set()) for name in self._waiting}
        return outlook.remaining_s(waiting, guesses, running, self.workers)

    def _foot(self) -> str:
        """The line below the running steps."""
        if not self._ahead.to_run or not self.screen.rows:
            return ""
        left = self._left_s()
        text = f"{outlook.format_estimate(left)} left" if left > 0 else "time unknown: they did not run here before"
        spent = format_duration(time.monotonic() - self._begin)
        return f"step {min(self._begun, len(self._ahead.to_run))} of {len(self._ahead.to_run)}, {text}, {spent} so far"


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def _talks(task: Any) -> bool:
    """Whether the program of a task prints a result of its own: a line that it is done would only be noise."""
    return any(getattr(action, "talks", False) for action in task.actions)


def _on_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C is no defect: doit would show where in itself it waited."""
    stage.find_screen().close()
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("\ninterrupted: finished steps are kept, the next doit goes on from there\n")
    else:
        sys.__excepthook__(kind, error, trace)


def _why(steps: list[Step], fail: Any, recent: bool) -> str:
    """The reason in words; what a step said itself is said again when much was said after it."""
    if not isinstance(fail, ProgramFailed):
        return str(fail.get_msg()).strip()
    if fail.code >= 0:  # a step that ends well takes its message away: the first one is that of the step that failed
        said = [step.message for step in steps if step.message.is_file()]
        return f"exit code {fail.code}, its message is above" if recent or not said else said[0].read_text()
    logs = [step.log for step in steps if step.log.is_file()]
    newest = max(logs, key=lambda file: file.stat().st_mtime_ns, default=None)
    cause = f": see {paths.relative(newest)}" if newest else ""
    cause = ": out of memory? give it more, or run `doit -n 1`" if fail.code == -9 else cause
    return f"was ended by signal {-fail.code}{cause}"
