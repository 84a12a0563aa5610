"""Check a TFLite file against what its recipe expects; a build that differs fails."""

from __future__ import annotations

from pathlib import Path

from utils import tflite
from utils.errors import GateError
from utils.npu.bsp import parse_version
from utils.recipe.schema import Recipe
from utils.recipe.tables import LoadTflite

__all__ = ["check_graph"]


def check_graph(recipe: Recipe, variant: str, file: Path) -> None:
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
    dtype = "INT8" if variant == "int8" else "FLOAT32"
    for name, shape in ((recipe.input.name, recipe.input.shape), (recipe.output.name, recipe.output.shape)):
        try:
            tensor = graph.tensor(name)
        except KeyError:
            wrong.append(f"{name}: the graph has no input or output of that name")
            continue
        if list(tensor.shape) != list(shape) or tensor.dtype != dtype:
            wrong.append(f"{name}: {tensor.dtype}{list(tensor.shape)}, expected {dtype}{list(shape)}")
    if wrong:
        raise GateError(
            f"the {variant} graph is not what the recipe expects:\n  " + "\n  ".join(wrong),
            where=f"{recipe.where}: expected",
            hint="correct the network, or [expected] if the change is intended",
        )
