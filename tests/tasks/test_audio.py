"""Word spotters: how their recordings are read and written, and which of them the card shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.audio import LABELS, SPEC, sound, wav
from utils import example, tasks
from utils.model import preprocess
from utils.recipe.load import find_recipe
from utils.recipe.schema import Recipe
from utils.recipe.tensors import AudioInput
from utils.tasks.audio import figures

INPUT = AudioInput.model_validate(SPEC)
RECORDINGS = np.stack([sound(number % 4, number) for number in range(12)])


@pytest.fixture
def recipe() -> Recipe:
    """That of keyword_spotting, with the small word spotter's input and labels."""
    found = find_recipe("keyword_spotting")
    output = found.outputs[0].model_copy(update={"shape": [1, 4]})
    return found.model_copy(update={"input": INPUT, "labels": list(LABELS), "output": output})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    preprocess.write(RECORDINGS[0], INPUT, tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == wav(RECORDINGS[0].tobytes())
    assert (preprocess.read(tmp_path / "a.wav", INPUT) == RECORDINGS[0]).all()


def test_the_build_computes_the_features_of_the_board(tmp_path: Path) -> None:
    task = example.TASKS["audio"](preprocess.spec_of(INPUT), [])
    assert preprocess.fits(RECORDINGS, INPUT)
    assert task.fits(RECORDINGS)
    assert not preprocess.fits(RECORDINGS[:, :-1], INPUT)
    assert not task.fits(RECORDINGS.astype(np.int32))
    preprocess.write(RECORDINGS[1], INPUT, tmp_path / "a.wav")
    built = preprocess.tensor_of(RECORDINGS[:3], INPUT)
    assert (task.prepare(task.read(str(tmp_path / "a.wav"))) == built[1]).all()


class Model:
    """Answers with the label that it is told to, for each recording in turn by its features."""

    def __init__(self, answers: dict[bytes, list[float]]) -> None:
        self._answers = answers

    def quantise(self, values: np.ndarray) -> np.ndarray:
        return values

    def run(self, tensor: np.ndarray) -> np.ndarray:
        return np.asarray([self._answers[tensor.tobytes()]], np.float32)

    def dequantise(self, raw: np.ndarray) -> np.ndarray:
        return raw


def draw(recipe: Recipe, folder: Path, scores: list[list[float]]) -> tuple[list[tuple[str, Any]], dict[str, str]]:
    """Draw the figures of a model with these scores; the recordings that were heard, by figure, and titles."""
    labels = np.arange(12) % 4
    wrong = {str(n): int(np.argmax(each)) for n, each in enumerate(scores) if int(np.argmax(each)) != labels[n]}
    confusion = np.zeros((4, 4), int)
    np.add.at(confusion, (labels, np.argmax(scores, 1)), 1)
    features = preprocess.tensor_of(RECORDINGS, INPUT)
    model = Model({each[np.newaxis].tobytes(): list(score) for each, score in zip(features, scores, strict=True)})
    found = tasks.Examples(RECORDINGS, labels)
    scene = SimpleNamespace(
        recipe=recipe, folder=folder, files=[f"inputs/{n}.wav" for n in range(4)], labels=list(LABELS),
        shown=dataclasses.replace(found, inputs=RECORDINGS[:4], labels=labels[:4]),
        evaluation={"count": 12, "variants": {"int8": {"wrong": wrong, "confusion": confusion.tolist()}}},
        figure=lambda name: folder / f"{name}.png", model=lambda variant: folder / variant, load=lambda: found,
        tensors=lambda values: preprocess.tensor_of(values, INPUT), open=lambda *_, **__: model,
    )  # fmt: skip
    drawn: list[tuple[str, Any]] = []
    titles = {}

    class Noted(figures.Figures):
        def _draw(self, name: str, heard: Any, names: list[str], title: str, label: str = "") -> None:
            drawn.extend((name, each) for each in heard)
            titles[name] = f"{names[0]}: {title}"
            super()._draw(name, heard, names, title, label)

    Noted(scene).draw()  # type: ignore[arg-type]  # as much of a scene as is asked
    return drawn, titles


def right(number: int) -> list[float]:
    return [0.97 if label == number % 4 else 0.01 for label in range(4)]


@pytest.mark.heavy
def test_the_card_shows_the_recording_whose_label_has_the_lowest_score(recipe: Recipe, tmp_path: Path) -> None:
    scores = [right(number) for number in range(12)]
    scores[3], scores[6] = [0.5, 0.0, 0.1, 0.4], [0.9, 0.05, 0.03, 0.02]  # labels 3 and 2
    drawn, titles = draw(recipe, tmp_path, scores)
    assert [name for name, _ in drawn] == ["result", "result", "result", "mistake"]
    assert (drawn[-1][1].samples == RECORDINGS[6]).all()
    assert [label for label, _ in drawn[-1][1].best] == ["low", "high", "rising", "noise"]
    assert titles["mistake"] == "is 'rising': int8: a recording that it gets wrong"
    assert {file.name for file in tmp_path.glob("*.png")} == {"result.png", "mistake.png", "confusion.png"}


@pytest.mark.heavy
def test_without_mistakes_it_is_the_least_certain_answer(recipe: Recipe, tmp_path: Path) -> None:
    scores = [right(number) for number in range(12)]
    scores[5] = [0.2, 0.6, 0.1, 0.1]
    drawn, titles = draw(recipe, tmp_path, scores)
    assert (drawn[-1][1].samples == RECORDINGS[5]).all()
    assert titles["mistake"] == "is 'high': int8: no mistakes: its least certain right answer"


@pytest.mark.heavy
def test_the_label_of_a_mistake_is_orange_and_the_answer_red(tmp_path: Path) -> None:
    def colours(file: str, label: str) -> set[tuple[int, ...]]:
        best = [("low", 90.0), ("high", 8.0), ("noise", 2.0), ("rising", 0.0)]
        heard = figures.Heard(RECORDINGS[0], preprocess.tensor_of(RECORDINGS[:1], INPUT)[0, ..., 0], np.zeros(4), best)
        figures.recordings(tmp_path / file, [heard], ["a"], "b", INPUT, label)
        return {tuple(colour) for colour in np.asarray(Image.open(tmp_path / file).convert("RGB")).reshape(-1, 3)}

    red, orange = (0xD5, 0x5E, 0x00), (0xE6, 0x9F, 0x00)
    assert {red, orange} <= colours("wrong.png", "high")
    assert not {red, orange} & colours("right.png", "")


@pytest.mark.heavy
def test_a_picture_of_recordings_has_the_same_bytes_when_drawn_again(recipe: Recipe, tmp_path: Path) -> None:
    scores = [right(number) for number in range(12)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw(recipe, tmp_path / name, scores)
    for name in ("result.png", "mistake.png", "confusion.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_too_many_labels_have_no_confusion_matrix(recipe: Recipe) -> None:
    task = tasks.task_of(recipe)
    assert set(task.figures(recipe)) == {"mistake", "confusion"}
    output = recipe.outputs[0].model_copy(update={"shape": [1, 61]})
    assert set(task.figures(recipe.model_copy(update={"output": output}))) == {"mistake"}
