"""Which of two versions is newer, as https://semver.org orders them, and which one ``latest`` names."""

from __future__ import annotations

import re
from typing import Any

from utils import limits
from utils.untrusted import as_text

__all__ = ["precedence_of", "why_not_latest"]

#: https://semver.org, as far as folders and tags can carry it: no build metadata.
_NUMBER = r"(0|[1-9]\d*)"
_WORD = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"  # a number, or what has a letter or a hyphen in it
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_WORD}(?:\.{_WORD})*))?", re.ASCII)


def precedence_of(version: str) -> tuple[Any, ...] | None:
    """What to compare versions by (section 11); None for what is no version, or too long for a tag."""
    found = _VERSION.fullmatch(version) if len(version) <= limits.VERSION_CHARS else None
    if not found:
        return None
    words = found[4].split(".") if found[4] else []
    order = [(0, int(word), "") if re.fullmatch("[0-9]+", word) else (1, 0, word) for word in words]
    return (*(int(part) for part in found.groups()[:3]), not words, order)


def why_not_latest(version: str, held: str | None) -> str:
    """Why ``version`` does not take the place of ``held`` (None: the place is free); empty if it does."""
    ours = precedence_of(version)
    if ours is None:
        return f"{as_text(version, 100)} is no version of semver.org"
    if "-" in version:
        return f"{version} is a pre-release"
    if held is None:
        return ""
    theirs = precedence_of(held)
    if theirs is None:
        return "what it names does not say its version"
    return f"{held} is newer" if theirs > ours else ""
