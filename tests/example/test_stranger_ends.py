"""example.py on files that nobody here wrote: odd ends of graphs, tensors as files, refusals and their remedies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import strangers
from tests.support.delegates import CC, SOURCE
from tests.support.runtimes import OLD_RUNTIMES, install_runtime
from tests.support.strangers import outputs_of, refused, report_of, said_of
from utils import example, paths

# --- files for an input of any meaning


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((49, 40, 1), np.float32), ""), (np.zeros((1, 49, 40, 1), np.float64), ""),
        (np.zeros((49, 40, 1), np.int16), ""),
        (np.zeros((40, 49, 1), np.float32), "it holds 40 x 49 x 1, float32; the input 'mfcc' (1 x 49 x 40 x 1, "),
        (np.full((49, 40, 1), np.nan, np.float32), "it holds NaN or infinity"),
        (np.full((49, 40, 1), "x"), "not numbers"),
    ],
    ids=["float", "batch", "integers", "shape", "nan", "text"],
)  # fmt: skip
def test_an_array_for_a_tensor(here: Path, array: np.ndarray, said: str) -> None:
    np.save(here / "given.npy", array)
    if said:
        text = refused(here, "float_word_spotter", "-i", "given.npy", code=2)
        assert f"given.npy cannot be read: {said}" in text or said in text
        assert "-> save an array of shape (1, 49, 40, 1), float32, with numpy.save" in text
    else:
        assert outputs_of(report_of(here, "float_word_spotter", "-i", "given.npy"))


def test_integers_that_a_tensor_cannot_hold(here: Path) -> None:
    np.save(here / "given.npy", np.full((1, 49, 10, 1), 200, np.int32))
    assert "it holds values that are not from -128 to 127" in refused(here, "word_spotter", "-i", "given.npy", code=2)


def test_an_array_that_is_missing(here: Path) -> None:
    assert "there is no file gone.npy" in refused(here, "word_spotter", "-i", "gone.npy", code=2)
    assert "there is no file gone.png" in refused(here, "classifier", "-i", "gone.png", code=2)


def test_a_file_named_as_a_word_is_a_file(here: Path) -> None:
    (here / "random").write_text("no array")
    assert "random is no input for this model" in refused(here, "word_spotter", "-i", "random", code=2)


# --- ends of graphs


def test_of_several_inputs_the_picture_s_own_is_set(here: Path) -> None:
    entry = report_of(here, "two_inputs", "-i", "photo.png")
    assert {found["name"]: found["set"] for found in entry["tensors"]["inputs"]} == {
        "state": "zeros",
        "image": "picture",
    }
    (note,) = [note for note in entry["notes"] if note.startswith("it has 2 inputs")]
    assert "'image' (1 x 32 x 32 x 3, float32) takes what -i gives; set to zero: 'state' (1 x 3, float32)" in note
    pixels = np.asarray(Image.open(here / "photo.png").resize((32, 32), Image.Resampling.BILINEAR), np.float32)
    means = ((pixels - 127.5) / 127.5).mean((0, 1))
    np.testing.assert_allclose(outputs_of(entry)[0]["first"], means, atol=1e-5)


def test_of_inputs_without_a_picture_the_first_is_set(here: Path) -> None:
    np.save(here / "left.npy", np.asarray([[1, 2, 3]], np.float32))
    entry = report_of(here, "two_features", "-i", "left.npy")
    assert any("'left' (1 x 3, float32) takes what -i gives; set to zero: 'right'" in note for note in entry["notes"])
    assert outputs_of(entry)[0]["first"] == [1, 2, 3]


def test_a_graph_without_inputs_runs(here: Path) -> None:
    entry = report_of(here, "no_input")
    (prediction,) = entry["predictions"]
    assert prediction["input"] == "no input"
    assert prediction["outputs"][0]["first"] == [1, 2, 3]
    assert "input: the graph has none" in entry["notes"]
    assert "the model has no input for photo.png" in refused(here, "no_input", "-i", "photo.png", code=2)


def test_a_graph_without_outputs_runs(here: Path) -> None:
    entry = report_of(here, "no_output", "-i", "photo.png")
    assert outputs_of(entry) == []
    assert "output: the graph has none" in entry["notes"]
    assert report_of(here, "no_ends")["tensors"] == {"inputs": [], "outputs": []}


def test_tensors_without_names_are_told_apart(here: Path) -> None:
    entry = report_of(here, "unnamed", "-i", "photo.png")
    assert [found["shape"] for found in outputs_of(entry)] == [[1, 4], [1, 6]]
    assert "\n    output 1             1 x 6 float32\n" in said_of(here, "unnamed", "-i", "photo.png")


def test_tensors_of_one_name_are_told_apart(here: Path) -> None:
    """By name, both outputs would be the first, and the picture would go into the state."""
    entry = report_of(here, "same_names", "-i", "photo.png")
    once, twice = (np.asarray(found["first"]) for found in outputs_of(entry))
    assert np.abs(once).max() > 0.01
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4)


def test_tensors_without_a_value(here: Path) -> None:
    (joined,) = outputs_of(report_of(here, "empty_input", "-i", "zeros"))
    assert joined["shape"] == [1, 4]
    (none,) = outputs_of(report_of(here, "empty_output", "-i", "zeros"))
    assert (none["shape"], none["min"], none["max"], none["mean"], none["first"]) == ([0, 4], None, None, None, [])


def test_text_is_shown_as_text(here: Path) -> None:
    entry = report_of(here, "text", "-i", "zeros")
    words, numbers = outputs_of(entry)
    assert (words["dtype"], words["min"], words["first"]) == ("string", None, ["", ""])
    assert numbers["dtype"] == "float32"
    assert {found["name"]: found["set"] for found in entry["tensors"]["inputs"]} == {
        "words": "zeros",
        "number": "tensor",
    }


def test_numbers_of_every_kind(here: Path) -> None:
    np.save(here / "given.npy", np.asarray([[-1, 0, 1, 16777217]], np.float64))
    large, yes, log = outputs_of(report_of(here, "odd_numbers", "-i", "given.npy"))
    assert (large["dtype"], large["first"]) == ("int64", [-1, 0, 1, 16777216])
    assert (yes["dtype"], yes["first"], yes["mean"]) == ("bool", [0, 0, 1, 1], 0.5)
    assert (log["broken"], log["first"][:3], log["min"]) == (2, [None, None, 0.0], 0.0)
    said = said_of(here, "odd_numbers", "-i", "given.npy")
    assert "min -1, max 16777216, mean " in said
    assert "2 are NaN or infinity, first NaN or infinity NaN or infinity 0 " in said


def test_signatures_are_named(here: Path) -> None:
    notes = report_of(here, "many_signatures")["notes"]
    assert "it has several signatures (encode, decode): the first subgraph runs" in notes


def test_control_flow_runs(here: Path) -> None:
    np.save(here / "three.npy", np.asarray([3], np.float32))
    (found,) = outputs_of(report_of(here, "loop", "-i", "three.npy"))
    assert found["first"] == [101]


# --- refusals


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "for_edge_tpu",
            " is compiled for the Edge TPU (by edgetpu_compiler): no NXP board runs it\n  -> take the .tflite",
        ),
        ("flex", "for FlexErf\n  -> convert it again without SELECT_TF_OPS"),
        ("unknown_custom", "does not know: MyVeryOwnOp\n  -> use a runtime or a delegate that has them"),
        ("four_bits", "refuses four_bits.tflite, which holds 4-bit integers (INT4): "),
        ("blocks", "refuses blocks.tflite, which holds 4-bit integers (INT4) in blocks: "),
        ("sixteen_bits", "refuses sixteen_bits.tflite, which holds 16-bit integers (INT16): "),
        ("split_weights", "has its weights in another file (external buffers)"),
        (
            "bias_axis",
            "Was 3.\n  -> no TFLite runtime takes it: TFLite Micro and Vela do; convert it again with a newer",
        ),
        ("circle", "is damaged or truncated: subgraph 0: operator 0: tensor 2 is read before it is written"),
    ],
)
def test_a_refusal_names_its_reason_and_what_can_help(here: Path, name: str, said: str) -> None:
    text = refused(here, name, code=strangers.REFUSED[name])
    assert said in text
    assert "whole .tflite file" not in text
    assert "copy it" not in text


def test_a_remedy_speaks_of_no_bundle_where_there_is_none(here: Path) -> None:
    """The program alone, and whatever may be wrong."""
    (here / "page.tflite").write_text("<html>Not found</html>")
    (here / "none.tflite").write_bytes(b"")
    (here / "half.tflite").write_bytes(strangers.write(here, "classifier").read_bytes()[:900])
    (here / "nothing").mkdir()
    (here / "cut.png").write_bytes((here / "photo.png").read_bytes()[:500])
    np.save(here / "small.npy", np.zeros((32, 32, 3), np.float32) + 0.5)
    (here / "two.txt").write_text("a\nb\n")
    model = ("-m", "classifier.tflite")
    for arguments in (
        (), ("-i", "photo.png"), ("-m", "gone.tflite"), ("-m", "page.tflite"), ("-m", "none.tflite"),
        ("-m", "half.tflite"), ("-m", "nothing"), (*model, "-i", "gone.png"), (*model, "-i", "cut.png"),
        (*model, "-i", "small.npy"), (*model, "-i", "nothing"), (*model, "-i", "photo.png", "--labels", "two.txt"),
        (*model, "--labels", "gone.txt"), (*model, "-d", "/gone.so"), (*model, "-o", "out"),
        (*model, "--threshold", "1"),
    ):  # fmt: skip
        code, out, err = strangers.ask(here, *arguments)
        assert code in (2, 5), out + err
        assert "\n  -> " in err, err
        assert "bundle" not in err, err


def test_a_file_that_xnnpack_refuses_runs_without_it(here: Path) -> None:
    file = strangers.write(here, "seven_axes")
    runtime = example.load_runtime()
    with pytest.raises(example.Problem):  # the build is not to fall back in silence
        example.Model(str(file), runtime)
    entry = report_of(here, "seven_axes", "-i", "random")
    (note,) = [note for note in entry["notes"] if "XNNPACK" in note]
    assert note.startswith("XNNPACK, the runtime's own delegate, refuses this file: the CPU runs it without XNNPACK (")
    model = example.Model(str(file), runtime, reference=True)
    assert model.refusal == ""
    wanted = model.run(example.Numbers({}, ()).noise(np.random.RandomState(1), model.input))
    np.testing.assert_allclose(outputs_of(entry)[0]["first"], wanted.reshape(-1)[:8], rtol=1e-5)


# --- on a delegate


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' delegate, which takes RESIZE_NEAREST_NEIGHBOR."""
    if CC is None:
        pytest.skip("no C compiler here to build the delegate with")
    file = tmp_path_factory.mktemp("delegate") / "libtest_delegate.so"
    subprocess.run([CC, "-std=c11", "-O2", "-fPIC", "-shared", "-o", str(file), str(SOURCE), "-lm"], check=True)
    return file


def test_every_output_of_unknown_meaning_is_compared(here: Path, library: Path) -> None:
    entry = report_of(here, "raw_ssd", "-d", str(library), "-i", "photo.png")
    assert entry["nodes"]["delegated"] == 1
    assert entry["compare"]["verdict"] == "PASS"
    assert entry["cpu"]["predictions"][0]["outputs"][0]["shape"] == [1, 16, 4]
    said = said_of(here, "raw_ssd", "-d", str(library), "-i", "photo.png")
    assert said.count(" cpu: min ") == 2
    wrong = ("--json", "-m", "raw_ssd.tflite", "-d", str(library), "--delegate-option", "mode=wrong")
    code, out, err = strangers.ask(here, *wrong)
    assert code == 4, out + err
    assert json.loads(out)["models"][0]["compare"]["verdict"] == "MISMATCH"


def test_class_maps_are_compared_by_pixels() -> None:
    task = example.Segmentation(
        {}, [{"kind": example.CLASS_MAP, "classes": 3, "shape": [1, 20, 20], "golden_stride": 1}]
    )
    golden = np.random.default_rng(1).integers(0, 3, (4, 1, 20, 20))
    near, far = golden.copy(), golden.copy()
    near[0, 0, 0, :4] = (near[0, 0, 0, :4] + 1) % 3
    far[0, 0, 0, :8] = (far[0, 0, 0, :8] + 1) % 3
    for ours, verdict in (
        (golden, "PASS"),
        (near, "PASS"),
        (far, "MISMATCH"),
        (golden[:1].repeat(4, 0), "FIXED_OUTPUT"),
    ):
        check = task.judge([ours], [golden], 0.0, delegate="vx")
        assert check["verdict"] == verdict
        assert ("remedy" in check) == (verdict != "PASS")
    assert task.judge([far], [golden], 0.0)["max_error"] == 0.02


# --- on old runtimes


def test_a_message_arrives_where_stderr_is_kept_back(here: Path) -> None:
    """Python 3.8 buffers it where it is no terminal, and a process that ends at once drops what is there."""
    file = strangers.write(here, "for_edge_tpu")
    code = (
        "import runpy, sys; sys.stderr = open(2, 'w', buffering=8192, closefd=False); "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, str(paths.EXAMPLE), "-m", file.name, "-i", "zeros"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=600)
    assert done.returncode == strangers.REFUSED["for_edge_tpu"]
    assert "is compiled for the Edge TPU" in done.stderr


@pytest.mark.runtimes
@pytest.mark.parametrize("runtime", OLD_RUNTIMES)
def test_old_runtimes(here: Path, runtime: str, tmp_path: Path) -> None:
    python = str(install_runtime(runtime, tmp_path) / "bin/python")
    np.save(here / "photo.npy", np.zeros((32, 32, 3), np.uint8))  # without Pillow
    for name, given in (
        ("word_spotter", "random"), ("class_map", "photo.npy"), ("movenet", "photo.npy"), ("same_names", "photo.npy"),
        ("two_inputs", "photo.npy"), ("seven_axes", "zeros"), ("empty_input", "zeros"), ("no_input", "zeros"),
        ("for_edge_tpu", "zeros"), ("flex", "zeros"), ("unknown_custom", "zeros"), ("sixteen_bits", "zeros"),
    ):  # fmt: skip
        file = strangers.write(here, name)
        command = [python, str(paths.EXAMPLE), "-n", "1", "--json", "-m", file.name, "-i", given]
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=600)
        assert done.returncode == strangers.REFUSED.get(name, 0), name + done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert "\n  -> " in done.stderr
            continue
        (entry,) = json.loads(done.stdout)["models"]
        assert entry["task"] == ("segmentation" if name == "class_map" else None)
        assert entry["predictions"][0]["input"] == given
