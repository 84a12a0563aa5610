"""The documentation as its readers get it: pages, their headings and links, and the blocks of commands in them.

A block of commands is a fence of ``sh``. It starts in the checkout's folder. A comment on the line before it says why a
test does not run it:

    <!-- needs: board -->          a board
    <!-- needs: network -->        downloads, a registry, or a Docker daemon that pulls
    <!-- ci: STAGE -->             the stage of .ci/run that runs these lines as they are
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.support.checkouts import ROOT

#: What a block may need that a test does not have.
NEEDS = ("board", "network")

LANGUAGES = ("console", "crontab", "json", "python", "sh", "text", "toml", "yaml")

_FENCE = re.compile(r"^( *)(```+)(.*)$")
_MARK = re.compile(r"^\s*<!-- (needs|ci): ([a-z]+) -->$")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<(?:img|a)\b[^>]*\b(?:src|href)=\"?([^\s\">]+)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file, from the checkout.
        line: where its fence opens, from 1.
        language: the word behind the fence.
        text: what is in it, without the fence's indent.
        needs: what its mark says that it needs; empty without one.
        stage: the stage of .ci/run that its mark names; empty without one.
    """

    page: str
    line: int
    language: str
    text: str
    needs: str = ""
    stage: str = ""

    @property
    def where(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def all_pages() -> list[Path]:
    """Those, and the other pages at the top of the checkout and in artifacts/."""
    return [*pages(), *sorted(set(ROOT.glob("*.md")) - {ROOT / "README.md"}), ROOT / "artifacts/README.md"]


def name_of(page: Path) -> str:
    """The page's path, from the checkout."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, opened, inside = [], None, []
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            mark = _MARK.match(lines[number - 2]) if number > 1 else None
            kind, value = mark.groups() if mark else ("", "")
            opened, inside = (number, fence, {"needs": "needs", "ci": "stage"}.get(kind), value), []
        elif opened and fence and fence[2].startswith(opened[1][2]) and not fence[3].strip():
            start, first, key, value = opened
            marks = {key: value} if key else {}
            text = textwrap.dedent("\n".join(inside)) + "\n"
            found.append(Block(name_of(page), start, first[3].strip(), text, **marks))
            opened = None
        elif opened:
            inside.append(line)
    assert opened is None, f"{name_of(page)}:{opened and opened[0]}: the fence is not closed"
    return found


def is_run(block: Block) -> bool:
    """Whether a test runs the block."""
    return block.language == "sh" and not block.needs and not block.stage


def prose(text: str) -> str:
    """A page's text without its fenced blocks: the lines stay where they are."""
    kept, fence = [], ""
    for line in text.splitlines():
        found = _FENCE.match(line)
        if not fence and found:
            fence = found[2]
            kept.append("")
        elif fence:
            if found and found[2].startswith(fence) and not found[3].strip():
                fence = ""
            kept.append("")
        else:
            kept.append(line)
    return "\n".join(kept)


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures."""
    plain = re.sub(r"`[^`\n]*`", "", prose(text))
    return [first or second for first, second in _LINK.findall(plain)]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(text), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower())
        anchor, number = words.replace(" ", "-"), 1
        while anchor in found:
            anchor, number = f"{words.replace(' ', '-')}-{number}", number + 1
        found.add(anchor)
    return found


def dead_links(page: Path) -> list[str]:
    """Relative links of a page that lead to no file, or to no heading of it."""
    dead = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        is_there = target.exists() and not path.startswith("/")
        if not is_there or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            dead.append(link)
    return dead
