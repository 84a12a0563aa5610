"""Say where a model will run: three targets, every BSP, and the known traps.

The traps are data, ``compat.toml``: each has an id, evidence and a remedy. ``operators.csv`` has the lowest TFLite
version that knows each version of an operator (from TensorFlow's ``runtime_version.cc``), and the accelerators that
support the operator (from the lists of supported operators of Vela 3.12.0 to 5.2.0, and from the VX delegate's
``op_map.cc``). Together they are the *tables*: what they say is a prediction.

Where the Vela of a BSP is installed it is asked instead (``utils/npu/asked.py``): it decides what the i.MX 93's NPU
takes. Then the tables only explain.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from utils import tflite, untrusted
from utils.errors import DataError
from utils.npu import asked, conditions
from utils.npu.bsp import Bsp, load_bsps, parse_version
from utils.npu.rules import Colour, Rule, load_operators, load_rules
from utils.npu.vela_output import CUSTOM

__all__ = ["TABLES", "TARGETS", "Examined", "Finding", "Verdict", "as_json", "as_text", "examine", "report"]

#: Accelerator -> name of the target.
TARGETS = {
    "vx": "i.MX 8M Plus, NPU through the VX delegate",
    "ethos_u": "i.MX 93, NPU through Ethos-U (Vela)",
    "cpu": "CPU of either board",
}

#: Who says so, where no Vela was asked.
TABLES = "tables"

_ORDER: list[Colour] = ["green", "yellow", "red"]


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
class Examined:
    """One target with one BSP.

    Attributes:
        on_accelerator: indices of the operators that the accelerator takes; on the CPU: all.
        findings: what prevents the others.
        by: who decided: ``TABLES``, or ``Vela`` and its version.
    """

    on_accelerator: frozenset[int]
    findings: tuple[Finding, ...]
    by: str

    @property
    def placed(self) -> int:
        """How many operators the accelerator takes."""
        return len(self.on_accelerator)


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
        by: who decided: ``TABLES``, or ``Vela`` and its version.
        findings: the reasons.
    """

    accelerator: str
    target: str
    bsps: tuple[str, ...]
    verdict: Colour
    placed: int
    total: int
    by: str
    findings: tuple[Finding, ...]

    @property
    def span(self) -> str:
        """The range of BSPs."""
        if len(self.bsps) == len(load_bsps()):
            return "every BSP"
        return self.bsps[0] if len(self.bsps) == 1 else f"{self.bsps[0]} to {self.bsps[-1]}"


# The report

#: Asks the Vela of a BSP: operators that stay on the CPU, by index, with the reason; None where it is not installed.
Ask = Callable[[Bsp], asked.Answer | None]


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


def examine(graph: tflite.Graph, accelerator: str, bsp: Bsp, ask: Ask = lambda _: None) -> Examined:
    """Examine one target with one BSP: what the accelerator takes, and what prevents the others.

    Args:
        graph: the model.
        accelerator: key of ``TARGETS``.
        bsp: whose versions count.
        ask: asks the BSP's Vela; without one, the tables decide.
    """
    found = _about_the_runtime(graph, bsp)
    everything = frozenset(range(len(graph.operators)))
    stay, hits = _apply_rules(graph, accelerator, bsp)
    answer = ask(bsp) if accelerator == "ethos_u" else None
    if answer:
        return _by_vela(graph, answer, found, hits)
    found += [_finding(rule, graph, hit) for rule, hit in hits]
    if accelerator == "cpu":
        return Examined(everything, tuple(found), TABLES)
    if any(rule.refuses for rule, _ in hits):
        return Examined(frozenset(), tuple(found), TABLES)
    known = load_operators()
    foreign = _unsupported(graph, accelerator, bsp) - stay
    foreign |= {index for index in everything - stay if graph.operators[index].name not in known}
    if foreign:
        what = "the accelerator does not take these operators: they stay on the CPU"
        remedy = "nothing to do: the model runs, but these operators and the copies to the CPU and back cost time"
        found.append(Finding("not-on-the-accelerator", "yellow", what, _count(graph, foreign), "operators.csv", remedy))
    return Examined(everything - stay - foreign, tuple(found), TABLES)


def _about_the_runtime(graph: tflite.Graph, bsp: Bsp) -> list[Finding]:
    found = []
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
    return found


def _apply_rules(graph: tflite.Graph, accelerator: str, bsp: Bsp) -> tuple[set[int], list[tuple[Rule, list[int]]]]:
    """Find the rules that apply with their operators, and all operators that they keep on the CPU."""
    stay: set[int] = set()
    hits = []
    unsupported = _unsupported(graph, accelerator, bsp)
    for rule in load_rules():
        if not rule.holds_for(accelerator, bsp):
            continue
        # A rule about every operator explains nothing of one that is not supported at all.
        passed = unsupported if not rule.operators and rule.severity == "yellow" and rule.on_cpu else set()
        hit = [
            index
            for index, operator in enumerate(graph.operators)
            if index not in passed
            and (not rule.operators or operator.name in rule.operators)
            and conditions.CONDITIONS[rule.when](graph, operator)
        ]
        if hit:
            hits.append((rule, hit))
            stay |= set(hit) if rule.on_cpu else set()
    return stay, hits


def _unsupported(graph: tflite.Graph, accelerator: str, bsp: Bsp) -> set[int]:
    """The operators that the accelerator does not take, whatever their tensors are, by the table of operators."""
    if accelerator == "cpu":
        return set()
    known = load_operators()
    return {
        index
        for index, operator in enumerate(graph.operators)
        if (row := known.get(operator.name)) and not row.runs_on(accelerator, bsp)
    }


def _by_vela(
    graph: tflite.Graph, answer: asked.Answer, found: list[Finding], hits: list[tuple[Rule, list[int]]]
) -> Examined:
    """What Vela decided; of the rules, those that explain it."""
    explained: set[int] = set()
    for rule, hit in hits:
        holds = [index for index in hit if index in answer.on_cpu or not rule.on_cpu]
        if holds and not answer.refusal:
            found.append(_finding(rule, graph, holds))
            explained |= set(holds) if rule.on_cpu else set()
        elif rule.severity == "red":
            found.append(_finding(rule, graph, hit))
    if answer.refusal:
        what = f"this BSP's Vela does not compile the file: {answer.refusal}"
        remedy = "all of it runs on the CPU; try another BSP's Vela, or change what these lines name"
        found.append(Finding("vela-refuses", "yellow", what, graph.count(), answer.by, remedy))
        return Examined(frozenset(), tuple(found), answer.by)
    reasons: dict[str, set[int]] = {}
    for index, reason in answer.on_cpu.items():
        if index not in explained:
            reasons.setdefault(reason, set()).add(index)
    for reason, indices in sorted(reasons.items()):
        remedy = "change what the reason names, or accept that they and the copies to the CPU and back cost time"
        found.append(Finding("vela-cpu", "yellow", reason, _count(graph, indices), answer.by, remedy))
    return Examined(frozenset(range(len(graph.operators))) - set(answer.on_cpu), tuple(found), answer.by)


def _count(graph: tflite.Graph, indices: set[int] | list[int]) -> dict[str, int]:
    return dict(sorted(Counter(graph.operators[index].name for index in indices).items()))


def _finding(rule: Rule, graph: tflite.Graph, hit: list[int]) -> Finding:
    return Finding(rule.id, rule.severity, rule.what, _count(graph, hit), rule.evidence, rule.remedy)


def report(graph: tflite.Graph, bsps: tuple[Bsp, ...] = (), ask: Ask = lambda _: None) -> list[Verdict]:
    """Examine every target with every BSP (or the named ones); neighbours with equal results become one verdict."""
    verdicts: list[Verdict] = []
    for accelerator, target in TARGETS.items():
        last: Examined | None = None
        for bsp in bsps or tuple(load_bsps().values()):
            result = examine(graph, accelerator, bsp, ask)
            if result == last:
                verdicts[-1] = replace(verdicts[-1], bsps=(*verdicts[-1].bsps, bsp.name))
                continue
            last = result
            colours = [finding.severity for finding in result.findings]
            colour: Colour = max(colours, key=_ORDER.index) if colours else "green"
            total = len(graph.operators)
            verdicts.append(
                Verdict(accelerator, target, (bsp.name,), colour, result.placed, total, result.by, result.findings)
            )
    return verdicts


def as_json(file: Path, bsps: tuple[Bsp, ...] = (), *, asks: bool = False) -> dict[str, Any]:
    """Make the report about a file as JSON values, with the file's hash.

    Args:
        file: a TFLite file, which is read once.
        bsps: only these.
        asks: whether installed Velas are asked; without it, the report is the same on every machine.
    """
    data, graph = _read(file)
    least, unknown = required_runtime(graph)
    return {
        "format": 2,
        "file": file.name,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "needs_tflite": least,
        "unknown_to_the_table": unknown,
        "targets": [asdict(verdict) | {"span": verdict.span} for verdict in report(graph, bsps, _asker(data, asks))],
    }


def as_text(file: Path, bsps: tuple[Bsp, ...] = (), *, asks: bool = False) -> str:
    """Make the report about a file as text; the arguments are those of :func:`as_json`."""
    data, graph = _read(file)
    least, unknown = required_runtime(graph)
    lines = [f"{untrusted.as_text(file.name)}: {len(graph.operators)} operators, needs TFLite {least}"]
    if unknown:
        lines.append(f"  only the file states this, for {', '.join(unknown)}: not in utils/npu/operators.csv")
    for verdict in report(graph, bsps, _asker(data, asks)):
        lines += ["", f"{verdict.verdict.upper():6} {verdict.target}; {verdict.span}"]
        said = "predicted" if verdict.by == TABLES else f"by {verdict.by}"
        if verdict.accelerator != "cpu":
            lines.append(f"       {verdict.placed} of {verdict.total} operators on the accelerator, {said}")
        for finding in verdict.findings:
            about = ", ".join(f"{count} x {operator}" for operator, count in finding.operators.items())
            lines.append(f"       [{finding.id}] {about}{': ' if about else ''}{finding.what}")
            lines += [f"         evidence: {finding.evidence}", f"         -> {finding.remedy}"]
    return "\n".join(lines) + "\n"


def _asker(data: bytes, asks: bool) -> Ask:
    return cache(partial(asked.ask, data)) if asks else lambda _: None


def _read(file: Path) -> tuple[bytes, tflite.Graph]:
    """Read the graph of a file.

    Raises:
        DataError: not a TFLite file, or one that Vela has compiled: its operators are hidden.
    """
    data = tflite.load(file)
    graph = tflite.parse(data, untrusted.as_text(file.name))
    if CUSTOM in graph.count():
        raise DataError(
            "is compiled by Vela", where=untrusted.as_text(file.name), hint="give the model that it was compiled from"
        )
    return data, graph
