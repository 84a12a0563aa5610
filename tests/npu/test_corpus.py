"""What Vela places, and what the tables say of it, operator for operator, on small graphs of every kind."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.support.checkouts import ROOT
from tests.support.corpus import GRAPHS
from tests.support.velas import require_vela
from utils import tflite
from utils.errors import BuildError
from utils.npu import asked, bsp, compat, vela

pytestmark = pytest.mark.heavy

#: The BSPs whose Velas are asked.
RELEASES = [bsp.find_bsp(name) for name in ("LF6.6.36_2.1.0", "LF6.12.34_2.1.0", "LF6.18.20_2.0.0")]

#: Where the tables differ from a Vela: version -> graphs; docs/how-to/compatibility.md gives the reasons.
_CRASHES = {"a condition", "mean over computed axes", "transpose of int32", "resize to a computed size"}
DIFFERENCES: dict[str, set[str]] = {
    "3.12.0": {*_CRASHES, "nearest corners to 15"},
    "4.3.0": _CRASHES,
    "5.0.0": {"a condition", "conv with computed weights", "mean over computed axes", "pad by computed numbers"},
}


@dataclass(frozen=True)
class Truth:
    """What one Vela made of a graph: the operators that it left on the CPU, and what our code says of that."""

    on_cpu: frozenset[int]
    answer: asked.Answer


@cache
def truth_of(release: bsp.Bsp, folder: Path) -> dict[str, Truth]:
    """Let the Vela of a BSP compile every graph, some at a time, and read the results without the code under test."""

    def compile_one(name: str) -> tuple[str, Truth]:
        home = folder / re.sub(r"\W+", "-", name)
        home.mkdir()
        try:
            placed = vela.place_operators(GRAPHS[name](), "graph.tflite", release, home)
        except BuildError:
            return name, Truth(frozenset(range(len(graph_of(name).operators))), asked.ask(GRAPHS[name](), release))
        answer = asked.Answer(
            f"Vela {release.vela}", {entry.index: entry.reason for entry in placed.cpu if entry.index >= 0}
        )
        return name, Truth(_left_over((home / "given/graph.tflite").read_bytes(), placed.made.read_bytes()), answer)

    with ThreadPoolExecutor(3) as pool:
        return dict(pool.map(compile_one, GRAPHS))


def _left_over(given: bytes, made: bytes) -> frozenset[int]:
    """Which operators of a file, whose tensors have names of their own, are in the compiled one still."""

    def written(data: bytes) -> list[tuple[bytes, ...]]:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
        graph = model.subgraphs[0]
        codes = [code.customCode for code in model.operatorCodes]
        return [
            tuple(graph.tensors[index].name for index in operator.outputs)
            for operator in graph.operators
            if codes[operator.opcodeIndex] != b"ethos-u"
        ]

    left = set(written(made))
    return frozenset(index for index, names in enumerate(written(given)) if names in left)


def graph_of(name: str) -> tflite.Graph:
    return tflite.parse(GRAPHS[name](), name)


def test_the_corpus_is_large_and_every_graph_can_be_read() -> None:
    assert len(GRAPHS) >= 60
    for name in GRAPHS:
        graph = graph_of(name)
        for accelerator in compat.TARGETS:
            for release in bsp.load_bsps().values():
                assert compat.examine(graph, accelerator, release).by == compat.TABLES, name


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES, ids=lambda release: f"vela-{release.vela}")
def test_placement_is_what_vela_decides(release: bsp.Bsp, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The report with that Vela installed: on every graph. The tables alone: on at least 95 %; the rest is listed."""
    require_vela(release)
    truths = truth_of(release, tmp_path_factory.mktemp("corpus"))
    differing = set()
    for name, truth in truths.items():
        graph = graph_of(name)
        everything = frozenset(range(len(graph.operators)))
        told = compat.examine(graph, "ethos_u", release, lambda _, answer=truth.answer: answer)
        assert told.by == f"Vela {release.vela}", name
        assert told.on_accelerator == everything - truth.on_cpu, name
        assert bool(truth.answer.refusal) == any(finding.id == "vela-refuses" for finding in told.findings), name
        explained = {operator for finding in told.findings for operator in finding.operators}
        assert {graph.operators[index].name for index in truth.on_cpu} <= explained, name
        if compat.examine(graph, "ethos_u", release).on_accelerator != told.on_accelerator:
            differing.add(name)
    assert differing == DIFFERENCES[release.vela]
    assert len(differing) <= 0.05 * len(GRAPHS)


def test_every_difference_is_documented() -> None:
    page = (ROOT / "docs/how-to/compatibility.md").read_text()
    for version, names in DIFFERENCES.items():
        for name in names:
            assert re.search(rf"\| {re.escape(name)} \|.*{re.escape(version)}", page), (version, name)
