"""Words of the command line and of the environment: a misspelt one is refused before anything is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from doit import doit_cmd

from utils.errors import UsageError, did_you_mean
from utils.front.commands import ENVIRONMENT, OURS, VALUES, find_command, variables_of
from utils.recipe.load import read_recipes
from utils.untrusted import as_text

__all__ = [
    "check_line",
    "check_place",
    "check_targets",
    "check_tasks",
    "check_variables",
    "explain_option",
    "explain_task",
    "find_given",
]

#: Variables that go on with a model's name; utils/model/own_weights.py looks at the name.
_OF_MODELS = ("ZOO_WEIGHTS_", "ZOO_LICENCE_")

_PLACES = ("dir", "oci", "hf")


def _find_models() -> list[str]:
    """The names of all models, whether their recipes load or not."""
    return [name for models in read_recipes() for name in models]


def check_environment(environment: Mapping[str, str]) -> None:
    """Refuse a variable ``ZOO_...`` that nothing reads and that is near one of ours; others may be another program's.

    Raises:
        UsageError: there is one.
    """
    models = [prefix + name.upper() for prefix in _OF_MODELS for name in _find_models()]
    fixed = [name for name in ENVIRONMENT if not name.endswith("_")]
    known = [name.removeprefix("ZOO_") for name in (*fixed, *models)]  # what all share tells nothing
    for name in sorted(environment):
        if not name.startswith("ZOO_") or name in fixed or name.startswith(_OF_MODELS):
            continue
        if near := did_you_mean(name.removeprefix("ZOO_"), known):
            near = near.replace("'", "'ZOO_", 1).replace("or '", "or 'ZOO_")
            hint = f"unset {as_text(name)}; `doit help variables` lists those that there are"
            raise UsageError(f"the variable {as_text(name)!r} is unknown{near}", where="environment", hint=hint)


def check_place(to: str) -> None:
    """Refuse a place to publish to of an unknown kind.

    Raises:
        UsageError: it is of none.
    """
    kind, colon, _ = to.partition(":")
    if colon and kind not in _PLACES and (near := did_you_mean(kind, _PLACES)):
        raise UsageError(
            f"to={as_text(kind)}: is no kind of place{near}", where="to=", hint="doit help publish; nothing was done"
        )


def check_repeats(words: Iterable[str]) -> None:
    """Refuse a ``name=value`` that is given twice, and an empty word: the last one would win in silence.

    Raises:
        UsageError: there is one.
    """
    seen: set[str] = set()
    for word in words:
        if not word:
            raise UsageError(
                "a word of the command line is empty", hint="leave it out, or quote the variable it came from"
            )
        name, is_value, _ = word.partition("=")
        if is_value and not word.startswith("-"):
            if name in seen:
                raise UsageError(
                    f"{as_text(name)}= is given twice", where=as_text(word), hint="give it once, with commas"
                )
            seen.add(name)


def check_variables(command: str, names: Sequence[str], given: Iterable[str]) -> None:
    """Refuse a ``name=value`` that none of the named tasks takes.

    Args:
        command: of doit, where it is not ``run``.
        names: of the tasks; none: the default ones, the models.
        given: the names before the ``=``.

    Raises:
        UsageError: there is one.
    """
    asked = [command] if command != "run" else [*names] or ["models"]
    known = list(dict.fromkeys(name for word in asked for name in variables_of(word)))
    for name in given:
        if name in known:
            continue
        who = (
            "doit " + " ".join(as_text(word) for word in asked[:3])
            if names or command != "run"
            else "a build of models"
        )
        near = did_you_mean(name, known)
        if not near and (options := [option for word in asked for option in _options_of(word)]):
            near = did_you_mean(f"--{name}", options)
        takes = f"it takes {', '.join(f'{other}=' for other in known)}" if known else "it takes no name=value"
        raise UsageError(
            f"{who} takes no {as_text(name)}={near}", where=f"{as_text(name)}=", hint=f"{takes}; nothing was done"
        )


def _options_of(word: str) -> tuple[str, ...]:
    found = find_command(word)
    return found.options if found else ()


def check_targets(targets: str) -> None:
    """Refuse a target that looks like ``virtual`` and is not: ssh would look for a host of that name.

    Raises:
        UsageError: there is one.
    """
    for target in filter(None, targets.split(",")):
        if target != "virtual" and not set("@.:") & set(target) and did_you_mean(target, ["virtual"]):
            hint = f"a host of that name: target=USER@{as_text(target)}"
            raise UsageError(
                f"the target {as_text(target)!r} is unknown (did you mean 'virtual'?)", where="target=", hint=hint
            )


def check_tasks(names: Iterable[str], commands: Iterable[str]) -> None:
    """Refuse a word that begins no task, before anything else is said about the line; steps are looked at later.

    Raises:
        UsageError: there is one.
    """
    known = [*_find_models(), *OURS]
    bases = {name.partition(":")[0] for name in known}
    for name in names:
        if name.partition(":")[0] not in bases and not {"/", "*"} & {*name} and not name.startswith("_"):
            raise explain_task(name, known, commands)


def explain_task(word: str, tasks: Iterable[str], commands: Iterable[str]) -> UsageError:
    """The error for a word that is no task, no command and no file that a task writes."""
    commands, public = [*commands], [task for task in tasks if not task.startswith("_")]
    if word.startswith("-"):
        return explain_option(word, ())
    base, colon, rest = word.partition(":")
    if colon and base in public:  # its model or step is misspelt
        inner = [task.partition(":")[2] for task in public if task.startswith(f"{base}:")]
        near = did_you_mean(rest, inner or _find_models())
        return UsageError(f"{as_text(base)} has no {as_text(rest)!r}{near}", hint=f"doit list --all {as_text(base)}")
    groups = [task for task in public if ":" not in task]
    near = did_you_mean(word, [*groups, *commands]) or did_you_mean(word, public)
    if word in ("forget", "reset-dep", "ignore"):
        near = " (did you mean 'clean'?)"
    hint = "`doit list` shows the models and the commands; nothing was done"
    return UsageError(f"the task {as_text(word)!r} is unknown{near}", hint=hint)


def explain_option(option: str, options: Iterable[str]) -> UsageError:
    """The error for an option that nobody takes."""
    known = [*options, *(name for command in OURS.values() for name in command.options)]
    near = did_you_mean(option, known) or did_you_mean(option.lstrip("-"), [f"{name}=" for name in VALUES])
    return UsageError(f"the option {as_text(option)!r} is unknown{near}", hint="doit help; nothing was done")


def find_given() -> list[str]:
    """The names of the ``name=value`` on the command line that doit has read."""
    return [*(doit_cmd._CMDLINE_VARS or {})]  # noqa: SLF001  # doit has no other way to list them


def check_line(words: Sequence[str]) -> None:
    """Refuse what can be seen to be wrong before recipes are read.

    Raises:
        UsageError: a variable of the environment is unknown, or a word is empty or stands twice.
    """
    check_environment(os.environ)
    check_repeats(words)
