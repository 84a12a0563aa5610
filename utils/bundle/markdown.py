"""Markdown from a template in a file of its own, so that words can change without code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from utils.untrusted import as_markdown, as_text

__all__ = ["render"]


def render(template: Path, extends: Mapping[str, Path] | None = None, **facts: Any) -> str:
    """Fill in a template; the filters ``cell`` and ``link`` prepare our own text for a table.

    ``name`` and ``code`` do so with a model's; ``foreign`` prepares untrusted text for any place. A template may
    extend those of ``extends``, by name.

    Raises:
        jinja2.UndefinedError: the template names a fact that is not given.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        loader=jinja2.DictLoader({name: file.read_text(encoding="utf-8") for name, file in (extends or {}).items()}),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # Markdown, of our own facts
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    environment.filters["link"] = _link
    environment.filters["foreign"] = as_markdown
    environment.filters["name"] = _name
    environment.filters["code"] = lambda text: "`" + as_text(text).replace("`", "'").replace("|", "\\|") + "`"
    return environment.from_string(template.read_text(encoding="utf-8")).render(**facts)


def _name(text: object) -> str:
    """A text from a model file; a plain word, as the names of operators are, stays as it is."""
    return str(text) if re.fullmatch(r"[A-Za-z]\w*", str(text), re.ASCII) else as_markdown(text)


def _link(sources: str) -> str:
    """Sources, separated by "; ": an address becomes a link with a short text, other words stay."""
    return "; ".join(
        f"[{_short(source)}]({source})" if source.startswith("https://") else source.replace("|", "\\|")
        for source in sources.split("; ")
    )


def _short(address: str) -> str:
    """A few words for an address: of GitHub's, the repository with its commit or issue."""
    place = address.removeprefix("https://").rstrip("/")
    if found := re.match(r"github\.com/([^/]+/[^/]+)(?:/(?:tree|blob)/([0-9a-f]{7})[0-9a-f]{33}|/issues/(\d+))", place):
        repository, commit, issue = found.groups()
        return f"{repository}@{commit}" if commit else f"{repository}#{issue}"
    return place
