"""``doit matrix``: a build dealt out to the jobs of a CI, and the share of one of them.

The deal depends on the recipes' names alone. So each job finds its own share in its own checkout, and no job has to
tell another one what it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from utils import limits
from utils.errors import UsageError, did_you_mean
from utils.recipe.load import find_recipe, read_recipes
from utils.untrusted import as_text

__all__ = ["Request", "read_request"]

#: Whose JSON is printed.
_Ci = Literal["github", "gitlab"]

_SHARD = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")
_HINT = "doit help matrix; nothing was done"


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        models: sorted.
        shards: into how many the models are dealt; some are empty where there are fewer models.
        shard: the one to build, from 1; None to print all.
        ci: whose JSON is printed.
    """

    models: tuple[str, ...]
    shards: int
    shard: int | None
    ci: _Ci

    def share(self, shard: int) -> tuple[str, ...]:
        """The models of one shard, from 1: every ``shards``-th one.

        Models whose names are alike take alike long. They stand side by side, and so come into different shards.
        """
        return self.models[shard - 1 :: self.shards]

    def dump(self) -> str:
        """The shards as JSON, in one line.

        Of GitHub, a matrix: ``{"include": [{"shard": "1/2", "models": "a,c"}, ...]}``. Of GitLab, the jobs of a child
        pipeline: ``{"shard 1/2": {"extends": ".shard", "variables": {"SHARD": "1/2", "MODELS": "a,c"}}, ...}``.
        """
        named = {f"{shard}/{self.shards}": ",".join(self.share(shard)) for shard in range(1, self.shards + 1)}
        found: dict[str, Any] = {"include": [{"shard": shard, "models": models} for shard, models in named.items()]}
        if self.ci == "gitlab":
            found = {
                f"shard {shard}": {"extends": ".shard", "variables": {"SHARD": shard, "MODELS": models}}
                for shard, models in named.items()
            }
        return json.dumps(found, separators=(",", ":"))


def read_request(given: Mapping[str, str]) -> Request:
    """Read the ``name=value`` of a command line.

    Raises:
        UsageError: one is malformed, or two contradict each other.
        RecipeError: a model is unknown, or its recipe is wrong.
    """
    if "shard" in given and (both := [name for name in ("shards", "ci") if name in given]):
        what = f"shard= builds one shard, and {both[0]}= prints them all"
        raise UsageError(what, where=f"{both[0]}=", hint=f"leave one of them out; {_HINT}")
    models = _read_models(given.get("models"))
    if "shard" in given:
        shard, shards = _read_shard(given["shard"])
        return Request(models, shards, shard, "github")
    ci = given.get("ci", "github")
    if ci not in get_args(_Ci):
        near = did_you_mean(ci, get_args(_Ci))
        raise UsageError(f"ci={as_text(ci, 80)} is unknown{near}", where="ci=", hint="ci=github, or ci=gitlab")
    return Request(models, _read_shards(given.get("shards"), models), None, "gitlab" if ci == "gitlab" else "github")


def _read_models(text: str | None) -> tuple[str, ...]:
    """The named models; without a name those that doit builds, with those that do not load: their shard has to fail."""
    if text is None:
        return tuple(sorted(name for kind in read_recipes() for name, found in kind.items() if found.group == "zoo"))
    names = {name for name in text.split(",") if name}
    if not names:
        raise UsageError("models= names no model", where="models=", hint="models=NAME,NAME, or leave it out")
    return tuple(sorted(find_recipe(name).name for name in names))


def _read_shards(text: str | None, models: Sequence[str]) -> int:
    """How many shards to print: no empty one, and without ``shards=`` one a model."""
    wanted = len(models) if text is None else int(text) if re.fullmatch("[0-9]{1,4}", text) else 0
    if text is not None and not 1 <= wanted <= limits.MATRIX_JOBS:
        what = f"shards={as_text(text, 80)} is not a number from 1 to {limits.MATRIX_JOBS}"
        raise UsageError(what, where="shards=", hint=f"GitHub runs at most {limits.MATRIX_JOBS} jobs of one matrix")
    return min(wanted, len(models), limits.MATRIX_JOBS)


def _read_shard(text: str) -> tuple[int, int]:
    found = _SHARD.fullmatch(text)
    shard, shards = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= shard <= shards:
        what = f"shard={as_text(text, 80)} is not one of K/N, with K from 1 to N"
        raise UsageError(what, where="shard=", hint="shard=1/4 builds the first of four shards")
    return shard, shards
