"""What the tests of weights share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Files of the small network, one a format, made when asked for."""
    from tests.support.weights import fill, net, save

    made: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = save(kind, fill(net()), tmp_path_factory.mktemp(kind.replace(" ", "_")))
        return made[kind]

    return of
