"""The report of a board about a bundle: a closed schema, and the files that store it.

A board is not trusted: a report that does not match is not stored. A stored file that does not match, because it is of
another version or was edited, is left out and named. The head of ``example.py`` documents ``Report``.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from utils import files, limits, paths
from utils.errors import BoardError
from utils.graph import layout
from utils.recipe.schema import Recipe
from utils.tasks import every_task
from utils.tasks.reported import Closed, Count, Few, Name, Number, Sha256, Text
from utils.untrusted import as_text, parse_as

__all__ = ["Bsp", "Check", "Entry", "Record", "Report", "dump_record", "load_records", "parse_record", "parse_report"]

Ms = Annotated[float, Field(ge=0, le=1e9)]
Schema = TypeVar("Schema", bound=BaseModel)


class Runtime(Closed):
    """The runtime that ran the models."""

    name: Text
    version: Text


class Delegate(Closed):
    """The delegate that was chosen."""

    name: Text
    library: Text | None
    sha256: Sha256 | None
    options: Annotated[dict[Text, Text], Few]
    note: Text | None


class Steady(Closed):
    """Times of the runs after the first, in milliseconds."""

    min: Ms
    median: Ms
    p90: Ms
    runs: Count


class Check(Closed):
    """Outputs compared with others."""

    verdict: Literal["PASS", "FIXED_OUTPUT", "NAN", "SATURATED", "MISMATCH"]
    inputs: Count
    top1_agreement: Number
    max_error: Number | None
    mean_error: Number | None
    tolerance: Number
    unit: Literal["steps", "absolute"]
    remedy: Text = ""


class Samples(Closed):
    """The accuracy on the bundle's samples."""

    count: Count
    correct: Count
    accuracy: Number


class Nodes(Closed):
    """Nodes of the graph, and how many the delegate took."""

    total: Count | None
    delegated: Count | None
    partitions: Count | None


class Failure(Closed):
    """Why the delegate did not run the model."""

    code: Count
    what: Text
    remedy: Text


class Measured(Closed):
    """Times, verdict and answers."""

    first_ms: Ms | None = None
    steady_ms: Steady | None = None
    check: Check | None = None
    predictions: Annotated[list[dict[str, Any]], Few] | None = None


def _fits(form: type[BaseModel], answer: dict[str, Any]) -> bool:
    with contextlib.suppress(ValidationError):
        form.model_validate(answer, strict=True)
        return True
    return False


class Entry(Measured):
    """Everything about one model."""

    file: Name
    sha256: Sha256 | None = None  # absent in reports of 0.1
    variant: Text | None
    task: Text | None = None  # absent in reports of 0.1
    delegate: Text
    samples: Samples | None = None
    nodes: Nodes | None = None
    cpu: Measured | None = None
    compare: Check | None = None
    notes: Annotated[list[Text], Few] | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _answers(self) -> Entry:
        """Check that the answers have the form of the kind of task; in reports of 0.1, of any."""
        known = every_task()
        if self.task is not None and self.task not in known:
            raise ValueError(f"task is not one of {', '.join(known)}")
        kinds = [known[self.task]] if self.task else list(known.values())
        for part in (self, self.cpu):
            for answer in (part and part.predictions) or ():
                if not any(_fits(kind.prediction, answer) for kind in kinds):
                    raise ValueError(f"predictions are not those of {self.task or 'a kind of task'}")
        return self

    @property
    def verdict(self) -> str:
        """The failure, else the first verdict that is not PASS: what the card shows."""
        if self.failure:
            return self.failure.what
        verdicts = [part.verdict for part in (self.check, self.compare) if part]
        return next((verdict for verdict in verdicts if verdict != "PASS"), "PASS" if verdicts else "-")


class Report(Closed):
    """The object that ``example.py --json`` prints."""

    format: Literal[1]
    runtime: Runtime
    delegate: Delegate
    models: Annotated[list[Entry], Few]


class Bsp(Closed):
    """The facts that ``remote.py`` finds."""

    os: Annotated[dict[Text, Text], Few]
    kernel: Text
    machine: Text
    model: Text
    python: Text
    delegates: Annotated[dict[Text, Sha256], Few]


class Memory(Closed):
    """Bytes, of the virtual board."""

    peak: Count
    limit: Count


class Record(Closed):
    """``board/<target>.json``."""

    format: Literal[1]
    target: Text
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    emulated: bool
    bsp: Bsp
    memory: Memory | None = None
    files: Annotated[dict[Text, Sha256], Few]
    report: Report


def parse_report(text: str, where: str) -> Report:
    """Parse the output of ``example.py --json``.

    Raises:
        BoardError: it is too large, not JSON, or does not match the schema.
    """
    return _parse(Report, text, where, "check what python3 runs there; its output was not kept")


def parse_record(text: bytes, where: str) -> Record:
    """Parse a ``board/<target>.json``.

    Raises:
        BoardError: it is of another version, edited or damaged.
    """
    return _parse(Record, text, where, "measure again (doit board target=...), or delete it")


def dump_record(record: Record) -> str:
    """The text of a ``board/<target>.json``."""
    return files.dump_json(record.model_dump(mode="json", exclude_unset=True))


def load_records(recipe: Recipe, folder: Path) -> tuple[dict[Path, Record], list[BoardError]]:
    """The records about the models in ``folder``, and an error for each file that cannot be read.

    Records about an older build are ignored.
    """
    ours = {name: files.sha256(folder / name) for name in layout.bundle_files(recipe) if name.endswith(".tflite")}
    found, wrong = {}, []
    for file in layout.board_reports(recipe.name):
        try:
            if not file.is_file():  # reading a pipe would wait forever
                raise BoardError("is not a file", where=paths.relative(file), hint="delete it")
            with file.open("rb") as stream:
                record = parse_record(stream.read(limits.BOARD_REPORT_BYTES + 1), paths.relative(file))
        except BoardError as error:
            wrong.append(error)
        except OSError as error:
            wrong.append(BoardError(error.strerror or str(error), where=paths.relative(file), hint="delete it"))
        else:
            if ours.items() <= record.files.items():
                found[file] = record
    return found, wrong


def _parse(schema: type[Schema], data: bytes | str, where: str, hint: str) -> Schema:
    if len(data) > limits.BOARD_REPORT_BYTES:
        what = f"a board's report of more than {limits.BOARD_REPORT_BYTES:,} bytes"
        raise BoardError(what, where=where, hint=hint)
    try:
        return parse_as(schema, data, where=where, error=BoardError, hint=hint)
    except BoardError as error:
        raise BoardError(f"a board's report {as_text(error.what)}", where=where, hint=hint) from None
