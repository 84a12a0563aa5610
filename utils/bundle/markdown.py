"""Markdown from a template in a file of its own, so that words can change without code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from utils.untrusted import as_markdown

__all__ = ["render"]


def render(template: Path, **facts: Any) -> str:
    """The template's text, filled in; the filter ``cell`` makes our own text fit for a table.

    ``foreign`` makes a stranger's text fit for any place: nothing in it acts.

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
    return environment.from_string(template.read_text(encoding="utf-8")).render(**facts)
