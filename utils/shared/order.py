"""Orders: what doit asks a worker to do, and what the worker answers. Names, hashes and sentences; no code."""

from __future__ import annotations

import hashlib
import subprocess
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils import environment, files, paths
from utils.graph.code import code_files
from utils.graph.step import Step

__all__ = ["FORMAT", "Answer", "File", "Order", "describe_files", "find_differences", "is_made", "make_order"]

FORMAT: Literal[1] = 1

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

#: How much of a hash a message shows.
_SHOWN = 12

_COMMIT, _CODE = "the commit", "the code of "


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class File(_Model):
    """A file, by its bytes."""

    size: Annotated[int, Field(ge=0, lt=2**63)]
    sha256: Digest


class Order(_Model):
    """A step that a worker is to run.

    Attributes:
        format: of the order; a worker of another version refuses it.
        model: the step's model.
        step: its name.
        key: its key (``Step.key``).
        facts: all that decides the key but ``inputs``: what it is -> its value, or a hash of it.
        code: the files in which its code is, by path: they tell which one differs where the code does.
        inputs: the files that it reads and other steps wrote, by path.
    """

    format: Literal[1]
    model: str
    step: str
    key: Digest
    facts: dict[str, str]
    code: dict[str, Digest]
    inputs: dict[str, File]


class Answer(_Model):
    """What became of an order.

    Attributes:
        format: as of the order.
        worker: the name of the worker.
        outcome: ``done``: the results are in the step cache; ``failed``: the step ended with ``code``; ``refused``: the
            worker's checkout is another one; ``unshared``: the step cache lacks an input, or does not take the results.
        code: exit code of the step; below 0: the signal that ended it.
        said: the last sentence of a step that is done; else why it is not.
        notes: what the user should know.
        differs: of a refusal, a sentence for each difference.
        writes: what the step wrote, by path.
    """

    format: Literal[1] = FORMAT
    worker: str
    outcome: Literal["done", "failed", "refused", "unshared"]
    code: int = 0
    said: str = ""
    notes: list[str] = []
    differs: list[str] = []
    writes: dict[str, File] = {}


def make_order(step: Step) -> Order:
    """Describe a step whose inputs are all there.

    Raises:
        OSError: an input is missing.
    """
    inputs = {paths.relative(file): file for file in step.reads if is_made(paths.relative(file))}
    return Order(
        format=FORMAT,
        model=step.model,
        step=step.name,
        key=step.key(),
        facts=_facts(step),
        code=_code(step),
        inputs={name: File.model_validate(files.describe_file(file)) for name, file in inputs.items()},
    )


def describe_files(step: Step) -> dict[str, File]:
    """Describe what a step wrote.

    Raises:
        OSError: a file is missing.
    """
    return {paths.relative(file): File.model_validate(files.describe_file(file)) for file in step.writes}


def is_made(name: str) -> bool:
    """Whether a path names a file that steps write: such a file is no part of a checkout."""
    return name.startswith((f"{paths.BUILD.name}/", f"{paths.ARTIFACTS.name}/"))


def find_differences(order: Order, step: Step) -> list[str]:
    """Compare an order with the same step here; a sentence for each difference, none where the keys are equal.

    Two commits differ even where this step is the same in both: what a release says it was built from is one commit.
    """
    ours, wrong = _facts(step), []
    for name in sorted(ours.keys() | order.facts.keys()):
        there, here = ours.get(name), order.facts.get(name)
        if there != here and not (name == _COMMIT and "" in (there, here)):
            wrong.append(f"{name}: {_shown(there)} there, {_shown(here)} here")
    if any(name.startswith(_CODE) for name in wrong):
        code = _code(step)
        names = (name for name in sorted(code.keys() | order.code.keys()) if code.get(name) != order.code.get(name))
        wrong += [f"{name}: {_shown(code.get(name))} there, {_shown(order.code.get(name))} here" for name in names]
    wrong += [f"{name}: only there" for name in sorted(_inputs(step) - order.inputs.keys())]
    wrong += [f"{name}: only here" for name in sorted(order.inputs.keys() - _inputs(step))]
    return wrong


@lru_cache(maxsize=1)
def _describe_machine() -> dict[str, str]:
    """What is the same for all steps of a process."""
    env = environment.describe()
    tools = {f"{tool}'s version": version for tool, version in env["tools"].items()}
    promise = {"the machine": str(env["machine"]), "the promise of identical bytes": str(env["bit_identical"])}
    return {_COMMIT: _find_commit(), **promise, **tools}


def _facts(step: Step) -> dict[str, str]:
    facts = _describe_machine() | {"the recipe": _hash(step.config)}
    facts |= {
        f"{_CODE}{paths.relative(module)}": digest
        for module, digest in zip(step.code, step.code_digests(), strict=True)
    }
    names = {paths.relative(file): file for file in step.reads}
    # One that is missing is a difference, too.
    return facts | {name: files.sha256(file) for name, file in names.items() if not is_made(name) and file.is_file()}


def _code(step: Step) -> dict[str, str]:
    found = {file for module in step.code for file in code_files(module)}
    return {paths.relative(file): files.sha256(file) for file in sorted(found)}


def _inputs(step: Step) -> set[str]:
    return {name for file in step.reads if is_made(name := paths.relative(file))}


def _hash(value: Any) -> str:
    return hashlib.sha256(files.dump_json(value).encode()).hexdigest()


def _shown(value: str | None) -> str:
    return "missing" if value is None else value[:_SHOWN] or "unknown"


def _find_commit() -> str:
    """The commit that is checked out; empty where git cannot tell, as in a checkout without ``.git``."""
    try:
        done = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], cwd=paths.ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
