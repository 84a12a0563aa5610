"""Untrusted data (from boards, registries, servers, model files): parsed within bounds, and escaped for output."""

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

#: Characters with a meaning in Markdown or HTML; an underscore inside a word has none.
_MARKUP = re.compile(r"([\\`*{}\[\]<>()#+!|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")

#: What a backslash does not escape: tags, entities, and addresses that GitHub turns into links.
_ENTITIES = {"\\<": "&lt;", "\\>": "&gt;", "\\&": "&amp;", "://": ":&#47;&#47;", "www.": "www&#46;"}

#: Strings (brackets in them do not count) and brackets.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def as_text(text: object, limit: int = limits.SHOWN_CHARS) -> str:
    """Escape untrusted text for one line of a terminal: control and direction codes are spelt out, long text is cut.

    Args:
        text: anything; bytes are read as UTF-8.
        limit: most characters to show.
    """
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    shown = "".join(_spelt(char) for char in " ".join(words[: 4 * limit].split()))
    return shown if len(shown) <= limit and len(words) <= 4 * limit else shown[: limit - 3] + "..."


def as_lines(text: str) -> str:
    """Escape a message for a terminal: its lines stay, other control codes are spelt out."""
    return "".join(char if char == "\n" else _spelt(char) for char in text)


def as_markdown(text: object, limit: int = limits.SHOWN_CHARS) -> str:
    """Escape untrusted text for Markdown, tables included: it is shown literally, and nothing in it is markup."""
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
        takes_nan: also accept NaN and Infinity, which Keras writes.

    Raises:
        error: it is too large, nested too deep, or not JSON.
    """
    if len(data) > limits.JSON_BYTES:
        raise error(f"has more than {limits.JSON_BYTES:,} bytes", where=where, hint=hint)
    try:
        text = data.decode() if isinstance(data, bytes) else data
        depth = parts = 0
        for found in _BRACKETS.finditer(text):  # json.loads would exhaust the stack
            step = {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
            depth, parts = depth + step, parts + (step > 0)
            if depth > limits.JSON_DEPTH:
                raise ValueError(f"more than {limits.JSON_DEPTH} brackets deep")
            if parts > limits.JSON_PARTS:
                raise ValueError(f"more than {limits.JSON_PARTS:,} lists and objects")
        return json.loads(text, parse_constant=None if takes_nan else _refuse_constant)
    except (ValueError, RecursionError) as problem:  # also invalid UTF-8, and numbers with thousands of digits
        raise error(f"is not JSON: {as_text(problem)}", where=where, hint=hint) from None


def parse_as(schema: type[Schema], data: bytes | str, *, where: str, error: type[ZooError], hint: str = "") -> Schema:
    """Parse a JSON document by a schema; the message names the first key that does not fit.

    Raises:
        error: as for :func:`parse_json`, or a key is missing, unknown or of another type.
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
    """Read a regular file of bounded size: a pipe would block, a device would never end.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger; also for a name that no file can have.
    """
    try:
        _require_regular(file.stat(), file)
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # NUL, or characters that have no bytes
        raise OSError(errno.EINVAL, f"no file can have this name: {error}", ascii(str(file))) from None
    with os.fdopen(descriptor, "rb") as stream:
        _require_regular(os.fstat(descriptor), file)  # it may be another file by now
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EOVERFLOW, f"has more than {most:,} bytes", str(file))
    return content


def read_untrusted(
    file: Path, *, where: str, error: type[ZooError], hint: str = "", most: int = limits.JSON_BYTES
) -> bytes:
    """Read an untrusted file: :func:`read_bounded` with an error for users.

    Raises:
        error: it is larger than ``most``, not a regular file, or cannot be read.
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
    """The character, or its code point where a terminal would interpret it."""
    if char == " " or unicodedata.category(char)[0] not in "CZ":
        return char
    return f"\\u{ord(char):04x}" if ord(char) > 0xFF else f"\\x{ord(char):02x}"


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not allowed in JSON")
