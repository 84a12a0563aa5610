"""The one screen of this process: what runs, reports and ends all draw through it."""

from __future__ import annotations

from typing import TextIO

from utils.terminal import Screen

__all__ = ["find_screen", "open_screen"]

_open: list[Screen] = []


def open_screen(out: TextIO | None = None, verbosity: int = 1) -> Screen:
    """Make the screen; the one before it is closed."""
    for screen in _open:
        screen.close()
    _open[:] = [Screen(out, verbosity=verbosity)]
    return _open[0]


def find_screen() -> Screen:
    """The screen of this process; one that draws as by default, where none was made."""
    return _open[0] if _open else open_screen()
