"""What the pages say, in words, from the content of catalogue.json.

Each value has its kind beside it: a placement is predicted or asked of Vela, an answer is tested or untested, a time is
measured here, published or estimated. No word for a verdict stands alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

__all__ = [
    "WORDS",
    "Finding",
    "Lane",
    "Line",
    "Notice",
    "Run",
    "deployed",
    "findings_of",
    "is_plain",
    "lanes",
    "lines",
    "notices",
    "span_of",
]

Model = dict[str, Any]

#: A verdict, and what it means.
WORDS = {
    "green": "all of it runs there",
    "yellow": "it runs, part of it on the CPU",
    "red": "do not deploy",
}

#: What the words for correctness say already, as boards.py words it in a caution.
SAID = ("nobody has compared the answers of this board's NPU", "others found the answers right, with their own file")

#: A kind of time, and how it is labelled.
SPEEDS = {"ours": "measured by us", "published": "published", "estimated": "estimated"}


class Finding(NamedTuple):
    """An obstacle, as the tables word it."""

    id: str
    what: str
    remedy: str


class Run(NamedTuple):
    """Neighbouring BSPs with the same verdict.

    Attributes:
        verdict: green, yellow, red; or "none", where nothing is known.
        bsps: their names.
        placed: how many of ``total`` operators the accelerator takes.
        total: operators of the model.
        by: who says so: the tables, or a Vela.
        findings: what is in the way.
    """

    verdict: str
    bsps: tuple[str, ...]
    placed: int | None
    total: int | None
    by: str
    findings: tuple[Finding, ...]


class Lane(NamedTuple):
    """One accelerator, over all BSPs."""

    accelerator: str
    runs: tuple[Run, ...]


class Line(NamedTuple):
    """One board, in words.

    Attributes:
        name: board and accelerator.
        verdict: as of :class:`Run`; red where a board gave wrong outputs, whatever was predicted.
        is_tested: whether a board of ours ran the files.
        placement: where the operators run, and who says so.
        correctness: who compared the outputs, or that nobody did; and why the verdict does not stand for itself.
        is_wrong: whether its outputs were wrong there.
        speed: the time on the accelerator, of the best known kind, labelled; None where there is none.
        speeds: all times, those on the accelerator before those on the board's CPU, the best known kind first.
        warns: whether the board is wrong, or its NPU is slower than its CPU.
        bsps: those that the placement holds for.
    """

    name: str
    verdict: str
    is_tested: bool
    is_wrong: bool
    placement: str
    correctness: str
    speed: dict[str, Any] | None
    speeds: tuple[dict[str, Any], ...]
    warns: bool
    bsps: tuple[str, ...]


class Notice(NamedTuple):
    """Words that stand above a page. ``kind``: "stop" where something is wrong, else "note"."""

    kind: str
    title: str
    text: str


def deployed(model: Model) -> dict[str, Any] | None:
    """The variant whose numbers stand for the model: int8 where there is one, else the last."""
    variants = model["variants"]
    return next((each for each in variants if each["variant"] == "int8"), variants[-1] if variants else None)


def span_of(bsps: Sequence[str], every: Sequence[str]) -> str:
    """Words for a range of BSPs."""
    if len(bsps) == len(every):
        return "every BSP"
    return bsps[0] if len(bsps) == 1 else f"{bsps[0]} to {bsps[-1]}"


# Verdicts


def findings_of(models: Iterable[Model]) -> dict[Finding, int]:
    """All findings of the matrix, numbered in the order in which they are met."""
    found: dict[Finding, int] = {}
    for model in models:
        for cell in model["matrix"]:
            for each in cell["findings"]:
                found.setdefault(_finding(each), len(found) + 1)
    return found


def _finding(found: dict[str, Any]) -> Finding:
    return Finding(found["id"], found["what"], found["remedy"])


def lanes(model: Model, accelerators: Iterable[str], bsps: Sequence[str]) -> list[Lane]:
    """The model's verdicts: a lane for each accelerator, in which neighbouring BSPs with equal verdicts are one run."""
    cells = {(cell["accelerator"], cell["bsp"]): cell for cell in model["matrix"]}
    return [
        Lane(accelerator, tuple(_runs([(bsp, cells.get((accelerator, bsp))) for bsp in bsps])))
        for accelerator in accelerators
    ]


def _runs(row: list[tuple[str, dict[str, Any] | None]]) -> Iterable[Run]:
    def facts(entry: tuple[str, dict[str, Any] | None]) -> Run:
        cell = entry[1]
        if cell is None:
            return Run("none", (), None, None, "", ())
        findings = tuple(_finding(each) for each in cell["findings"])
        return Run(cell["verdict"], (), cell["placed"], cell["total"], cell["by"], findings)

    for run, entries in groupby(row, facts):
        yield run._replace(bsps=tuple(bsp for bsp, _ in entries))


def is_plain(models: Iterable[Model], accelerator: str, bsps: Sequence[str]) -> bool:
    """Whether a lane says the same of every model: all green, and nothing to add. A sentence says it better."""
    for model in models:
        (lane,) = lanes(model, [accelerator], bsps)
        run = lane.runs[0]
        if len(lane.runs) > 1 or run.verdict != "green" or run.findings or run.by != "tables":
            return False
    return True


# Boards


def lines(model: Model) -> list[Line]:
    """One line for each board and accelerator."""
    return [_line(board) for board in model["boards"]]


def _line(board: dict[str, Any]) -> Line:
    correctness, placement = board["correctness"], board["placement"]
    state = correctness["state"]
    return Line(
        name=f"{board['board']}, NPU",
        verdict="red" if state == "wrong" else placement["verdict"] if placement else "none",
        is_tested=correctness["kind"] == "ours",
        is_wrong=state == "wrong",
        placement=_placement(placement),
        correctness="; ".join(filter(None, [_correctness(correctness), _caution(board)])),
        speed=_labelled(board["speed"])[0] if board["speed"] else None,
        speeds=(*_labelled(board["speed"]), *_labelled(board["cpu"])),
        warns=state == "wrong" or "slower than the CPU" in (board["caution"] or ""),
        bsps=tuple(placement["bsps"]) if placement else (),
    )


def _caution(board: dict[str, Any]) -> str:
    text = board["caution"] or ""
    for words in (*SAID, f"wrong on the board: {board['correctness']['why']}"):
        text = text.removeprefix(words).removeprefix("; ")
    return text


def _labelled(speeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = sorted(speeds, key=lambda each: [*SPEEDS].index(each["kind"]))
    return [each | {"label": SPEEDS[each["kind"]]} for each in found]


def _correctness(found: dict[str, Any]) -> str:
    if found["state"] == "untested":
        return "untested"
    outputs = f"outputs are {found['state']}"
    if found["kind"] == "published":  # the address is on the model's page
        return f"published by others, with their own file: {outputs}"
    whom = ", ".join(str(found[key]) for key in ("by", "date", "bsp") if found[key])
    return f"tested: {outputs} ({whom})"


def _placement(placement: dict[str, Any] | None) -> str:
    if not placement:
        return "placement unknown"
    by = "predicted" if placement["by"] == "tables" else f"by {placement['by']}"
    if placement["verdict"] == "red":
        return f"do not deploy, {by}"
    return f"{placement['placed']} of {placement['total']} operators on it, {by}"


# Notices


def notices(model: Model, texts: dict[str, str], bsps: Sequence[str]) -> list[Notice]:
    """What a reader must know before the numbers.

    Args:
        model: an entry of catalogue.json that is not damaged.
        texts: accelerator -> the name of its target.
        bsps: all of them.
    """
    found = [*_failures(model, texts, bsps)]
    if model["own_weights"]:
        found.append(
            Notice(
                "note",
                "User-supplied weights.",
                "The numbers and hashes on this page are of these weights, not of the published ones.",
            )
        )
    if model["group"] == "demo":
        found.append(Notice("note", "A demo.", "It shows the pipeline. Its accuracy says nothing about real data."))
    if not model["redistributable"]:
        text = "A licence does not let these files be given away. `docker/run doit {}` builds them on your machine."
        found.append(Notice("note", "Not redistributable.", text.format(model["name"])))
    if all(report["emulated"] for report in model["reports"]):
        text = "Placement is predicted, correctness is untested. `docker/run doit board:{} target=root@HOST` tests it."
        found.append(Notice("note", "No board has run these files.", text.format(model["name"])))
    return found + [Notice("note", "", text) for text in model["warnings"]]


def _failures(model: Model, texts: dict[str, str], bsps: Sequence[str]) -> Iterable[Notice]:
    for variant in model["variants"]:
        if variant["verdict"] != "PASS":
            text = f"{variant['file']}: {variant['verdict']}. Build the model again, and do not deploy this file."
            yield Notice("stop", "example.py found these files wrong.", text)
    if model["rebuilds_failed"]:
        who = ", ".join(each["name"] for each in model["rebuilds_failed"])
        text = f"By {who}. Do not use these files before you know which build is wrong."
        yield Notice("stop", "Rebuilt with other bytes.", text)
    for line, board in zip(lines(model), model["boards"], strict=True):
        if line.is_wrong:
            why = f"{board['correctness']['why'] or ''}".rstrip(".")
            yield Notice(
                "stop", f"Wrong on a board: {line.name}.", _sentence(f"{_correctness(board['correctness'])}: {why}.")
            )
    for lane in lanes(model, texts, bsps):
        for run in lane.runs:
            if run.verdict == "red":
                why = " ".join(f"{_sentence(each.what)}. Remedy: {each.remedy}." for each in run.findings)
                span = span_of(run.bsps, bsps)
                yield Notice("stop", f"Do not deploy on {texts[lane.accelerator]} ({span}).", why)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
