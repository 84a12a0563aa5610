"""Signed statements as files: one form, whose every byte counts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.rebuilds import make_rebuilder, private_of
from tests.support.releases import Keys
from utils.attest import envelope
from utils.errors import ReleaseError

STATEMENT = {"b": [1, 2], "a": "text"}


@pytest.fixture
def ann(tmp_path: Path) -> Keys:
    return make_rebuilder(tmp_path, "ann")


def test_what_is_sealed_is_read_and_signed(ann: Keys, tmp_path: Path) -> None:
    private = private_of(ann)
    text = envelope.seal(STATEMENT, private)
    found = envelope.read(text, "here")
    assert json.loads(found.payload) == STATEMENT
    assert envelope.is_signed_by(found, private.public_key())
    assert not envelope.is_signed_by(found, private_of(make_rebuilder(tmp_path, "bob")).public_key())
    assert text == envelope.seal(dict(reversed(STATEMENT.items())), private)  # also on another machine


def test_a_flipped_bit_anywhere_is_found(ann: Keys) -> None:
    private = private_of(ann)
    public, text = private.public_key(), envelope.seal(STATEMENT, private)
    key = envelope.read(text, "here").key
    for at in range(len(text)):
        damaged = bytearray(text)
        damaged[at] ^= 1
        try:
            found = envelope.read(bytes(damaged), "here")
        except ReleaseError as error:
            assert error.where == "here"  # noqa: PT017  # a damaged hint is well-formed, and read
        else:
            assert found.key != key or not envelope.is_signed_by(found, public), at


def edited(change: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    def edit(text: bytes) -> bytes:
        value = json.loads(text)
        change(value)
        return envelope.as_written(value).encode()

    return edit


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is not JSON"),
    "truncated": (lambda text: text[: len(text) // 2], "is not JSON"),
    "not UTF-8": (lambda _: b"\xff", "is not JSON"),
    "longer": (lambda text: text + b"\n", "is not as it was written"),
    "indented": (lambda text: json.dumps(json.loads(text), indent=1).encode(), "is not as it was written"),
    "a list": (lambda _: b"[]", "should be an object"),
    "added to": (edited(lambda value: value.update(more=1)), "more: "),
    "of another payload type": (
        edited(lambda value: value["dsseEnvelope"].update(payloadType="application/json")),
        "dsseEnvelope.payloadType: ",
    ),
    "of another bundle": (edited(lambda value: value.update(mediaType="x")), "mediaType: "),
    "without a signature": (edited(lambda value: value["dsseEnvelope"]["signatures"].clear()), "signatures: "),
    "signed twice": (
        edited(lambda value: value["dsseEnvelope"]["signatures"].append(value["dsseEnvelope"]["signatures"][0])),
        "signatures: ",
    ),
    "of no base64": (edited(lambda value: value["dsseEnvelope"].update(payload="a")), "no base64"),
    "with unused bits": (
        edited(lambda value: value["dsseEnvelope"]["signatures"][0].update(sig="QQ==".replace("Q=", "R="))),
        "is not as it was written",
    ),
    "of a payload with spaces": (
        edited(lambda value: value["dsseEnvelope"].update(payload=base64.b64encode(b'{"a": 1}').decode())),
        "is not as it was written",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_another_form_is_refused(ann: Keys, what: str) -> None:
    change, said = DAMAGED[what]
    with pytest.raises(ReleaseError) as caught:
        envelope.read(change(envelope.seal(STATEMENT, private_of(ann))), "here")
    assert str(caught.value).startswith("here: ")
    assert said in str(caught.value)
