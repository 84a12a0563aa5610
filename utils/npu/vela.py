"""Vela, the compiler for the i.MX 93's NPU: installed versions, one run, and its typed output.

Each version has its own environment: ``/opt/vela/<version>`` in the image, else ``build/vela/<version>``
(docker/make-vela). Vela runs as a program: as a library it keeps state from one model to the next.

Pitfalls (all measured): its exit code is 0 when operators stay on the CPU, and when a file is compiled a second time;
the CPU and NPU shares that it prints include operators that it created; ``inference_time`` is in seconds; estimates of
two versions must not be compared.
"""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from utils import environment, files, limits, paths, tflite
from utils.errors import BuildError, DataError, GateError
from utils.npu.bsp import Bsp, load_bsps, parse_version
from utils.untrusted import as_text

__all__ = [
    "CUSTOM",
    "Compiled",
    "CpuOperator",
    "Layer",
    "Summary",
    "compile_model",
    "describe_run",
    "find_vela",
    "flags",
    "installed",
    "lock_file",
    "require_npu",
]

#: The operator of a compiled file that represents everything on the NPU.
CUSTOM = "ethos-u"

#: Seconds after which a run is stopped; ResNet50 takes about 3.
TIMEOUT_S = 600

#: The i.MX 93: equal to the defaults of NXP's own Vela.
ACCELERATOR, SYSTEM = "ethos-u65-256", "Ethos_U65_High_End"


@dataclass(frozen=True)
class Summary:
    """Vela's estimate for a whole model.

    Attributes:
        vela: version of Vela.
        flags: its command line, without files.
        ms: milliseconds per inference.
        inferences_per_second: the reciprocal.
        macs: multiply-accumulates per inference, of the operators on the NPU.
        sram_kib: peak SRAM in KiB.
        dram_kib: peak DRAM in KiB.
        cycles: total per inference.
        cycles_npu: computing, on the NPU.
        cycles_sram: waiting for SRAM; overlaps with the others.
        cycles_dram: waiting for DRAM; overlaps with the others.
        clock_hz: clock of the NPU.
    """

    vela: str
    flags: tuple[str, ...]
    ms: float
    inferences_per_second: float
    macs: int
    sram_kib: float
    dram_kib: float
    cycles: int
    cycles_npu: int
    cycles_sram: int
    cycles_dram: int
    clock_hz: float


@dataclass(frozen=True)
class CpuOperator:
    """An operator of the input graph that stays on the CPU, the name of its first output, and the reason."""

    operator: str
    output: str
    reason: str


@dataclass(frozen=True)
class Layer:
    """A row of Vela's per-layer table: an operator of Vela's graph, which differs from the input graph.

    Attributes:
        operator: of the model, in Vela's naming.
        npu_operator: Vela's replacement for it.
        name: Vela's name, from its output tensor.
        target: ``NPU`` or ``CPU``.
        cycles: per inference; 0 if it is fused with another.
        macs: multiply-accumulates per inference.
        sram_bytes: SRAM in use while it runs.
        utilisation: used share of the NPU's multipliers, in %.
    """

    operator: str
    npu_operator: str
    name: str
    target: str
    cycles: float
    macs: int
    sram_bytes: int
    utilisation: float


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
    graph = _input(model)
    program = find_vela(bsp)
    command = [str(program), *flags(bsp.vela), "--verbose-performance"]
    with tempfile.TemporaryDirectory(prefix=".vela.", dir=to.parent.resolve()) as folder:
        said = _run([*command, "--output-dir", folder, str(model.resolve())], Path(folder), bsp.vela, timeout_s)
        made = Path(folder) / f"{model.stem}_vela.tflite"
        try:
            summary = _summary(Path(folder) / f"{model.stem}_summary_{SYSTEM}.csv", bsp.vela)
            layers = _layers(Path(folder) / f"{model.stem}_per-layer.csv")
            compiled = tflite.read(made)
        except (OSError, KeyError, ValueError, TypeError, OverflowError, StopIteration, csv.Error, DataError) as error:
            raise _failed(f"left no readable result ({as_text(error)})", bsp.vela, said) from None
        on_cpu = _cpu_operators(graph, compiled, _reasons(said))
        made.replace(to)
    return Compiled(summary, _placement(graph, on_cpu), on_cpu, layers)


def _input(model: Path) -> tflite.Graph:
    graph = tflite.read(model)
    if CUSTOM in graph.count():
        hint = "give the model that it was made from"
        raise DataError("is already compiled by Vela", where=as_text(model.name), hint=hint)
    types = {graph.tensors[index].dtype for op in graph.operators for index in op.outputs if index >= 0}
    if not types & {"INT8", "UINT8", "INT16"}:
        hint = "give the int8 variant: the NPU computes integers only"
        raise DataError("has no quantised operator", where=as_text(model.name), hint=hint)
    return graph


def _run(command: list[str], folder: Path, wanted: str, timeout_s: float) -> str:
    """Run Vela and return its output, up to ``limits.VELA_BYTES``: only its warnings give reasons."""
    with tempfile.TemporaryFile(dir=folder) as said:

        def text() -> str:
            said.seek(0)
            return said.read(limits.VELA_BYTES).decode(errors="replace").replace("\r\n", "\n")

        try:
            done = subprocess.run(
                command, cwd=folder, env=environment.pinned(), timeout=timeout_s, stdin=subprocess.DEVNULL,
                stdout=said, stderr=subprocess.STDOUT,
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


# Its output


def _summary(file: Path, wanted: str) -> Summary:
    row = next(csv.DictReader(_rows(file)))
    number = {key: float(row[key]) for key in row if re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", row[key] or "")}
    return Summary(
        vela=wanted,
        flags=flags(wanted),
        ms=number["inference_time"] * 1000,  # the file is in seconds
        inferences_per_second=number["inferences_per_second"],
        macs=round(number["nn_macs"]),
        sram_kib=number["sram_memory_used"],
        dram_kib=number["dram_memory_used"],
        cycles=round(number["cycles_total"]),
        cycles_npu=round(number["cycles_npu"]),
        cycles_sram=round(number["cycles_sram_access"]),
        cycles_dram=round(number["cycles_dram_access"]),
        clock_hz=number["core_clock"],
    )


def _rows(file: Path) -> io.StringIO:
    """Read a table of Vela; the names in it come from the model."""
    with file.open("rb") as stream:
        data = stream.read(limits.VELA_BYTES + 1)
    if len(data) > limits.VELA_BYTES:
        raise ValueError(f"{file.name} has more than {limits.VELA_BYTES:,} bytes")
    return io.StringIO(data.decode(errors="replace"), newline="")


def _layers(file: Path) -> tuple[Layer, ...]:
    rows = [row for row in csv.DictReader(_rows(file)) if row["Name"] != "Name"]  # a header for each NPU subgraph

    def either(row: dict[str, str], *names: str) -> str:  # 3.x and 4.x, then 5.x
        return next(row[name] for name in names if name in row)

    return tuple(
        Layer(
            operator=as_text(either(row, "TFLite_operator", "Original Operator")),
            npu_operator=as_text(row["NNG Operator"]),
            name=as_text(row["Name"]),
            target=as_text(row.get("Target", "NPU")),  # 3.x and 4.x list only the NPU's
            cycles=float(row["Op Cycles"]),
            macs=round(float(row["MAC Count"])),
            sram_bytes=round(float(either(row, "SRAM Usage", "Staging Usage"))),
            utilisation=float(either(row, "Util%", "Util% (MAC)")),
        )
        for row in rows
    )


#: Lines of 3.x and 4.x, and of 5.x, about an operator that stays on the CPU.
_WARNING = re.compile(
    r"^(?:Warning: (?:Unsupported TensorFlow Lite semantics for )?|Info: )(?P<operator>\S+) '(?P<output>[^']*)'"
    r"(?P<text>.*)$|^Warning \(.*?\) operator:(?P<operator5>\S+) ofm:(?P<output5>.*)$"
)


def _reasons(said: str) -> dict[str, str]:
    """Find the reasons: name of an operator's output -> why it stays on the CPU."""
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in said.splitlines():
        warning = _WARNING.match(line)
        if warning:
            lines = found.setdefault(as_text(warning["output"] or warning["output5"] or ""), [])
            if "is a CPU only op" in (warning["text"] or ""):
                lines.append("this Vela has no such NPU operator")
        elif lines and line.startswith("    "):  # a continuation line
            lines[-1] += f" {line.strip()}"
        elif lines is not None and re.match(r" - |   \S|Reason: |\S.*dataTypes must", line):
            lines.append(line.removeprefix("Reason: ").removeprefix(" - ").strip())
        else:
            lines = None
    return {output: as_text("; ".join(texts)) for output, texts in found.items() if texts}


def _outputs(graph: tflite.Graph, operator: tflite.Operator) -> tuple[str, ...]:
    return tuple(as_text(graph.tensors[index].name) for index in operator.outputs if index >= 0)


def _cpu_operators(graph: tflite.Graph, compiled: tflite.Graph, reasons: dict[str, str]) -> tuple[CpuOperator, ...]:
    """Find the operators of the input that the compiled file still has: same name, same outputs."""
    left = Counter((found.name, _outputs(compiled, found)) for found in compiled.operators if found.name != CUSTOM)
    on_cpu = []
    for operator in graph.operators:
        outputs = _outputs(graph, operator)
        if left[operator.name, outputs]:
            left[operator.name, outputs] -= 1
            reason = next((reasons[name] for name in outputs if name in reasons), "Vela gives no reason")
            on_cpu.append(CpuOperator(operator.name, next(filter(None, outputs), "an unnamed tensor"), reason))
    made = [name for (name, _), count in left.items() for _ in range(count)]
    on_cpu += [CpuOperator(name, "", "not in the input: Vela added it for the CPU") for name in made]
    return tuple(on_cpu)


def _placement(graph: tflite.Graph, on_cpu: tuple[CpuOperator, ...]) -> dict[str, dict[str, int]]:
    cpu = Counter(entry.operator for entry in on_cpu if entry.output)
    return {name: {"npu": count - cpu[name], "cpu": cpu[name]} for name, count in graph.count().items()}


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
