"""SavedModels from outside: frozen with the same numbers, or refused with what is wrong; nothing hostile is run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkouts import ROOT
from utils import environment

pytestmark = pytest.mark.heavy

Results = dict[str, dict[str, Any]]


def run(folder: Path, *names: str) -> Results:
    """What became of those of tests/support/saved_models.py."""
    command = [sys.executable, "-m", "tests.support.saved_models", str(folder), *names]
    done = subprocess.run(command, cwd=ROOT, env=environment.pinned(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Results = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def frozen(folder: Path) -> Results:
    return run(folder)


@pytest.mark.parametrize(
    "name",
    [
        "ref_variables",
        "resource_variables",
        "fixed_batch",
        "bytes_in",
        "other_order",
        "deep_in_a_folder",
        "functions",
        "never_runs",
    ],
)
def test_the_same_numbers(frozen: Results, name: str) -> None:
    """As the session gave them, at batch 1, whatever the kind of variables; step counters are no parameters."""
    result = frozen[name]
    assert "error" not in result, result
    assert result["difference"] < 1e-6
    assert result["count"] == 12
    assert result["shape"] == [1, 3]
    assert not {"WriteFile", "ReadFile", "DecodeJpeg", "VariableV2", "VarHandleOp"} & set(result["operators"])
    assert result["written"] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "no_signature",
            "no signature 'classify' (it has serving_default)\n  -> correct load.signature",
        ),
        ("no_output", "signature 'classify' has no output 'probabilities' (it has classes)\n  -> correct output.name"),
        ("other_size", "takes image: float32(None, 5, 5, 3), not one image [1, 4, 4, 3]\n  -> correct input.shape"),
        ("other_batch", "takes image: float32(8, 4, 4, 3), not one image [1, 4, 4, 3]"),
        ("other_dtype", "takes image: float64(None, 4, 4, 3), not one image"),
        (
            "other_output",
            "the output probabilities is [1, 2], not [1, 3]\n  -> correct output.shape in recipes/mnasnet",
        ),
        ("not_for_serving", "the SavedModel has no serving graph\n  -> export it with the tag 'serve'"),
        ("damaged", "saved_model.pb is damaged\n  -> download it again"),
        ("without_variables", "the SavedModel cannot be loaded: "),
        ("damaged_variables", "the SavedModel cannot be loaded: "),
        ("two", "the archive has 2 SavedModels, not one\n  -> use an archive that has one folder with saved_model.pb"),
        ("none", "the archive has 0 SavedModels, not one"),
    ],
)
def test_broken(frozen: Results, name: str, said: str) -> None:
    result = frozen[name]
    assert result.get("kind") == "BuildError", result
    assert result["error"].startswith("model.tgz: ")
    assert said in result["error"]
    assert "  -> " in result["error"]


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("writes_when_it_is_loaded", "WriteFile"),
        ("writes_a_checkpoint_when_it_is_loaded", "SaveV2"),
        ("writes_in_a_function_when_it_is_loaded", "WriteFile"),
        ("writes_when_it_is_called", "WriteFile"),
        ("reads_a_file", "ReadFile"),
        ("calls_python", "PyFunc"),
    ],
)
def test_hostile(frozen: Results, name: str, operator: str) -> None:
    """Refused by the name of the operator, before anything of the graph is run."""
    result = frozen[name]
    assert result["written"] == []
    assert result.get("kind") == "BuildError", result
    assert "the graph has operators that no network needs: " in result["error"]
    assert operator in result["error"].splitlines()[0]
    assert "nothing of the graph was run" in result["error"]


def test_hidden_behind_a_name(frozen: Results) -> None:
    """A function in the file that is called like the operator does not let it through."""
    result = frozen["a_function_with_the_name_of_an_operator"]
    assert result["written"] == []
    assert result.get("kind") == "BuildError", result


@pytest.mark.slow
def test_the_same_bytes_in_another_process(folder: Path, frozen: Results) -> None:
    """Each step is a process of its own; within one, TensorFlow numbers functions on."""
    names = ["functions", "ref_variables", "resource_variables"]
    one, other = run(folder, *names), run(folder, *names)
    assert {name: one[name]["sha256"] for name in names} == {name: other[name]["sha256"] for name in names}
    assert one["ref_variables"]["sha256"] == frozen["ref_variables"]["sha256"]
