"""Text and JSON of strangers: shown without harm, parsed with bounds."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, ConfigDict

from utils import limits
from utils.errors import BoardError, PublishError
from utils.untrusted import as_markdown, as_text, parse_as, parse_json


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    sizes: list[int]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Müller's board, 你好", "Müller's board, 你好"),
        ("\x1b[2Jgone\x07", "\\x1b[2Jgone\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\r\nb\tc", "a b c"),
        ("right\u202eleft\u2066", "right\\u202eleft\\u2066"),
        ("no\u200bwidth", "no\\u200bwidth"),
        (b"caf\xe9", "caf\ufffd"),
        ("\ud800", "\\ud800"),
        (None, "None"),
    ],
)
def test_text_on_a_terminal_is_only_read(text: object, shown: str) -> None:
    assert as_text(text) == shown
    assert as_text(text).isprintable()


def test_long_text_is_cut_without_being_read_whole() -> None:
    assert as_text("a" * 10**6, 10) == "aaaaaaa..."
    assert as_text("\x1b" * 10**6, 10) == "\\x1b\\x1..."
    assert as_text("a" * limits.SHOWN_CHARS) == "a" * limits.SHOWN_CHARS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert\\(1\\)&lt;/script&gt;"),
        ("a | b\n## c", "a \\| b \\#\\# c"),
        ("![x](http://a/b.png)", "\\!\\[x\\]\\(http:&#47;&#47;a/b.png\\)"),
        ("see https://a.b, www.c.d", "see https:&#47;&#47;a.b, www&#46;c.d"),
        ("&lt;script&gt;", "&amp;lt;script&amp;gt;"),
        ("`code`", "\\`code\\`"),
        ("tflite_runtime _is_ __so__", "tflite_runtime \\_is\\_ \\_\\_so\\_\\_"),
    ],
)
def test_text_in_markdown_does_not_act(text: str, shown: str) -> None:
    assert as_markdown(text) == shown


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b'{"a": "\xff"}', "is not JSON"),
        ("[" * 65 + "]" * 65, "more than 64 brackets deep"),
        ("[" * 10**6, "more than 64 brackets deep"),
        ('"' + "[" * 10**6, "is not JSON"),
        ("1" * 5000, "is not JSON"),
        ("[" + "[]," * 5 * 10**6 + "1]", "more than 500,000 lists and objects"),
        ("[NaN]", "NaN is not allowed in JSON"),
        (b"[" + b" " * limits.JSON_BYTES + b"]", "has more than 16,777,216 bytes"),
        ("{\x1b: 1}", "is not JSON"),
    ],
)
def test_json_that_harms_or_is_none_is_refused(data: bytes | str, said: str) -> None:
    with pytest.raises(PublishError, match="^registry: .*" + said) as caught:
        parse_json(data, where="registry", error=PublishError)
    assert str(caught.value).isprintable()


def test_json_within_the_bounds_is_read() -> None:
    deep = "[" * 64 + "]" * 64
    assert parse_json(deep, where="", error=BoardError) == json.loads(deep)
    assert parse_json(b'{"a": "[[[ \\" {{{", "b": 1e999}', where="", error=BoardError)["a"] == '[[[ " {{{'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("[]", "the document: should be an object"),
        ('{"name": "a"}', "sizes: Field required"),
        ('{"name": "a", "sizes": [1, "2"]}', "sizes.1: Input should be a valid integer"),
        ('{"name": "a", "sizes": [], "x\\u001b": 1}', "x\\\\x1b: Extra inputs are not permitted"),
        ('{"name": 5, "sizes": []}', "name: Input should be a valid string"),
    ],
)
def test_the_first_key_that_does_not_fit_is_named(data: str, said: str) -> None:
    with pytest.raises(BoardError, match=f"^the board: {said}"):
        parse_as(Answer, data, where="the board", error=BoardError)
    assert parse_as(Answer, '{"name": "a", "sizes": [1]}', where="", error=BoardError).sizes == [1]
