"""Run a TFLite file, and read what is between its input and its output."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import environment, example, tflite, tflite_edit
from utils.errors import BuildError
from utils.model.pairs import INPUT, Paired
from utils.untrusted import as_text

__all__ = ["Exact", "Runner", "Values"]

Values = npt.NDArray[np.float32]


class Runner:
    """A TFLite file that runs on the CPU with TFLite's own kernels, and keeps every tensor.

    XNNPACK would keep what is between its operators to itself. Several threads sum in another order than one.
    """

    def __init__(self, data: bytes, name: str, threads: int | None = None) -> None:
        module = example.load_runtime().module
        kernels = getattr(module, "OpResolverType", None) or module.experimental.OpResolverType
        self._name, self._data = name, data  # which the interpreter does not copy
        try:
            self._interpreter = module.Interpreter(
                model_content=data,
                num_threads=threads or environment.cores(),
                experimental_op_resolver_type=kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise self._refused(error) from None
        self.details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}

    def run(self, index: int, value: Values) -> None:
        """Run it on one input, real values."""
        self.set(index, value)
        self.invoke()

    def set(self, index: int, value: Values) -> None:
        """Set an input, real values."""
        self._interpreter.set_tensor(index, example.quantise_as(self.details[index], value))

    def invoke(self) -> None:
        """Compute."""
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise self._refused(error) from None

    def raw(self, index: int) -> npt.NDArray[Any]:
        """The values of a tensor as it has them."""
        return np.asarray(self._interpreter.get_tensor(index))

    def real(self, index: int) -> Values:
        """The real values of a tensor."""
        raw, given = self.raw(index), self.details[index]["quantization_parameters"]
        if raw.dtype.kind == "f" or not len(given["scales"]):
            return np.asarray(raw, np.float32)
        zeros = given["zero_points"].astype(np.float32).reshape(self.scales(index).shape)
        return np.asarray((raw.astype(np.float32) - zeros) * self.scales(index), np.float32)

    def scales(self, index: int) -> Values:
        """The scales of a quantised tensor, of a shape that broadcasts to the tensor's."""
        detail = self.details[index]
        given = detail["quantization_parameters"]
        shape = [1] * len(detail["shape"])
        if len(given["scales"]) > 1:
            shape[given["quantized_dimension"]] = -1
        return np.asarray(given["scales"], np.float32).reshape(shape)

    def _refused(self, error: Exception) -> BuildError:
        what = f"the runtime cannot run it: {as_text(' '.join(str(error).split()), 300)}"
        return BuildError(what, where=as_text(self._name), hint="the message names the operator")


class Exact:
    """The float32 file, each paired layer of which reads what it is given."""

    def __init__(self, file: Path, paired: Paired) -> None:
        graph = tflite.read(file)
        self._pairs = paired.pairs
        self._written = [pair.float32.tensor for pair in paired.pairs if pair.float32.kind != INPUT]
        read = {index for operator in graph.operators for index in operator.inputs}
        self._twins = {
            tensor: len(graph.tensors) + place
            for place, tensor in enumerate(tensor for tensor in self._written if tensor in read)
        }
        self._runner = Runner(tflite_edit.rewrite(file.read_bytes(), self._cut), file.name)

    def _cut(self, model: Any) -> None:
        """Let who reads a paired tensor read an input of the graph in its place, and make all of them outputs."""
        graph = model.subgraphs[0]
        for tensor in self._twins:
            twin = copy.copy(graph.tensors[tensor])
            twin.name, twin.buffer = b"given", 0
            graph.tensors.append(twin)
        for operator in graph.operators:
            if operator.inputs is not None:
                operator.inputs = [self._twins.get(int(index), int(index)) for index in operator.inputs]
        graph.inputs = [int(graph.inputs[0]), *self._twins.values()]
        graph.outputs = list(self._written)
        model.signatureDefs = []

    def run(self, given: Sequence[Values]) -> None:
        """Compute every layer on what the layers before it wrote in the int8 file, in the order of the pairs."""
        for pair, value in zip(self._pairs, given, strict=True):
            index = self._twins.get(pair.float32.tensor)
            if pair.float32.kind == INPUT or index is not None:
                self._runner.set(pair.float32.tensor if index is None else index, value)
        self._runner.invoke()

    def real(self, tensor: int, ours: Runner) -> Values:
        """What an exact layer wrote; for the graph's input, which no layer writes, the input itself."""
        return self._runner.real(tensor) if tensor in self._written else ours.real(tensor)
