"""The part of a card with the results of boards: between two marks, so that a release can take it out.

Without this part, a card has the same bytes whatever was measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from utils.bundle import markdown
from utils.bundle.board_report import Record

__all__ = ["boards_part", "replace_boards_part"]

TEMPLATE = Path(__file__).with_name("boards.md.j2")

#: No text of a board can hold these marks: its brackets are escaped.
BEGIN, END = "<!-- boards: begin -->\n", "<!-- boards: end -->\n\n"


def boards_part(boards: Iterable[Record]) -> str:
    """Render the part; it is empty without boards."""
    shown = list(boards)
    return f"{BEGIN}{markdown.render(TEMPLATE, boards=shown).strip()}\n\n{END}" if shown else ""


def replace_boards_part(card: str, part: str) -> str:
    """Replace the part in a card; a card without the part stays as it is."""
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: part, card, flags=re.DOTALL)
