"""``doit list``: models with their state, then commands; 80 columns are enough."""

from __future__ import annotations

import textwrap
from typing import Any

from doit.cmd_list import List as DoitList

from utils import paths
from utils.errors import ZooError
from utils.front import index, words
from utils.front.commands import OURS
from utils.graph import plan
from utils.recipe.load import read_recipes
from utils.recipe.schema import Recipe

__all__ = ["List", "find_state", "wrap_row"]

_WIDTH = 80


def find_state(recipe: Recipe) -> str:
    """``built``: the bundle is what this checkout makes; ``stale``: something changed since; ``missing``: no bundle."""
    if not (paths.bundle(recipe.name) / "SHA256SUMS").is_file():
        return "missing"
    try:
        return "built" if all(step.is_current() for step in plan.steps_of(recipe)) else "stale"
    except (OSError, ZooError):
        return "stale"


def wrap_row(left: str, width: int, text: str) -> list[str]:
    """Lines of at most 80 columns: ``left`` in the first ``width`` of them, and the text beside it."""
    lines = textwrap.wrap(text, _WIDTH - width, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{left if not number else '':<{width}}{line}" for number, line in enumerate(lines)]


class List(DoitList):  # type: ignore[misc]  # doit is untyped
    """Lists what can be built and done; with a task, ``--all``, ``--status`` or ``--quiet`` the tasks of doit."""

    name = "list"
    doc_purpose = "models and commands, with each model's state"

    def execute(self, params: Any, args: list[str]) -> Any:
        """List, after the ``name=value`` were looked at."""
        words.check_variables("list", [], words.find_given())
        index.begin()
        return super().execute(params, args)

    def _execute(self, subtasks: bool = False, quiet: bool = True, status: bool = False, private: bool = False,
                 list_deps: bool = False, template: Any = None, sort: str = "name",
                 pos_args: Any = None) -> int:  # fmt: skip
        if pos_args or subtasks or quiet or status or private or list_deps or template:
            return int(super()._execute(subtasks, quiet, status, private, list_deps, template, sort, pos_args))
        recipes = read_recipes()[0]
        tasks = {task.name for task in self.task_list}
        width = max(len(name) for models in read_recipes() for name in models) + 4
        lines = []
        for group, title in (("zoo", "Models (doit builds all of them):"), ("demo", "For trying (doit demo):")):
            members = [recipe for recipe in recipes.values() if recipe.group == group]
            lines.append(title)
            for recipe in members:
                lines += wrap_row(f"  {recipe.name:<{width - 2}}{find_state(recipe)}", width + 9, recipe.summary)
            for name, broken in read_recipes()[1].items():
                if broken.group == group:
                    lines += wrap_row(f"  {name:<{width - 2}}broken", width + 9, broken.reason)
            lines.append("")
        lines.append("Commands:")
        known = {name: command for name, command in OURS.items() if name in tasks or name in self.commands}
        for command in known.values():
            lines += wrap_row(f"  {command.usage.partition(' [')[0]}", 33, command.summary)
        lines += ["", "doit MODEL builds one; doit info MODEL tells more; doit help COMMAND too."]
        self.outstream.write("\n".join(lines) + "\n")
        return 0

    @property
    def commands(self) -> list[str]:
        """The commands of doit."""
        return [*self.loader.cmd_names]
