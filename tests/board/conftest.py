"""Boards for the tests: a real sshd on loopback whose board is a folder of this machine, or the virtual board."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.boards import Sshd, start
from utils.board.virtual import Virtual, root
from utils.errors import BoardError


@pytest.fixture
def start_sshd(tmp_path: Path) -> Iterator[Callable[[], Sshd]]:
    """Start one sshd more."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(start(tmp_path / f"sshd{len(list(tmp_path.glob('sshd*')))}"))


@pytest.fixture
def sshd(start_sshd: Callable[[], Sshd]) -> Sshd:
    """A board."""
    return start_sshd()


@pytest.fixture(scope="session")
def board_root() -> Path:
    """The root of the virtual board; made when it has to be, in build/ of this checkout."""
    try:
        Virtual().prepare(print)
    except BoardError as error:
        pytest.skip(str(error))
    return root()
