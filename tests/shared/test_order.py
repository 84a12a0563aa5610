"""Orders: the same checkout takes them, another one names what differs; inputs come from the cache by hash alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from utils import paths
from utils.errors import BuildError, CorruptError
from utils.graph import plan
from utils.graph.step import Step
from utils.recipe.load import find_recipe
from utils.shared import inputs
from utils.shared import order as order_module
from utils.shared.action import Digest
from utils.shared.http import Store
from utils.shared.inputs import fetch_inputs, require_same_sources, share_inputs
from utils.shared.order import File, Order, find_differences, is_made, make_order


@pytest.fixture(scope="module")
def train() -> Step:
    """A step that reads nothing that another step writes."""
    return plan.step_of(find_recipe("demo_nearest"), "train")


_DIGEST_OF_1 = hashlib.sha256(b"1").hexdigest()


def changed(order: Order, **facts: str) -> Order:
    return order.model_copy(update={"facts": order.facts | facts})


def test_an_order_is_names_and_hashes(train: Step) -> None:
    order = make_order(train)
    assert (order.model, order.step, order.key, order.inputs) == ("demo_nearest", "train", train.key(), {})
    assert {"the commit", "the machine", "the recipe", "docker/requirements.txt"} <= order.facts.keys()
    assert "the code of utils/steps/train.py" in order.facts
    assert "utils/steps/train.py" in order.code
    assert Order.model_validate_json(order.model_dump_json()) == order
    assert len(order.model_dump_json()) < 64 * 1024


def test_the_same_checkout_has_no_difference(train: Step) -> None:
    assert find_differences(make_order(train), train) == []


@pytest.mark.parametrize("name", ["the commit", "the machine", "the recipe", "docker/requirements.txt"])
def test_what_differs_is_named_with_both_values(train: Step, name: str) -> None:
    order = make_order(train)
    if not order.facts[name]:
        pytest.skip("this checkout is under no git")
    wanted = [f"{name}: {order.facts[name][:12]} there, other here"]
    assert find_differences(changed(order, **{name: "other"}), train) == wanted


def test_a_checkout_without_git_has_no_commit_to_differ_in(train: Step) -> None:
    assert find_differences(changed(make_order(train), **{"the commit": ""}), train) == []


def test_where_the_code_differs_the_file_is_named(train: Step) -> None:
    order = make_order(train)
    name = "the code of utils/steps/train.py"
    other = changed(order, **{name: "0" * 64}).model_copy(update={"code": order.code | {"utils/files.py": "1" * 64}})
    first, second = find_differences(other, train)
    assert first.startswith(f"{name}: ")
    assert second == f"utils/files.py: {order.code['utils/files.py'][:12]} there, 111111111111 here"
    # A comment in a file changes no code, and is no difference.
    same = order.model_copy(update={"code": order.code | {"utils/files.py": "1" * 64}})
    assert find_differences(same, train) == []


def test_a_file_that_is_missing_there_is_named(train: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "relative", lambda file: file.relative_to(tmp_path).as_posix())
    step = replace(train, reads=(tmp_path / "recipes/list.csv",), code=(), writes=())
    step.reads[0].parent.mkdir()
    step.reads[0].write_text("1")
    order = order_of({}).model_copy(update={"facts": order_module._facts(step)})
    assert find_differences(order, step) == []
    step.reads[0].unlink()
    assert find_differences(order, step) == [f"recipes/list.csv: missing there, {_DIGEST_OF_1[:12]} here"]


def test_files_that_only_one_side_reads_are_named(train: Step) -> None:
    extra = {"build/demo_nearest/board/x.json": File(size=1, sha256="0" * 64)}
    order = make_order(train).model_copy(update={"inputs": extra})
    assert find_differences(order, train) == ["build/demo_nearest/board/x.json: only here"]


@pytest.mark.parametrize("name", ["build/x", "artifacts/m/m_int8.tflite"])
def test_what_steps_write_is_made(name: str) -> None:
    assert is_made(name)


@pytest.mark.parametrize("name", ["docker/requirements.txt", "recipes/lists/a.csv", "builds/x", "utils/build/x"])
def test_what_git_has_is_not(name: str) -> None:
    assert not is_made(name)


# Inputs


class Blobs:
    """Blobs in memory, as a store gives and takes them."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.read: list[str] = []

    def put(self, data: bytes) -> File:
        digest = hashlib.sha256(data).hexdigest()
        self.kept[digest] = data
        return File(size=len(data), sha256=digest)

    def read_blob(self, digest: Digest, to: Path) -> None:
        self.read.append(digest.sha256)
        if digest.sha256 not in self.kept:
            raise CorruptError("is missing on the server")
        to.write_bytes(self.kept[digest.sha256])

    def write_blob(self, digest: Digest, file: Path) -> bool:
        self.kept[digest.sha256] = file.read_bytes()
        return True


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, path in (("ROOT", tmp_path), ("BUILD", tmp_path / "build"), ("ARTIFACTS", tmp_path / "artifacts")):
        monkeypatch.setattr(paths, name, path)
    return tmp_path


def order_of(files: dict[str, File]) -> Order:
    return Order(format=1, model="m", step="s", key="0" * 64, facts={}, code={}, inputs=files)


def test_inputs_come_whole_and_only_those_that_are_not_there(root: Path) -> None:
    blobs = Blobs()
    wanted = {"build/m/a": blobs.put(b"a"), "build/m/bundle/b": blobs.put(b"new"), "artifacts/m/c": blobs.put(b"c")}
    (root / "build/m/bundle").mkdir(parents=True)
    (root / "build/m/a").write_bytes(b"a")
    (root / "build/m/bundle/b").write_bytes(b"old")
    fetch_inputs(order_of(wanted), cast("Store", blobs))
    assert {name: (root / name).read_bytes() for name in wanted} == {
        "build/m/a": b"a", "build/m/bundle/b": b"new", "artifacts/m/c": b"c",
    }  # fmt: skip
    assert blobs.read == [wanted["build/m/bundle/b"].sha256, wanted["artifacts/m/c"].sha256]
    assert not [file for file in root.rglob("*") if file.name.startswith(".") or "arrived" in file.name]


def test_an_input_that_is_missing_changes_nothing(root: Path) -> None:
    (root / "build/m").mkdir(parents=True)
    (root / "build/m/a").write_bytes(b"old")
    with pytest.raises(CorruptError, match="is missing"):
        fetch_inputs(order_of({"build/m/a": File(size=1, sha256="0" * 64)}), cast("Store", Blobs()))
    assert (root / "build/m/a").read_bytes() == b"old"


OUTSIDE = [
    "build/../dodo.py",
    "/etc/passwd",
    "dodo.py",
    "build/m/./a",
    "build//a",
    "build/a\\b",
    "utils/build/a",
    "build/\n",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.usefixtures("root")
def test_an_input_outside_of_what_steps_write_is_refused(name: str) -> None:
    blobs = Blobs()
    with pytest.raises(BuildError, match="outside of build/ and artifacts/"):
        fetch_inputs(order_of({"build/m/good": blobs.put(b"a"), name: blobs.put(b"b")}), cast("Store", blobs))
    assert not blobs.read


def test_inputs_are_shared_before_a_worker_asks(root: Path) -> None:
    (root / "build/m").mkdir(parents=True)
    (root / "build/m/a").write_bytes(b"a")
    blobs, digest = Blobs(), hashlib.sha256(b"a").hexdigest()
    known = {"0" * 64}
    wanted = {"build/m/a": File(size=1, sha256=digest), "build/m/known": File(size=1, sha256="0" * 64)}
    share_inputs(order_of(wanted), cast("Store", blobs), known)
    assert blobs.kept == {digest: b"a"}
    blobs.kept.clear()
    share_inputs(order_of(wanted), cast("Store", blobs), known)
    assert blobs.kept == {}  # what is known to be there is not asked for again
    assert known == {"0" * 64, digest}


def test_an_unpinned_source_that_is_another_one_here_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = find_recipe("mnasnet")
    key = next(key for key, entry in recipe.sources.items() if entry.source().unpinned)
    step = next(step for step in plan.steps_of(recipe) if step.name == "load")
    mark, here = tmp_path / "mark", tmp_path / "here"
    here.write_bytes(b"of this machine")
    monkeypatch.setattr(inputs, "fetch", lambda *_, **__: here)
    monkeypatch.setattr(inputs.layout, "source_digest_file", lambda _recipe, name: mark if name == key else tmp_path)
    step = replace(step, reads=(mark,))
    mark.write_text(hashlib.sha256(b"of this machine").hexdigest() + "\n")
    require_same_sources(recipe, step)
    mark.write_text("0" * 64 + "\n")
    with pytest.raises(CorruptError, match=r"has sha256 .* here, and 0000"):
        require_same_sources(recipe, step)
