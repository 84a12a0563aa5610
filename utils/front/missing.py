"""Sources that could not be had: one sentence about each kind, and one file that lists all of them."""

from __future__ import annotations

from collections.abc import Iterable

from utils import files, paths
from utils.errors import OfflineError
from utils.front.outlook import find_missing
from utils.graph.step import Step
from utils.recipe.load import find_recipe
from utils.sources.source import Source, redact_url
from utils.sources.source import is_offline as is_network_off
from utils.tasks import task_of
from utils.terminal import format_size

__all__ = ["LIST", "describe_missing", "is_offline"]

#: An address a line, each with the hash that its file has to have; ``wget -i`` and ``doit mirror list=`` read it.
LIST = paths.BUILD / "missing.txt"

#: How many files are named that belong to no list.
_NAMED = 6


def is_offline(steps: Iterable[Step]) -> bool:
    """Whether a step failed because the network is off: then one sentence about all such steps is enough."""
    said = [step.message for step in steps if step.fetches]
    if not said or not is_network_off():
        return False
    try:
        return all(file.read_text(encoding="utf-8").startswith(OfflineError.BEGINS) for file in said)
    except OSError:
        return False


def describe_missing(steps: Iterable[Step]) -> list[str]:
    """What the cache lacks of these steps' sources, in lines for people; writes the list. Empty: nothing is missing."""
    users: dict[str, set[str]] = {}  # key of a source -> models
    listed: set[str] = set()
    wanted: list[Source] = []
    for step in steps:
        recipe = find_recipe(step.model)
        listed |= {source.key for key in recipe.datasets for row in recipe.rows(key) for source in row.sources}
        for source in step.fetches:
            users.setdefault(source.key, set()).add(step.model)
            wanted.append(source)
    missing = find_missing(wanted)
    if not missing:
        return []
    _write_list(missing)
    lines = []
    groups: dict[tuple[str, ...], list[Source]] = {}
    for source in missing:
        if source.key in listed:
            groups.setdefault(tuple(sorted(users[source.key])), []).append(source)
    for models, group in groups.items():
        things = {task_of(find_recipe(model)).many for model in models}
        thing = things.pop() if len(things) == 1 else "files"
        lines.append(f"{len(group):,} sample {thing} of {_join(models)} are missing ({_size(group)})")
    named = [source for source in missing if source.key not in listed]
    lines += [f"{one.name} of {_join(sorted(users[one.key]))} is missing ({_size([one])})" for one in named[:_NAMED]]
    if len(named) > _NAMED:
        lines.append(f"and {len(named) - _NAMED} more files ({_size(named[_NAMED:])})")
    return [
        *lines,
        f"  -> {paths.relative(LIST)} lists all {len(missing):,} with their sha256. On a machine with a network, run",
        f"       docker/run doit mirror list={LIST.name} to=FOLDER, or wget -i {LIST.name} -P FOLDER",
        "     Bring FOLDER here, and run",
        "       docker/run doit mirror from=FOLDER to=mirror && ZOO_MIRROR=mirror docker/run doit",
    ]


def _write_list(missing: list[Source]) -> None:
    lines = []
    for source in missing:
        mark = f"sha256={source.sha256}" if source.sha256 else f"md5={source.md5}" if source.md5 else "unpinned"
        lines.append(f"{redact_url(source.urls[0])}#{mark}\n")
    LIST.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(LIST, "".join(lines))


def _size(sources: list[Source]) -> str:
    known = [source.size for source in sources if source.size is not None]
    return format_size(sum(known)) if known else "size unknown"


def _join(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
