"""Who has rebuilt a model's artifacts with the same bytes: signed statements in ``rebuilds/``, by keys that count.

They are about what ``artifacts.lock`` has. One that is damaged, of an unknown key or about other bytes does not count,
and stops no build.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from utils import paths
from utils.errors import ZooError
from utils.untrusted import as_text

if TYPE_CHECKING:
    from utils.attest.rebuilds import Confirmation

__all__ = ["find_confirmations"]


def find_confirmations(
    model: str, artifacts: Mapping[str, str], folder: Path = paths.REBUILDS
) -> tuple[list[Confirmation], str]:
    """Find the statements that count, and say in one line what does not; an empty line: all count.

    Args:
        model: its name.
        artifacts: file -> sha256 of the model's artifacts.
        folder: ``MODEL/KEY.json``, and ``keys/NAME.pub``.
    """
    place = f"{folder.name}/{model}"
    if not (folder / model).is_dir():
        return [], ""
    from utils.attest import rebuilds  # cryptography: only where there are statements

    try:
        there = rebuilds.files_of(folder, model)
        keys = rebuilds.known_rebuilders(folder) if there else {}
        found = rebuilds.confirmations(folder, keys, model, artifacts) if there else []
    except ZooError as error:
        return [], f"{place}: no rebuild counts: {as_text(error.what)}"
    except OSError as error:
        return [], f"{place}: no rebuild counts: {error.strerror or 'cannot be read'}"
    others = len(there) - len(found)
    why = "an unknown key, other bytes, or damaged"
    return found, f"{place}: {others} of {len(there)} statements not counted: {why}" if others else ""
