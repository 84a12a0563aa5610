"""Markup of the catalogue's pages: templates that escape what they are given, and the Markdown of cards.

Titles, cards and reports come from bundles, and a bundle is untrusted: its text is shown, never run. Jinja2 escapes
HTML; ``shown`` spells out control and direction codes, which could make a line read other than it is. Markdown goes
through markdown-it-py, which is kept up, follows CommonMark, and leaves HTML out on demand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from utils.bundle.boards import BEGIN, END
from utils.errors import BuildError
from utils.untrusted import as_lines

__all__ = ["PAGES", "Pictures", "as_plot", "markdown", "pictures_of", "render", "shown"]

PAGES = Path(__file__).with_name("pages")

#: Name of a file in the bundle -> its address on the page.
Pictures = Mapping[str, str]

#: What a link of a card may lead to: a site, or a part of the same page.
_OUTSIDE = re.compile(r"https?://")

#: Parts of an SVG that a browser would run or load.
_ACTIVE = re.compile(
    r"<(?:script|foreignObject|image|use|iframe|object|embed)\b|<[^>]*\son\w+\s*=|javascript:", re.IGNORECASE
)


def render(page: str, **facts: Any) -> str:
    """Fill in a template of ``pages/``.

    Raises:
        jinja2.UndefinedError: the template names a fact that is not given.
    """
    return _environment().get_template(page).render(**facts)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(PAGES),
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters |= {
        "bytes": _bytes,
        "count": _count,
        "inline": inline,
        "exact": lambda number: f"{number:,}",
        "markdown": markdown,
        "ms": _ms,
        "outside": lambda address: bool(_OUTSIDE.match(str(address))),
        "percent": lambda number: f"{number:.2f} %",
        "place": _place,
        "shape": lambda sizes: " x ".join(map(str, sizes)),
    }
    return environment


def _finalize(value: Any) -> Any:
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def shown(text: str) -> str:
    """Text with its control and direction codes spelt out; its line ends stay."""
    return text if text.isprintable() else as_lines(text.expandtabs())


# Numbers


def _bytes(size: int) -> str:
    return _scaled(size, ("B", "kB", "MB", "GB"))


def _count(number: int) -> str:
    return _scaled(number, ("", "k", "M", "G"))


def _scaled(number: float, units: Sequence[str]) -> str:
    """Three digits and a unit, in thousands: 34,080 B is 34.1 kB."""
    value, step = float(number), 0
    while value >= 999.5 and step < len(units) - 1:
        value, step = value / 1000, step + 1
    text = f"{value:.0f}" if value >= 99.95 or not step else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    return f"{text} {units[step]}".rstrip()


def _ms(number: float) -> str:
    return f"{number:,.0f} ms" if number >= 999.5 else f"{number:.3g} ms"


def _place(address: str) -> str:
    """A few words for an address: of GitHub's, the repository."""
    place = _OUTSIDE.sub("", address).rstrip("/")
    found = re.match(r"github\.com/([^/]+/[^/]+)", place)
    return found[1] if found else place if len(place) <= 60 else f"{place[:57]}..."


# Cards


def markdown(text: str, pictures: Pictures | None = None, *, below: int = 2) -> Markup:
    """Render Markdown of a card: HTML in it is shown as text, and it loads no picture but ``pictures``.

    Links to sites stay; other links would be dead on the page, and only their words stay.

    Args:
        text: Markdown, from a bundle.
        pictures: those that the card may show.
        below: the level of the heading above it: ``#`` becomes the next one.
    """
    parser = _parser()
    tokens = parser.parse(_without_marks(text))
    for at, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + below, 6)}"
        if token.type == "th_open" and not tokens[at + 1].content:  # a header that says nothing is a cell
            token.tag = tokens[at + 2].tag = "td"
        if token.children:
            token.children = _safe(token.children, pictures or {})
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704  # the parser escapes all text


def inline(text: str) -> Markup:
    """Text of one line, in which only code between backticks is markup."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(shown(text)))))  # noqa: S704  # all of it is escaped


def pictures_of(text: str) -> dict[str, str]:
    """The pictures that a card shows, in order: name of the file in the bundle -> its description."""
    children = [child for token in _parser().parse(_without_marks(text)) for child in token.children or ()]
    return {_source(child): child.content for child in children if child.type == "image"}


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _without_marks(text: str) -> str:
    """The text without the comments around the part about boards, which would be shown."""
    return shown(text.replace(BEGIN, "").replace(END, "\n"))


def _source(image: Token) -> str:
    return str(image.attrs.get("src", ""))


def _safe(children: list[Token], pictures: Pictures) -> list[Token]:
    kept: list[Token] = []
    links: list[bool] = []
    for token in children:
        if token.type == "link_open":
            links.append(bool(_OUTSIDE.match(str(token.attrs.get("href", "")))))
            token.attrs["rel"] = "noreferrer"
        if token.type in ("link_open", "link_close"):
            stays = links[-1] if token.type == "link_open" else links.pop()
            if stays:
                kept.append(token)
        elif token.type == "image" and _source(token) in pictures:
            token.attrs |= {"src": pictures[_source(token)], "loading": "lazy"}
            kept.append(token)
        elif token.type == "image":
            kept.append(Token("text", "", 0, content=token.content))
        else:
            kept.append(token)
    return kept


def as_plot(svg: str) -> Markup:
    """An SVG that this project drew, for a page.

    Raises:
        BuildError: it has what a drawing has not: a program, or the address of a picture.
    """
    if found := _ACTIVE.search(svg):
        hint = "this is a bug: report it"
        raise BuildError(f"a plot holds {found[0]!r}, which is no part of a drawing", hint=hint)
    if "<a " in svg:  # what is inside an image is not there for screen readers: links need a group
        svg = svg.replace(' role="img"', ' role="group"', 1)
    return Markup(svg)  # noqa: S704  # of utils/catalogue/plots.py
