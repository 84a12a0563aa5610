"""The action of a step: what it asks of a step cache and of a cluster, before its program runs here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from utils import environment
from utils.errors import UsageError
from utils.front import sharing, stage
from utils.front.sharing import StepProgram, require_cluster
from utils.graph.step import Step
from utils.recipe.load import find_recipe
from utils.shared.cluster import Cluster
from utils.shared.order import Answer
from utils.shared.settings import Settings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked, of a cache that has nothing and a cluster that runs everything."""
    found: list[str] = []

    def note(word: str, answer: Any = None) -> Any:
        return lambda *_: (found.append(word), answer)[1]

    cache = SimpleNamespace(restore=note("cache"), push=note("push"))
    engine = SimpleNamespace(run=note("cluster", Answer(worker="w", outcome="done")))
    monkeypatch.setattr(sharing, "_open_cache", lambda: cache)
    monkeypatch.setattr(sharing, "_open_engine", lambda: engine)
    monkeypatch.setattr(sharing.Program, "execute", note("here"))
    screen = SimpleNamespace(progress=lambda *_: None)
    monkeypatch.setattr(stage, "find_screen", lambda: screen)
    return found


@pytest.mark.parametrize(("travels", "wanted"), [(True, ["cache", "cluster"]), (False, ["cache", "here", "push"])])
def test_a_step_that_is_planned_from_this_checkout_stays_here(
    asked: list[str], *, travels: bool, wanted: list[str]
) -> None:
    step: Any = None
    action = StepProgram(["true"], lambda: step, travels=travels)
    action.task = SimpleNamespace(name="m:step")
    assert action.execute() is None
    assert asked == wanted


def test_what_is_put_into_a_bundle_for_the_npu_is_planned_from_this_checkout(asked: list[str]) -> None:
    """Its inputs are the files that were compiled here: a worker would plan it from its own."""
    from utils.front.tasks import compile_task
    from utils.graph import plan
    from utils.npu import bsp

    recipe = find_recipe("demo_nearest")
    steps: list[Step] = [plan.vela_step(recipe, bsp.find_default_bsp())]
    actions = [action for action in compile_task(recipe, steps, list).actions if isinstance(action, StepProgram)]
    for action in actions:
        action.task = SimpleNamespace(name="vela:demo_nearest")
        action.execute()
    assert asked == ["cache", "cluster", "cache", "here", "push"]


# What needs a step cache


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster, and no step cache."""
    found = Cluster("tcp://127.0.0.1:1", "127.0.0.1", 1, None)
    monkeypatch.setattr(sharing, "_cluster", lambda: found)
    monkeypatch.setattr(sharing, "_settings", Settings)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("names", [[], ["demo"], ["lock", "demo"], ["vela:demo_nearest"], ["compat:demo_nearest"]])
def test_a_build_on_a_cluster_needs_a_step_cache(names: list[str]) -> None:
    with pytest.raises(UsageError, match="a cluster needs a step cache"):
        require_cluster(names)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "names", [["worker"], ["scheduler"], ["lock"], ["verify"], ["release"], ["release:check"], ["publish"], ["new"],
              ["steps:check"], ["mirror"], ["refetch"], ["completion"]],
)  # fmt: skip
def test_what_runs_no_step_needs_none(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "describe", lambda: {"bit_identical": False})
    require_cluster(names)
