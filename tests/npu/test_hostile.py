"""Hostile model files and what Vela says of them: every one ends in a report or in an error with a message."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support import handmade, hostile_models
from utils import limits, tflite, tflite_edit
from utils.bundle import markdown
from utils.errors import BuildError, DataError, ZooError
from utils.npu import bsp, compat, vela

pytestmark = pytest.mark.heavy


def written(folder: Path, edit: Any, **more: Any) -> Path:
    (folder / "x.tflite").write_bytes(handmade.changed(edit, **more))
    return folder / "x.tflite"


def _operator(number: int, **values: Any) -> Any:
    return lambda model: [setattr(model.subgraphs[0].operators[number], key, value) for key, value in values.items()]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_operator(0, inputs=[0, 77, 7]), "subgraph 0: operator 0: tensor 77 of 10"),
        (_operator(2, outputs=[-5]), "subgraph 0: operator 2: tensor -5 of 10"),
        (_operator(1, opcodeIndex=9), "subgraph 0: operator 1: operator code 9 of 4"),
        (lambda model: setattr(model.subgraphs[0], "outputs", [44]), "subgraph 0: input or output: tensor 44 of 10"),
        (lambda model: setattr(model.subgraphs[0].tensors[5], "buffer", 12), "subgraph 0: tensor 5: buffer 12 of 6"),
        (lambda model: setattr(model.operatorCodes[0], "version", -1), "CONV_2D of version -1"),
    ],
)
def test_what_points_to_nothing_is_named(tmp_path: Path, edit: Any, said: str) -> None:
    with pytest.raises(DataError, match=r"^x\.tflite: a damaged TFLite file") as caught:
        compat.as_text(written(tmp_path, edit))
    assert said in str(caught.value)


@pytest.mark.parametrize("whole_numbers", [False, True])
@pytest.mark.parametrize("name", hostile_models.EDITS)
def test_the_report_on_a_spoilt_file(tmp_path: Path, name: str, whole_numbers: bool) -> None:
    for seed in range(4):
        chance = random.Random(seed)
        try:
            file = written(tmp_path, lambda m: hostile_models.EDITS[name](m, chance), whole_numbers=whole_numbers)  # noqa: B023  # called at once
        except (TypeError, ValueError, AttributeError, OverflowError):  # no field holds such a number
            continue
        try:
            told = compat.as_text(file)
            graph = tflite.read(file)
            assert graph.macs() >= 0
            assert graph.parameters() >= 0
        except ZooError as error:
            told = str(error)
        for change in (tflite_edit.tidy, tflite_edit.integer_io):
            try:
                change(file.read_bytes())
            except DataError as error:
                told += str(error)
        assert all(line.isprintable() for line in told.splitlines())


def test_changed_bytes_end_in_a_message() -> None:
    whole = handmade.pack(handmade.network(whole_numbers=True))
    came = set()
    for seed in range(300):
        try:
            tflite_edit.tidy(hostile_models.flipped(whole, random.Random(seed)))
            came.add("read")
        except DataError:
            came.add("refused")
    assert came == {"read", "refused"}


def _custom(code: bytes) -> Any:
    def edit(model: Any) -> None:
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 32
        model.operatorCodes[0].customCode = code

    return edit


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (b"MyOperator", "MyOperator"),
        (b"ethos\x1b[2J", "ethos__2J"),
        (b"a|b\n# c <script>", "a_b___c__script_"),
        (b"CONV_2D", "CONV_2D (custom)"),  # not to be taken for TFLite's own
        (b"\xff\xfe", "__ (custom)"),
        (b"", "custom"),
    ],
)
def test_a_custom_operators_name_is_a_plain_word(tmp_path: Path, code: bytes, name: str) -> None:
    file = written(tmp_path, _custom(code))
    assert name in tflite.read(file).count()
    assert "custom-operator" in {
        entry["id"] for target in compat.as_json(file)["targets"] for entry in target["findings"]
    }


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, lambda _: None)
    monkeypatch.setattr(limits, "OPERATORS", 3)
    with pytest.raises(DataError, match="has more than 3 operators"):
        tflite.read(file)
    monkeypatch.setattr(limits, "MODEL_BYTES", 100)
    with pytest.raises(DataError, match="has more than 100 bytes"):
        tflite.read(file)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        tflite.read(tmp_path / "none.tflite")


def fake_vela(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """A program in Vela's place that does these lines of shell; ``$OUT`` is the folder for its results."""
    program = folder / "fake/bin/vela"
    program.parent.mkdir(parents=True)
    program.write_text(
        "\n".join(["#!/bin/sh", 'while [ "$1" != --output-dir ]; do shift; done; OUT=$2', *lines]) + "\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(vela, "find_vela", lambda _: program)


@pytest.mark.parametrize(
    "summary",
    [
        "",
        "a,b\n1\n",
        "inference_time\n1,2,3\n",
        "inference_time\nnan\n",
        "a\n" + "x" * 200000 + "\n",
        '"',
        "a\0b\n\0\n",
    ],
    ids=["empty", "short", "long", "nan", "field", "quote", "zero"],
)
def test_results_of_vela_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, summary: str) -> None:
    file = written(tmp_path, lambda _: None, whole_numbers=True)
    (tmp_path / "summary").write_text(summary)
    fake_vela(
        tmp_path, monkeypatch, f"cp {tmp_path}/summary $OUT/x_summary_{vela.SYSTEM}.csv",
        f"cp {tmp_path}/summary $OUT/x_per-layer.csv", f"cp {file} $OUT/x_vela.tflite",
        r"printf 'Warning: \033[2J\n'",
    )  # fmt: skip
    with pytest.raises(BuildError, match="left no readable result") as caught:
        vela.compile_model(file, bsp.find_default_bsp(), tmp_path / "y.tflite")
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert not (tmp_path / "y.tflite").exists()


def test_names_in_the_results_of_vela_do_not_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b[2J`|<script>\nWarning: x"

    def rename(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.name = evil.encode()

    file = written(tmp_path, rename, whole_numbers=True)
    keys = "inference_time inferences_per_second nn_macs sram_memory_used dram_memory_used cycles_total cycles_npu"
    names = [*keys.split(), "cycles_sram_access", "cycles_dram_access", "core_clock"]
    with (tmp_path / "summary").open("w", newline="") as stream:
        csv.writer(stream).writerows([names, [1] * len(names)])
    with (tmp_path / "layers").open("w", newline="") as stream:
        head = ["TFLite_operator", "NNG Operator", "Name", "Op Cycles", "MAC Count", "SRAM Usage", "Util%"]
        csv.writer(stream).writerows([head, [evil, evil, evil, 1, 1, 1, 1]])
    fake_vela(
        tmp_path, monkeypatch, f"cp {tmp_path}/summary $OUT/x_summary_{vela.SYSTEM}.csv",
        f"cp {tmp_path}/layers $OUT/x_per-layer.csv", f"cp {file} $OUT/x_vela.tflite",
        rf"""printf "Info: CONV_2D '%s' is a CPU only op\n" '{evil}'""",
    )  # fmt: skip
    found = vela.compile_model(file, bsp.find_default_bsp(), tmp_path / "y.tflite")
    shown = [found.layers[0].name, found.layers[0].operator, *(entry.output + entry.reason for entry in found.cpu)]
    assert len(found.cpu) == 4
    assert all(text.isprintable() for text in shown)
    template = tmp_path / "page.md.j2"
    template.write_text("{{ text | name }} {{ text | code }} {{ 'CONV_2D' | name }}")
    page = markdown.render(template, text=found.layers[0].name)
    assert "<script>" not in page.split("`")[0]
    assert page.count("`") == 2 + page.count("\\`")
    assert page.endswith(" CONV_2D")
