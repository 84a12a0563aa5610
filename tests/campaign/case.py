"""One case of the campaign, and how it may come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """RIGHT and CLEAR are as promised; every other one is a defect."""

    RIGHT = "right"
    CLEAR = "clear error"
    TRACEBACK = "traceback"
    HANG = "hang"
    WRONG = "wrong"
    LOST = "lost"


@dataclass(frozen=True)
class Case:
    """Something hostile, and a try of it.

    Attributes:
        area: ``boards``, ``sources``, ...
        what: one line that says what is hostile about it.
        run: does it; ends within 60 s by itself.
    """

    area: str
    what: str
    run: Callable[[], Outcome]
