"""Predict where a model will run: three targets, every BSP, and the known traps.

The traps are data, ``compat.toml``: each has an id, evidence and a remedy. ``operators.csv`` has the lowest TFLite
version that knows each version of an operator (from TensorFlow's ``runtime_version.cc``), and the accelerators that
support the operator (from the lists and the behaviour of Vela 3.12.0, 4.3.0 and 5.0.0, and from the VX delegate's
``op_status.md``). It covers the operators of image models; the report names the ones that it does not know.

No compiler and no board is used: ``doit vela`` shows what Vela really does.
"""

from __future__ import annotations

import csv
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as closed

from utils import files, tflite, untrusted
from utils.errors import DataError
from utils.npu import vela
from utils.npu.bsp import Bsp, load_bsps, parse_version

__all__ = ["OPERATORS", "RULES", "TARGETS", "Finding", "Verdict", "as_json", "as_text", "examine", "report"]

RULES = Path(__file__).with_name("compat.toml")
OPERATORS = Path(__file__).with_name("operators.csv")

#: Accelerator -> name of the target.
TARGETS = {
    "vx": "i.MX 8M Plus, NPU through the VX delegate",
    "ethos_u": "i.MX 93, NPU through Ethos-U (Vela)",
    "cpu": "CPU of either board",
}

Colour = Literal["green", "yellow", "red"]
_ORDER: list[Colour] = ["green", "yellow", "red"]


@closed(frozen=True, config=ConfigDict(extra="forbid"))
class Rule:
    """A trap; ``compat.toml`` explains the fields."""

    id: str
    accelerators: tuple[Literal["vx", "ethos_u", "cpu"], ...]
    when: str
    severity: Colour
    what: str
    evidence: str
    remedy: str
    operators: tuple[str, ...] = ()
    vela_max: str = ""
    tflite_max: str = ""
    on_cpu: bool = True

    def holds_for(self, accelerator: str, bsp: Bsp) -> bool:
        """Whether it concerns this accelerator and this BSP's versions."""
        return accelerator in self.accelerators and all(
            not limit or parse_version(has)[: len(parse_version(limit))] <= parse_version(limit)
            for limit, has in ((self.vela_max, bsp.vela), (self.tflite_max, bsp.tflite))
        )


@dataclass(frozen=True)
class OperatorSupport:
    """A row of ``operators.csv``: TFLite version for each operator version, from version 1 on, and where it runs."""

    versions: tuple[str, ...]
    ethos_u: str
    vx: str

    def runs_on(self, accelerator: str, bsp: Bsp) -> bool:
        """Whether the accelerator supports it, unless a rule says otherwise."""
        word = {"ethos_u": self.ethos_u, "vx": self.vx}[accelerator]
        return word == "yes" or (word != "no" and parse_version(bsp.vela) >= parse_version(word))


@dataclass(frozen=True)
class Finding:
    """An obstacle: a rule that applies, and the operators that it concerns, name -> count."""

    id: str
    severity: Colour
    what: str
    operators: dict[str, int]
    evidence: str
    remedy: str


@dataclass(frozen=True)
class Verdict:
    """One target, with neighbouring BSPs that have the same result.

    Attributes:
        accelerator: key of ``TARGETS``.
        target: its name in reports.
        bsps: names, oldest first.
        verdict: ``green``: all of it runs there; ``yellow``: it runs, part of it on the CPU; ``red``: do not deploy.
        placed: number of operators that the accelerator takes.
        total: number of operators in the model.
        findings: the reasons.
    """

    accelerator: str
    target: str
    bsps: tuple[str, ...]
    verdict: Colour
    placed: int
    total: int
    findings: tuple[Finding, ...]

    @property
    def span(self) -> str:
        """The range of BSPs."""
        if len(self.bsps) == len(load_bsps()):
            return "every BSP"
        return self.bsps[0] if len(self.bsps) == 1 else f"{self.bsps[0]} to {self.bsps[-1]}"


# Conditions, each on one operator


def _tensors(graph: tflite.Graph, operator: tflite.Operator) -> list[tflite.Tensor]:
    return [graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]


def _half_pixel(_graph: tflite.Graph, operator: tflite.Operator) -> bool:
    return bool(operator.options.get("halfPixelCenters"))


def _sides(graph: tflite.Graph, operator: tflite.Operator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Height and width before and after; none if the file does not state them."""
    return graph.shape(operator.inputs, 0)[1:3], graph.shape(operator.outputs, 0)[1:3]


def _half_pixel_not_double(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    before, after = _sides(graph, operator)
    return _half_pixel(graph, operator) and before != (1, 1) and after != tuple(2 * side for side in before)


def _odd_factor(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    before, after = _sides(graph, operator)
    if before in ((1, 1), after):
        return False
    less = int(bool(operator.options.get("alignCorners")))
    pairs = list(zip(before, after, strict=False))
    return not any(all(b - less == factor * (a - less) for a, b in pairs) for factor in (2, 4, 8))


def _per_channel(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    return any(len(graph.tensors[index].scales) > 1 for index in operator.inputs[1:2] if index >= 0)


#: Custom operators that every TFLite runtime has; their names are not in capitals.
_RUNTIMES_OWN = ("TFLite_Detection_PostProcess",)


def _float(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    return any(tensor.dtype.startswith("FLOAT") for tensor in _tensors(graph, operator))


def _float_inside(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    return operator.name not in ("QUANTIZE", "DEQUANTIZE", *_RUNTIMES_OWN) and _float(graph, operator)


def _dynamic(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    return any(tensor.dynamic for tensor in _tensors(graph, operator))


#: Operators that Vela also takes in int32.
_INT32 = ("ADD", "ARG_MAX", "MIRROR_PAD", "MUL", "SHAPE", "SUB", "TRANSPOSE")


def _type_unknown_to_ethos_u(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    computed = [tensor for tensor in _tensors(graph, operator) if not tensor.data]
    allowed = {"INT8", "UINT8", "INT16", "FLOAT32", "FLOAT16"}  # float has its own rule
    allowed |= {"INT32"} if operator.name in _INT32 else set()
    allowed |= {"INT64"} if operator.name == "ARG_MAX" else set()
    return any(tensor.dtype not in allowed for tensor in computed)


def _type_unknown_to_vx(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    written = [graph.tensors[index].dtype for index in operator.outputs if index >= 0]
    return "INT16" in written or any(tensor.dtype in ("INT64", "STRING") for tensor in _tensors(graph, operator))


def _batch(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    return graph.shape(operator.inputs, 0)[:1] not in ((), (1,))


def _over_four_dimensions(graph: tflite.Graph, operator: tflite.Operator) -> bool:
    return any(len(tensor.shape) > 4 for tensor in _tensors(graph, operator))


def _flex(_graph: tflite.Graph, operator: tflite.Operator) -> bool:
    return operator.name.startswith("Flex")


def _custom(_graph: tflite.Graph, operator: tflite.Operator) -> bool:
    own = operator.name == operator.name.upper() or operator.name in _RUNTIMES_OWN  # TFLite's own are in capitals
    return not own and not operator.name.startswith("Flex")


def _runtimes_own(_graph: tflite.Graph, operator: tflite.Operator) -> bool:
    return operator.name in _RUNTIMES_OWN


#: Name in ``compat.toml`` -> whether it applies to an operator.
CONDITIONS: dict[str, Callable[[tflite.Graph, tflite.Operator], bool]] = {
    "batch": _batch,
    "custom": _custom,
    "dynamic": _dynamic,
    "flex": _flex,
    "float": _float,
    "float_inside": _float_inside,
    "half_pixel": _half_pixel,
    "half_pixel_not_double": _half_pixel_not_double,
    "odd_factor": _odd_factor,
    "over_four_dimensions": _over_four_dimensions,
    "per_channel": _per_channel,
    "runtimes_own": _runtimes_own,
    "type_unknown_to_ethos_u": _type_unknown_to_ethos_u,
    "type_unknown_to_vx": _type_unknown_to_vx,
}


# The data


@cache
def load_rules() -> tuple[Rule, ...]:
    """Load every rule of ``compat.toml``, in file order."""
    return TypeAdapter(tuple[Rule, ...]).validate_python(tomllib.loads(RULES.read_text(encoding="utf-8"))["rule"])


@cache
def load_operators() -> dict[str, OperatorSupport]:
    """Load every row of ``operators.csv``."""
    with OPERATORS.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {
            row["operator"]: OperatorSupport(tuple(row["versions"].split()), row["ethos_u"], row["vx"]) for row in rows
        }


# The report


def required_runtime(graph: tflite.Graph) -> tuple[str, list[str]]:
    """Find the oldest TFLite that knows every operator version, and the operators that are not in the table.

    The converter records a version in the file too; the higher of the two counts.
    """
    known, found, unknown = load_operators(), [graph.min_runtime], set()
    for operator in graph.operators:
        versions = known[operator.name].versions if operator.name in known else ()
        if operator.version <= len(versions):
            found.append(versions[operator.version - 1])
        else:
            unknown.add(f"{operator.name} version {operator.version}")
    return max(found, key=parse_version), sorted(unknown)


def examine(graph: tflite.Graph, accelerator: str, bsp: Bsp) -> tuple[int, tuple[Finding, ...]]:
    """Examine one target with one BSP: how many operators the accelerator takes, and what prevents the others."""
    found: list[Finding] = []
    least, unknown = required_runtime(graph)
    if parse_version(bsp.tflite) < parse_version(least):
        what = f"the model needs TFLite {least}, this BSP has {bsp.tflite}"
        remedy = "use a newer BSP, or convert with an older TensorFlow"
        found.append(
            Finding("runtime-too-old", "red", what, {}, "the file's min_runtime_version; operators.csv", remedy)
        )
    if unknown and not graph.min_runtime:
        what = f"it is unknown which runtime supports {', '.join(unknown)}"
        remedy = "look it up, and add a row to utils/npu/operators.csv"
        found.append(Finding("version-unknown", "yellow", what, {}, "operators.csv", remedy))
    stay: set[int] = set()
    for rule in load_rules():
        if not rule.holds_for(accelerator, bsp):
            continue
        hit = [
            index
            for index, operator in enumerate(graph.operators)
            if (not rule.operators or operator.name in rule.operators) and CONDITIONS[rule.when](graph, operator)
        ]
        if hit:
            count = dict(sorted(Counter(graph.operators[index].name for index in hit).items()))
            found.append(Finding(rule.id, rule.severity, rule.what, count, rule.evidence, rule.remedy))
            stay |= set(hit) if rule.on_cpu else set()
    if accelerator == "cpu":
        return len(graph.operators), tuple(found)
    known = load_operators()
    foreign = [
        index
        for index, operator in enumerate(graph.operators)
        if index not in stay and not (operator.name in known and known[operator.name].runs_on(accelerator, bsp))
    ]
    if foreign:
        count = dict(sorted(Counter(graph.operators[index].name for index in foreign).items()))
        what = "the accelerator does not take these operators: they stay on the CPU"
        remedy = "nothing to do: the model runs, but these operators and the copies to the CPU and back cost time"
        found.append(Finding("not-on-the-accelerator", "yellow", what, count, "operators.csv", remedy))
    return len(graph.operators) - len(stay | set(foreign)), tuple(found)


def report(graph: tflite.Graph, bsps: tuple[Bsp, ...] = ()) -> list[Verdict]:
    """Examine every target with every BSP (or the named ones); neighbours with equal results become one verdict."""
    verdicts: list[Verdict] = []
    for accelerator, target in TARGETS.items():
        last: tuple[int, tuple[Finding, ...]] | None = None
        for bsp in bsps or tuple(load_bsps().values()):
            result = examine(graph, accelerator, bsp)
            if result == last:
                verdicts[-1] = replace(verdicts[-1], bsps=(*verdicts[-1].bsps, bsp.name))
                continue
            last = result
            colours = [finding.severity for finding in result[1]]
            colour: Colour = max(colours, key=_ORDER.index) if colours else "green"
            total = len(graph.operators)
            verdicts.append(Verdict(accelerator, target, (bsp.name,), colour, result[0], total, result[1]))
    return verdicts


def as_json(file: Path, bsps: tuple[Bsp, ...] = ()) -> dict[str, Any]:
    """Make the report about a file as JSON values, with the file's hash."""
    graph = _read(file)
    least, unknown = required_runtime(graph)
    return {
        "format": 1,
        "file": file.name,
        **files.describe_file(file),
        "needs_tflite": least,
        "unknown_to_the_table": unknown,
        "targets": [asdict(verdict) | {"span": verdict.span} for verdict in report(graph, bsps)],
    }


def as_text(file: Path, bsps: tuple[Bsp, ...] = ()) -> str:
    """Make the report about a file as text."""
    graph = _read(file)
    least, unknown = required_runtime(graph)
    lines = [f"{untrusted.as_text(file.name)}: {len(graph.operators)} operators, needs TFLite {least}"]
    if unknown:
        lines.append(f"  only the file states this, for {', '.join(unknown)}: not in utils/npu/operators.csv")
    for verdict in report(graph, bsps):
        lines += ["", f"{verdict.verdict.upper():6} {verdict.target}; {verdict.span}"]
        if verdict.accelerator != "cpu":
            lines.append(f"       {verdict.placed} of {verdict.total} operators on the accelerator")
        for finding in verdict.findings:
            about = ", ".join(f"{count} x {operator}" for operator, count in finding.operators.items())
            lines.append(f"       [{finding.id}] {about}{': ' if about else ''}{finding.what}")
            lines += [f"         evidence: {finding.evidence}", f"         -> {finding.remedy}"]
    return "\n".join(lines) + "\n"


def _read(file: Path) -> tflite.Graph:
    """Read the graph of a file.

    Raises:
        DataError: not a TFLite file, or one that Vela has compiled: its operators are hidden.
    """
    graph = tflite.read(file)
    if vela.CUSTOM in graph.count():
        raise DataError(
            "is compiled by Vela", where=untrusted.as_text(file.name), hint="give the model that it was compiled from"
        )
    return graph
