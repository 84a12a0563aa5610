"""A board's answers: found among the output of its login scripts, and checked against a schema."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from utils.board import Bundle, Outcome
from utils.bundle.board_report import Bsp, Report, parse_report
from utils.errors import BoardError
from utils.graph import layout
from utils.tasks.reported import Closed, Few, Sha256, Text
from utils.untrusted import as_text, parse_as, parse_json

__all__ = ["MARK", "Probed", "Problem", "Received", "Running", "parse_answer", "read_report"]

#: Start of the one line that is ours; as in ``remote.py``.
MARK = "nxp-model-zoo: "

Schema = TypeVar("Schema", bound=BaseModel)
_Count = Annotated[int, Field(ge=0, le=2**62)]


class Probed(Closed):
    """The board's facts, and the files of a bundle that it already has."""

    bsp: Bsp
    folder: Text
    same: Annotated[list[Text], Few]
    parts: Annotated[dict[Sha256, _Count], Few]
    free: _Count


class Received(Closed):
    """The result of a copy."""

    damaged: Annotated[list[Text], Few]


class Running(Closed):
    """The program starts, in this folder."""

    runs: Text


class Problem(Closed):
    """A problem on the board."""

    problem: Text
    path: Text
    why: Text = ""


def parse_answer(schema: type[Schema], said: str, where: str) -> Schema | Problem:
    """Parse the object that ``remote.py`` printed.

    Raises:
        BoardError: something else answered.
    """
    line = next((line for line in said.splitlines()[::-1] if line.startswith(MARK)), None)
    hint = "its login scripts may print something: try `ssh TARGET python3 --version`"
    if line is None:
        raise BoardError(f"Python on the board printed {as_text(said.strip(), 200)!r}", where=where, hint=hint)
    text = line.removeprefix(MARK)
    found: Any = parse_json(text, where=where, error=BoardError, hint=hint)
    try:
        if isinstance(found, dict) and "problem" in found:
            return parse_as(Problem, text, where=where, error=BoardError, hint=hint)
        return parse_as(schema, text, where=where, error=BoardError, hint=hint)
    except BoardError as error:
        raise BoardError(f"the board's answer cannot be read: {error.what}", where=where, hint=hint) from None


def read_report(outcome: Outcome, bundle: Bundle, where: str) -> Report:
    """Parse what example.py printed: a verdict on every model of the bundle, each by its sha256, and on no other.

    Raises:
        BoardError: it could not run (no runtime, no numpy, an unreadable file), or printed something else.
    """
    begin = outcome.out.find("{")
    if begin < 0:
        said = [line for line in outcome.err.strip().splitlines() if line.startswith(("example.py: ", "  -> "))]
        if not said:
            last = (outcome.err.strip().splitlines() or [""])[-1]
            said = [f"example.py ended with exit code {outcome.code}: {as_text(last)}"]
        what, _, hint = "\n".join(said).partition("\n  -> ")
        raise BoardError(as_text(what.removeprefix("example.py: ")), where=where, hint=as_text(hint))
    report = parse_report(outcome.out[begin:].strip(), where)
    wrong = _differences(report, bundle)
    if wrong:
        raise BoardError(
            f"a board's report does not fit the bundle: {wrong[0]}",
            where=where,
            hint="check what python3 runs there; the report was not kept",
        )
    return report


def _differences(report: Report, bundle: Bundle) -> list[str]:
    """Find models that the report adds or lacks."""
    seen = [entry.file for entry in report.models]
    wrong = [f"it has no entry for {file}" for file in bundle.models if file not in seen]
    wrong += [f"it has an entry for {as_text(file)}" for file in seen if file not in bundle.models]
    wrong += [f"it has two entries for {file}" for file in bundle.models if seen.count(file) > 1]
    for entry in report.models:
        if entry.sha256 != bundle.models.get(entry.file):
            wrong.append(f"the sha256 of {as_text(entry.file)} differs")
        if entry.file != layout.model_name(bundle.model, entry.variant or ""):
            wrong.append(f"{as_text(entry.file)} is not the variant {as_text(entry.variant)}")
        if not entry.failure and not (entry.check and entry.steady_ms):
            wrong.append(f"it has no verdict or no times for {as_text(entry.file)}")
    return wrong
