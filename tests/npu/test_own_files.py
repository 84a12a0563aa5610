"""Files that people bring: where they run, and how they are compiled."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support import handmade
from tests.support.checkouts import Checkout
from tests.support.corpus import GRAPHS
from tests.support.velas import require_vela
from utils import files, paths
from utils.errors import DataError
from utils.npu import bsp, compat

DEFAULT = bsp.find_default_bsp()


def say(folder: Path, name: str) -> str:
    (folder / "mine.tflite").write_bytes(GRAPHS[name]())
    return compat.as_text(folder / "mine.tflite", (DEFAULT,))


def verdicts(folder: Path, name: str) -> dict[str, str]:
    (folder / "mine.tflite").write_bytes(GRAPHS[name]())
    found = compat.as_json(folder / "mine.tflite", (DEFAULT,))
    return {entry["accelerator"]: entry["verdict"] for entry in found["targets"]}


def test_a_file_for_the_edge_tpu_runs_on_no_board(tmp_path: Path) -> None:
    assert set(verdicts(tmp_path, "compiled for the Edge TPU").values()) == {"red"}
    said = say(tmp_path, "compiled for the Edge TPU")
    assert "no NXP board runs it" in said
    assert "-> give the file that edgetpu_compiler was given" in said


def colours(folder: Path, name: str, release: str) -> set[str]:
    (folder / "mine.tflite").write_bytes(GRAPHS[name]())
    return {entry["verdict"] for entry in compat.as_json(folder / "mine.tflite", (bsp.find_bsp(release),))["targets"]}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("dense int4", {"red"}, {"green", "yellow"}),
        ("dense of int4 in blocks", {"red"}, {"yellow"}),
        ("depthwise int16 with an int32 bias", {"red"}, {"red"}),
    ],
)
def test_types_that_runtimes_refuse_are_red_where_they_do(
    tmp_path: Path, name: str, old: set[str], new: set[str]
) -> None:
    """By TFLite 2.9.1 and 2.19.0."""
    assert colours(tmp_path, name, "LF5.15.52_2.1.0") == old
    assert colours(tmp_path, name, "LF6.12.34_2.1.0") == new


def test_control_flow_is_examined_with_its_first_subgraph(tmp_path: Path) -> None:
    assert verdicts(tmp_path, "a condition") == {"vx": "yellow", "ethos_u": "yellow", "cpu": "green"}
    assert "[control-flow] 1 x IF: loops and conditions run on the CPU" in say(tmp_path, "a condition")


def test_a_missing_custom_operator_is_not_called_damaged(tmp_path: Path) -> None:
    said = say(tmp_path, "custom operator")
    assert "damaged" not in said
    assert "check the runtime on the board, or leave the operator out of the graph" in said


def test_lstms_that_vela_takes_are_green(tmp_path: Path) -> None:
    assert verdicts(tmp_path, "lstm")["ethos_u"] == "green"
    assert verdicts(tmp_path, "lstm with peepholes")["ethos_u"] == "yellow"


@pytest.mark.parametrize("name", ["add of int32", "square", "dense int4", "channel shuffle", "transpose [0, 3, 1, 2]"])
def test_what_vela_leaves_on_the_cpu_is_not_green(tmp_path: Path, name: str) -> None:
    assert verdicts(tmp_path, name)["ethos_u"] != "green"


def test_what_runtimes_refuse_and_vela_takes(tmp_path: Path) -> None:
    """TFLite Micro's person detector."""
    name = "depthwise whose bias has the axis of its weights"
    assert verdicts(tmp_path, name) == {"vx": "red", "ethos_u": "green", "cpu": "red"}
    assert "runtimes refuse scales along an axis that their tensor does not have" in say(tmp_path, name)


def test_a_tensor_that_nothing_writes_is_a_finding(tmp_path: Path) -> None:
    """LiteRT's file of int4 in blocks, which is there for readers."""
    name = "add of int4 in blocks that nothing writes"
    assert verdicts(tmp_path, name) == {"vx": "red", "ethos_u": "red", "cpu": "red"}
    assert "[unwritten] 1 x ADD: it reads a tensor that nothing writes: runtimes end at it" in say(tmp_path, name)


def _empty(model: object) -> None:
    model.subgraphs = []  # type: ignore[attr-defined]


def _endless(model: object) -> None:
    graph = model.subgraphs[0]  # type: ignore[attr-defined]
    graph.operators[0].inputs[0] = graph.operators[-1].outputs[0]


def _no_ends(model: object) -> None:
    graph = model.subgraphs[0]  # type: ignore[attr-defined]
    graph.inputs = graph.outputs = None


def _zero(model: object) -> None:
    model.subgraphs[0].tensors[0].shape = [1, 0, 8, 3]  # type: ignore[attr-defined]


def _outside(model: object) -> None:
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 16, 64  # type: ignore[attr-defined]


def _text(model: object) -> None:
    model.subgraphs[0].tensors[0].type = 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("edit", "said"),
    [(_zero, "a dimension of 0"), (_outside, "4 operators"),
     (_text, "text")],
)  # fmt: skip
def test_odd_files_end_in_a_report(tmp_path: Path, edit: object, said: str) -> None:
    (tmp_path / "odd.tflite").write_bytes(handmade.changed(edit, whole_numbers=True))  # type: ignore[arg-type]
    assert said in compat.as_text(tmp_path / "odd.tflite")


def test_a_graph_without_ends_reads_what_nothing_writes(tmp_path: Path) -> None:
    (tmp_path / "odd.tflite").write_bytes(handmade.changed(_no_ends))
    assert "[unwritten]" in compat.as_text(tmp_path / "odd.tflite")


def test_what_is_read_before_it_is_written_is_named(tmp_path: Path) -> None:
    """Operators in a circle."""
    (tmp_path / "odd.tflite").write_bytes(handmade.changed(_endless))
    with pytest.raises(DataError, match=r"operator 0: tensor \d+ is read before it is written"):
        compat.as_text(tmp_path / "odd.tflite")


def test_a_file_without_a_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.tflite").write_bytes(handmade.changed(_empty))
    with pytest.raises(DataError, match=r"odd\.tflite: a damaged TFLite file \(it has no subgraph\)"):
        compat.as_text(tmp_path / "odd.tflite")


def test_hash_and_report_are_of_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes while it is read: it is read once."""
    file = tmp_path / "mine.tflite"
    file.write_bytes(GRAPHS["tanh"]())
    before = files.describe_file(file)
    read, reads = Path.read_bytes, []

    def and_change(path: Path) -> bytes:
        data = read(path)
        if path == file:
            reads.append(path)
            file.write_bytes(GRAPHS["square"]())
        return data

    monkeypatch.setattr(Path, "read_bytes", and_change)
    found = compat.as_json(file, (DEFAULT,))
    assert len(reads) == 1
    assert {key: found[key] for key in before} == before
    assert all(entry["verdict"] == "green" for entry in found["targets"])


# By doit and by hand


@pytest.fixture
def mine(built: Checkout) -> Checkout:
    """The small demo, built, with a file of the user's own in a folder of a difficult name."""
    (built.root / "my models").mkdir()
    data = (built.root / "artifacts/demo_nearest/demo_nearest_int8.tflite").read_bytes()
    (built.root / "my models/mine.tfl").write_bytes(data)
    if (paths.BUILD / "vela").is_dir():
        (built.root / "build/vela").symlink_to(paths.BUILD / "vela")
    return built


@pytest.mark.parametrize("name", ["mine.lite", "mine.tfl", "mine", "mine.tflite", "-mine.bin"])
def test_a_file_is_known_by_being_there(built: Checkout, name: str) -> None:
    (built.root / name).write_bytes(GRAPHS["tanh"]())
    done = built.run(sys.executable, "-m", "utils.steps.compat", "--bsp", DEFAULT.name, "--", name)
    assert done.returncode == 0, done.stderr
    assert f"{name}: 2 operators" in done.stdout


@pytest.mark.parametrize("name", ["none.lite", "folder/none", "./none"])
def test_a_file_that_is_not_there_is_no_recipe(built: Checkout, name: str) -> None:
    done = built.run(sys.executable, "-m", "utils.steps.compat", name)
    assert done.returncode == 6
    assert f"there is no file {name}\n  -> name a model of the zoo, or a TFLite file that is there" in done.stderr


def test_doit_compat_of_a_file(mine: Checkout) -> None:
    done = mine.doit("compat", "file=my models/mine.tfl", f"bsp={DEFAULT.name}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine.tfl: 16 operators" in done.stdout
    assert "RED    i.MX 8M Plus, NPU through the VX delegate" in done.stdout


def test_doit_vela_of_a_file_gives_the_bundles_own_numbers(mine: Checkout) -> None:
    require_vela(DEFAULT)
    done = mine.doit("vela", "file=my models/mine.tfl")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"my models/mine_imx93/{DEFAULT.name}/: 16 of 16 operators on the NPU" in done.stdout
    folder = mine.root / "my models/mine_imx93"
    assert {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} == {
        "README.md", "SHA256SUMS", f"{DEFAULT.name}/vela.json", f"{DEFAULT.name}/mine_vela.tflite",
    }  # fmt: skip
    assert files.sums_hold(folder)
    assert mine.doit("vela:demo_nearest").returncode == 0
    ours = json.loads((mine.root / f"artifacts/demo_nearest/imx93/{DEFAULT.name}/vela.json").read_text())
    found = json.loads((folder / DEFAULT.name / "vela.json").read_text())
    for key in ("summary", "placement", "cpu", "layers", "operators"):
        assert found[key] == ours[key], key
    assert "mine.tfl: compiled for the i.MX 93's NPU" in (folder / "README.md").read_text()
    # Again into another folder, and it replaces what it made, but nothing else.
    assert mine.doit("vela", "file=my models/mine.tfl", "to=other", "--require-npu").returncode == 0
    assert (mine.root / "other/mine_imx93/SHA256SUMS").is_file()
    (mine.root / "third/mine_imx93").mkdir(parents=True)
    done = mine.doit("vela", "file=my models/mine.tfl", "to=third")
    assert done.returncode == 1
    assert "is there already, and this program has not made it\n  -> move it, or name another folder" in done.stderr
    assert list((mine.root / "third/mine_imx93").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["file=none.tflite"], "there is no file none.tflite"),
        (["file=dodo.py"], "dodo.py: not a TFLite file"),
        (["file=my models/mine.tfl", "bsp=LF6"], "no BSP is called 'LF6'"),
        (["file=my models/mine.tfl", "too=there"], "takes no too= (did you mean 'to'?)"),
    ],
)
def test_doit_vela_of_a_file_and_mistakes(mine: Checkout, words: list[str], says: str) -> None:
    require_vela(DEFAULT)
    done = mine.doit("vela", *words)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (mine.root / "my models/mine_imx93").exists()


def test_an_operator_on_the_cpu_fails_where_that_is_asked(mine: Checkout, peculiar: Path) -> None:
    require_vela(DEFAULT)
    file = mine.root / "unplaceable.tflite"
    file.write_bytes((peculiar / "unplaceable.tflite").read_bytes())
    done = mine.doit("vela", "file=unplaceable.tflite", "--require-npu")
    assert done.returncode == 1, done.stdout
    assert "2 operators stay on the CPU" in done.stderr
    assert "on the CPU: SPACE_TO_DEPTH" in done.stderr
