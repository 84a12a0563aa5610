"""Links of Markdown files: those that resolve to nothing, and those that name a branch instead of a commit."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

__all__ = ["branch_links", "dead_links", "targets"]

_CODE = re.compile(r"^(?: {4}|\t)[^\n]*$|```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*<?(\S+?)>?\s*$", re.MULTILINE)
_HTML = re.compile(r"<(?:img|a)\s[^>]*?(?:src|href)=[\"']?([^\"'\s>]+)", re.IGNORECASE)

#: A GitHub address that names a file or folder at a branch: its content changes under the reader.
_AT_BRANCH = re.compile(
    r"https://(?:github\.com/[^/\s]+/[^/\s]+/(?:tree|blob|raw)|raw\.githubusercontent\.com/[^/\s]+/[^/\s]+)"
    r"/(?![0-9a-f]{40}(?![0-9a-f]))[^\s\"')\]]+"
)


def targets(text: str) -> list[str]:
    """The target of each link and picture of a Markdown text, in code apart, in order."""
    prose = _CODE.sub("", text)
    return [next(filter(None, found.groups())) for found in _LINK.finditer(prose)] + _HTML.findall(prose)


def dead_links(file: Path) -> list[str]:
    """The relative links and pictures of a Markdown file that name no file or folder."""
    found = [
        target for target in targets(file.read_text(encoding="utf-8")) if not re.match(r"[a-z][a-z0-9+.-]*:|#", target)
    ]
    return [target for target in found if not (file.parent / unquote(target.partition("#")[0])).exists()]


def branch_links(text: str) -> list[str]:
    """The links of a text to GitHub files and folders that name no commit."""
    return _AT_BRANCH.findall(text)
