"""Run example.py as a user on the board does, and look at what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.checkouts import clean_env
from utils import paths

MODEL = "demo_nearest_int8.tflite"


def run(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run it there, without the project on the path."""
    alone = {key: value for key, value in clean_env().items() if key != "PYTHONPATH"}
    command = [*before, sys.executable, "-W", "error", "example.py", "-n", "1", "-t", "1", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**alone, **(env or {})}, capture_output=True, text=True, timeout=60, check=False
    )


def refused(folder: Path, *arguments: str, code: int = 2, env: dict[str, str] | None = None) -> str:
    """What it says when it ends with this code: one sentence, one remedy, no traceback."""
    done = run(folder, *arguments, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    first, *rest = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]  # the runtime's own
    assert first.startswith("example.py: ")
    assert rest[-1].startswith("  -> ")
    assert "Traceback" not in done.stderr
    return done.stderr


NUMBER = (int, float)
STATS = {"min": NUMBER, "median": NUMBER, "p90": NUMBER, "runs": int}
CHECK = {
    "verdict": str, "inputs": int, "top1_agreement": float, "max_error": float, "mean_error": float,
    "tolerance": float, "unit": str,
}  # fmt: skip
ENTRY = {
    "file": str, "sha256": str, "variant": str, "task": str, "delegate": str, "first_ms": float, "steady_ms": STATS,
    "check": CHECK,
    "samples": {"count": int, "correct": int, "accuracy": float},
    "predictions": [{"input": str, "top": [{"label": str, "score": float}]}],
}  # fmt: skip


def conforms(value: Any, schema: Any, where: str = "") -> None:
    if isinstance(schema, dict):
        assert set(value) == set(schema), where
        for key, inner in schema.items():
            conforms(value[key], inner, f"{where}.{key}")
    elif isinstance(schema, list):
        assert value, where
        for item in value:
            conforms(item, schema[0], f"{where}[]")
    else:
        assert isinstance(value, schema), f"{where} is {value!r}"


def bare(*arguments: str, cwd: Path, code: int = 0) -> str:
    """Run it outside of any bundle; its stdout, or where it has to fail, its stderr."""
    command = [sys.executable, "-W", "error", paths.EXAMPLE, "-n", "1", *arguments]
    done = subprocess.run(command, cwd=cwd, env=clean_env(), capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def change(file: Path, to: Path, edit: Any) -> Path:
    """Write a TFLite file again with something changed in it."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file.read_bytes(), 0))
    edit(model, schema)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    to.write_bytes(builder.Output())
    return to


def add_metadata(model: Any, schema: Any, name: str, content: bytes) -> None:
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer, buffer.data = name, len(model.buffers), np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    model.metadata = [found for found in model.metadata or [] if found.name != name.encode()] + [entry]


def compile_last(model: Any, schema: Any) -> None:
    """Make the last operator what Vela makes of operators."""
    code = model.operatorCodes[model.subgraphs[0].operators[-1].opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "ethos-u"
