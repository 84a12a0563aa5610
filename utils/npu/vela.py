"""Vela, the compiler for the i.MX 93's NPU: installed versions, one run, and its typed output.

Each version has its own environment: ``/opt/vela/<version>`` in the image, else ``build/vela/<version>``
(docker/make-vela). Vela runs as a program: as a library it keeps state from one model to the next.

Pitfalls (all measured): its exit code is 0 when operators stay on the CPU, and when a file is compiled a second time;
the CPU and NPU shares that it prints include operators that it created; ``inference_time`` is in seconds; estimates of
two versions must not be compared.
"""

from __future__ import annotations

import csv
import os
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from utils import environment, files, limits, paths, tflite, tflite_edit
from utils.errors import BuildError, DataError, GateError
from utils.lifeline import tied
from utils.npu import vela_output
from utils.npu.bsp import Bsp, load_bsps, parse_version
from utils.npu.vela_output import CUSTOM, CpuOperator, Layer, Summary
from utils.untrusted import as_text

__all__ = [
    "Compiled",
    "Placed",
    "compile_model",
    "describe_run",
    "find_vela",
    "flags",
    "installed",
    "lock_file",
    "place_operators",
    "promised_lock",
    "require_npu",
]

#: Seconds after which a run is stopped; ResNet50 takes about 3.
TIMEOUT_S = 600

#: The i.MX 93: equal to the defaults of NXP's own Vela.
ACCELERATOR, SYSTEM = "ethos-u65-256", "Ethos_U65_High_End"


@dataclass(frozen=True)
class Compiled:
    """The result of one run.

    Attributes:
        summary: the estimate.
        placement: operator of the input graph -> ``{"npu": count, "cpu": count}``, sorted by name.
        cpu: each operator that stays on the CPU.
        layers: the per-layer table.
    """

    summary: Summary
    placement: dict[str, dict[str, int]]
    cpu: tuple[CpuOperator, ...]
    layers: tuple[Layer, ...]

    @property
    def json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


# Installed versions


def _folders() -> list[Path]:
    if "NXP_MODEL_ZOO_IMAGE" in os.environ:  # there, build/vela belongs to the host's Python
        return [Path("/opt/vela")]
    return [paths.BUILD / "vela", Path("/opt/vela")]


def installed() -> dict[str, Path]:
    """List the installed versions -> their programs, oldest first."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for program in folder.glob("*/bin/vela"):
            name = program.parent.parent.name
            if any(program.parent.parent.glob(f"lib/python*/site-packages/ethos_u_vela-{name}.dist-info")):
                found.setdefault(name, program)
    return dict(sorted(found.items(), key=lambda item: parse_version(item[0])))


def lock_file(wanted: str) -> Path:
    """Find the locked requirements of one version."""
    return paths.DOCKER / f"requirements-vela-{wanted}.txt"


def promised_lock(wanted: str) -> str | None:
    """The sha256 of the lock of an installed version, if its environment was made from the checkout's; else None."""
    program, lock = installed().get(wanted), lock_file(wanted)
    if program is None or not lock.is_file():
        return None
    stamp = environment.find_stamp(program.parent.parent)
    return stamp if stamp == files.sha256(lock) else None


def find_vela(bsp: Bsp) -> Path:
    """Find the program of a BSP's version.

    Raises:
        BuildError: it is not installed. It is never installed implicitly.
    """
    there = installed()
    if bsp.vela in there:
        return there[bsp.vela]
    able = [name for name, known in load_bsps().items() if known.vela in there]
    hint = f'ZOO_VELA="{bsp.vela}" docker/run doit ... adds it'
    if not lock_file(bsp.vela).is_file():
        name = paths.relative(lock_file(bsp.vela).with_suffix(".in"))
        hint = f"write {name} like its neighbours, run docker/lock; then {hint}"
    have = f"; installed are {', '.join(there)}, for {', '.join(able)}" if there else ""
    raise BuildError(f"Vela {bsp.vela}, which belongs to {bsp.name}, is not installed{have}", hint=hint)


def flags(wanted: str) -> tuple[str, ...]:
    """Make the command line for the i.MX 93's NPU, without files.

    384 KiB of SRAM belong to the NPU: up to 3.12, ``Dedicated_Sram`` implies that; from 4.0 on it implies no size.
    """
    memory = "Dedicated_Sram" if parse_version(wanted) < (4,) else "Dedicated_Sram_384KB"
    return (
        *("--accelerator-config", ACCELERATOR, "--config", "Arm/vela.ini", "--system-config", SYSTEM),
        *("--memory-mode", memory, "--optimise", "Performance"),
    )


# One run


def compile_model(model: Path, bsp: Bsp, to: Path, timeout_s: float = TIMEOUT_S) -> Compiled:
    """Compile ``model``, an int8 TFLite file, and write the result to the file ``to``.

    Raises:
        DataError: not a TFLite file, one without int8 or uint8 operators, or one that is compiled already.
        BuildError: this BSP's Vela is not installed, fails, or takes longer than ``timeout_s`` seconds.
    """
    data = tflite.load(model)
    _require_input(tflite.parse(data, as_text(model.name)), model)
    with tempfile.TemporaryDirectory(prefix=".vela.", dir=to.parent.resolve()) as name:
        folder = Path(name)
        placed = place_operators(data, model.name, bsp, folder, timeout_s, "--verbose-performance")
        try:
            summary = vela_output.read_summary(folder / f"{model.stem}_summary_{SYSTEM}.csv", bsp.vela, flags(bsp.vela))
            layers = vela_output.read_layers(folder / f"{model.stem}_per-layer.csv")
        except (OSError, KeyError, ValueError, TypeError, OverflowError, StopIteration, csv.Error) as error:
            raise _failed(f"left no readable result ({as_text(error)})", bsp.vela, placed.said) from None
        placed.made.replace(to)
    return Compiled(summary, vela_output.count_placement(placed.graph, placed.cpu), placed.cpu, layers)


def _require_input(graph: tflite.Graph, model: Path) -> None:
    if CUSTOM in graph.count():
        hint = "give the model that it was made from"
        raise DataError("is already compiled by Vela", where=as_text(model.name), hint=hint)
    types = {graph.tensors[index].dtype for op in graph.operators for index in op.outputs if index >= 0}
    if not types & {"INT8", "UINT8", "INT16"}:
        hint = "give the int8 variant: the NPU computes integers only"
        raise DataError("has no quantised operator", where=as_text(model.name), hint=hint)


@dataclass(frozen=True)
class Placed:
    """What Vela made of a file.

    Attributes:
        graph: the input, in which every tensor has a name of its own.
        cpu: each operator that stays on the CPU.
        made: the compiled file.
        said: what Vela printed.
    """

    graph: tflite.Graph
    cpu: tuple[CpuOperator, ...]
    made: Path
    said: str


def place_operators(
    data: bytes, name: str, bsp: Bsp, folder: Path, timeout_s: float = TIMEOUT_S, *options: str
) -> Placed:
    """Let Vela compile a model into ``folder``, and find what it leaves on the CPU.

    What Vela reads is a copy, in which tensors without a name of their own have got one: what is left of the graph is
    found by names.

    Args:
        data: a TFLite file.
        name: its name, after which Vela names its own files.
        bsp: whose Vela.
        folder: where Vela writes.
        timeout_s: seconds that it may take.
        options: more words of its command line.

    Raises:
        DataError: not a TFLite file.
        BuildError: this BSP's Vela is not installed, fails, or takes longer than ``timeout_s`` seconds.
    """
    program = find_vela(bsp)
    given = folder / "given" / f"{Path(name).stem}.tflite"  # Vela reads no other ending
    given.parent.mkdir()
    given.write_bytes(tflite_edit.name_tensors(data, as_text(name)))
    graph = tflite.parse(given.read_bytes(), as_text(name))
    command = [str(program), *flags(bsp.vela), *options, "--output-dir", str(folder), str(given)]
    said = _run(command, folder, bsp.vela, timeout_s)
    made = folder / f"{given.stem}_vela.tflite"
    try:
        compiled = tflite.parse(tflite.load(made), as_text(made.name))
    except DataError as error:
        raise _failed(f"left no readable result ({as_text(error)})", bsp.vela, said) from None
    on_cpu = vela_output.find_cpu_operators(graph, compiled, vela_output.find_reasons(said))
    return Placed(graph, on_cpu, made, said)


def _run(command: list[str], folder: Path, wanted: str, timeout_s: float) -> str:
    """Run Vela and return its output, up to ``limits.VELA_BYTES``: only its warnings give reasons."""
    with tempfile.TemporaryFile(dir=folder) as said:

        def text() -> str:
            said.seek(0)
            return said.read(limits.VELA_BYTES).decode(errors="replace").replace("\r\n", "\n")

        try:
            done = subprocess.run(
                command, cwd=folder, env=environment.pinned(), timeout=timeout_s, stdin=subprocess.DEVNULL,
                stdout=said, stderr=subprocess.STDOUT, preexec_fn=tied(),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise _failed(f"took longer than {timeout_s:g} s", wanted, text()) from None
        if done.returncode:
            raise _failed(f"failed with exit code {done.returncode}", wanted, text())
        return text()


def _failed(what: str, wanted: str, said: str) -> BuildError:
    last = [as_text(line, 200) for line in said.splitlines() if line.strip()][-8:]
    shown = "its last lines:\n  " + "\n  ".join(last) if last else "it printed nothing"
    hint = "look for the operator or the cause in these lines, or try another BSP's Vela (bsp=...)"
    return BuildError(f"Vela {wanted} {what}; {shown}", hint=hint)


def describe_run(bsp: Bsp, model: Path, made: Path, compiled: Compiled) -> dict[str, Any]:
    """Make ``vela.json``: the run, with the hashes of its input and output."""
    total = sum(sum(counts.values()) for counts in compiled.placement.values())
    on_npu = sum(counts["npu"] for counts in compiled.placement.values())
    return {
        "format": 1,
        "bsp": asdict(bsp),
        "input": {"file": model.name, **files.describe_file(model)},
        "output": {"file": made.name, **files.describe_file(made)},
        "operators": {"total": total, "npu": on_npu, "cpu": total - on_npu},
        **compiled.json,
    }


def require_npu(found: list[Path]) -> None:
    """Check finished runs, each a ``vela.json``: all operators must run on the NPU.

    Raises:
        GateError: an operator stays on the CPU; lists all of them.
    """
    lines = []
    for file in found:
        run = files.load_json(file)
        where = f"{run['input']['file']}, {run['bsp']['name']}"
        lines += [as_text(f"{where}: {e['operator']} {e['output']!r}: {e['reason']}", 2000) for e in run["cpu"]]
    if lines:
        what = f"{len(lines)} operators stay on the CPU" if len(lines) > 1 else "an operator stays on the CPU"
        hint = "change the model, use another BSP, or leave out --require-npu"
        raise GateError("\n  ".join([f"{what}:", *lines]), hint=hint)
