"""Whole checkouts that share their steps: what was built in one is given to a step cache without building it again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.checkouts import Checkout
from utils import environment

__all__ = ["PUSH", "push_all", "require_promise"]

#: Gives every step of the named models to the cache that the environment names.
PUSH = """
import sys
from utils.graph import plan
from utils.recipe.load import find_recipe
from utils.shared.restore import Cache
from utils.shared.settings import read_settings

said = []
cache = Cache(read_settings(), said.append)
for name in sys.argv[1:]:
    for step in plan.steps_of(find_recipe(name)):
        pushed = cache.push(step)
        print(f"{step!r}: {pushed}")
        assert pushed is not None and not pushed.differs, (repr(step), said)
assert not said, said
"""


def require_promise() -> None:
    """Skip where this environment has no promise of identical bytes: it shares nothing."""
    if environment.promised_lock() is None:
        pytest.skip("needs docker/run: another environment has no promise of identical bytes, and shares nothing")


def push_all(checkout: Checkout, env: dict[str, str], *models: str) -> subprocess.CompletedProcess[str]:
    done = checkout.run(sys.executable, "-c", PUSH, *models, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done
