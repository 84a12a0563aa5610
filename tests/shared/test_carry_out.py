"""What a worker answers before a step runs: to an order that is not of its checkout, and where it lacks something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.support.step_caches import Machine, StepServer, digest
from utils.npu import vela
from utils.recipe.schema import Recipe
from utils.shared import carry_out
from utils.shared.order import File, Order

ORDER = Order(
    format=1, model="tiny", step="train", key="0" * 64, facts={}, code={},
    inputs={"build/tiny/input": File(size=1, sha256="0" * 64)},
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ORDER.model_dump_json().replace('"format":1', '"format":2').encode(), "format"),
        (ORDER.model_dump_json().replace('"format":1', '"format":1,"more":1').encode(), "more"),
        (b"no order", "is not JSON"),
    ],
)
def test_an_order_of_another_version_is_refused(text: bytes, says: str) -> None:
    answer = carry_out._carry_out(text, "w")
    assert (answer.worker, answer.outcome) == ("w", "refused")
    assert says in answer.differs[0]


def test_a_worker_without_a_compiler_leaves_the_step_to_others(
    machine: Callable[[str], Machine], server: StepServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = machine("one").step(name="vela-x", compiler="9.9.9")
    monkeypatch.setattr(vela, "installed", dict)
    monkeypatch.setattr(carry_out, "_plan", lambda _: (cast("Recipe", None), step))
    monkeypatch.setattr(carry_out, "read_settings", server.settings)
    answer = carry_out._carry_out(ORDER.model_dump_json().encode(), "w")
    assert (answer.outcome, answer.said) == ("unshared", "it lacks Vela 9.9.9")
    assert server.asked == []


def test_a_worker_shares_what_it_compiles_of_a_bundle(
    machine: Callable[[str], Machine], server: StepServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has one file of the bundle, and not the one that says of which weights it is made: doit has read that."""
    one, content = machine("one"), b"model"
    name = "artifacts/tiny/tiny_int8.tflite"
    step = one.step(reads=(one.root / name,))
    step.reads[0].parent.mkdir(parents=True)
    step.reads[0].write_bytes(content)
    model = File(size=len(content), sha256=digest(content).sha256)
    order = ORDER.model_copy(update={"key": step.key(), "inputs": {name: model}})
    step.reads[0].unlink()
    server.entries[f"/cas/{model.sha256}"] = content

    def run(step: Any, _heard: object) -> tuple[int, str]:
        one.run(step)
        return 0, ""

    monkeypatch.setattr(carry_out, "_plan", lambda _: (cast("Recipe", None), step))
    monkeypatch.setattr(carry_out, "_run", run)
    monkeypatch.setattr(carry_out, "require_same_sources", lambda *_: None)
    monkeypatch.setattr(carry_out, "read_settings", server.settings)
    answer = carry_out._carry_out(order.model_dump_json().encode(), "w")
    assert (answer.outcome, answer.said, answer.notes) == ("done", "", [])
    assert any(path.startswith("/ac/") for path in server.entries)
