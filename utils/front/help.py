"""``doit help``: ours first; a page about each command, and one about the variables."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

from doit.cmd_help import Help as DoitHelp

from utils.front import words
from utils.front.commands import ENVIRONMENT, OURS, VALUES, Command, find_command
from utils.front.info import describe
from utils.recipe.load import read_recipes

__all__ = ["Help"]

_OPTIONS = """\
  -n N          N steps side by side; default: one a core, at most four
  -v 0|1|2      0: only what fails; 1: a line a step (default); 2: all that steps say
  -a            run steps that are up to date, too
  --check       read every file, also those that look unchanged
  -s            only the named step, not those that it needs"""


class Help(DoitHelp):  # type: ignore[misc]  # doit is untyped
    """Shows how to use the zoo."""

    name = "help"
    doc_purpose = "this page, or help on one command"

    def execute(self, params: Any, args: list[str]) -> int:
        """Show the page that ``args`` ask for."""
        word = args[0] if args else ""
        if not word:
            _write(_overview())
        elif word == "variables":
            _write(_variables())
        elif found := find_command(word):
            _write(_page(found))
            if word in ("list", "clean", "run"):
                _write(f"\n{self.cmds[word](cmds=self._cmds, **self.init_kwargs).help()}")
        elif word == "run":
            _write(f"usage: doit [OPTION...] [MODEL|COMMAND]... [name=value]...\n\n{_OPTIONS}")
        elif word.partition(":")[0] in read_recipes()[0]:
            _write("\n".join(describe(word)))
        else:
            known = [*read_recipes()[0], "variables", "run"]
            raise words.explain_task(word, known, OURS)
        return 0


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _overview() -> str:
    lines = [
        "doit builds TFLite models for i.MX boards, measures them and checks them.",
        "",
        "usage: doit [OPTION...] [MODEL|COMMAND]... [name=value]...",
        "",
        f"  {'doit':<44}build every model",
        f"  {'doit MODEL':<44}build one model; `doit list` shows them",
        f"  {'doit MODEL weights=FILE':<44}build it with your own weights",
        *(f"  {'doit ' + command.usage:<44}{command.summary}" for command in OURS.values()),
        "",
        "options:",
        _OPTIONS,
        "",
        "Where doit is not installed, type docker/run doit. More: doit help COMMAND, doit help variables.",
    ]
    return "\n".join(lines)


def _page(command: Command) -> str:
    lines = [f"doit {command.usage}", "", *textwrap.wrap(command.summary[:1].upper() + command.summary[1:] + ".", 80)]
    if command.variables:
        lines += ["", *(f"  {f'{key}=':<18}{VALUES[key]}" for key in command.variables)]
    if command.options:
        lines += ["", *(f"  {option}" for option in command.options)]
    return "\n".join(lines)


def _variables() -> str:
    shown = {name: text for name, text in ENVIRONMENT.items() if text}
    lines = [f"  {f'{name}<MODEL>' if name.endswith('_') else name:<24}{text}" for name, text in shown.items()]
    return "\n".join(["Variables of the environment:", "", *lines, "", "docker/run --help says more."])
