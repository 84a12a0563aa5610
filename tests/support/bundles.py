"""Bundles made up in a moment: whole ones, as the zoo's own steps leave them, whose models are noise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils import files
from utils.npu import bsp
from utils.npu.compat import TARGETS

#: A PNG of one pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)

DATA = hashlib.sha256(b"a data set").hexdigest()
DEFAULT = bsp.find_default_bsp().name

Change = Callable[[Any], object]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_bundle(
    folder: Path,
    *,
    manifest: Change = lambda _: None,
    model: Change = lambda _: None,
    compat: Change = lambda _: None,
    raw: dict[str, bytes] | None = None,
) -> Path:
    """Write a whole bundle; each change is made to the value of a JSON file before its check sum is.

    Args:
        folder: the new bundle; its name is the model's.
        manifest: changes manifest.json.
        model: changes model.json.
        compat: changes compat.json.
        raw: file name -> bytes, in the place of what would be there.
    """
    name = folder.name
    contents = {f"{name}_{variant}.tflite": f"{name} {variant}".encode() * 9 for variant in ("float32", "int8")}
    found = {
        "manifest.json": _manifest(name, contents),
        "model.json": _model(name, contents),
        "compat.json": _compat(name, contents),
    }
    for value, change in zip(found.values(), (manifest, model, compat), strict=True):
        change(value)
    everything = {
        **contents,
        "README.md": f"# {name}\n".encode(),
        "labels.txt": b"cat\ndog\n",
        "figures/result.png": PIXEL,
        **{file: files.dump_json(value).encode() for file, value in found.items()},
        **(raw or {}),
    }
    for file, data in everything.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    (folder / files.SUMS).write_text(files.make_sums(folder))
    return folder


def _result(name: str, contents: dict[str, bytes], variant: str) -> dict[str, Any]:
    data = contents[f"{name}_{variant}.tflite"]
    return {"sha256": digest(data), "size": len(data)}


def _manifest(name: str, contents: dict[str, bytes]) -> dict[str, Any]:
    results = {
        "float32": _result(name, contents, "float32") | {"accuracy": 90.5, "confusion": [[9, 1], [0, 10]]},
        "int8": _result(name, contents, "int8")
        | {"accuracy": 90.0, "agreement": 99.0, "mean_error": 0.1, "confusion": [[8, 2], [0, 10]]},
    }
    checks = [{"file": file, "check": {"verdict": "PASS"}} for file in contents]
    return {
        "format": 2,
        "model": name,
        "licence": "MIT",
        "card": {
            "group": "zoo",
            "summary": f"{name}, a model",
            "introduction": "It tells cats from dogs.",
            "limitations": "It knows no birds.",
            "metric": "top-1",
            "redistributable": True,
            "evaluation_set": {"name": "pets.csv", "sha256": DATA},
            "links": {"weights": "https://example.org/weights.h5"},
            "claims": [{"what": "accuracy", "value": "91 %", "source": "https://example.org/paper"}],
            "targets": [],
            "measured": [],
        },
        "graph": {"parameters": 3500000, "macs": 300000000, "operators": {"CONV_2D": 3, "SOFTMAX": 1}},
        "recipe_sha256": "0" * 64,
        "sources": {
            "weights": {"name": "weights.h5", "sha256": "1" * 64, "size": 9, "licence": "MIT", "pinned": True},
            "evaluation": {
                "name": "pets.csv", "sha256": "2" * 64, "size": 9, "licence": "CC0-1.0", "pinned": True, "count": 20,
            },
        },
        "environment": {"tools": {"tensorflow": "2.21.0"}, "bit_identical": True, "machine": "x86_64"},
        "parity": {},
        "evaluation": {
            "dataset": "evaluation", "count": 20, "metric": "top1", "variants": results,
            "runtime": {"name": "ai_edge_litert", "version": "2.3.0"},
        },
        "validation": {"format": 1, "models": checks},
    }  # fmt: skip


def _model(name: str, contents: dict[str, bytes]) -> dict[str, Any]:
    return {
        "format": 1,
        "name": name,
        "title": f"The {name}",
        "task": "classification",
        "licence": "MIT",
        "labels": "labels.txt",
        "weights": "as published",
        "input": {"name": "image", "shape": [1, 8, 8, 3]},
        "output": {"name": "probabilities", "shape": [1, 2], "kind": "probabilities"},
        "variants": {
            variant: _result(name, contents, variant) | {"file": f"{name}_{variant}.tflite"}
            for variant in ("float32", "int8")
        },
    }


def _compat(name: str, contents: dict[str, bytes]) -> dict[str, Any]:
    return {
        "format": 2,
        "file": f"{name}_int8.tflite",
        **_result(name, contents, "int8"),
        "needs_tflite": "2.3.0",
        "unknown_to_the_table": [],
        "targets": [
            {
                "accelerator": accelerator, "target": text, "bsps": list(bsp.load_bsps()), "verdict": "green",
                "placed": 4, "total": 4, "by": "tables", "findings": [], "span": "every BSP",
            }
            for accelerator, text in TARGETS.items()
        ],
    }  # fmt: skip


def add_vela(folder: Path, ms: float = 4.0, on_cpu: int = 0, *, sha256: str = "", name: str = DEFAULT) -> Path:
    """Add what Vela would have compiled of the int8 file, for one BSP."""
    file = folder / f"{folder.name}_int8.tflite"
    layers = [
        {"operator": "Conv2D", "name": f"layer {number}", "cycles": 100.0 * number, "macs": 9, "sram_bytes": 2048}
        for number in range(1, 4)
    ]
    run = {
        "format": 1,
        "bsp": {"name": name, "vela": bsp.load_bsps()[name].vela},
        "input": {"file": file.name, "size": file.stat().st_size, "sha256": sha256 or digest(file.read_bytes())},
        "operators": {"total": 4, "npu": 4 - on_cpu, "cpu": on_cpu},
        "summary": {"ms": ms, "sram_kib": 2.0, "dram_kib": 64.5, "cycles": 600},
        "cpu": [{"operator": "SOFTMAX", "output": "x", "reason": "not supported", "index": 3}] * on_cpu,
        "layers": layers,
    }
    place = folder / "imx93" / name / "vela.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(files.dump_json(run))
    (folder / "imx93" / files.SUMS).write_text(files.make_sums(folder / "imx93"))
    return place


def add_record(
    folder: Path,
    board: str = "NXP i.MX8MPlus EVK board",
    *,
    delegate: str = "vx",
    verdict: str = "PASS",
    ms: float = 8.0,
    cpu_ms: float | None = None,
    emulated: bool = False,
    date: str = "2026-01-02",
    target: str = "desk",
    **changes: Any,
) -> Path:
    """Add what a board would have said of the int8 file."""
    models = sorted(folder.glob("*.tflite"))
    check = {"verdict": verdict, "inputs": 10, "top1_agreement": 1.0, "max_error": 1.0, "mean_error": 0.1,
             "tolerance": 20.0, "unit": "steps"}  # fmt: skip

    def times(median: float) -> dict[str, Any]:
        return {"first_ms": 99.0, "steady_ms": {"min": 0.1, "median": median, "p90": 99.0, "runs": 20}}

    file = folder / f"{folder.name}_int8.tflite"
    entry = {
        "file": file.name, "sha256": digest(file.read_bytes()), "variant": "int8", "delegate": delegate, "check": check,
        **times(ms),
    }  # fmt: skip
    if cpu_ms is not None:
        entry["cpu"] = times(cpu_ms)
    library = None if delegate == "cpu" else f"/usr/lib/lib{delegate}_delegate.so"
    record = {
        "format": 1,
        "target": target,
        "date": date,
        "emulated": emulated,
        "bsp": {"os": {"PRETTY_NAME": "NXP i.MX Release Distro 6.12"}, "kernel": "6.12.34", "machine": "aarch64",
                "model": board, "python": "3.12.4", "delegates": {}},
        "files": {model.name: digest(model.read_bytes()) for model in models},
        "report": {
            "format": 1,
            "runtime": {"name": "tflite_runtime", "version": "2.19.0"},
            "delegate": {"name": delegate, "library": library, "sha256": None, "options": {}, "note": None},
            "models": [entry],
        },
    }  # fmt: skip
    entry.update(changes)
    place = folder / "board" / f"{target}.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(record))
    return place
