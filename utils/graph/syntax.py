"""Syntax trees as text: what of a piece of code can change what it does."""

from __future__ import annotations

import ast
from functools import lru_cache

__all__ = ["is_text", "tree_as_text"]


def is_text(node: ast.AST) -> bool:
    """Whether a statement is a string and nothing else: it does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@lru_cache(maxsize=8192)  # steps share most of what they reach
def tree_as_text(node: ast.AST) -> str:
    """A syntax tree as text that is equal on every Python: no positions, docstrings, or hints that nothing reads."""
    words: list[str] = []
    _write(node, words, in_class=False)
    return "".join(words)


def _write(value: object, words: list[str], *, in_class: bool) -> None:
    if isinstance(value, list):
        words.append("[")
        for item in value:
            if not is_text(item):
                _write(item, words, in_class=in_class)
        words.append("]")
    elif isinstance(value, ast.AST):
        words.append(type(value).__name__ + "(")
        in_body = in_class if not isinstance(value, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else False
        in_body = in_body or isinstance(value, ast.ClassDef)
        for name, part in ast.iter_fields(value):
            is_hint = name in ("annotation", "returns", "type_comment") and not in_class
            if part is None or part == [] or is_hint or name in ("kind", "type_params", "ctx"):
                continue
            words.append(name + "=")
            _write(part, words, in_class=in_body)
        words.append(")")
    else:
        words.append(f"{type(value).__name__}:{value!r},")
