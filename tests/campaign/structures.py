"""Structures that Hypothesis makes: documents with parts exchanged, texts of all kinds; it shrinks what fails."""

from __future__ import annotations

import copy
import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st

from tests.campaign.case import Case, Outcome
from tests.support.readers import READERS, is_refusal, seeds
from utils import limits
from utils.bundle import board_report
from utils.untrusted import as_lines, as_markdown, as_text

#: Readers of JSON; the answer of a board has words before it.
_DOCUMENTS = (
    "a board's report", "a stored report", "release.json", "provenance", "a bill of materials", "a signature",
    "recorded hashes", "model.json", "a Keras config",
)  # fmt: skip

_WORDS = st.sampled_from(
    ["", "format", "models", "__class__", "../x", "/dev/zero", "\x1b[2J", "\0", "\ud800", "\u202e", "a" * 5000,
     "0" * 64, "NaN", "1e999", "<script>", "-", "PASS", "demo_nearest_int8.tflite"]
)  # fmt: skip
_NUMBERS = st.sampled_from([0, -1, 2**63, 10**400, 1e308, -0.0, float("nan"), float("inf"), 0.5, True])
_LEAVES = st.none() | _NUMBERS | _WORDS | st.text(max_size=20) | st.integers() | st.floats()
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS | st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """A hundred examples of one property after the other, each time of another seed."""
    valid = {}
    for number, name in enumerate(_DOCUMENTS):
        valid[name] = [json.loads(data) for data in seeds(name, folder / str(number))]
    while True:
        seed = rng.randrange(2**32)
        name = rng.choice([*_DOCUMENTS, *_TEXTS])
        check = _TEXTS[name] if name in _TEXTS else _property_of(name, valid[name])
        yield Case("structures", f"{name}, seed {seed}", partial(_run, check, seed))


def _run(check: Callable[..., None], seed: int) -> Outcome:
    quiet = hypothesis.settings(
        max_examples=100, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink], print_blob=False,
    )  # fmt: skip
    try:
        hypothesis.seed(seed)(quiet(check))()
    except AssertionError as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n")
        return Outcome.WRONG
    return Outcome.RIGHT


@st.composite
def _changed(draw: st.DrawFn, documents: list[Any]) -> Any:
    """One of the documents, with one to three places exchanged, taken out, doubled or added to."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 3))):
        parent, key = draw(st.sampled_from(_places(document) or [(None, None)]))
        kind = draw(st.sampled_from(["exchange", "take out", "add", "wrap", "all"]))
        if parent is None or kind == "all":
            document = draw(_JSON)
            if not isinstance(document, (dict, list)):
                return document
        elif kind == "exchange":
            parent[key] = draw(_JSON)
        elif kind == "wrap":
            parent[key] = [parent[key]] if draw(st.booleans()) else {"": parent[key]}
        elif kind == "take out":
            del parent[key]
        elif isinstance(parent, list):
            parent.extend([parent[key]] * draw(st.sampled_from([1, 2, 2000])))
        else:
            parent[draw(_WORDS)] = draw(_JSON)
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every place in it, as a container and a key."""
    found, todo = [], [document]
    while todo:
        item = todo.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else []
        found += [(item, key) for key in keys]
        todo += [item[key] for key in keys]
    return found


def _property_of(name: str, documents: list[Any]) -> Callable[..., None]:
    reader = READERS[name]

    @hypothesis.given(document=_changed(documents), indent=st.sampled_from([None, 2]))
    def read(document: Any, indent: int | None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / reader.name
            file.write_text(json.dumps(document, indent=indent), encoding="utf-8")
            try:
                found = reader.read(file)
            except Exception as error:
                if is_refusal(error):
                    return
                raise
        if isinstance(found, board_report.Record):
            assert board_report.parse_record(board_report.dump_record(found).encode(), "again") == found

    return read


@hypothesis.given(st.text() | _WORDS | st.binary())
def _on_a_terminal(text: str | bytes) -> None:
    shown = as_text(text)
    assert shown.isprintable()
    assert len(shown) <= limits.SHOWN_CHARS
    if isinstance(text, str):
        assert all(line.isprintable() for line in as_lines(text).split("\n"))


@hypothesis.given(st.text(alphabet=st.sampled_from("a<>&[]()!`*_#|\\\n \"'=:/h.w") | st.characters()) | _WORDS)
def _on_a_page(text: str) -> None:
    shown = as_markdown(text)
    assert shown.isprintable()
    assert "<" not in shown
    assert not re.search(r"(?<!\\)(\\\\)*[|`*\[\]]", shown)
    assert "://" not in shown


_TEXTS: dict[str, Callable[..., None]] = {"text on a terminal": _on_a_terminal, "text on a page": _on_a_page}
