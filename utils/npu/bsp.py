"""NXP's Linux BSPs: which TFLite and which Vela each has. ``bsp.csv`` has them, oldest first, each with its source."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from utils.errors import BuildError, did_you_mean

__all__ = ["FILE", "Bsp", "find_bsp", "find_default_bsp", "load_bsps", "parse_version"]

FILE = Path(__file__).with_name("bsp.csv")

#: Model files carry versions too: no digits of other scripts, and none that Python refuses to make a number of.
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*")


@dataclass(frozen=True)
class Bsp:
    """One release.

    Attributes:
        name: as NXP writes it, ``LF6.12.34_2.1.0``.
        vela: version of the NPU compiler that belongs to it; a file for its NPU driver is made with this one.
        tflite: version of the TFLite runtime on the board, or of the newest older release where nobody confirmed it.
        driver_stack: version of the Ethos-U driver stack.
        confirmed: whether the row was read off the release, and not inferred.
        note: for people.
        source: where the row comes from.
    """

    name: str
    vela: str
    tflite: str
    driver_stack: str
    confirmed: bool
    note: str
    source: str


def parse_version(text: str) -> tuple[int, ...]:
    """``2.10.0`` as numbers, for comparing; of ``2.10.0rc1`` the same, of what has no number in front none."""
    numbers = _VERSION.match(text)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else ()


@cache
def load_bsps() -> dict[str, Bsp]:
    """Every BSP by name, oldest first."""
    found: dict[str, Bsp] = {}
    tflite = ""
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            tflite = row["tflite"] or tflite  # a release does not go back
            found[row["bsp"]] = Bsp(
                name=row["bsp"],
                vela=row["vela"],
                tflite=tflite,
                driver_stack=row["driver_stack"],
                confirmed=row["confirmed"] == "yes",
                note=row["note"],
                source=row["source"],
            )
    return found


def find_default_bsp() -> Bsp:
    """The newest confirmed one: its Vela is in the image."""
    return [found for found in load_bsps().values() if found.confirmed][-1]


def find_bsp(name: str) -> Bsp:
    """The BSP called ``name``.

    Raises:
        BuildError: there is none; lists the known ones.
    """
    known = load_bsps()
    if name not in known:
        hint = f"choose one of {', '.join(known)}"
        raise BuildError(f"no BSP is called {name!r}{did_you_mean(name, known)}", hint=hint)
    return known[name]
