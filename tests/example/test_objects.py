"""What a detector's outputs mean, when two answers are alike, and boxes in pictures."""

from __future__ import annotations

import numpy as np
import pytest
from flatbuffers import flexbuffers

from utils import example

ALLOWED = example.Matching(threshold=0.5, score=0.05, iou=0.9, most=10)
CAT = (0, 0.9, [0.1, 0.1, 0.5, 0.5])
DOG = (1, 0.8, [0.5, 0.5, 0.9, 0.9])


def objects(*entries: tuple[int, float, list[float]], broken: int = 0) -> example.Objects:
    """Class, score and box (top, left, bottom, right) of each."""
    boxes = np.asarray([box for _, _, box in entries], np.float32).reshape(-1, 4)
    numbers = np.asarray([number for number, _, _ in entries], np.int64)
    return example.Objects(boxes, numbers, np.asarray([score for _, score, _ in entries], np.float32), broken)


def raw(**changed: list[float]) -> dict[str, np.ndarray]:
    given = {
        "boxes": [0.1, 0.1, 0.5, 0.5, 0.5, 0.5, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0],
        "classes": [3.0, 4.0, 0.0],
        "scores": [0.4, 0.9, 0.0],
        "count": [2.0],
        **changed,
    }
    arrays = {name: np.asarray(values, np.float32)[np.newaxis] for name, values in given.items()}
    return {**arrays, "boxes": arrays["boxes"].reshape(1, -1, 4), "count": arrays["count"][0]}


def test_outputs_become_objects_the_highest_score_first() -> None:
    found = example.read_objects(raw())
    assert found.classes.tolist() == [4, 3]
    assert found.scores.tolist() == pytest.approx([0.9, 0.4])
    assert found.boxes[0].tolist() == pytest.approx([0.5, 0.5, 0.9, 0.9])
    assert found.broken == 0
    assert found.above(0.5).classes.tolist() == [4]


def test_the_order_of_the_outputs_means_nothing() -> None:
    given = raw()
    turned = {name: given[name] for name in reversed(example.MEANINGS)}
    assert example.read_objects(turned).classes.tolist() == example.read_objects(given).classes.tolist()


@pytest.mark.parametrize(
    ("count", "wanted"), [([0.0], 0), ([1.0], 1), ([3.0], 3), ([99.0], 3), ([-1.0], 0), ([1e30], 3)]
)
def test_the_count_says_how_many_are_real(count: list[float], wanted: int) -> None:
    found = example.read_objects(raw(count=count))
    assert (len(found.scores), found.broken) == (wanted, 0)


def test_without_a_count_all_are_real() -> None:
    given = raw()
    del given["count"]
    assert len(example.read_objects(given).scores) == 3


@pytest.mark.parametrize(
    ("changed", "left", "broken"),
    [
        ({"scores": [np.nan, 0.9, 0.0]}, [4], 1),
        ({"scores": [0.4, 0.9, np.nan]}, [4, 3], 0),  # beyond the count
        ({"classes": [3.0, np.inf, 0.0]}, [3], 1),
        ({"boxes": [np.nan] * 12}, [], 2),
        ({"count": [np.nan]}, [], 1),
    ],
)
def test_nan_is_left_out_and_counted(changed: dict[str, list[float]], left: list[int], broken: int) -> None:
    found = example.read_objects(raw(**changed))
    assert (found.classes.tolist(), found.broken) == (left, broken)


@pytest.mark.parametrize("changed", [{"classes": [3.0]}, {"boxes": [0.0] * 8}, {"scores": [0.4, 0.9]}])
def test_outputs_that_do_not_belong_together(changed: dict[str, list[float]]) -> None:
    with pytest.raises(example.Problem, match="the outputs are not those of a detector: boxes"):
        example.read_objects(raw(**changed))


def test_names_of_classes() -> None:
    labels = ["cat", "???", "dog"]
    assert [example.object_name(number, labels) for number in (0, 1, 2, 3, -1)] == [
        "cat", "class 1", "dog", "class 3", "class -1",
    ]  # fmt: skip


def test_overlaps() -> None:
    boxes = np.asarray([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [2, 2, 0, 0], [1, 1, 1, 1]])
    found = example.overlaps(boxes, boxes)
    assert np.diag(found).tolist() == [1, 1, 1, 0, 0]
    assert found[0, 1] == pytest.approx(1 / 7)
    assert found[0, 2] == 0
    assert example.overlaps(boxes[:0], boxes).shape == (0, 5)


def test_boxes_outside_of_the_picture_are_cut() -> None:
    boxes = np.asarray([[-0.5, -0.1, 0.5, 1.2], [1.1, 0.0, 1.5, 0.5], [0.0, 0.25, 1.0, 0.75]], np.float32)
    stretched = example.in_picture(boxes, (200, 100), {"fit": "stretch", "shape": [1, 10, 10, 3]})
    assert stretched.tolist() == [
        [0.0, 0.0, 200.0, 50.0],
        [0.0, 100.0, 100.0, 100.0],
        [50.0, 0.0, 150.0, 100.0],
    ]
    cropped = example.in_picture(boxes[2:], (200, 100), {"fit": "crop", "shape": [1, 10, 10, 3]})
    assert cropped.tolist() == [[75.0, 0.0, 125.0, 100.0]]


def judged(ours: example.Objects, golden: example.Objects) -> str:
    """The verdict on one answer, between one that is right and one without objects."""
    check = example.judge_objects([objects(CAT), ours, objects()], [objects(CAT), golden, objects()], ALLOWED)
    assert ("remedy" in check) == (check["verdict"] != "PASS")
    return str(check["verdict"])


def near(entry: tuple[int, float, list[float]], score: float = 0.0, box: float = 0.0) -> tuple[int, float, list[float]]:
    return (entry[0], entry[1] + score, [edge + box for edge in entry[2]])


def test_alike() -> None:
    assert judged(objects(CAT, DOG), objects(CAT, DOG)) == "PASS"
    assert judged(objects(near(CAT, 0.04, 0.005)), objects(CAT)) == "PASS"
    assert judged(objects(DOG, CAT), objects(CAT, DOG)) == "PASS"  # only scores order them
    assert judged(objects(), objects()) == "PASS"


def test_what_rounding_may_drop_need_not_be_found() -> None:
    weak = (1, 0.54, [0.5, 0.5, 0.9, 0.9])  # not 0.05 above the threshold
    assert judged(objects(CAT), objects(CAT, weak)) == "PASS"
    assert judged(objects(CAT, weak), objects(CAT)) == "PASS"
    crowd = [(2, 0.9, [0.1 * place, 0.0, 0.1 * place + 0.1, 0.1]) for place in range(10)]
    one_more = [*crowd[:9], (2, 0.92, [0.5, 0.5, 0.6, 0.6])]
    assert judged(objects(*crowd), objects(*one_more)) == "PASS"  # ten is all that the graph can answer
    assert judged(objects(*crowd[:9]), objects(*one_more)) == "MISMATCH"


@pytest.mark.parametrize(
    "ours",
    [
        objects(CAT),  # one is missing
        objects(CAT, DOG, (0, 0.9, [0.0, 0.6, 0.3, 0.9])),  # one too many
        objects(CAT, near(DOG, box=0.1)),  # elsewhere
        objects(CAT, near(DOG, score=-0.1)),  # less certain
        objects(CAT, (2, *DOG[1:])),  # another class
        objects(CAT, CAT, DOG),  # twice
        objects(),
    ],
)
def test_not_alike(ours: example.Objects) -> None:
    assert judged(ours, objects(CAT, DOG)) == "MISMATCH"
    assert judged(objects(CAT, DOG), ours) == "MISMATCH"


def test_the_check_says_how_far_apart() -> None:
    ours = [objects(near(CAT, 0.02)), objects(near(CAT, -0.03, 0.005))]
    check = example.judge_objects(ours, [objects(CAT), objects(CAT)], ALLOWED)
    assert check["max_error"] == pytest.approx(0.03, abs=1e-6)
    assert check["mean_error"] == pytest.approx(0.025, abs=1e-6)
    assert 0.95 < check["min_iou"] < 0.98
    assert (check["objects"], check["top1_agreement"], check["inputs"]) == (4, 1.0, 2)
    lost = example.judge_objects([objects(CAT), objects()], [objects(CAT), objects(CAT)], ALLOWED)
    assert lost["max_error"] == pytest.approx(0.9)  # the whole score of what is missing
    assert lost["top1_agreement"] == pytest.approx(2 / 3)


def test_nan_is_named() -> None:
    check = example.judge_objects([objects(CAT, broken=1)], [objects(CAT)], ALLOWED)
    assert (check["verdict"], check["max_error"]) == ("NAN", None)


@pytest.mark.parametrize("same", [objects(), objects(CAT), objects(DOG)])
def test_a_fixed_output_is_named(same: example.Objects) -> None:
    golden = [objects(CAT), objects(DOG), objects()]
    assert example.judge_objects([same] * 3, golden, ALLOWED)["verdict"] == "FIXED_OUTPUT"
    assert example.judge_objects([same] * 3, [same] * 3, ALLOWED)["verdict"] == "PASS"


def test_saturated_scores_are_named() -> None:
    ours = [objects((0, 1.0, CAT[2])), objects((0, 1.0, CAT[2]), (1, 0.0, DOG[2]))]
    golden = [objects(CAT), objects(DOG)]
    assert example.judge_objects(ours, golden, ALLOWED)["verdict"] == "SATURATED"


def test_frames_and_texts_are_drawn() -> None:
    picture = np.full((120, 200, 3), 255, np.uint8)
    boxes = np.asarray([[20.0, 40.0, 100.0, 110.0], [150.0, 0.0, 200.0, 50.0], [5.0, 5.0, 5.0, 5.0]])
    drawn = np.asarray(example.draw_objects(picture, boxes, ["cat 90 %", "dog 80 %", ""], [0, 1, 255]))
    assert drawn.shape == picture.shape
    first, second = (example.palette(256)[number].tolist() for number in (1, 2))
    assert drawn[80, 20].tolist() == drawn[109, 60].tolist() == drawn[60, 99].tolist() == first
    assert drawn[75, 60].tolist() == [255, 255, 255]  # inside
    assert drawn[30, 22].tolist() == first  # the text's ground, above the box
    assert drawn[49, 175].tolist() == second
    assert (picture == 255).all()


def test_the_options_of_a_custom_operator() -> None:
    for many in (3, 300, 1 << 20):  # each makes the map wider
        builder = flexbuffers.Builder()
        with builder.Map():
            builder.Int("max_detections", many)
            builder.UInt("num_classes", 90)
            builder.Float("y_scale", 10.0)
            builder.Bool("use_regular_nms", False)
        options = bytes(builder.Finish())
        names = (b"max_detections", b"num_classes", b"y_scale", b"detections_per_class")
        assert [example._read_option(options, name) for name in names] == [many, 90, 0, 0]
        for end in range(len(options)):
            assert example._read_option(options[:end], b"num_classes") in range(1 << 64)
        rng = np.random.default_rng(many)
        for _ in range(500):
            noise = bytearray(options)
            noise[rng.integers(len(noise))] = rng.integers(256)
            assert example._read_option(bytes(noise), b"num_classes") >= 0
