"""Markdown from a template in a file of its own, so that words can change without code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2

from utils.untrusted import as_markdown, as_text

__all__ = ["render"]


def render(template: Path, **facts: Any) -> str:
    """The template's text, filled in; the filter ``cell`` makes our own text fit for a table.

    ``name`` and ``code`` do so with a model's; ``foreign`` makes a stranger's text fit for any place.

    Raises:
        jinja2.UndefinedError: the template names a fact that is not given.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # Markdown, of our own facts
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    environment.filters["foreign"] = as_markdown
    environment.filters["name"] = _name
    environment.filters["code"] = lambda text: "`" + as_text(text).replace("`", "'").replace("|", "\\|") + "`"
    return environment.from_string(template.read_text(encoding="utf-8")).render(**facts)


def _name(text: object) -> str:
    """A text from a model file; a plain word, as the names of operators are, stays as it is."""
    return str(text) if re.fullmatch(r"[A-Za-z]\w*", str(text), re.ASCII) else as_markdown(text)
