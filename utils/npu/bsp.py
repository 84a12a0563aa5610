"""NXP's Linux BSPs and their versions of TFLite and Vela. ``bsp.csv`` lists them, oldest first, with sources."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from utils.errors import BuildError, did_you_mean

__all__ = ["FILE", "Bsp", "find_bsp", "find_default_bsp", "load_bsps", "parse_version"]

FILE = Path(__file__).with_name("bsp.csv")

#: Model files contain versions too: ASCII digits only, and few enough for Python to parse.
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*")


@dataclass(frozen=True)
class Bsp:
    """One release.

    Attributes:
        name: as NXP writes it, ``LF6.12.34_2.1.0``.
        vela: version of the NPU compiler that fits its NPU driver.
        tflite: version of the TFLite runtime on the board; if unconfirmed, that of the newest older release.
        driver_stack: version of the Ethos-U driver stack.
        confirmed: whether the row was read from the release, and not inferred.
        note: a remark.
        source: evidence for the row.
    """

    name: str
    vela: str
    tflite: str
    driver_stack: str
    confirmed: bool
    note: str
    source: str


def parse_version(text: str) -> tuple[int, ...]:
    """Parse ``2.10.0`` into numbers to compare; ``2.10.0rc1`` gives the same, a text without a leading number none."""
    numbers = _VERSION.match(text)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else ()


@cache
def load_bsps() -> dict[str, Bsp]:
    """Every BSP by name, oldest first."""
    found: dict[str, Bsp] = {}
    tflite = ""
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            tflite = row["tflite"] or tflite  # versions never go down
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
    """Find the newest confirmed BSP: its Vela is in the image."""
    return [found for found in load_bsps().values() if found.confirmed][-1]


def find_bsp(name: str) -> Bsp:
    """Find the BSP called ``name``.

    Raises:
        BuildError: the name is unknown; lists the known ones.
    """
    known = load_bsps()
    if name not in known:
        hint = f"use one of {', '.join(known)}"
        raise BuildError(f"no BSP is called {name!r}{did_you_mean(name, known)}", hint=hint)
    return known[name]
