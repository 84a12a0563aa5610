"""What of a bundle the browser gets: files with float ends, golden tensors as raw arrays, examples.

docs/reference/try.md describes the entry. Bundles are read as data that may be damaged or hostile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils import example, limits, tasks, tflite, tflite_edit
from utils.errors import DataError
from utils.untrusted import as_text, read_untrusted

__all__ = ["BROWSER_BYTES", "Trial", "beside", "make"]

#: The largest file that a page loads into a browser: MobileNetV2 in float32 has 14 MB, ResNet50 102 MB.
BROWSER_BYTES = 32 * 2**20

#: Examples that a page offers, and the bytes of all of them.
EXAMPLES, EXAMPLES_BYTES = 10, 4 * 2**20

#: The largest grey input that a visitor draws, in pixels a side.
DRAWN = 64

_HINT = "build the bundle again"
_PICTURES = (".bmp", ".jpeg", ".jpg", ".png")
_KEPT = ("shape", "colour", "resize", "fit", "mean", "std", "name")


@dataclass
class Trial:
    """What the page of a model needs to run it.

    Attributes:
        entry: "try" of catalogue.json; None where the browser cannot run the model.
        why: why it cannot, for people; empty where it can.
        files: path in the site -> content.
    """

    entry: dict[str, Any] | None = None
    why: str = ""
    files: dict[str, bytes] = field(default_factory=dict)


def make(name: str, folder: Path) -> Trial:
    """What the browser gets of a bundle.

    Args:
        name: of the model; paths in the site have it.
        folder: the bundle.

    Raises:
        DataError: the bundle is damaged.
    """
    try:
        bundle = example.Bundle(str(folder))
        facts = bundle.facts
        if why := _why_not(facts):
            return Trial(why=why)
        return _Maker(name, folder, bundle).make()
    except example.Problem as error:
        raise DataError(as_text(error), where=as_text(name), hint=_HINT) from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # a part is missing
        raise DataError(f"is damaged ({as_text(error)})", where=as_text(name), hint=_HINT) from None


def beside(trials: Mapping[str, Trial]) -> None:
    """Let the models of a pair, whose names differ in their last word alone, be drawn for together."""
    drawn = {name: trial.entry for name, trial in trials.items() if trial.entry and trial.entry["kind"] == "draw"}
    for name, entry in drawn.items():
        stem = name.rpartition("_")[0]
        others = [other for other in sorted(drawn) if stem and other != name and other.rpartition("_")[0] == stem]
        entry["beside"] = [
            {key: value for key, value in drawn[other].items() if key != "beside"}
            for other in others
            if drawn[other]["input"]["shape"] == entry["input"]["shape"]
        ]


def _why_not(facts: dict[str, Any]) -> str:
    """Why a browser cannot run the models of a bundle; empty if it can."""
    if _tried(facts) is None:
        return f"the page does not try models for {as_text(facts['task'])}"
    if facts["input"].get("kind", "image") != "image" or len(facts["output"]) != 1:
        return "the page takes a picture and shows one output"
    return ""


def _tried(facts: dict[str, Any]) -> tasks.Tried | None:
    kind = tasks.every_task().get(facts["task"])
    return kind.tried if kind else None


class _Maker:
    """One bundle's entry and files."""

    def __init__(self, name: str, folder: Path, bundle: Any) -> None:
        self.name, self.folder, self.bundle, self.facts = name, folder, bundle, bundle.facts
        self.trial = Trial()
        height, width, channels = self.facts["input"]["shape"][1:]
        is_small = _tried(self.facts) == "labels" and channels == 1 and max(height, width) <= DRAWN
        self.kind = "draw" if is_small else "picture"

    def make(self) -> Trial:
        variants: list[dict[str, Any]] = []
        left_out: list[dict[str, str]] = []
        given = self.facts["variants"]
        for variant in sorted(given, key=lambda found: (found != "float32", found)):
            if variant == "int8_float_io" and "int8" in given:
                continue  # the same graph
            try:
                variants.append(self._variant(variant, given[variant]))
            except _LeftOutError as error:
                left_out.append({"variant": variant, "why": str(error)})
        if not variants:
            return Trial(why="; ".join(f"{entry['variant']}: {entry['why']}" for entry in left_out))
        answer = self.facts["output"][0]
        labels = self._read(self.facts["labels"], limits.JSON_BYTES)
        self.trial.entry = {
            "format": 1,
            "kind": self.kind,
            "name": self.name,
            "title": str(self.facts.get("title", self.name)),
            "shows": _tried(self.facts),
            "input": {key: self.facts["input"][key] for key in _KEPT},
            "output": {key: answer[key] for key in ("name", "shape", "kind", "golden_stride") if key in answer},
            "labels": self._add("labels.txt", labels),
            "examples": self._examples(),
            "variants": variants,
            "left_out": left_out,
            "beside": [],
        }
        return self.trial

    def _variant(self, variant: str, entry: dict[str, Any]) -> dict[str, Any]:
        data = self._read(entry["file"], limits.MODEL_BYTES)
        if len(data) > BROWSER_BYTES:
            raise _LeftOutError(f"has {len(data):,} bytes, and a page loads at most {BROWSER_BYTES:,}")
        graph = tflite.parse(data, as_text(entry["file"]))
        start, end = graph.tensor(self.facts["input"]["name"]), graph.tensor(self.facts["output"][0]["name"])
        for tensor in (start, end):
            if tensor.dtype not in ("FLOAT32", "INT8", "UINT8") or (tensor.dtype != "FLOAT32" and not tensor.scales):
                raise _LeftOutError(f"{as_text(tensor.name)} holds {as_text(tensor.dtype)} without a float32 form")
        is_float = start.dtype == end.dtype == "FLOAT32"
        taken = data if is_float else tflite_edit.float_io(data)
        return {
            "variant": variant,
            "file": self._add(f"{variant}.tflite", taken),
            "size": len(taken),
            "sha256": hashlib.sha256(taken).hexdigest(),
            "ends": "as built" if is_float else "put back",
            "maps": self._maps(variant, taken, graph) if self.kind == "draw" else None,
            "golden": self._golden(variant, entry, start, end),
        }

    def _maps(self, variant: str, taken: bytes, graph: tflite.Graph) -> dict[str, Any] | None:
        """A copy that also answers with what each upsampling makes."""
        found = [operator for operator in graph.operators if operator.name.startswith("RESIZE_")]
        indices = [operator.outputs[0] for operator in found]
        if not indices:
            return None
        made = tflite_edit.show_tensors(taken, indices)
        shown = tflite.parse(made, "feature maps")
        outputs = [shown.tensors[index] for index in shown.outputs[-len(indices) :]]
        return {
            "file": self._add(f"{variant}_maps.tflite", made),
            "outputs": [
                {"name": tensor.name, "operator": operator.name, "shape": list(tensor.shape[1:])}
                for tensor, operator in zip(outputs, found, strict=True)
            ],
        }

    def _golden(
        self, variant: str, entry: dict[str, Any], start: tflite.Tensor, end: tflite.Tensor
    ) -> dict[str, Any] | None:
        inputs, outputs = self.bundle.arrays(entry["golden"], "input", "output")
        for array, tensor in ((inputs, start), (outputs, end)):
            if array.dtype.name.upper() != tensor.dtype:
                raise DataError(f"golden tensors hold {array.dtype}", where=as_text(entry["golden"]), hint=_HINT)
        if inputs.nbytes + outputs.nbytes > BROWSER_BYTES:
            return None
        return {
            "inputs": self._add(f"{variant}_golden_inputs.bin", _raw(inputs)),
            "outputs": self._add(f"{variant}_golden_outputs.bin", _raw(outputs)),
            "dtype": inputs.dtype.name,
            "output_dtype": outputs.dtype.name,
            "count": len(inputs),
            **_scaling("input", start),
            **_scaling("output", end),
            "step": int(self.facts["output"][0].get("golden_stride", 1)),
            "tolerance": float(entry.get("tolerance", self._tolerance(end))),
            "unit": "absolute" if end.dtype == "FLOAT32" else "steps",
        }

    def _tolerance(self, end: tflite.Tensor) -> float:
        """That of bundles whose variants have none of their own."""
        return float(self.facts["tolerance"]["float32" if end.dtype == "FLOAT32" else "int8_steps"])

    def _examples(self) -> list[str]:
        found: list[str] = []
        left = EXAMPLES_BYTES
        folder = self.folder / "inputs"
        names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
        for name in names:
            if not name.lower().endswith(_PICTURES) or len(found) == EXAMPLES:
                continue
            content = self._read(f"inputs/{name}", limits.MODEL_BYTES)
            if len(content) <= left:
                left -= len(content)
                found.append(self._add(f"example_{len(found)}{Path(name).suffix.lower()}", content))
        return found

    def _read(self, name: str, most: int) -> bytes:
        return read_untrusted(self.folder / name, where=as_text(name), error=DataError, hint=_HINT, most=most)

    def _add(self, name: str, content: bytes) -> str:
        path = f"models/{self.name}/try/{name}"
        self.trial.files[path] = content
        return path


class _LeftOutError(Exception):
    """The browser does not get this variant; the text says why."""


def _scaling(side: str, tensor: tflite.Tensor) -> dict[str, float | int]:
    is_real = tensor.dtype == "FLOAT32"
    return {
        f"{side}_scale": 1.0 if is_real else float(tensor.scales[0]),
        f"{side}_zero_point": 0 if is_real else int(tensor.zero_points[0]),
    }


def _raw(array: np.ndarray[Any, Any]) -> bytes:
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
