"""Check a TFLite file against what its recipe expects; a build that differs fails."""

from __future__ import annotations

from pathlib import Path

from utils import example, tflite
from utils.errors import GateError
from utils.npu.bsp import parse_version
from utils.recipe.fields import Variant
from utils.recipe.schema import Recipe
from utils.recipe.tables import LoadTflite

__all__ = ["check_graph"]


def check_graph(recipe: Recipe, variant: Variant, file: Path) -> None:
    """Check a TFLite file against ``[expected]``, and its input and output against the recipe's.

    Raises:
        DataError: the file cannot be read.
        GateError: something differs; lists all differences.
    """
    graph, expected, wrong = tflite.read(file), recipe.expected, []
    counted = graph.count()
    if variant == "int8_float_io":  # the operators between the float I/O and the int8 graph
        counted = {name: count - (name in ("QUANTIZE", "DEQUANTIZE")) for name, count in counted.items()}
        counted = {name: count for name, count in counted.items() if count}
    if expected.operators is not None and counted != dict(sorted(expected.operators.items())):
        wrong.append(f"operators: {counted}, expected {expected.operators}")
    if off := expected.misses("macs", graph.macs()):
        wrong.append(off)
    if isinstance(recipe.load, LoadTflite) and (off := expected.misses("parameters", graph.parameters())):
        wrong.append(off)
    if parse_version(graph.min_runtime) > parse_version(expected.min_runtime):
        wrong.append(f"min_runtime: the file needs {graph.min_runtime}, expected at most {expected.min_runtime}")
    if variant != "float32" and file.stat().st_size > expected.int8_bytes:
        wrong.append(f"int8_bytes: {file.stat().st_size:,}, expected at most {expected.int8_bytes:,}")
    wrong += _meanings(recipe, graph, file)
    takes = {"int8": "INT8", "uint8": "UINT8"}.get(variant, "FLOAT32")
    wanted = [(recipe.input.name, recipe.input.shape, takes)]
    wanted += [(output.name, output.shape, output.dtype_in(variant)) for output in recipe.outputs]
    for name, shape, dtype in wanted:
        try:
            tensor = graph.tensor(name)
        except KeyError:
            wrong.append(f"{name}: the graph has no input or output of that name")
            continue
        found = list(tensor.shape) or _shape_when_run(file, name)
        if found != list(shape) or tensor.dtype != dtype:
            wrong.append(f"{name}: {tensor.dtype}{found}, expected {dtype}{list(shape)}")
    if wrong:
        raise GateError(
            f"the {variant} graph is not what the recipe expects:\n  " + "\n  ".join(wrong),
            where=f"{recipe.where}: expected",
            hint="correct the network, or [expected] if the change is intended",
        )


def _shape_when_run(file: Path, name: str) -> list[int]:
    """The shape of an output that the file leaves open: an operator sets it when memory is allocated."""
    model = example.Model(str(file), example.load_runtime(), threads=1)
    return next(([int(size) for size in found["shape"]] for found in model.outputs if found["name"] == name), [])


def _meanings(recipe: Recipe, graph: tflite.Graph, file: Path) -> list[str]:
    """Find outputs and labels that contradict the operator which makes boxes: its outputs have a fixed order."""
    said = example.read_content(str(file)).detector
    if said is None:
        return []
    wrong, meant = [], {index: meaning for meaning, index in said.outputs.items()}
    by_name = {graph.tensors[index].name: index for index in graph.outputs} | graph.signature
    for output in recipe.outputs:
        actual = meant.get(by_name.get(output.name, -1))
        if actual and actual != output.kind:
            wrong.append(f"{output.name}: the graph's {actual}, expected its {output.kind}")
    if said.classes and said.classes != recipe.classes:
        wrong.append(f"labels: {recipe.classes}, but the graph tells {said.classes} classes apart")
    return wrong
