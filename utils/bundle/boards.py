"""The part of a card that shows what boards said: between two marks, so that a release can take it out.

A card without it is the same to the last byte, whatever was measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from utils.bundle import markdown
from utils.bundle.board_report import Record

__all__ = ["boards_part", "replace_boards_part"]

TEMPLATE = Path(__file__).with_name("boards.md.j2")

#: No text of a board can hold them: its brackets are escaped.
BEGIN, END = "<!-- boards: begin -->\n", "<!-- boards: end -->\n\n"


def boards_part(boards: Iterable[Record]) -> str:
    """The part; empty without boards."""
    shown = list(boards)
    return f"{BEGIN}{markdown.render(TEMPLATE, boards=shown).strip()}\n\n{END}" if shown else ""


def replace_boards_part(card: str, part: str) -> str:
    """The card with ``part`` in the place of its own; a card that has none stays as it is."""
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: part, card, flags=re.DOTALL)
