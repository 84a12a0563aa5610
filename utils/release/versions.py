"""Compare versions by https://semver.org, and decide which one is ``latest``."""

from __future__ import annotations

import re
from typing import Any

from utils import limits
from utils.untrusted import as_text

__all__ = ["precedence_of", "why_not_latest"]

#: https://semver.org without build metadata, which folders and tags cannot have.
_NUMBER = r"(0|[1-9]\d*)"
_WORD = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"  # a number, or an identifier with a letter or hyphen
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_WORD}(?:\.{_WORD})*))?", re.ASCII)


def precedence_of(version: str) -> tuple[Any, ...] | None:
    """Make the sort key of a version (section 11); None if it is malformed, or too long for a tag."""
    found = _VERSION.fullmatch(version) if len(version) <= limits.VERSION_CHARS else None
    if not found:
        return None
    words = found[4].split(".") if found[4] else []
    order = [(0, int(word), "") if re.fullmatch("[0-9]+", word) else (1, 0, word) for word in words]
    return (*(int(part) for part in found.groups()[:3]), not words, order)


def why_not_latest(version: str, held: str | None) -> str:
    """Say why ``version`` does not replace ``held`` (None: nothing is held); empty if it does."""
    ours = precedence_of(version)
    if ours is None:
        return f"{as_text(version, 100)} is not a version of semver.org"
    if "-" in version:
        return f"{version} is a pre-release"
    if held is None:
        return ""
    theirs = precedence_of(held)
    if theirs is None:
        return "the version that it names is unknown"
    return f"{held} is newer" if theirs > ours else ""
