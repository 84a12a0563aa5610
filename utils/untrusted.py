"""What comes from outside (boards, registries, servers, model files): parsed with bounds, and shown without harm."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from utils import limits
from utils.errors import ZooError

__all__ = ["as_lines", "as_markdown", "as_text", "parse_as", "parse_json", "read_bounded", "read_untrusted"]

Schema = TypeVar("Schema", bound=BaseModel)

#: What Markdown and HTML read as more than text; an underscore inside a word is none of it.
_MARKUP = re.compile(r"([\\`*{}\[\]<>()#+!|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")

#: What backslashes do not stop: tags and entities, and addresses that GitHub makes links of.
_ENTITIES = {"\\<": "&lt;", "\\>": "&gt;", "\\&": "&amp;", "://": ":&#47;&#47;", "www.": "www&#46;"}

#: Strings, so that brackets in them do not count, and brackets.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def as_text(text: object, limit: int = limits.SHOWN_CHARS) -> str:
    """A stranger's text on one line for a terminal: control and direction codes are spelt out, the rest is cut.

    Args:
        text: anything; bytes are read as UTF-8.
        limit: characters to show at most.
    """
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    shown = "".join(_spelt(char) for char in " ".join(words[: 4 * limit].split()))
    return shown if len(shown) <= limit and len(words) <= 4 * limit else shown[: limit - 3] + "..."


def as_lines(text: str) -> str:
    """A message of ours for a terminal, its lines as they are: what else would act in it is spelt out."""
    return "".join(char if char == "\n" else _spelt(char) for char in text)


def as_markdown(text: object, limit: int = limits.SHOWN_CHARS) -> str:
    """A stranger's text for Markdown, also in a table: it is shown as it stands, and nothing in it acts."""
    shown = _MARKUP.sub(r"\\\1", as_text(text, limit))
    for acts, entity in _ENTITIES.items():
        shown = shown.replace(acts, entity)
    return shown


def parse_json(data: bytes | str, *, where: str, error: type[ZooError], hint: str = "", takes_nan: bool = False) -> Any:
    """Parse a JSON document of bounded size, depth and number of parts.

    Args:
        data: the document; bytes must be UTF-8.
        where: for the message.
        error: what to raise.
        hint: what to do now.
        takes_nan: take NaN and Infinity too, as Keras writes them.

    Raises:
        error: it is too large, too deep, or no JSON.
    """
    if len(data) > limits.JSON_BYTES:
        raise error(f"has more than {limits.JSON_BYTES:,} bytes", where=where, hint=hint)
    try:
        text = data.decode() if isinstance(data, bytes) else data
        depth = parts = 0
        for found in _BRACKETS.finditer(text):  # json.loads would go down before it can be stopped
            step = {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
            depth, parts = depth + step, parts + (step > 0)
            if depth > limits.JSON_DEPTH:
                raise ValueError(f"more than {limits.JSON_DEPTH} brackets deep")
            if parts > limits.JSON_PARTS:
                raise ValueError(f"more than {limits.JSON_PARTS:,} lists and objects")
        return json.loads(text, parse_constant=None if takes_nan else _refuse_constant)
    except (ValueError, RecursionError) as problem:  # also of UTF-8, and numbers of thousands of digits
        raise error(f"is not JSON: {as_text(problem)}", where=where, hint=hint) from None


def parse_as(schema: type[Schema], data: bytes | str, *, where: str, error: type[ZooError], hint: str = "") -> Schema:
    """Parse a JSON document as a schema says; the message names the first key that does not fit.

    Raises:
        error: as of :func:`parse_json`, or a key is missing, unknown or of another type.
    """
    found = parse_json(data, where=where, error=error, hint=hint)
    try:
        return schema.model_validate(found, strict=True)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        key = as_text(".".join(str(part) for part in first["loc"]) or "the document", 100)
        what = "should be an object" if first["type"] == "model_type" else as_text(first["msg"])
        raise error(f"{key}: {what}", where=where, hint=hint) from None


def read_bounded(file: Path, most: int) -> bytes:
    """The bytes of a regular file that has at most so many: a pipe would wait for ever, a device never end.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; also for a name that no file can have.
    """
    try:
        _require_regular(file.stat(), file)
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # NUL, or characters that have no bytes
        raise OSError(errno.EINVAL, f"no file can have this name: {error}", ascii(str(file))) from None
    with os.fdopen(descriptor, "rb") as stream:
        _require_regular(os.fstat(descriptor), file)  # it may have become another file by now
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EOVERFLOW, f"has more than {most:,} bytes", str(file))
    return content


def read_untrusted(
    file: Path, *, where: str, error: type[ZooError], hint: str = "", most: int = limits.JSON_BYTES
) -> bytes:
    """The bytes of a stranger's file; :func:`read_bounded` with an error for people.

    Raises:
        error: it is larger than ``most``, no regular file, or cannot be read.
    """
    try:
        return read_bounded(file, most)
    except OSError as problem:
        what = (
            problem.strerror
            if problem.errno in (errno.EISDIR, errno.EOVERFLOW)
            else f"cannot be read: {problem.strerror}"
        )
        raise error(str(what), where=where, hint=hint) from None


def _require_regular(status: os.stat_result, file: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EISDIR, "is not a regular file", str(file))


def _spelt(char: str) -> str:
    """The character, or its code point where it would act on the terminal."""
    if char == " " or unicodedata.category(char)[0] not in "CZ":
        return char
    return f"\\u{ord(char):04x}" if ord(char) > 0xFF else f"\\x{ord(char):02x}"


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not in JSON")
