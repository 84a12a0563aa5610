"""What an area gives to the campaign, and what can come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

__all__ = ["Case", "Outcome"]


class Outcome(Enum):
    """How a case ended; the last four are defects."""

    RIGHT = "right"
    CLEAR = "clear error"
    TRACEBACK = "traceback"
    HANG = "hang"
    WRONG = "wrong"
    LOST = "lost"


@dataclass(frozen=True)
class Case:
    """One hostile thing, and how to try it.

    Attributes:
        area: the module that it is of.
        what: one line that says what is hostile about it.
        run: does it; must end within 60 s by itself.
    """

    area: str
    what: str
    run: Callable[[], Outcome]
