"""What the workers of one run share: made by the first that needs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from utils import files


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Give the folder ``name`` of this run; ``make`` fills it, in one worker, while the others wait.

    Where ``make`` fails, the next worker tries again: each says why.
    """
    base = factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    place = run / name
    place.mkdir(exist_ok=True)
    with files.locked_folder(place):
        if not (place / "done").exists():
            folder = place / str(sum(1 for _ in place.iterdir()))  # what a failed one left is not built upon
            folder.mkdir()
            make(folder)
            files.write_whole(place / "done", folder.name)
    return place / (place / "done").read_text()
