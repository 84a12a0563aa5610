"""``doit info``: what doit knows about a model or a step, in words."""

from __future__ import annotations

from typing import Any

from doit.cmd_info import Info as DoitInfo

from utils import paths
from utils.errors import UsageError
from utils.front import index, words
from utils.front.commands import OURS
from utils.front.listing import find_state, wrap_row
from utils.front.outlook import Times, describe_download, find_missing, format_estimate
from utils.front.summary import find_facts
from utils.graph import layout, plan
from utils.graph.step import Step
from utils.recipe.load import read_recipes
from utils.recipe.schema import Recipe
from utils.tasks import task_of
from utils.terminal import format_size

__all__ = ["Info", "describe"]


class Info(DoitInfo):  # type: ignore[misc]  # doit is untyped
    """Says what doit knows about a model or a step."""

    name = "info"
    doc_purpose = "what doit knows about a model or a step"

    def execute(self, params: Any, args: list[str]) -> Any:
        """Describe the one that ``args`` name."""
        words.check_variables("info", [], words.find_given())
        if len(args) != 1:
            raise UsageError("info is about one model or step", hint="doit info MODEL; `doit list` shows the models")
        index.begin()
        return super().execute(params, args)

    def _execute(self, pos_args: Any, hide_status: bool = False) -> int:
        names = [task.name for task in self.task_list]
        word = pos_args[0]
        if word not in names and word not in OURS:
            raise words.explain_task(word, names, OURS)
        if word.partition(":")[0] in read_recipes()[0]:
            self.outstream.write("\n".join(describe(word)) + "\n")
        else:
            base = word if word in OURS else word.partition(":")[0]
            self.outstream.write(f"doit {OURS[base].usage}\n\n{OURS[base].summary}\n-> doit help {base}\n")
        return 0


def describe(word: str) -> list[str]:
    """The lines about a model, or about one of its steps, ``MODEL:STEP``."""
    name, _, step = word.partition(":")
    recipe = read_recipes()[0][name]
    steps = {one.name: one for one in plan.steps_of(recipe)}
    return _describe_step(steps[step]) if step in steps else _describe_model(recipe, list(steps.values()))


def _describe_model(recipe: Recipe, steps: list[Step]) -> list[str]:
    state, facts, times = find_state(recipe), find_facts(recipe), Times()
    what = {
        "built": "built, and up to date",
        "stale": "built, but its recipe, code, packages or files changed since",
        "missing": "not built",
    }[state]
    rows = [("what", recipe.summary), ("state", what), ("input", _shape(recipe.input.shape)),
            ("output", ", ".join(_shape(output.shape) for output in recipe.outputs)),
            ("licence", str(recipe.licence))]  # fmt: skip
    if facts and state != "missing":
        task = task_of(recipe)
        measured = ", ".join(f"{variant} {value:.2f} %" for variant, value in facts["accuracy"].items())
        rows += [("accuracy", f"{measured} ({task.metric} on {facts['count']:,} {task.many})"),
                 ("size", f"{format_size(facts['bytes'])}, {layout.deployed(recipe)}"),
                 ("self-check", f"{facts['verdict']} on the machine that built it")]  # fmt: skip
    boards = layout.board_reports(recipe.name)
    rows.append(
        ("boards", ", ".join(file.stem for file in boards) or f"none yet: doit board:{recipe.name} target=root@HOST")
    )
    stale = [step for step in steps if not step.is_current()]
    if state == "built":
        rows.append(("bundle", f"{paths.relative(paths.bundle(recipe.name))}/"))
    else:
        rows.append(("to do", f"{len(stale)} of {len(steps)} steps: {', '.join(step.name for step in stale)}"))
        rows.append(("sources", describe_download(find_missing(source for step in stale for source in step.fetches))))
        guesses = [guess for step in stale if (guess := times.guess(repr(step))) is not None]
        rows.append(("estimate", format_estimate(sum(guesses)) if guesses else "none yet: it has not run here"))
        rows.append(("next", f"docker/run doit {recipe.name}"))
    rows.append(("recipe", f"recipes/{recipe.folder}/recipe.toml"))
    return [recipe.name, *(line for key, text in rows for line in _row(key, text))]


def _describe_step(step: Step) -> list[str]:
    before = sorted({paths.relative(file) for file in step.reads})
    guess = Times().guess(repr(step))
    rows = [("what", step.doc), ("state", "up to date" if step.is_current() else "would run"),
            ("reads", ", ".join(before)), ("writes", ", ".join(paths.relative(file) for file in step.writes)),
            ("time", format_estimate(guess) if guess is not None else "has not run here"),
            ("log", f"{paths.relative(step.log)}")]  # fmt: skip
    if origin := step.origin():
        signer = f"signed by {origin.get('signer', '')[:16]}" if origin.get("signer") else "no signature was checked"
        rows.insert(2, ("restored", f"from {origin.get('server')}, {signer}"))
    return [repr(step), *(line for key, text in rows for line in _row(key, text))]


def _shape(shape: Any) -> str:
    return "x".join(str(size) for size in shape)


def _row(key: str, text: str) -> list[str]:
    return wrap_row(f"  {key}", 14, text)
