"""What README.md and docs/ promise of themselves: their length, their links, their blocks, and the names in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.docs import pages
from tests.support.checkouts import ROOT, Checkout

PAGES = [pytest.param(page, id=pages.name_of(page)) for page in pages.all_pages()]
DOCUMENTED = [pytest.param(page, id=pages.name_of(page)) for page in pages.pages()]


def test_the_readme_has_at_most_1200_words() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1200


@pytest.mark.parametrize("page", PAGES)
def test_no_relative_link_is_dead(page: Path) -> None:
    assert pages.dead_links(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A title, twice\n## A title, twice\n```sh\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](gone.md) ![c](gone.png) [d](other.md#a-title-twice-1) [e](other.md#no-heading)\n"
        '<img src="lost.png" width=320> `[f](code.md)` [g](https://example.org) [h](#nowhere "title")\n'
        "```text\n[i](block.md)\n```\n"
    )
    assert pages.dead_links(page) == ["gone.md", "gone.png", "other.md#no-heading", "lost.png", "#nowhere"]


def test_the_links_of_the_cards_are_alive(built_once: Checkout) -> None:
    cards = sorted((built_once.root / "artifacts").glob("*/README.md"))
    assert len(cards) == 2
    assert {card.parent.name: dead for card in cards if (dead := pages.dead_links(card))} == {}


def test_every_page_is_reached_from_the_index() -> None:
    reached, new = set(), {ROOT / "docs/README.md"}
    while new:
        reached |= new
        found = {
            (page.parent / link.partition("#")[0]).resolve()
            for page in new
            for link in pages.links(page.read_text())
            if re.match(r"[^:#]+\.md\b", link)
        }
        new = {page for page in found if page.is_relative_to(ROOT / "docs")} - reached
    assert set((ROOT / "docs").rglob("*.md")) - reached == set()


@pytest.mark.parametrize("page", DOCUMENTED)
def test_blocks_have_a_known_language_and_a_known_mark(page: Path) -> None:
    for block in pages.blocks(page):
        assert block.language in pages.LANGUAGES, block.where
        assert block.needs in ("", *pages.NEEDS), block.where
        assert not block.stage or f"\nstage_{block.stage}() {{" in (ROOT / ".ci/run").read_text(), block.where
    marks = re.findall(r"<!-- (?!Made by ).*?-->", pages.prose(page.read_text()))
    assert len(marks) == sum(1 for block in pages.blocks(page) if block.needs or block.stage), "a mark without a block"
    assert not re.search(r"\n\n {4}\S", re.sub(r"\n( *[-*\d].*)(\n+ .*)*", "", pages.prose(page.read_text()))), (
        "a block without a fence: no test sees its commands"
    )


def test_what_ci_is_said_to_run_it_runs() -> None:
    stages = dict(re.findall(r"(?ms)^stage_(\w+)\(\) \{\n(.*?)^\}", (ROOT / ".ci/run").read_text()))
    marked = [block for page in pages.pages() for block in pages.blocks(page) if block.stage]
    assert marked
    for block in marked:
        ran = [line.strip() for line in stages[block.stage].splitlines()]
        for line in block.text.splitlines():
            assert shlex.join(shlex.split(line, comments=True)) in ran, block.where


# Names


def code_of(page: Path) -> str:
    """What a page shows as code: blocks, and words between backticks."""
    text = page.read_text()
    inline = re.findall(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)", pages.prose(text))
    return "\n".join([*(block.text for block in pages.blocks(page)), *inline])


def sources_of_the_zoo() -> str:
    files = [ROOT / "dodo.py", *(ROOT / "utils").rglob("*.py"), *(ROOT / "docker").rglob("*")]
    names = [file for file in files if file.is_file() and file.suffix not in (".txt", ".in", ".pyc")]
    return "\n".join(file.read_text() for file in names)


#: Variables that the programs of the zoo set for each other.
INTERNAL = {"ZOO_PARENT", "ZOO_EVENTS", "ZOO_WORKER"}


def variables(text: str) -> set[str]:
    return set(re.findall(r"\bZOO_[A-Z][A-Z_]*[A-Z]\b", text)) - INTERNAL


def test_every_variable_is_documented_and_every_documented_one_is_read() -> None:
    known = variables(sources_of_the_zoo())
    listed = variables((ROOT / "docs/reference/commands.md").read_text())
    families = {"ZOO_WEIGHTS_MODEL", "ZOO_LICENCE_MODEL"}  # read with a model's name behind the prefix
    assert listed - families == {name for name in known if not name.startswith(("ZOO_WEIGHTS_", "ZOO_LICENCE_"))}
    used = {name for page in pages.pages() for name in variables(code_of(page))}
    assert {name for name in used - listed if not name.startswith("ZOO_WEIGHTS_")} == set()


@pytest.mark.parametrize("page", DOCUMENTED)
def test_the_options_of_example_py_are_its_own(page: Path) -> None:
    known = set(re.findall(r'"(--?[a-z][a-z-]*)"', (ROOT / "utils/example.py").read_text()))
    lines = [line.partition("#")[0] for line in code_of(page).splitlines()]
    for line in (line for line in lines if "example.py" in line):
        used = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", line.partition("example.py")[2]))
        assert used <= known, line


#: Words that read as translated, and what engineers write.
STYLE = {
    "that is none": "say what is wrong with it",
    "that are none": "NaN or infinity",
    "of one's own": "user-supplied",
    "whoever": "you",
    "is not here": "is not installed",
    "leads to": "runs, calls, redirects to",
}


@pytest.mark.parametrize("page", DOCUMENTED)
def test_pages_use_the_words_of_the_field(page: Path) -> None:
    text = " ".join(pages.prose(page.read_text()).split()).lower()
    assert {wrong: right for wrong, right in STYLE.items() if wrong in text} == {}
