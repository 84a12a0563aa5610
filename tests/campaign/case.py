"""One hostile case of the campaign, and what can come out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

__all__ = ["Case", "Outcome"]


class Outcome(Enum):
    """What came out of a case."""

    RIGHT = "right"
    CLEAR = "clear error"
    TRACEBACK = "traceback"
    HANG = "hang"
    WRONG = "wrong"
    LOST = "lost"


@dataclass(frozen=True)
class Case:
    """Something hostile, and how to try it.

    Attributes:
        area: "boards", "sources", ...
        what: one line that says what is hostile about it.
        run: does it; ends within 60 s by itself.
    """

    area: str
    what: str
    run: Callable[[], Outcome]
