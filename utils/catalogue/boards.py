"""What is known of a model on each board: predicted placement, measured answers, and times of three kinds.

A time is ours (a board ran this very file), published (others ran their own) or estimated (by Vela). The kinds are
never mixed: only times of one kind, one system and one variant are compared. A green verdict never stands alone where
nobody has compared the answers, or where the NPU is slower than the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath

from utils.bundle.board_report import Entry, Record
from utils.catalogue.facts import Facts
from utils.catalogue.given import VelaJson
from utils.catalogue.parts import Board, Cell, Colour, Correctness, Finding, Npu, Placement, Report, Speed
from utils.npu import bsp
from utils.npu.compat import TARGETS

__all__ = ["PLACES", "Place", "boards_of", "matrix_of", "npu_of", "reports_of"]

#: A model of a board, as its device tree calls it, without anything but letters and digits -> key in ``TARGETS``.
_MARKS = {"vx": "imx8mp", "ethos_u": "imx93"}

#: Key in ``TARGETS`` -> what example.py calls the delegate, and the delegate's library.
_DELEGATES = {"vx": ("vx", "libvx_delegate.so"), "ethos_u": ("ethosu", "libethosu_delegate.so")}

UNTESTED = Correctness(state="untested", kind=None, by=None, date=None, bsp=None, why=None)


@dataclass(frozen=True)
class Place:
    """A board with its NPU: the key in ``TARGETS``, and both names."""

    key: str
    board: str
    accelerator: str


#: The boards that the zoo is for.
PLACES = tuple(Place(key, *TARGETS[key].split(", ", 1)) for key in _MARKS)


def boards_of(facts: Facts) -> list[Board]:
    """One entry for each board."""
    return [_board(facts, place) for place in PLACES]


def _board(facts: Facts, place: Place) -> Board:
    cells = [cell for cell in matrix_of(facts) if cell.accelerator == place.key]
    placement = _placement(cells)
    correctness = _correctness(facts, place)
    times = [*_ours(facts, place), *_published(facts, place)]
    npu = [time for time in times if not _is_cpu(time.accelerator)]
    cpu = [time for time in times if _is_cpu(time.accelerator)]
    npu += _estimated(facts) if place.key == "ethos_u" else []
    return Board(
        board=place.board,
        accelerator=place.accelerator,
        placement=placement,
        correctness=correctness,
        speed=npu,
        cpu=cpu,
        caution=_caution(correctness, npu, cpu),
    )


# Where it runs


def matrix_of(facts: Facts) -> list[Cell]:
    """Every accelerator with every BSP: as the tables say, or as the BSP's Vela did."""
    asked = {run.bsp.name: run for run in facts.compiled}
    order = list(bsp.load_bsps())
    cells: dict[tuple[str, str], Cell] = {}
    for verdict in facts.compat.targets:
        findings = [Finding(id=found.id, what=found.what, remedy=found.remedy) for found in verdict.findings]
        for name in verdict.bsps:
            cell = Cell(
                accelerator=verdict.accelerator,
                bsp=name,
                verdict=verdict.verdict,
                placed=verdict.placed,
                total=verdict.total,
                by=verdict.by,
                findings=findings,
            )
            run = asked.get(name) if verdict.accelerator == "ethos_u" else None
            if name in order:
                cells[verdict.accelerator, name] = _by_vela(cell, run) if run else cell
    places = list(TARGETS)
    return sorted(cells.values(), key=lambda cell: (places.index(cell.accelerator), order.index(cell.bsp)))


def _by_vela(cell: Cell, run: VelaJson) -> Cell:
    """What Vela placed counts more than the tables; that a runtime is too old, for one, only the tables know."""
    remedy = "change what the reason names, or accept that these operators and the copies to the CPU and back cost time"
    reasons = list(dict.fromkeys(f"{kept.operator}: {kept.reason}" for kept in run.cpu))
    colour: Colour = "red" if cell.verdict == "red" else "yellow" if run.operators.cpu else "green"
    return Cell(
        accelerator=cell.accelerator,
        bsp=cell.bsp,
        verdict=colour,
        placed=run.operators.npu,
        total=run.operators.total,
        by=f"Vela {run.bsp.vela}",
        findings=[
            *(cell.findings if cell.verdict == "red" else []),
            *(Finding(id="vela-cpu", what=reason, remedy=remedy) for reason in reasons),
        ],
    )


def _placement(cells: list[Cell]) -> Placement | None:
    """The verdict with the newest confirmed BSP, and all BSPs for which it is the same."""
    wanted = bsp.find_default_bsp().name
    found = next((cell for cell in cells if cell.bsp == wanted), None)
    if found is None:
        return None
    told = (found.verdict, found.placed, found.total, found.by)
    same = [cell.bsp for cell in cells if (cell.verdict, cell.placed, cell.total, cell.by) == told]
    return Placement(verdict=found.verdict, placed=found.placed, total=found.total, by=found.by, bsps=same)


def npu_of(facts: Facts) -> list[Npu]:
    """What each Vela estimates."""
    return [
        Npu.model_validate(
            {
                "bsp": run.bsp.name,
                "vela": run.bsp.vela,
                **run.summary.model_dump(),
                "layers": [layer.model_dump() for layer in run.layers],
            }
        )
        for run in facts.compiled
    ]


# What boards said


def _is_on(record: Record, place: Place) -> bool:
    """Whether a record is of this board; an emulation is of none."""
    model = re.sub(r"[^a-z0-9]", "", record.bsp.model.lower())
    return not record.emulated and _MARKS[place.key] in model


def _is_npu(name: str, place: Place) -> bool:
    """Whether the name of a delegate is that of the board's NPU."""
    return PurePosixPath(name).name in _DELEGATES[place.key]


def _deployed(facts: Facts, place: Place) -> Iterator[tuple[Record, Entry]]:
    """What a board said of the file that is deployed there, the newest first."""
    for record in facts.records:
        if _is_on(record, place):
            yield from ((record, entry) for entry in record.report.models if entry.file == facts.compat.file)


def _correctness(facts: Facts, place: Place) -> Correctness:
    """Whether the NPU answers rightly: as a board said of this file, else as others published of theirs."""
    for record, entry in _deployed(facts, place):
        if _is_npu(record.report.delegate.name, place) and entry.verdict != "-":
            return Correctness(
                state="right" if entry.verdict == "PASS" else "wrong",
                kind="ours",
                by=record.target,
                date=record.date,
                bsp=_system(record),
                why=entry.verdict,
            )
    for known in facts.manifest.card.targets:
        if (known.board, known.accelerator) == (place.board, place.accelerator) and known.verdict != "untested":
            state = {"works": "right", "fails": "wrong"}[known.verdict]
            facts_of_others = {"state": state, "kind": "published", "by": known.source, "date": None, "bsp": None}
            return Correctness.model_validate(facts_of_others | {"why": known.why})
    return UNTESTED


def _system(record: Record) -> str:
    return record.bsp.os.get("PRETTY_NAME") or f"Linux {record.bsp.kernel}"


def reports_of(facts: Facts) -> list[Report]:
    """All that boards and emulations said of this bundle's files."""
    return [
        Report(
            target=record.target,
            date=record.date,
            board=record.bsp.model,
            system=f"{record.bsp.os.get('PRETTY_NAME', '?')}, Linux {record.bsp.kernel} {record.bsp.machine}",
            emulated=record.emulated,
            runtime=f"{record.report.runtime.name} {record.report.runtime.version}",
            variant=entry.variant or entry.file,
            ran_on=PurePosixPath(entry.delegate).name,
            verdict=entry.verdict,
            first_ms=None if record.emulated else entry.first_ms,
            ms=None if record.emulated or entry.steady_ms is None else entry.steady_ms.median,
        )
        for record in facts.records
        for entry in record.report.models
    ]


# Times


def _is_cpu(accelerator: str) -> bool:
    return accelerator.upper().startswith("CPU")


def _ours(facts: Facts, place: Place) -> Iterator[Speed]:
    """The newest time of the NPU and of the CPU that a board measured with the deployed file."""
    told: set[bool] = set()
    for record, entry in _deployed(facts, place):
        on_npu = _is_npu(entry.delegate, place) and entry.failure is None
        parts = [(on_npu, entry.steady_ms), (False, entry.cpu.steady_ms if entry.cpu else None)]
        if not on_npu and entry.delegate != "cpu":
            parts = parts[1:]
        for is_npu, steady in parts:
            if steady and is_npu not in told:
                told.add(is_npu)
                yield Speed(
                    kind="ours",
                    accelerator="NPU" if is_npu else "CPU",
                    variant=entry.variant or entry.file,
                    ms=steady.median,
                    bsp=_system(record),
                    source=f"{record.target}, {record.date}",
                )


def _published(facts: Facts, place: Place) -> Iterator[Speed]:
    for row in facts.manifest.card.measured:
        if row.board == place.board:
            yield Speed(
                kind="published",
                accelerator=row.accelerator,
                variant=row.variant,
                ms=row.ms,
                bsp=row.bsp,
                source=row.source,
            )


def _estimated(facts: Facts) -> list[Speed]:
    variants = {entry.file: variant for variant, entry in facts.model.variants.items()}
    return [
        Speed(
            kind="estimated",
            accelerator="NPU",
            variant=variants.get(facts.compat.file, "int8"),
            ms=run.summary.ms,
            bsp=run.bsp.name,
            source=f"Vela {run.bsp.vela}",
        )
        for run in facts.compiled
    ]


# What must stand beside a verdict


def _caution(correctness: Correctness, npu: Iterable[Speed], cpu: Iterable[Speed]) -> str | None:
    """What a reader must know before a green verdict is believed; None only if there is nothing."""
    found = []
    if correctness.state == "wrong":
        found.append(f"wrong on the board: {correctness.why}")
    elif correctness.state == "untested":
        found.append("nobody has compared the answers of this board's NPU")
    elif correctness.kind == "published":
        found.append("others found the answers right, with their own file")
    return "; ".join([*found, *_slower(npu, cpu)]) or None


def _slower(npu: Iterable[Speed], cpu: Iterable[Speed]) -> Iterator[str]:
    """The cases in which the CPU is faster: same kind, same system, same variant."""

    def place(time: Speed) -> tuple[str, str, str]:
        return time.kind, time.bsp, time.variant

    best = {key: min(times, key=lambda time: time.ms) for key, times in groupby(sorted(cpu, key=place), place)}
    for key, times in groupby(sorted(npu, key=place), place):
        ours, other = min(times, key=lambda time: time.ms), best.get(key)
        if other and ours.kind != "estimated" and ours.ms > other.ms:
            kind = "measured by us" if ours.kind == "ours" else "published"  # the source stands beside its time
            where = f"{other.accelerator}, {ours.bsp}, {kind}"
            yield f"slower than the CPU: {ours.ms:g} ms against {other.ms:g} ms ({where})"
